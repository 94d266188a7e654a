package postgres

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/row"
)

// typeCases are types, and values of theirs as SQL writes them. What the server says that a value's text is must be what the
// decoded value is.
func typeCases() []struct {
	typ    string
	kind   row.Kind
	values []string
} {
	longest := strings.Repeat("9", 131072)
	return []struct {
		typ    string
		kind   row.Kind
		values []string
	}{
		{"boolean", row.KindBool, []string{"true", "false"}},
		{"smallint", row.KindInt, []string{"-32768", "-1", "0", "1", "32767"}},
		{"integer", row.KindInt, []string{"-2147483648", "-1", "0", "1", "2147483647"}},
		{"bigint", row.KindInt, []string{"-9223372036854775808", "-1", "0", "1", "9223372036854775807", "9007199254740993"}},
		{"oid", row.KindInt, []string{"0", "4294967295"}},
		{"real", row.KindFloat32, []string{"0", "1.5", "-1e-45", "3.4028235e38", "NaN", "Infinity", "-Infinity", "0.1"}},
		{"double precision", row.KindFloat, []string{"0", "1.5", "5e-324", "-1.7976931348623157e308", "NaN", "Infinity", "-Infinity", "0.1", "16777217"}},
		{"numeric", row.KindDecimal, []string{
			"0", "0.0", "0.000", "1", "-1", "10", "100", "1000", "10000", "12345", "99999999", "100000000", "0.1", "0.01", "0.001", "0.0001", "0.00001", "0.000000012345",
			"-12345.6789", "10000.0001", "1.00000000000000000000", "123456789012345678901234567890.123456789", "NaN", "Infinity", "-Infinity", "1e100", "1e-100", longest, "0." + strings.Repeat("1", 16383),
			"1e131071",
		}},
		{"numeric(12,2)", row.KindDecimal, []string{"0", "1234567890.12", "-0.01", "100"}},
		{"text", row.KindText, []string{"", "NULL", "a", "ünïcödé 🐘", `\"'{},`, strings.Repeat("x", 100000), "\n\t"}},
		{"varchar(20)", row.KindText, []string{"", "abc "}},
		{"char(5)", row.KindText, []string{"ab", ""}},
		{"name", row.KindText, []string{"pg"}},
		{`"char"`, row.KindText, []string{"a"}},
		{"bytea", row.KindBytes, []string{"", `\x00ff10`, `\x5c`}},
		{"json", row.KindJSON, []string{`{"b": 1,  "a":[1,2,null]}`, "null", `"x"`}},
		{"jsonb", row.KindJSON, []string{`{"b": 1,  "a":[1,2,null]}`, "null", "12345678901234567890.10"}},
		{"uuid", row.KindUUID, []string{"00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}},
		{"date", row.KindDate, []string{"2000-01-01", "1999-12-31", "1970-01-01", "2024-02-29", "infinity", "-infinity", "4713-01-01 BC", "5874897-12-31", "0001-01-01"}},
		{"time", row.KindClock, []string{"00:00:00", "24:00:00", "12:34:56.789012"}},
		{"timestamp", row.KindDateTime, []string{"2000-01-01 00:00:00", "1999-12-31 23:59:59.999999", "infinity", "-infinity", "4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999", "1969-12-31 23:59:59.5"}},
		{"timestamptz", row.KindTime, []string{"2000-01-01 00:00:00+00", "1999-12-31 23:59:59.999999+02", "infinity", "-infinity", "2024-06-01 12:00:00.1+05:30"}},
		{"timetz", row.KindText, []string{"12:34:56+02"}},
		{"interval", row.KindText, []string{"1 year 2 mons -3 days 04:05:06.7", "-1 s"}},
		{"inet", row.KindText, []string{"192.168.0.1/24", "::1"}},
		{"macaddr", row.KindText, []string{"08:00:2b:01:02:03"}},
		{"point", row.KindText, []string{"(1.5,-2)"}},
		{"int4range", row.KindText, []string{"[1,5)", "empty"}},
		{"tsvector", row.KindText, []string{"'a':1 'b':2"}},
		{"bit(3)", row.KindText, []string{"101"}},
		{"money", row.KindText, []string{"$1,234.56"}},
		{"xml", row.KindText, []string{"<a>1</a>"}},
		{"mood", row.KindText, []string{"happy", "it's \"so\""}},
		{"posint", row.KindInt, []string{"5"}},
		{"pair", row.KindText, []string{`(1,"a b")`}},
		{"integer[]", row.KindArray, []string{"{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "{{{1},{2}}}"}},
		{"bigint[]", row.KindArray, []string{"{9223372036854775807}"}},
		{"text[]", row.KindArray, []string{`{}`, `{"",NULL,"NULL","a b","{x}","\"q\"","back\\slash",ü}`}},
		{"boolean[]", row.KindArray, []string{"{t,f,NULL}"}},
		{"numeric[]", row.KindArray, []string{"{1.50,NaN,-0.001}"}},
		{"uuid[]", row.KindArray, []string{"{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"}},
		{"double precision[]", row.KindArray, []string{"{1.5,NaN,-Infinity}"}},
		{"mood[]", row.KindArray, []string{`{happy,"it's \"so\""}`}},
		{"posint[]", row.KindArray, []string{"{1,2}"}},
		{"date[]", row.KindArray, []string{"{2024-02-29,infinity}"}},
		{"inet[]", row.KindText, []string{"{192.168.0.1,::1}"}},
	}
}

// TestDecode has the server compare: what was read, written as text again, must be the same value for it.
func TestDecode(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(`CREATE TYPE mood AS ENUM ('sad', 'happy', 'it''s "so"'); CREATE DOMAIN posint AS integer CHECK (value > 0); CREATE TYPE pair AS (a int, b text)`)
	for i, c := range typeCases() {
		t.Run(c.typ, func(t *testing.T) {
			t.Parallel()
			p := *p
			p.t = t
			p.conn = p.connect(p.url)
			name := fmt.Sprint("t", i)
			p.exec(fmt.Sprintf("CREATE TABLE %s (id int PRIMARY KEY, v %s)", name, c.typ))
			for k, v := range c.values {
				_, err := p.conn.Exec(t.Context(), fmt.Sprintf("INSERT INTO %s VALUES (%d, %s)", name, k, literal(v)))
				require.NoError(t, err)
			}
			p.exec(fmt.Sprintf("INSERT INTO %s VALUES (100, NULL)", name))
			for _, src := range []*Source[row.Row]{
				NewSource[row.Row](p.db(), name),
				{db: p.db(), Query: "SELECT * FROM " + name + " -- all", Key: []string{"id"}},
			} {
				records, _ := readAll(t, src, lane(nil), 0)
				require.Len(t, records, len(c.values)+1)
				for k := range c.values {
					v := records[k].Value.Values[1]
					require.Equal(t, c.kind, v.Kind())
					require.Equal(t, c.kind, records[k].Value.Columns.At(1).Kind)
					text := v.String()
					same := "v::text = (" + literal(text) + "::" + c.typ + ")::text"
					require.Equal(t, "t", p.one(fmt.Sprintf("SELECT %s FROM %s WHERE id = %d", same, name, k)), "%.100s read as %.100s", c.values[k], text)
				}
				require.True(t, records[len(c.values)].Value.Values[1].IsNull())
			}
		})
	}
}

// TestDecodeNumericText: the text has as many digits behind the point as the server's.
func TestDecodeNumericText(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec("CREATE TABLE n (id int PRIMARY KEY, v numeric)")
	for i, c := range typeCases() {
		if c.typ != "numeric" {
			continue
		}
		for k, v := range c.values {
			p.exec(fmt.Sprintf("INSERT INTO n VALUES (%d, '%s')", 1000*i+k, v))
		}
	}
	p.exec("INSERT INTO n SELECT g, (random() - 0.5)::numeric * 10::numeric ^ (g % 40) FROM generate_series(100000, 101000) g")
	want := p.rows("SELECT v FROM n ORDER BY id")
	records, _ := readAll(t, NewSource[row.Row](p.db(), "n"), lane(nil), 0)
	require.Len(t, records, len(want))
	for i := range want {
		require.Equal(t, want[i], records[i].Value.Values[1].Str())
	}
}

func TestDecodeArrayBounds(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec("CREATE TABLE a (id int PRIMARY KEY, v int[]); INSERT INTO a VALUES (1, '{1}'), (2, '[0:1]={1,2}'), (3, '{3}')")
	records, marks, rejects, err := tryRead(t.Context(), NewSource[row.Row](p.db(), "a"), lane(nil), 0)
	require.NoError(t, err)
	require.Equal(t, []string{"1", "3"}, keysOf(records))
	require.Len(t, rejects, 1)
	require.ErrorIs(t, rejects[0].Err, errBounds)
	require.Equal(t, int64(2), rejects[0].Seq)
	require.NotEmpty(t, marks)
}

// TestDecodeDamaged: whatever the server sends, it is a value or an error.
func TestDecodeDamaged(t *testing.T) {
	t.Parallel()
	s := &scratch{}
	for f := formOther; f <= formArray; f++ {
		decode, _ := decoderOf(columnType{form: f, elemForm: formInt4, elemKind: row.KindInt})
		for n := range 40 {
			for _, fill := range []byte{0, 1, 0x40, 0x7F, 0xFF} {
				p := make([]byte, n)
				for i := range p {
					p[i] = fill
				}
				_, _ = decode(s, p)
			}
		}
	}
	_, err := decodeInt4(s, []byte{1})
	require.Error(t, err)
	array := binary.BigEndian.AppendUint32(nil, 1)
	array = append(array, make([]byte, 8)...)
	array = binary.BigEndian.AppendUint32(array, math.MaxInt32)
	array = binary.BigEndian.AppendUint32(array, 1)
	_, err = decodeArray(s, array, row.KindInt, decodeInt4)
	require.ErrorIs(t, err, errArray)
}

func FuzzDecode(f *testing.F) {
	f.Add(byte(formNumeric), []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 5})
	f.Add(byte(formArray), []byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 7})
	f.Fuzz(func(_ *testing.T, kind byte, p []byte) {
		decode, _ := decoderOf(columnType{form: form(kind % byte(formArray+1)), elemForm: formNumeric, elemKind: row.KindDecimal})
		if v, err := decode(&scratch{}, p); err == nil {
			_ = v.String()
		}
	})
}
