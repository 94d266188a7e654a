package sqldb

import (
	"context"
	"errors"
	"fmt"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// writer stages records in a transaction, from the first Write to Commit.
type writer[T any] struct {
	*target
	shape *row.Shape[T]
	rower *row.Rower[T]
	turn  chan struct{} // held by whoever uses what is here: a writer that takes over evicts this one
	fence fence
	err   error // why it is of no more use

	values []row.Value // of the record in hand
	keys   []row.Value
	staged []staged
	args   []any
	steps  []step
	wins   tables.LastWins
}

var (
	_ weaver.Checkpointer = (*writer[int])(nil)
	_ weaver.Flusher      = (*writer[int])(nil)
)

// take waits for the writer.
func (w *writer[T]) take(ctx context.Context) error {
	select {
	case w.turn <- struct{}{}:
		if w.err != nil {
			<-w.turn
			return w.err
		}
		if ctx.Err() != nil {
			<-w.turn
			return context.Cause(ctx)
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *writer[T]) give() { <-w.turn }

// fail makes the writer useless, and returns why.
func (w *writer[T]) fail(ctx context.Context, err error) error {
	w.err = w.fenced(ctx, err)
	return w.err
}

// Due implements weaver.Checkpointer and weaver.Flusher: CommitRows are staged.
func (w *writer[T]) Due() bool { return w.open && w.rows >= w.commitRows }

// Write implements weaver.Writer. What can be seen to be wrong is named; of what the database refuses, the batch is rolled back.
func (w *writer[T]) Write(ctx context.Context, b *weaver.Batch[T]) error {
	if err := w.take(ctx); err != nil {
		return err
	}
	defer w.give()
	if len(b.Records) == 0 {
		return nil
	}
	named, err := w.stage(ctx, b)
	switch {
	case err != nil:
		return w.fail(ctx, err)
	case len(named) > 0:
		return &weaver.BatchError{Err: named[0].Err, Records: named, RolledBack: true}
	}
	w.arrange()
	if err := w.begin(ctx); err != nil {
		return w.fail(ctx, err)
	}
	if err := w.run(ctx, w.steps, w.args); err != nil {
		var batch *weaver.BatchError
		if errors.As(err, &batch) {
			return err
		}
		return w.fail(ctx, err)
	}
	w.rows += len(b.Records)
	return nil
}

// Restore implements weaver.Checkpointer.
func (w *writer[T]) Restore(ctx context.Context) ([]byte, error) {
	w.db.own(ctx, w.checkpoints+"\x00"+string(w.fence.id), w) // before the turn: this writer isn't used yet
	if err := w.take(ctx); err != nil {
		return nil, err
	}
	defer w.give()
	envelope, err := w.restore(ctx, &w.fence)
	if err != nil {
		return nil, w.fail(ctx, err)
	}
	return envelope, nil
}

// evict takes the writer's split away.
func (w *writer[T]) evict(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, w.conn.limits.withDefaults().lock)
	defer cancel()
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return // it waits for something: the checkpoint's version fences it
	}
	defer w.give()
	if w.err == nil {
		w.err = fmt.Errorf("sqldb: writing to table %s: %w", w.quoted, weaver.ErrFenced)
		if w.rollback(ctx) != nil {
			w.conn.broken = true
		}
	}
}

// Commit implements weaver.Checkpointer.
func (w *writer[T]) Commit(ctx context.Context, envelope []byte) error {
	if err := w.take(ctx); err != nil {
		return err
	}
	defer w.give()
	if !w.fence.restored {
		return w.fail(ctx, retry.Fatal(errors.New("sqldb: Commit without Restore")))
	}
	if err := w.commitWith(ctx, envelope); err != nil {
		return w.fail(ctx, err)
	}
	return nil
}

func (w *writer[T]) commitWith(ctx context.Context, envelope []byte) error {
	if w.dryRun {
		return w.discard(ctx)
	}
	if err := w.begin(ctx); err != nil {
		return err
	}
	if err := w.advance(ctx, &w.fence, envelope); err != nil {
		return err
	}
	if err := w.commit(ctx); err != nil {
		return err
	}
	w.fence.version++
	return nil
}

// discard ends a dry run's transaction.
func (w *writer[T]) discard(ctx context.Context) error {
	if w.open && w.rows > 0 {
		w.log.Info("dry run: rolled back what would have been written", "table", w.name, "records", w.rows, "rows affected", w.tally["affected"])
	}
	return w.rollback(ctx)
}

// Flush implements weaver.Flusher, for a writer that nobody has restored.
func (w *writer[T]) Flush(ctx context.Context) error {
	if err := w.take(ctx); err != nil {
		return err
	}
	defer w.give()
	var err error
	switch {
	case w.fence.restored:
		err = retry.Fatal(errors.New("sqldb: Flush after Restore: what was written goes with a position"))
	case !w.open:
	case w.dryRun:
		err = w.discard(ctx)
	default:
		err = w.commit(ctx)
	}
	if err != nil {
		return w.fail(ctx, err)
	}
	return nil
}

// Close implements weaver.Writer. What wasn't committed is rolled back.
func (w *writer[T]) Close() error {
	w.db.disown(w.checkpoints+"\x00"+string(w.fence.id), w)
	w.turn <- struct{}{}
	defer w.give()
	if errors.Is(w.err, errClosed) {
		return nil
	}
	w.err = errClosed
	return w.close()
}

var errClosed = errors.New("sqldb: the writer is closed")
