package kafkatest

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/franz"
	"github.com/bohica-labs/dataweaver/framework/kafka"
)

// quiet is a log nobody reads.
var quiet = slog.New(slog.DiscardHandler)

// missing skips a test for which something isn't there, and fails it where all has to be there.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// broker returns the address of a real broker.
func broker(t testing.TB) string {
	t.Helper()
	addr := os.Getenv("WEAVER_TEST_KAFKA")
	if addr == "" {
		missing(t, "needs a broker: run make test, or internal/services/with kafka kcat -- bash -c 'cd internal/kafkatest && go test ./...'")
	}
	return addr
}

// client is a package that wraps Kafka.
type client struct {
	name    string
	open    func(addr string) weaver.Framework
	produce func(fw weaver.Framework, topic string, c kafka.Compression) weaver.Sink[[]byte]
	consume func(fw weaver.Framework, topic string, how reading) weaver.Source[[]byte]
}

// reading is how a topic is read.
type reading struct {
	uncommitted bool
	maxBytes    int // 0: the default
}

var clients = []client{
	{
		name: "kafka",
		open: func(addr string) weaver.Framework { return kafka.New(addr) },
		produce: func(fw weaver.Framework, topic string, c kafka.Compression) weaver.Sink[[]byte] {
			p := fw.(*kafka.Framework).Producer(topic)
			p.Compression = c
			return p
		},
		consume: func(fw weaver.Framework, topic string, how reading) weaver.Source[[]byte] {
			c := fw.(*kafka.Framework).Consumer(topic, "")
			c.ReadUncommitted, c.MaxBytes = how.uncommitted, how.maxBytes
			return c
		},
	},
	{
		name: "franz",
		open: func(addr string) weaver.Framework { return franz.New(addr) },
		produce: func(fw weaver.Framework, topic string, c kafka.Compression) weaver.Sink[[]byte] {
			p := fw.(*franz.Framework).Producer(topic)
			p.Compression = franz.Compression(c)
			return p
		},
		consume: func(fw weaver.Framework, topic string, how reading) weaver.Source[[]byte] {
			c := fw.(*franz.Framework).Consumer(topic, "")
			c.ReadUncommitted, c.MaxBytes = how.uncommitted, how.maxBytes
			return c
		},
	},
}

// compressions are all there are. Their numbers are the same in both clients, and in Kafka's format.
var compressions = []kafka.Compression{kafka.Uncompressed, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd}

// connected is a client and its connection.
type connected struct {
	client
	fw weaver.Framework
}

// connect opens a client until the test ends.
func (c client) connect(t testing.TB, addr string) connected {
	t.Helper()
	fw := c.open(addr)
	t.Cleanup(func() { require.NoError(t, fw.Close()) })
	return connected{c, fw}
}

// topic makes a topic that nobody else uses.
func (c connected) topic(t testing.TB, partitions int) string {
	t.Helper()
	name := unique(t)
	require.NoError(t, c.fw.CreateStream(t.Context(), weaver.Stream{Name: name, Partitions: partitions}))
	return name
}

// write writes records as one batch.
func (c connected) write(t testing.TB, topic string, packed kafka.Compression, records []weaver.Record[[]byte]) {
	t.Helper()
	write(t, c.produce(c.fw, topic, packed), records)
}

// source reads a topic.
func (c connected) source(topic string, how reading) weaver.Source[[]byte] {
	return c.consume(c.fw, topic, how)
}

// unique names a topic that nobody else uses.
func unique(t testing.TB) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name())
	return fmt.Sprintf("%s-%x", name, rand.Uint64())
}

// write writes records as one batch.
func write(t testing.TB, sink weaver.Sink[[]byte], records []weaver.Record[[]byte]) {
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

// recordsOf reads what a source has, in memory of its own.
func recordsOf(t testing.TB, source weaver.Source[[]byte]) (all []weaver.Record[[]byte]) {
	t.Helper()
	var mu sync.Mutex
	p := weaver.Copy(source, weaver.SinkFunc[[]byte](func(_ context.Context, b *weaver.Batch[[]byte]) error {
		mu.Lock()
		defer mu.Unlock()
		for i := range b.Records {
			all = append(all, cloned(&b.Records[i]))
		}
		return nil
	}))
	p.Log = quiet
	p.Bounded = true
	require.NoError(t, p.Run(t.Context()))
	return all
}

// cloned returns a record in memory of its own.
func cloned(r *weaver.Record[[]byte]) weaver.Record[[]byte] {
	out := *r
	out.Key, out.Value, out.Headers = slices.Clone(r.Key), slices.Clone(r.Value), nil
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, weaver.Header{Key: h.Key, Value: slices.Clone(h.Value)})
	}
	return out
}

// readFrom reads what the one partition of a topic holds from an offset on. Both clients have the same positions: a version, the
// offset, and a leader epoch, which is not known here.
func readFrom(t testing.TB, source weaver.Source[[]byte], offset int64) (got []weaver.Record[[]byte]) {
	t.Helper()
	s, err := source.(weaver.Splitter).Splits(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	change, err := s.Next(t.Context())
	require.NoError(t, err)
	require.Len(t, change.Add, 1)
	p := binary.BigEndian.AppendUint64([]byte{1}, uint64(offset))
	p = binary.BigEndian.AppendUint32(p, 1<<32-1)
	r, err := source.OpenReader(t.Context(), weaver.Lane{Split: change.Add[0], Position: p, Log: quiet})
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	require.NoError(t, r.(weaver.Finisher).Finish(t.Context()))
	for {
		b := weaver.NewBatch[[]byte](0, 0)
		_, err := r.Read(t.Context(), b)
		require.Empty(t, b.Rejects())
		got = append(got, b.Records...)
		if err == io.EOF { //nolint:errorlint // counts only as it is
			return got
		}
		require.NoError(t, err)
	}
}
