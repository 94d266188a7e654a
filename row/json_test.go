package row

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func decoded(t testing.TB, text string) Row {
	t.Helper()
	var r Row
	require.NoError(t, new(JSONDecoder).Decode([]byte(text), &r))
	return r
}

func TestJSONDecoder(t *testing.T) {
	t.Parallel()
	r := decoded(t, ` { "id" : 9007199254740993 , "big":9223372036854775808,"low":-9223372036854775808, "a\u0020b\"": "x\ud83d\ude00\n\/", "e":"", "n":null,
		"t":true,"f":false, "d":1.50 , "x":1E5,"z":-0,"o": { "a" : [ 1 , "b c" , { } ] } ,"l":[ ] } `)
	require.Equal(t, []string{"id", "big", "low", `a b"`, "e", "n", "t", "f", "d", "x", "z", "o", "l"}, names(r.Columns))
	require.Equal(t, []Value{
		Int(9007199254740993), Decimal("9223372036854775808"), Int(math.MinInt64), Text("x😀\n/"), Text(""),
		{},
		Bool(true), Bool(false), Decimal("1.50"), Decimal("1E5"), Int(0), JSON(`{"a":[1,"b c",{}]}`), JSON("[]"),
	}, r.Values)
	require.Equal(t, Column{Name: "id", Nullable: true}, r.Columns.At(0))

	empty := decoded(t, "{ }")
	require.Equal(t, 0, empty.Columns.Len())
	require.Empty(t, empty.Values)
}

func names(c *Columns) []string {
	list := []string{}
	for _, col := range c.All() {
		list = append(list, col.Name)
	}
	return list
}

func TestJSONThatIsNoRow(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}" }
	for text, want := range map[string]string{
		"":                                  "unexpected end of JSON input",
		" ":                                 "unexpected end of JSON input",
		"null":                              "a row is a JSON object",
		"[1]":                               "a row is a JSON object",
		"{":                                 "unexpected end of JSON input",
		`{"a"`:                              "unexpected end of JSON input",
		`{"a":`:                             "unexpected end of JSON input",
		`{"a":1`:                            "unexpected end of JSON input",
		`{"a":1,`:                           "unexpected end of JSON input",
		`{"a":1,}`:                          `invalid character '}' where a name must be, at byte 7 of JSON`,
		`{,}`:                               `invalid character ',' where a name must be, at byte 1 of JSON`,
		`{"a":1}{}`:                         `invalid character '{' after the value, at byte 7 of JSON`,
		`{"a":1} x`:                         `invalid character 'x' after the value, at byte 8 of JSON`,
		`{"a":1 "b":2}`:                     `invalid character '"' behind a value, at byte 7 of JSON`,
		`{"a" 1}`:                           `invalid character '1' behind a name, at byte 5 of JSON`,
		`{a:1}`:                             `invalid character 'a' where a name must be, at byte 1 of JSON`,
		`{"a":1,"b":2,"a":3}`:               `an object has the name "a" twice`,
		`{"a":1,"\u0061":3}`:                `an object has the name "a" twice`,
		`{"":1}`:                            `row: column 1 has no name`,
		`{"a":01}`:                          `invalid character '1' behind a value, at byte 6 of JSON`,
		`{"a":+1}`:                          `invalid character '+' where a value must be, at byte 5 of JSON`,
		`{"a":.5}`:                          `invalid character '.' where a value must be, at byte 5 of JSON`,
		`{"a":1.}`:                          `invalid character '}' in a number, at byte 7 of JSON`,
		`{"a":1e}`:                          `invalid character '}' in a number, at byte 7 of JSON`,
		`{"a":-}`:                           `invalid character '}' where a value must be, at byte 6 of JSON`,
		`{"a":NaN}`:                         `invalid character 'N' where a value must be, at byte 5 of JSON`,
		`{"a":trux}`:                        `invalid character 'x' in the literal true, at byte 8 of JSON`,
		`{"a":nul`:                          "unexpected end of JSON input",
		"{\"a\":\"x\ny\"}":                  `invalid character '\n' in a string, at byte 7 of JSON`,
		`{"a":"\x"}`:                        `invalid character 'x' in an escape, at byte 7 of JSON`,
		`{"a":"\u12g4"}`:                    `invalid character 'g' in an escape, at byte 10 of JSON`,
		`{"a":"\ud800"}`:                    "a string has an escape that is half of a character",
		`{"a":"\ud800\u0041"}`:              "a string has an escape that is half of a character",
		`{"a":"\udc00"}`:                    "a string has an escape that is half of a character",
		`{"\ud800":1}`:                      "a string has an escape that is half of a character",
		"{\"a\":\"\xff\"}":                  "JSON with bytes that are no UTF-8",
		`{"a":[1,]}`:                        `invalid character ']' where a value must be, at byte 8 of JSON`,
		`{"a":[1 2]}`:                       `invalid character '2' behind a value, at byte 8 of JSON`,
		`{"a":[1}}`:                         `invalid character '}' behind a value, at byte 7 of JSON`,
		`{"a":{"b" 1}}`:                     `invalid character '1' behind a name, at byte 10 of JSON`,
		`{"a":{"b":1,}}`:                    `invalid character '}' where a name must be, at byte 12 of JSON`,
		`{"a":["\u12"]}`:                    `invalid character '"' in an escape, at byte 11 of JSON`,
		deep(10_000):                        "JSON is nested too deep",
		`{"a":` + deep(9999) + `}`:          "JSON is nested too deep",
		`{"a":"` + strings.Repeat("[", 1e6): "unexpected end of JSON input",
		`{"a":` + strings.Repeat("[", 1e6):  "JSON is nested too deep",
	} {
		var d JSONDecoder
		r := Row{Values: []Value{Int(1)}}
		require.EqualError(t, d.Decode([]byte(text), &r), want, "%.50s", text)
		require.Equal(t, Row{}, r)
		require.NoError(t, d.Decode([]byte(`{"a":1}`), &r), "it is of use after an error")
		require.Equal(t, []Value{Int(1)}, r.Values)
	}
	require.Len(t, decoded(t, deep(9_999)).Values[0].Str(), 2*9_999)
}

