package postgres

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// reader makes records of what its fetcher fetches.
type reader[T any] struct {
	fetcher *fetcher
	shape   *row.Shape[T]
	scanner *row.Scanner[T]
	layout  *layout

	block    *block // the rest of it is next; nil: none
	at, last int    // where in it the next row begins, and the last one began
	left     int    // rows in it
	seq      int64
	scratch  scratch
	values   []row.Value // of a row, used again
	keys     []row.Value
	key      []byte
	position []byte

	time atomic.Int64 // of the last row's cursor, in milliseconds since 1970; 0: none
}

var (
	_ weaver.LagReporter = (*reader[int])(nil)
	_ weaver.Finisher    = (*reader[int])(nil)
)

// scannerFor returns what makes a T of rows.
func scannerFor[T any](shape *row.Shape[T], o *origin, l *layout) (*row.Scanner[T], error) {
	s, err := shape.Scanner(l.Shown, len(o.Columns) == 0)
	if err != nil {
		return nil, retry.Fatal(fmt.Errorf("postgres: %s: %w", o, err))
	}
	return s, nil
}

// use makes rows of a layout readable.
func (r *reader[T]) use(l *layout) error {
	s, err := scannerFor(r.shape, r.fetcher.o, l)
	if err != nil {
		return err
	}
	r.scanner, r.layout = s, l
	r.values = make([]row.Value, len(l.fields))
	r.keys = make([]row.Value, len(l.Key))
	return nil
}

// Read implements weaver.Reader.
func (r *reader[T]) Read(ctx context.Context, b *weaver.Batch[T]) (weaver.Position, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	from := r.seq
	for !b.Full() {
		if r.left == 0 {
			ready, err := r.next(ctx, r.seq == from)
			if err != nil {
				return r.position, err
			}
			if !ready {
				return r.position, nil
			}
		}
		if err := r.add(b); err != nil {
			return nil, err
		}
		if r.left == 0 {
			if err := r.done(); err != nil {
				return nil, err
			}
		}
	}
	if r.block != nil {
		if err := r.tell(); err != nil {
			return nil, err
		}
	}
	return r.position, nil
}

// next takes the next block, waiting for one if asked to.
func (r *reader[T]) next(ctx context.Context, wait bool) (ready bool, err error) {
	var c *block
	var open bool
	select {
	case c, open = <-r.fetcher.full:
	default:
		if !wait {
			return false, nil
		}
		select {
		case c, open = <-r.fetcher.full:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	switch {
	case open:
	case !wait:
		return false, nil // the next Read tells how it has ended
	case r.fetcher.err != nil:
		return false, r.fetcher.err
	default:
		return false, io.EOF
	}
	if c.layout != r.layout {
		if err := r.use(c.layout); err != nil {
			return false, err
		}
	}
	r.block, r.at, r.left = c, 0, c.rows
	return true, nil
}

// add adds the next row to a batch.
func (r *reader[T]) add(b *weaver.Batch[T]) error {
	c := r.block
	r.last = r.at
	r.scratch.reset()
	var refused error
	for i := range r.layout.fields {
		p, next, err := c.value(r.at)
		if err != nil {
			return err
		}
		r.at = next
		r.values[i] = row.Value{}
		if p == nil {
			continue
		}
		if r.values[i], err = r.layout.fields[i].decode(&r.scratch, p); err != nil && refused == nil {
			refused = fmt.Errorf("column %s: %w", tables.Brief(r.layout.fields[i].name), err)
		}
	}
	r.left--
	r.seq++
	for i, k := range r.layout.Key {
		r.keys[i] = r.values[k]
	}
	r.key = row.AppendKey(r.key[:0], r.keys...)
	if i := r.layout.Cursor; i >= 0 {
		r.note(r.values[i])
	}
	record := b.Add()
	if refused == nil {
		refused = r.scanner.Scan(&record.Value, r.values[:r.layout.Shown.Len()])
	}
	if refused != nil {
		b.Records = b.Records[:len(b.Records)-1]
		raw, err := row.Row{Columns: r.layout.Shown, Values: r.values[:r.layout.Shown.Len()]}.AppendJSON(nil)
		if err != nil {
			raw = r.key
		}
		b.Reject(r.seq, raw, fmt.Errorf("the row of %s with the key %.200q: %w", r.fetcher.o, r.key, refused))
		return nil
	}
	record.Key = b.Copy(r.key)
	record.Seq = r.seq
	if i := r.layout.Cursor; i >= 0 {
		record.Time = timeOf(r.values[i])
	}
	if i := r.layout.Deleted; i >= 0 && isDeleted(r.values[i]) {
		record.Op = weaver.Delete
	}
	b.Weigh(r.at - r.last)
	return nil
}

// isDeleted says what a soft-delete column says.
func isDeleted(v row.Value) bool {
	if v.Kind() == row.KindBool {
		return v.Bool()
	}
	return !v.IsNull()
}

// timeOf returns the time that a cursor is; zero if it is none.
func timeOf(v row.Value) time.Time {
	switch v.Kind() {
	case row.KindTime, row.KindDateTime:
		if v.Infinity() == 0 {
			seconds, nanos := v.Unix()
			return time.Unix(seconds, int64(nanos)).UTC()
		}
	default:
	}
	return time.Time{}
}

// note keeps a cursor's time for Lag.
func (r *reader[T]) note(v row.Value) {
	if v.Kind() == row.KindTime && v.Infinity() == 0 {
		seconds, nanos := v.Unix()
		r.time.Store(seconds*1000 + int64(nanos/1e6))
	}
}

// done gives a block back that is read.
func (r *reader[T]) done() error {
	if err := r.tell(); err != nil {
		return err
	}
	c := r.block
	r.block = nil
	r.fetcher.memory.Add(-int64(len(c.data)))
	r.fetcher.free <- c // never blocks: there is room for all blocks that exist
	return nil
}

// tell encodes the position behind the last row.
func (r *reader[T]) tell() error {
	if r.at == 0 {
		return nil // nothing of this block is read
	}
	p, err := r.block.position(r.last, r.seq, r.fetcher.start.Range)
	if err != nil {
		return err
	}
	encoded, err := p.Append(r.position[:0])
	if err != nil {
		return retry.Fatal(fmt.Errorf("postgres: the position in %s: %w", r.fetcher.o, err))
	}
	r.position = encoded
	return nil
}

// Finish implements weaver.Finisher: Read ends behind the rows that are committed now, once all are that come before them.
func (r *reader[T]) Finish(context.Context) error {
	r.fetcher.finish.Store(true)
	r.fetcher.nudge()
	return nil
}

// Lag implements weaver.LagReporter: none where all rows are read that there were when it was looked last; otherwise how old
// the last one is that was read, by our clock and a cursor with a time zone.
func (r *reader[T]) Lag() weaver.Lag {
	lag := weaver.UnknownLag
	if r.fetcher.caughtUp.Load() && r.fetcher.memory.Load() == 0 {
		return weaver.Lag{Records: 0, Bytes: 0, Time: 0}
	}
	if ms := r.time.Load(); ms != 0 {
		lag.Time = max(time.Since(time.UnixMilli(ms)), 0)
	}
	return lag
}

// Close implements weaver.Reader.
func (r *reader[T]) Close() error {
	r.fetcher.end()
	return nil
}
