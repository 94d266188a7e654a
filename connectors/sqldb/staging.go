package sqldb

import (
	"context"
	"fmt"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// staged is one record as arguments.
type staged struct {
	of       *statement
	from, to int // of args
	bytes    int
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
