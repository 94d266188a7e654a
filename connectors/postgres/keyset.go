package postgres

import (
	"strconv"
	"strings"

	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/row"
)

// page is a question for the next rows.
type page struct {
	layout    *layout
	following bool
	at        []row.Value  // rows behind these values of the order's first columns; none: from the beginning
	bounds    tables.Range // of keys
	horizon   row.Value    // rows whose cursor isn't greater; NULL: all
	limit     int
}

// sql returns the statement. It compares and sorts by the columns themselves, so that both follow their collation.
func (p *page) sql() (string, *arguments, error) {
	args := &arguments{}
	var conds []string
	compare := func(fields []int, operator string, values []row.Value) error {
		if len(values) == 0 {
			return nil
		}
		var left, right []string
		for i, v := range values {
			c := p.layout.fields[fields[i]].column
			argument, err := args.add(c, v)
			if err != nil {
				return err
			}
			left, right = append(left, "t."+quote(c.name)), append(right, argument)
		}
		if len(values) == 1 {
			conds = append(conds, left[0]+operator+right[0])
		} else {
			conds = append(conds, "("+strings.Join(left, ", ")+")"+operator+"("+strings.Join(right, ", ")+")")
		}
		return nil
	}
	order := p.layout.Order(p.following)
	after := p.bounds.After
	if !p.following && len(p.at) > 0 {
		after = nil // at is in the range
	}
	if err := compare(p.layout.Key, " > ", after); err != nil {
		return "", nil, err
	}
	if err := compare(p.layout.Key, " <= ", p.bounds.Last); err != nil {
		return "", nil, err
	}
	if !p.horizon.IsNull() {
		if err := compare([]int{p.layout.Cursor}, " <= ", []row.Value{p.horizon}); err != nil {
			return "", nil, err
		}
	}
	if err := compare(order, " > ", p.at); err != nil {
		return "", nil, err
	}
	var b strings.Builder
	b.WriteString("SELECT " + p.layout.list + " FROM " + p.layout.rel.from)
	if len(conds) > 0 {
		b.WriteString(" WHERE " + strings.Join(conds, " AND "))
	}
	b.WriteString(" ORDER BY ")
	for i, f := range order {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("t." + quote(p.layout.fields[f].name))
	}
	b.WriteString(" LIMIT " + strconv.Itoa(p.limit))
	return b.String(), args, nil
}
