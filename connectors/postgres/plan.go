package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// plan is how rows of certain columns are written into a table.
type plan struct {
	targets []target // the columns that are written
	key     []int    // of the key's columns among targets; nil in Insert mode
	poison  error    // why no row of these columns can be written; nil: they can

	copy    bool   // by COPY, else by a statement of records
	sql     string // of the statement, or of COPY
	record  uint32 // the type of its records, once it is made
	kind    string // and its name
	name    string // of the prepared statement; of COPY: of the one that checks the table
	checked int    // the transaction in which the table was checked
}

// newPlan matches columns with a table's. GoType describes what a column comes from. What it returns as missing is for the
// policy Unknown.
func newPlan(tab *table, cols *row.Columns, goType func(string) string) (p *plan, missing []string, err error) {
	p = &plan{}
	for i, c := range cols.All() {
		to := tab.column(c.Name)
		switch {
		case to == nil:
			missing = append(missing, c.Name)
			continue
		case to.generated:
			continue // the table computes it
		}
		if err := fitting(tab, c, to, goType); err != nil {
			return nil, missing, err
		}
		p.targets = append(p.targets, newTarget(to, i))
	}
	return p, missing, nil
}

// fitting checks that values of c can be values of a table's column.
func fitting(tab *table, c row.Column, to *column, goType func(string) string) error {
	ok := c.Kind.ConvertibleTo(to.kind)
	if ok && c.Kind == row.KindArray && to.kind == row.KindArray {
		ok = c.Elem.ConvertibleTo(to.elemKind)
	}
	if ok {
		return nil
	}
	what := goType(c.Name)
	if what == "" {
		what = "the record's"
	}
	return retry.Fatal(fmt.Errorf("postgres: column %s of %s is a %s, which %s, a %s, can't be", tables.Brief(c.Name), tab, to.typ, what, describeKind(c)))
}

func describeKind(c row.Column) string {
	switch {
	case c.Type != "":
		return c.Type
	case c.Kind == row.KindArray:
		return "array of " + c.Elem.String()
	}
	return c.Kind.String()
}

// complete checks that a row of the plan is one of the table, and finds the key's columns; nil key: there is none to find.
func (p *plan) complete(tab *table, key []string) error {
	if len(p.targets) == 0 {
		return fmt.Errorf("postgres: nothing of it is a column of %s", tab)
	}
	for _, name := range key {
		i := slices.IndexFunc(p.targets, func(t target) bool { return t.name == name })
		if i < 0 {
			return fmt.Errorf("postgres: column %s, which is part of the key of %s, is missing", tables.Brief(name), tab)
		}
		c := *p.targets[i].column
		c.notNull = true // else NULLs are never the same key
		p.targets[i].column = &c
		p.key = append(p.key, i)
	}
	for i := range tab.columns {
		c := &tab.columns[i]
		if c.notNull && !c.hasDefault && !slices.ContainsFunc(p.targets, func(t target) bool { return t.name == c.name }) {
			return fmt.Errorf("postgres: column %s of %s is NOT NULL without a default, and is missing", tables.Brief(c.name), tab)
		}
	}
	return nil
}

// names returns the columns that are written, as SQL.
func (p *plan) names() string {
	names := make([]string, len(p.targets))
	for i := range p.targets {
		names[i] = p.targets[i].name
	}
	return quoteAll(names)
}

// copySQL is the statement of a COPY.
func (p *plan) copySQL(tab *table) string {
	return "COPY " + tab.sql() + " (" + p.names() + ") FROM STDIN (FORMAT binary)"
}

// recordType is the definition of the type of the plan's records: its fields are f0, f1 and so on.
func (p *plan) recordType(name string) string {
	return "CREATE TYPE " + name + " AS (" + fieldsSQL(p.targets) + ")"
}

func fieldsSQL(targets []target) string {
	var b strings.Builder
	for i, t := range targets {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(fieldName(i) + " ")
		if t.form == formOther {
			b.WriteString("pg_catalog.text")
		} else {
			b.WriteString(t.plain)
		}
	}
	return b.String()
}

func fieldName(i int) string { return "f" + strconv.Itoa(i) }

// fieldSQL is the value of a field for a column.
func fieldSQL(i int, t target) string {
	if t.form == formOther {
		return "r." + fieldName(i) + "::" + t.plain
	}
	return "r." + fieldName(i)
}

// insertSQL is the statement that inserts records, or with a key replaces those that are there.
func (p *plan) insertSQL(tab *table, recordType string, key []string) string {
	var b strings.Builder
	b.WriteString("INSERT INTO " + tab.sql() + " AS t (" + p.names() + ")") // a table may be called excluded
	if slices.ContainsFunc(p.targets, func(t target) bool { return t.identity }) {
		b.WriteString(" OVERRIDING SYSTEM VALUE")
	}
	b.WriteString(" SELECT ")
	for i, t := range p.targets {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(fieldSQL(i, t))
	}
	b.WriteString(" FROM pg_catalog.unnest($1::" + recordType + "[]) AS r")
	if key == nil {
		return b.String()
	}
	b.WriteString(" ON CONFLICT (" + quoteAll(key) + ")")
	set := " DO UPDATE SET "
	for i, t := range p.targets {
		if slices.Contains(p.key, i) || t.identity {
			continue
		}
		b.WriteString(set + quote(t.name) + " = excluded." + quote(t.name))
		set = ", "
	}
	if set != ", " {
		b.WriteString(" DO NOTHING")
	}
	return b.String()
}

// deleteSQL is the statement that deletes rows by records of their keys, whose columns are targets.
func deleteSQL(tab *table, recordType string, targets []target) string {
	var b strings.Builder
	b.WriteString("DELETE FROM " + tab.sql() + " AS t USING pg_catalog.unnest($1::" + recordType + "[]) AS r WHERE ")
	for i, t := range targets {
		if i > 0 {
			b.WriteString(" AND ")
		}
		b.WriteString("t." + quote(t.name) + " = " + fieldSQL(i, t))
	}
	return b.String()
}

// unknownColumns is the error for columns that the table lacks.
func unknownColumns(tab *table, names []string) error {
	return fmt.Errorf("postgres: %s has no column %s: add it, or say what becomes of it by Sink.Unknown", tab, quoteAll(names))
}

var errNoKey = errors.New("it has no primary key: set Sink.Key to the columns of a unique index, or Sink.Mode to Insert")
