package weavertest

import (
	"context"
	"errors"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// writer is a plain writer of a Sink, and what the others are made of. Its sink's lock guards it.
type writer[T any] struct {
	sink     *Sink[T]
	id       string
	staged   []weaver.Record[T]
	refused  error // why AtFlush refuses what is staged
	accepted int   // since the last Flush
	buffers  bool
	restored int // the split's owner count at Restore; 0: not restored
	calling  Call
	failed   error
	closed   bool
}

// Write accepts a batch.
func (w *writer[T]) Write(ctx context.Context, b *weaver.Batch[T]) error {
	if err := w.enter(CallWrite); err != nil {
		return err
	}
	return w.leave(w.write(ctx, b))
}

// enter checks that the engine may make this call now.
func (w *writer[T]) enter(call Call) error {
	s := w.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case w.closed:
		return s.misuse.addf("%s after Close of the writer, split %q", call, w.id)
	case w.calling != "":
		return s.misuse.addf("%s beside %s on one writer, split %q", call, w.calling, w.id)
	case w.failed != nil:
		return s.misuse.addf("%s after a call that failed (%v), split %q: the writer must be closed", call, w.failed, w.id)
	}
	w.calling = call
	if call == CallWrite {
		s.writing++
		s.most = max(s.most, s.writing)
	}
	return nil
}

// leave ends the call that enter began.
func (w *writer[T]) leave(err error) error {
	s := w.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.calling == CallWrite {
		s.writing--
	}
	w.calling = ""
	var partial *weaver.BatchError
	if err != nil && !errors.As(err, &partial) {
		w.failed = err
	}
	return err
}

