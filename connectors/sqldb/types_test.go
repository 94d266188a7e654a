package sqldb

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/row"
)

// rowsOf reads a table as rows.
func rowsOf(t testing.TB, s *Source[row.Row]) []weaver.Record[row.Row] {
	t.Helper()
	r, err := s.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	var out []weaver.Record[row.Row]
	for {
		b := weaver.NewBatch[row.Row](0, 0)
		_, err := r.Read(t.Context(), b)
		require.Empty(t, b.Rejects())
		out = append(out, b.Records...)
		if err != nil {
			require.ErrorIs(t, err, errEOF)
			return out
		}
	}
}

type typeCase struct {
	typ  string
	in   row.Value
	want string // kind and text as read back; "": as in
	fail string // in the error
}

func instant(text string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return at
}

func typeCases(name string) []typeCase {
	at := instant("2024-02-29T23:59:59.123456Z")
	seconds := at.Unix()
	day := row.Date(seconds / 86400)
	dateTime := row.DateTime(seconds, 123456000)
	long := strings.Repeat("größer ", 20_000)
	uuid := row.UUID([16]byte{1, 2, 3, 0xff})
	all := []typeCase{
		{typ: "BIGINT", in: row.Int(math.MinInt64)},
		{typ: "BIGINT", in: row.Int(math.MaxInt64)},
		{typ: "BIGINT", in: row.Value{}},
		{typ: "BIGINT", in: row.Text("12"), want: "int 12"},
		{typ: "BIGINT", in: row.Decimal("5.00"), want: "int 5"},
		{typ: "BIGINT", in: row.Decimal("5.5"), fail: "fraction"},
		{typ: "BIGINT", in: row.Uint(math.MaxUint64), fail: "too large"},
		{typ: "BIGINT", in: row.Bool(true), want: "int 1"},
		{typ: "BIGINT", in: row.Text("x"), fail: "can't be converted"},
		{typ: "DOUBLE PRECISION", in: row.Float(0.1)},
		{typ: "DOUBLE PRECISION", in: row.Float(-math.MaxFloat64)},
		{typ: "DOUBLE PRECISION", in: row.Int(1024), want: "float 1024"},
		{typ: "DOUBLE PRECISION", in: row.Int(1<<53 + 1), fail: "can't be converted"},
		{typ: "VARCHAR(20)", in: row.Text("")},
		{typ: "VARCHAR(20)", in: row.Text("a'b\"c\\d`e%$1?é😀")},
		{typ: "VARCHAR(20)", in: row.Int(7), want: "text 7"},
		{typ: "TEXT", in: row.Text("  blanks ")},
		{typ: "DATE", in: day},
		{typ: "DATE", in: row.Text("2024-02-29"), want: "date 2024-02-29"},
		{typ: "DATE", in: row.Text("2024-02-30"), fail: "can't be converted"},
	}
	switch name {
	case "sqlite":
		all = append(all, []typeCase{
			{typ: "", in: row.Int(1)},
			{typ: "", in: row.Float(1.5)},
			{typ: "", in: row.Text("1")},
			{typ: "", in: row.Bytes("\x00\xff")},
			{typ: "", in: row.Value{}},
			{typ: "BLOB", in: row.Bytes("")},
			{typ: "BLOB", in: row.Bytes("\x00'\xff")},
			{typ: "TEXT", in: row.Text("nul \x00 in it")},
			{typ: "TEXT", in: row.Text(long)},
			{typ: "BOOLEAN", in: row.Bool(true)},
			{typ: "BOOLEAN", in: row.Bool(false)},
			{typ: "BOOLEAN", in: row.Text("maybe"), fail: "can't be converted"},
			{typ: "DOUBLE", in: row.Float(math.NaN()), fail: "NaN"},
			{typ: "DOUBLE", in: row.Float(math.Inf(-1))},
			{typ: "DECIMAL(10,2)", in: row.Decimal("0.10"), want: "decimal 0.1"},
			{typ: "DECIMAL(10,2)", in: row.Decimal("12"), want: "decimal 12"},
			{typ: "DECIMAL(30,20)", in: row.Decimal("0.12345678901234567891"), fail: "TEXT"},
			{typ: "TEXT", in: row.Decimal("0.12345678901234567891"), want: "text 0.12345678901234567891"},
			{typ: "DATETIME", in: row.DateTime(seconds, 123456789)},
			{typ: "TIMESTAMP", in: row.Instant(seconds, 123456789)},
			{typ: "TIMESTAMP", in: row.Infinite(row.KindTime, false), fail: "infinity"},
			{typ: "TIME", in: row.Clock(23*time.Hour + 1)},
			{typ: "JSON", in: row.JSON(`{"a": [1, "x"]}`)},
			{typ: "JSON", in: row.JSON("1.5"), want: "json 1.5"},
			{typ: "JSON", in: row.JSON("123456789012345678901234567890"), fail: "TEXT"},
			{typ: "UUID", in: uuid},
			{typ: "GEOMETRY", in: row.Text("12"), fail: "number"},
			{typ: "STRING", in: row.Text("x")},
		}...)
	case "mysql":
		all = append(all, []typeCase{
			{typ: "BIGINT UNSIGNED", in: row.Uint(math.MaxUint64)},
			{typ: "INT UNSIGNED", in: row.Int(math.MaxUint32)},
			{typ: "INT", in: row.Int(math.MaxInt32 + 1), fail: "1264"},
			{typ: "TINYINT(1)", in: row.Bool(true), want: "int 1"},
			{typ: "YEAR", in: row.Int(2024)},
			{typ: "BIT(20)", in: row.Uint(0x8_0001)},
			{typ: "FLOAT", in: row.Float32(1.0 / 3)},
			{typ: "FLOAT", in: row.Float(0.5), want: "float32 0.5"},
			{typ: "DOUBLE", in: row.Float(math.NaN()), fail: "NaN"},
			{typ: "DOUBLE", in: row.Float(math.Inf(1)), fail: "Infinity"},
			{typ: "DECIMAL(40,20)", in: row.Decimal("12345678901234567890.12345678901234567891")},
			{typ: "DECIMAL(10,2)", in: row.Decimal("-0.10")},
			{typ: "DECIMAL(10,2)", in: row.Decimal("0.125"), fail: "round it before"},
			{typ: "DECIMAL(10,2)", in: row.Decimal("1.20000"), want: "decimal 1.20"},
			{typ: "DECIMAL(4,2)", in: row.Decimal("100"), fail: "1264"},
			{typ: "DATETIME(6)", in: dateTime},
			{typ: "DATETIME", in: dateTime, fail: "digits"},
			{typ: "DATETIME", in: row.DateTime(seconds, 0)},
			{typ: "DATETIME(6)", in: row.DateTime(seconds, 123456789), want: "datetime 2024-02-29T23:59:59.123456"},
			{typ: "TIMESTAMP(6) NULL", in: row.Instant(seconds, 123456000)},
			{typ: "TIMESTAMP(6) NULL", in: row.Infinite(row.KindTime, true), fail: "infinity"},
			{typ: "TIMESTAMP NULL", in: row.Instant(-1e10, 0), fail: "1292"},
			{typ: "TIME(6)", in: row.Clock(23*time.Hour + time.Microsecond)},
			{typ: "TIME", in: row.Clock(0)},
			{typ: "VARBINARY(20)", in: row.Bytes("\x00\xff'")},
			{typ: "LONGBLOB", in: row.Bytes("")},
			{typ: "LONGTEXT", in: row.Text(long)},
			{typ: "LONGTEXT", in: row.Text("nul \x00")},
			{typ: "LONGTEXT", in: row.Text("no \xff utf-8"), fail: "1366"},
			{typ: "VARCHAR(3)", in: row.Text("long"), fail: "1406"},
			{typ: "ENUM('a','b')", in: row.Text("b")},
			{typ: "ENUM('a','b')", in: row.Text("c"), fail: "1265"},
			{typ: "SET('a','b')", in: row.Text("a,b")},
			{typ: "JSON", in: row.JSON(`{"a": 1}`), want: `text {"a": 1}`},
			{typ: "UUID", in: uuid},
			{typ: "CHAR(36)", in: uuid, want: "text " + uuid.String()},
		}...)
	case "postgres":
		all = append(all, []typeCase{
			{typ: "boolean", in: row.Bool(true)},
			{typ: "smallint", in: row.Int(1 << 15), fail: "greater than"},
			{typ: "real", in: row.Float32(1.0 / 3)},
			{typ: "real", in: row.Float32(float32(math.Inf(1)))},
			{typ: "double precision", in: row.Float(math.NaN())},
			{typ: "numeric", in: row.Decimal("12345678901234567890.12345678901234567890")},
			{typ: "numeric", in: row.Decimal("NaN")},
			{typ: "numeric(10,2)", in: row.Decimal("0.125"), fail: "round it before"},
			{typ: "numeric(10,2)", in: row.Decimal("0.1"), want: "decimal 0.10"},
			{typ: "numeric", in: row.Uint(math.MaxUint64), want: "decimal 18446744073709551615"},
			{typ: "timestamp", in: dateTime},
			{typ: "timestamp", in: row.Infinite(row.KindDateTime, true)},
			{typ: "timestamptz", in: row.Instant(seconds, 123456000)},
			{typ: "timestamptz", in: row.Infinite(row.KindTime, false)},
			{typ: "timestamptz", in: row.Instant(-63e9, 0)},
			{typ: "timestamp(3)", in: dateTime, fail: "digits"},
			{typ: "date", in: row.Infinite(row.KindDate, false)},
			{typ: "time", in: row.Clock(24 * time.Hour)},
			{typ: "bytea", in: row.Bytes("\x00\xff'")},
			{typ: "bytea", in: row.Bytes("")},
			{typ: "text", in: row.Text(long)},
			{typ: "text", in: row.Text("nul \x00"), fail: "NUL"},
			{typ: "text", in: row.Text("no \xff"), fail: "UTF-8"},
			{typ: "varchar(3)", in: row.Text("long"), fail: "22001"},
			{typ: "character(5)", in: row.Text("ab"), want: "text ab   "},
			{typ: "json", in: row.JSON(`{"a": 1}`)},
			{typ: "jsonb", in: row.JSON(`{"a":1}`), want: `json {"a": 1}`},
			{typ: "uuid", in: uuid},
			{typ: "interval", in: row.Text("1 day 02:00:00")},
			{typ: "inet", in: row.Text("10.0.0.1/24")},
			{typ: "inet", in: row.Text("no"), fail: "22P02"},
			{typ: "bigint[]", in: row.List(&row.Array{Elem: row.KindInt, Values: []row.Value{row.Int(1), {}, row.Int(3)}})},
			{typ: "text[]", in: row.List(&row.Array{Elem: row.KindText, Values: []row.Value{row.Text(`a,"b`), row.Text("NULL")}})},
		}...)
	}
	return all
}

