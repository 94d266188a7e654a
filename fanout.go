package weaver

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bohica-labs/dataweaver/retry"
)

// Tee and Route are one Writer in front of several. The rules that keep records from being lost between them:
//
//   - A record that is not reported as failed was taken by every Writer that it was meant for.
//   - A BatchError leaves its Writer well. The records that it names are named to the engine, by their index in the
//     engine's batch, with the class that the Writer gave them.
//   - A roll-back can only be reported for the whole batch: what other Writers have taken of it is written again.
//   - After any other error of one Writer all are closed and opened again. The engine then writes the batch again, or,
//     where one of them buffers, reads again what came since the last checkpoint.
//   - Writers are called one after the other, and none is any more once one has rolled back or broken: what it was
//     given would only be a duplicate.

// branch is one of several Writers behind one.
type branch[T any] struct {
	name    string // for errors
	w       Writer[T]
	flusher Flusher // nil: what it accepts is durable
	dirty   bool    // it was given something since it was last flushed

	part  Batch[T] // what it is given of a batch, where that isn't all
	index []int    // in the batch of each record of part
}

// branches are all of them.
type branches[T any] struct{ all []*branch[T] }

// open opens one more Writer. After an error, Close closes those that were opened before.
func (bs *branches[T]) open(ctx context.Context, name string, sink Sink[T], at Lane) error {
	if isNil(sink) {
		return retry.Fatal(fmt.Errorf("%s: the Sink is nil", name))
	}
	w, err := sink.OpenWriter(ctx, at)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if isNil(w) {
		return retry.Fatal(fmt.Errorf("%s: %w", name, errNoWriter))
	}
	b := &branch[T]{name: name, w: w}
	bs.all = append(bs.all, b)
	var flushes bool
	if b.flusher, flushes = As[Flusher](w); flushes {
		return nil
	}
	if _, commits := As[Checkpointer](w); commits {
		return retry.Fatal(fmt.Errorf("%s: its Writer is a Checkpointer and no Flusher, so it can't be one of several that share a pipeline's positions", name))
	}
	return nil
}

// front returns w, which writes to the branches, as a Flusher if one of them is.
func (bs *branches[T]) front(w Writer[T]) Writer[T] {
	for _, b := range bs.all {
		if b.flusher != nil {
			return flushingBranches[T]{w, bs}
		}
	}
	return w
}

// flushingBranches is a Writer in front of several of which one buffers.
type flushingBranches[T any] struct {
	Writer[T]
	bs *branches[T]
}

// Due reports whether one of them wants to be flushed.
func (f flushingBranches[T]) Due() bool {
	for _, b := range f.bs.all {
		if b.flusher != nil && b.dirty && b.flusher.Due() {
			return true
		}
	}
	return false
}

// Flush flushes those that were given something. The first error ends it: everything since the last Flush is written
// again anyway.
func (f flushingBranches[T]) Flush(ctx context.Context) error {
	for _, b := range f.bs.all {
		if b.flusher == nil || !b.dirty {
			continue
		}
		if err := b.flusher.Flush(ctx); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		b.dirty = false
	}
	return nil
}

// Close closes all.
func (bs *branches[T]) Close() error {
	var errs []error
	for _, b := range bs.all {
		if err := guard(b.w.Close); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", b.name, err))
		}
	}
	bs.all = nil
	return errors.Join(errs...)
}

// take gives b record i of a batch in addition to what it has.
func (b *branch[T]) take(r *Record[T], i int) {
	b.part.Records = append(b.part.Records, *r)
	b.index = append(b.index, i)
}

// drop forgets what take has collected: nothing of a batch is kept.
func (b *branch[T]) drop() {
	clear(b.part.Records)
	b.part.Records, b.index = b.part.Records[:0], b.index[:0]
}

// write gives b the batch, which is whole or b.part. What fails is added to f, by the indexes in the whole. It reports
// whether others may go on; if not, f is the outcome.
func (b *branch[T]) write(ctx context.Context, batch *Batch[T], f *failures) bool {
	b.dirty = true
	err := b.w.Write(ctx, batch)
	if err == nil {
		return true
	}
	var partial *BatchError
	if !errors.As(err, &partial) {
		*f = failures{broken: fmt.Errorf("%s: %w", b.name, err)}
		return false
	}
	if err := partial.check(len(batch.Records)); err != nil {
		// Not wrapped: a BatchError in it would be taken for one about the engine's batch.
		*f = failures{broken: retry.Fatal(fmt.Errorf("%s: %v", b.name, err))} //nolint:errorlint // see above
		return false
	}
	if len(partial.Records) == 0 { // it has rolled back and doesn't know why: no matter what else has failed
		*f = failures{rolledBack: true, why: fmt.Errorf("%s: %w", b.name, partial.Err)}
		return false
	}
	for _, r := range partial.Records {
		if batch == &b.part {
			r.Index = b.index[r.Index]
		}
		f.records = append(f.records, RecordError{Index: r.Index, Err: fmt.Errorf("%s: %w", b.name, inherit(r.Err, partial.Err))})
	}
	f.rolledBack = partial.RolledBack
	return !partial.RolledBack
}

// inherit gives a record's error the class, and the wait, of the batch's where it has none of its own.
func inherit(err, common error) error {
	if common == nil || retry.ClassOf(err) != retry.ClassUnmarked {
		return err
	}
	if wait, told := retry.Delay(common); told && retry.ClassOf(common) == retry.ClassThrottled {
		return retry.After(err, wait)
	}
	return retry.Mark(err, retry.ClassOf(common))
}

// failures is what has failed of a batch so far.
type failures struct {
	records    []RecordError // each record once
	rolledBack bool          // the records that aren't named are to be written again as well
	why        error         // of a roll-back without records
	broken     error         // a Writer is to be opened again
}

// err is what Write returns.
func (f *failures) err() error {
	switch {
	case f.broken != nil:
		return f.broken
	case f.rolledBack || len(f.records) > 0:
		return &BatchError{Err: f.why, Records: f.records, RolledBack: f.rolledBack}
	}
	return nil
}

// checkSinks asks all sinks that can be asked.
func checkSinks[T any](ctx context.Context, sinks []Sink[T], name func(i int) string) error {
	var errs []error
	for i, s := range sinks {
		if h, ok := As[HealthChecker](s); ok && !isNil(s) {
			if err := h.CheckHealth(ctx); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name(i), err))
			}
		}
	}
	return errors.Join(errs...)
}

// namesOf lists sinks for errors and logs.
func namesOf[T any](sinks []Sink[T]) string {
	names := make([]string, len(sinks))
	for i, s := range sinks {
		names[i] = sinkName(s)
	}
	return strings.Join(names, ", ")
}

func sinkName[T any](s Sink[T]) string {
	if isNil(s) {
		return "nil"
	}
	return connectorName(s)
}
