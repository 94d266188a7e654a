package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/franz"
)

// franzRelay copies a topic to another one, at-least-once.
func franzRelay(d *folder) scenario {
	var topic kafkaTopic
	return scenario{
		name:    "franz-relay",
		what:    "a topic of 4 partitions to another one, at-least-once, against one kgo client that produces what it polls and commits once a second",
		records: d.records(kafkaBytes / 2),
		bars:    []bar{speedAtLeast(0.85)},
		pairs:   bigPairs,
		ours: func(n int) (outcome, error) {
			return franzRelayed(n, &topic, func(fw *franz.Framework, in, out string) error {
				sink := fw.Producer(out)
				sink.Compression = franz.Snappy // as the other side's client does by itself
				p := weaver.Copy(fw.Consume(in, newName()), sink)
				p.BatchSize, p.BatchBytes, p.Writers = 8192, 2<<20, 2
				return toItsEnd(p)
			})
		},
		baseline: func(n int) (outcome, error) {
			return franzRelayed(n, &topic, func(_ *franz.Framework, in, out string) error {
				return relayByHand(context.Background(), in, out, n)
			})
		},
	}
}

// relayByHand polls, produces without waiting, and once a second waits for what it has produced and commits it.
func relayByHand(ctx context.Context, in, out string, n int) error {
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(kafkaAddress()), kgo.ConsumeTopics(in), kgo.ConsumerGroup(newName()), kgo.DisableAutoCommit(),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.DefaultProduceTopic(out), kgo.MaxBufferedRecords(100_000),
	)
	if err != nil {
		return err
	}
	defer cl.Close()
	var failed atomic.Pointer[error]
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.Store(&err)
		}
	}
	commit := func() error {
		if err := cl.Flush(ctx); err != nil {
			return err
		}
		if err := failed.Load(); err != nil {
			return *err
		}
		return cl.CommitUncommittedOffsets(ctx)
	}
	last := time.Now()
	for relayed := 0; relayed < n; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			cl.Produce(ctx, &kgo.Record{Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp}, promise)
			relayed++
		})
		if time.Since(last) >= time.Second {
			if err := commit(); err != nil {
				return err
			}
			last = time.Now()
		}
	}
	return errors.Join(commit())
}
