package sqldb

import (
	"fmt"
	"strings"

	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// sql returns the statement of a page. It compares and sorts by the columns themselves, so that both follow their collation.
func (r *reader[T]) sql(limit int) (string, []any, error) {
	l := r.layout
	var conds []string
	var args []any
	compare := func(fields []int, operator string, values []row.Value) error {
		if len(values) == 0 {
			return nil
		}
		cond, more, err := r.compare(fields[:len(values)], operator, values, len(args))
		conds, args = append(conds, cond), append(args, more...)
		return err
	}
	order := l.Order(r.at.Following)
	after := r.at.Range.After
	if !r.at.Following && len(r.at.At) > 0 {
		after = nil // at is in the range
	}
	bound := r.at.Horizon
	if r.at.Following {
		bound = []row.Value{r.horizon.safe}
	}
	if err := compare(l.Key, ">", after); err != nil {
		return "", nil, err
	}
	if err := compare(l.Key, "<=", r.at.Range.Last); err != nil {
		return "", nil, err
	}
	if l.Cursor >= 0 {
		if err := compare([]int{l.Cursor}, "<=", bound); err != nil {
			return "", nil, err
		}
	}
	if err := compare(order, ">", r.at.At); err != nil {
		return "", nil, err
	}
	var b strings.Builder
	b.WriteString("SELECT " + l.list + " FROM " + l.rel.from)
	if len(conds) > 0 {
		b.WriteString(" WHERE " + strings.Join(conds, " AND "))
	}
	b.WriteString(" ORDER BY ")
	for i, f := range order {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(l.quoted[f])
	}
	b.WriteString(" LIMIT " + r.o.db.dialect.Placeholder(len(args)+1))
	return b.String(), append(args, int64(limit)), nil
}

// compare is a condition on several columns, in their order.
func (r *reader[T]) compare(fields []int, operator string, values []row.Value, before int) (string, []any, error) {
	l := r.layout
	given := make([]any, len(values))
	for i, v := range values {
		c := l.fields[fields[i]]
		if exact, err := v.Convert(c.Kind); err == nil {
			v = exact
		}
		var err error
		if given[i], err = r.o.db.dialect.Argument(anyOf(c, v), v); err != nil {
			return "", nil, retry.Fatal(fmt.Errorf("sqldb: column %s of %s: %w", tables.Brief(c.Name), r.o, err))
		}
	}
	var args []any
	p := func(i int) string {
		args = append(args, given[i])
		return r.o.db.dialect.Placeholder(before + len(args))
	}
	n := len(fields)
	switch {
	case n == 1:
		cond := l.quoted[fields[0]] + " " + operator + " " + p(0)
		return cond, args, nil
	case r.traits.RowValues:
		left, right := make([]string, n), make([]string, n)
		for i, f := range fields {
			left[i], right[i] = l.quoted[f], p(i)
		}
		return "(" + strings.Join(left, ", ") + ") " + operator + " (" + strings.Join(right, ", ") + ")", args, nil
	}
	// a >= ? is what the index is used for.
	strict := operator[:1]
	var b strings.Builder
	b.WriteString("(" + l.quoted[fields[0]] + " " + strict + "= " + p(0) + " AND (")
	for i := range n {
		if i > 0 {
			b.WriteString(" OR ")
		}
		b.WriteString("(")
		for k := range i {
			b.WriteString(l.quoted[fields[k]] + " = " + p(k) + " AND ")
		}
		op := strict
		if i == n-1 {
			op = operator
		}
		b.WriteString(l.quoted[fields[i]] + " " + op + " " + p(i) + ")")
	}
	b.WriteString("))")
	return b.String(), args, nil
}

// anyOf returns the column as one that holds v: where columns hold anything, a value is compared as what it is.
func anyOf(c *Column, v row.Value) *Column {
	if v.Kind() == c.Kind {
		return c
	}
	other := *c
	other.Kind, other.Type = row.KindNull, ""
	return &other
}
