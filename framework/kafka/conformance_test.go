package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/weavertest"
)

func TestFramework(t *testing.T) {
	t.Parallel()
	addr := broker(t)
	require.NoError(t, weavertest.TestFramework(t.Context(), weavertest.FrameworkCase{
		New:      func(context.Context) (weaver.Framework, error) { return New(addr), nil },
		Patience: time.Minute,
	}))
}

// TestSource checks a consumer with and without a group; the topic keeps its name and its records, each rule gets a group
// of its own.
func TestSource(t *testing.T) {
	t.Parallel()
	fw := connect(t, broker(t))
	topic := newTopic(t, fw, 2)
	const n = 12
	recs := make([]weaver.Record[[]byte], n)
	want := make(map[string][]weaver.Record[[]byte])
	when := time.UnixMilli(1_700_000_000_000).UTC()
	for i := range recs {
		recs[i] = weaver.Record[[]byte]{Key: []byte(strconv.Itoa(i)), Value: fmt.Appendf(nil, "value %d", i), Time: when.Add(time.Duration(i) * time.Second)}
		id := splitID(topic, partitionOf(recs[i].Key, 2))
		want[id] = append(want[id], recs[i])
	}
	put(t, fw, topic, recs...)
	for _, grouped := range []bool{false, true} {
		t.Run(fmt.Sprint("group ", grouped), func(t *testing.T) {
			t.Parallel()
			require.NoError(t, weavertest.TestSource(t.Context(), weavertest.SourceCase[[]byte]{
				New: func(context.Context) (weaver.Source[[]byte], error) {
					if grouped {
						return brisk(fw.Consumer(topic, unique(t))), nil
					}
					return brisk(fw.Consumer(topic, "")), nil
				},
				Want:     want,
				Endless:  true,
				Patience: time.Minute,
			}))
		})
	}
}

func TestSink(t *testing.T) {
	t.Parallel()
	fw := connect(t, broker(t))
	require.NoError(t, weavertest.TestSink(t.Context(), weavertest.SinkCase[[]byte]{
		New: func(ctx context.Context) (weaver.Sink[[]byte], func(context.Context) ([]weaver.Record[[]byte], error), error) {
			topic := unique(t)
			err := fw.CreateStream(ctx, weaver.Stream{Name: topic, Partitions: 1})
			return fw.Producer(topic), func(ctx context.Context) ([]weaver.Record[[]byte], error) {
				var all collected
				err := runToEnd(ctx, weaver.Copy[[]byte](brisk(fw.Consumer(topic, "")), all.sink()))
				return all.records, err
			}, err
		},
		Record: func(i int) weaver.Record[[]byte] {
			return weaver.Record[[]byte]{
				Key: []byte(strconv.Itoa(i)), Value: fmt.Appendf(nil, "value %d", i), Time: time.UnixMilli(1_700_000_000_000 + int64(i)).UTC(),
				Headers: weaver.Headers{{Key: "h", Value: []byte{byte(i)}}},
			}
		},
		Poison:   func() weaver.Record[[]byte] { return weaver.Record[[]byte]{Value: make([]byte, 2<<20)} },
		Patience: time.Minute,
	}))
}

// TestClosedFramework says so wherever it is used.
func TestClosedFramework(t *testing.T) {
	t.Parallel()
	fw := New(broker(t))
	require.NoError(t, fw.Close())
	require.NoError(t, fw.Close())
	ctx := t.Context()
	_, err := fw.Consumer("t", "g").Splits(ctx)
	require.ErrorIs(t, err, ErrClosed)
	_, err = fw.Producer("t").OpenWriter(ctx, weaver.Lane{})
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, fw.CreateStream(ctx, weaver.Stream{Name: "t"}), ErrClosed)
	require.True(t, errors.Is(fw.CheckHealth(ctx), ErrClosed))
}