// Rows with the same names share their columns, also where several orders alternate, and a hostile number of orders costs no
// memory.
func TestJSONColumnsAreShared(t *testing.T) {
	t.Parallel()
	var d JSONDecoder
	next := func(text string) *Columns {
		var r Row
		require.NoError(t, d.Decode([]byte(text), &r))
		require.Len(t, r.Values, r.Columns.Len())
		return r.Columns
	}
	ab := next(`{"a":1,"b":2}`)
	require.Same(t, ab, next(` {"a" : null , "b":[]}`))
	require.Same(t, ab, next(`{"\u0061":1,"b":2}`))
	ba := next(`{"b":1,"a":2}`)
	require.Equal(t, []string{"b", "a"}, names(ba))
	a := next(`{"a":1}`)
	abc := next(`{"a":1,"b":2,"c":3}`)
	odd := next(`{"a\"b":1,"b":2}`)
	for range 3 {
		require.Same(t, ab, next(`{"a":1,"b":2}`))
		require.Same(t, ba, next(`{"b":1,"a":2}`))
		require.Same(t, a, next(`{"a":1}`))
		require.Same(t, abc, next(`{"a":1,"b":2,"c":3}`))
		require.Same(t, odd, next(`{"a\"b":1,"b":2}`))
	}
	require.Error(t, d.Decode([]byte(`{"a":1,"b":2,"a\"b":1,"b":3}`), new(Row)))
	require.Error(t, d.Decode([]byte(`{"a"b":1,"b":2}`), new(Row)), "a name with a quotation mark is no two names")
	for i := range 1000 {
		require.Equal(t, []string{fmt.Sprint(i)}, names(next(fmt.Sprintf(`{"%d":1}`, i))))
	}
	require.Len(t, d.shared, maxShared)
	var wide strings.Builder
	for i := range maxSharedColumns + 1 {
		fmt.Fprintf(&wide, `,"%d":%d`, i, i)
	}
	last := d.last
	require.Equal(t, maxSharedColumns+1, next("{"+wide.String()[1:]+"}").Len())
	require.Same(t, last, d.last)
	require.Empty(t, cap(d.values))
}

// What was decoded is the row's own.
func TestJSONIsCopied(t *testing.T) {
	t.Parallel()
	data := []byte(`{"name":"value","d":1.5,"j":{"a":1}}`)
	var d JSONDecoder
	var r, other Row
	require.NoError(t, d.Decode(data, &r))
	for i := range data {
		data[i] = 'x'
	}
	require.NoError(t, d.Decode([]byte(`{"name":"VALUE","d":2.5,"j":[[1,2]]}`), &other))
	require.Equal(t, []Value{Text("value"), Decimal("1.5"), JSON(`{"a":1}`)}, r.Values)
	require.Equal(t, []string{"name", "d", "j"}, names(r.Columns))
}

