package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// plan is how rows of certain columns are written into a table.
type plan struct {
	columns []*Column // that are written
	from    []int     // of each, its index in a row
	key     []int     // of the key's columns, their indexes in a row; -1: the row doesn't have it
	kinds   []row.Kind
	keyed   []*Column
	poison  error // why no row of these columns can be written; nil: they can
	insert  statement
	remove  statement
}

// step is one statement and which arguments it has.
type step struct {
	of       *statement
	rows     int
	from, to int
}

// maxPlans is how many different sets of columns are kept at a time, with the statements prepared for them.
const maxPlans = 32

// plan returns how rows of cols are written.
func (t *target) plan(ctx context.Context, cols *row.Columns) (*plan, error) {
	if cols == t.lastCols && t.last != nil {
		return t.last, nil
	}
	var b strings.Builder
	for _, c := range cols.All() {
		fmt.Fprintf(&b, "%d:%s%c%c", len(c.Name), c.Name, c.Kind, c.Elem)
	}
	signature := b.String()
	p := t.plans[signature]
	if p == nil {
		if len(t.plans) >= maxPlans {
			t.forget()
		}
		var err error
		if p, err = t.newPlan(ctx, cols); errors.Is(err, errReplan) {
			p, err = t.newPlan(ctx, cols)
		}
		if err != nil {
			return nil, err
		}
		t.plans[signature] = p
	}
	t.last, t.lastCols = p, cols
	return p, nil
}

// newPlan matches columns with the table's.
func (t *target) newPlan(ctx context.Context, cols *row.Columns) (*plan, error) {
	p := &plan{}
	var unknown []row.Column
	for i, c := range cols.All() {
		to := t.table.Column(c.Name)
		switch {
		case to == nil:
			unknown = append(unknown, c)
			continue
		case to.Generated:
			continue // the database computes it
		}
		if err := t.fitting(i, c, to); err != nil {
			return nil, err
		}
		p.columns, p.from = append(p.columns, to), append(p.from, i)
	}
	if len(unknown) > 0 {
		if err := t.drift(ctx, p, unknown); err != nil {
			return nil, err
		}
	}
	for _, name := range t.keys {
		c := t.table.Column(name)
		p.key, p.kinds, p.keyed = append(p.key, cols.Index(name)), append(p.kinds, c.Kind), append(p.keyed, c)
	}
	if p.poison == nil {
		p.poison = t.complete(p)
	}
	return p, t.statements(p)
}

// fitting checks that values of c, which is column i, can be values of a table's column.
func (t *target) fitting(i int, c row.Column, to *Column) error {
	ok := c.Kind.ConvertibleTo(to.Kind) || c.Kind == row.KindBool && (to.Kind == row.KindInt || to.Kind == row.KindUint) || c.Kind == row.KindArray && to.Kind == row.KindJSON
	if ok && c.Kind == row.KindArray && to.Kind == row.KindArray {
		ok = c.Elem.ConvertibleTo(to.Elem)
	}
	if ok {
		return nil
	}
	what := t.goType(i)
	if what == "" {
		what = "the record's " + c.Kind.String()
	}
	return retry.Fatal(fmt.Errorf("sqldb: column %s of table %s is a %s, which %s can't be", tables.Brief(c.Name), t.quoted, to.Type, what))
}

// drift says what becomes of rows with columns that the table lacks.
func (t *target) drift(ctx context.Context, p *plan, unknown []row.Column) error {
	names := make([]string, len(unknown))
	for i, c := range unknown {
		names[i] = c.Name
	}
	err := fmt.Errorf("sqldb: table %s has no column %s: add it, or say what becomes of it by Sink.Unknown", t.quoted, briefs(names))
	switch t.unknown {
	case Ignore:
		return nil
	case Reject:
		p.poison = err
		return nil
	case AddColumn:
		return t.add(ctx, unknown)
	default:
	}
	return retry.Fatal(err)
}

