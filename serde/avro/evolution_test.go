package avro_test

import (
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/serde/avro"
)

func fields(f string) string { return `{"type":"record","name":"R","fields":[` + f + `]}` }

func f(name, schema string) string { return `{"name":"` + name + `","type":` + schema + `}` }

func fDefault(name, schema, value string) string {
	return `{"name":"` + name + `","type":` + schema + `,"default":` + value + `}`
}

// What is written with one schema and read by another, by both codecs, and what Compare says of the two.
func TestEvolution(t *testing.T) {
	t.Parallel()
	const (
		enumAB  = `{"type":"enum","name":"E","symbols":["A","B"]}`
		enumA   = `{"type":"enum","name":"E","symbols":["A"]}`
		enumADo = `{"type":"enum","name":"E","symbols":["A","OTHER"],"default":"OTHER"}`
		list    = `{"type":"record","name":"L","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","L"]}]}`
		list64  = `{"type":"record","name":"L","fields":[{"name":"v","type":"long"},{"name":"next","type":["null","L"]}]}`
	)
	for name, c := range map[string]struct {
		writer, reader string
		in, want       any
		fails          string // of this value
		changes        []string
		incompatible   bool
	}{
		"same": {writer: fields(f("a", `"int"`)), reader: fields(f("a", `"int"`)), in: map[string]any{"a": int32(1)}, want: map[string]any{"a": int32(1)}},
		"new field with a default": {
			writer: fields(f("a", `"int"`)), reader: fields(f("a", `"int"`) + "," + fDefault("b", `"string"`, `"x"`)),
			in: map[string]any{"a": int32(1)}, want: map[string]any{"a": int32(1), "b": "x"},
			changes: []string{"b: missing field: the writer has no such field, the default is used"},
		},
		"new field without a default": {
			writer: fields(f("a", `"int"`)), reader: fields(f("a", `"int"`) + "," + f("b", `"string"`)), incompatible: true,
			changes: []string{"b: missing field: the writer has no such field, and it has no default"},
		},
		"removed and reordered": {
			writer: fields(f("a", `"int"`) + "," + f("gone", `{"type":"map","values":{"type":"array","items":"bytes"}}`) + "," + f("b", `"string"`)),
			reader: fields(f("b", `"string"`) + "," + f("a", `"int"`)),
			in:     map[string]any{"a": int32(1), "b": "x", "gone": map[string]any{"k": []any{[]byte("v")}}}, want: map[string]any{"a": int32(1), "b": "x"},
			changes: []string{"gone: extra field: the reader has no such field"},
		},
		"alias": {
			writer: fields(f("old", `"int"`)), reader: fields(`{"name":"new","aliases":["old"],"type":"int"}`),
			in: map[string]any{"old": int32(1)}, want: map[string]any{"new": int32(1)},
			changes: []string{"new: renamed field: the writer's field old"},
		},
		"alias of a type": {
			writer: `{"type":"record","name":"Old","fields":[]}`, reader: `{"type":"record","name":"New","aliases":["Old"],"fields":[]}`,
			in: map[string]any{}, want: map[string]any{},
		},
		"other type name": {
			writer: `{"type":"record","name":"Old","fields":[]}`, reader: `{"type":"record","name":"New","fields":[]}`, incompatible: true,
			changes: []string{"the whole: incompatible type: the writer has record Old, the reader record New"},
		},
		"int to long": {
			writer: fields(f("a", `"int"`)), reader: fields(f("a", `"long"`)), in: map[string]any{"a": int32(-5)}, want: map[string]any{"a": int64(-5)},
			changes: []string{"a: promoted type: the writer has int, the reader long"},
		},
		"int to float":              {writer: `"int"`, reader: `"float"`, in: int32(7), want: float32(7), changes: []string{"the whole: promoted type: the writer has int, the reader float"}},
		"int to float that rounds":  {writer: `"int"`, reader: `"float"`, in: int32(1<<24 + 1), fails: "16777217", changes: []string{"the whole: promoted type: the writer has int, the reader float"}},
		"int to double":             {writer: `"int"`, reader: `"double"`, in: int32(1<<24 + 1), want: float64(1<<24 + 1), changes: []string{"the whole: promoted type: the writer has int, the reader double"}},
		"long to double":            {writer: `"long"`, reader: `"double"`, in: int64(1 << 60), want: float64(1 << 60), changes: []string{"the whole: promoted type: the writer has long, the reader double"}},
		"long to double, rounding":  {writer: `"long"`, reader: `"double"`, in: int64(1<<60 + 1), fails: "1152921504606846977", changes: []string{"the whole: promoted type: the writer has long, the reader double"}},
		"float to double":           {writer: `"float"`, reader: `"double"`, in: float32(0.1), want: float64(float32(0.1)), changes: []string{"the whole: promoted type: the writer has float, the reader double"}},
		"string to bytes":           {writer: `"string"`, reader: `"bytes"`, in: "x", want: []byte("x"), changes: []string{"the whole: promoted type: the writer has string, the reader bytes"}},
		"bytes to string":           {writer: `"bytes"`, reader: `"string"`, in: []byte("x"), want: "x", changes: []string{"the whole: promoted type: the writer has bytes, the reader string"}},
		"widened":                   {writer: `"long"`, reader: `"int"`, incompatible: true, changes: []string{"the whole: widened type: the writer has long, the reader int"}},
		"widened in a union":        {writer: `"long"`, reader: `["null","int"]`, incompatible: true, changes: []string{"the whole: widened type: the writer has long, the reader union of null, int"}},
		"null allowed":              {writer: `["null","int"]`, reader: `"int"`, incompatible: true, changes: []string{"the whole: widened type: the writer has null, the reader int"}},
		"incompatible":              {writer: fields(f("a", `"int"`)), reader: fields(f("a", `"string"`)), incompatible: true, changes: []string{"a: incompatible type: the writer has int, the reader string"}},
		"array of incompatible":     {writer: `{"type":"array","items":"int"}`, reader: `{"type":"array","items":"boolean"}`, incompatible: true, changes: []string{"[]: incompatible type: the writer has int, the reader boolean"}},
		"into a union":              {writer: `"int"`, reader: `["null","long"]`, in: int32(3), want: map[string]any{"long": int64(3)}, changes: []string{"the whole: promoted type: the writer has int, the reader long"}},
		"out of a union":            {writer: `["int","long"]`, reader: `"long"`, in: map[string]any{"int": int32(3)}, want: int64(3), changes: []string{"the whole: promoted type: the writer has int, the reader long"}},
		"union to union, reordered": {writer: `["null","int","string"]`, reader: `["string","int","null"]`, in: map[string]any{"string": "x"}, want: map[string]any{"string": "x"}},
		"union that has more":       {writer: `["null","int","string"]`, reader: `["null","int"]`, incompatible: true, changes: []string{"the whole: incompatible type: the writer has string, the reader union of null, int"}},
		"symbol without default":    {writer: enumAB, reader: enumA, incompatible: true, changes: []string{"the whole: extra symbol: the reader has no symbol B"}},
		"symbol with default":       {writer: enumAB, reader: enumADo, in: "B", want: "OTHER", changes: []string{"the whole: extra symbol: the reader has no symbol B"}},
		"symbol known":              {writer: enumAB, reader: enumADo, in: "A", want: "A", changes: []string{"the whole: extra symbol: the reader has no symbol B"}},
		"fixed of another size": {
			writer: `{"type":"fixed","name":"F","size":3}`, reader: `{"type":"fixed","name":"F","size":4}`, incompatible: true,
			changes: []string{"the whole: incompatible type: the writer has 3 bytes, the reader 4"},
		},
		"recursive": {
			writer: list, reader: list64,
			in:      map[string]any{"v": int32(1), "next": map[string]any{"L": map[string]any{"v": int32(2), "next": nil}}},
			want:    map[string]any{"v": int64(1), "next": map[string]any{"L": map[string]any{"v": int64(2), "next": nil}}},
			changes: []string{"v: promoted type: the writer has int, the reader long"},
		},
		"decimal of another scale": {
			writer: `{"type":"bytes","logicalType":"decimal","precision":6,"scale":2}`, reader: `{"type":"bytes","logicalType":"decimal","precision":6,"scale":3}`,
			incompatible: true, changes: []string{"the whole: incompatible type: the writer has decimal(6,2), the reader decimal(6,3)"},
		},
		"another unit of time": {
			writer: logical("long", "timestamp-millis"), reader: logical("long", "timestamp-micros"),
			incompatible: true, changes: []string{"the whole: incompatible type: the writer has timestamp-millis, the reader timestamp-micros"},
		},
		"a time that wasn't called one": {writer: `"long"`, reader: logical("long", "timestamp-millis"), in: int64(5), want: time.UnixMilli(5).UTC()},
		"two fields for one": {
			writer: fields(f("a", `"int"`) + "," + f("b", `"int"`)), reader: fields(`{"name":"b","aliases":["a"],"type":"int"}`), incompatible: true,
			changes: []string{"b: incompatible type: the writer's field a is taken for it as well as another one"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changes, err := avro.Compare(c.writer, c.reader)
			require.NoError(t, err)
			var texts []string
			broken := false
			for _, change := range changes {
				texts = append(texts, change.String())
				broken = broken || change.Breaks
			}
			require.Equal(t, c.changes, texts)
			require.Equal(t, c.incompatible, broken)

			typed, err := newCodec[any](t, c.reader).WithWriter(c.writer)
			generic, gerr := newGeneric(t, c.reader).WithWriter(c.writer)
			if c.incompatible {
				for _, err := range []error{err, gerr, avro.Compatible(c.writer, c.reader)} {
					var e *avro.IncompatibleError
					require.ErrorAs(t, err, &e)
					require.Equal(t, changes[0], e.Changes[0])
				}
				return
			}
			require.NoError(t, err)
			require.NoError(t, gerr)
			require.NoError(t, avro.Compatible(c.writer, c.reader))
			data, err := newGeneric(t, c.writer).Append(nil, c.in)
			require.NoError(t, err)
			var v, w any
			err, gerr = typed.Decode(data, &v), generic.Decode(data, &w)
			if c.fails != "" {
				require.ErrorContains(t, err, c.fails)
				require.ErrorContains(t, gerr, c.fails)
				return
			}
			require.NoError(t, err)
			require.NoError(t, gerr)
			require.Equal(t, c.want, v)
			require.Equal(t, c.want, w)
		})
	}
}

