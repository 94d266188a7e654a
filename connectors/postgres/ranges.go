package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/row"
)

// A sample has so many rows, and so many more for each range. They come from some hundred blocks of the table, or more: the
// ranges are equally large within some per cent.
const (
	sampleRows         = 30_000
	sampleRowsPerRange = 5_000
)

// ranges returns the ranges of keys that the splits read.
func (o *origin) ranges(ctx context.Context, plan checkpoint.Store) ([]tables.Range, error) {
	conn, err := o.db.connect(ctx, o.session)
	if err != nil {
		return nil, err
	}
	defer release(conn)
	rel, err := o.describe(ctx, conn)
	if err != nil {
		return nil, err
	}
	boundaries, err := tables.Plan(ctx, plan, o.planKey(rel), func(ctx context.Context) ([][]row.Value, error) {
		return o.boundaries(ctx, conn, rel)
	})
	if err != nil {
		return nil, err
	}
	return tables.Ranges(boundaries), nil
}

// planKey is what the ranges are stored under. It has what they depend on.
func (o *origin) planKey(rel *relation) string {
	what := o.Query
	if rel.table != nil {
		what = rel.table.sql()
	}
	return "postgres ranges: " + strconv.Itoa(o.Ranges) + " of " + quoteAll(rel.key) + " in " + what
}

// boundaries looks for keys that have equally many rows between them: in a sample of a large table, or else in all rows.
func (o *origin) boundaries(ctx context.Context, conn *pgx.Conn, rel *relation) ([][]row.Value, error) {
	if percent, err := o.samplePercent(ctx, conn, rel); err != nil {
		return nil, err
	} else if percent > 0 {
		sample := " TABLESAMPLE SYSTEM (" + strconv.FormatFloat(percent, 'g', -1, 64) + ") REPEATABLE (1)"
		boundaries, err := o.quantiles(ctx, conn, rel, rel.from+sample)
		if err != nil || len(boundaries) == o.Ranges-1 {
			return boundaries, err
		}
	}
	return o.quantiles(ctx, conn, rel, rel.from)
}

// samplePercent returns how much of a table makes a sample; 0: all.
func (o *origin) samplePercent(ctx context.Context, conn *pgx.Conn, rel *relation) (float64, error) {
	if rel.table == nil || !slices.Contains([]string{"r", "p", "m"}, rel.table.relkind) {
		return 0, nil
	}
	const sql = `SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::float8 FROM pg_catalog.pg_class c
WHERE c.oid = $1::oid OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree($1::oid::pg_catalog.regclass) WHERE isleaf)`
	ctx, cancel := o.session.bound(ctx)
	defer cancel()
	var rows float64
	if err := conn.QueryRow(ctx, sql, pgx.QueryExecModeExec, rel.table.oid).Scan(&rows); err != nil {
		return 0, sourceError(fmt.Errorf("postgres: asking how large %s is: %w", o, err))
	}
	want := float64(sampleRows + sampleRowsPerRange*o.Ranges)
	if rows < 2*want {
		return 0, nil
	}
	return 100 * want / rows, nil
}

// quantiles returns the last keys of parts of equally many rows, but for the last part. Of few rows there are fewer parts.
func (o *origin) quantiles(ctx context.Context, conn *pgx.Conn, rel *relation, from string) ([][]row.Value, error) {
	ctx, cancel := o.session.bound(ctx)
	defer cancel()
	var decoders []decoder
	var formats []int16
	names := make([]string, len(rel.key))
	for i, name := range rel.key {
		decode, format := decoderOf(rel.column(name).columnType)
		decoders, formats = append(decoders, decode), append(formats, format)
		names[i] = "t." + quote(name)
	}
	columns := strings.Join(names, ", ")
	sql := "SELECT " + columns + " FROM (SELECT t.*, lead(weaver_part) OVER (ORDER BY " + columns + ") AS weaver_next FROM (SELECT " + columns + ", ntile(" +
		strconv.Itoa(o.Ranges) + ") OVER (ORDER BY " + columns + ") AS weaver_part FROM " + from + ") AS t) AS t WHERE weaver_part < weaver_next ORDER BY " + columns
	result := conn.PgConn().ExecParams(ctx, sql, nil, nil, nil, formats)
	var boundaries [][]row.Value
	var refused error
	for result.NextRow() {
		boundary := make([]row.Value, len(decoders))
		for i, p := range result.Values() {
			var v row.Value
			var err error
			if p != nil {
				v, err = decoders[i](&scratch{}, append([]byte{}, p...))
			}
			if err != nil {
				refused = fmt.Errorf("postgres: column %s: %w", tables.Brief(rel.key[i]), err)
			}
			boundary[i] = v
		}
		boundaries = append(boundaries, boundary)
	}
	if _, err := result.Close(); err != nil {
		return nil, sourceError(fmt.Errorf("postgres: looking for ranges of keys in %s: %w", o, err))
	}
	return boundaries, refused
}
