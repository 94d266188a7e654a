package weavertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"

	weaver "github.com/bohica-labs/dataweaver"
)

// Source is a weaver.Source of records that the test gives it, which misbehaves as told and takes note of what the
// engine does. Its positions are the number of records before them, in decimal; a record's Seq is its index in its
// split, from 0. It can be read again, by as many pipelines as the test needs, one after the other.
//
// Set the fields before the pipeline runs. The methods may be called at any time.
type Source[T any] struct {
	Endless       bool // after the last record Read waits for more (Add), and Next for more splits; default: io.EOF
	EagerEOF      bool // io.EOF comes with the last records; default: by itself, from the Read after them
	ReadSize      int  // records a Read adds at most; default: until the batch is full
	PositionEvery int  // records between positions, which are nil elsewhere but at the end; default 1
	Window        int  // records not acknowledged after which, at the next position, Read returns ErrFull; default 0: no such bound
	Remembers     bool // a reader opened without a position starts after the last Ack; default: at the first record
	IsQueue       bool // a weaver.Queue: readers start after the last Ack whatever their position; default: no queue
	NoAck         bool // readers are no Acker; default: they are
	Overlap       bool // several readers of a split may be open at once; default: that is misuse

	Faults []Fault                                                          // what goes wrong; default: nothing
	Hook   func(ctx context.Context, call Call, split string) (fails error) // called before each call; default: none
	Clone  func(T) T                                                        // copies a value; default: all bytes in it that can be reached

	mu      sync.Mutex
	changed signal
	misuse  misuse
	faults  faults
	clone   func(T) T
	order   []string // the splits there are now
	splits  map[string]*sourceSplit[T]
	changes []weaver.Change
	opened  []weaver.Lane
	open    int
}

// sourceSplit is one split, guarded by its source's lock.
type sourceSplit[T any] struct {
	records   []weaver.Record[T]
	acked     int
	delivered int
	open      int
}

// NewSource returns a Source of these values in one split, which has the ID "". Add gives it other splits, or records
// with more than a value.
func NewSource[T any](values ...T) *Source[T] {
	s := &Source[T]{}
	if len(values) > 0 {
		records := make([]weaver.Record[T], len(values))
		for i, v := range values {
			records[i].Value = v
		}
		s.Add("", records...)
	}
	return s
}

// Add appends records to a split, which is made if there is none. It may be called while a pipeline runs: an Endless
// source goes on with them.
func (s *Source[T]) Add(split string, records ...weaver.Record[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.splits == nil {
		s.splits = make(map[string]*sourceSplit[T])
	}
	if s.clone == nil {
		s.clone = cloner(s.Clone)
	}
	sp := s.splits[split]
	if sp == nil {
		sp = &sourceSplit[T]{}
		s.splits[split] = sp
		s.changeLocked(weaver.Change{Add: []weaver.Split{{ID: split}}})
	}
	for _, r := range records {
		r = cloneRecord(r, s.clone)
		r.Seq = int64(len(sp.records))
		sp.records = append(sp.records, r)
	}
	s.changed.wake()
}

// Change is what the open Splits session, and any later one, is told: splits that come or go. Added ones must have been
// made by Add.
func (s *Source[T]) Change(c weaver.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changeLocked(c)
	s.changed.wake()
}

func (s *Source[T]) changeLocked(c weaver.Change) {
	s.order = slices.DeleteFunc(s.order, func(id string) bool { return slices.Contains(c.Revoke, id) })
	for _, sp := range c.Add {
		if !slices.Contains(s.order, sp.ID) {
			s.order = append(s.order, sp.ID)
		}
	}
	s.changes = append(s.changes, c)
}

// Queue reports IsQueue.
func (s *Source[T]) Queue() bool { return s.IsQueue }

// OpenReader opens a split. A position that this source never returns is an error.
func (s *Source[T]) OpenReader(ctx context.Context, at weaver.Lane) (weaver.Reader[T], error) {
	fault, err := s.begin(ctx, CallOpen, at.Split.ID, 0)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened = append(s.opened, cloneLane(at))
	if fault != nil && fault.Err != nil {
		return nil, fault.Err
	}
	if s.splits[at.Split.ID] == nil && at.Split.ID == "" && len(s.splits) == 0 {
		s.splits = map[string]*sourceSplit[T]{"": {}}
	}
	sp := s.splits[at.Split.ID]
	if sp == nil {
		return nil, s.misuse.addf("OpenReader: there is no split %q", at.Split.ID)
	}
	r := &reader[T]{source: s, split: sp, id: at.Split.ID, finishAt: -1}
	switch {
	case s.IsQueue, at.Position == nil && s.Remembers:
		r.next = sp.acked
	case at.Position != nil:
		if r.next, err = parsePosition(at.Position); err != nil || r.next > len(sp.records) {
			return nil, s.misuse.addf("OpenReader of split %q at position %q, which no reader returned", r.id, at.Position)
		}
	}
	r.acked = r.next
	if at.Position != nil {
		r.returned = map[int]bool{r.next: true} // the position it was opened at may be acknowledged as well
	}
	if sp.open > 0 && !s.Overlap {
		_ = s.misuse.addf("OpenReader of split %q while another reader of it is open", r.id)
	}
	sp.open++
	s.open++
	if s.NoAck {
		return r, nil
	}
	return &ackReader[T]{r}, nil
}

// begin is the start of every call: the hook, then the fault that applies to it, waited for.
func (s *Source[T]) begin(ctx context.Context, call Call, split string, records int) (*Fault, error) {
	if s.Hook != nil {
		if err := s.Hook(ctx, call, split); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	s.faults.main = CallRead
	fault := s.faults.take(s.Faults, call, split, records)
	s.mu.Unlock()
	if fault == nil {
		return nil, nil
	}
	if err := fault.pause(ctx); err != nil {
		return nil, err
	}
	if fault.Err != nil && !fault.Lost {
		return nil, fault.Err
	}
	return fault, nil
}

// Opened returns what readers were opened for, in order, those that failed included.
func (s *Source[T]) Opened() []weaver.Lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.opened)
}

