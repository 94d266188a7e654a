package sqldb

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// reader asks for a page in each Read and puts its rows into the batch. Between calls nothing is open but the connection.
type reader[T any] struct {
	o       *origin
	shape   *row.Shape[T]
	log     *slog.Logger
	conn    *connection
	traits  Traits
	layout  *layout
	scanner *row.Scanner[T]
	looked  time.Time // when the table was looked up

	at       tables.Position // of the next page
	horizon  horizon
	ready    map[string]*sql.Stmt
	cells    *cells
	values   []row.Value
	keys     []row.Value
	key      []byte
	order    []byte // what the last row is ordered by, encoded
	before   []byte // likewise, of the row before it
	position []byte

	finish   sync.Once
	finished chan struct{}
	lag      atomic.Int64 // the time of the last row's cursor, in nanoseconds since 1970; 0: none
}

var (
	_ weaver.LagReporter = (*reader[int])(nil)
	_ weaver.Finisher    = (*reader[int])(nil)
)

// prepare finds out what to read from where.
func (r *reader[T]) prepare(ctx context.Context, resumes bool) error {
	rel, err := r.o.describe(ctx, r.conn)
	if err != nil {
		return err
	}
	named := *r.o
	named.Cursor = named.CursorOf(rel.rows(), rel.key) // for good, whatever the key becomes
	r.o = &named
	l, err := r.o.layout(rel)
	if err != nil {
		return err
	}
	if err := r.use(l); err != nil {
		return err
	}
	if r.o.Follow {
		if err := r.checkFollow(); err != nil {
			return err
		}
	}
	if !resumes {
		r.at.Following = r.o.Follow && r.o.Ranges == 1
	}
	switch {
	case r.at.Following && !r.o.Follow:
		return retry.Fatal(fmt.Errorf("sqldb: the checkpoint was made with Follow, by the order of a cursor: set Follow, or begin %s anew without the checkpoint", r.o))
	case r.o.Follow && !r.at.Following && len(r.at.Horizon) == 0 && resumes:
		return retry.Fatal(fmt.Errorf("sqldb: the checkpoint was made without Follow: it doesn't say from where to follow %s; begin anew without it", r.o))
	}
	by := rel.key
	if l.Cursor >= 0 && r.o.Follow {
		by = append(slices.Clone(by), l.fields[l.Cursor].Name)
	}
	return r.o.checkNulls(ctx, r.conn, rel, by)
}

// use makes rows of a layout readable.
func (r *reader[T]) use(l *layout) error {
	s, err := r.shape.Scanner(l.Shown, len(r.o.Columns) == 0)
	if err != nil {
		return retry.Fatal(fmt.Errorf("sqldb: %s: %w", r.o, err))
	}
	r.layout, r.scanner, r.looked = l, s, time.Now()
	if r.o.Follow && l.Cursor < 0 {
		return retry.Fatal(fmt.Errorf("sqldb: Follow needs Cursor: the key of %s isn't one integer", r.o))
	}
	r.cells = newCells(len(l.fields))
	r.values = make([]row.Value, len(l.fields))
	r.keys = make([]row.Value, len(l.Key))
	r.forget()
	return r.checkKinds()
}

// checkKinds refuses a position whose values aren't what the columns are: their order is another one now. Where columns hold
// anything (SQLite), so may positions.
func (r *reader[T]) checkKinds() error {
	check := func(fields []int, values []row.Value) error {
		if len(values) > len(fields) {
			return retry.Fatal(fmt.Errorf("sqldb: the checkpoint was made with another Key or Cursor than %s is read by now: begin anew without it", r.o))
		}
		for i, v := range values {
			c := r.layout.fields[fields[i]]
			fits := c.Kind == row.KindNull || v.Kind().ConvertibleTo(c.Kind)
			if c.Kind == row.KindText { // anything can be one, but no value of such a column is a number
				fits = v.Kind() == row.KindText || v.Kind() == row.KindBytes
			}
			if !fits {
				return retry.Fatal(fmt.Errorf("sqldb: column %s of %s is %s now, and was %v when the checkpoint was made, in whose order the table was read: begin anew without it", tables.Brief(c.Name), r.o, c.Type, v.Kind()))
			}
		}
		return nil
	}
	for _, values := range [][]row.Value{r.at.Range.After, r.at.Range.Last} {
		if err := check(r.layout.Key, values); err != nil {
			return err
		}
	}
	if len(r.at.Horizon) > 0 {
		if r.layout.Cursor < 0 {
			return retry.Fatal(fmt.Errorf("sqldb: the checkpoint was made with Follow: set it, or begin %s anew without the checkpoint", r.o))
		}
		if err := check([]int{r.layout.Cursor}, r.at.Horizon); err != nil {
			return err
		}
	}
	return check(r.layout.Order(r.at.Following), r.at.At)
}

