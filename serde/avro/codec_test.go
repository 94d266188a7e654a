package avro_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/avro"
)

func Example() {
	type person struct {
		Name string `avro:"name"`
		Age  int32  `avro:"age"`
	}
	codec, err := avro.New[person](`{"type":"record","name":"Person","fields":[
		{"name":"name","type":"string"},
		{"name":"age","type":"int","default":-1}]}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	data, err := codec.Append(nil, person{"Ann", 44})
	fmt.Printf("%x %v\n", data, err)

	var p person
	fmt.Println(codec.Decode(data, &p), p)
	// Output:
	// 06416e6e58 <nil>
	// <nil> {Ann 44}
}

// Data from before there was an age.
func ExampleCodec_WithWriter() {
	type person struct {
		Name string `avro:"name"`
		Age  int32  `avro:"age"`
	}
	codec, err := avro.New[person](`{"type":"record","name":"Person","fields":[
		{"name":"name","type":"string"},
		{"name":"age","type":"int","default":-1}]}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	old, err := codec.WithWriter(`{"type":"record","name":"Person","fields":[
		{"name":"shoe","type":"int"},
		{"name":"name","type":"string"}]}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	var p person
	fmt.Println(old.Decode([]byte("\x54\x06Ann"), &p), p)
	// Output: <nil> {Ann -1}
}

func ExampleGeneric() {
	codec, err := avro.NewGeneric(`{"type":"record","name":"Person","fields":[
		{"name":"name","type":"string"},
		{"name":"email","type":["null","string"]}]}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	data, err := codec.Append(nil, map[string]any{"name": "Ann", "email": map[string]any{"string": "ann@example.org"}})
	fmt.Println(len(data), err)
	var v any
	fmt.Println(codec.Decode(data, &v), v)
	// Output:
	// 21 <nil>
	// <nil> map[email:map[string:ann@example.org] name:Ann]
}

func ExampleCompatible() {
	fmt.Println(avro.Compatible(
		`{"type":"record","name":"Person","fields":[{"name":"age","type":"long"}]}`,
		`{"type":"record","name":"Person","fields":[{"name":"age","type":"int"},{"name":"name","type":"string"}]}`,
	))
	// Output: avro: the schemas are incompatible: age: widened type: the writer has long, the reader int; name: missing field: the writer has no such field, and it has no default
}

func newCodec[T any](t testing.TB, schema string, references ...string) *avro.Codec[T] {
	t.Helper()
	c, err := avro.New[T](schema, references...)
	require.NoError(t, err)
	return c
}

func newGeneric(t testing.TB, schema string, references ...string) *avro.Generic {
	t.Helper()
	c, err := avro.NewGeneric(schema, references...)
	require.NoError(t, err)
	return c
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	c := newCodec[order](t, orderSchema)
	in := sampleOrder()
	data, err := c.Append([]byte("before "), in)
	require.NoError(t, err)
	rest, ok := strings.CutPrefix(string(data), "before ")
	require.True(t, ok)
	var out order
	require.NoError(t, c.Decode([]byte(rest), &out))
	require.Equal(t, in, out)

	g := newGeneric(t, orderSchema)
	var v any
	require.NoError(t, g.Decode([]byte(rest), &v))
	require.Equal(t, map[string]any{"string": "ann@example.org"}, v.(map[string]any)["email"])
	again, err := g.Append(nil, v)
	require.NoError(t, err)
	require.Equal(t, rest, string(again))
}

func TestNothingStaleRemains(t *testing.T) {
	t.Parallel()
	type all struct {
		P *string          `avro:"p"`
		L []int32          `avro:"l"`
		M map[string]int32 `avro:"m"`
		A any              `avro:"a"`
		B []byte           `avro:"b"`
	}
	c := newCodec[all](t, `{"type":"record","name":"All","fields":[
		{"name":"p","type":["null","string"]},
		{"name":"l","type":{"type":"array","items":"int"}},
		{"name":"m","type":{"type":"map","values":"int"}},
		{"name":"a","type":["null","int",{"type":"map","values":"int"}]},
		{"name":"b","type":"bytes"}]}`)
	one, two := "one", "two"
	first := all{&one, []int32{1, 2, 3}, map[string]int32{"x": 1}, map[string]any{"map": map[string]any{"k": int32(1)}}, []byte("first")}
	second := all{&two, []int32{4}, map[string]int32{"y": 2}, map[string]any{"map": map[string]any{"l": int32(2)}}, []byte("2")}
	a, err := c.Append(nil, first)
	require.NoError(t, err)
	b, err := c.Append(nil, second)
	require.NoError(t, err)
	empty, err := c.Append(nil, all{})
	require.NoError(t, err)

	var v all
	require.NoError(t, c.Decode(a, &v))
	held := v
	require.NoError(t, c.Decode(b, &v))
	require.Equal(t, second, v)
	require.Equal(t, first, held, "who holds the first value doesn't see the second")
	require.NoError(t, c.Decode(empty, &v))
	require.Nil(t, v.P)
	require.Nil(t, v.A)
	require.Empty(t, v.L)
	require.Empty(t, v.M)
}

// What is decoded stays when the data is overwritten.
func TestNothingOfTheDataIsKept(t *testing.T) {
	t.Parallel()
	const schema = `{"type":"record","name":"R","fields":[
		{"name":"s","type":"string"},{"name":"b","type":"bytes"},{"name":"f","type":{"type":"fixed","name":"F","size":3}},
		{"name":"m","type":{"type":"map","values":"bytes"}},{"name":"u","type":["null","bytes"]},
		{"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":4}}]}`
	g := newGeneric(t, schema)
	in := map[string]any{
		"s": "text", "b": []byte("some bytes"), "f": []byte("abc"), "m": map[string]any{"key": []byte("value")}, "u": map[string]any{"bytes": []byte("union")}, "d": rat(12, 1),
	}
	data, err := g.Append(nil, in)
	require.NoError(t, err)
	typed := newCodec[any](t, schema)
	older, err := g.WithWriter(strings.Replace(schema, `"fields":[`, `"fields":[{"name":"gone","type":"int"},`, 1))
	require.NoError(t, err)
	for name, c := range map[string]serde.Codec[any]{"generic": g, "typed": typed, "resolved": older} {
		raw := append([]byte(nil), data...)
		if name == "resolved" {
			raw = append([]byte{2}, raw...)
		}
		var v any
		require.NoError(t, c.Decode(raw, &v))
		for i := range raw {
			raw[i] = 0xff
		}
		require.Equal(t, in, v, name)
	}
}

func rat(a, b int64) any { return newRat(a, b) }

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	c, g := newCodec[order](t, orderSchema), newGeneric(t, orderSchema)
	older, err := c.WithWriter(strings.Replace(orderSchema, `{"name":"quantity","type":"int"}`, `{"name":"gone","type":"string"},{"name":"quantity","type":"int"}`, 1))
	require.NoError(t, err)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			in := sampleOrder()
			in.ID = int64(i)
			for range 200 {
				data, err := c.Append(nil, in)
				if err != nil {
					t.Error(err)
				}
				var out order
				var v any
				if err := c.Decode(data, &out); err != nil || out.ID != in.ID {
					t.Error(err, out.ID)
				}
				if err := g.Decode(data, &v); err != nil || v.(map[string]any)["id"] != in.ID {
					t.Error(err, v)
				}
				_ = older.Decode(data, &out)
			}
		})
	}
	group.Wait()
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	record := func(fields string) string { return `{"type":"record","name":"R","fields":[` + fields + `]}` }
	type a struct {
		A string `avro:"a"`
	}
	try := func(_ any, err error) error { return err }
	for name, c := range map[string]struct {
		err  error
		want []string
	}{
		"not JSON":          {try(avro.New[a]("{")), []string{"avro: schema"}},
		"unknown type":      {try(avro.New[a](record(`{"name":"a","type":"strin"}`))), []string{"strin"}},
		"bad default":       {try(avro.New[a](record(`{"name":"a","type":"int","default":"x"}`))), []string{`"a"`}},
		"twice":             {try(avro.New[a](record(`{"name":"a","type":"int"},{"name":"a","type":"int"}`))), []string{`"a"`}},
		"generic":           {try(avro.NewGeneric(record(`{"name":"a","type":"strin"}`))), []string{"strin"}},
		"reference":         {try(avro.New[a](record(`{"name":"a","type":"B"}`), `{"type":"fixed","name":"B"}`)), []string{"reference 0"}},
		"other kind":        {try(avro.New[a](record(`{"name":"a","type":"int"}`))), []string{"avro: a: string can't hold int"}},
		"field not in T":    {try(avro.New[a](record(`{"name":"a","type":"string"},{"name":"b","type":"int"}`))), []string{"avro: b: ", `avro:"b"`}},
		"field not in data": {try(avro.New[line](record(`{"name":"sku","type":"string"},{"name":"count","type":"int"}`))), []string{"Price", "get lost"}},
		"null":              {try(avro.New[a](record(`{"name":"a","type":["null","string"]}`))), []string{"avro: a: ", "*string"}},
		"nested": {
			try(avro.New[order](strings.Replace(orderSchema, `"price","type":"double"`, `"price","type":"string"`, 1))),
			[]string{"avro: lines[].price: float64 can't hold string"},
		},
		"float32 for double": {try(avro.New[struct {
			A float32 `avro:"a"`
		}](record(`{"name":"a","type":"double"}`))), []string{"avro: a: ", "float64"}},
		"int for double": {try(avro.New[struct {
			A int64 `avro:"a"`
		}](record(`{"name":"a","type":"double"}`))), []string{"avro: a: int64 can't hold double"}},
		"float for decimal": {try(avro.New[struct {
			A float64 `avro:"a"`
		}](record(`{"name":"a","type":{"type":"bytes","logicalType":"decimal","precision":5,"scale":2}}`))), []string{"*big.Rat", "decimal(5,2)"}},
		"time.Time for a time of day": {try(avro.New[struct {
			A time.Time `avro:"a"`
		}](record(`{"name":"a","type":{"type":"int","logicalType":"time-millis"}}`))), []string{"time.Duration"}},
		"interface": {try(avro.New[struct {
			A error `avro:"a"`
		}](record(`{"name":"a","type":"string"}`))), []string{"only any"}},
		"map for a record of another kind": {try(avro.New[map[string]string](record(`{"name":"a","type":"string"}`))), []string{"can't hold record R"}},
		"alone":                            {try(avro.New[int](`"string"`)), []string{"avro: int can't hold string"}},
	} {
		require.Error(t, c.err, name)
		for _, want := range c.want {
			require.ErrorContains(t, c.err, want, name)
		}
	}
}

