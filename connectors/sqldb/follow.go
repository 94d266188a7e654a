package sqldb

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// horizon is how far a cursor is safe to be read: no transaction will commit a row below it any more.
//
// The greatest value M that is committed is the candidate. A row with a value up to M that isn't there yet is of a transaction
// that has drawn the value already, and hasn't ended. After a while in which it must have come to show (Follower.Settles, the
// resolution of a clock, Slack), the transactions are asked for. Once all of them have ended, whatever they have written shows:
// M is safe, for pages that are asked for from then on.
type horizon struct {
	safe      row.Value // NULL: nothing is
	candidate row.Value // NULL: there is none
	seen      time.Time // when that was the greatest
	asked     bool
	writers   []string // of those that were there then, who haven't ended
	warned    bool
	done      bool // everything up to safe has been read
	caughtUp  bool // and there was nothing beyond it
}

// reached notes that all rows up to safe have been read.
func (h *horizon) reached() { h.done = true }

// clock reports whether the cursor is the time of a clock.
func (r *reader[T]) clock() bool {
	switch r.layout.fields[r.layout.Cursor].Kind {
	case row.KindDate, row.KindDateTime, row.KindTime, row.KindClock, row.KindText:
		return true
	default:
	}
	return false
}

// checkFollow refuses to follow where rows would be missed.
func (r *reader[T]) checkFollow() error {
	if _, ok := r.o.db.dialect.(Follower); !ok && r.o.slack == 0 {
		return retry.Fatal(fmt.Errorf("sqldb: it can't be known which transactions of %s are under way, so that rows which are committed late would be missed: set Slack to longer than any takes", r.o.db.dialect.Name()))
	}
	switch c := r.layout.fields[r.layout.Cursor]; c.Kind {
	case row.KindInt, row.KindUint, row.KindDateTime, row.KindTime, row.KindDecimal, row.KindText, row.KindNull:
		return nil
	default:
		return retry.Fatal(fmt.Errorf("sqldb: %s can't be followed by column %s: %s is neither an integer nor a time", r.o, tables.Brief(c.Name), c.Type))
	}
}

// bound sees to something to read up to. It is called before each page; false: there is nothing yet.
func (r *reader[T]) bound(ctx context.Context) (bool, error) {
	h := &r.horizon
	if !r.at.Following && len(r.at.Horizon) > 0 || r.at.Following && !h.safe.IsNull() && !h.done {
		return true, nil
	}
	if err := r.advanceHorizon(ctx); err != nil || h.safe.IsNull() || h.done {
		if err == nil && h.caughtUp && !r.at.Following && h.candidate.IsNull() { // the table is empty: there is nothing to copy
			r.at.Following = true
		}
		return false, err
	}
	if !r.at.Following { // what is to be copied
		r.at.Horizon = []row.Value{h.safe}
	}
	return true, nil
}

// advanceHorizon looks whether more has become safe.
func (r *reader[T]) advanceHorizon(ctx context.Context) error {
	h := &r.horizon
	if h.candidate.IsNull() {
		greatest, err := r.greatest(ctx)
		if err != nil {
			return err
		}
		now := time.Now()
		h.caughtUp = greatest.IsNull() || !h.safe.IsNull() && greatest.Equal(h.safe)
		if h.caughtUp {
			return nil
		}
		*h = horizon{safe: h.safe, done: h.done, candidate: greatest, seen: now}
	}
	if time.Since(h.seen) < r.settles() {
		return nil
	}
	if f, ok := r.o.db.dialect.(Follower); ok {
		if err := r.outwait(ctx, f); err != nil || len(h.writers) > 0 {
			return err
		}
	}
	*h = horizon{safe: h.candidate}
	return nil
}

