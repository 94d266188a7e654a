package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// How long blockers are waited for between two looks, and when they are complained of.
const (
	firstLook = time.Millisecond
	lastLook  = 100 * time.Millisecond
	complain  = time.Minute
)

// advance moves the horizon up to the greatest cursor there is. It reports false if there is nothing beyond it.
//
// Up to the horizon all is there: a statement that begins later sees every row that has, or ever will have, a cursor that isn't
// greater. Take M, the greatest cursor that a statement sees. Afterwards, look which transactions might still write a value
// up to M. Who begins later can't: the sequence, or the clock, is past M. Once all of these have ended, so that a new
// statement sees what they have committed, M is the horizon.
//
//   - A value drawn from a sequence: who has drawn one before M was drawn has had the table locked (ROW EXCLUSIVE) by
//     then, for an INSERT or an UPDATE locks the table before it computes a row, and keeps the lock until its end. So these
//     are the transactions that have such a lock on the table or on what it is a partition of or has as partitions.
//   - A time that the server has read: who has begun before M may write a lesser one. So these are all transactions that are
//     open. A transaction's time is read a moment before the server lists it: therefore they are looked at only when M
//     is older than Slack.
//
// Rows that are visible are so before the locks of their transaction go (CommitTransaction in src/backend/access/transam/xact.c).
func (f *fetcher) advance(ctx context.Context) (bool, error) {
	m, age, err := f.greatest(ctx)
	if err != nil || m.IsNull() {
		return false, err
	}
	if !f.horizon.IsNull() && !isAfter(m, f.horizon) {
		return false, nil
	}
	f.caughtUp.Store(false)
	if wait := f.o.slack - age; isTimestamp(f.cursor()) && wait > 0 {
		if err := sleep(ctx, wait); err != nil {
			return false, err
		}
	}
	if err := f.settle(ctx); err != nil {
		return false, err
	}
	f.horizon = m
	return true, nil
}

func (f *fetcher) cursor() *column { return f.layout.fields[f.layout.Cursor].column }

