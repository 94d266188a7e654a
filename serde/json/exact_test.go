package json_test

import (
	stdjson "encoding/json"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/serde/json"
)

// everything has a field for each way in which a value can lose something.
type everything struct {
	I     int64              `json:"i"`
	U     uint64             `json:"u"`
	F     float64            `json:"f"`
	F32   float32            `json:"f32"`
	S     string             `json:"s"`
	P     *float64           `json:"p"`
	Q     float64            `json:"q,string"`
	QS    string             `json:"qs,string"`
	N     stdjson.Number     `json:"n,omitempty"`
	B     *big.Int           `json:"b"`
	Raw   stdjson.RawMessage `json:"raw,omitempty"`
	T     time.Time          `json:"t"`
	Any   any                `json:"any"`
	Map   map[string]int     `json:"map"`
	Keys  map[int]string     `json:"keys"`
	List  []float64          `json:"list"`
	Pair  [2]int             `json:"pair"`
	Sub   *everything        `json:"sub"`
	Long  string             `json:"a_name_that_is_rather_long"`
	Upper int
	embedded
	*Pointed
}

type embedded struct {
	E float64 `json:"e"`
	S int     `json:"s"` // hidden
}

type Pointed struct {
	Depth float64 `json:"depth"`
	E     int64   `json:"e"` // as deep as the other: there is none
}

