package sqldb

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// relation is what is read, as it is now.
type relation struct {
	*Table        // of a query: its columns alone
	from   string // what follows FROM, named t
	key    []string
	unique bool // the key is known to tell rows apart
}

// rows returns the columns as others see them.
func (r *relation) rows() []row.Column {
	rows := make([]row.Column, len(r.Columns))
	for i := range r.Columns {
		rows[i] = r.Columns[i].Column
	}
	return rows
}

// describe looks up what is read.
func (o *origin) describe(ctx context.Context, c *connection) (*relation, error) {
	r := &relation{key: o.Key}
	if o.Query != "" {
		r.from = "(" + o.Query + "\n) AS t" // a line of its own: the query may end with a comment
		bounded, cancel := c.bound(ctx)
		defer cancel()
		var err error
		if r.Table, err = o.db.columnsOf(bounded, c, "SELECT * FROM "+r.from+" WHERE 1 = 0"); err != nil {
			return nil, o.db.failed(ctx, bounded, fmt.Errorf("sqldb: the Query: %w", err))
		}
		return r, o.checkKey(r)
	}
	quoted, err := o.db.qualified(o.schema, o.Table)
	if err != nil {
		return nil, err
	}
	if r.Table, err = o.db.describe(ctx, c, o.schema, o.Table); err != nil {
		return nil, err
	}
	if r.Table == nil {
		return nil, retry.Fatal(fmt.Errorf("sqldb: table %s: there is no such table, or this user may not see it", quoted))
	}
	r.from = quoted + " AS t"
	if len(r.key) == 0 {
		r.key = r.Key
	}
	if len(r.key) == 0 {
		return nil, retry.Fatal(fmt.Errorf("sqldb: table %s has no primary key: set Key to columns that tell its rows apart", quoted))
	}
	for _, unique := range append([][]string{r.Key}, r.Unique...) {
		r.unique = r.unique || sameNames(unique, r.key)
	}
	return r, o.checkKey(r)
}

// columnsOf asks for the columns of a query.
func (db *Database) columnsOf(ctx context.Context, c *connection, query string) (*Table, error) {
	rows, err := c.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	t := &Table{}
	for _, typ := range types {
		if t.Column(typ.Name()) != nil {
			return nil, retry.Fatal(fmt.Errorf("it has two columns %s: name one otherwise, with AS", tables.Brief(typ.Name())))
		}
		c := Column{Digits: -1}
		c.Name, c.Type, c.Nullable = typ.Name(), typ.DatabaseTypeName(), true
		c.Kind = db.dialect.Kind(c.Type)
		t.Columns = append(t.Columns, c)
	}
	return t, rows.Err()
}

// checkKey refuses a key that a table can't be read by.
func (o *origin) checkKey(r *relation) error {
	for _, name := range r.key {
		c := r.Column(name)
		switch {
		case c == nil:
			return retry.Fatal(fmt.Errorf("sqldb: %s has no column %s, which Key names", o, tables.Brief(name)))
		case c.Kind == row.KindArray || c.Kind == row.KindJSON:
			return retry.Fatal(fmt.Errorf("sqldb: %s can't be read by column %s: %s is no type for a key", o, tables.Brief(name), c.Type))
		}
	}
	return nil
}

// checkNulls refuses to read by a column that has NULLs: these rows would be missed.
func (o *origin) checkNulls(ctx context.Context, c *connection, r *relation, names []string) error {
	var conds []string
	var nullable []string
	for _, name := range names {
		if column := r.Column(name); column != nil && column.Nullable {
			quoted, err := o.db.quote("the column", name)
			if err != nil {
				return err
			}
			conds, nullable = append(conds, "t."+quoted+" IS NULL"), append(nullable, name)
		}
	}
	if len(conds) == 0 {
		return nil
	}
	var one int
	some, err := c.one(ctx, "SELECT 1 FROM "+r.from+" WHERE "+strings.Join(conds, " OR ")+" LIMIT 1", nil, &one)
	if err != nil {
		return fmt.Errorf("sqldb: looking for keys that are NULL in %s: %w", o, err)
	}
	if some {
		return retry.Fatal(fmt.Errorf("sqldb: %s has rows where a column that it is read by (%s) is NULL, which would be missed: leave them out by a Query, or name another column", o, briefs(nullable)))
	}
	return nil
}

