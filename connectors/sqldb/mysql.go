package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// MySQL is the Dialect of MariaDB 10.3, MySQL 5.7 and later of both, with InnoDB, known to work with go-sql-driver/mysql.
//
// No setting of the DSN matters: times are exchanged as texts, a TIMESTAMP as one of UTC, a DATETIME as it is. The session is
// strict (STRICT_ALL_TABLES), and READ COMMITTED. A number or a time with more digits than its column has is refused rather than
// rounded; a time is cut to microseconds, which is the most there is.
//
// A connection that was used is closed afterwards.
//
// Following a table needs the privilege PROCESS, to see the transactions under way (SHOW ENGINE INNODB STATUS), or
// Source.Slack. AUTO_INCREMENT values are drawn, and NOW() is read, within the statement that writes the row, so that its
// transaction shows. A time of day that a session reads before that (SET @now = NOW()) needs Slack. A DATETIME that may be in the
// future is not held back, as it says no zone: use a TIMESTAMP.
//
// A table with unique keys besides that of Upsert is written to with a check: a record that would replace a row by another of
// them is refused, whereas MySQL would overwrite that row.
var MySQL Dialect = mySQL{} //nolint:gochecknoglobals // a constant in all but name

type mySQL struct{}

// Name implements Dialect.
func (mySQL) Name() string { return "MySQL" }

// Traits implements Dialect.
func (mySQL) Traits() Traits {
	return Traits{
		Variables: 65535, Key: 200, Rows: 512, Bytes: 1 << 20, Begin: []string{"START TRANSACTION"},
		Undoes: true, RowValues: false, Resolution: time.Second,
	}
}

// Quote implements Dialect (https://mariadb.com/kb/en/identifier-names/).
func (mySQL) Quote(name string) (string, error) {
	const most = 64 // characters
	if err := CheckName(name, 4*most); err != nil {
		return "", err
	}
	n := 0
	for _, r := range name {
		if r > 0xFFFF {
			return "", fmt.Errorf("has the character %q, which a name can't have", r)
		}
		n++
	}
	switch {
	case n > most:
		return "", fmt.Errorf("has %d characters, and %d are allowed", n, most)
	case strings.HasSuffix(name, " "):
		return "", errors.New("ends with a blank")
	}
	return "`" + strings.ReplaceAll(name, "`", "``") + "`", nil
}

// Placeholder implements Dialect.
func (mySQL) Placeholder(int) string { return "?" }

// Describe implements Dialect.
func (d mySQL) Describe(ctx context.Context, q Queryer, schema, name string) (*Table, error) {
	t := &Table{Schema: schema, Name: name}
	const columns = `SELECT table_schema, column_name, column_type, is_nullable = 'YES', column_default IS NOT NULL, extra, column_key = 'PRI', data_type,
		COALESCE(datetime_precision, -1), COALESCE(numeric_scale, -1)
		FROM information_schema.columns WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND table_name = ? ORDER BY ordinal_position`
	err := each(ctx, q, columns, []any{schema, name}, func(scan func(...any) error) error {
		var c Column
		var extra, typ string
		var digits, scale int
		if err := scan(&t.Schema, &c.Name, &c.Type, &c.Nullable, &c.Default, &extra, &c.Key, &typ, &digits, &scale); err != nil {
			return err
		}
		extra = strings.ToLower(extra)
		c.Generated = strings.Contains(extra, "virtual") || strings.Contains(extra, "stored") || strings.Contains(extra, "persistent")
		c.Default = c.Default || strings.Contains(extra, "auto_increment") || strings.Contains(extra, "default_generated")
		if c.Digits = digits; typ == "decimal" {
			c.Digits = scale
		}
		t.Columns = append(t.Columns, c)
		return nil
	})
	if err != nil || len(t.Columns) == 0 {
		return nil, err
	}
	return t, d.keys(ctx, q, t)
}

// keys finds the unique keys.
func (mySQL) keys(ctx context.Context, q Queryer, t *Table) error {
	const indexes = `SELECT index_name, COALESCE(column_name, ''), sub_part IS NOT NULL FROM information_schema.statistics
		WHERE table_schema = ? AND table_name = ? AND non_unique = 0 ORDER BY index_name, seq_in_index`
	type index struct {
		columns []string
		partial bool
	}
	var names []string
	found := map[string]*index{}
	err := each(ctx, q, indexes, []any{t.Schema, t.Name}, func(scan func(...any) error) error {
		var name, column string
		var part bool
		if err := scan(&name, &column, &part); err != nil {
			return err
		}
		if found[name] == nil {
			found[name] = &index{}
			names = append(names, name)
		}
		i := found[name]
		i.columns, i.partial = append(i.columns, column), i.partial || part || column == ""
		return nil
	})
	for _, name := range names {
		switch i := found[name]; {
		case name == "PRIMARY":
			t.Key = i.columns
			t.Overlaps = t.Overlaps || i.partial
		case i.partial:
			t.Overlaps = true
		default:
			t.Unique = append(t.Unique, i.columns)
		}
	}
	return err
}

