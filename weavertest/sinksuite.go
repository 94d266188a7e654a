package weavertest

import (
	"context"
	"errors"
	"fmt"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

// SinkCase is what TestSink needs to know about a sink.
type SinkCase[T any] struct {
	// New returns a sink with an empty destination, and a function that reads what is durable there. It is called before
	// each rule.
	New func(ctx context.Context) (sink weaver.Sink[T], durable func(context.Context) ([]weaver.Record[T], error), err error)
	// Record makes record i, different for each i, in memory of its own.
	Record func(i int) weaver.Record[T]
	// Poison makes a record that the sink can never write. Default: there is none, and the rule partial isn't checked.
	Poison func() weaver.Record[T]

	Unordered bool                                  // durable has an order of its own; default: that of writing
	Equal     func(got, want weaver.Record[T]) bool // default: all but Seq is equal
	Patience  time.Duration                         // how long a rule may take; default 10 s
	Skip      []string                              // names of rules that don't apply; default: none
	Idle      func()                                // lets go of what may outlive a writer, such as idle connections; default: nothing
}

// TestSink checks that a sink keeps its contract, and returns nil or a *RuleError that names the first rule it breaks.
// "Durable" is after Write for a plain writer, after Flush for a Flusher and after Commit for a Checkpointer:
//
//   - write: what was written is durable then, all of it, once, in order
//   - empty: a batch without records is fine and writes nothing
//   - memory: what happens to a batch after Write, and to an envelope after Commit, changes nothing
//   - close: Close makes nothing durable, and works without a Write
//   - reopen: a writer that is opened with Resume adds to what is there
//   - partial: a batch with a poison record in it is refused as a whole, or by a *BatchError that is complete and
//     leaves the writer well
//   - cancel: Write returns when ctx has ended
//   - concurrent: writers that are open at once don't disturb each other
//   - flush: a Checkpointer is a Flusher too, which needs no Restore
//   - restore: Restore returns nil at first, then what the last Commit was given
//   - commit: records and envelope are durable together, and before that neither is; no records are fine too
//   - envelope: any bytes come back, none and a million
//   - fence: after Restore of a later writer, the earlier one can't commit
//   - splits: each split has its own envelope
//   - leak: no goroutine is left when everything is closed (checked after each of the others)
//
// Rules about a capability that the sink doesn't have are kept.
func TestSink[T any](ctx context.Context, c SinkCase[T]) error {
	if c.New == nil || c.Record == nil {
		return errors.New("weavertest: SinkCase needs New and Record")
	}
	return suite[*sinkRun[T]]{
		rules: []rule[*sinkRun[T]]{
			{"write", (*sinkRun[T]).ruleWrite},
			{"empty", (*sinkRun[T]).ruleEmpty},
			{"memory", (*sinkRun[T]).ruleMemory},
			{"close", (*sinkRun[T]).ruleClose},
			{"reopen", (*sinkRun[T]).ruleReopen},
			{"partial", (*sinkRun[T]).rulePartial},
			{"cancel", (*sinkRun[T]).ruleCancel},
			{"concurrent", (*sinkRun[T]).ruleConcurrent},
			{"flush", (*sinkRun[T]).ruleFlush},
			{"restore", (*sinkRun[T]).ruleRestore},
			{"commit", (*sinkRun[T]).ruleCommit},
			{"envelope", (*sinkRun[T]).ruleEnvelope},
			{"fence", (*sinkRun[T]).ruleFence},
			{"splits", (*sinkRun[T]).ruleSplits},
		},
		skip:     c.Skip,
		patience: c.Patience,
		idle:     c.Idle,
		begin: func(ctx context.Context) (*sinkRun[T], error) {
			r := &sinkRun[T]{SinkCase: c, equal: orEqual(c.Equal)}
			var err error
			r.sink, r.durable, err = c.New(ctx)
			return r, err
		},
	}.run(ctx)
}

// sinkRun is the check of one rule.
type sinkRun[T any] struct {
	SinkCase[T]
	equal   func(a, b weaver.Record[T]) bool
	sink    weaver.Sink[T]
	durable func(context.Context) ([]weaver.Record[T], error)
	batch   *weaver.Batch[T] // one for all: memory is used again as the engine does

	scribbles bool // batches are overwritten after Write
}

// opened is a writer with what it can do.
type opened[T any] struct {
	weaver.Writer[T]
	flusher      weaver.Flusher
	checkpointer weaver.Checkpointer
}

// plain reports whether what it has written is durable at once.
func (w opened[T]) plain() bool { return w.flusher == nil && w.checkpointer == nil }

// settle makes durable what was written.
func (w opened[T]) settle(ctx context.Context, envelope string) error {
	switch {
	case w.checkpointer != nil:
		w.checkpointer.Due()
		if err := w.checkpointer.Commit(ctx, []byte(envelope)); err != nil {
			return fmt.Errorf("Commit: %w", err)
		}
	case w.flusher != nil:
		w.flusher.Due()
		if err := w.flusher.Flush(ctx); err != nil {
			return fmt.Errorf("Flush: %w", err)
		}
	}
	return nil
}

// open opens a writer without Restore.
func (r *sinkRun[T]) open(ctx context.Context, split string, resume bool) (opened[T], error) {
	w, err := r.sink.OpenWriter(ctx, weaver.Lane{Pipeline: "weavertest", Split: weaver.Split{ID: split}, Resume: resume, Log: quiet})
	if err != nil {
		return opened[T]{}, fmt.Errorf("OpenWriter: %w", err)
	}
	o := opened[T]{Writer: w}
	o.checkpointer, _ = weaver.As[weaver.Checkpointer](w)
	o.flusher, _ = weaver.As[weaver.Flusher](w)
	return o, nil
}

// restored opens a writer and, if it is a Checkpointer, restores it.
func (r *sinkRun[T]) restored(ctx context.Context, split string, resume bool) (opened[T], []byte, error) {
	w, err := r.open(ctx, split, resume)
	if err != nil || w.checkpointer == nil {
		return w, nil, err
	}
	envelope, err := w.checkpointer.Restore(ctx)
	if err != nil {
		return w, nil, errors.Join(fmt.Errorf("Restore: %w", err), w.Close())
	}
	return w, envelope, nil
}

// with opens a writer, restores it, calls f and closes it.
func (r *sinkRun[T]) with(ctx context.Context, split string, resume bool, f func(w opened[T], envelope []byte) error) error {
	w, envelope, err := r.restored(ctx, split, resume)
	if err != nil {
		return err
	}
	err = f(w, envelope)
	if e := w.Close(); e != nil && err == nil {
		err = fmt.Errorf("Close: %w", e)
	}
	return err
}

// write writes records from..to in one batch.
func (r *sinkRun[T]) write(ctx context.Context, w opened[T], from, to int) error {
	if r.batch == nil {
		r.batch = weaver.NewBatch[T](0, 0)
	}
	r.batch.Reset()
	for i := from; i < to; i++ {
		*r.batch.Add() = r.Record(i)
	}
	if err := w.Write(ctx, r.batch); err != nil {
		return fmt.Errorf("Write of %d records: %w", to-from, err)
	}
	if r.scribbles {
		scribble(r.batch)
	}
	return nil
}

// records are those from..to.
func (r *sinkRun[T]) records(from, to int) []weaver.Record[T] {
	var out []weaver.Record[T]
	for i := from; i < to; i++ {
		out = append(out, r.Record(i))
	}
	return out
}

// holds checks what is durable.
func (r *sinkRun[T]) holds(ctx context.Context, want []weaver.Record[T]) error {
	got, err := r.durable(ctx)
	if err != nil {
		return fmt.Errorf("reading what is durable: %w", err)
	}
	if r.Unordered {
		return sameSet(want, got, r.equal)
	}
	return sameRecords(want, got, r.equal)
}
