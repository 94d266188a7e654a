package avro_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/avro"
)

const everything = `{"type":"record","name":"R","fields":[
	{"name":"s","type":"string"},{"name":"b","type":"bytes"},{"name":"f","type":{"type":"fixed","name":"F","size":3}},
	{"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}},
	{"name":"a","type":{"type":"array","items":"string"}},{"name":"m","type":{"type":"map","values":"long"}},
	{"name":"u","type":["null","boolean","int","double"]},{"name":"n","type":{"type":"array","items":"null"}},
	{"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
	{"name":"t","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"tm","type":{"type":"long","logicalType":"time-micros"}},
	{"name":"next","type":["null","R"]}]}`

// both are a Codec of any and a Generic, and the same that resolve.
func both(t testing.TB, schema string) map[string]serde.Codec[any] {
	t.Helper()
	typed, generic := newCodec[any](t, schema), newGeneric(t, schema)
	all := map[string]serde.Codec[any]{"typed": typed, "generic": generic}
	if strings.HasPrefix(schema, `{"type":"record"`) {
		wider := strings.Replace(schema, `"fields":[`, `"fields":[{"name":"added","type":"int","default":3},`, 1)
		var err error
		all["typed, resolved"], err = newCodec[any](t, wider).WithWriter(schema)
		require.NoError(t, err)
		all["generic, resolved"], err = newGeneric(t, wider).WithWriter(schema)
		require.NoError(t, err)
	}
	return all
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Whatever length is declared, little memory is taken, and it is an error. Not parallel: it measures.
func TestDeclaredLengths(t *testing.T) {
	for schema, prefix := range map[string]string{
		`"string"`: "", `"bytes"`: "",
		`{"type":"array","items":"int"}`: "", `{"type":"array","items":"null"}`: "", `{"type":"map","values":"int"}`: "",
		`{"type":"array","items":{"type":"record","name":"E","fields":[]}}`:                          "",
		`{"type":"array","items":{"type":"array","items":"null"}}`:                                   "\x02",
		`{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"map","values":"null"}}]}`: "",
	} {
		for name, c := range both(t, schema) {
			for _, n := range []int64{1 << 20, 1<<20 + 1, 1 << 31, 1 << 40, math.MaxInt64, -1, -5, -1 << 31, math.MinInt64, math.MinInt64 + 1} {
				for _, behind := range []string{"", "\x00", "\x02\x00", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00"} {
					data := append(binary.AppendVarint([]byte(prefix), n), behind...)
					var v any
					var err error
					took := allocated(func() { err = c.Decode(data, &v) })
					if n == 1<<20 && err == nil {
						continue // as many items without bytes as are allowed
					}
					require.Error(t, err, "%s %s %d %q", name, schema, n, behind)
					require.Less(t, took, uint64(64<<20), "%s %s %d", name, schema, n)
				}
			}
		}
	}
}

func TestManyItemsWithoutBytes(t *testing.T) {
	t.Parallel()
	const schema = `{"type":"array","items":{"type":"array","items":"null"}}`
	inner := append(binary.AppendVarint(nil, 4000), 0)
	data := append(binary.AppendVarint(nil, 1000), bytes.Repeat(inner, 1000)...)
	data = append(data, 0)
	for name, c := range both(t, schema) {
		require.ErrorContains(t, c.Decode(data, new(any)), "MaxItems", name)
	}
	typed, generic := newCodec[any](t, schema), newGeneric(t, schema)
	typed.MaxItems, generic.MaxItems = 5_000_000, 5_000_000
	require.NoError(t, typed.Decode(data, new(any)))
	require.NoError(t, generic.Decode(data, new(any)))
	typed.MaxItems, generic.MaxItems = 999, 999
	require.ErrorContains(t, typed.Decode(data, new(any)), "MaxItems")
	require.ErrorContains(t, generic.Decode(data, new(any)), "MaxItems")
	typed.MaxBytes, generic.MaxBytes = 100, 100
	require.ErrorContains(t, typed.Decode(data, new(any)), "MaxBytes")
	require.ErrorContains(t, generic.Decode(data, new(any)), "MaxBytes")
}

func TestDepth(t *testing.T) {
	t.Parallel()
	for schema, c := range map[string]struct{ step, end, after string }{
		`{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}`:                         {"\x02", "\x00", ""},
		`{"type":"record","name":"L","fields":[{"name":"next","type":{"type":"array","items":"L"}}]}`:         {"\x02", "\x00", "\x00"},
		`{"type":"record","name":"L","fields":[{"name":"next","type":{"type":"map","values":"L"}}]}`:          {"\x02\x00", "\x00", "\x00"},
		`{"type":"record","name":"L","fields":[{"name":"next","type":["int",{"type":"array","items":"L"}]}]}`: {"\x02\x02", "\x00\x00", "\x00"},
	} {
		for name, codec := range both(t, schema) {
			require.Error(t, codec.Decode([]byte(strings.Repeat(c.step, 5_000_000)), new(any)), name)
			require.NoError(t, codec.Decode([]byte(strings.Repeat(c.step, 100)+c.end+strings.Repeat(c.after, 100)), new(any)), "%s: %s", name, schema)
		}
	}
	loop := map[string]any{}
	loop["next"] = map[string]any{"L": loop}
	for name, c := range both(t, `{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}`) {
		_, err := c.Append(nil, loop)
		require.Error(t, err, name)
	}
	type node struct {
		Next *node `avro:"next"`
	}
	n := &node{}
	n.Next = n
	_, err := newCodec[node](t, `{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}`).Append(nil, *n)
	require.Error(t, err)
}

func TestForbidden(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ schema, data string }{
		"a varint of 11 bytes":         {`"long"`, strings.Repeat("\xff", 10) + "\x01"},
		"a varint of 65 bits":          {`"long"`, strings.Repeat("\xff", 9) + "\x02"},
		"an int of 33 bits":            {`"int"`, "\x80\x80\x80\x80\x10"},
		"a branch that isn't":          {`["null","int"]`, "\x04"},
		"a negative branch":            {`["null","int"]`, "\x01"},
		"a symbol that isn't":          {`{"type":"enum","name":"E","symbols":["A"]}`, "\x02"},
		"a negative symbol":            {`{"type":"enum","name":"E","symbols":["A"]}`, "\x01"},
		"a short fixed":                {`{"type":"fixed","name":"F","size":2}`, "a"},
		"a short double":               {`"double"`, "1234567"},
		"an array without an end":      {`{"type":"array","items":"int"}`, "\x02\x02"},
		"a block larger than the data": {`{"type":"array","items":"int"}`, "\x01\x10\x02\x00"},
		"a block with a negative size": {`{"type":"array","items":"int"}`, "\x01\x01\x02\x00"},
		"nothing":                      {`"int"`, ""},
		"a map key that is too long":   {`{"type":"map","values":"int"}`, "\x02\x0aab\x02\x00"},
		"a map with a negative key":    {`{"type":"map","values":"int"}`, "\x02\x01\x02\x00"},
	} {
		for codec, c2 := range both(t, c.schema) {
			if codec == "typed" && strings.Contains(name, "block") {
				continue // the library has no use for the size of a block
			}
			require.Error(t, c2.Decode([]byte(c.data), new(any)), "%s: %s", codec, name)
		}
	}
}

