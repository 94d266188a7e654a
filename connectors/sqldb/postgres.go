package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// Postgres is the Dialect of PostgreSQL 12 and later, known to work with the driver of jackc/pgx/v5/stdlib. Package postgres, in
// connectors/postgres, is faster: it is for where a *sql.DB is what there is. Both have the same table of checkpoints.
//
// Values are exchanged as texts, except for numbers, booleans and bytes. A time is cut to microseconds, which is the most there
// is; a number with more digits than its column has is refused rather than rounded. The columns GENERATED ALWAYS AS IDENTITY are
// not written. A connection that was used is closed afterwards.
var Postgres Dialect = postgreSQL{} //nolint:gochecknoglobals // a constant in all but name

type postgreSQL struct{}

// Name implements Dialect.
func (postgreSQL) Name() string { return "PostgreSQL" }

// Traits implements Dialect.
func (postgreSQL) Traits() Traits {
	return Traits{
		Variables: 65535, Key: 1024, Rows: 512, Bytes: 8 << 20, Begin: []string{"BEGIN ISOLATION LEVEL READ COMMITTED"},
		Stacks: true, RowValues: true, Resolution: time.Microsecond,
	}
}

// Quote implements Dialect. What is longer, the server cuts off (NAMEDATALEN).
func (postgreSQL) Quote(name string) (string, error) {
	if err := CheckName(name, 63); err != nil {
		return "", err
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`, nil
}

// Placeholder implements Dialect.
func (postgreSQL) Placeholder(n int) string { return "$" + strconv.Itoa(n) }

// Describe implements Dialect.
func (d postgreSQL) Describe(ctx context.Context, q Queryer, schema, name string) (*Table, error) {
	quoted, err := d.Quote(name)
	if err != nil {
		return nil, err
	}
	if schema != "" {
		before, err := d.Quote(schema)
		if err != nil {
			return nil, err
		}
		quoted = before + "." + quoted
	}
	t := &Table{Schema: schema, Name: name}
	const columns = `SELECT a.attname::text,
			CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) ELSE format_type(a.atttypid, a.atttypmod) END,
			NOT (a.attnotnull OR t.typnotnull), a.atthasdef OR a.attidentity <> '', a.attgenerated <> '' OR a.attidentity = 'a',
			COALESCE((SELECT a.attnum = ANY(i.indkey) FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisprimary), false)
		FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
		WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`
	err = each(ctx, q, columns, []any{quoted}, func(scan func(...any) error) error {
		var c Column
		if err := scan(&c.Name, &c.Type, &c.Nullable, &c.Default, &c.Generated, &c.Key); err != nil {
			return err
		}
		c.Digits = d.digits(c.Type)
		t.Columns = append(t.Columns, c)
		return nil
	})
	if err != nil || len(t.Columns) == 0 {
		return nil, err
	}
	const keys = `SELECT i.indexrelid::text, i.indisprimary, a.attname::text
		FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n)
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
		WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL AND k.n <= i.indnkeyatts
		ORDER BY i.indisprimary DESC, i.indexrelid, k.n`
	last := ""
	return t, each(ctx, q, keys, []any{quoted}, func(scan func(...any) error) error {
		var index, column string
		var primary bool
		if err := scan(&index, &primary, &column); err != nil {
			return err
		}
		switch {
		case primary:
			t.Key = append(t.Key, column)
		case index != last:
			t.Unique, last = append(t.Unique, []string{column}), index
		default:
			t.Unique[len(t.Unique)-1] = append(t.Unique[len(t.Unique)-1], column)
		}
		return nil
	})
}

// digits is how many digits behind the point a type says; -1: none.
func (postgreSQL) digits(typ string) int {
	m := regexp.MustCompile(`^(?:numeric\(\d+,(-?\d+)\)|time(?:stamp)?\((\d+)\))`).FindStringSubmatch(typ)
	if m == nil {
		return -1
	}
	n, err := strconv.Atoi(m[1] + m[2])
	if err != nil {
		return -1
	}
	return n
}

// Kind implements Dialect, by the names of the catalog (bigint) and those of drivers (INT8).
func (d postgreSQL) Kind(typ string) row.Kind {
	low := strings.ToLower(typ)
	if strings.HasSuffix(low, "[]") {
		return row.KindArray
	}
	zoned := strings.HasSuffix(low, "with time zone")
	if i := strings.IndexByte(low, '('); i >= 0 {
		low = low[:i]
	}
	low = strings.TrimSuffix(strings.TrimSuffix(low, " without time zone"), " with time zone")
	switch low {
	case "boolean", "bool":
		return row.KindBool
	case "smallint", "integer", "bigint", "int2", "int4", "int8", "oid":
		return row.KindInt
	case "real", "float4":
		return row.KindFloat32
	case "double precision", "float8":
		return row.KindFloat
	case "numeric":
		return row.KindDecimal
	case "bytea":
		return row.KindBytes
	case "json", "jsonb":
		return row.KindJSON
	case "uuid":
		return row.KindUUID
	case "date":
		return row.KindDate
	case "time":
		if zoned {
			return row.KindText
		}
		return row.KindClock
	case "timestamp":
		if zoned {
			return row.KindTime
		}
		return row.KindDateTime
	case "timestamptz":
		return row.KindTime
	}
	return row.KindText
}

// Type implements Dialect.
func (d postgreSQL) Type(c row.Column, key bool) (string, error) {
	switch c.Kind {
	case row.KindBool:
		return "boolean", nil
	case row.KindInt:
		return "bigint", nil
	case row.KindUint, row.KindDecimal:
		return "numeric", nil
	case row.KindFloat32:
		return "real", nil
	case row.KindFloat:
		return "double precision", nil
	case row.KindBytes:
		return "bytea", nil
	case row.KindJSON:
		return "jsonb", nil
	case row.KindUUID:
		return "uuid", nil
	case row.KindDate:
		return "date", nil
	case row.KindClock:
		return "time", nil
	case row.KindDateTime:
		return "timestamp", nil
	case row.KindTime:
		return "timestamptz", nil
	case row.KindArray:
		elem, err := d.Type(row.Column{Kind: c.Elem}, key)
		return elem + "[]", err
	default:
	}
	return "text", nil
}

// Select implements Dialect. As texts, times and what drivers don't know are what they are.
func (d postgreSQL) Select(c *Column, quoted string) string {
	switch d.Kind(c.Type) {
	case row.KindBool, row.KindInt, row.KindFloat, row.KindFloat32, row.KindBytes:
		return quoted
	default:
	}
	if low := strings.ToLower(c.Type); strings.HasPrefix(low, "character(") || low == "bpchar" {
		return quoted // a cast would take its blanks away
	}
	return quoted + "::text"
}

// Value implements Dialect.
func (postgreSQL) Value(c *Column, src any) (row.Value, error) {
	if text, ok := src.(string); ok && c.Kind == row.KindDecimal {
		return row.Decimal(text), nil
	}
	return Value(c, src)
}

// Argument implements Dialect.
func (postgreSQL) Argument(c *Column, v row.Value) (any, error) {
	switch v.Kind() {
	case row.KindNull:
		return nil, nil
	case row.KindBool:
		return v.Bool(), nil
	case row.KindInt:
		return v.Int(), nil
	case row.KindFloat:
		return v.Float(), nil
	case row.KindBytes:
		return bytesOf(v.Str()), nil
	case row.KindDateTime, row.KindTime:
		v = cutMicros(v)
		return v.String(), checkDigits(c, v)
	case row.KindClock:
		v = row.Clock(v.Clock().Truncate(time.Microsecond))
		return v.String(), checkDigits(c, v)
	case row.KindDecimal:
		return v.Str(), checkDigits(c, v)
	default:
	}
	text := v.String()
	switch {
	case strings.IndexByte(text, 0) >= 0:
		return nil, errors.New("the text has a NUL, which PostgreSQL can't hold")
	case !utf8.ValidString(text):
		return nil, errors.New("the text is no UTF-8")
	}
	return text, nil
}

// Upsert implements Dialect.
func (postgreSQL) Upsert(_ *Table, key, set []string) string { return onConflict(key, set) }

// Classify implements Dialect, by the SQLSTATE that drivers tell by a method
// (https://www.postgresql.org/docs/current/errcodes-appendix.html). It is what package postgres says.
func (postgreSQL) Classify(err error) retry.Class {
	var server interface{ SQLState() string }
	if !errors.As(err, &server) || len(server.SQLState()) != 5 {
		if strings.Contains(err.Error(), "failed to encode args") { // by pgx, before it is sent
			return retry.ClassPoison
		}
		return retry.ClassUnmarked
	}
	code := server.SQLState()
	switch code {
	case "25P01", "25P02", "25006", "25P03", "25P04", "26000", "55P03", "55006", "57014", "57P01", "57P02", "57P03", "57P05":
		return retry.ClassUnmarked
	case "53300": // too_many_connections
		return retry.ClassThrottled
	case "54000", "54001", "55P04": // a value is too large, or nested too deeply
		return retry.ClassPoison
	case "55000", "57P04", "XX001", "XX002", "54011", "54023":
		return retry.ClassFatal
	}
	switch code[:2] {
	case "21", "22", "23", "27", "38", "39", "44", "P0": // data, constraints, triggers
		return retry.ClassPoison
	case "0A", "25", "28", "2B", "3D", "3F", "42", "F0": // SQL, what isn't there, privileges
		return retry.ClassFatal
	}
	return retry.ClassUnmarked
}

// Session implements Dialect.
func (postgreSQL) Session(ctx context.Context, conn *sql.Conn, s Session) (func(context.Context) error, error) {
	const idle = 2 * time.Minute // within a transaction, after which the server ends the session
	for _, set := range []string{
		"statement_timeout = " + strconv.FormatInt(max(s.Statement.Milliseconds(), 1), 10),
		"lock_timeout = " + strconv.FormatInt(max(s.Lock.Milliseconds(), 1), 10),
		"idle_in_transaction_session_timeout = " + strconv.FormatInt(idle.Milliseconds(), 10),
		"DateStyle = 'ISO, YMD'", "IntervalStyle = 'postgres'", "TimeZone = 'UTC'", "extra_float_digits = 3", "bytea_output = 'hex'",
	} {
		if _, err := conn.ExecContext(ctx, "SET "+set); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// Checkpoints implements Dialect. Package postgres has its own columns for owners.
func (postgreSQL) Checkpoints(table string) string {
	return "CREATE TABLE IF NOT EXISTS " + table + " (key bytea PRIMARY KEY, version bigint NOT NULL, value bytea, owner_pid integer, owner_start timestamptz, owner text)"
}

// Owner implements Killer.
func (postgreSQL) Owner(ctx context.Context, conn *sql.Conn) (string, error) {
	var owner string
	err := conn.QueryRowContext(ctx, "SELECT pid || ' since ' || backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()").Scan(&owner)
	return owner, err
}

// Kill implements Killer.
func (postgreSQL) Kill(ctx context.Context, conn *sql.Conn, owner string) error {
	_, err := conn.ExecContext(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid || ' since ' || backend_start = $1", owner)
	return err
}

// Settles implements Follower: a transaction's time is read a moment before the server lists it.
func (postgreSQL) Settles() time.Duration { return 100 * time.Millisecond }

// Writers implements Follower. For a counter these are the transactions that have the table locked as who writes does, which an
// INSERT does before it draws a value; for times all that are open in the database, as now() is when they have begun. Each is
// told by its virtual number and, once it has one, by its own, which it keeps when it is prepared for a commit in two phases.
func (d postgreSQL) Writers(ctx context.Context, conn *sql.Conn, t *Table, clock bool) ([]string, error) {
	const database = "(SELECT d.oid FROM pg_database d WHERE d.datname = current_database())"
	from := `SELECT l.virtualtransaction FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
		LEFT JOIN pg_prepared_xacts p ON l.pid IS NULL AND p.transaction = l.transactionid
		WHERE l.mode = 'ExclusiveLock' AND l.granted AND (
			l.locktype = 'virtualxid' AND l.pid <> pg_backend_pid() AND (a.pid IS NULL OR a.datid = ` + database + `) AND a.backend_type IS DISTINCT FROM 'autovacuum worker'
			OR l.locktype = 'transactionid' AND l.pid IS NULL AND (p.database IS NULL OR p.database = current_database()))`
	var args []any
	if !clock && t != nil {
		quoted, err := d.Quote(t.Name)
		if err != nil {
			return nil, err
		}
		if t.Schema != "" {
			schema, err := d.Quote(t.Schema)
			if err != nil {
				return nil, err
			}
			quoted = schema + "." + quoted
		}
		args = []any{quoted}
		from = `SELECT l.virtualtransaction FROM pg_locks l WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock' AND l.granted
			AND l.database = ` + database + ` AND l.pid IS DISTINCT FROM pg_backend_pid() AND l.relation IN (
				WITH RECURSIVE up(oid) AS (SELECT to_regclass($1)::oid UNION SELECT i.inhparent FROM up JOIN pg_inherits i ON i.inhrelid = up.oid),
				down(oid) AS (SELECT to_regclass($1)::oid UNION SELECT i.inhrelid FROM down JOIN pg_inherits i ON i.inhparent = down.oid)
				SELECT oid FROM up UNION SELECT oid FROM down)`
	}
	var writers []string
	err := each(ctx, conn, "WITH w(v) AS ("+from+") SELECT 'transaction ' || v FROM w UNION SELECT 'transaction ' || l.transactionid FROM pg_locks l JOIN w ON w.v = l.virtualtransaction "+
		"WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted", args, func(scan func(...any) error) error {
		var w string
		err := scan(&w)
		writers = append(writers, w)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("asking for transactions: %w", err)
	}
	return writers, nil
}

var (
	_ Killer   = postgreSQL{}
	_ Follower = postgreSQL{}
)
