package avro

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// shapes makes schemas, plain Go types for them, and values.
type shapes struct {
	*rand.Rand
	names int
}

type shape struct {
	schema any
	t      reflect.Type
	fill   func(v reflect.Value)
}

func (r *shapes) name() string {
	r.names++
	return fmt.Sprint("N", r.names)
}

func (r *shapes) text() string {
	b := make([]byte, r.IntN(20)*r.IntN(2)+r.IntN(3)*r.IntN(2)*200)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

func plain[T any](schema any, value func() T) shape {
	return shape{schema, reflect.TypeFor[T](), func(v reflect.Value) { v.Set(reflect.ValueOf(value())) }}
}

func (r *shapes) leaf() shape {
	marked := func(base, l string) any { return map[string]any{"type": base, "logicalType": l} }
	decimal := func(p, s int, more ...any) any {
		m := map[string]any{"type": "bytes", "logicalType": "decimal", "precision": p, "scale": s}
		for i := 0; i < len(more); i += 2 {
			m[more[i].(string)] = more[i+1]
		}
		return m
	}
	number := func(p, s int) func() *big.Rat {
		return func() *big.Rat {
			i := new(big.Int).SetUint64(r.Uint64() >> r.IntN(64))
			i.Mul(i, new(big.Int).SetUint64(r.Uint64()>>r.IntN(64)))
			i.Rem(i, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(p)), nil))
			if r.IntN(2) == 0 {
				i.Neg(i)
			}
			return new(big.Rat).SetFrac(i, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(s)), nil))
		}
	}
	long := func() int64 { return int64(r.Uint64()) >> r.IntN(64) }
	switch r.IntN(20) {
	case 0:
		return plain("boolean", func() bool { return r.IntN(2) == 1 })
	case 1:
		return plain("int", func() int32 { return int32(long()) })
	case 2:
		return plain("int", func() uint8 { return uint8(long()) })
	case 3:
		return plain("int", func() int16 { return int16(long()) })
	case 4:
		return plain("long", long)
	case 5:
		return plain("long", func() int { return int(long()) })
	case 6:
		return plain("long", func() uint32 { return uint32(long()) })
	case 7:
		return plain("float", func() float32 { return math.Float32frombits(r.Uint32() &^ (1 << 23)) })
	case 8:
		return plain("double", func() float64 { return math.Float64frombits(r.Uint64() &^ (1 << 52)) })
	case 9, 10:
		return plain("string", r.text)
	case 11:
		return plain("bytes", func() []byte { return []byte(r.text()) })
	case 12:
		return plain(map[string]any{"type": "fixed", "name": r.name(), "size": 3}, func() [3]byte { return [3]byte{byte(long()), 1, 2} })
	case 13:
		return plain(map[string]any{"type": "enum", "name": r.name(), "symbols": []string{"A", "B"}}, func() string { return string(rune('A' + r.IntN(2))) })
	case 14:
		p := 1 + r.IntN(40)
		s := r.IntN(p + 1)
		return plain(decimal(p, s), number(p, s))
	case 15:
		p := 1 + r.IntN(18)
		s := r.IntN(p + 1)
		return plain(decimal(p, s, "type", "fixed", "name", r.name(), "size", 8+r.IntN(4)), number(p, s))
	case 16:
		return plain(marked("long", "timestamp-millis"), func() time.Time { return time.UnixMilli(long()).UTC() })
	case 17:
		return plain(marked("long", "timestamp-micros"), func() time.Time { return time.UnixMicro(long()).UTC() })
	case 18:
		return plain(marked("int", "date"), func() time.Time { return time.Unix(86400*int64(int32(long())), 0).UTC() })
	}
	return plain(marked("long", "time-micros"), func() time.Duration { return time.Duration(long()/1000) * time.Microsecond })
}

