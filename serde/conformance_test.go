package serde_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/weavertest"
)

func TestSourceContract(t *testing.T) {
	t.Parallel()
	want := map[string][]weaver.Record[int]{}
	for _, split := range []string{"a", "b"} {
		for i := range 20 {
			want[split] = append(want[split], weaver.Record[int]{
				Value: i, Seq: int64(i), Key: []byte(split), Headers: weaver.Headers{{Key: "i", Value: fmt.Append(nil, i)}},
			})
		}
	}
	require.NoError(t, weavertest.TestSource(t.Context(), weavertest.SourceCase[int]{
		New: func(context.Context) (weaver.Source[int], error) {
			src := weavertest.NewSource[[]byte]()
			for split, records := range want {
				for _, r := range records {
					src.Add(split, weaver.Record[[]byte]{Value: fmt.Append(nil, r.Value), Seq: r.Seq, Key: r.Key, Headers: r.Headers})
				}
			}
			return serde.Source(src, number), nil
		},
		Want: want,
	}))
}

func TestSinkContract(t *testing.T) {
	t.Parallel()
	require.NoError(t, weavertest.TestSink(t.Context(), weavertest.SinkCase[int]{
		New: func(context.Context) (weaver.Sink[int], func(context.Context) ([]weaver.Record[int], error), error) {
			sink := weavertest.NewSink[[]byte]()
			return serde.Sink(sink, number), func(context.Context) ([]weaver.Record[int], error) {
				var all []weaver.Record[int]
				for _, r := range sink.Durable() {
					out := weaver.Record[int]{Key: r.Key, Op: r.Op, Time: r.Time, Headers: r.Headers, Seq: r.Seq}
					if err := number.Decode(r.Value, &out.Value); err != nil {
						return nil, err
					}
					all = append(all, out)
				}
				return all, nil
			}, nil
		},
		Record: func(i int) weaver.Record[int] { return weaver.Record[int]{Value: i, Key: fmt.Append(nil, i%3)} },
		Poison: func() weaver.Record[int] { return weaver.Record[int]{Value: -1} },
	}))
}
