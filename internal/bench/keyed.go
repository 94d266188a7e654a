package main

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

// keyedWriters shows that a slow sink is written in parallel while each key stays in order.
func keyedWriters() scenario {
	return scenario{
		name:     "keyed-writers",
		what:     "a sink of 1 ms a batch with 8 Writers, in order per key, against the same pipeline with 1",
		records:  1600 * 512,
		bars:     []bar{speedAtLeast(6)},
		ours:     func(n int) (outcome, error) { return runKeyed(n, 8) },
		baseline: func(n int) (outcome, error) { return runKeyed(n, 1) },
	}
}

const (
	keyCount  = 4096
	writeTime = time.Millisecond
)

func runKeyed(n, writers int) (outcome, error) {
	keys := make([][]byte, keyCount)
	for i := range keys {
		keys[i] = strconv.AppendInt(nil, int64(i), 10)
	}
	source, sink := newMemory(n), &slowSink{}
	source.keys = keys
	p := weaver.NewPipeline[Rec, Rec](source, weaver.Map(mapTaxedValue), sink)
	p.Writers = writers
	err := p.Run(context.Background())
	return outcome{verify: func() error {
		for i := range sink.keys {
			if got, want := sink.keys[i].written.Load(), int64((n+keyCount-1-i)/keyCount); got != want {
				return fmt.Errorf("key %d: %d records were written, want %d", i, got, want)
			}
		}
		return checkRun("weaver", n, int(sink.count.Load()), source.reader.acked)
	}}, err
}

// slowSink takes writeTime a batch and checks the order of each key, over all its Writers.
type slowSink struct {
	count atomic.Int64
	ids   atomic.Int64
	keys  [keyCount]keyState
}

// keyState is how far a key is. owner is the Writer that has records of it in a Write right now, 0 for none: two at
// once have no order, however it turns out.
type keyState struct {
	owner   atomic.Int64
	written atomic.Int64
}

func (s *slowSink) OpenWriter(context.Context, weaver.Lane) (weaver.Writer[Rec], error) {
	return &slowWriter{sink: s, id: s.ids.Add(1)}, nil
}

type slowWriter struct {
	sink *slowSink
	id   int64
}

func (w *slowWriter) Write(_ context.Context, b *weaver.Batch[Rec]) error {
	for i := range b.Records {
		id := b.Records[i].Value.ID
		key := &w.sink.keys[id%keyCount]
		if other := key.owner.Swap(w.id); other != 0 && other != w.id {
			return fmt.Errorf("key %d is written by two Writers at once", id%keyCount)
		}
		if done := key.written.Add(1) - 1; done != id/keyCount {
			return fmt.Errorf("key %d: its record %d is written as number %d", id%keyCount, id/keyCount, done)
		}
	}
	time.Sleep(writeTime)
	for i := range b.Records {
		w.sink.keys[b.Records[i].Value.ID%keyCount].owner.Store(0)
	}
	w.sink.count.Add(int64(len(b.Records)))
	return nil
}

func (w *slowWriter) Close() error { return nil }