// Kind implements Dialect. Drivers name types in upper case, with UNSIGNED before them.
func (mySQL) Kind(typ string) row.Kind {
	low := strings.ToLower(typ)
	unsigned := strings.Contains(low, "unsigned")
	word := strings.TrimSpace(strings.TrimPrefix(low, "unsigned "))
	if i := strings.IndexAny(word, "( "); i >= 0 {
		word = word[:i]
	}
	switch word {
	case "bigint":
		if unsigned {
			return row.KindUint
		}
		return row.KindInt
	case "tinyint", "smallint", "mediumint", "int", "integer", "year":
		return row.KindInt
	case "bit":
		return row.KindUint
	case "float":
		return row.KindFloat32
	case "double":
		return row.KindFloat
	case "decimal", "numeric":
		return row.KindDecimal
	case "date":
		return row.KindDate
	case "time":
		return row.KindClock
	case "datetime":
		return row.KindDateTime
	case "timestamp":
		return row.KindTime
	case "json":
		return row.KindJSON
	case "uuid":
		return row.KindUUID
	case "binary", "varbinary", "blob", "tinyblob", "mediumblob", "longblob", "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection":
		return row.KindBytes
	}
	return row.KindText // char, varchar, texts, enum, set, inet6
}

// Type implements Dialect.
func (mySQL) Type(c row.Column, key bool) (string, error) {
	switch c.Kind {
	case row.KindBool:
		return "TINYINT(1)", nil
	case row.KindInt:
		return "BIGINT", nil
	case row.KindUint:
		return "BIGINT UNSIGNED", nil
	case row.KindFloat32:
		return "FLOAT", nil
	case row.KindFloat:
		return "DOUBLE", nil
	case row.KindDecimal:
		return "DECIMAL(65,30)", nil
	case row.KindBytes:
		if key {
			return "VARBINARY(255)", nil
		}
		return "LONGBLOB", nil
	case row.KindUUID:
		return "CHAR(36) CHARACTER SET ascii", nil
	case row.KindDate:
		return "DATE", nil
	case row.KindClock:
		return "TIME(6)", nil
	case row.KindDateTime, row.KindTime: // a TIMESTAMP ends in 2038, and was NOT NULL by default
		return "DATETIME(6)", nil
	case row.KindJSON:
		return "JSON", nil
	default:
	}
	if key {
		return "VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", nil
	}
	return "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", nil
}

// Select implements Dialect. As texts, times are what they are whatever the DSN says.
func (d mySQL) Select(c *Column, quoted string) string {
	switch d.Kind(c.Type) {
	case row.KindDate, row.KindDateTime, row.KindTime, row.KindClock:
		return "CAST(" + quoted + " AS CHAR)"
	default:
	}
	return quoted
}

// Value implements Dialect.
func (d mySQL) Value(c *Column, src any) (row.Value, error) {
	bits, ok := src.([]byte)
	switch {
	case ok && c.Kind == row.KindUint && strings.HasPrefix(strings.ToLower(c.Type), "bit"):
		n := uint64(0)
		for _, b := range bits {
			n = n<<8 | uint64(b)
		}
		return row.Uint(n), nil
	case ok && c.Kind == row.KindDecimal:
		return row.Decimal(view(bits)), nil
	}
	return Value(c, src)
}

// Argument implements Dialect.
func (mySQL) Argument(c *Column, v row.Value) (any, error) {
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
		return v.Uint(), nil
	case row.KindFloat, row.KindFloat32:
		f := v.Float()
		if f-f != 0 {
			return nil, fmt.Errorf("it is %s, which MySQL doesn't have", v)
		}
		if v.Kind() == row.KindFloat32 {
			return float32(f), nil
		}
		return f, nil
	case row.KindBytes:
		return bytesOf(v.Str()), nil
	case row.KindDate:
		text, err := appendTime(make([]byte, 0, 32), v)
		return view(text), err
	case row.KindDateTime, row.KindTime:
		v = cutMicros(v)
		text, err := appendTime(make([]byte, 0, 32), v)
		if err == nil {
			err = checkDigits(c, v)
		}
		return view(text), err
	case row.KindClock:
		v = row.Clock(v.Clock().Truncate(time.Microsecond))
		return v.String(), checkDigits(c, v)
	case row.KindDecimal:
		if s := v.Str(); s == "NaN" || strings.HasSuffix(s, "Infinity") {
			return nil, fmt.Errorf("it is %s, which MySQL doesn't have", s)
		}
		return v.Str(), checkDigits(c, v)
	default:
	}
	return v.String(), nil
}