// complete checks that a row of the plan is one of the table.
func (t *target) complete(p *plan) error {
	if len(p.columns) == 0 {
		return fmt.Errorf("sqldb: nothing of it is a column of table %s", t.quoted)
	}
	for i, name := range t.keys {
		if p.key[i] < 0 || !slices.ContainsFunc(p.columns, func(c *Column) bool { return c.Name == name }) {
			return fmt.Errorf("sqldb: column %s, which is part of the key of table %s, is missing", tables.Brief(name), t.quoted)
		}
	}
	for i := range t.table.Columns {
		c := &t.table.Columns[i]
		if !c.Nullable && !c.Default && !c.Generated && !slices.Contains(p.columns, c) {
			return fmt.Errorf("sqldb: column %s of table %s is NOT NULL without a default, and is missing", tables.Brief(c.Name), t.quoted)
		}
	}
	return nil
}

// statements makes the plan's SQL.
func (t *target) statements(p *plan) error {
	var names, set []string
	for _, c := range p.columns {
		quoted, err := t.db.quote("the column", c.Name)
		if err != nil {
			return err
		}
		names = append(names, quoted)
		if !slices.Contains(t.keys, c.Name) {
			set = append(set, quoted)
		}
	}
	keys, err := t.db.quoteAll("the column", t.keys)
	if err != nil {
		return err
	}
	p.insert = statement{db: t.db, head: "INSERT INTO " + t.quoted + " (" + strings.Join(names, ", ") + ") VALUES ", open: "(", shut: ")", between: ", ", width: len(names)}
	p.insert.most = rowsAtATime(t.traits, len(names))
	if t.mode == Upsert {
		p.insert.tail = t.db.dialect.Upsert(t.table, keys, set)
		p.remove = statement{db: t.db, width: len(keys), most: min(rowsAtATime(t.traits, len(keys)), 128)}
		if len(keys) == 1 {
			p.remove.head, p.remove.tail, p.remove.between = "DELETE FROM "+t.quoted+" WHERE "+keys[0]+" IN (", ")", ", "
		} else {
			p.remove.head, p.remove.between, p.remove.keys = "DELETE FROM "+t.quoted+" WHERE ", " OR ", keys
			p.remove.open, p.remove.shut = "(", ")"
		}
	}
	return nil
}

// rowsAtATime is how many rows a statement has at most: a power of two.
func rowsAtATime(traits Traits, width int) int {
	n := max(traits.Rows, 1)
	for n > 1 && n*width > traits.Variables {
		n /= 2
	}
	return n
}

// statement is a statement about rows, of which there are several at a time: it is prepared for numbers of rows that are powers
// of two, up to most, so that there are few.
type statement struct {
	db          *Database
	head, tail  string
	open, shut  string // around a row
	between     string // rows
	keys        []string
	width, most int
	ready       map[int]*sql.Stmt
}

// sql returns the statement for a number of rows.
func (s *statement) sql(rows int) string {
	var b strings.Builder
	b.WriteString(s.head)
	n := 0
	for i := range rows {
		if i > 0 {
			b.WriteString(s.between)
		}
		b.WriteString(s.open)
		for k := range s.width {
			switch {
			case s.keys != nil && k > 0:
				b.WriteString(" AND ")
			case k > 0:
				b.WriteString(", ")
			}
			if s.keys != nil {
				b.WriteString(s.keys[k] + " = ")
			}
			n++
			b.WriteString(s.db.dialect.Placeholder(n))
		}
		b.WriteString(s.shut)
	}
	b.WriteString(s.tail)
	return b.String()
}

// prepared returns the statement for a number of rows, prepared.
func (s *statement) prepared(ctx context.Context, t *target, rows int) (*sql.Stmt, error) {
	if ready := s.ready[rows]; ready != nil {
		return ready, nil
	}
	prepared, err := t.conn.PrepareContext(ctx, s.sql(rows))
	if err != nil {
		return nil, err
	}
	if s.ready == nil {
		s.ready = map[int]*sql.Stmt{}
	}
	s.ready[rows] = prepared
	return prepared, nil
}

func (s *statement) close() {
	for _, prepared := range s.ready {
		_ = prepared.Close() // the connection lives on without it
	}
	s.ready = nil
}

var (
	errNull   = errors.New("NULL, and the column is NOT NULL")
	errInsert = errors.New("sqldb: a Delete, which Sink.Mode Insert has no place for: set it to Upsert")
)
