package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// target is a table that one writer writes to, whatever T is.
type target struct {
	*options
	traits Traits
	conn   *connection
	quoted string   // the table
	table  *Table   // nil: it isn't there yet
	keys   []string // of Upsert and Delete

	fields *row.Columns       // of T, named as the table's columns; nil: known at run time
	goType func(i int) string // what the field is that is column i, for errors; "": none is

	plans    map[string]*plan
	last     *plan
	lastCols *row.Columns

	open  bool // a transaction
	rows  int  // in it
	tally map[string]int
}

// openTarget connects and looks the table up.
func openTarget(ctx context.Context, o *options, match func([]string) *row.Columns, goType func(int) string) (*target, error) {
	quoted, err := o.db.qualified(o.schema, o.name)
	if err != nil {
		return nil, err
	}
	conn, err := o.db.connect(ctx, o.limits, true)
	if err != nil {
		return nil, err
	}
	t := &target{options: o, traits: o.db.dialect.Traits(), conn: conn, quoted: quoted, goType: goType, plans: map[string]*plan{}, tally: map[string]int{}}
	if err := t.look(ctx, match); err != nil {
		_ = conn.release()
		return nil, err
	}
	return t, nil
}

// look finds the table, or makes it of a struct's columns.
func (t *target) look(ctx context.Context, match func([]string) *row.Columns) error {
	table, err := t.db.describe(ctx, t.conn, t.schema, t.name)
	if err != nil {
		return err
	}
	if table == nil {
		fields := match(nil)
		switch {
		case !t.create:
			return t.missing()
		case fields == nil:
			return nil // of the first record
		}
		return t.make(ctx, fields)
	}
	return t.use(ctx, table, match(table.Names()))
}

func (t *target) missing() error {
	return retry.Fatal(fmt.Errorf("sqldb: table %s: there is no such table, or this user may not see it: create it, or set Sink.Create", t.quoted))
}

// use writes to a table that has been looked up. Fields that can't be its columns are an error.
func (t *target) use(ctx context.Context, table *Table, fields *row.Columns) error {
	t.table, t.fields = table, fields
	if err := t.findKey(); err != nil {
		return retry.Fatal(fmt.Errorf("sqldb: table %s: %w", t.quoted, err))
	}
	if fields == nil {
		return nil
	}
	p, err := t.plan(ctx, fields)
	if err != nil {
		return err
	}
	if p.poison != nil {
		return retry.Fatal(p.poison)
	}
	return nil
}

// findKey finds the columns of Upsert.
func (t *target) findKey() error {
	if t.mode == Insert {
		return nil
	}
	t.keys = t.key
	if len(t.keys) == 0 {
		t.keys = t.table.Key
	}
	if len(t.keys) == 0 {
		return errors.New("it has no primary key: set Sink.Key to the columns of a unique index, or Sink.Mode to Insert")
	}
	for _, name := range t.keys {
		if t.table.Column(name) == nil {
			return fmt.Errorf("it has no column %s, which Sink.Key names", tables.Brief(name))
		}
	}
	for _, unique := range append([][]string{t.table.Key}, t.table.Unique...) {
		if sameNames(unique, t.keys) {
			return nil
		}
	}
	return fmt.Errorf("it has no unique index on %s: add one, or set Sink.Key to columns of one that is there", briefs(t.keys))
}