func TestAppendJSON(t *testing.T) {
	t.Parallel()
	cols, err := NewColumns(Column{Name: "a\"b"})
	require.NoError(t, err)
	for _, c := range []struct {
		v    Value
		want string // "": an error
	}{
		{Value{}, "null"},
		{Int(math.MinInt64), "-9223372036854775808"},
		{Uint(math.MaxUint64), "18446744073709551615"},
		{Float(0.1), "0.1"},
		{Float32(0.1), "0.1"},
		{Float(1e21), "1e+21"},
		{Float(math.Inf(1)), ""},
		{Float32(float32(math.NaN())), ""},
		{Decimal("1.50"), "1.50"},
		{Decimal("+.5"), "0.5"},
		{Decimal("NaN"), ""},
		{Decimal("-Infinity"), ""},
		{Decimal("abc"), ""},
		{Decimal("1,\"x\":2"), ""},
		{Text("<&>\u2028\"\\\x00\n"), "\"<&>\u2028\\\"\\\\\\u0000\\n\""},
		{Text("\xff"), ""},
		{Bytes("hi\xff"), `"aGn/"`},
		{JSON(" { \"a\" : [ 1 ,\n2 ] } "), `{"a":[1,2]}`},
		{JSON("{} {}"), ""},
		{JSON(""), ""},
		{JSON("\"\xff\""), ""},
		{JSON(strings.Repeat("[", 1e5)), ""},
		{Date(0), `"1970-01-01"`},
		{Infinite(KindTime, true), `"-infinity"`},
		{Instant(0, 5), `"1970-01-01T00:00:00.000000005Z"`},
		{UUID([16]byte{1}), `"01000000-0000-0000-0000-000000000000"`},
		{List(&Array{Elem: KindText, Dims: []int{1, 2}, Values: []Value{Text("a\""), {}}}), `[["a\"",null]]`},
		{List(&Array{Elem: KindBytes}), `[]`},
		{List(&Array{Elem: KindFloat, Values: []Value{Float(math.NaN())}}), ""},
	} {
		r := Row{cols, []Value{c.v}}
		got, err := r.AppendJSON([]byte("before"))
		require.Equal(t, "before", string(got[:6]))
		if c.want == "" {
			require.ErrorContains(t, err, `row: column "a\"b": `)
			require.Len(t, got, 6)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, `before{"a\"b":`+c.want+"}", string(got))
		require.True(t, json.Valid(got[6:]))
		std, err := json.Marshal(r)
		require.NoError(t, err)
		require.JSONEq(t, string(got[6:]), string(std))
	}
	_, err = Row{cols, nil}.AppendJSON(nil)
	require.EqualError(t, err, "row: there are 1 columns, and 0 values")
	text, err := Row{}.AppendJSON(nil)
	require.NoError(t, err)
	require.Equal(t, "{}", string(text))
}

// A row of any values is read back as values that can be converted to what they were.
func TestJSONRoundTrip(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	var d JSONDecoder
	for range 20_000 {
		var list []Column
		var values []Value
		for i := range 1 + r.IntN(5) {
			k := Kind(r.IntN(int(kinds)))
			list = append(list, Column{Name: fmt.Sprint(i, randomText(r)), Kind: k})
			values = append(values, randomValue(r, k))
		}
		cols, err := NewColumns(list...)
		require.NoError(t, err)
		in := Row{cols, values}
		data, err := in.AppendJSON(nil)
		if err != nil {
			require.ErrorIs(t, err, errNonFinite)
			continue
		}
		require.True(t, json.Valid(data), "%s", data)
		var out Row
		require.NoError(t, d.Decode(data, &out))
		require.Equal(t, names(in.Columns), names(out.Columns))
		for i, v := range values {
			back, err := out.Values[i], error(nil)
			switch v.Kind() {
			case KindArray:
				back, err = back.ConvertArray(v.Array().Elem)
			case KindJSON:
				require.JSONEq(t, v.Str(), jsonOf(t, back))
				continue
			default:
				back, err = back.Convert(v.Kind())
			}
			require.NoError(t, err)
			if v.Kind() == KindArray && (len(v.Array().Values) == 0 || v.Array().Elem == KindJSON) {
				continue
			}
			require.True(t, back.Equal(v), "%s %q is %q", v.Kind(), v, back)
		}
	}
}