func TestEvolutionOfAStruct(t *testing.T) {
	t.Parallel()
	c := newCodec[order](t, orderSchema)
	old, err := c.WithWriter(`{"type":"record","name":"Order","fields":[
		{"name":"tags","type":{"type":"array","items":"bytes"}},
		{"name":"id","type":"int"},
		{"name":"note","type":["null","string"]},
		{"name":"customer","type":"string"},
		{"name":"quantity","type":"int"},
		{"name":"weight","type":"float"},
		{"name":"paid","type":"boolean"},
		{"name":"status","type":{"type":"enum","name":"Status","symbols":["DONE","NEW"]}},
		{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
		{"name":"created","type":{"type":"long","logicalType":"timestamp-millis"}},
		{"name":"updated","type":{"type":"long","logicalType":"timestamp-micros"}},
		{"name":"address","type":{"type":"record","name":"Address","fields":[
			{"name":"zip","type":"int"},{"name":"street","type":"string"},{"name":"city","type":"string"}]}},
		{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
			{"name":"price","type":"long"},{"name":"sku","type":"string"},{"name":"count","type":"int"}]}}}]}`)
	require.NoError(t, err)
	writer := newGeneric(t, `{"type":"record","name":"Order","fields":[
		{"name":"tags","type":{"type":"array","items":"bytes"}},
		{"name":"id","type":"int"},
		{"name":"note","type":["null","string"]},
		{"name":"customer","type":"string"},
		{"name":"quantity","type":"int"},
		{"name":"weight","type":"float"},
		{"name":"paid","type":"boolean"},
		{"name":"status","type":{"type":"enum","name":"Status","symbols":["DONE","NEW"]}},
		{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
		{"name":"created","type":{"type":"long","logicalType":"timestamp-millis"}},
		{"name":"updated","type":{"type":"long","logicalType":"timestamp-micros"}},
		{"name":"address","type":{"type":"record","name":"Address","fields":[
			{"name":"zip","type":"int"},{"name":"street","type":"string"},{"name":"city","type":"string"}]}},
		{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
			{"name":"price","type":"long"},{"name":"sku","type":"string"},{"name":"count","type":"int"}]}}}]}`)
	data, err := writer.Append(nil, map[string]any{
		"tags": []any{[]byte("t")}, "id": int32(7), "note": map[string]any{"string": "n"}, "customer": "Ann", "quantity": int32(1), "weight": float32(0.5),
		"paid": true, "status": "DONE", "amount": big.NewRat(5, 2), "created": time.UnixMilli(1).UTC(), "updated": time.UnixMicro(2).UTC(),
		"address": map[string]any{"zip": int32(1), "street": "s", "city": "c"}, "lines": []any{map[string]any{"price": int64(9), "sku": "k", "count": int32(2)}},
	})
	require.NoError(t, err)
	o := sampleOrder()
	require.NoError(t, old.Decode(data, &o))
	require.Equal(t, order{
		ID: 7, Customer: "Ann", Quantity: 1, Weight: 0.5, Paid: true, Status: "DONE", Amount: big.NewRat(5, 2), Created: time.UnixMilli(1).UTC(),
		Updated: time.UnixMicro(2).UTC(), Address: address{"s", "c", 1}, Lines: []line{{"k", 2, 9}}, Tags: []string{"t"},
	}, o)
}

func TestCompareNeedsSchemas(t *testing.T) {
	t.Parallel()
	_, err := avro.Compare("x", `"int"`)
	require.ErrorContains(t, err, "the writer's")
	_, err = avro.Compare(`"int"`, "x")
	require.ErrorContains(t, err, "the reader's")
	require.ErrorContains(t, avro.Compatible("x", `"int"`), "the writer's")
	require.ErrorContains(t, avro.Compatible(`"int"`, "x"), "the reader's")
}
