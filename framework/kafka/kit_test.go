package kafka

import (
	"context"
	"encoding/binary"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol/createpartitions"
	"github.com/segmentio/kafka-go/protocol/incrementalalterconfigs"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

// runToEnd runs a pipeline until it has read what is there.
func runToEnd[In, Out any](ctx context.Context, p *weaver.Pipeline[In, Out]) error {
	p.Bounded = true
	p.Log = quiet
	return p.Run(ctx)
}

// collected is a sink that keeps what it is given.
type collected struct {
	mu      sync.Mutex
	records []weaver.Record[[]byte]
}

func (c *collected) sink() weaver.Sink[[]byte] {
	return weaver.SinkFunc[[]byte](func(_ context.Context, b *weaver.Batch[[]byte]) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		for i := range b.Records {
			r := b.Records[i]
			r.Key, r.Value = slices.Clone(r.Key), slices.Clone(r.Value)
			r.Headers = slices.Clone(r.Headers)
			for j := range r.Headers {
				r.Headers[j].Value = slices.Clone(r.Headers[j].Value)
			}
			c.records = append(c.records, r)
		}
		return nil
	})
}

func (c *collected) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.records)
}

// values are all values, in order.
func (c *collected) values() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]string, len(c.records))
	for i := range c.records {
		out[i] = string(c.records[i].Value)
	}
	return out
}

// readAll reads what is in a topic.
func readAll(t testing.TB, c *Consumer) []weaver.Record[[]byte] {
	t.Helper()
	var all collected
	require.NoError(t, runToEnd(t.Context(), weaver.Copy[[]byte](c, all.sink())))
	return all.records
}

// newTopic makes a topic that nobody else uses.
func newTopic(t testing.TB, fw *Framework, partitions int) string {
	t.Helper()
	name := unique(t)
	require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: name, Partitions: partitions}))
	return name
}

// connect returns a Framework that is closed with the test.
func connect(t testing.TB, addr string) *Framework {
	t.Helper()
	fw := New(addr)
	t.Cleanup(func() { require.NoError(t, fw.Close()) })
	return fw
}

// put writes records.
func put(t testing.TB, fw *Framework, topic string, records ...weaver.Record[[]byte]) {
	t.Helper()
	w, err := fw.Producer(topic).OpenWriter(t.Context(), weaver.Lane{Log: quiet})
	require.NoError(t, err)
	b := weaver.NewBatch[[]byte](0, 0)
	for i := range records {
		*b.Add() = records[i]
	}
	require.NoError(t, w.Write(t.Context(), b))
	require.NoError(t, w.Close())
}

// background runs something until the test ends it, and returns how it ended.
func background(t testing.TB, run func(context.Context) error) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return stop
}

// eventually waits for something, for a minute at most.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, time.Minute, 10*time.Millisecond, what)
}

// deleteRecords deletes the records of partition 0 before an offset (KIP-107), which kafka-go doesn't know.
func deleteRecords(t testing.TB, c *conn, topic string, before int64) {
	t.Helper()
	const deleteRecordsKey, version = 21, 1
	b := []byte{0, 0, 0, 0, 0, deleteRecordsKey, 0, version, 0, 0, 0, 9, 0xff, 0xff}
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint16(b, uint16(len(topic)))
	b = append(b, topic...)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(before))
	b = binary.BigEndian.AppendUint32(b, 10_000)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	require.NoError(t, c.pc.SetDeadline(time.Now().Add(time.Minute)))
	_, err := c.pc.Write(b)
	require.NoError(t, err)
	var size [4]byte
	_, err = io.ReadFull(c.pc, size[:])
	require.NoError(t, err)
	answer := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err = io.ReadFull(c.pc, answer)
	require.NoError(t, err)
	require.Zero(t, binary.BigEndian.Uint16(answer[len(answer)-2:]), "error code")
}

// addPartitions makes a topic have more of them.
func addPartitions(t testing.TB, fw *Framework, topic string, count int32) {
	t.Helper()
	c, err := fw.dialController(t.Context())
	require.NoError(t, err)
	msg, err := c.roundTrip(t.Context(), &createpartitions.Request{
		Topics:    []createpartitions.RequestTopic{{Name: topic, Count: count}},
		TimeoutMs: 10_000,
	}, 0)
	require.NoError(t, err)
	for _, r := range msg.(*createpartitions.Response).Results {
		require.NoError(t, codeError(r.ErrorCode, r.ErrorMessage))
	}
	eventually(t, "the partitions are there", func() bool {
		info, err := c.topicNow(t.Context(), topic)
		return err == nil && len(info.partitions) == int(count) && info.led() && fw.answers(t.Context(), info) == nil
	})
	require.NoError(t, c.close())
}

// configure sets a setting of a topic.
func configure(t testing.TB, fw *Framework, topic, name, value string) {
	t.Helper()
	const topicResource = 2
	c, err := fw.dialController(t.Context())
	require.NoError(t, err)
	msg, err := c.roundTrip(t.Context(), &incrementalalterconfigs.Request{Resources: []incrementalalterconfigs.RequestResource{{
		ResourceType: topicResource, ResourceName: topic,
		Configs: []incrementalalterconfigs.RequestConfig{{Name: name, Value: value}},
	}}}, 0)
	require.NoError(t, err)
	for _, r := range msg.(*incrementalalterconfigs.Response).Responses {
		require.NoError(t, codeError(r.ErrorCode, r.ErrorMessage))
	}
	require.NoError(t, c.close())
}
