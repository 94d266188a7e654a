package sqldb

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

// make creates the table of columns, and looks at what is there then.
func (t *target) make(ctx context.Context, cols *row.Columns) error {
	if t.open {
		return errors.New("sqldb: the table is created before anything is written")
	}
	key := t.key
	if len(key) == 0 {
		for _, c := range cols.All() {
			if c.Key {
				key = append(key, c.Name)
			}
		}
	}
	var defs []string
	for _, c := range cols.All() {
		isKey := slices.Contains(key, c.Name)
		def, err := t.definition(c, isKey)
		if err != nil {
			return err
		}
		if isKey {
			def += " NOT NULL"
		}
		defs = append(defs, def)
	}
	if len(key) > 0 {
		quoted, err := t.db.quoteAll("a name in Key", key)
		if err != nil {
			return err
		}
		for _, name := range key {
			if cols.Index(name) < 0 {
				return retry.Fatal(fmt.Errorf("sqldb: table %s can't be created: there is no column %s, which Sink.Key names", t.quoted, tables.Brief(name)))
			}
		}
		defs = append(defs, "PRIMARY KEY ("+strings.Join(quoted, ", ")+")")
	} else if t.mode == Upsert {
		return retry.Fatal(fmt.Errorf("sqldb: table %s can't be created without a key: set Sink.Key, or Sink.Mode to Insert", t.quoted))
	}
	sql := "CREATE TABLE IF NOT EXISTS " + t.quoted + " (" + strings.Join(defs, ", ") + ")"
	if t.dryRun {
		t.log.Info("dry run: the table would be created, and this is all there is to say", "table", t.name, "sql", sql)
		return retry.Fatal(fmt.Errorf("sqldb: a dry run needs table %s, which isn't there: it would be created by %s", t.quoted, sql))
	}
	_, failed := t.conn.exec(ctx, sql)
	table, err := t.db.describe(ctx, t.conn, t.schema, t.name)
	if err != nil {
		return err
	}
	if table == nil { // another may have created it at the same time, with an error for us
		if failed == nil {
			failed = errors.New("it isn't there afterwards")
		}
		return fmt.Errorf("sqldb: creating table %s: %w", t.quoted, failed)
	}
	t.log.Info("created the table", "table", t.name, "sql", sql)
	fields := cols
	if t.goType(0) == "" {
		fields = nil // known at run time
	}
	return t.use(ctx, table, fields)
}

// definition is a column in CREATE TABLE and ALTER TABLE.
func (t *target) definition(c row.Column, key bool) (string, error) {
	quoted, err := t.db.quote("the column", c.Name)
	if err != nil {
		return "", err
	}
	typ, err := t.db.dialect.Type(c, key)
	if err != nil {
		return "", retry.Fatal(fmt.Errorf("sqldb: table %s: column %s: %w", t.quoted, tables.Brief(c.Name), err))
	}
	return quoted + " " + typ, nil
}

// errAltered says that what was written must be written again, to the table as it is now.
var errAltered = errors.New("the table has new columns: what isn't committed is written again")

// add adds columns to the table. As some databases commit what is open when a table is altered, and others wait for it, the
// transaction is given up before.
func (t *target) add(ctx context.Context, cols []row.Column) error {
	if t.dryRun {
		return retry.Fatal(fmt.Errorf("sqldb: a dry run adds no columns to table %s: do without Unknown AddColumn", t.quoted))
	}
	lost := t.open && t.rows > 0
	if err := t.rollback(ctx); err != nil {
		return err
	}
	for _, c := range cols {
		def, err := t.definition(c, false)
		if err != nil {
			return err
		}
		sql := "ALTER TABLE " + t.quoted + " ADD COLUMN " + def
		if _, err := t.conn.exec(ctx, sql); err != nil {
			if table, e := t.db.describe(ctx, t.conn, t.schema, t.name); e == nil && table != nil && table.Column(c.Name) != nil {
				continue // another has added it
			}
			return fmt.Errorf("sqldb: adding column %s to table %s: %w", tables.Brief(c.Name), t.quoted, err)
		}
		t.log.Info("added a column", "table", t.name, "sql", sql)
	}
	table, err := t.db.describe(ctx, t.conn, t.schema, t.name)
	if err != nil {
		return err
	}
	if table == nil {
		return t.missing()
	}
	if lost {
		return fmt.Errorf("sqldb: table %s: %w", t.quoted, errAltered)
	}
	t.table = table
	t.forget()
	return errReplan
}

// errReplan says that a plan is to be made of the table as it is now.
var errReplan = errors.New("replan")
