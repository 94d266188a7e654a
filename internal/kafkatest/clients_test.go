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
)

// TestClientsReadEachOther has each client read what the other one has written, byte for byte and on the same partitions.
func TestClientsReadEachOther(t *testing.T) {
	t.Parallel()
	addr := broker(t)
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
	for i := range compressions {
		for _, writer := range clients {
			writer := writer.connect(t, addr)
			topic := writer.topic(t, 5)
			writer.write(t, topic, compressions[i], want)
			for _, reader := range clients {
				reader := reader.connect(t, addr)
				got := make(map[string]weaver.Record[[]byte])
				var mu sync.Mutex
				p := weaver.Copy(withSplit{reader.source(topic, reading{})}, weaver.SinkFunc[[]byte](func(_ context.Context, b *weaver.Batch[[]byte]) error {
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
				p.Bounded = true
				require.NoError(t, p.Run(t.Context()))
				require.Len(t, got, len(want))
				for _, w := range want {
					id := string(w.Key)
					if w.Key == nil {
						id = "no key"
					}
					require.Equal(t, w, got[id], "compression %s, written by %s, read by %s", compressions[i], writer.name, reader.name)
				}
			}
		}
	}
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
	out = cloned(r)
	out.Seq, out.Headers = 0, out.Headers[:last:last]
	if last == 0 {
		out.Headers = nil
	}
	if id = string(r.Key); r.Key == nil {
		id = "no key"
	}
	return id, split, out
}
