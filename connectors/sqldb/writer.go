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

// staged is one record as arguments.
type staged struct {
	of       *statement
	from, to int // of args
	bytes    int
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

// stage makes arguments of records. It returns those that can't be written.
func (w *writer[T]) stage(ctx context.Context, b *weaver.Batch[T]) (named []weaver.RecordError, err error) {
	const kept = 1 << 16
	if cap(w.args) > kept {
		w.args = nil
	}
	clear(w.args) // so that what a larger batch had is let go
	w.staged, w.args = w.staged[:0], w.args[:0]
	w.wins.Reset()
	for i := range b.Records {
		r := &b.Records[i]
		bad, err := w.add(ctx, r)
		if err != nil {
			return nil, err
		}
		if bad != nil {
			named = append(named, weaver.RecordError{Index: i, Err: poison(bad)})
		}
	}
	return named, nil
}

// poison marks what is wrong with a record, unless it is marked.
func poison(err error) error {
	if retry.ClassOf(err) != retry.ClassUnmarked {
		return err
	}
	return retry.Permanent(err)
}

// add makes arguments of a record. Bad is what is wrong with it, err with the table.
func (w *writer[T]) add(ctx context.Context, r *weaver.Record[T]) (bad, err error) {
	if r.Op == weaver.Delete && w.mode == Insert {
		return errInsert, nil
	}
	rower := w.rower
	if rower == nil {
		rower = w.shape.Rower(nil) // there is no table yet
	}
	cols, values, bad := rower.Row(&r.Value, w.values[:0])
	if bad != nil {
		return bad, nil
	}
	w.values = values
	if w.table == nil {
		if cols.Len() == 0 {
			return w.missing(), nil
		}
		if err := w.make(ctx, kindsOf(cols, values)); err != nil {
			return nil, err
		}
		w.rower = w.shape.Rower(w.table.Names())
	}
	p, err := w.plan(ctx, cols)
	if err != nil {
		return nil, err
	}
	begin := len(w.args)
	if r.Op == weaver.Delete {
		bad = w.remove(p, r.Key)
	} else {
		bad = w.insert(p)
	}
	if bad != nil {
		w.args = w.args[:begin]
	}
	return bad, nil
}

// kindsOf returns columns with the kinds that values have, where they have none themselves.
func kindsOf(cols *row.Columns, values []row.Value) *row.Columns {
	list := make([]row.Column, 0, len(values))
	for i, c := range cols.All() {
		if c.Kind == row.KindNull {
			if c.Kind = values[i].Kind(); c.Kind == row.KindArray {
				c.Elem = values[i].Array().Elem
			}
		}
		list = append(list, c)
	}
	with, err := row.NewColumns(list...)
	if err != nil {
		return cols
	}
	return with
}

// insert makes arguments of the values in hand.
func (w *writer[T]) insert(p *plan) error {
	if p.poison != nil {
		return p.poison
	}
	s := staged{of: &p.insert, from: len(w.args)}
	for i, c := range p.columns {
		arg, size, err := w.argument(c, w.values[p.from[i]])
		if err != nil {
			return fmt.Errorf("sqldb: column %s of table %s: %w", tables.Brief(c.Name), w.quoted, err)
		}
		w.args = append(w.args, arg)
		s.bytes += size
	}
	w.keys = w.keys[:0]
	for i, at := range p.key {
		v := w.values[at]
		if v.IsNull() {
			return fmt.Errorf("sqldb: column %s of table %s: it is NULL, and part of the key", tables.Brief(p.keyed[i].Name), w.quoted)
		}
		if v, err := v.Convert(p.kinds[i]); err == nil {
			w.keys = append(w.keys, v)
		}
	}
	w.keep(s)
	return nil
}

// remove makes arguments of the key of the row that a Delete is about.
func (w *writer[T]) remove(p *plan, key []byte) error {
	given := make([]row.Value, 0, 4)
	for _, at := range p.key {
		v := row.Value{}
		if at >= 0 {
			v = w.values[at]
		}
		given = append(given, v)
	}
	var err error
	if w.keys, err = tables.DeleteKey(w.keys[:0], given, key, p.kinds); err != nil {
		return fmt.Errorf("sqldb: table %s: %w", w.quoted, err)
	}
	s := staged{of: &p.remove, from: len(w.args)}
	for i, v := range w.keys {
		arg, size, err := w.argument(p.keyed[i], v)
		if err != nil {
			return fmt.Errorf("sqldb: column %s of table %s: %w", tables.Brief(p.keyed[i].Name), w.quoted, err)
		}
		w.args = append(w.args, arg)
		s.bytes += size
	}
	w.keep(s)
	return nil
}

// keep adds a record whose arguments are there.
func (w *writer[T]) keep(s staged) {
	s.to = len(w.args)
	w.staged = append(w.staged, s)
	if w.mode == Upsert {
		w.wins.Add(func(dst []byte) []byte { return row.AppendKey(dst, w.keys...) })
	}
}

// argument returns a value as the driver takes it, and about how many bytes it has.
func (w *writer[T]) argument(c *Column, v row.Value) (any, int, error) {
	const scalar = 12
	if v.IsNull() {
		if !c.Nullable && (!c.Default || !c.Key) {
			return nil, 0, errNull
		}
		return nil, scalar, nil
	}
	if v.Kind() != c.Kind {
		var err error
		if c.Kind == row.KindArray {
			v, err = v.ConvertArray(c.Elem)
		} else {
			v, err = v.Convert(c.Kind)
		}
		if err != nil {
			return nil, 0, err
		}
	}
	arg, err := w.db.dialect.Argument(c, v)
	return arg, scalar + len(v.Str()), err
}

// arrange makes statements of what is staged, in order, without what a later record replaces.
func (w *writer[T]) arrange() {
	w.steps = w.steps[:0]
	if w.wins.Any() {
		w.compact()
	}
	for i := 0; i < len(w.staged); {
		of := w.staged[i].of
		n, bytes := 0, 0
		for i+n < len(w.staged) && n < of.most && w.staged[i+n].of == of {
			if bytes += w.staged[i+n].bytes; n > 0 && bytes > w.traits.Bytes {
				break
			}
			n++
		}
		size := 1
		for size*2 <= n {
			size *= 2
		}
		w.steps = append(w.steps, step{of: of, rows: size, from: w.staged[i].from, to: w.staged[i+size-1].to})
		i += size
	}
}

// compact closes the gaps that replaced records leave.
func (w *writer[T]) compact() {
	n, end := 0, 0
	for i, s := range w.staged {
		if w.wins.Replaced(i) {
			continue
		}
		size := copy(w.args[end:], w.args[s.from:s.to])
		s.from, s.to = end, end+size
		w.staged[n] = s
		n, end = n+1, end+size
	}
	w.staged, w.args = w.staged[:n], w.args[:end]
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