// cutMicros cuts a time to microseconds.
func cutMicros(v row.Value) row.Value {
	seconds, nanos := v.Unix()
	if nanos%1000 == 0 || v.Infinity() != 0 {
		return v
	}
	if v.Kind() == row.KindDateTime {
		return row.DateTime(seconds, nanos/1000*1000)
	}
	return row.Instant(seconds, nanos/1000*1000)
}

// Upsert implements Dialect. Where another unique key might be what is there already, the key is set as well: to itself, or if
// that is another row's, to the result of a subquery that fails (1242).
func (d mySQL) Upsert(t *Table, key, set []string) string {
	others := t.Overlaps
	quote := func(names []string) []string {
		quoted := make([]string, len(names))
		for i, name := range names {
			quoted[i], _ = d.Quote(name) // it is the name of a column that is there
		}
		return quoted
	}
	for _, unique := range append(slices.Clone(t.Unique), t.Key) {
		others = others || len(unique) > 0 && !sameNames(quote(unique), key)
	}
	var parts []string
	if others {
		for _, name := range key {
			parts = append(parts, name+" = IF("+name+" = VALUES("+name+"), "+name+", (SELECT 1 UNION SELECT 2))")
		}
	}
	for _, name := range set {
		parts = append(parts, name+" = VALUES("+name+")")
	}
	if len(parts) == 0 {
		parts = []string{key[0] + " = " + key[0]}
	}
	return " ON DUPLICATE KEY UPDATE " + strings.Join(parts, ", ")
}

// Classify implements Dialect, by the number at the beginning of the error's text
// (https://mariadb.com/kb/en/mariadb-error-code-reference/).
func (d mySQL) Classify(err error) retry.Class {
	number, ok := errorNumber(err)
	if !ok {
		if strings.Contains(err.Error(), "packet for query is too large") {
			return retry.ClassPoison
		}
		return retry.ClassUnmarked
	}
	switch number {
	case 1048, // NULL in a column that is NOT NULL
		1062, 1022, 1169, 1586, // a duplicate key
		1216, 1217, 1451, 1452, 1761, 1762, // a foreign key
		3819, 4025, // a CHECK
		1264, 1265, 1292, 1366, 1367, 1406, 1411, 1416, 1425, 1427, 1439, 1441, 1525, 1526, 1690, 1844, // a value that the column doesn't take
		1242,       // see Upsert
		1364, 1365, // no default; a division by zero
		1118, 1153, 1301, 1632, 1713, // a row that is too large
		1644, 1645, // SIGNAL: a trigger refuses the row
		1771, 3140, 3141, 3143, 3144, 3146, 3156, 3157, 4036, 4038, 4079, 4161, // JSON and other types
		1300, 1267, 1270, 1271, 3854, 3988: // characters
		return retry.ClassPoison
	case 1040, 1203, 1226: // too many connections
		return retry.ClassThrottled
	case 1005, 1044, 1045, 1142, 1143, 1227, 1370, 1410, 1698, // privileges, passwords
		1046, 1049, 1051, 1054, 1072, 1091, 1109, 1146, 1305, 1347, 1288, 1356, // what isn't there, or is something else
		1064, 1065, 1136, 1149, 1166, 1115, 1273, // SQL
		1075, 1060, 1061, 1068, 1071, 1101, 1113, 1117, 1170, 1067, // tables that can't be made
		1290, 1836, 1665, 1286, 1235, 1289: // read-only, and what isn't supported
		return retry.ClassFatal
	}
	return retry.ClassUnmarked // 1205 (a lock), 1213 (a deadlock), 1053 (shutdown), 1020, 1021, 1927, 3024, 2006, 2013 and so on
}

// errorNumber returns the number in "Error 1062 (23000): …".
func errorNumber(err error) (int, bool) {
	for ; err != nil; err = errors.Unwrap(err) {
		rest, ok := strings.CutPrefix(err.Error(), "Error ")
		if !ok {
			continue
		}
		digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
		if n, e := strconv.Atoi(digits); e == nil {
			return n, true
		}
	}
	return 0, false
}