// What is written is read back as the same, or refused with a sentence.
func TestTypes(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		cols, err := row.NewColumns(row.Column{Name: "id", Kind: row.KindInt}, row.Column{Name: "v", Nullable: true})
		require.NoError(t, err)
		for i, c := range typeCases(p.name) {
			label := fmt.Sprintf("%s: %s %s", c.typ, c.in.Kind(), c.in)
			if len(label) > 100 {
				label = label[:100]
			}
			table := fmt.Sprintf("types%d", i)
			p.exec("CREATE TABLE " + table + " (id BIGINT NOT NULL PRIMARY KEY, v " + c.typ + ")")
			err := flushed(t, NewSink[row.Row](p.db, table), weaver.Record[row.Row]{Value: row.Row{Columns: cols, Values: []row.Value{row.Int(1), c.in}}})
			if c.fail != "" {
				var batch *weaver.BatchError
				require.ErrorAs(t, err, &batch, label)
				text := batch.Error()
				require.Contains(t, text, c.fail, label)
				continue
			}
			require.NoError(t, err, label)
			got := rowsOf(t, NewSource[row.Row](p.db, table))
			require.Len(t, got, 1, label)
			v := got[0].Value.Get("v")
			want := c.want
			if want == "" {
				want = c.in.Kind().String() + " " + c.in.String()
			}
			require.Equal(t, want, v.Kind().String()+" "+v.String(), label)
		}
	})
}