// A document is decoded exactly or not at all. Where the error is "" it is decoded, and encoded again it says the same.
func TestExactDecode(t *testing.T) {
	t.Parallel()
	const surrogate, twice, digits = "half of a character", "twice", "has not all digits"
	for _, c := range []struct {
		data string
		err  string
	}{
		// integers
		{`{"i":9223372036854775807}`, ""},
		{`{"i":-9223372036854775808}`, ""},
		{`{"i":9223372036854775808}`, "cannot unmarshal"},
		{`{"i":9007199254740993,"f":1.5}`, ""},
		{`{"i":1.5}`, "cannot unmarshal"},
		{`{"i":1e2}`, "cannot unmarshal"},
		{`{"u":18446744073709551615}`, ""},
		{`{"u":18446744073709551616}`, "cannot unmarshal"},
		{`{"u":-1}`, "cannot unmarshal"},
		{`{"b":123456789012345678901234567890}`, ""},
		{`{"n":123456789012345678901234567890.123456789e-7}`, ""},
		{`{"any":123456789012345678901234567890.123456789}`, ""},

		// floats
		{`{"f":0.1}`, ""},
		{`{"f":-0}`, ""},
		{`{"f":0.30000000000000004}`, ""},
		{`{"f":0.10000000000000001}`, ""}, // %.17g of 0.1
		{`{"f":0.1000000000000000055511151231257827021181583404541015625}`, ""},
		{`{"f":0.1000000000000000055511151231257827021181583404541015626}`, digits},
		{`{"f":9007199254740992}`, ""},
		{`{"f":9007199254740993}`, digits},
		{`{"f":12345678901234567890.123456789}`, digits},
		{`{"f":123456789012345680000}`, ""},
		{`{"f":1.7976931348623157e308}`, ""},
		{`{"f":5e-324}`, ""},
		{`{"f":3e-324}`, digits},
		{`{"f":1e-400}`, digits},
		{`{"f":1E-400}`, digits},
		{`{"f":0e-400}`, ""},
		{`{"f":1e400}`, "cannot unmarshal"},
		{`{"f":-1e400}`, "cannot unmarshal"},
		{`{"f":1e-99999999999999999999}`, digits},
		{`{"f":0.` + strings.Repeat("1", 2000) + `}`, digits},
		{`{"f":1` + strings.Repeat("0", 300) + `}`, ""},
		{`{"f":null,"p":null}`, ""},
		{`{"f":NaN}`, "invalid character"},
		{`{"f":Infinity}`, "invalid character"},
		{`{"f":-Infinity}`, "invalid character"},
		{`{"f32":0.1}`, ""},
		{`{"f32":16777216}`, ""},
		{`{"f32":16777217}`, digits},
		{`{"f32":3.4028235e38}`, ""},
		{`{"f32":1e-46}`, digits},
		{`{"p":9007199254740993}`, digits},
		{`{"q":"9007199254740992"}`, ""},
		{`{"q":"9007199254740993"}`, digits},
		{`{"q":"900719925474099\u0033"}`, digits},
		{`{"list":[1,2.5,9007199254740993]}`, digits},
		{`{"sub":{"sub":{"f":9007199254740993}}}`, digits},
		{`{"depth":9007199254740993}`, digits},
		{`{"e":9007199254740993}`, ""}, // there is no such field
		{`{"any":1e400}`, ""},
		{`{"n":1e400}`, ""},
		{`{"raw":1e400}`, ""},

		// names
		{`{"i":1,"i":2}`, twice},
		{`{"i":1,"i":1}`, twice},
		{`{ "i" : 1 , "f" : 2 , "i" : 3 }`, twice},
		{`{"i":1,"\u0069":2}`, twice},
		{`{"i":1,"I":2}`, twice}, // one field
		{`{"f":1,"F":2}`, twice},
		{`{"I":1}`, ""},
		{`{"Upper":1,"UPPER":2}`, twice},
		{`{"a_name_that_is_rather_long":"","A_name_that_is_rather_long":""}`, twice},
		{"{\"s\":\"\",\"\u017f\":\"\"}", twice}, // a long s
		{`{"sub":{"i":1},"i":1}`, ""},
		{`{"sub":{"i":1,"i":1}}`, twice},
		{`{"sub":{"i":1},"sub":{"u":1}}`, twice}, // encoding/json merges them
		{`{"map":{"a":1,"A":2}}`, ""},
		{`{"map":{"a":1,"a":2}}`, twice},
		{`{"map":{"a":1,"\u0061":2}}`, twice},
		{`{"map":{` + members(100, 100) + `}}`, ""},
		{`{"map":{` + members(100, 99) + `}}`, twice},
		{`{"any":{"x":[{"a":1},{"a":1,"b":{"a":1}}]}}`, ""},
		{`{"any":{"x":[{"a":1},{"a":1,"b":{"c":1,"c":1}}]}}`, twice},
		{`{"any":{"x":[{"a":1},{"a":1,"b":{"a":1},"a":2}]}}`, twice},
		{`{"keys":{"1":"a","-1":"b","0":"c"}}`, ""},
		{`{"keys":{"1":"a","01":"b"}}`, "not how that is written"},
		{`{"keys":{"+1":"a"}}`, "not how that is written"},
		{`{"keys":{"-0":"a"}}`, "not how that is written"},
		{`{"raw":{"a":1,"a":2}}`, ""}, // as it is
		{`{"none":{"a":1,"a":[1,"}",{"x":"]"}]},"i":1}`, ""},
		{`{"none":1,"none":2,"i":1}`, ""}, // nobody takes them

		// text
		{"{\"s\":\"\xff\"}", "no UTF-8"},
		{"{\"s\":\"\xed\xa0\x80\"}", "no UTF-8"},
		{"{\"\xff\":1}", "no UTF-8"},
		{"{\"s\":\"\u00e9\U0001f600\ufffd\"}", ""},
		{`{"s":"\u00e9\ud83d\ude00\ufffd\\ud800"}`, ""},
		{`{"s":"\ud800"}`, surrogate},
		{`{"s":"\uDC00"}`, surrogate},
		{`{"s":"\ud800\ud800\udc00"}`, surrogate},
		{`{"s":"\udc00\ud800"}`, surrogate},
		{`{"s":"\ud800x"}`, surrogate},
		{`{"s":"\ud800\\udc00"}`, surrogate},
		{`{"qs":"\"\\ud800\""}`, surrogate},
		{`{"qs":"\"\\ud83d\\ude00\""}`, ""},
		{`{"any":["\ud800"]}`, surrogate},
		{`{"any":{"\ud800":1}}`, surrogate},
		{`{"map":{"\ud800":1}}`, surrogate},
		{`{"raw":"\ud800"}`, ""}, // as it is
		{`{"none":"\ud800"}`, ""},

		// the rest
		{`{"pair":[1,2]}`, ""},
		{`{"pair":[1]}`, "for 2"},
		{`{"pair":[1,2,3]}`, "for 2"},
		{`{"pair":null}`, ""},
		{`{} `, ""},
		{`{}x`, "after top-level"},
		{`{}{}`, "after top-level"},
		{`{"i":1}}`, "after top-level"},
		{"\ufeff{}", "invalid character"},
		{`{"any":` + strings.Repeat("[", 9998) + strings.Repeat("]", 9998) + `}`, ""},
		{`{"any":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`, "max depth"},
		{`{"none":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`, "max depth"},
		{strings.Repeat(`{"sub":`, 9998) + `{}` + strings.Repeat(`}`, 9998), ""},
		{strings.Repeat(`{"sub":`, 9999) + `{"i":1,"i":2}` + strings.Repeat(`}`, 9999), twice},
	} {
		t.Run(fmt.Sprintf("%.60s", c.data), func(t *testing.T) {
			t.Parallel()
			var v everything
			err := json.Codec[everything]{}.Decode([]byte(c.data), &v)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				require.Less(t, len(err.Error()), 500)
				return
			}
			require.NoError(t, err)
			again, err := json.Codec[everything]{}.Append(nil, v)
			require.NoError(t, err)
			var back everything
			require.NoError(t, json.Codec[everything]{}.Decode(again, &back))
			require.Equal(t, v, back)
		})
	}
}

