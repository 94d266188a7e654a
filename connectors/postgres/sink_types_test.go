package postgres

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/row"
)

func arrayOf(elem row.Kind, values ...row.Value) row.Value {
	return row.List(&row.Array{Elem: elem, Values: values})
}

// writeCase is a value for a column of a type.
type writeCase struct {
	sql  string
	v    any
	want string // as the database writes it; "∅": NULL
	bad  string // or why it is refused, before it is sent
	at   string // or how the server refuses it: a code
}

func writeCases() []writeCase {
	long := strings.Repeat("9876543210", 3000)
	nines := strings.Repeat("9", 131072)
	null := row.Value{}
	noon := time.Date(2026, 7, 1, 12, 0, 0, 123456789, time.UTC)
	id := "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	return []writeCase{
		{"boolean", true, "t", "", ""},
		{"boolean", "off", "f", "", ""},
		{"boolean", null, "∅", "", ""},
		{"boolean", 2, "", "neither 0 nor 1", ""},
		{"smallint", -32768, "-32768", "", ""},
		{"smallint", 32768, "", "beyond a smallint", ""},
		{"integer", math.MaxInt32, "2147483647", "", ""},
		{"integer", math.MinInt32 - 1, "", "beyond an integer", ""},
		{"integer", row.Decimal("5.00"), "5", "", ""},
		{"integer", "5.5", "", "integer", ""},
		{"integer", math.NaN(), "", "isn't finite", ""},
		{"bigint", int64(math.MinInt64), "-9223372036854775808", "", ""},
		{"bigint", uint64(math.MaxUint64), "", "too large", ""},
		{"bigint", "", "", "int", ""},
		{"oid", int64(math.MaxUint32), "4294967295", "", ""},
		{"oid", -1, "", "beyond an oid", ""},
		{"real", float32(0.1), "0.1", "", ""},
		{"real", math.Inf(-1), "-Infinity", "", ""},
		{"real", 0.1, "", "digits", ""},
		{"double precision", 0.1, "0.1", "", ""},
		{"double precision", math.NaN(), "NaN", "", ""},
		{"double precision", math.Inf(1), "Infinity", "", ""},
		{"double precision", math.Copysign(0, -1), "-0", "", ""},
		{"numeric", row.Decimal("0.1"), "0.1", "", ""},
		{"numeric", row.Decimal("-12345678901234567890.123456789012345678900"), "-12345678901234567890.123456789012345678900", "", ""},
		{"numeric", row.Decimal(long + "." + long[:16383]), long + "." + long[:16383], "", ""},
		{"numeric", row.Decimal(nines), nines, "", ""},
		{"numeric", row.Decimal(nines + "9"), "", "131073 digits before", ""},
		{"numeric", row.Decimal("1e-16383"), "0." + strings.Repeat("0", 16382) + "1", "", ""},
		{"numeric", row.Decimal("1e-16384"), "", "16384 digits behind", ""},
		{"numeric", row.Decimal("1e999999999999"), "", "no number", ""},
		{"numeric", row.Decimal("1.5e3"), "1500", "", ""},
		{"numeric", row.Decimal("+.5"), "0.5", "", ""},
		{"numeric", row.Decimal("5."), "5", "", ""},
		{"numeric", row.Decimal("-0.000"), "0.000", "", ""},
		{"numeric", row.Decimal("10000"), "10000", "", ""},
		{"numeric", row.Decimal("0.00012345"), "0.00012345", "", ""},
		{"numeric", row.Decimal("99999999"), "99999999", "", ""},
		{"numeric", row.Decimal("NaN"), "NaN", "", ""},
		{"numeric", row.Decimal("-Infinity"), "-Infinity", "", ""},
		{"numeric", row.Decimal("Infinity"), "Infinity", "", ""},
		{"numeric", row.Decimal("x"), "", "no number", ""},
		{"numeric", row.Decimal(""), "", "no number", ""},
		{"numeric", row.Decimal("1e"), "", "no number", ""},
		{"numeric", row.Decimal("1_0"), "", "no number", ""},
		{"numeric", int64(math.MinInt64), "-9223372036854775808", "", ""},
		{"numeric", 0.1, "0.1", "", ""},
		{"numeric", "1.50", "1.50", "", ""},
		{"numeric", true, "", "bool", ""},
		{"numeric(5,2)", row.Decimal("123.45"), "123.45", "", ""},
		{"numeric(5,2)", row.Decimal("1.5"), "1.50", "", ""},
		{"numeric(5,2)", row.Decimal("1.500"), "1.50", "", ""},
		{"numeric(5,2)", row.Decimal("1.005"), "", "it isn't rounded", ""},
		{"numeric(5,2)", 1000, "", "4 digits before its point", ""},
		{"numeric(3,-2)", row.Decimal("12300"), "12300", "", ""},
		{"numeric(3,-2)", row.Decimal("12345"), "", "isn't rounded", ""},
		{"text", "", "", "", ""},
		{"text", "ü€😀 'quoted' \\ back\nslash", "ü€😀 'quoted' \\ back\nslash", "", ""},
		{"text", null, "∅", "", ""},
		{"text", "a\x00b", "", "has a NUL", ""},
		{"text", "a\xff", "", "no UTF-8", ""},
		{"text", 5, "5", "", ""},
		{"text", noon, "2026-07-01T12:00:00.123456789Z", "", ""},
		{"varchar(3)", "äöü", "äöü", "", ""},
		{"varchar(3)", "abcd", "", "4 characters", ""},
		{"char(3)", "ab", "ab ", "", ""},
		{"char(3)", "abcd", "", "4 characters", ""},
		{"name", "n", "n", "", ""},
		{"name", strings.Repeat("n", 64), "", "", "42622"},
		{"xml", "<a>b</a>", "<a>b</a>", "", ""},
		{"xml", "<a>", "", "", "2200N"},
		{"bytea", []byte("a\x00\xff"), `\x6100ff`, "", ""},
		{"bytea", []byte{}, `\x`, "", ""},
		{"bytea", `\x6100`, `\x6100`, "", ""},
		{"json", row.JSON(`{"b": 1,  "a": [1.10]}`), `{"b": 1,  "a": [1.10]}`, "", ""},
		{"jsonb", row.JSON(`{"b": 1,  "a": [1.10]}`), `{"a": [1.10], "b": 1}`, "", ""},
		{"jsonb", map[string]any{"a": []int{1}}, `{"a": [1]}`, "", ""},
		{"jsonb", row.JSON(`{`), "", "", "22P02"},
		{"jsonb", row.JSON(`"\u0000"`), "", "", "22P05"},
		{"jsonb", "not json", "", "json", ""},
		{"jsonb", row.JSON("\"\x00\""), "", "has a NUL", ""},
		{"uuid", id, id, "", ""},
		{"uuid", [16]byte{15: 1}, "00000000-0000-0000-0000-000000000001", "", ""},
		{"uuid", "6ba7b810", "", "uuid", ""},
		{"date", row.Date(0), "1970-01-01", "", ""},
		{"date", row.Infinite(row.KindDate, true), "-infinity", "", ""},
		{"date", "2026-02-30", "", "date", ""},
		{"date", row.Date(math.MaxInt32 + 10957), "", "no such day", ""},
		{"date", row.Date(-3_000_000), "", "", "22008"},
		{"date", noon, "", "midnight", ""},
		{"time", row.Clock(24 * time.Hour), "24:00:00", "", ""},
		{"time", "12:34:56.789", "12:34:56.789", "", ""},
		{"timestamp", "2026-07-01 12:00:00.5", "2026-07-01 12:00:00.5", "", ""},
		{"timestamp", row.Infinite(row.KindDateTime, false), "infinity", "", ""},
		{"timestamptz", noon, "2026-07-01 12:00:00.123456+00", "", ""},
		{"timestamptz", "0044-03-15T00:00:00Z BC", "0044-03-15 00:00:00+00 BC", "", ""},
		{"timestamptz", row.Infinite(row.KindTime, true), "-infinity", "", ""},
		{"timestamptz", time.Unix(0, -1), "1969-12-31 23:59:59.999999+00", "", ""},
		{"timestamptz", row.Instant(math.MaxInt64/1000, 0), "", "no such day", ""},
		{"timestamptz", row.Instant(-300_000_000_000, 0), "", "", "22008"},
		{"interval", "1 day 02:03:04", "1 day 02:03:04", "", ""},
		{"interval", "soon", "", "", "22007"},
		{"inet", "10.0.0.1/8", "10.0.0.1/8", "", ""},
		{"money", "$1.00", "$1.00", "", ""},
		{"int4range", "[1,5)", "[1,5)", "", ""},
		{"interval[]", arrayOf(row.KindText, row.Text("1 day"), null), "{\"1 day\",NULL}", "", ""},
		{"bit(4)", "1010", "1010", "", ""},
		{"bit varying(2)", "101", "", "", "22001"},
		{"mood", "ok", "ok", "", ""},
		{"mood", "bad", "", "", "22P02"},
		{"mood[]", arrayOf(row.KindText, row.Text("ok"), row.Text("sad")), "{ok,sad}", "", ""},
		{"positive", row.Decimal("1.50"), "1.50", "", ""},
		{"positive", -1, "", "", "23514"},
		{"positive", row.Decimal("1.555"), "", "isn't rounded", ""},
		{"positive[]", arrayOf(row.KindInt, row.Int(1), null), "{1.00,NULL}", "", ""},
		{"positives", arrayOf(row.KindInt, row.Int(1)), "{1.00}", "", ""},
		{"citext", "CI", "CI", "", ""},
		{"pair", "(1,two)", "(1,two)", "", ""},
		{"integer[]", arrayOf(row.KindInt), "{}", "", ""},
		{"integer[]", arrayOf(row.KindInt, row.Int(1), null, row.Int(-3)), "{1,NULL,-3}", "", ""},
		{"integer[]", row.List(&row.Array{Elem: row.KindInt, Dims: []int{2, 1}, Values: []row.Value{row.Int(1), row.Int(2)}}), "{{1},{2}}", "", ""},
		{"integer[]", "{4,5}", "{4,5}", "", ""},
		{"integer[]", arrayOf(row.KindInt, row.Int(1<<40)), "", "element 0: 1099511627776 is beyond an integer", ""},
		{"integer[]", null, "∅", "", ""},
		{"text[]", arrayOf(row.KindText, row.Text(""), row.Text(`a"b,{}\ NULL`), row.Text("NULL"), null), `{"","a\"b,{}\\ NULL","NULL",NULL}`, "", ""},
		{"text[]", arrayOf(row.KindText, row.Text("\x00")), "", "has a NUL", ""},
		{"numeric(4,1)[]", arrayOf(row.KindDecimal, row.Decimal("1.5")), "{1.5}", "", ""},
		{"numeric(4,1)[]", arrayOf(row.KindDecimal, row.Decimal("1.55")), "", "isn't rounded", ""},
		{"timestamptz[]", arrayOf(row.KindTime, row.Time(noon)), `{"2026-07-01 12:00:00.123456+00"}`, "", ""},
		{"jsonb[]", arrayOf(row.KindJSON, row.JSON(`{"a":1}`)), `{"{\"a\": 1}"}`, "", ""},
		{"bytea[]", arrayOf(row.KindBytes, row.Bytes("\x00")), `{"\\x00"}`, "", ""},
		{"uuid[]", []string{id}, "{" + id + "}", "", ""},
	}
}