func (r *shapes) shape(depth int) shape {
	if depth == 0 || r.IntN(4) == 0 {
		return r.leaf()
	}
	switch r.IntN(5) {
	case 0:
		in := r.shape(depth - 1)
		return shape{map[string]any{"type": "array", "items": in.schema}, reflect.SliceOf(in.t), func(v reflect.Value) {
			v.Set(reflect.MakeSlice(v.Type(), r.IntN(4), 4))
			for i := range v.Len() {
				in.fill(v.Index(i))
			}
		}}
	case 1:
		in := r.shape(depth - 1)
		return shape{map[string]any{"type": "map", "values": in.schema}, reflect.MapOf(reflect.TypeFor[string](), in.t), func(v reflect.Value) {
			v.Set(reflect.MakeMap(v.Type()))
			if r.IntN(3) > 0 { // one, as Go maps have no order
				e := reflect.New(in.t).Elem()
				in.fill(e)
				v.SetMapIndex(reflect.ValueOf(r.text()), e)
			}
		}}
	case 2:
		in := r.shape(depth - 1)
		if _, union := in.schema.([]any); union {
			return in
		}
		union := []any{"null", in.schema}
		if r.IntN(2) == 0 {
			union = []any{in.schema, "null"}
		}
		if in.t == reflect.TypeFor[*big.Rat]() {
			return shape{union, in.t, func(v reflect.Value) {
				if r.IntN(2) == 0 {
					in.fill(v)
				}
			}}
		}
		return shape{union, reflect.PointerTo(in.t), func(v reflect.Value) {
			if r.IntN(2) == 0 {
				v.Set(reflect.New(in.t))
				in.fill(v.Elem())
			}
		}}
	}
	var fields []reflect.StructField
	var list []any
	var inside []shape
	for range 1 + r.IntN(6) {
		in, name := r.shape(depth-1), r.name()
		fields = append(fields, reflect.StructField{Name: name, Type: in.t, Tag: reflect.StructTag(`avro:"f` + name + `"`)})
		list = append(list, map[string]any{"name": "f" + name, "type": in.schema})
		inside = append(inside, in)
	}
	return shape{map[string]any{"type": "record", "name": r.name(), "fields": list}, reflect.StructOf(fields), func(v reflect.Value) {
		for i, in := range inside {
			in.fill(v.Field(i))
		}
	}}
}

// What this package writes and reads by itself is what the library does, and what it refuses of damaged data the library refuses or is looser with.
func TestFastIsTheLibrary(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	r := &shapes{Rand: rand.New(rand.NewPCG(seed, 3))}
	for i := range 500 {
		sh := r.shape(4)
		raw, err := json.Marshal(sh.schema)
		require.NoError(t, err)
		hint := fmt.Sprintf("seed %d, schema %d: %s", seed, i, raw)
		s, err := parse(string(raw), nil)
		require.NoError(t, err, hint)
		_, _, err = planFor(sh.t, s.root)
		require.NoError(t, err, hint)
		f := (&compiler{map[pair]*fast{}}).compile(sh.t, s.root)
		if f == nil {
			require.True(t, strings.Contains(string(raw), `"items":"null"`), hint)
			continue
		}
		for range 4 {
			v := reflect.New(sh.t)
			sh.fill(v.Elem())
			st := &state{dst: []byte("x")}
			require.NoError(t, f.write(st, v.UnsafePointer()), hint)
			theirs, err := s.compiled.AppendEncode([]byte("x"), v.Interface())
			require.NoError(t, err, hint)
			require.Equal(t, theirs, st.dst, hint)
			data := bytes.Clone(st.dst[1:])

			got := readFast(t, f, sh.t, data)
			require.NotNil(t, got, hint)
			want := reflect.New(sh.t)
			_, err = s.compiled.Decode(data, want.Interface())
			require.NoError(t, err)
			require.Equal(t, shown(want.Elem()), shown(got.Elem()), hint)
			require.Equal(t, shown(v.Elem()), shown(got.Elem()), hint)
			for range 20 {
				bad := bytes.Clone(data)
				if len(bad) == 0 {
					break
				}
				bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
				bad = bad[:len(bad)-r.IntN(2)*r.IntN(len(bad))]
				got, want := readFast(t, f, sh.t, bad), reflect.New(sh.t)
				rest, err := s.compiled.Decode(bad, want.Interface())
				if got != nil {
					require.NoError(t, err, "%s\n%x", hint, bad)
					require.Empty(t, rest)
					require.Equal(t, shown(want.Elem()), shown(got.Elem()), "%s\n%x", hint, bad)
				}
			}
		}
	}
}

// readFast returns what is read of all data, or nil.
func readFast(t *testing.T, f *fast, of reflect.Type, data []byte) *reflect.Value {
	t.Helper()
	raw := bytes.Clone(data)
	st := &state{walk: newWalk(0, nil), data: raw}
	v := reflect.New(of)
	if f.read(st, v.UnsafePointer()) != nil || len(st.data) > 0 {
		return nil
	}
	for i := range raw {
		raw[i] = 0xaa // nothing of it is kept
	}
	return &v
}