// Structs go through every database and come back.
func TestStructRoundTrip(t *testing.T) {
	t.Parallel()
	type all struct {
		ID    int64
		Flag  bool
		Small int16
		Big   uint64
		Ratio float64
		Total string `db:"total"`
		Name  *string
		Blob  []byte
		At    time.Time
		UUID  [16]byte
		Tags  []string `db:",json"`
	}
	everywhere(t, func(t *testing.T, p *place) {
		name := "x"
		in := []weaver.Record[all]{
			{Value: all{1, true, -5, math.MaxInt64, 0.5, "12.50", &name, []byte{0, 1}, instant("2024-05-06T07:08:09.123456Z"), [16]byte{9}, []string{"a", "b"}}},
			{Value: all{ID: 2, At: instant("1970-01-01T00:00:00Z")}},
		}
		s := NewSink[all](p.db, "every")
		s.Create, s.Key = true, []string{"id"}
		require.NoError(t, flushed(t, s, in...))
		r, err := NewSource[all](p.db, "every").OpenReader(t.Context(), weaver.Lane{})
		require.NoError(t, err)
		b := weaver.NewBatch[all](0, 0)
		_, err = r.Read(t.Context(), b)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.Empty(t, b.Rejects())
		require.Len(t, b.Records, 2)
		for i := range in {
			require.Equal(t, in[i].Value, b.Records[i].Value)
		}
	})
}

