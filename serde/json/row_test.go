package json_test

import (
	stdjson "encoding/json"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/row"
	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/json"
)

func TestRow(t *testing.T) {
	t.Parallel()
	var codec serde.Codec[row.Row] = json.Codec[row.Row]{}
	const text = `{"id":9007199254740993,"total":129.50,"name":"Jones & Söhne","note":null,"paid":true,"lines":[{"sku":"A"}]}`
	r := row.Row{Values: []row.Value{row.Int(1)}}
	require.NoError(t, codec.Decode([]byte(" "+text+"\n"), &r))
	require.Equal(t, row.Int(9007199254740993), r.Get("id"))
	require.Equal(t, row.Decimal("129.50"), r.Get("total"))
	require.Equal(t, row.JSON(`[{"sku":"A"}]`), r.Get("lines"))
	data, err := codec.Append([]byte("before "), r)
	require.NoError(t, err)
	require.Equal(t, "before "+text, string(data))

	for _, bad := range []string{"", "null", "5", `{"a":1,"a":2}`, `{"a":1} {}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}", `{"a":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "}"} {
		require.Error(t, codec.Decode([]byte(bad), &r), "%.30s", bad)
	}
	cols, err := row.NewColumns(row.Column{Name: "x"})
	require.NoError(t, err)
	kept := append(make([]byte, 0, 100), "kept"...)
	got, err := codec.Append(kept, row.Row{Columns: cols, Values: []row.Value{row.Float(math.NaN())}})
	require.EqualError(t, err, `row: column "x": JSON has no word for NaN and the infinities`)
	require.Equal(t, "kept", string(got))

	// Where another library was plugged in, that does it.
	plugged := json.Codec[row.Row]{Marshal: stdjson.Marshal, Unmarshal: stdjson.Unmarshal}
	require.NoError(t, plugged.Decode([]byte(text), &r))
	data, err = plugged.Append(nil, r)
	require.NoError(t, err)
	require.JSONEq(t, text, string(data))

	// Rows inside of other types are read and written by themselves.
	type event struct {
		Before *row.Row `json:"before"`
		After  row.Row  `json:"after"`
	}
	var e event
	require.NoError(t, json.Codec[event]{}.Decode([]byte(`{"before":null,"after":`+text+`}`), &e))
	data, err = json.Codec[event]{}.Append(nil, e)
	require.NoError(t, err)
	require.Equal(t, `{"before":null,"after":`+text+`}`, string(data))
}

// A codec is safe for concurrent use, and what one goroutine reads is never another's.
func TestRowsConcurrently(t *testing.T) {
	t.Parallel()
	texts := []string{`{"a":"one","b":2}`, `{"b":"three","a":4.5}`, `{"c":[1,"x"]}`, `{"a":"six"}`}
	var codec json.Codec[row.Row]
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rows := make([]row.Row, 400)
			for i := range rows {
				if err := codec.Decode([]byte(texts[(i+g)%len(texts)]), &rows[i]); err != nil {
					t.Error(err)
					return
				}
			}
			for i, r := range rows {
				if data, err := codec.Append(nil, r); err != nil || string(data) != texts[(i+g)%len(texts)] {
					t.Error(string(data), err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkRow(b *testing.B) {
	var codec serde.Codec[row.Row] = json.Codec[row.Row]{}
	var r row.Row
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := codec.Decode(sample, &r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			var err error
			if dst, err = codec.Append(dst[:0], r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode map", func(b *testing.B) {
		b.ReportAllocs()
		var m map[string]any
		for b.Loop() {
			if err := (json.Codec[map[string]any]{}).Decode(sample, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
}
