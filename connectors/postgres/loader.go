package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// loader writes rows into one table over one connection.
type loader struct {
	conn    *pgx.Conn
	session session
	log     *slog.Logger

	tab     *table
	mode    Mode
	key     []string // that rows are replaced and deleted by; nil in Insert mode
	unknown Unknown
	dry     bool
	goType  func(column string) string // for errors

	plans   map[string]*plan       // by the names of their columns
	known   map[*row.Columns]*plan // the same, found quickly
	deletes *plan                  // of records of keys; nil: not needed so far
	made    int                    // types and prepared statements, so that each has a name of its own
	staging staging
	tx      transaction
	entered bool    // a batch is being sent,
	first   bool    // which is its transaction's first,
	stream  *stream // by a COPY that was begun before it was complete; nil: there is none
	given   int     // bytes of it
	counts  counts
}

// maxPlans bounds what is remembered, here and by the server, of rows whose columns change all the time: from one batch to the
// next.
const maxPlans = 256

// evict forgets all plans if there are too many. Nothing may be staged by them.
func (l *loader) evict(ctx context.Context) error {
	if len(l.plans) <= maxPlans {
		return nil
	}
	var b strings.Builder
	for _, p := range l.plans {
		if p.name != "" {
			b.WriteString("DEALLOCATE " + p.name + "; ")
		}
		if p.kind != "" {
			b.WriteString("DROP TYPE " + p.kind + "; ")
		}
	}
	l.forget()
	_, err := l.exec(ctx, b.String())
	return l.planning(err)
}

// forget forgets all plans.
func (l *loader) forget() {
	l.plans, l.known = map[string]*plan{}, map[*row.Columns]*plan{}
	l.staging.forget()
}

// planFor returns the plan for rows of columns. Values are those of the first of these rows: what is not known of the columns
// is taken from them.
func (l *loader) planFor(ctx context.Context, cols *row.Columns, values []row.Value) (*plan, error) {
	if p := l.known[cols]; p != nil {
		return p, nil
	}
	signature := signatureOf(cols)
	p := l.plans[signature]
	if p == nil {
		var err error
		if p, err = l.newPlan(ctx, cols, values); err != nil {
			return nil, err
		}
		l.plans[signature] = p
	}
	if len(l.known) >= maxPlans {
		clear(l.known)
	}
	l.known[cols] = p
	return p, nil
}

// signatureOf is the same for columns that are written alike: by their names and kinds.
func signatureOf(cols *row.Columns) string {
	var b strings.Builder
	for _, c := range cols.All() {
		b.WriteString(strconv.Itoa(len(c.Name)) + ":" + c.Name)
		b.WriteByte(byte(c.Kind))
		b.WriteByte(byte(c.Elem))
	}
	return b.String()
}

func (l *loader) newPlan(ctx context.Context, cols *row.Columns, values []row.Value) (*plan, error) {
	p, missing, err := newPlan(l.tab, cols, l.goType)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		switch l.unknown {
		case Ignore:
		case Reject:
			return &plan{poison: retry.Permanent(unknownColumns(l.tab, missing))}, nil
		case AddColumn:
			if err := l.addColumns(ctx, cols, values, missing); err != nil {
				return nil, err
			}
			if p, missing, err = newPlan(l.tab, cols, l.goType); err != nil {
				return nil, err
			}
			if len(missing) > 0 {
				return nil, retry.Fatal(unknownColumns(l.tab, missing))
			}
		default:
			return nil, retry.Fatal(unknownColumns(l.tab, missing))
		}
	}
	if err := p.complete(l.tab, l.key); err != nil {
		return &plan{poison: retry.Permanent(err)}, nil
	}
	return p, l.prepare(ctx, p)
}

// prepare makes a plan ready to be carried out.
func (l *loader) prepare(ctx context.Context, p *plan) error {
	p.copy = l.mode == Insert && !l.tab.rowSecurity
	for i := range p.targets {
		p.copy = p.copy && p.targets[i].form != formOther
	}
	if p.copy {
		p.sql = p.copySQL(l.tab)
		p.name = l.nextName("weaver_check_")
		_, err := l.exec(ctx, "PREPARE "+p.name+" AS "+checkSQL(l.tab, p.targets))
		return l.planning(err)
	}
	kind, err := l.makeType(ctx, p)
	if err != nil {
		return err
	}
	p.sql = p.insertSQL(l.tab, kind, l.key)
	if l.dry && l.mode == Upsert {
		p.sql = "WITH done AS (" + p.sql + " RETURNING (xmax = 0) AS new) SELECT count(*) FILTER (WHERE new), count(*) FROM done"
	}
	return l.prepareStatement(ctx, p)
}

// deletePlan returns the plan of deletes.
func (l *loader) deletePlan(ctx context.Context) (*plan, error) {
	if l.deletes != nil {
		return l.deletes, nil
	}
	p := &plan{}
	for i, name := range l.key {
		c := *l.tab.column(name)
		c.notNull = true
		p.targets = append(p.targets, newTarget(&c, i))
	}
	kind, err := l.makeType(ctx, p)
	if err != nil {
		return nil, err
	}
	p.sql = deleteSQL(l.tab, kind, p.targets)
	if err := l.prepareStatement(ctx, p); err != nil {
		return nil, err
	}
	l.deletes = p
	return p, nil
}

