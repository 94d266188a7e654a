package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// table is a table, or a view, as the catalog says it is.
type table struct {
	oid          uint32
	schema, name string
	relkind      string // r: table, p: partitioned, v: view, m: materialized view, f: foreign table
	columns      []column
	at           map[string]int // columns by name
	key          []string       // the primary key's columns in its order; nil: there is none
	rowSecurity  bool           // there are policies for this user: COPY is refused
	unique       [][]string     // what ON CONFLICT can name: unique, of plain columns, over all rows, checked at once
}

// column is a column of a table.
type column struct {
	name         string
	oid          uint32 // of its type, which may be a domain
	typmod       int32  // of what is behind domains; -1: none
	declared     int32  // the modifier of the column itself
	elemDeclared uint32 // of an array: the type of its elements, which may be a domain
	typ          string // its type as SQL writes it: numeric(12,2)
	plain        string // the type behind domains, without modifiers, as SQL writes it: numeric
	columnType          // what that is behind domains
	notNull      bool
	hasDefault   bool // or is generated, or an identity
	generated    bool // by an expression: it can't be written
	identity     bool // generated always as identity: an INSERT must override it, an UPDATE can't set it
	key          bool // part of the primary key
}

// column returns the column with a name; nil: there is none.
func (t *table) column(name string) *column {
	if i, ok := t.at[name]; ok {
		return &t.columns[i]
	}
	return nil
}

// sql is the table's name in SQL.
func (t *table) sql() string { return qualified(t.schema, t.name) }

// String names the table in errors.
func (t *table) String() string {
	return fmt.Sprintf("table %s.%s", tables.Brief(t.schema), tables.Brief(t.name))
}

// row returns the column as others see it.
func (c *column) row() row.Column {
	return row.Column{Name: c.name, Kind: c.kind, Elem: c.elemKind, Type: c.typ, Nullable: !c.notNull, Key: c.key}
}

// names returns the names of all columns.
func (t *table) names() []string {
	names := make([]string, len(t.columns))
	for i := range t.columns {
		names[i] = t.columns[i].name
	}
	return names
}

// errNoTable is what a missing table's error is.
var errNoTable = errors.New("there is no such table, or this user may not see it")

const tableSQL = `SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, pg_catalog.row_security_active(c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = pg_catalog.to_regclass($1::text)`

// columnsSQL follows domains to what they are made of, of columns and of the elements of arrays.
const columnsSQL = `WITH RECURSIVE col AS (
	SELECT a.* FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
), base(attnum, oid, typmod) AS (
	SELECT attnum, atttypid, atttypmod FROM col
	UNION ALL
	SELECT b.attnum, t.typbasetype, t.typtypmod FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.oid WHERE t.typtype = 'd'
), elem(attnum, declared, oid) AS (
	SELECT b.attnum, t.typelem, t.typelem FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.oid
	WHERE t.typtype <> 'd' AND t.typcategory = 'A' AND t.typelem <> 0 AND t.oid NOT IN (22, 30)
	UNION ALL
	SELECT e.attnum, e.declared, t.typbasetype FROM elem e JOIN pg_catalog.pg_type t ON t.oid = e.oid WHERE t.typtype = 'd'
)
SELECT col.attname::text, col.atttypid, bt.typmod, col.atttypmod, coalesce(pg_catalog.format_type(et.oid, -1) || '[]', pg_catalog.format_type(bt.oid, -1)), pg_catalog.format_type(col.atttypid, col.atttypmod), col.attnotnull,
	col.atthasdef OR col.attidentity <> '', col.attgenerated <> '', col.attidentity = 'a',
	bt.oid, bt.typtype::text, bt.typcategory::text, bt.typname::text,
	coalesce(et.oid, 0::oid), coalesce(et.typtype::text, ''), coalesce(et.typname::text, ''), coalesce(et.declared, 0::oid)
FROM col
JOIN (SELECT b.attnum, b.typmod, t.oid, t.typtype, t.typcategory, t.typname FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.oid AND t.typtype <> 'd') bt
	ON bt.attnum = col.attnum
LEFT JOIN (SELECT e.attnum, e.declared, t.oid, t.typtype, t.typname FROM elem e JOIN pg_catalog.pg_type t ON t.oid = e.oid AND t.typtype <> 'd') et
	ON et.attnum = col.attnum
ORDER BY col.attnum`

// keysSQL lists unique keys of plain columns over all rows, the primary one first.
const keysSQL = `SELECT i.indisprimary, i.indimmediate,
	(SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n)
		JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE k.n <= i.indnkeyatts)
FROM pg_catalog.pg_index i
WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY i.indisprimary DESC, i.indexrelid`

// describe looks a table up. One that isn't there is a fatal error that is errNoTable. Schema "" is the search path.
func describe(ctx context.Context, conn *pgx.Conn, schema, name string) (*table, error) {
	if schema != "" {
		if err := checkName("the schema", schema); err != nil {
			return nil, err
		}
	}
	if err := checkName("the table", name); err != nil {
		return nil, err
	}
	t := &table{}
	err := conn.QueryRow(ctx, tableSQL, pgx.QueryExecModeExec, qualified(schema, name)).Scan(&t.oid, &t.schema, &t.name, &t.relkind, &t.rowSecurity)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, retry.Fatal(fmt.Errorf("postgres: table %s: %w", qualified(schema, name), errNoTable))
	}
	if err != nil {
		return nil, classify(fmt.Errorf("postgres: looking up table %s: %w", qualified(schema, name), err))
	}
	if err := t.readColumns(ctx, conn); err != nil {
		return nil, classify(fmt.Errorf("postgres: looking up the columns of %s: %w", t, err))
	}
	if err := t.readKeys(ctx, conn); err != nil {
		return nil, classify(fmt.Errorf("postgres: looking up the keys of %s: %w", t, err))
	}
	return t, nil
}

func (t *table) readColumns(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, columnsSQL, pgx.QueryExecModeExec, t.oid)
	if err != nil {
		return err
	}
	defer rows.Close()
	t.at = map[string]int{}
	for rows.Next() {
		var c column
		var base, elem typeRow
		err := rows.Scan(&c.name, &c.oid, &c.typmod, &c.declared, &c.plain, &c.typ, &c.notNull, &c.hasDefault, &c.generated, &c.identity,
			&base.oid, &base.typtype, &base.category, &base.name, &elem.oid, &elem.typtype, &elem.name, &c.elemDeclared)
		if err != nil {
			return err
		}
		c.columnType = typeOf(base, elem)
		t.at[c.name] = len(t.columns)
		t.columns = append(t.columns, c)
	}
	return rows.Err()
}

func (t *table) readKeys(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, keysSQL, pgx.QueryExecModeExec, t.oid)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var primary, immediate bool
		var names []string
		if err := rows.Scan(&primary, &immediate, &names); err != nil {
			return err
		}
		if len(names) == 0 {
			continue
		}
		if primary {
			t.key = names
			for _, name := range names {
				t.column(name).key = true
			}
		}
		if immediate {
			t.unique = append(t.unique, names)
		}
	}
	return rows.Err()
}

// isUnique reports whether ON CONFLICT can name these columns, in whatever order.
func (t *table) isUnique(names []string) bool {
	want := slices.Sorted(slices.Values(names))
	for _, u := range t.unique {
		if slices.Equal(want, slices.Sorted(slices.Values(u))) {
			return true
		}
	}
	return false
}