func TestReferences(t *testing.T) {
	t.Parallel()
	const (
		city    = `{"type":"record","name":"geo.City","fields":[{"name":"name","type":"string"}]}`
		home    = `{"type":"record","name":"geo.Home","fields":[{"name":"city","type":"City"}]}`
		person  = `{"type":"record","name":"Person","fields":[{"name":"home","type":"geo.Home"},{"name":"birth","type":"geo.City"}]}`
		written = `{"type":"record","name":"Person","fields":[{"name":"birth","type":"geo.City"},{"name":"home","type":"geo.Home"}]}`
	)
	type cityT struct {
		Name string `avro:"name"`
	}
	type homeT struct {
		City cityT `avro:"city"`
	}
	type personT struct {
		Home  homeT `avro:"home"`
		Birth cityT `avro:"birth"`
	}
	c := newCodec[personT](t, person, city, home)
	data, err := c.Append(nil, personT{homeT{cityT{"A"}}, cityT{"B"}})
	require.NoError(t, err)
	require.Equal(t, "\x02A\x02B", string(data))
	_ = newCodec[personT](t, c.Schema()) // complete

	other, err := c.WithWriter(written, city, home)
	require.NoError(t, err)
	var p personT
	require.NoError(t, other.Decode(data, &p))
	require.Equal(t, personT{homeT{cityT{"B"}}, cityT{"A"}}, p)
	back, err := other.Append(nil, p)
	require.NoError(t, err)
	require.Equal(t, "\x02B\x02A", string(back), "it appends its own schema")

	g := newGeneric(t, person, city, home)
	og, err := g.WithWriter(written, city, home)
	require.NoError(t, err)
	var v any
	require.NoError(t, og.Decode(data, &v))
	require.Equal(t, map[string]any{"home": map[string]any{"city": map[string]any{"name": "B"}}, "birth": map[string]any{"name": "A"}}, v)

	_, err = c.WithWriter(written, city)
	require.Error(t, err)
}