// layout is what the rows of pages look like. It doesn't change.
type layout struct {
	tables.Selection
	rel    *relation
	fields []*Column // its Columns
	quoted []string  // their names
	list   string    // the fields in SQL
}

// layout says what is read of a relation.
func (o *origin) layout(rel *relation) (*layout, error) {
	selected, err := o.Select(rel.rows(), rel.key)
	if err != nil {
		return nil, retry.Fatal(fmt.Errorf("sqldb: %s: %w", o, err))
	}
	l := &layout{Selection: selected, rel: rel}
	list := make([]string, len(selected.Columns))
	for i, at := range selected.Columns {
		c := &rel.Columns[at]
		quoted, err := o.db.quote("the column", c.Name)
		if err != nil {
			return nil, err
		}
		l.fields, l.quoted = append(l.fields, c), append(l.quoted, "t."+quoted)
		list[i] = o.db.dialect.Select(c, l.quoted[i])
	}
	l.list = strings.Join(list, ", ")
	return l, nil
}

// same reports whether pages of both look alike.
func (l *layout) same(other *layout) bool {
	return l.list == other.list && slices.EqualFunc(l.fields, other.fields, func(a, b *Column) bool { return *a == *b })
}

// ranges returns the ranges of keys that are read in parallel.
func (o *origin) ranges(ctx context.Context, plan checkpoint.Store) ([]tables.Range, error) {
	c, err := o.db.connect(ctx, o.limits, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.release() }()
	name := fmt.Sprintf("%s/%s/%d ranges", o.schema, o.Table, o.Ranges)
	if o.Query != "" {
		name = fmt.Sprintf("query %x/%d ranges", sha256.Sum256([]byte(o.Query)), o.Ranges)
	}
	boundaries, err := tables.Plan(ctx, plan, "plan of "+name, func(ctx context.Context) ([][]row.Value, error) { return o.boundaries(ctx, c) })
	if err != nil {
		return nil, fmt.Errorf("sqldb: %s: %w", o, err)
	}
	return tables.Ranges(boundaries), nil
}

// boundaries cuts what is between the smallest and the greatest key into equal parts.
func (o *origin) boundaries(ctx context.Context, c *connection) ([][]row.Value, error) {
	rel, err := o.describe(ctx, c)
	if err != nil {
		return nil, err
	}
	if len(rel.key) != 1 {
		return nil, retry.Fatal(fmt.Errorf("the option Ranges needs a key of one integer, and this one has %d columns (%s): read it with Ranges 1", len(rel.key), briefs(rel.key)))
	}
	column := rel.Column(rel.key[0])
	if column.Kind != row.KindInt && column.Kind != row.KindUint {
		return nil, retry.Fatal(fmt.Errorf("the option Ranges needs a key of one integer, and %s is a %s: read it with Ranges 1", tables.Brief(column.Name), column.Type))
	}
	quoted, err := o.db.quote("the column", column.Name)
	if err != nil {
		return nil, err
	}
	var least, most sql.NullString
	if _, err := c.one(ctx, "SELECT MIN(t."+quoted+"), MAX(t."+quoted+") FROM "+rel.from, nil, &least, &most); err != nil {
		return nil, err
	}
	if !least.Valid {
		return nil, nil
	}
	from, err := row.Text(least.String).Convert(row.KindInt)
	if err != nil {
		return nil, retry.Fatal(err)
	}
	to, err := row.Text(most.String).Convert(row.KindInt)
	if err != nil {
		return nil, retry.Fatal(fmt.Errorf("the option Ranges needs keys that are integers of 64 bits with a sign: %w", err))
	}
	var boundaries [][]row.Value
	width := uint64(to.Int()) - uint64(from.Int()) //nolint:gosec // right whatever the signs
	before := from.Int() - 1
	for i := 1; i < o.Ranges; i++ {
		at := from.Int() + int64(width/uint64(o.Ranges)*uint64(i)) //nolint:gosec // within the range
		if at <= before || at >= to.Int() {
			continue
		}
		boundary := row.Int(at)
		if column.Kind == row.KindUint {
			boundary = row.Uint(uint64(at)) //nolint:gosec // not negative
		}
		boundaries, before = append(boundaries, []row.Value{boundary}), at
	}
	return boundaries, nil
}