// sameNames reports whether both have the same names, in whatever order.
func sameNames(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// describe looks a table up; nil: it isn't there.
func (db *Database) describe(ctx context.Context, c *connection, schema, name string) (*Table, error) {
	bounded, cancel := c.bound(ctx)
	defer cancel()
	t, err := db.dialect.Describe(bounded, c, schema, name)
	if err != nil {
		return nil, db.failed(ctx, bounded, fmt.Errorf("sqldb: looking up table %s: %w", tables.Brief(name), err))
	}
	if t == nil {
		return nil, nil
	}
	for i := range t.Columns {
		c := &t.Columns[i]
		c.Kind = db.dialect.Kind(c.Type)
		if elem, isArray := strings.CutSuffix(c.Type, "[]"); isArray && c.Kind == row.KindArray {
			c.Elem = db.dialect.Kind(elem)
		}
	}
	return t, nil
}

// begin begins a transaction unless one is open.
func (t *target) begin(ctx context.Context) error {
	if t.open {
		return nil
	}
	for _, statement := range t.traits.Begin {
		if _, err := t.conn.exec(ctx, statement); err != nil {
			return fmt.Errorf("sqldb: beginning a transaction (%s): %w", statement, err)
		}
	}
	t.open, t.rows = true, 0
	clear(t.tally)
	return nil
}

// rollback gives the transaction up.
func (t *target) rollback(ctx context.Context) error {
	if !t.open {
		return nil
	}
	t.open = false
	_, err := t.conn.exec(ctx, "ROLLBACK")
	return err
}

// commit ends the transaction.
func (t *target) commit(ctx context.Context) error {
	if _, err := t.conn.exec(ctx, "COMMIT"); err != nil {
		return fmt.Errorf("sqldb: committing to table %s: %w", t.quoted, err)
	}
	t.open = false
	return nil
}

const savepoint = "weaver_write"

// run carries out statements: all, or none with a *weaver.BatchError. After any other error the transaction is lost.
func (t *target) run(ctx context.Context, steps []step, args []any) error {
	saves := !t.traits.Undoes || len(steps) > 1
	if saves {
		if _, err := t.conn.exec(ctx, "SAVEPOINT "+savepoint); err != nil {
			return fmt.Errorf("sqldb: before writing to table %s: %w", t.quoted, err)
		}
	}
	for _, s := range steps {
		if err := t.step(ctx, s, args); err != nil {
			return t.undo(ctx, saves, fmt.Errorf("sqldb: writing to table %s: %w", t.quoted, err))
		}
	}
	if saves && t.traits.Stacks {
		if _, err := t.conn.exec(ctx, "RELEASE SAVEPOINT "+savepoint); err != nil {
			return fmt.Errorf("sqldb: writing to table %s: %w", t.quoted, err)
		}
	}
	return nil
}

// undo takes back what was done of a batch that has poison in it.
func (t *target) undo(ctx context.Context, saves bool, err error) error {
	if retry.ClassOf(err) != retry.ClassPoison {
		return err
	}
	if saves {
		if _, e := t.conn.exec(ctx, "ROLLBACK TO SAVEPOINT "+savepoint); e != nil {
			return err // it is the whole transaction that was rolled back
		}
		if t.traits.Stacks {
			if _, e := t.conn.exec(ctx, "RELEASE SAVEPOINT "+savepoint); e != nil {
				return err
			}
		}
	}
	return &weaver.BatchError{Err: err, RolledBack: true}
}

// step carries out one statement.
func (t *target) step(ctx context.Context, s step, args []any) error {
	bounded, cancel := t.conn.bound(ctx)
	defer cancel()
	prepared, err := s.of.prepared(bounded, t, s.rows) //nolint:sqlclosecheck // it is used again, until forget
	if err == nil {
		var result sql.Result
		if result, err = prepared.ExecContext(bounded, args[s.from:s.to]...); err == nil && t.dryRun {
			n, _ := result.RowsAffected()
			t.tally["affected"] += int(n)
		}
	}
	return t.db.failed(ctx, bounded, err)
}

// close ends everything. What wasn't committed is lost.
func (t *target) close() error {
	t.forget()
	if t.open {
		ctx, cancel := context.WithTimeout(context.Background(), timeoutMargin)
		defer cancel()
		if t.conn.broken || t.rollback(ctx) != nil {
			t.conn.broken = true
		}
	}
	return t.conn.release()
}

// forget forgets how rows are written.
func (t *target) forget() {
	for _, p := range t.plans {
		p.insert.close()
		p.remove.close()
	}
	clear(t.plans)
	t.last, t.lastCols = nil, nil
}