// members is the inside of an object with n members, the last of which has number last.
func members(n, last int) string {
	var b strings.Builder
	for i := range n - 1 {
		fmt.Fprintf(&b, `"%d":1,`, i+1)
	}
	return b.String() + fmt.Sprintf(`"%d":1`, last)
}

// The values themselves, where a wrong one would be easy to miss.
func TestExactValues(t *testing.T) {
	t.Parallel()
	var v everything
	require.NoError(t, json.Codec[everything]{}.Decode([]byte(
		`{"i":-9223372036854775808,"u":18446744073709551615,"f":-0,"n":1.10,"any":[1e400,{"x":0.1000}],"raw":{"a":1, "a":2},"s":"\ud83d\ude00"}`), &v))
	require.Equal(t, int64(math.MinInt64), v.I)
	require.Equal(t, uint64(math.MaxUint64), v.U)
	require.True(t, math.Signbit(v.F))
	require.Equal(t, stdjson.Number("1.10"), v.N)
	require.Equal(t, []any{stdjson.Number("1e400"), map[string]any{"x": stdjson.Number("0.1000")}}, v.Any)
	require.Equal(t, `{"a":1, "a":2}`, string(v.Raw))
	require.Equal(t, "😀", v.S)
}

// A struct with more fields than a word has bits, and without one.
func TestExactStructs(t *testing.T) {
	t.Parallel()
	type wide struct {
		A0, A1, A2, A3, A4, A5, A6, A7, A8, A9, B0, B1, B2, B3, B4, B5, B6, B7, B8, B9 int
		C0, C1, C2, C3, C4, C5, C6, C7, C8, C9, D0, D1, D2, D3, D4, D5, D6, D7, D8, D9 int
		E0, E1, E2, E3, E4, E5, E6, E7, E8, E9, F0, F1, F2, F3, F4, F5, F6, F7, F8, F9 int
		G0, G1, G2, G3, G4, G5, G6, G7, G8, G9                                         int
	}
	data, err := stdjson.Marshal(wide{G9: 9})
	require.NoError(t, err)
	require.NoError(t, json.Codec[wide]{}.Decode(data, new(wide)))
	for _, name := range []string{"A0", "G3", "G4", "G9", "g9"} {
		more := string(data[:len(data)-1]) + `,"` + name + `":0}`
		require.ErrorContains(t, json.Codec[wide]{}.Decode([]byte(more), new(wide)), "twice", name)
	}
	require.NoError(t, json.Codec[struct{}]{}.Decode([]byte(`{"a":1,"a":2}`), new(struct{})))

	type kelvin struct {
		K int `json:"K"` // the sign for Kelvin
	}
	require.ErrorContains(t, json.Codec[kelvin]{}.Decode([]byte("{\"k\":1,\"\u212a\":2}"), new(kelvin)), "twice")

	type loop *loop
	require.NoError(t, json.Codec[loop]{}.Decode([]byte(`null`), new(loop)))
}

