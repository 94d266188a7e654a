package weavertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	weaver "github.com/bohica-labs/dataweaver"
)

// Mode says when a Sink makes records durable.
type Mode uint8

// The modes of a Sink.
const (
	Plain         Mode = iota // as soon as Write returns
	Buffered                  // at Flush: writers are a weaver.Flusher
	Transactional             // at Commit, with an envelope: writers are a weaver.Checkpointer (and a Flusher)
)

// Refusal says how a Sink tells that it refuses a record.
type Refusal uint8

// The ways to refuse.
const (
	Named       Refusal = iota // a BatchError names the records; the others are written
	NamedAll                   // a BatchError names the records; none is written (RolledBack)
	Unnamed                    // a BatchError names no record; none is written (RolledBack)
	AtFlush                    // Write accepts them; Flush or Commit fails with the reason, and nothing is durable
	WriteBroken                // Write fails with the reason alone, and nothing is written
)

// ErrFenced is what a writer of a Transactional Sink returns once a later one has restored the same split.
var ErrFenced = fmt.Errorf("weavertest: another writer of this split has been restored since: %w", weaver.ErrFenced)

// Sink is a weaver.Sink that keeps in memory what is written, misbehaves as told and takes note of what the engine
// does. What is durable outlives its writers: a pipeline that runs again with the same Sink finds its envelopes.
//
// Set the fields before the pipeline runs. The methods may be called at any time.
type Sink[T any] struct {
	Mode     Mode                           // default Plain
	DueEvery int                            // accepted records after which a writer is Due; default: never
	Refuse   func(r weaver.Record[T]) error // why a record can't be written, or nil; may be called by several writers at once; default: all can be
	Refusal  Refusal                        // how Refuse shows; default Named
	Clone    func(T) T                      // copies a value; default: all bytes in it that can be reached

	Faults []Fault                                                          // what goes wrong; default: nothing
	Hook   func(ctx context.Context, call Call, split string) (fails error) // called before each call; default: none

	mu      sync.Mutex
	changed signal
	misuse  misuse
	faults  faults
	clone   func(T) T
	written []weaver.Record[T]
	durable []weaver.Record[T]
	splits  map[string]*sinkSplit
	opened  []weaver.Lane
	open    int
	writing int
	most    int
}

// sinkSplit is what a Transactional sink keeps of a split, guarded by the sink's lock.
type sinkSplit struct {
	envelope []byte // nil: nothing committed
	owner    int    // counts Restores
	commits  int
}

// NewSink returns a Sink that makes everything durable at once.
func NewSink[T any]() *Sink[T] { return &Sink[T]{} }

// DeadLetters is a Sink that keeps dead letters.
type DeadLetters[T any] = Sink[weaver.Rejected[T]]

// NewDeadLetters returns a sink for Pipeline.DeadLetter, of a pipeline that reads values of type T.
func NewDeadLetters[T any]() *DeadLetters[T] {
	s := NewSink[weaver.Rejected[T]]()
	clone := cloner[weaver.Rejected[T]](nil)
	s.Clone = func(r weaver.Rejected[T]) weaver.Rejected[T] {
		if r = clone(r); r.Value != nil { // it points into a batch, which is used again
			value := *r.Value
			r.Value = &value
		}
		return r
	}
	return s
}

// OpenWriter opens a writer of the sink's Mode.
func (s *Sink[T]) OpenWriter(ctx context.Context, at weaver.Lane) (weaver.Writer[T], error) {
	fault, err := s.begin(ctx, CallOpen, at.Split.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened = append(s.opened, cloneLane(at))
	if err == nil && fault != nil {
		err = fault.Err
	}
	if err != nil {
		return nil, err
	}
	if s.clone == nil {
		s.clone = cloner(s.Clone)
	}
	s.open++
	w := &writer[T]{sink: s, id: at.Split.ID, buffers: s.Mode != Plain}
	switch s.Mode {
	case Buffered:
		return flushingWriter[T]{w}, nil
	case Transactional:
		return &committingWriter[T]{flushingWriter[T]{w}}, nil
	case Plain:
	}
	return w, nil
}

// begin is the start of every call: the hook, then the fault that applies to it, waited for.
func (s *Sink[T]) begin(ctx context.Context, call Call, split string) (*Fault, error) {
	if s.Hook != nil {
		if err := s.Hook(ctx, call, split); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	s.faults.main = CallWrite
	fault := s.faults.take(s.Faults, call, split, len(s.written))
	s.mu.Unlock()
	if fault == nil {
		return nil, nil
	}
	return fault, fault.pause(ctx)
}

// Values returns the values of the durable records, in the order in which they became durable. Deletes are left out.
func (s *Sink[T]) Values() []T {
	var values []T
	for _, r := range s.Durable() {
		if r.Op != weaver.Delete {
			values = append(values, r.Value)
		}
	}
	return values
}

// Durable returns the records that a crash would not lose, in the order in which they became durable.
func (s *Sink[T]) Durable() []weaver.Record[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.durable)
}

// Written returns all records that were accepted, durable or not, in order.
func (s *Sink[T]) Written() []weaver.Record[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.written)
}

// Envelope returns what was last committed for a split, nil if nothing was, and how many commits there were.
func (s *Sink[T]) Envelope(split string) (envelope []byte, commits int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sp := s.splits[split]; sp != nil {
		return slices.Clone(sp.envelope), sp.commits
	}
	return nil, 0
}

// Opened returns what writers were opened for, in order, those that failed included.
func (s *Sink[T]) Opened() []weaver.Lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.opened)
}

// Open returns how many writers are open now.
func (s *Sink[T]) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// MostWrites returns how many calls of Write there were at once, at most.
func (s *Sink[T]) MostWrites() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// Wait waits until at least n records are durable, or until ctx ends.
func (s *Sink[T]) Wait(ctx context.Context, n int) error {
	for {
		s.mu.Lock()
		durable := len(s.durable)
		changed := s.changed.wait()
		s.mu.Unlock()
		if durable >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("weavertest: %d of %d records durable: %w", durable, n, context.Cause(ctx))
		}
	}
}

// Check returns what was done to the sink that the contract forbids, or nil. Call it when the pipeline has returned:
// what is still open then was forgotten.
func (s *Sink[T]) Check() error {
	errs := s.misuse.list()
	if n := s.Open(); n > 0 {
		errs = append(errs, fmt.Errorf("weavertest: %d writers of the sink are still open", n))
	}
	return errors.Join(errs...)
}

// deaf reports whether a call may go on after its ctx has ended, so that the engine can't wait for it.
func (s *Sink[T]) deaf() bool {
	return slices.ContainsFunc(s.Faults, func(f Fault) bool { return f.Deaf })
}

var _ weaver.Sink[int] = (*Sink[int])(nil)
