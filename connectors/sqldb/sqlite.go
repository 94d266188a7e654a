package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// SQLite is the Dialect of SQLite 3.24 and later, known to work with modernc.org/sqlite.
//
// One transaction writes at a time. A writer's transaction is open from the first record to the checkpoint, and others wait for
// it up to LockTimeout, then start over: several lanes take turns. A process that stands still within a transaction
// (SIGSTOP) holds all others up until it goes on or is ended.
//
// What is written while it is read needs journal_mode WAL, or readers and the writer hold each other up. The pragma synchronous
// says what a loss of power may take: FULL, the default, loses nothing.
//
// Columns have the kind of their declared type: that of its affinity (INTEGER, TEXT, BLOB, REAL), and of what has the affinity
// NUMERIC, by its name: BOOLEAN, DATE, TIME, DATETIME, TIMESTAMP, DECIMAL, JSON, UUID. Values of another type are read as they
// are. Dates and times are texts, 2006-01-02 15:04:05.999999999, a TIMESTAMP of UTC. A DECIMAL has what a REAL or an INTEGER
// holds exactly; longer numbers are refused, and belong into a TEXT column, which is what Create makes for them.
//
// Don't set _texttotime and _inttotime of modernc's driver: with them it changes texts that look like times.
var SQLite Dialect = sqlite{} //nolint:gochecknoglobals // a constant in all but name

type sqlite struct{}

// Name implements Dialect.
func (sqlite) Name() string { return "SQLite" }

// Traits implements Dialect. The number of variables is SQLITE_MAX_VARIABLE_NUMBER's default since 3.32.
func (sqlite) Traits() Traits {
	return Traits{
		Variables: 32766, Key: 1024, Rows: 64, Bytes: 8 << 20, Begin: []string{"BEGIN IMMEDIATE"},
		Undoes: true, Stacks: true, RowValues: true, Resolution: time.Second,
	}
}