func (l *loader) nextName(prefix string) string {
	l.made++
	return prefix + strconv.Itoa(l.made)
}

// makeType makes the type of a plan's records, which lives as long as the session.
func (l *loader) makeType(ctx context.Context, p *plan) (string, error) {
	name := "pg_temp." + l.nextName("weaver_row_")
	rows, err := l.exec(ctx, p.recordType(name)+`; SELECT t.oid, a.atttypid FROM pg_catalog.pg_type t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid
		WHERE t.oid = '`+name+`'::regtype AND a.attnum > 0 ORDER BY a.attnum`)
	if err != nil {
		return "", l.planning(err)
	}
	if len(rows) != len(p.targets) {
		return "", fmt.Errorf("postgres: the type of %d columns has %d fields", len(p.targets), len(rows))
	}
	for i, r := range rows {
		for j, to := range []*uint32{&p.record, &p.targets[i].wire} {
			n, err := strconv.ParseUint(string(r[j]), 10, 32)
			if err != nil {
				return "", fmt.Errorf("postgres: a type is %q", r[j])
			}
			*to = uint32(n)
		}
		p.targets[i].elem = p.targets[i].columnType.elem
	}
	p.kind = name
	l.tx.typed = l.tx.typed || l.tx.open
	return name, nil
}

func (l *loader) prepareStatement(ctx context.Context, p *plan) error {
	ctx, cancel := l.session.bound(ctx)
	defer cancel()
	p.name = l.nextName("weaver_write_")
	_, err := l.conn.PgConn().Prepare(ctx, p.name, p.sql, nil)
	return l.planning(err)
}

// planning is the error of a statement that makes a plan ready. None of these has anything to do with a record.
func (l *loader) planning(err error) error {
	if err == nil {
		return nil
	}
	err = classify(fmt.Errorf("postgres: writing to %s: %w", l.tab, err))
	if retry.ClassOf(err) == retry.ClassPoison {
		err = retry.Fatal(err)
	}
	return err
}

// exec runs statements and returns the rows of the last one, as text.
func (l *loader) exec(ctx context.Context, sql string) ([][][]byte, error) {
	ctx, cancel := l.session.bound(ctx)
	defer cancel()
	results, err := l.conn.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 {
		return nil, err
	}
	return results[len(results)-1].Rows, nil
}

// stage encodes a record of columns. An error is the record's, and poison, unless fatal is set.
func (l *loader) stage(ctx context.Context, cols *row.Columns, values []row.Value) (err error, fatal bool) { //nolint:revive // what kind of error it is comes behind it
	p, err := l.planFor(ctx, cols, values)
	if err != nil {
		return err, true
	}
	if p.poison != nil {
		return p.poison, false
	}
	var bad int
	if l.mode == Insert {
		bad, err = l.staging.insert(p, values)
	} else {
		bad, err = l.staging.upsert(p, values)
	}
	return l.valueError(p, bad, err), false
}

// valueError says which column an error is of.
func (l *loader) valueError(p *plan, bad int, err error) error {
	switch {
	case err == nil:
		return nil
	case bad < 0:
		return retry.Permanent(fmt.Errorf("postgres: %s: %w", l.tab, err))
	}
	t := &p.targets[bad]
	return retry.Permanent(fmt.Errorf("postgres: column %s (%s) of %s: %w", tables.Brief(t.name), t.typ, l.tab, err))
}

// stageDelete encodes the deletion of a row, by its key among values or by a record's key.
func (l *loader) stageDelete(ctx context.Context, cols *row.Columns, values []row.Value, key []byte) (err error, fatal bool) { //nolint:revive // as stage
	if l.mode == Insert {
		return retry.Permanent(errInsertOnly), false
	}
	p, err := l.deletePlan(ctx)
	if err != nil {
		return err, true
	}
	of, err := l.keyOf(cols, values, key)
	if err != nil {
		return retry.Permanent(fmt.Errorf("postgres: deleting from %s: %w", l.tab, err)), false
	}
	bad, err := l.staging.delete(p, of)
	return l.valueError(p, bad, err), false
}

var errInsertOnly = errors.New("postgres: Sink.Mode is Insert, which adds rows: an update or a delete needs Upsert, or make it part of the value with weaver.MapRecord, which sets Op to Upsert")

// keyOf returns the key of the row that a Delete is about.
func (l *loader) keyOf(cols *row.Columns, values []row.Value, key []byte) ([]row.Value, error) {
	given := make([]row.Value, 0, len(l.key))
	kinds := make([]row.Kind, 0, len(l.key))
	for _, name := range l.key {
		kinds = append(kinds, l.tab.column(name).kind)
		if i := cols.Index(name); i >= 0 && i < len(values) {
			given = append(given, values[i])
		}
	}
	if len(given) < len(l.key) {
		given = nil // a part of a key is none
	}
	return tables.DeleteKey(nil, given, key, kinds)
}