// Bits that flip and ends that are missing are errors or other values, and what is decoded is encoded again.
func TestDamage(t *testing.T) {
	t.Parallel()
	codecs := both(t, everything)
	g := newGeneric(t, everything)
	value := map[string]any{
		"s": "some text", "b": []byte{1, 2}, "f": []byte("abc"), "e": "B", "a": []any{"x", "yy"}, "m": map[string]any{"k": int64(5)}, "u": map[string]any{"double": 1.5},
		"n": []any{nil, nil}, "d": rat(5, 2), "t": nil, "tm": nil, "next": nil,
	}
	value["t"], value["tm"] = int64(5), int64(6)
	data, err := g.Append(nil, value)
	require.NoError(t, err)
	value["next"] = map[string]any{"R": map[string]any{}}
	for k, v := range value {
		if k != "next" {
			value["next"].(map[string]any)["R"].(map[string]any)[k] = v
		}
	}
	value["next"].(map[string]any)["R"].(map[string]any)["next"] = nil
	data, err = g.Append(data[:0], value)
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		bad := bytes.Clone(data)
		for range 1 + r.IntN(3) {
			bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
		}
		bad = bad[:len(bad)-r.IntN(2)*r.IntN(len(bad))]
		sane(t, codecs, bad)
	}
}

