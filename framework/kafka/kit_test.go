package kafka

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

// ended is a Runner that has ended already: a pipeline with it as After reads what is there.
type ended struct{ _ int }

// Run implements weaver.Runner.
func (*ended) Run(context.Context) error { return nil }

// runToEnd runs a pipeline until it has read what is there.
func runToEnd[In, Out any](ctx context.Context, p *weaver.Pipeline[In, Out]) error {
	now := &ended{}
	p.After = now
	p.Log = quiet
	return weaver.Run(ctx, p, now)
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

// texts are records with these values and no keys.
func texts(values ...string) []weaver.Record[[]byte] {
	out := make([]weaver.Record[[]byte], len(values))
	for i, v := range values {
		out[i].Value = []byte(v)
	}
	return out
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
