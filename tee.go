package weaver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/bohica-labs/dataweaver/retry"
)

// Tee writes every record to all sinks. A record is settled when all of them have it. That is at-least-once, whatever
// the sinks: one that could keep the checkpoint itself (Checkpointer) is flushed instead.
//
// The sinks are written one after the other, and each is given what those before it have taken: a record that the first
// one refuses is written to none, one that the last one refuses is in the others already. Put the sink that refuses or
// fails most in front. Whatever is tried again (a record that failed, and the later ones of its key; all of a batch
// that one sink rolled back, or that an outage of one cut off) is written again to all sinks, also to those that have it. A record that is dead-lettered
// may have been written to those in front of the one that refused it.
//
// While one sink is out, the whole waits: nothing is ever written to some and forgotten for the others.
func Tee[T any](sinks ...Sink[T]) Sink[T] { return tee[T]{slices.Clone(sinks)} }

type tee[T any] struct{ sinks []Sink[T] }

var _ HealthChecker = tee[int]{}

// String names the sinks.
func (t tee[T]) String() string { return "weaver.Tee(" + namesOf(t.sinks) + ")" }

func (t tee[T]) name(i int) string {
	return fmt.Sprintf("sink %d of the Tee (%s)", i+1, sinkName(t.sinks[i]))
}

// CheckHealth asks all sinks that can be asked.
func (t tee[T]) CheckHealth(ctx context.Context) error { return checkSinks(ctx, t.sinks, t.name) }

// OpenWriter opens a Writer of each sink.
func (t tee[T]) OpenWriter(ctx context.Context, at Lane) (Writer[T], error) {
	if len(t.sinks) == 0 {
		return nil, retry.Fatal(errors.New("weaver.Tee of no sink: what is written would be lost"))
	}
	w := &teeWriter[T]{}
	for i, s := range t.sinks {
		if err := w.open(ctx, t.name(i), s, at); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	return w.front(w), nil
}

type teeWriter[T any] struct{ branches[T] }

// Write writes b to one after the other, less what those before have refused.
func (w *teeWriter[T]) Write(ctx context.Context, b *Batch[T]) error {
	var f failures
	for _, x := range w.all {
		if !w.writeTo(ctx, x, b, &f) || len(f.records) > 0 && len(f.records) == len(b.Records) {
			break
		}
	}
	return f.err()
}

// writeTo writes to x what has not failed so far.
func (w *teeWriter[T]) writeTo(ctx context.Context, x *branch[T], b *Batch[T], f *failures) bool {
	if len(f.records) == 0 {
		return x.write(ctx, b, f)
	}
	failed := make([]bool, len(b.Records))
	for _, r := range f.records {
		failed[r.Index] = true
	}
	defer x.drop()
	x.part.limit(b.maxRecords, b.maxBytes)
	x.part.End = b.End
	for i := range b.Records {
		if !failed[i] {
			x.take(&b.Records[i], i)
		}
	}
	return x.write(ctx, &x.part, f)
}