// TestTypes writes a value of each type in both ways, alone in its table.
func TestTypes(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(`SET TimeZone = 'UTC'; CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN positive AS numeric(10,2) CHECK (VALUE > 0); CREATE DOMAIN positives AS positive[];
		CREATE TYPE pair AS (a int, b text)`)
	_, err := p.conn.Exec(t.Context(), "CREATE EXTENSION citext")
	extended := err == nil // not where the server comes without it, or another test's database has it
	for _, mode := range []Mode{Insert, Upsert} {
		t.Run([]string{"upsert", "insert"}[mode], func(t *testing.T) {
			p.exec("DROP TABLE IF EXISTS t")
			p.exec("CREATE TABLE t (id int PRIMARY KEY)")
			types := map[string]string{}
			for _, c := range writeCases() {
				if types[c.sql] == "" && (c.sql != "citext" || extended) {
					types[c.sql] = "c" + strings.Map(func(r rune) rune {
						if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
							return r
						}
						return '_'
					}, c.sql)
					p.exec("ALTER TABLE t ADD COLUMN " + types[c.sql] + " " + c.sql)
				}
			}
			s := NewSink[row.Row](p.db(), "t")
			s.Mode = mode
			w, _ := openWriter(t, s, "types")
			for i, c := range writeCases() {
				name := types[c.sql]
				if name == "" {
					continue
				}
				r := rowOf(t, "id", i, name, c.v)
				if c.bad != "" || c.at != "" {
					var why string
					if kind := r.Columns.At(1).Kind; !kind.ConvertibleTo(kindOfType(w, name)) {
						r.Columns, _ = row.NewColumns(r.Columns.At(0), row.Column{Name: name}) // as the sink sees a map
					}
					why = refused(t, w, r)
					require.Contains(t, why, c.bad, "%s %v", c.sql, c.v)
					if c.bad != "" {
						require.Contains(t, why, name, "which column it is")
						require.NotContains(t, why, "SQLSTATE", "%s %v", c.sql, c.v)
					} else {
						require.Contains(t, why, "SQLSTATE "+c.at, "%s %v", c.sql, c.v)
					}
					continue
				}
				put(t, w, r)
				require.Equal(t, c.want, p.one("SELECT "+name+" FROM t WHERE id = "+row.Int(int64(i)).String()), "%s %v", c.sql, c.v)
			}
		})
	}
}

func kindOfType(w *writer[row.Row], column string) row.Kind { return w.tab.column(column).kind }

// TestEncodingAllocatesNothing covers values that are of their columns' kinds.
func TestEncodingAllocatesNothing(t *testing.T) { // not parallel: it counts allocations
	values := []row.Value{
		row.Bool(true), row.Int(5), row.Float(1.5), row.Decimal("-123456.789"), row.Text("text"), row.Bytes("b"), row.JSON("{}"), row.RawUUID("0123456789abcdef"), row.Date(1), row.Clock(1),
		row.DateTime(1, 2), row.Instant(1, 2), row.Int(12345),
	}
	forms := []form{formBool, formInt8, formFloat8, formNumeric, formText, formBytea, formJSONB, formUUID, formDate, formTime, formTimestamp, formTimestamptz, formNumeric}
	buf := make([]byte, 0, 1024)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for i, v := range values {
			tg := target{column: &column{columnType: columnType{form: forms[i], kind: v.Kind()}}}
			var err error
			if buf, err = tg.append(buf[:0], v); err != nil {
				t.Fatal(err)
			}
		}
	}))
}