// sane decodes with every codec, which may fail, and encodes what came out again, which may not.
func sane(t testing.TB, codecs map[string]serde.Codec[any], data []byte) {
	for name, c := range codecs {
		var v any
		if c.Decode(data, &v) != nil {
			continue
		}
		again, err := c.Append(nil, v)
		if err != nil {
			t.Fatalf("%s: %x: %v: %v", name, data, v, err)
		}
		if strings.Contains(name, "resolved") {
			continue // it reads the writer's, and writes its own
		}
		var twice any
		if err := c.Decode(again, &twice); err != nil {
			t.Fatalf("%s: %x: %v", name, again, err)
		}
		if printable(v) != printable(twice) {
			t.Fatalf("%s: %x: %s, and then %s", name, data, printable(v), printable(twice))
		}
	}
}

func FuzzDecode(f *testing.F) {
	seed, err := newGeneric(f, everything).Append(nil, map[string]any{
		"s": "some text", "b": []byte{1, 2}, "f": []byte("abc"), "e": "B", "a": []any{"x", "yy"}, "m": map[string]any{"k": int64(5)}, "u": map[string]any{"double": 1.5},
		"n": []any{nil, nil}, "d": rat(5, 2), "t": int64(5), "tm": int64(6), "next": nil,
	})
	require.NoError(f, err)
	f.Add(seed)
	f.Add(seed[:10])
	f.Add([]byte{})
	codecs := both(f, everything)
	f.Fuzz(func(t *testing.T, data []byte) { sane(t, codecs, data) })
}

func FuzzDecodeStruct(f *testing.F) {
	c := newCodec[order](f, orderSchema)
	seed, err := c.Append(nil, sampleOrder())
	require.NoError(f, err)
	f.Add(seed)
	f.Add(seed[:20])
	g := newGeneric(f, orderSchema)
	f.Fuzz(func(t *testing.T, data []byte) {
		var o order
		if c.Decode(data, &o) != nil {
			return
		}
		again, err := c.Append(nil, o)
		require.NoError(t, err)
		var twice order
		require.NoError(t, c.Decode(again, &twice))
		canon, err := c.Append(nil, twice)
		require.NoError(t, err)
		require.Equal(t, again, canon)
		if _, err := c.Skip(data); err == nil {
			var v any
			require.NoError(t, g.Decode(data, &v))
			native, err := g.Append(nil, v)
			require.NoError(t, err)
			require.Len(t, native, len(again))
		}
	})
}

// A schema makes an error or codecs, and two of them an answer.
func FuzzSchema(f *testing.F) {
	f.Add(everything, orderSchema)
	f.Add(`["null",{"type":"fixed","name":"F","size":3}]`, `"int"`)
	f.Add(`{"type":"record","name":"a.L","fields":[{"name":"v","type":"int","default":1},{"name":"next","type":["null","L"]}]}`, `{"type":"map","values":"int"}`)
	f.Fuzz(func(t *testing.T, one, two string) {
		c, err := avro.New[any](one)
		g, gerr := avro.NewGeneric(one)
		if err != nil {
			require.Error(t, gerr)
			return
		}
		_, err = c.WithWriter(two)
		_ = err
		if gerr == nil {
			_, _ = g.WithWriter(two)
		}
		_, _ = avro.Compare(one, two)
		require.NoError(t, avro.Compatible(one, one), one)
	})
}
