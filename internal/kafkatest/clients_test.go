package kafkatest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/franz"
	"github.com/bohica-labs/dataweaver/framework/kafka"
)

// TestClientsReadEachOther has each client read what the other one has written, byte for byte and on the same partitions. What
// framework/kafka writes and reads is held against kcat and Java's clients in its own tests.
func TestClientsReadEachOther(t *testing.T) {
	t.Parallel()
	addr := broker(t)
	byKafka, byFranz := kafka.New(addr), franz.New(addr)
	t.Cleanup(func() {
		require.NoError(t, byKafka.Close())
		require.NoError(t, byFranz.Close())
	})
	when := time.UnixMilli(1_700_000_000_123).UTC()
	want := []weaver.Record[[]byte]{
		{Key: nil, Value: []byte("no key"), Time: when},
		{Key: []byte{}, Value: []byte("an empty key"), Time: when},
		{Key: []byte("\x00\xff"), Value: []byte{}, Time: when},
		{Key: []byte("gone"), Op: weaver.Delete, Time: when},
		{Key: []byte("headers"), Value: []byte("v"), Time: when, Headers: weaver.Headers{
			{Key: "b", Value: []byte("1")}, {Key: "a", Value: []byte{}}, {Key: "b", Value: nil}, {Key: "", Value: []byte("no name")},
		}},
		{Key: []byte("large"), Value: []byte(strings.Repeat("0123456789", 30_000)), Time: when.Add(time.Hour)},
	}
	for i := range 300 {
		want = append(want, weaver.Record[[]byte]{Key: []byte(strconv.Itoa(i)), Value: fmt.Appendf(nil, "value %d", i), Time: when.Add(-time.Duration(i) * time.Minute)})
	}
	homes := make(map[string]string) // partitions of keys
	for i := range 5 {
		for _, fw := range []weaver.Framework{byKafka, byFranz} {
			topic := fmt.Sprintf("clients-%d-%x", i, time.Now().UnixNano())
			require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: topic, Partitions: 5}))
			var sink weaver.Sink[[]byte]
			switch fw {
			case weaver.Framework(byKafka):
				p := byKafka.Producer(topic)
				p.Compression = kafka.Compression(i)
				sink = p
			default:
				p := byFranz.Producer(topic)
				p.Compression = franz.Compression(i)
				sink = p
			}
			write(t, sink, want)
			for _, reader := range []weaver.Framework{byKafka, byFranz} {
				got := make(map[string]weaver.Record[[]byte])
				var mu sync.Mutex
				p := weaver.Copy(withSplit{reader.Consume(topic, "")}, weaver.SinkFunc[[]byte](func(_ context.Context, b *weaver.Batch[[]byte]) error {
					mu.Lock()
					defer mu.Unlock()
					for i := range b.Records {
						id, split, r := identity(&b.Records[i])
						if home, known := homes[id]; known && r.Key != nil && home != split {
							return fmt.Errorf("key %q is on partition %s, and was on %s", id, split, home)
						}
						homes[id] = split
						got[id] = r
					}
					return nil
				}))
				p.Log = quiet
				now := &ended{}
				p.After = now
				require.NoError(t, weaver.Run(t.Context(), p, now))
				require.Len(t, got, len(want))
				for _, w := range want {
					id := string(w.Key)
					if w.Key == nil {
						id = "no key"
					}
					require.Equal(t, w, got[id], "compression %d, written by %T, read by %T", i, fw, reader)
				}
			}
		}
	}
}

func write(t *testing.T, sink weaver.Sink[[]byte], records []weaver.Record[[]byte]) {
	t.Helper()
	w, err := sink.OpenWriter(t.Context(), weaver.Lane{Pipeline: "test", Log: quiet})
	require.NoError(t, err)
	b := weaver.NewBatch[[]byte](0, 0)
	for i := range records {
		*b.Add() = records[i]
	}
	require.NoError(t, w.Write(t.Context(), b))
	require.NoError(t, w.Close())
}

// withSplit adds a header with the number of the partition to what a source reads.
type withSplit struct{ weaver.Source[[]byte] }

// Unwrap returns the source.
func (s withSplit) Unwrap() any { return s.Source }

// OpenReader implements weaver.Source.
func (s withSplit) OpenReader(ctx context.Context, at weaver.Lane) (weaver.Reader[[]byte], error) {
	r, err := s.Source.OpenReader(ctx, at)
	_, number, _ := strings.Cut(at.Split.ID, "/")
	return splitReader{r, number}, err
}

type splitReader struct {
	weaver.Reader[[]byte]
	number string
}

// Unwrap returns the reader.
func (r splitReader) Unwrap() any { return r.Reader }

// Read implements weaver.Reader.
func (r splitReader) Read(ctx context.Context, b *weaver.Batch[[]byte]) (weaver.Position, error) {
	p, err := r.Reader.Read(ctx, b)
	for i := range b.Records {
		h := &b.Records[i].Headers
		*h = append(slices.Clone(*h), weaver.Header{Key: "split", Value: []byte(r.number)})
	}
	return p, err
}

// identity takes the header off, and returns the record in memory of its own.
func identity(r *weaver.Record[[]byte]) (id, split string, out weaver.Record[[]byte]) {
	last := len(r.Headers) - 1
	split = string(r.Headers[last].Value)
	out = *r
	out.Seq = 0
	out.Key, out.Value, out.Headers = slices.Clone(r.Key), slices.Clone(r.Value), nil
	for _, h := range r.Headers[:last] {
		out.Headers = append(out.Headers, weaver.Header{Key: h.Key, Value: slices.Clone(h.Value)})
	}
	if id = string(r.Key); r.Key == nil {
		id = "no key"
	}
	return id, split, out
}