// lookEvery is how often a table is looked up again while it is read: for columns that are added, or altered.
const lookEvery = time.Second

// look looks up the table again, from time to time.
func (r *reader[T]) look(ctx context.Context) error {
	if r.o.Query != "" || time.Since(r.looked) < lookEvery {
		return nil
	}
	rel, err := r.o.describe(ctx, r.conn)
	if err != nil {
		return err
	}
	l, err := r.o.layout(rel)
	if err != nil {
		return err
	}
	r.looked = time.Now()
	if l.same(r.layout) {
		return nil
	}
	return r.use(l)
}

// Read implements weaver.Reader.
func (r *reader[T]) Read(ctx context.Context, b *weaver.Batch[T]) (weaver.Position, error) {
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := r.look(ctx); err != nil {
			return nil, err
		}
		if r.o.Follow {
			ready, err := r.bound(ctx)
			if err != nil {
				return nil, err
			}
			if !ready { // there is nothing to read up to, yet
				if r.isFinished() && r.horizon.caughtUp {
					return nil, io.EOF
				}
				if err := r.wait(ctx); err != nil {
					return nil, err
				}
				continue
			}
		}
		n, err := r.page(ctx, b)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			return r.tell()
		}
		switch {
		case !r.o.Follow:
			return nil, io.EOF
		case !r.at.Following:
			r.at.Following, r.at.At, r.at.Horizon = true, r.at.Horizon, nil
			return r.tell()
		}
		r.horizon.reached()
	}
}

// tell returns the position.
func (r *reader[T]) tell() (weaver.Position, error) {
	p, err := r.at.Append(r.position[:0])
	if err != nil {
		return nil, retry.Fatal(fmt.Errorf("sqldb: reading %s: %w", r.o, err))
	}
	r.position = p
	return p, nil
}