func jsonOf(t *testing.T, v Value) string {
	t.Helper()
	text, err := v.MarshalJSON()
	require.NoError(t, err)
	return string(text)
}

// encoding/json reads and writes rows and values wherever they are.
func TestEncodingJSON(t *testing.T) {
	t.Parallel()
	type event struct {
		Row  Row
		Ptr  *Row
		V    Value
		List []Value
	}
	const text = `{"Row":{"a":1,"b":{"c":[1.50]}},"Ptr":{"x":null},"V":"é","List":[1,null,{"a":1}]}`
	var e event
	require.NoError(t, json.Unmarshal([]byte(text), &e))
	require.Equal(t, Int(1), e.Row.Get("a"))
	require.Equal(t, []Value{Int(1), {}, JSON(`{"a":1}`)}, e.List)
	data, err := json.Marshal(e)
	require.NoError(t, err)
	require.Equal(t, text, string(data))
	require.NoError(t, json.Unmarshal([]byte(`{"Row":null,"Ptr":null,"V":null}`), &e))
	require.Nil(t, e.Ptr)
	require.True(t, e.V.IsNull())
	require.Error(t, json.Unmarshal([]byte(`{"Row":5}`), &e))
	require.Error(t, new(Value).UnmarshalJSON([]byte("1 2")))
	require.Error(t, new(Value).UnmarshalJSON([]byte("\"\xff\"")))
	_, err = json.Marshal(Float(math.NaN()))
	require.Error(t, err)
}

func FuzzJSONDecoder(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":"x\ud83d\ude00","c":[1, {"d":null}],"e":1.50e-3}`, `{"a":-0,"b":9223372036854775808}`, `{"a":true,"a":false}`, `{"b" : "\u0000" } `} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var d JSONDecoder
		require.NoError(t, d.Decode([]byte(`{"a":1,"b":2}`), new(Row)))
		var r Row
		err := d.Decode(data, &r)
		var members map[string]json.RawMessage
		std := json.Unmarshal(data, &members)
		if err != nil {
			if std == nil && utf8.Valid(data) && members != nil {
				why := err.Error()
				require.True(t, strings.Contains(why, "twice") || strings.Contains(why, "half of a character") || strings.Contains(why, "has no name"), why)
			}
			return
		}
		require.NoError(t, std)
		require.Len(t, members, len(r.Values))
		for i, c := range r.Columns.All() {
			raw, ok := members[c.Name]
			require.True(t, ok)
			v := r.Values[i]
			switch v.Kind() {
			case KindText:
				var s string
				require.NoError(t, json.Unmarshal(raw, &s))
				require.Equal(t, s, v.Str())
			case KindJSON:
				var compact bytes.Buffer
				require.NoError(t, json.Compact(&compact, raw))
				require.Equal(t, compact.String(), v.Str())
			case KindDecimal:
				require.Equal(t, string(raw), v.Str())
			case KindInt:
				require.Equal(t, map[bool]string{true: "0", false: string(raw)}[string(raw) == "-0"], v.String())
			default:
				require.Equal(t, string(raw), map[bool]string{true: "null", false: v.String()}[v.IsNull()])
			}
		}
		again, err := r.AppendJSON(nil)
		require.NoError(t, err)
		var back Row
		require.NoError(t, d.Decode(again, &back))
		require.True(t, back.Equal(r))
	})
}

const sampleRow = `{"id":9007199254740993,"customer":"Jones and Sons","amount":129.95,"paid":true,"note":null,"lines":[{"sku":"A-1","quantity":2}],"at":"2024-02-29T01:02:03Z"}`

func BenchmarkJSONDecoder(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(sampleRow)))
	data := []byte(sampleRow)
	var d JSONDecoder
	var r Row
	for b.Loop() {
		if err := d.Decode(data, &r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	r := decoded(b, sampleRow)
	b.ReportAllocs()
	b.SetBytes(int64(len(sampleRow)))
	var dst []byte
	for b.Loop() {
		var err error
		if dst, err = r.AppendJSON(dst[:0]); err != nil {
			b.Fatal(err)
		}
	}
}