// settles is how long the candidate must have been there.
func (r *reader[T]) settles() time.Duration {
	wait := r.o.slack
	if f, ok := r.o.db.dialect.(Follower); ok {
		wait = max(wait, f.Settles())
	}
	c := r.layout.fields[r.layout.Cursor]
	if own := len(r.layout.Key) == 1 && r.layout.Key[0] == r.layout.Cursor; own && !r.clock() {
		return wait
	}
	resolution := r.traits.Resolution
	if c.Digits >= 0 && r.clock() {
		resolution = time.Duration(float64(time.Second) * math.Pow10(-c.Digits))
	}
	const margin = 20 * time.Millisecond
	return max(wait, resolution+margin)
}

// outwait asks for transactions once, and then whether they have ended.
func (r *reader[T]) outwait(ctx context.Context, f Follower) error {
	h := &r.horizon
	bounded, cancel := r.conn.bound(ctx)
	defer cancel()
	var t *Table
	if r.o.Query == "" {
		t = r.layout.rel.Table
	}
	writers, err := f.Writers(bounded, r.conn.Conn, t, r.clock())
	if err != nil {
		err = r.o.db.failed(ctx, bounded, err)
		if retry.ClassOf(err) == retry.ClassFatal && r.o.slack > 0 {
			return nil // Slack is to be enough
		}
		return fmt.Errorf("sqldb: looking for transactions under way, so that no row of %s is missed: %w", r.o, err)
	}
	if !h.asked {
		h.asked, h.writers = true, writers
		return nil
	}
	h.writers = slices.DeleteFunc(h.writers, func(w string) bool { return !slices.Contains(writers, w) })
	if len(h.writers) > 0 && !h.warned && time.Since(h.seen) > r.o.complain {
		h.warned = true
		r.log.Warn("a transaction that stays open holds up reading", "table", r.o.Table, "transactions", h.writers, "for", time.Since(h.seen).Round(time.Second))
	}
	return nil
}

// greatest returns the greatest value of the cursor, but none of the future; NULL: there is no row.
func (r *reader[T]) greatest(ctx context.Context) (row.Value, error) {
	c := r.layout.fields[r.layout.Cursor]
	by := r.layout.quoted[r.layout.Cursor]
	ask := func(where string, args []any) (row.Value, error) {
		var got cell
		found, err := r.conn.one(ctx, "SELECT "+r.o.db.dialect.Select(c, by)+" FROM "+r.layout.rel.from+where+" ORDER BY "+by+" DESC LIMIT 1", args, &got)
		if err != nil || !found {
			return row.Value{}, err
		}
		v, err := r.o.db.dialect.Value(c, got.src)
		return keepValue(v), err
	}
	v, err := ask("", nil)
	if err != nil || v.Kind() != row.KindTime {
		return v, r.named(err)
	}
	var clock cell
	if _, err := r.conn.one(ctx, "SELECT CURRENT_TIMESTAMP", nil, &clock); err != nil {
		return row.Value{}, r.named(err)
	}
	now, err := Value(&Column{Column: row.Column{Kind: row.KindTime}}, clock.src)
	if err != nil || now.Kind() != row.KindTime {
		return row.Value{}, r.named(fmt.Errorf("the database's clock says %v: %w", clock.src, err))
	}
	at, _ := v.Unix()
	limit, _ := now.Unix()
	if at <= limit {
		return v, nil
	}
	arg, err := r.o.db.dialect.Argument(c, now)
	if err != nil {
		return row.Value{}, r.named(err)
	}
	v, err = ask(" WHERE "+by+" <= "+r.o.db.dialect.Placeholder(1), []any{arg})
	return v, r.named(err)
}

func (r *reader[T]) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sqldb: reading %s: %w", r.o, err)
}

// wait waits until it is time to look again.
func (r *reader[T]) wait(ctx context.Context) error {
	h := &r.horizon
	wait := r.o.poll
	switch {
	case h.candidate.IsNull():
	case !h.asked:
		wait = min(wait, max(r.settles()-time.Since(h.seen), time.Millisecond))
	default: // somebody is about to commit
		wait = min(wait, 20*time.Millisecond)
	}
	finished := r.finished
	if r.isFinished() {
		finished = nil
		wait = min(wait, 20*time.Millisecond)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-finished:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}