// shown is a value as a text that tells all of it, other than whether an empty slice is nil.
func shown(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "nil"
		}
		if r, ok := v.Interface().(*big.Rat); ok {
			return r.RatString()
		}
		return "*" + shown(v.Elem())
	case reflect.Struct:
		if at, ok := v.Interface().(time.Time); ok {
			return fmt.Sprint(at.Unix(), at.Nanosecond(), at.Location())
		}
		texts := []string{}
		for i := range v.NumField() {
			texts = append(texts, shown(v.Field(i)))
		}
		return fmt.Sprint(texts)
	case reflect.Slice:
		texts := []string{}
		for i := range v.Len() {
			texts = append(texts, shown(v.Index(i)))
		}
		return fmt.Sprint(texts)
	case reflect.Map:
		texts := map[string]string{}
		for _, k := range v.MapKeys() {
			texts[k.String()] = shown(v.MapIndex(k))
		}
		return fmt.Sprintf("%q", texts)
	case reflect.Float32:
		return fmt.Sprint(*(*uint32)(unsafe.Pointer(addressable(v).UnsafePointer())))
	case reflect.Float64:
		return fmt.Sprint(math.Float64bits(v.Float()))
	}
	return fmt.Sprintf("%q", fmt.Sprint(v.Interface()))
}

func addressable(v reflect.Value) reflect.Value {
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p
}

// What the fast way refuses, and that it is taken at all: the property above holds for a way that is never gone.
func TestFastRefuses(t *testing.T) {
	t.Parallel()
	type r struct {
		B bool           `avro:"b"`
		M map[string]int `avro:"m"`
	}
	c, err := New[r](`{"type":"record","name":"R","fields":[{"name":"b","type":"boolean"},{"name":"m","type":{"type":"map","values":"long"}}]}`)
	require.NoError(t, err)
	require.NotNil(t, c.fast)
	var v r
	require.NoError(t, c.Decode([]byte("\x01\x02\x02a\x02\x00"), &v))
	require.Equal(t, r{true, map[string]int{"a": 1}}, v)
	require.EqualError(t, c.Decode([]byte("\x02\x00"), &v), "avro: b: a boolean that is neither 0 nor 1")
	require.EqualError(t, c.Decode([]byte("\x01\x04\x02a\x02\x02a\x02\x00"), &v), "avro: m: a map that has a name twice")
	require.EqualError(t, c.Decode([]byte("\x01\x04\x02a\x02"), &v), "avro: m: the data ends too early")
	require.EqualError(t, c.Decode(nil, &v), "avro: b: the data ends too early")
	require.NoError(t, c.Decode([]byte("\x01\x01\x06\x02a\x02\x00"), &v), "a block that says how long it is")
	require.ErrorIs(t, c.Decode([]byte("\x01\x01\x04\x02a\x02\x00"), &v), errBlock)
	nulls, err := New[map[string]*int32](`{"type":"map","values":["null","int"]}`)
	require.NoError(t, err)
	require.NotNil(t, nulls.fast)
	var m map[string]*int32
	require.NoError(t, nulls.Decode([]byte("\x04\x02a\x02\x06\x02b\x00\x00"), &m))
	require.EqualValues(t, 3, *m["a"])
	require.Nil(t, m["b"], "nothing is left of the value before")
	list, err := New[[]int32](`{"type":"array","items":"int"}`)
	require.NoError(t, err)
	require.NotNil(t, list.fast)
	var ints []int32
	require.NoError(t, list.Decode([]byte("\x03\x04\x02\x04\x02\x06\x00"), &ints), "two blocks")
	require.Equal(t, []int32{1, 2, 3}, ints)
	require.ErrorIs(t, list.Decode([]byte("\x03\x02\x02\x04\x00"), &ints), errBlock)
	require.ErrorIs(t, list.Decode(appendLong(nil, math.MaxInt64), &ints), errShort)
	require.ErrorIs(t, list.Decode(append(appendLong(nil, math.MinInt64), 0), &ints), errBlock)
	same, err := c.WithWriter(`{"type":"record","name":"R","fields":[{"name":"b","type":"boolean"},{"name":"m","type":{"type":"map","values":"long"}}],"doc":"equal"}`)
	require.NoError(t, err)
	require.EqualError(t, same.Decode([]byte("\x02\x00"), &v), "avro: b: a boolean that is neither 0 nor 1", "equal schemas are no resolution")

	for _, schema := range []string{`"long"`, `"int"`} {
		i, err := New[int8](schema)
		require.NoError(t, err)
		require.NotNil(t, i.fast)
		require.ErrorContains(t, i.Decode(appendLong(nil, 128), new(int8)), "out of range")
	}
	i, err := New[int64](`"int"`)
	require.NoError(t, err)
	_, err = i.Append(nil, 1<<31)
	require.ErrorContains(t, err, "out of range")
	d, err := New[*big.Rat](`{"type":"bytes","logicalType":"decimal","precision":5}`)
	require.NoError(t, err)
	_, err = d.Append(nil, nil)
	require.Error(t, err)
}