type loud string // writes its own JSON

func (l loud) MarshalJSON() ([]byte, error) { return []byte(l), nil }

type textual string

func (t textual) MarshalText() ([]byte, error) { return []byte(t), nil }

// A value is encoded exactly or not at all.
func TestExactEncode(t *testing.T) {
	t.Parallel()
	type hidden struct {
		S string `json:"-"`
		s string
		R string
	}
	for name, c := range map[string]struct {
		value any
		want  string
		err   string
	}{
		"int64":              {int64(math.MinInt64), "-9223372036854775808", ""},
		"uint64":             {uint64(math.MaxUint64), "18446744073709551615", ""},
		"big":                {new(big.Int).Lsh(big.NewInt(1), 80), "1208925819614629174706176", ""},
		"number":             {stdjson.Number("123456789012345678901234567890.10"), "123456789012345678901234567890.10", ""},
		"no number":          {stdjson.Number("one"), "", "invalid number"},
		"-0":                 {math.Copysign(0, -1), "-0", ""},
		"float":              {math.Nextafter(0.3, 1), "0.30000000000000004", ""},
		"float32":            {float32(0.1), "0.1", ""},
		"NaN":                {math.NaN(), "", "unsupported value"},
		"+Inf":               {[]float64{math.Inf(1)}, "", "unsupported value"},
		"-Inf":               {map[string]float32{"a": float32(math.Inf(-1))}, "", "unsupported value"},
		"text":               {"<&>\u2028é😀\ufffd" + `\ufffd`, `"<&>\u2028é😀` + "\ufffd" + `\\ufffd"`, ""},
		"no UTF-8":           {"a\xff", "", `no UTF-8: "a\xff"`},
		"half of a pair":     {"\xed\xa0\x80", "", "no UTF-8"},
		"deep":               {map[string]any{"a": []any{1, &everything{S: "\xff"}}}, "", "no UTF-8"},
		"key":                {map[string]int{"\xff": 1}, "", "no UTF-8"},
		"embedded":           {struct{ Pointed }{}, `{"depth":0,"e":0}`, ""},
		"text marshaler":     {[]any{textual("\ufffd"), textual("\xff")}, "", "no UTF-8"},
		"its key":            {map[textual]int{"\xff": 1}, "", "no UTF-8"},
		"raw":                {stdjson.RawMessage(`"\ufffd"`), `"\ufffd"`, ""},
		"raw beside":         {[]any{stdjson.RawMessage(`"\ufffd"`), "\xff"}, "", "no UTF-8"},
		"raw bytes":          {stdjson.RawMessage("\"\xff\""), "", "no UTF-8"},
		"marshaler":          {loud(`"\ufffd"`), `"\ufffd"`, ""},
		"backslashes":        {`\\ufffd`, `"\\\\ufffd"`, ""},
		"what isn't written": {hidden{"\xff", "\xff", `\ufffd`}, `{"R":"\\ufffd"}`, ""},
		"nil":                {(*everything)(nil), "null", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kept := append(make([]byte, 0, 1<<10), `kept \ufffd `...)
			got, err := json.Codec[any]{}.Append(kept, c.value)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				require.Equal(t, string(kept), string(got))
				return
			}
			require.NoError(t, err)
			require.Equal(t, `kept \ufffd `+c.want, string(got))
		})
	}
}
