package json_test

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/serde/json"
)

// The codec refuses what the reference, which is slow and written without a look at it, says is altered, and nothing else.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"id":1}`, `[1,{"a":null}]`, "1e400", `"\ud800"`, "123456789012345678901234567890", `{"a":1}x`, `{"a":1,"\u0061":2}`,
		`{"F":0.1,"f":2}`, `{"list":[{"f":1e-400},{"list":[]}],"m":{"x":9007199254740993}}`, `{"pair":[1,"\ud83d\ude00"],"any":{"a":1,"a":1}}`,
		` { "s" : "\\\"" , "unknown" : [ { } , "}" ] , "F32" : 16777217 } `, `{"m":{"a":1,"A":1}}`, "{\"\u017f\":\"\xff\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v any
		against(t, data, &v)
		var s fuzzed
		against(t, data, &s)
		var m map[string]fuzzed
		against(t, data, &m)
	})
}

type fuzzed struct {
	F    float64            `json:"f"`
	F32  float32            `json:"f32"`
	S    string             `json:"s"`
	I    int                `json:"i"`
	M    map[string]float64 `json:"m"`
	List []*fuzzed          `json:"list"`
	Pair [2]any             `json:"pair"`
	Any  any                `json:"any"`
}

func against[T any](t *testing.T, data []byte, v *T) {
	err := json.Codec[T]{}.Decode(data, v)
	plain := stdjson.NewDecoder(bytes.NewReader(data))
	plain.UseNumber()
	if !stdjson.Valid(data) || plain.Decode(new(T)) != nil {
		require.Error(t, err)
		return
	}
	if halves(data) {
		return // whether they are in a string that counts, the reference doesn't know
	}
	want := utf8.Valid(data) && refersTo(t, tree(t, data), reflect.TypeFor[T]())
	require.Equal(t, want, err == nil, "%T: %v", *v, err)
	if err != nil {
		return
	}
	again, err := json.Codec[T]{}.Append(nil, *v)
	require.NoError(t, err)
	var back T
	require.NoError(t, json.Codec[T]{}.Decode(again, &back))
	require.Equal(t, *v, back)
}

var pairs, half = regexp.MustCompile(`(?i)\\ud[89ab]..\\ud[c-f]..`), regexp.MustCompile(`(?i)\\ud[89a-f]`)

func halves(data []byte) bool {
	return half.MatchString(pairs.ReplaceAllString(strings.ReplaceAll(string(data), `\\`, ""), ""))
}

// member is a name and a value: a map would forget the ones that are there twice.
type member struct {
	name  string
	value any
}

// tree reads data into []member, []any, json.Number and so on.
func tree(t *testing.T, data []byte) any {
	dec := stdjson.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return branch(t, dec)
}

func branch(t *testing.T, dec *stdjson.Decoder) any {
	token, err := dec.Token()
	require.NoError(t, err)
	switch token {
	case stdjson.Delim('{'):
		members := []member{}
		for dec.More() {
			name, err := dec.Token()
			require.NoError(t, err)
			members = append(members, member{name.(string), branch(t, dec)})
		}
		_, err = dec.Token()
		require.NoError(t, err)
		return members
	case stdjson.Delim('['):
		list := []any{}
		for dec.More() {
			list = append(list, branch(t, dec))
		}
		_, err = dec.Token()
		require.NoError(t, err)
		return list
	}
	return token
}

// refersTo reports whether decoding into to loses nothing of v, of what to has a place for.
func refersTo(t *testing.T, v any, to reflect.Type) bool {
	for to.Kind() == reflect.Pointer {
		to = to.Elem()
	}
	switch v := v.(type) {
	case []member:
		taken := map[string]bool{}
		for _, m := range v {
			name, inside := m.name, to
			switch to.Kind() {
			case reflect.Map:
				inside = to.Elem()
			case reflect.Struct:
				i := fieldOf(m.name, to)
				if i < 0 {
					continue
				}
				name, inside = fmt.Sprint("field ", i), to.Field(i).Type
			}
			if taken[name] || !refersTo(t, m.value, inside) {
				return false
			}
			taken[name] = true
		}
	case []any:
		inside := to
		if to.Kind() != reflect.Interface {
			inside = to.Elem()
		}
		for _, x := range v {
			if !refersTo(t, x, inside) {
				return false
			}
		}
		return to.Kind() != reflect.Array || len(v) == to.Len()
	case stdjson.Number:
		switch to.Kind() {
		case reflect.Float32:
			var f float32
			require.NoError(t, stdjson.Unmarshal([]byte(v), &f))
			return printed(string(v), float64(f))
		case reflect.Float64:
			var f float64
			require.NoError(t, stdjson.Unmarshal([]byte(v), &f))
			return printed(string(v), f)
		}
	}
	return true
}

func fieldOf(name string, t reflect.Type) int {
	for i := range t.NumField() {
		if strings.EqualFold(name, t.Field(i).Tag.Get("json")) {
			return i
		}
	}
	return -1
}

// printed reports whether f, printed to as many digits as number has, is number.
func printed(number string, f float64) bool {
	mantissa, _, _ := strings.Cut(strings.ToLower(number), "e")
	digits := strings.Trim(strings.ReplaceAll(strings.TrimLeft(mantissa, "-0."), ".", ""), "-")
	digits = strings.TrimRight(digits, "0")
	if digits == "" {
		return f == 0
	}
	if f == 0 {
		return false
	}
	want, _, err := new(big.Float).SetPrec(4000).Parse(number, 10)
	if err != nil {
		return false
	}
	got, _, err := new(big.Float).SetPrec(4000).Parse(fmt.Sprintf("%.*e", len(digits)-1, f), 10)
	return err == nil && got.Cmp(want) == 0
}