// page reads the next rows, and returns how many.
func (r *reader[T]) page(ctx context.Context, b *weaver.Batch[T]) (int, error) {
	room, _ := b.Room()
	limit := min(room, r.o.pageRows)
	peek := 0
	if !r.layout.rel.unique {
		peek = 1 // whether the row behind the page has another key
	}
	query, args, err := r.sql(limit + peek)
	if err != nil {
		return 0, err
	}
	bounded, cancel := r.conn.bound(ctx)
	defer cancel()
	n, err := r.rows(bounded, b, limit, query, args)
	if err != nil {
		return 0, r.o.db.failed(ctx, bounded, fmt.Errorf("sqldb: reading %s: %w", r.o, err))
	}
	if n > 0 {
		if r.at.At, _, err = tables.ParseValues(r.order); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func (r *reader[T]) rows(ctx context.Context, b *weaver.Batch[T], limit int, query string, args []any) (n int, err error) {
	prepared := r.ready[query]
	if prepared == nil {
		if prepared, err = r.conn.PrepareContext(ctx, query); err != nil {
			return 0, err
		}
		if r.ready == nil {
			r.ready = map[string]*sql.Stmt{}
		}
		r.ready[query] = prepared
	}
	rows, err := prepared.QueryContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	defer func() {
		if e := rows.Close(); err == nil {
			err = e
		}
	}()
	full := false
	r.before = r.before[:0]
	for rows.Next() {
		if err := rows.Scan(r.cells.dest...); err != nil {
			return n, err
		}
		for i, c := range r.layout.fields {
			if r.values[i], err = r.o.db.dialect.Value(c, r.cells.cells[i].src); err != nil {
				return n, fmt.Errorf("column %s: %w", tables.Brief(c.Name), err)
			}
		}
		if err := r.note(full || n == limit); err != nil {
			return n, err
		}
		if full || n == limit {
			break
		}
		r.add(b)
		n++
		if full = b.Full(); full && r.layout.rel.unique {
			break
		}
	}
	return n, rows.Err()
}

// note takes note of what the row in hand is ordered by, and refuses one that the next page could not tell from the one before.
// One that is only looked at isn't noted.
func (r *reader[T]) note(only bool) error {
	var values [16]row.Value
	list := values[:0]
	for _, i := range r.layout.Order(r.at.Following) {
		if r.values[i].IsNull() {
			return retry.Fatal(fmt.Errorf("there is a row where %s is NULL, by which it is read: rows after it would be missed", tables.Brief(r.layout.fields[i].Name)))
		}
		list = append(list, r.values[i])
	}
	encoded, err := tables.AppendValues(r.before[:0:cap(r.before)], list)
	if err != nil {
		return retry.Fatal(err)
	}
	if len(r.order) > 0 && r.at.Seq > 0 && bytes.Equal(encoded, r.order) {
		return retry.Fatal(fmt.Errorf("there are two rows with the same key (%s), of which one could be missed: name a Key that tells rows apart", briefs(r.layout.rel.key)))
	}
	r.before = encoded
	if !only {
		r.order, r.before = r.before, r.order
	}
	return nil
}

// add makes a record of the row in hand.
func (r *reader[T]) add(b *weaver.Batch[T]) {
	for i, at := range r.layout.Key {
		r.keys[i] = r.values[at]
	}
	r.key = row.AppendKey(r.key[:0], r.keys...)
	r.at.Seq++
	weight := 0
	shown := r.values[:r.layout.Shown.Len()]
	for _, v := range shown {
		weight += 16 + len(v.Str())
	}
	rec := b.Add()
	if err := r.scanner.Scan(&rec.Value, shown); err != nil {
		b.Records = b.Records[:len(b.Records)-1]
		b.Reject(r.at.Seq, row.AppendKey(nil, shown...), retry.Permanent(fmt.Errorf("sqldb: the row of %s with the key %s: %w", r.o, tables.Brief(string(r.key)), err)))
		return
	}
	b.Weigh(weight)
	rec.Key, rec.Seq = b.Copy(r.key), r.at.Seq
	if r.layout.Deleted >= 0 && isDeleted(r.layout.fields[r.layout.Deleted], r.values[r.layout.Deleted]) {
		rec.Op = weaver.Delete
	}
	if r.layout.Cursor >= 0 {
		if t, ok := timeOfValue(r.values[r.layout.Cursor]); ok {
			rec.Time = t
			r.lag.Store(t.UnixNano())
		}
	}
}

// timeOfValue returns a time that a cursor is.
func timeOfValue(v row.Value) (time.Time, bool) {
	switch v.Kind() {
	case row.KindDate, row.KindDateTime, row.KindTime:
		t, ok := v.Any().(time.Time)
		return t, ok
	default:
	}
	return time.Time{}, false
}

// isDeleted reports what the column Deleted says.
func isDeleted(c *Column, v row.Value) bool {
	if c.Kind == row.KindBool || strings.HasPrefix(strings.ToLower(c.Type), "tinyint(1)") || v.Kind() == row.KindBool {
		yes, err := v.Convert(row.KindBool)
		return !v.IsNull() && (err != nil || yes.Bool())
	}
	return !v.IsNull()
}

// Finish implements weaver.Finisher.
func (r *reader[T]) Finish(context.Context) error {
	r.finish.Do(func() { close(r.finished) })
	return nil
}

func (r *reader[T]) isFinished() bool {
	select {
	case <-r.finished:
		return true
	default:
		return false
	}
}

// Lag implements weaver.LagReporter: how old the last row was when it was asked, if the cursor is a time.
func (r *reader[T]) Lag() weaver.Lag {
	lag := weaver.UnknownLag
	if at := r.lag.Load(); at != 0 {
		lag.Time = max(time.Since(time.Unix(0, at)), 0)
	}
	return lag
}

// forget closes what was prepared.
func (r *reader[T]) forget() {
	for _, prepared := range r.ready {
		_ = prepared.Close() // the connection lives on without it
	}
	r.ready = nil
}

// Close implements weaver.Reader.
func (r *reader[T]) Close() error {
	if r.conn == nil {
		return nil
	}
	r.forget()
	conn := r.conn
	r.conn = nil
	return conn.release()
}
