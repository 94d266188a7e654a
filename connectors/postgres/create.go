package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// sqlType returns the type for values of a kind; "": there is none.
func sqlType(k row.Kind) string {
	switch k {
	case row.KindBool:
		return "boolean"
	case row.KindInt:
		return "bigint"
	case row.KindUint:
		return "numeric(20,0)"
	case row.KindFloat32:
		return "real"
	case row.KindFloat:
		return "double precision"
	case row.KindDecimal:
		return "numeric"
	case row.KindText:
		return "text"
	case row.KindBytes:
		return "bytea"
	case row.KindJSON:
		return "jsonb"
	case row.KindUUID:
		return "uuid"
	case row.KindDate:
		return "date"
	case row.KindClock:
		return "time"
	case row.KindDateTime:
		return "timestamp"
	case row.KindTime:
		return "timestamptz"
	default:
		return ""
	}
}

// columnSQL returns the type of a column that is made.
func columnSQL(c row.Column) (string, error) {
	if t := ownType(c); t != "" {
		return t, nil
	}
	t := sqlType(c.Kind)
	if c.Kind == row.KindArray {
		if t = sqlType(c.Elem); t != "" {
			t += "[]"
		}
	}
	if t == "" {
		return "", fmt.Errorf("postgres: column %s is of no known kind (%s): make the table, or the column, yourself", tables.Brief(c.Name), describeKind(c))
	}
	return t, nil
}

// ownType returns the type that the column's origin has for it, if that is one of PostgreSQL's own for the same kind of
// values; "": it isn't, or not surely. What it returns is made here, and not the origin's text.
func ownType(c row.Column) string {
	text, array := strings.CutSuffix(c.Type, "[]")
	kind := c.Kind
	if array {
		kind = c.Elem
	}
	name, rest, has := strings.Cut(text, "(")
	modifier := ""
	if has {
		digits, behind, closed := strings.Cut(rest, ")")
		if !closed || digits == "" || strings.Trim(digits, "0123456789,") != "" || strings.Count(digits, ",") > 1 {
			return ""
		}
		modifier, name = "("+digits+")", name+behind
	}
	var of row.Kind
	switch name {
	case "smallint", "integer", "bigint":
		of = row.KindInt
	case "numeric":
		of = row.KindDecimal
	case "character varying":
		of = row.KindText
	case "interval", "inet", "cidr", "macaddr":
		of = row.KindText
	case "json", "jsonb":
		of = row.KindJSON
	default:
		return ""
	}
	if of != kind || modifier != "" && name != "numeric" && name != "character varying" {
		return ""
	}
	if array {
		modifier += "[]"
	}
	return name + modifier
}

// kindsOf returns columns whose kinds aren't known with the kinds of the first values; of a NULL, text.
func kindsOf(cols *row.Columns, values []row.Value) (*row.Columns, error) {
	list := make([]row.Column, cols.Len())
	for i, c := range cols.All() {
		if c.Kind == row.KindNull && i < len(values) {
			c.Kind, c.Nullable = values[i].Kind(), true
			if c.Kind == row.KindNull {
				c.Kind = row.KindText
			}
			if a := values[i].Array(); a != nil {
				if c.Elem = a.Elem; c.Elem == row.KindNull {
					c.Elem = row.KindText
				}
			}
		}
		list[i] = c
	}
	return row.NewColumns(list...)
}

// createSQL is the statement that makes a table.
func createSQL(name string, cols *row.Columns, key []string, mode Mode) (string, error) {
	if len(key) == 0 {
		for _, c := range cols.All() {
			if c.Key {
				key = append(key, c.Name)
			}
		}
	}
	if len(key) == 0 && mode == Upsert {
		return "", fmt.Errorf("postgres: %s is to be made, and nothing says what its key is: set Sink.Key, or Sink.Mode to Insert", name)
	}
	var b strings.Builder
	b.WriteString("CREATE TABLE IF NOT EXISTS " + name + " (")
	for i, c := range cols.All() {
		if err := checkName("column", c.Name); err != nil {
			return "", err
		}
		t, err := columnSQL(c)
		if err != nil {
			return "", err
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quote(c.Name) + " " + t)
		if !c.Nullable || slices.Contains(key, c.Name) {
			b.WriteString(" NOT NULL")
		}
	}
	for _, k := range key {
		if cols.Index(k) < 0 {
			return "", fmt.Errorf("postgres: %s is to be made, and there is no column %s for its key", name, tables.Brief(k))
		}
	}
	if len(key) > 0 {
		b.WriteString(", PRIMARY KEY (" + quoteAll(key) + ")")
	}
	b.WriteString(")")
	return b.String(), nil
}

// createTable makes the table, and describes it as it is then: somebody else may have made it.
func (l *loader) createTable(ctx context.Context, schema, name string, cols *row.Columns, key []string, mode Mode) (*table, error) {
	if t, err := describe(ctx, l.conn, schema, name); !errors.Is(err, errNoTable) {
		return t, err
	}
	sql, err := createSQL(qualified(schema, name), cols, key, mode)
	if err != nil {
		return nil, retry.Fatal(err)
	}
	if err := l.define(ctx, sql); err != nil {
		return nil, classify(fmt.Errorf("postgres: making table %s: %w", qualified(schema, name), err))
	}
	return describe(ctx, l.conn, schema, name)
}

// define carries out a definition. A dry run does so in its transaction.
func (l *loader) define(ctx context.Context, sql string) error {
	if l.dry {
		l.log.Info("dry run", "statement", sql)
		if !l.tx.open {
			sql = beginSQL + "; " + sql
		}
		l.tx.open, l.tx.ddl = true, true
	}
	_, err := l.exec(ctx, sql)
	if state := sqlState(err); !l.dry && (state == codeUnique || state == codeDuplicateTable) {
		return nil // somebody else has done so at the same time
	}
	return err
}

// addColumns adds columns to the table, and describes it anew.
func (l *loader) addColumns(ctx context.Context, cols *row.Columns, values []row.Value, names []string) error {
	cols, err := kindsOf(cols, values)
	if err != nil {
		return retry.Fatal(err)
	}
	var b strings.Builder
	for i, name := range names {
		c := cols.At(cols.Index(name))
		if err := checkName("column", c.Name); err != nil {
			return err
		}
		t, err := columnSQL(c)
		if err != nil {
			return retry.Fatal(err)
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("ADD COLUMN IF NOT EXISTS " + quote(c.Name) + " " + t)
	}
	l.log.Info("postgres: adding columns", "table", l.tab.sql(), "columns", b.String())
	if err := l.define(ctx, "ALTER TABLE "+l.tab.sql()+" "+b.String()); err != nil {
		return classify(fmt.Errorf("postgres: adding columns to %s: %w", l.tab, err))
	}
	tab, err := describe(ctx, l.conn, l.tab.schema, l.tab.name)
	if err == nil {
		l.tab = tab
	}
	return err
}
