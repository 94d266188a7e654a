package avrofile_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/avrofile"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/serde/avro"
)

type order struct {
	ID    int64     `avro:"id"`
	Shop  string    `avro:"shop"`
	Raw   []byte    `avro:"raw"`
	Lines []float64 `avro:"lines"`
	Note  *string   `avro:"note"`
	At    time.Time `avro:"at"`
}

const orderSchema = `{"type":"record","name":"order","fields":[
	{"name":"id","type":"long"},
	{"name":"shop","type":"string"},
	{"name":"raw","type":"bytes"},
	{"name":"lines","type":{"type":"array","items":"double"}},
	{"name":"note","type":["null","string"],"default":null},
	{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}}]}`

func orderOf(i int) order {
	o := order{
		ID: int64(i), Shop: fmt.Sprint("shop ", i%7), Raw: []byte(strings.Repeat("raw", i%5+1)), Lines: []float64{float64(i) / 3, -1}[:i%2+1],
		At: time.UnixMilli(int64(i) * 1234).UTC(),
	}
	if i%3 == 0 {
		note := fmt.Sprint("note ", i)
		o.Note = &note
	}
	return o
}

func orders(from, n int) []order {
	var all []order
	for i := range n {
		all = append(all, orderOf(from+i))
	}
	return all
}

// native is what orderOf is to goavro.
func native(o order) map[string]any {
	m := map[string]any{"id": o.ID, "shop": o.Shop, "raw": o.Raw, "lines": []any{}, "note": nil, "at": o.At}
	for _, l := range o.Lines {
		m["lines"] = append(m["lines"].([]any), l)
	}
	if o.Note != nil {
		m["note"] = map[string]any{"string": *o.Note}
	}
	return m
}

func orderCodec(t testing.TB) *avro.Codec[order] {
	t.Helper()
	c, err := avro.New[order](orderSchema)
	require.NoError(t, err)
	return c
}

var compressions = []avrofile.Compression{avrofile.Null, avrofile.Deflate, avrofile.Snappy, avrofile.Zstandard}

func batch[T any](values ...T) *weaver.Batch[T] {
	b := weaver.NewBatch[T](0, 0)
	for _, v := range values {
		b.Add().Value = v
	}
	return b
}

// store writes values, with a commit behind so many of them.
func store[T any](t testing.TB, f *file.File[T], each int, values ...T) {
	t.Helper()
	x, err := f.OpenWriter(t.Context(), weaver.Lane{Pipeline: "p"})
	require.NoError(t, err)
	w := x.(weaver.Checkpointer)
	_, err = w.Restore(t.Context())
	require.NoError(t, err)
	for len(values) > 0 {
		n := min(each, len(values))
		require.NoError(t, x.Write(t.Context(), batch(values[:n]...)))
		require.NoError(t, w.Commit(t.Context(), []byte("e")))
		values = values[n:]
	}
	require.NoError(t, x.Close())
}

// item is a record or a reject.
type item[T any] struct {
	Seq   int64
	Value T
	Err   string
}

// drain reads to the end, and returns what came, by batches, and the position behind each.
func drain[T any](t testing.TB, f *file.File[T], from weaver.Position, size int) (items []item[T], at []weaver.Position) {
	t.Helper()
	r, err := f.OpenReader(t.Context(), weaver.Lane{Position: from})
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	b := weaver.NewBatch[T](size, 0)
	for {
		b.Reset()
		p, err := r.Read(t.Context(), b)
		for _, rec := range b.Records {
			items = append(items, item[T]{Seq: rec.Seq, Value: rec.Value})
		}
		for _, x := range b.Rejects() {
			items = append(items, item[T]{Seq: x.Seq, Err: x.Err.Error()})
		}
		at = append(at, append(weaver.Position{}, p...))
		if errors.Is(err, io.EOF) {
			return items, at
		}
		require.NoError(t, err)
	}
}

func values[T any](t testing.TB, f *file.File[T]) []T {
	t.Helper()
	items, _ := drain(t, f, nil, 100)
	var all []T
	for _, x := range items {
		require.Empty(t, x.Err)
		all = append(all, x.Value)
	}
	return all
}

func slurp(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func put(t testing.TB, path, data string) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(data), 0o600))
	return path
}

func in(t testing.TB, name string) string { return filepath.Join(t.TempDir(), name) }