// Open returns how many readers and Splits sessions are open now.
func (s *Source[T]) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// Acked returns how many records of a split are acknowledged.
func (s *Source[T]) Acked(split string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sp := s.splits[split]; sp != nil {
		return sp.acked
	}
	return 0
}

// Delivered returns how many records of a split readers have added to batches, repeated ones included.
func (s *Source[T]) Delivered(split string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sp := s.splits[split]; sp != nil {
		return sp.delivered
	}
	return 0
}

// WaitAcked waits until at least n records of a split are acknowledged, or until ctx ends.
func (s *Source[T]) WaitAcked(ctx context.Context, split string, n int) error {
	for {
		s.mu.Lock()
		acked := 0
		if sp := s.splits[split]; sp != nil {
			acked = sp.acked
		}
		changed := s.changed.wait()
		s.mu.Unlock()
		if acked >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("weavertest: %d of %d records of split %q acknowledged: %w", acked, n, split, context.Cause(ctx))
		}
	}
}

// Check returns what was done to the source that the contract forbids, or nil. Call it when the pipeline has returned:
// what is still open then was forgotten.
func (s *Source[T]) Check() error {
	errs := s.misuse.list()
	if n := s.Open(); n > 0 {
		errs = append(errs, fmt.Errorf("weavertest: %d readers or Splits sessions of the source are still open", n))
	}
	return errors.Join(errs...)
}

// deaf reports whether a call may go on after its ctx has ended, so that the engine can't wait for it.
func (s *Source[T]) deaf() bool {
	return slices.ContainsFunc(s.Faults, func(f Fault) bool { return f.Deaf })
}

func position(n int) weaver.Position { return strconv.AppendInt(nil, int64(n), 10) }

func parsePosition(p weaver.Position) (int, error) {
	n, err := strconv.Atoi(string(p))
	if err != nil || n < 0 || strconv.Itoa(n) != string(p) {
		return 0, fmt.Errorf("weavertest: position %q is none of this source", p)
	}
	return n, nil
}

func cloneLane(at weaver.Lane) weaver.Lane {
	at.Position = slices.Clone(at.Position)
	at.State = slices.Clone(at.State)
	return at
}

var (
	_ weaver.Source[int] = (*Source[int])(nil)
	_ weaver.Splitter    = (*Source[int])(nil)
	_ weaver.Queue       = (*Source[int])(nil)
	_ io.Closer          = (*reader[int])(nil)
)