// Quote implements Dialect.
func (sqlite) Quote(name string) (string, error) {
	if err := CheckName(name, 1<<16); err != nil {
		return "", err
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`, nil
}

// Placeholder implements Dialect.
func (sqlite) Placeholder(int) string { return "?" }

// Describe implements Dialect.
func (d sqlite) Describe(ctx context.Context, q Queryer, schema, name string) (*Table, error) {
	if schema == "" {
		schema = "main"
	}
	t := &Table{Schema: schema, Name: name}
	type keyed struct {
		at   int
		name string
	}
	var key []keyed
	err := each(ctx, q, `SELECT name, type, "notnull", dflt_value IS NOT NULL, pk, hidden FROM pragma_table_xinfo(?, ?) WHERE hidden <> 1`, []any{name, schema}, func(scan func(...any) error) error {
		var c Column
		var notNull, hasDefault bool
		var at, hidden int
		if err := scan(&c.Name, &c.Type, &notNull, &hasDefault, &at, &hidden); err != nil {
			return err
		}
		c.Nullable, c.Default, c.Generated, c.Key, c.Digits = !notNull, hasDefault, hidden > 1, at > 0, -1
		if at > 0 {
			key = append(key, keyed{at, c.Name})
		}
		t.Columns = append(t.Columns, c)
		return nil
	})
	if err != nil || len(t.Columns) == 0 {
		return nil, err
	}
	slices.SortFunc(key, func(a, b keyed) int { return a.at - b.at })
	for _, k := range key {
		t.Key = append(t.Key, k.name)
	}
	if len(key) == 1 {
		if c := t.Column(t.Key[0]); strings.EqualFold(c.Type, "INTEGER") {
			c.Nullable, c.Default = false, true // it is the rowid
		}
	}
	return t, d.unique(ctx, q, t)
}

// unique finds the other unique keys.
func (sqlite) unique(ctx context.Context, q Queryer, t *Table) error {
	var names []string
	var partial []bool
	err := each(ctx, q, `SELECT name, partial FROM pragma_index_list(?, ?) WHERE "unique" = 1 AND origin <> 'pk'`, []any{t.Name, t.Schema}, func(scan func(...any) error) error {
		var name string
		var part bool
		err := scan(&name, &part)
		names, partial = append(names, name), append(partial, part)
		return err
	})
	for i, name := range names {
		if err != nil {
			return err
		}
		var columns []string
		plain := !partial[i]
		err = each(ctx, q, "SELECT name FROM pragma_index_info(?, ?) ORDER BY seqno", []any{name, t.Schema}, func(scan func(...any) error) error {
			var column sql.NullString
			err := scan(&column)
			plain = plain && column.Valid
			columns = append(columns, column.String)
			return err
		})
		if plain {
			t.Unique = append(t.Unique, columns)
		} else {
			t.Overlaps = true
		}
	}
	return err
}

// each calls f for each row of an answer.
func each(ctx context.Context, q Queryer, query string, args []any, f func(scan func(...any) error) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// numeric reports whether a type has the affinity NUMERIC (https://www.sqlite.org/datatype3.html section 3.1).
func (sqlite) numeric(typ string) bool {
	up := strings.ToUpper(typ)
	for _, other := range []string{"INT", "CHAR", "CLOB", "TEXT", "BLOB", "REAL", "FLOA", "DOUB"} { //nolint:misspell // it is what SQLite looks for
		if strings.Contains(up, other) {
			return false
		}
	}
	return up != "" && up != "ANY"
}

// Kind implements Dialect.
func (d sqlite) Kind(typ string) row.Kind {
	up := strings.ToUpper(typ)
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(up, part) })
	}
	word, _, _ := strings.Cut(up, "(")
	switch strings.TrimSpace(word) {
	case "", "ANY":
		return row.KindNull
	}
	switch {
	case has("INT"):
		return row.KindInt
	case has("CHAR", "CLOB", "TEXT"):
		return row.KindText
	case has("BLOB"):
		return row.KindBytes
	case has("REAL", "FLOA", "DOUB"): //nolint:misspell // likewise
		return row.KindFloat
	}
	switch strings.TrimSpace(word) {
	case "BOOL", "BOOLEAN":
		return row.KindBool
	case "DATE":
		return row.KindDate
	case "TIME":
		return row.KindClock
	case "DATETIME":
		return row.KindDateTime
	case "TIMESTAMP", "TIMESTAMPTZ":
		return row.KindTime
	case "DECIMAL", "NUMERIC", "NUMBER":
		return row.KindDecimal
	case "JSON":
		return row.KindJSON
	case "UUID":
		return row.KindUUID
	}
	return row.KindNull
}

// Type implements Dialect.
func (sqlite) Type(c row.Column, _ bool) (string, error) {
	switch c.Kind {
	case row.KindBool:
		return "BOOLEAN", nil
	case row.KindInt:
		return "INTEGER", nil
	case row.KindFloat, row.KindFloat32:
		return "REAL", nil
	case row.KindBytes:
		return "BLOB", nil
	case row.KindJSON:
		return "JSON", nil
	case row.KindUUID:
		return "UUID", nil
	case row.KindDate:
		return "DATE", nil
	case row.KindClock:
		return "TIME", nil
	case row.KindDateTime:
		return "DATETIME", nil
	case row.KindTime:
		return "TIMESTAMP", nil
	default:
	}
	return "TEXT", nil // a Decimal, a Uint and what isn't known too: exact
}

// Select implements Dialect. What has no declared type the driver takes as it is.
func (d sqlite) Select(c *Column, quoted string) string {
	switch d.Kind(c.Type) {
	case row.KindDate, row.KindDateTime, row.KindTime, row.KindClock, row.KindBool:
		return "+" + quoted
	default:
	}
	return quoted
}

// Value implements Dialect. A blob is Bytes wherever it is.
func (sqlite) Value(c *Column, src any) (row.Value, error) {
	if blob, ok := src.([]byte); ok {
		return row.Bytes(view(blob)), nil
	}
	if text, ok := src.(string); ok && (c.Kind == row.KindBytes || c.Kind == row.KindJSON) {
		if c.Kind == row.KindBytes {
			return row.Text(text), nil // it is one, and no hexadecimal digits
		}
		if v, err := row.Text(text).Convert(row.KindJSON); err == nil {
			return v, nil
		}
		return row.Text(text), nil
	}
	return Value(c, src)
}

// Argument implements Dialect.
func (d sqlite) Argument(c *Column, v row.Value) (any, error) {
	switch v.Kind() {
	case row.KindNull:
		return nil, nil
	case row.KindBool:
		if v.Bool() {
			return int64(1), nil
		}
		return int64(0), nil
	case row.KindInt:
		return v.Int(), nil
	case row.KindUint:
		if v.Uint() <= math.MaxInt64 {
			return int64(v.Uint()), nil
		}
		return nil, fmt.Errorf("%s is more than an INTEGER of SQLite holds: make the column TEXT", v)
	case row.KindFloat, row.KindFloat32:
		if f := v.Float(); f == f {
			return f, nil
		}
		return nil, errors.New("it is NaN, which SQLite takes for NULL")
	case row.KindBytes:
		return bytesOf(v.Str()), nil
	case row.KindDecimal:
		if c.Kind == row.KindDecimal {
			return d.number(v)
		}
		return v.Str(), nil
	case row.KindJSON:
		if d.numeric(c.Type) {
			if number, err := row.Text(v.Str()).Convert(row.KindDecimal); err == nil {
				return d.number(number)
			}
		}
		return v.Str(), nil
	case row.KindText:
		if d.numeric(c.Type) {
			if number, err := v.Convert(row.KindDecimal); err == nil && number.Str() != v.Str() || err == nil && c.Kind == row.KindNull {
				return nil, fmt.Errorf("the text %q would become a number in a column of type %s: make it TEXT", v.Str(), c.Type)
			}
		}
		return v.Str(), nil
	case row.KindDate, row.KindDateTime, row.KindTime:
		text, err := appendTime(make([]byte, 0, 32), v)
		return view(text), err
	default:
	}
	return v.String(), nil
}

// number returns a Decimal as an INTEGER or a REAL that is the same.
func (sqlite) number(v row.Value) (any, error) {
	if n, err := v.Convert(row.KindInt); err == nil {
		return n.Int(), nil
	}
	f, err := v.Convert(row.KindFloat)
	if err != nil {
		return nil, fmt.Errorf("%s has more digits than SQLite keeps of a number: make the column TEXT", v)
	}
	if x := f.Float(); x != x {
		return nil, errors.New("it is NaN, which SQLite takes for NULL")
	}
	return f.Float(), nil
}

// Upsert implements Dialect.
func (sqlite) Upsert(_ *Table, key, set []string) string { return onConflict(key, set) }

// onConflict is the upsert of SQLite and PostgreSQL.
func onConflict(key, set []string) string {
	var b strings.Builder
	b.WriteString(" ON CONFLICT (" + strings.Join(key, ", ") + ") DO ")
	if len(set) == 0 {
		return b.String() + "NOTHING"
	}
	b.WriteString("UPDATE SET ")
	for i, name := range set {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(name + " = excluded." + name)
	}
	return b.String()
}

// Classify implements Dialect, by the code that drivers of SQLite tell by a method or in their text
// (https://www.sqlite.org/rescode.html).
func (sqlite) Classify(err error) retry.Class {
	var coded interface{ Code() int }
	if !errors.As(err, &coded) {
		return retry.ClassUnmarked
	}
	switch coded.Code() & 0xff {
	case 18, 19, 20: // TOOBIG, CONSTRAINT, MISMATCH
		return retry.ClassPoison
	case 1, 3, 8, 11, 12, 14, 21, 23, 25, 26: // ERROR (SQL), PERM, READONLY, CORRUPT, NOTFOUND, CANTOPEN, MISUSE, AUTH, RANGE, NOTADB
		if strings.Contains(err.Error(), "integer overflow") {
			return retry.ClassPoison
		}
		return retry.ClassFatal
	}
	return retry.ClassUnmarked // BUSY, LOCKED, IOERR, FULL and so on
}

// Session implements Dialect.
func (sqlite) Session(ctx context.Context, conn *sql.Conn, s Session) (func(context.Context) error, error) {
	var before int64
	if err := conn.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&before); err != nil {
		return nil, err
	}
	set := func(ctx context.Context, ms int64) error {
		_, err := conn.ExecContext(ctx, "PRAGMA busy_timeout = "+strconv.FormatInt(ms, 10))
		return err
	}
	return func(ctx context.Context) error { return set(ctx, before) }, set(ctx, max(s.Lock.Milliseconds(), 1))
}

// Checkpoints implements Dialect.
func (sqlite) Checkpoints(table string) string {
	return "CREATE TABLE IF NOT EXISTS " + table + " (key BLOB NOT NULL PRIMARY KEY, version INTEGER NOT NULL, value BLOB)"
}

// Writers implements Follower: what one writer has committed, no other can come before.
func (sqlite) Writers(context.Context, *sql.Conn, *Table, bool) ([]string, error) { return nil, nil }

// Settles implements Follower.
func (sqlite) Settles() time.Duration { return 0 }

var _ Follower = sqlite{}
