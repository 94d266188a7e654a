package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// relation is what is read, as it is now.
type relation struct {
	table    *table // nil: a query
	from     string // what follows FROM, named t
	columns  []column
	key      []string
	unique   bool     // the key is known to tell rows apart
	nullable []string // columns that it is read by and that may be NULL, as far as is known
}

func (r *relation) column(name string) *column {
	i := slices.IndexFunc(r.columns, func(c column) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return &r.columns[i]
}

// rows returns the columns as others see them.
func (r *relation) rows() []row.Column {
	rows := make([]row.Column, len(r.columns))
	for i := range r.columns {
		rows[i] = r.columns[i].row()
	}
	return rows
}

// describe looks up what is read.
func (o *origin) describe(ctx context.Context, conn *pgx.Conn) (*relation, error) {
	ctx, cancel := o.session.bound(ctx)
	defer cancel()
	r := &relation{key: o.Key}
	if o.Query != "" {
		r.from = "(" + o.Query + "\n) AS t" // a line of its own: the query may end with a comment
		if err := r.describeQuery(ctx, conn); err != nil {
			return nil, sourceError(fmt.Errorf("postgres: the Query: %w", err))
		}
	} else {
		t, err := describe(ctx, conn, o.schema, o.Table)
		if err != nil {
			return nil, err
		}
		r.table, r.from, r.columns = t, t.sql()+" AS t", t.columns
		if len(r.key) == 0 {
			r.key = t.key
		}
		if len(r.key) == 0 {
			return nil, retry.Fatal(fmt.Errorf("postgres: %s has no primary key: set Key to columns that tell its rows apart", t))
		}
	}
	return r, o.checkKey(r)
}

// checkKey refuses a key that doesn't tell rows apart, and a key or a cursor to follow that may be NULL: rows would be missed.
func (o *origin) checkKey(r *relation) error {
	for _, name := range r.key {
		switch c := r.column(name); {
		case c == nil:
			return retry.Fatal(fmt.Errorf("postgres: %s has no column %s, which Key names", o, tables.Brief(name)))
		case c.kind == row.KindArray || c.kind == row.KindJSON:
			return retry.Fatal(fmt.Errorf("postgres: %s can't be read by column %s: %s is no type for a key", o, tables.Brief(name), c.typ))
		}
	}
	if r.table != nil {
		r.unique = slices.ContainsFunc(append(r.table.unique, r.table.key), func(names []string) bool {
			return len(names) > 0 && !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(r.key, name) })
		})
	}
	plain := r.table != nil && (r.table.relkind == "r" || r.table.relkind == "p")
	if plain && !r.unique {
		return retry.Fatal(fmt.Errorf("postgres: %s has no unique index on %s, so that Key may not tell its rows apart: add one, or another column to Key", o, quoteAll(r.key)))
	}
	ordered := r.key
	if name := o.CursorOf(r.rows(), r.key); o.Follow && name != "" && !slices.Contains(ordered, name) {
		ordered = append(slices.Clone(ordered), name)
	}
	for _, name := range ordered {
		if c := r.column(name); c != nil && !c.notNull {
			r.nullable = append(r.nullable, name)
		}
	}
	if plain && len(r.nullable) > 0 {
		return retry.Fatal(fmt.Errorf("postgres: column %s of %s may be NULL, and rows that have it so would be missed: alter it to NOT NULL, or read by another one (Key, Cursor)", tables.Brief(r.nullable[0]), o))
	}
	return nil
}

// checkNulls refuses rows that have NULL where it can't be known that they don't: in queries and views.
func (o *origin) checkNulls(ctx context.Context, conn *pgx.Conn, r *relation) error {
	if len(r.nullable) == 0 {
		return nil
	}
	ctx, cancel := o.session.bound(ctx)
	defer cancel()
	conds := make([]string, len(r.nullable))
	for i, name := range r.nullable {
		conds[i] = "t." + quote(name) + " IS NULL"
	}
	var some bool
	sql := "SELECT EXISTS (SELECT FROM " + r.from + " WHERE " + strings.Join(conds, " OR ") + ")"
	if err := conn.QueryRow(ctx, sql, pgx.QueryExecModeExec).Scan(&some); err != nil {
		return sourceError(fmt.Errorf("postgres: looking for NULL in %s: %w", o, err))
	}
	if some {
		return retry.Fatal(fmt.Errorf("postgres: %s has rows where one of %s is NULL, by which it is read: they would be missed; leave them out of the Query, or read by other columns (Key, Cursor)", o, quoteAll(r.nullable)))
	}
	return nil
}

// typesSQL looks up what types are, behind domains of elements.
const typesSQL = `WITH RECURSIVE elem(oid, elem) AS (
	SELECT t.oid, t.typelem FROM pg_catalog.pg_type t WHERE t.oid = ANY($1::oid[]) AND t.typcategory = 'A' AND t.typelem <> 0 AND t.oid NOT IN (22, 30)
	UNION ALL
	SELECT e.oid, b.typbasetype FROM elem e JOIN pg_catalog.pg_type b ON b.oid = e.elem WHERE b.typtype = 'd'
)
SELECT t.oid, t.typtype::text, t.typcategory::text, t.typname::text, coalesce(b.oid, 0::oid), coalesce(b.typtype::text, ''), coalesce(b.typname::text, '')
FROM pg_catalog.pg_type t
LEFT JOIN (SELECT e.oid AS of, b.* FROM elem e JOIN pg_catalog.pg_type b ON b.oid = e.elem AND b.typtype <> 'd') b ON b.of = t.oid
WHERE t.oid = ANY($1::oid[])`

// describeQuery asks the server for a query's columns.
func (r *relation) describeQuery(ctx context.Context, conn *pgx.Conn) error {
	statement, err := conn.PgConn().Prepare(ctx, "", "SELECT * FROM "+r.from, nil)
	if err != nil {
		return err
	}
	if len(statement.ParamOIDs) > 0 {
		return retry.Fatal(fmt.Errorf("it has the parameter $%d, for which there is no value", len(statement.ParamOIDs)))
	}
	oids := make([]uint32, len(statement.Fields))
	for i, f := range statement.Fields {
		oids[i] = f.DataTypeOID
	}
	types := map[uint32]columnType{}
	names := map[uint32]string{}
	rows, err := conn.Query(ctx, typesSQL, pgx.QueryExecModeExec, oids)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var base, elem typeRow
		if err := rows.Scan(&base.oid, &base.typtype, &base.category, &base.name, &elem.oid, &elem.typtype, &elem.name); err != nil {
			return err
		}
		types[base.oid], names[base.oid] = typeOf(base, elem), base.name
	}
	if err := rows.Err(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, f := range statement.Fields {
		if seen[f.Name] {
			return retry.Fatal(fmt.Errorf("it has two columns %s: name one otherwise, with AS", tables.Brief(f.Name)))
		}
		seen[f.Name] = true
		r.columns = append(r.columns, column{
			name: f.Name, oid: f.DataTypeOID, typmod: f.TypeModifier, typ: names[f.DataTypeOID], columnType: types[f.DataTypeOID],
			key: slices.Contains(r.key, f.Name),
		})
	}
	return nil
}