// Session implements Dialect.
func (mySQL) Session(ctx context.Context, conn *sql.Conn, s Session) (func(context.Context) error, error) {
	seconds := strconv.FormatInt(max(int64(s.Lock/time.Second), 1), 10)
	for _, set := range []string{
		"SET SESSION sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION', SESSION time_zone = '+00:00', " +
			"SESSION autocommit = 1, SESSION sql_safe_updates = 0, SESSION lock_wait_timeout = " + seconds + ", SESSION innodb_lock_wait_timeout = " + seconds,
		"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
	} {
		if _, err := conn.ExecContext(ctx, set); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// Checkpoints implements Dialect.
func (mySQL) Checkpoints(table string) string {
	return "CREATE TABLE IF NOT EXISTS " + table + " (`key` VARBINARY(255) NOT NULL PRIMARY KEY, version BIGINT NOT NULL, value LONGBLOB, owner VARCHAR(255)) ENGINE = InnoDB"
}

// Owner implements Killer: a lock of a random name that the connection holds tells which one it is.
func (mySQL) Owner(ctx context.Context, conn *sql.Conn) (string, error) {
	name := "weaver:" + strconv.FormatUint(rand.Uint64(), 36) + strconv.FormatUint(rand.Uint64(), 36) //nolint:gosec // no secret
	var got sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, 0)", name).Scan(&got); err != nil || got.Int64 != 1 {
		return "", err
	}
	return name, nil
}

// Kill implements Killer.
func (mySQL) Kill(ctx context.Context, conn *sql.Conn, owner string) error {
	var id sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT IS_USED_LOCK(?)", owner).Scan(&id); err != nil || !id.Valid {
		return err
	}
	_, err := conn.ExecContext(ctx, "KILL "+strconv.FormatInt(id.Int64, 10))
	return err
}

// Settles implements Follower: a statement draws a value some moments before its transaction begins.
func (mySQL) Settles() time.Duration { return 50 * time.Millisecond }

// Writers implements Follower. The table information_schema.innodb_trx would say it too, but what it says may be older than M,
// for as long as anybody else asks it: it is renewed only 0.1 s after it was last read.
func (d mySQL) Writers(ctx context.Context, conn *sql.Conn, _ *Table, _ bool) ([]string, error) {
	var status string
	err := each(ctx, conn, "SHOW ENGINE INNODB STATUS", nil, func(scan func(...any) error) error {
		var engine, name string
		return scan(&engine, &name, &status)
	})
	if err != nil {
		return nil, explainProcess(err)
	}
	return innodbWriters(status)
}

// innodbWriters reads from InnoDB's status which transactions have locks or have written, a lock on a table at least: an INSERT
// has it. Each is some lines, of which the first is like "---TRANSACTION 1457, ACTIVE 12 sec".
func innodbWriters(status string) ([]string, error) {
	_, list, found := strings.Cut(status, "LIST OF TRANSACTIONS FOR EACH SESSION:")
	if !found || strings.Contains(status, "... truncated...") {
		return nil, errors.New("InnoDB's status doesn't list all transactions: there are too many")
	}
	if end := strings.LastIndex(list, "\n--------\nFILE I/O"); end >= 0 {
		list = list[:end]
	}
	var writers []string
	for entry := range strings.SplitSeq(list, "---TRANSACTION ") {
		id, state, _ := strings.Cut(entry, ", ")
		if id == "" || strings.HasPrefix(state, "not started") || strings.TrimSpace(entry) == "" {
			continue
		}
		writes := strings.Contains(entry, "undo log entries")
		thread := ""
		for line := range strings.Lines(entry) {
			words := strings.Fields(strings.ReplaceAll(line, ",", " "))
			for i, word := range words {
				switch {
				case word == "lock" && i > 0 && i+1 < len(words) && strings.HasPrefix(words[i+1], "struct"):
					writes = writes || words[i-1] != "0"
				case word == "locked" && i+1 < len(words) && slices.Contains(words, "tables"):
					writes = writes || words[i+1] != "0"
				case word == "thread" && i+2 < len(words) && words[i+1] == "id" && thread == "":
					thread = words[i+2]
				}
			}
		}
		if writes {
			writers = append(writers, "transaction "+id+" of connection "+thread)
		}
	}
	return writers, nil
}

func explainProcess(err error) error {
	if number, _ := errorNumber(err); number == 1227 {
		return retry.Fatal(fmt.Errorf("following needs the privilege PROCESS (GRANT PROCESS ON *.* TO …), to see transactions under way; or set Source.Slack to longer than any takes: %w", err))
	}
	return err
}

var (
	_ Killer   = mySQL{}
	_ Follower = mySQL{}
)