// isAfter reports whether a cursor is greater than another one.
func isAfter(a, b row.Value) bool {
	if a.Kind() == row.KindInt {
		return a.Int() > b.Int()
	}
	if a.Infinity() != 0 || b.Infinity() != 0 {
		return a.Infinity() > b.Infinity()
	}
	as, an := a.Unix()
	bs, bn := b.Unix()
	return as > bs || as == bs && an > bn
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// greatest returns the greatest cursor, and how old it is, as far as is known. Times that haven't come yet don't count: rows
// have them from elsewhere, and would hide all that comes until then.
func (f *fetcher) greatest(ctx context.Context) (row.Value, time.Duration, error) {
	for range 3 {
		m, age, err := f.askGreatest(ctx)
		var changed *changedError
		if !errors.As(err, &changed) {
			return m, age, err
		}
		if err := f.refresh(ctx, changed.err); err != nil {
			return row.Value{}, 0, err
		}
	}
	return row.Value{}, 0, retry.Fatal(fmt.Errorf("postgres: %s changes all the time", f.o))
}

func (f *fetcher) askGreatest(ctx context.Context) (m row.Value, age time.Duration, err error) {
	ctx, cancel := f.o.session.bound(ctx)
	defer cancel()
	c := f.cursor()
	name := "t." + quote(c.name)
	where := ""
	switch c.form {
	case formTimestamptz:
		where = " WHERE " + name + " < now()"
	case formTimestamp: // of whichever zone
		where = " WHERE " + name + " < now() AT TIME ZONE 'UTC' + interval '14 hours'"
	default:
	}
	sql := "SELECT " + name + ", now() FROM " + f.layout.rel.from + where + " ORDER BY " + name + " DESC LIMIT 1"
	result := f.conn.PgConn().ExecParams(ctx, sql, nil, nil, nil, []int16{formatBinary})
	var now row.Value
	var refused error
	for result.NextRow() {
		values := result.Values()
		if fields := result.FieldDescriptions(); fields[0].DataTypeOID != c.columnType.oid {
			refused = &changedError{errLayout}
			continue
		}
		if values[0] == nil {
			refused = retry.Fatal(fmt.Errorf("postgres: %s has a row where the Cursor %s is NULL: it would be missed", f.o, tables.Brief(c.name)))
			continue
		}
		decode, _ := decoderOf(c.columnType)
		if m, refused = decode(nil, values[0]); refused == nil {
			now, refused = decodeTimestamptz(nil, values[1])
		}
	}
	if _, err := result.Close(); err != nil {
		return row.Value{}, 0, f.failed(ctx, err, 0)
	}
	if refused != nil {
		return row.Value{}, 0, refused
	}
	if m.Kind() == row.KindTime {
		age = timeOf(now).Sub(timeOf(m))
	}
	return m, age, nil
}

// writersSQL lists the transactions that have written to a table, or are about to.
const writersSQL = `WITH RECURSIVE up(oid) AS (
	SELECT $1::oid UNION SELECT i.inhparent FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.oid
), down(oid) AS (
	SELECT $1::oid UNION SELECT i.inhrelid FROM down JOIN pg_catalog.pg_inherits i ON i.inhparent = down.oid
)
SELECT DISTINCT l.virtualtransaction, coalesce(l.pid, 0)::text
FROM pg_catalog.pg_locks l
WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock' AND l.granted
	AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
	AND l.relation IN (SELECT oid FROM up UNION SELECT oid FROM down)
	AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()`

// openSQL lists the transactions of the database, or whose database isn't known. One that is prepared for a commit in two phases
// has no virtual transaction's lock any more, but still the lock of its transaction.
const openSQL = `SELECT DISTINCT l.virtualtransaction, coalesce(l.pid, 0)::text
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
LEFT JOIN pg_catalog.pg_prepared_xacts p ON l.pid IS NULL AND p.transaction = l.transactionid
WHERE l.mode = 'ExclusiveLock' AND l.granted AND (
	l.locktype = 'virtualxid' AND l.pid <> pg_catalog.pg_backend_pid()
		AND (a.pid IS NULL OR a.datid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))
		AND a.backend_type IS DISTINCT FROM 'autovacuum worker'
	OR l.locktype = 'transactionid' AND l.pid IS NULL
		AND (p.database IS NULL OR p.database = pg_catalog.current_database()))`

// blockers are transactions that may write what comes before a candidate, and the process that each is in: "0" for one that is
// prepared.
type blockers map[string]string

const prepared = "0"

// settle waits until all transactions have ended that may write what comes before what is seen now.
func (f *fetcher) settle(ctx context.Context) error {
	open, err := f.blockers(ctx)
	if err != nil {
		return err
	}
	w := newWaiting(open)
	began, complained := time.Now(), false
	for look := firstLook; len(w.open) > 0; look = min(2*look, lastLook) {
		if err := sleep(ctx, look); err != nil {
			return err
		}
		if !complained && time.Since(began) > f.o.complain {
			complained = true
			f.log.Warn("transactions stay open: rows that come after theirs are not read until they end", "source", f.o.String(), "processes", w.processes())
		}
		if open, err = f.blockers(ctx); err != nil {
			return err
		}
		w.look(open)
	}
	return nil
}

// waiting is for transactions to end.
type waiting struct {
	open  blockers        // they haven't, as far as is known
	known map[string]bool // prepared ones that were seen at first, or are waited for
}

func newWaiting(open blockers) *waiting {
	w := &waiting{open: open, known: map[string]bool{}}
	for id, process := range open {
		if process == prepared {
			w.known[id] = true
		}
	}
	return w
}

// look takes note of which transactions are open now.
//
// A transaction that is gone has ended, or was prepared and goes by another name now: not every server lets it keep the one that it
// had. So when one is gone, all prepared ones that are new are waited for as well. As these can't change their name once
// more, that comes to an end.
func (w *waiting) look(now blockers) {
	gone := false
	for id, process := range w.open {
		if _, there := now[id]; !there {
			delete(w.open, id)
			gone = gone || process != prepared
		}
	}
	if !gone {
		return
	}
	for id, process := range now {
		if process == prepared && !w.known[id] {
			w.known[id] = true
			w.open[id] = process
		}
	}
}

// processes names the processes of the transactions, for people.
func (w *waiting) processes() []string {
	var list []string
	for id, process := range w.open {
		if process == prepared {
			process = "prepared transaction " + id
		}
		list = append(list, process)
	}
	return list
}

// blockers looks which transactions may write what comes before what a statement before has seen.
func (f *fetcher) blockers(ctx context.Context) (blockers, error) {
	ctx, cancel := f.o.session.bound(ctx)
	defer cancel()
	sql := openSQL
	args := &arguments{}
	if rel := f.layout.rel; !isTimestamp(f.cursor()) && rel.table != nil && (rel.table.relkind == "r" || rel.table.relkind == "p") {
		sql = writersSQL
		args.values, args.oids = [][]byte{strconv.AppendUint(nil, uint64(rel.table.oid), 10)}, []uint32{pgtype.OIDOID}
	}
	result := f.conn.PgConn().ExecParams(ctx, sql, args.values, args.oids, args.formats, nil)
	open := blockers{}
	for result.NextRow() {
		values := result.Values()
		open[string(values[0])] = string(values[1])
	}
	if _, err := result.Close(); err != nil {
		return nil, f.failed(ctx, err, 1)
	}
	return open, nil
}
