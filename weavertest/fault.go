package weavertest

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Call names a call that the engine makes to a Source, a Sink or what they open.
type Call string

// The calls that a Fault or a Hook can be about.
const (
	CallOpen    Call = "open"    // OpenReader, OpenWriter
	CallRead    Call = "read"    // Reader.Read
	CallAck     Call = "ack"     // Acker.Ack
	CallSplits  Call = "splits"  // Splitter.Splits
	CallNext    Call = "next"    // Splits.Next
	CallWrite   Call = "write"   // Writer.Write
	CallFlush   Call = "flush"   // Flusher.Flush
	CallRestore Call = "restore" // Checkpointer.Restore
	CallCommit  Call = "commit"  // Checkpointer.Commit
	CallClose   Call = "close"   // Close of a Reader, a Writer or a Splits
)

// Fault is something that goes wrong at a chosen point: a call that waits, fails, or both. Of several that apply to a
// call, the first in the list happens.
type Fault struct {
	On    Call            // which call; default: Read of a Source, Write of a Sink
	Split string          // only in this split; default: in any
	At    int             // not before so many records (Read: of the split, Write: over all), or else calls; default 0
	Times int             // how often; negative: always; default 1
	Wait  time.Duration   // how long the call waits first; default: not at all
	Until <-chan struct{} // the call waits until this is closed; default: not at all
	Deaf  bool            // the wait goes on when ctx has ended; default: it ends with ctx
	Err   error           // what the call returns; nil: it only waits
	Lost  bool            // the call takes effect before it fails, as when a reply is lost
}

// pause waits as the fault says.
func (f *Fault) pause(ctx context.Context) error {
	done := ctx.Done()
	if f.Deaf {
		done = nil
	}
	if f.Wait > 0 {
		t := time.NewTimer(f.Wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-done:
			return context.Cause(ctx)
		}
	}
	if f.Until != nil {
		select {
		case <-f.Until:
		case <-done:
			return context.Cause(ctx)
		}
	}
	return nil
}

// faults keeps count of what has happened. Its owner's lock guards it.
type faults struct {
	main  Call // what a Fault without On is about
	fired []int
	calls map[Call]int
}

// take returns the fault that happens to this call, or nil. Records is how many have gone before, for the calls that
// count records.
func (f *faults) take(list []Fault, call Call, split string, records int) *Fault {
	if f.calls == nil {
		f.calls = make(map[Call]int)
	}
	before := f.calls[call]
	f.calls[call]++
	if call == CallRead || call == CallWrite {
		before = records
	}
	for i := range list {
		if f.applies(list, i, call, split) && before >= list[i].At {
			f.fired[i]++
			fault := list[i]
			return &fault
		}
	}
	return nil
}

// next returns where the first fault behind the given number of records waits for a Read, or a large number.
func (f *faults) next(list []Fault, split string, records int) int {
	at := int(^uint(0) >> 1)
	for i := range list {
		if f.applies(list, i, CallRead, split) && list[i].At > records {
			at = min(at, list[i].At)
		}
	}
	return at
}

func (f *faults) applies(list []Fault, i int, call Call, split string) bool {
	for len(f.fired) < len(list) {
		f.fired = append(f.fired, 0)
	}
	on, times := list[i].On, list[i].Times
	if on == "" {
		on = f.main
	}
	if times == 0 {
		times = 1
	}
	return on == call && (list[i].Split == "" || list[i].Split == split) && (times < 0 || f.fired[i] < times)
}

// misuse collects what the engine did that the contract forbids.
type misuse struct {
	mu   sync.Mutex
	errs []error
	more int
}

const maxMisuse = 20 // one bug tends to show many times

func (m *misuse) addf(format string, args ...any) error {
	err := fmt.Errorf("weavertest: "+format, args...)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.errs) == maxMisuse {
		m.more++
		return err
	}
	m.errs = append(m.errs, err)
	return err
}

func (m *misuse) list() []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	errs := append([]error(nil), m.errs...)
	if m.more > 0 {
		errs = append(errs, fmt.Errorf("weavertest: and %d more", m.more))
	}
	return errs
}

// signal wakes all that wait for a change. Its owner's lock guards it.
type signal struct{ c chan struct{} }

// wait returns a channel that is closed at the next change.
func (s *signal) wait() <-chan struct{} {
	if s.c == nil {
		s.c = make(chan struct{})
	}
	return s.c
}

func (s *signal) wake() {
	if s.c != nil {
		close(s.c)
		s.c = nil
	}
}
