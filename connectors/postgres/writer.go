package postgres

import (
	"context"
	"errors"
	"fmt"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// writer writes one split's records. Whether it keeps the checkpoint is known when it is asked to Restore.
type writer[T any] struct {
	loader
	sink       *Sink[T]
	at         weaver.Lane
	shape      *row.Shape[T]
	rower      *row.Rower[T]
	values     []row.Value
	commitRows int

	wrote  bool
	keeper *keeper // nil without Restore
	err    error   // after which it is of no use
}

var (
	_ weaver.Checkpointer = (*writer[int])(nil)
	_ weaver.Flusher      = (*writer[int])(nil)
)

// open looks at the table, and makes the plan of a struct.
func (w *writer[T]) open(ctx context.Context) error {
	tab, err := describe(ctx, w.conn, w.sink.Schema, w.sink.table)
	if w.sink.Create && errors.Is(err, errNoTable) {
		if w.shape.Columns() == nil {
			return nil // made for the first record
		}
		tab, err = w.createTable(ctx, w.sink.Schema, w.sink.table, w.shape.Columns(), w.sink.Key, w.sink.Mode)
	}
	if err != nil {
		return err
	}
	return w.use(ctx, tab)
}

// use begins to write into a table.
func (w *writer[T]) use(ctx context.Context, tab *table) error {
	switch tab.relkind {
	case "r", "p", "f":
	default:
		return retry.Fatal(fmt.Errorf("postgres: %s is no table but a view, which this sink doesn't write to", tab))
	}
	key, err := w.sink.keyOfTable(tab)
	if err != nil {
		return err
	}
	w.tab, w.key = tab, key
	w.rower = w.shape.Rower(tab.names())
	if w.shape.Columns() == nil {
		return nil
	}
	if w.unknown == AddColumn {
		defer func() { w.rower = w.shape.Rower(w.tab.names()) }() // what was added has a name of its own now
	}
	p, err := w.planFor(ctx, w.shape.Match(tab.names()), nil)
	if err != nil {
		return err
	}
	if p.poison != nil {
		return retry.Fatal(p.poison)
	}
	return nil
}

// Due implements weaver.Checkpointer and weaver.Flusher.
func (w *writer[T]) Due() bool { return w.err == nil && w.counts.rows >= w.commitRows }

// Write implements weaver.Writer. What can be seen to be wrong with a record before any is sent is named; where the database refuses the batch,
// it is undone to before it.
func (w *writer[T]) Write(ctx context.Context, b *weaver.Batch[T]) error {
	switch {
	case w.err != nil:
		return w.err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case len(b.Records) == 0:
		return nil
	}
	w.wrote = true
	failed, err := w.stageBatch(ctx, b)
	if err != nil || failed != nil {
		if undoing := w.withdraw(ctx); undoing != nil {
			return w.broken(ctx, undoing)
		}
	}
	switch {
	case err != nil:
		return w.broken(ctx, err)
	case failed != nil:
		return &weaver.BatchError{Err: failed[0].Err, Records: failed, RolledBack: true}
	case w.staging.used == 0:
		return nil
	}
	if err := w.flush(ctx); err != nil {
		if retry.ClassOf(err) == retry.ClassPoison && !w.conn.IsClosed() {
			return &weaver.BatchError{Err: err, RolledBack: true}
		}
		return w.broken(ctx, err)
	}
	return nil
}

// stageBatch encodes a batch.
func (w *writer[T]) stageBatch(ctx context.Context, b *weaver.Batch[T]) (failed []weaver.RecordError, err error) {
	w.staging.reset()
	if err := w.evict(ctx); err != nil {
		return nil, err
	}
	ahead := w.mode == Insert && w.shape.Columns() != nil // all plans are made, and need the connection no more
	for i := range b.Records {
		r := &b.Records[i]
		bad, fatal := w.stageRecord(ctx, r)
		if ahead && failed == nil {
			w.ahead(ctx)
		}
		switch {
		case bad == nil:
		case fatal:
			return nil, bad
		default:
			failed = append(failed, weaver.RecordError{Index: i, Err: bad})
		}
	}
	return failed, nil
}

func (w *writer[T]) stageRecord(ctx context.Context, r *weaver.Record[T]) (err error, fatal bool) { //nolint:revive // as loader.stage
	if w.rower == nil {
		if err := w.createFor(ctx, r); err != nil {
			return err, retry.ClassOf(err) != retry.ClassPoison
		}
	}
	cols, values, err := w.rower.Row(&r.Value, w.values[:0])
	w.values = values
	if err != nil {
		return poison(err), false
	}
	switch {
	case r.Op == weaver.Delete:
		return w.stageDelete(ctx, cols, values, r.Key)
	case r.Op == weaver.Update && w.mode == Insert:
		return retry.Permanent(errInsertOnly), false
	}
	return w.stage(ctx, cols, values)
}

// createFor makes the table for a first record of columns that weren't known.
func (w *writer[T]) createFor(ctx context.Context, r *weaver.Record[T]) error {
	cols, values, err := w.shape.Rower(nil).Row(&r.Value, nil)
	switch {
	case err != nil:
		return poison(err)
	case cols.Len() == 0:
		return retry.Permanent(fmt.Errorf("postgres: table %s isn't there, and the record has no columns to make it from", tables.Brief(w.sink.table)))
	}
	if cols, err = kindsOf(cols, values); err != nil {
		return retry.Permanent(err)
	}
	tab, err := w.createTable(ctx, w.sink.Schema, w.sink.table, cols, w.sink.Key, w.sink.Mode)
	if err != nil {
		return err
	}
	return w.use(ctx, tab)
}

// poison marks the error of a value that can't be one, unless it is marked.
func poison(err error) error {
	if retry.ClassOf(err) == retry.ClassUnmarked {
		return retry.Permanent(err)
	}
	return err
}

// broken makes the writer useless. If somebody else has taken over, that is the error.
func (w *writer[T]) broken(ctx context.Context, err error) error {
	err = classify(err)
	if w.keeper != nil && retry.ClassOf(err) != retry.ClassFatal && w.keeper.isFenced(ctx) {
		err = fmt.Errorf("%w: %w", weaver.ErrFenced, err)
	}
	w.err = err
	return err
}

// Restore implements weaver.Checkpointer: it ends the session of any earlier owner of the split, if that is still there, and makes it unable to commit.
func (w *writer[T]) Restore(ctx context.Context) ([]byte, error) {
	switch {
	case w.err != nil:
		return nil, w.err
	case w.keeper != nil || w.wrote:
		w.err = retry.Fatal(errors.New("postgres: Restore is called twice, or after Write"))
		return nil, w.err
	}
	k := &keeper{
		db: w.sink.db, session: w.session, log: w.log, conn: w.conn,
		table: checkpointTable{schema: w.sink.Schema, name: w.sink.Checkpoints}, key: keyOfLane(w.at),
	}
	restore := k.restore
	if w.dry {
		restore = k.look
	}
	bounded, cancel := w.session.bound(ctx)
	defer cancel()
	envelope, err := restore(bounded)
	if err != nil {
		w.err = err
		return nil, err
	}
	w.keeper = k
	return envelope, nil
}

// keyOfLane is what the checkpoint of a split is kept under, as with a checkpoint.Store.
func keyOfLane(at weaver.Lane) string {
	if at.Split.ID == "" {
		return at.Pipeline
	}
	return at.Pipeline + "/" + at.Split.ID
}

// Commit implements weaver.Checkpointer: the envelope and the end of the transaction are one round trip.
func (w *writer[T]) Commit(ctx context.Context, envelope []byte) error {
	switch {
	case w.err != nil:
		return w.err
	case w.keeper == nil:
		w.err = retry.Fatal(errors.New("postgres: Commit without Restore"))
		return w.err
	case w.dry:
		return w.rollBack(ctx)
	}
	bounded, cancel := w.session.bound(ctx)
	defer cancel()
	if err := w.keeper.commit(bounded, envelope, w.tx.open); err != nil {
		if ctx.Err() == nil && bounded.Err() != nil {
			err = context.Cause(bounded)
		}
		return w.broken(ctx, err)
	}
	w.ended()
	return nil
}

// Flush implements weaver.Flusher, for a writer that nobody has restored.
func (w *writer[T]) Flush(ctx context.Context) error {
	switch {
	case w.err != nil:
		return w.err
	case w.keeper != nil:
		w.err = retry.Fatal(errors.New("postgres: Flush after Restore: what was written goes with a position"))
		return w.err
	case !w.tx.open:
		return nil
	case w.dry:
		return w.rollBack(ctx)
	}
	if _, err := w.exec(ctx, "COMMIT"); err != nil {
		return w.broken(ctx, fmt.Errorf("postgres: committing: %w", err))
	}
	w.ended()
	return nil
}

// ended notes that the transaction is over.
func (w *writer[T]) ended() {
	w.tx = transaction{serial: w.tx.serial}
	w.counts = counts{}
}

// rollBack ends a dry run's transaction, and says what it was. Where it has made a table, it goes on until Close.
func (w *writer[T]) rollBack(ctx context.Context) error {
	if !w.tx.open {
		return nil
	}
	c := w.counts
	w.log.Info("dry run: rolled back", "table", w.tab.sql(), "inserted", c.inserted, "updated", c.updated, "deleted", c.deleted)
	if w.tx.ddl {
		w.counts = counts{}
		return nil
	}
	if _, err := w.exec(ctx, "ROLLBACK"); err != nil {
		return w.broken(ctx, fmt.Errorf("postgres: rolling back: %w", err))
	}
	if w.tx.typed {
		w.forget()
		w.deletes = nil
	}
	w.ended()
	return nil
}

// Close implements weaver.Writer. What wasn't committed is rolled back.
func (w *writer[T]) Close() error {
	if w.conn != nil {
		hangUp(w.conn)
	}
	w.err = errors.New("postgres: the writer is closed")
	w.staging = staging{}
	w.values = nil
	return nil
}