func TestTrailingBytes(t *testing.T) {
	t.Parallel()
	c, g := newCodec[string](t, `"string"`), newGeneric(t, `"string"`)
	var s string
	var v any
	require.EqualError(t, c.Decode([]byte("\x02ab"), &s), "avro: 1 bytes behind the datum")
	require.EqualError(t, g.Decode([]byte("\x02ab"), &v), "avro: 1 bytes behind the datum")
	rest, err := c.DecodeNext([]byte("\x02ab"), &s)
	require.NoError(t, err)
	require.Equal(t, "a", s)
	require.Equal(t, "b", string(rest))
	rest, err = g.DecodeNext([]byte("\x02ab"), &v)
	require.NoError(t, err)
	require.Equal(t, "a", v)
	require.Equal(t, "b", string(rest))
}

func TestAppendKeepsDst(t *testing.T) {
	t.Parallel()
	c, g := newCodec[order](t, orderSchema), newGeneric(t, orderSchema)
	bad := sampleOrder()
	bad.Status = "LOST"
	fine := sampleOrder()
	fine.Updated = fine.Updated.Add(1)
	for _, o := range []order{bad, fine} {
		kept := append(make([]byte, 0, 1024), "kept"...)
		_, err := c.Append(kept, o)
		require.Error(t, err)
		require.Equal(t, "kept", string(kept))
	}
	kept := append(make([]byte, 0, 1024), "kept"...)
	_, err := g.Append(kept, map[string]any{"id": int64(1)})
	require.Error(t, err)
	require.Equal(t, "kept", string(kept))
}

func TestAppendAllocatesNothing(t *testing.T) {
	type flat struct {
		A int64     `avro:"a"`
		B string    `avro:"b"`
		T time.Time `avro:"t"`
	}
	c := newCodec[flat](t, `{"type":"record","name":"R","fields":[{"name":"a","type":"long"},{"name":"b","type":"string"},
		{"name":"t","type":{"type":"long","logicalType":"timestamp-millis"}}]}`)
	dst := make([]byte, 0, 64)
	v := flat{1, "text", time.UnixMilli(5)}
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() {
		if _, err := c.Append(dst, v); err != nil {
			t.Error(err)
		}
	}), 0.1)
}