func (w *writer[T]) write(ctx context.Context, b *weaver.Batch[T]) error {
	s := w.sink
	fault, err := s.begin(ctx, CallWrite, w.id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := w.fenced(); err != nil {
		return err
	}
	if fault != nil && fault.Err != nil {
		w.acceptAllBut(b, fault)
		return fault.Err
	}
	s.mu.Unlock()
	refused := w.refuse(b) // a user's function: not under the lock
	s.mu.Lock()
	if len(refused) == 0 {
		w.accept(b, nil)
		return nil
	}
	first := refused[0].Err
	switch s.Refusal {
	case NamedAll:
		return &weaver.BatchError{Err: first, Records: refused, RolledBack: true}
	case Unnamed:
		return &weaver.BatchError{Err: first, RolledBack: true}
	case WriteBroken:
		return first
	case AtFlush:
		w.refused = first
		w.accept(b, nil)
		return nil
	case Named:
	}
	w.accept(b, refused)
	return &weaver.BatchError{Err: first, Records: refused}
}

// refuse asks Refuse about all records.
func (w *writer[T]) refuse(b *weaver.Batch[T]) []weaver.RecordError {
	if w.sink.Refuse == nil {
		return nil
	}
	var refused []weaver.RecordError
	for i := range b.Records {
		if err := w.sink.Refuse(b.Records[i]); err != nil {
			refused = append(refused, weaver.RecordError{Index: i, Err: err})
		}
	}
	return refused
}

// acceptAllBut accepts what a fault lets through.
func (w *writer[T]) acceptAllBut(b *weaver.Batch[T], fault *Fault) {
	var partial *weaver.BatchError
	switch {
	case fault.Lost:
		w.accept(b, nil)
	case errors.As(fault.Err, &partial) && !partial.RolledBack:
		w.accept(b, partial.Records)
	}
}

// accept takes the records that are not named. It copies all it keeps.
func (w *writer[T]) accept(b *weaver.Batch[T], but []weaver.RecordError) {
	s := w.sink
	skip := make(map[int]bool, len(but))
	for _, e := range but {
		skip[e.Index] = true
	}
	for i := range b.Records {
		if skip[i] {
			continue
		}
		r := cloneRecord(b.Records[i], s.clone)
		s.written = append(s.written, r)
		w.accepted++
		if w.buffers {
			w.staged = append(w.staged, r)
		} else {
			s.durable = append(s.durable, r)
		}
	}
	s.changed.wake()
}

// fenced reports whether another writer has been restored since this one was.
func (w *writer[T]) fenced() error {
	if w.restored != 0 && w.sink.splits[w.id].owner != w.restored {
		return ErrFenced
	}
	return nil
}

// Close drops what is staged.
func (w *writer[T]) Close() error {
	s := w.sink
	fault, err := s.begin(context.Background(), CallClose, w.id)
	if err == nil && fault != nil {
		err = fault.Err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.closed {
		return s.misuse.addf("Close of a writer twice, split %q", w.id)
	}
	if w.calling != "" && !s.deaf() {
		_ = s.misuse.addf("Close beside %s on one writer, split %q", w.calling, w.id)
	}
	w.closed = true
	w.staged = nil
	s.open--
	return err
}

// flushingWriter is a writer that stages.
type flushingWriter[T any] struct{ *writer[T] }

// Due reports whether DueEvery records are staged.
func (w flushingWriter[T]) Due() bool {
	s := w.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.DueEvery > 0 && w.accepted >= s.DueEvery
}

// Flush makes what is staged durable.
func (w flushingWriter[T]) Flush(ctx context.Context) error {
	if err := w.enter(CallFlush); err != nil {
		return err
	}
	return w.leave(w.settle(ctx, CallFlush, func() {}))
}

// settle makes what is staged durable and calls then, in one step.
func (w flushingWriter[T]) settle(ctx context.Context, call Call, then func()) error {
	s := w.sink
	fault, err := s.begin(ctx, call, w.id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := w.fenced(); err != nil {
		return err
	}
	if w.refused != nil {
		return retry.Permanent(w.refused)
	}
	if fault != nil && fault.Err != nil && !fault.Lost {
		return fault.Err
	}
	s.durable = append(s.durable, w.staged...)
	w.staged, w.accepted = nil, 0
	then()
	s.changed.wake()
	if fault != nil {
		return fault.Err
	}
	return nil
}

// committingWriter is a writer that stages and keeps the envelope.
type committingWriter[T any] struct{ flushingWriter[T] }

// Restore fences all writers of the split but this, and returns the envelope.
func (w *committingWriter[T]) Restore(ctx context.Context) ([]byte, error) {
	if err := w.enter(CallRestore); err != nil {
		return nil, err
	}
	var envelope []byte
	err := func() error {
		s := w.sink
		fault, err := s.begin(ctx, CallRestore, w.id)
		if err == nil && fault != nil && !fault.Lost {
			err = fault.Err
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if w.restored != 0 {
			return s.misuse.addf("Restore of a writer twice, split %q", w.id)
		}
		if len(w.staged) > 0 {
			return s.misuse.addf("Restore after Write, split %q", w.id)
		}
		if s.splits == nil {
			s.splits = make(map[string]*sinkSplit)
		}
		sp := s.splits[w.id]
		if sp == nil {
			sp = &sinkSplit{}
			s.splits[w.id] = sp
		}
		sp.owner++
		w.restored = sp.owner
		if sp.commits > 0 {
			envelope = append([]byte{}, sp.envelope...)
		}
		if fault != nil {
			return fault.Err
		}
		return nil
	}()
	return envelope, w.leave(err)
}

// Commit makes what is staged and the envelope durable in one step.
func (w *committingWriter[T]) Commit(ctx context.Context, envelope []byte) error {
	if err := w.enter(CallCommit); err != nil {
		return err
	}
	if w.restored == 0 {
		return w.leave(w.sink.misuse.addf("commit without Restore, split %q", w.id))
	}
	return w.leave(w.settle(ctx, CallCommit, func() {
		sp := w.sink.splits[w.id]
		sp.envelope = append([]byte{}, envelope...)
		sp.commits++
	}))
}

var (
	_ weaver.Flusher      = flushingWriter[int]{}
	_ weaver.Flusher      = (*committingWriter[int])(nil)
	_ weaver.Checkpointer = (*committingWriter[int])(nil)
)