// The DSN decides about nothing: neither how the driver gives times, nor where.
func TestMySQLWhateverTheDSN(t *testing.T) {
	t.Parallel()
	p := newMySQL(t)
	p.exec("CREATE TABLE a (id BIGINT NOT NULL PRIMARY KEY, d DATE, t TIMESTAMP(6) NULL, dt DATETIME(6), c TIME(3), n DECIMAL(20,10), f FLOAT)",
		"SET time_zone = '+00:00'")
	cols, err := row.NewColumns(row.Column{Name: "id"}, row.Column{Name: "d"}, row.Column{Name: "t"}, row.Column{Name: "dt"}, row.Column{Name: "c"}, row.Column{Name: "n"}, row.Column{Name: "f"})
	require.NoError(t, err)
	in := []row.Value{row.Int(1), row.Date(19000), row.Instant(1_711_846_800, 5000), row.DateTime(1_711_848_600, 123456000), row.Clock(time.Hour), row.Decimal("1.0000000001"), row.Float32(0.1)}
	for _, options := range []string{"", "parseTime=true", "parseTime=true&loc=Europe%2FBerlin&time_zone=%27%2B05%3A00%27", "interpolateParams=true", "interpolateParams=true&parseTime=true&loc=America%2FNew_York", "clientFoundRows=true&sql_mode=%27%27"} {
		pool := p.again(options)
		db := Open(pool, MySQL)
		require.NoError(t, flushed(t, NewSink[row.Row](db, "a"), weaver.Record[row.Row]{Value: row.Row{Columns: cols, Values: in}}), options)
		got := rowsOf(t, NewSource[row.Row](db, "a"))
		require.Len(t, got, 1)
		for i, v := range got[0].Value.Values {
			require.True(t, v.Equal(in[i]), "%s: %s %s", options, cols.At(i).Name, v)
		}
	}
	p.exec("SET GLOBAL innodb_print_all_deadlocks = OFF", "INSERT INTO a (id, c) VALUES (2, '-838:59:59'), (3, '100:00:00')")
	got := rowsOf(t, NewSource[row.Row](p.db, "a"))
	require.Equal(t, "text -838:59:59.000", got[1].Value.Get("c").Kind().String()+" "+got[1].Value.Get("c").String(), "what is no time of day is as it is")
}

// SQLite's columns hold anything, and are read as what it is.
func TestSQLiteHoldsAnything(t *testing.T) {
	t.Parallel()
	p := newSQLite(t)
	p.exec("CREATE TABLE a (id INTEGER PRIMARY KEY, i INTEGER, d DATETIME, b BOOLEAN, x BLOB, n DECIMAL)",
		`INSERT INTO a VALUES (1, 'text', 1700000000, 7, 'not hex', 'abc'), (2, 1.5, '2024-01-02T03:04:05+02:00', 'true', 5, 1e300), (3, X'00', 'never', NULL, X'01', 9007199254740993)`)
	var lines []string
	for _, r := range rowsOf(t, NewSource[row.Row](p.db, "a")) {
		var parts []string
		for _, v := range r.Value.Values[1:] {
			parts = append(parts, v.Kind().String()+":"+v.String())
		}
		lines = append(lines, strings.Join(parts, " "))
	}
	require.Equal(t, []string{
		"text:text int:1700000000 int:7 text:not hex text:abc",
		"float:1.5 text:2024-01-02T03:04:05+02:00 bool:true int:5 decimal:1e+300",
		`bytes:\x00 text:never null: bytes:\x01 decimal:9007199254740993`,
	}, lines)

	type strict struct {
		ID int64
		D  time.Time
	}
	r, err := NewSource[strict](p.db, "a").OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	b := weaver.NewBatch[strict](0, 0)
	_, err = r.Read(context.Background(), b)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Len(t, b.Records, 1)
	require.Equal(t, instant("2024-01-02T01:04:05Z"), b.Records[0].Value.D)
	require.Len(t, b.Rejects(), 2)
	require.ErrorContains(t, b.Rejects()[1].Err, `"d"`)
}

func TestDecimals(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"": 0, "5": 0, "5.": 0, "5.10": 1, "-0.125": 3, "1e-3": 3, "1.5e1": 0, "1.25e1": 1, "100e-2": 0, "1.000": 0, "1E5": 0, "5.0500": 2} {
		require.Equal(t, want, decimals(text), text)
	}
}
