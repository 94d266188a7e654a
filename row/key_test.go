package row

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key  []Value
		want string
	}{
		{[]Value{Int(-5)}, `-5`},
		{[]Value{Text(`["a"]`)}, `["a"]`},
		{[]Value{{}}, ``},
		{[]Value{Int(-5), Text("a\"b\\\n\x01ü")}, `["-5","a\"b\\\n\u0001ü"]`},
		{[]Value{{}, Bytes("\x00"), Date(0)}, `[null,"\\x00","1970-01-01"]`},
		{nil, `[]`},
	} {
		got := AppendKey([]byte("before"), c.key...)
		require.Equal(t, "before"+c.want, string(got))
	}
}

// Keys of any values are read back as their texts, and are never the same for two lists of texts.
func TestKeyRoundTrip(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	texts := map[string]string{}
	for range 20_000 {
		key := make([]Value, 1+r.IntN(3))
		for i := range key {
			key[i] = randomValue(r, Kind(r.IntN(int(kinds))))
			if r.IntN(9) == 0 {
				key[i] = Text("\xff\xc0" + randomText(r))
			}
		}
		data := AppendKey(nil, key...)
		if len(key) > 1 && utf8.Valid(data) {
			var list []any
			require.NoError(t, json.Unmarshal(data, &list))
			require.Len(t, list, len(key))
		}
		back, err := ParseKey(data, len(key))
		require.NoError(t, err)
		same := ""
		for i, v := range key {
			if !v.IsNull() || len(key) == 1 {
				require.Equal(t, KindText, back[i].Kind())
			}
			require.Equal(t, v.String(), back[i].String())
			require.Equal(t, v.IsNull() && len(key) > 1, back[i].IsNull())
			same += string(rune(len(v.String()))) + v.String() + back[i].Kind().String()
		}
		id := string(rune(len(key))) + string(data)
		if before, ok := texts[id]; ok {
			require.Equal(t, before, same)
		}
		texts[id] = same
	}
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	key, err := ParseKey([]byte(" [ 1 , true,null, -2.5e3 ,\"\\ud83d\\ude00\\/\"] "), 5)
	require.NoError(t, err)
	require.Equal(t, []Value{Text("1"), Text("true"), {}, Text("-2.5e3"), Text("😀/")}, key)
	for _, bad := range []string{
		"", "1", "[", "]", "[]", `["a"]`, `["a","b","c"]`, `["a""b"]`, `["a",]`, `[,"a"]`, `["a","b"]x`, `["a","b"`, `["a","b`, `["a","b\`, `["a","b\"]`, `["\ud800","b"]`,
		`["\udc00\ud800","b"]`, `["\u00g0","b"]`, `["\x","b"]`, `["a",[1]]`, `["a",{}]`, `["a",01]`, `["a",nul]`, `{"a":1}`, "[\"a\",\x00]",
	} {
		_, err := ParseKey([]byte(bad), 2)
		require.Error(t, err, bad)
	}
	_, err = ParseKey([]byte(`["a","b"]`), 3)
	require.EqualError(t, err, `row: the key "[\"a\",\"b\"]" has 2 values instead of 3`)
	_, err = ParseKey([]byte("["), 2)
	require.EqualError(t, err, `row: the key "[" is no JSON array of texts: it ends too early`)
	_, err = ParseKey(nil, 0)
	require.Error(t, err)
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{`["a","b"]`, `["\ud83d\ude00\u0000\n",null]`, `[1,-2.5e+3]`, "[\"\xff\",\"\\\\\"]", `[true,[]]`} {
		f.Add([]byte(s), byte(2))
	}
	f.Fuzz(func(t *testing.T, data []byte, n byte) {
		before := bytes.Clone(data)
		key, err := ParseKey(data, int(n%4))
		require.Equal(t, before, data)
		if err != nil {
			return
		}
		require.Len(t, key, int(n%4))
		clear(data) // nothing of it is kept
		again, err := ParseKey(AppendKey(nil, key...), len(key))
		require.NoError(t, err)
		for i := range key {
			require.True(t, key[i].Equal(again[i]))
		}
	})
}

func BenchmarkAppendKey(b *testing.B) {
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		dst = AppendKey(dst[:0], Int(12345), Text("abc"))
	}
}
