package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// checkFollow refuses what can't be followed without missing rows.
func (f *fetcher) checkFollow(ctx context.Context) error {
	ctx, cancel := f.o.session.bound(ctx)
	defer cancel()
	rel := f.layout.rel
	if f.layout.Cursor < 0 {
		return retry.Fatal(fmt.Errorf("postgres: %s can't be followed without a Cursor: name a column that later rows have a greater value in", f.o))
	}
	c := f.layout.fields[f.layout.Cursor].column
	switch c.form {
	case formInt2, formInt4, formInt8, formTimestamp, formTimestamptz:
	default:
		return retry.Fatal(fmt.Errorf("postgres: %s can't be followed by column %s: it is %s, and must be an integer or a timestamp", f.o, tables.Brief(c.name), c.typ))
	}
	var standby bool
	if err := f.conn.QueryRow(ctx, "SELECT pg_catalog.pg_is_in_recovery()", pgx.QueryExecModeExec).Scan(&standby); err != nil {
		return sourceError(fmt.Errorf("postgres: asking for the server's role: %w", err))
	}
	if standby {
		return retry.Fatal(fmt.Errorf("postgres: %s can't be followed on a standby, which doesn't know the transactions that are open: follow it on the primary", f.o))
	}
	if rel.table == nil {
		return nil
	}
	if rel.table.relkind == "f" || rel.table.relkind == "m" {
		return retry.Fatal(fmt.Errorf("postgres: %s is a foreign table or a materialized view, whose transactions are not to be seen here: it can't be followed", f.o))
	}
	if isTimestamp(c) {
		return nil
	}
	return f.checkSequences(ctx, c)
}

func isTimestamp(c *column) bool { return c.form == formTimestamp || c.form == formTimestamptz }

// sequencesSQL lists the sequences that a column owns, or whose values its default draws.
const sequencesSQL = `SELECT s.seqrelid::pg_catalog.regclass::text, s.seqcache, s.seqincrement, s.seqcycle
FROM pg_catalog.pg_attribute a, pg_catalog.pg_sequence s
WHERE a.attrelid = $1::oid AND a.attname = $2::text AND s.seqrelid IN (
	SELECT d.objid FROM pg_catalog.pg_depend d
	WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
		AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
	UNION ALL
	SELECT d.refobjid FROM pg_catalog.pg_attrdef ad JOIN pg_catalog.pg_depend d ON d.objid = ad.oid
	WHERE ad.adrelid = a.attrelid AND ad.adnum = a.attnum
		AND d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass)`

// checkSequences refuses sequences whose values don't ascend in the order in which they are drawn.
func (f *fetcher) checkSequences(ctx context.Context, c *column) error {
	rows, err := f.conn.Query(ctx, sequencesSQL, pgx.QueryExecModeExec, f.layout.rel.table.oid, c.name)
	if err != nil {
		return sourceError(fmt.Errorf("postgres: looking up the sequence of column %s: %w", tables.Brief(c.name), err))
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var cache, increment int64
		var cycle bool
		if err := rows.Scan(&name, &cache, &increment, &cycle); err != nil {
			return err
		}
		why := ""
		switch {
		case cache > 1:
			why = fmt.Sprintf("each session draws %d values at a time (ALTER SEQUENCE %s CACHE 1)", cache, name)
		case increment < 0:
			why = "its values descend"
		case cycle:
			why = fmt.Sprintf("it begins anew at its end (ALTER SEQUENCE %s NO CYCLE)", name)
		}
		if why != "" {
			return retry.Fatal(fmt.Errorf("postgres: %s can't be followed by column %s, rows would be missed: of the sequence %s, %s", f.o, tables.Brief(c.name), name, why))
		}
	}
	if err := rows.Err(); err != nil {
		return sourceError(fmt.Errorf("postgres: looking up the sequence of column %s: %w", tables.Brief(c.name), err))
	}
	return nil
}

// follow reads the range by its key up to where the cursor is at the beginning, and from there on follows it.
func (f *fetcher) follow(ctx context.Context) error {
	if !f.following {
		if f.horizon.IsNull() {
			if _, err := f.advance(ctx); err != nil {
				return err
			}
		}
		if !f.horizon.IsNull() { // or else there is nothing to copy
			if err := f.pages(ctx); err != nil {
				return err
			}
			f.at = []row.Value{f.horizon}
		}
		f.following, f.average = true, 0
	}
	for {
		last := f.finish.Load()
		changed, err := f.advance(ctx)
		if err != nil {
			return err
		}
		if changed {
			if err := f.pages(ctx); err != nil {
				return err
			}
			continue
		}
		f.caughtUp.Store(true)
		if last {
			return nil
		}
		if err := f.await(ctx, f.o.poll); err != nil {
			return err
		}
	}
}

// await waits for a time, or until something may be new.
func (f *fetcher) await(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-f.wake:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// nudge makes await return. Anyone may call it.
func (f *fetcher) nudge() {
	select {
	case f.wake <- struct{}{}:
	default: // it will return anyway
	}
}
