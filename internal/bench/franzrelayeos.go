package main

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/franz"
)

// franzInterval is how long a transaction is.
const franzInterval = 100 * time.Millisecond

// franzRelayEOS copies a topic to another one, exactly-once.
func franzRelayEOS(d *folder) scenario {
	var topic kafkaTopic
	return scenario{
		name:    "franz-relay-eos",
		what:    "a topic of 4 partitions to another one, a transaction per 100 ms, against kgo's GroupTransactSession",
		records: d.records(kafkaBytes / 2),
		bars:    []bar{speedAtLeast(0.85)},
		pairs:   bigPairs,
		ours: func(n int) (outcome, error) {
			return franzRelayed(n, &topic, func(fw *franz.Framework, in, out string) error {
				sink := fw.Transactional(out)
				sink.Compression = franz.Snappy // as the other side's client does by itself
				sink.Interval = franzInterval
				p := weaver.Copy(fw.Consume(in, newName()), sink)
				p.Name = newName()
				p.Require = weaver.ExactlyOnce
				p.BatchSize, p.BatchBytes = 8192, 2<<20
				return toItsEnd(p)
			})
		},
		baseline: func(n int) (outcome, error) {
			return franzRelayed(n, &topic, func(_ *franz.Framework, in, out string) error {
				return transactByHand(context.Background(), in, out, n)
			})
		},
	}
}

// transactByHand polls and produces in transactions.
func transactByHand(ctx context.Context, in, out string, n int) error {
	s, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(kafkaAddress()), kgo.ConsumeTopics(in), kgo.ConsumerGroup(newName()), kgo.TransactionalID(newName()),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.DefaultProduceTopic(out), kgo.MaxBufferedRecords(100_000),
	)
	if err != nil {
		return err
	}
	defer s.Close()
	for relayed := 0; relayed < n; {
		if err := s.Begin(); err != nil {
			return err
		}
		promise := kgo.AbortingFirstErrPromise(s.Client())
		for began := time.Now(); relayed < n && time.Since(began) < franzInterval; {
			fetches := s.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				return err
			}
			fetches.EachRecord(func(r *kgo.Record) {
				s.Produce(ctx, &kgo.Record{Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp}, promise.Promise())
				relayed++
			})
		}
		committed, err := s.End(ctx, promise.Err() == nil)
		if err != nil {
			return err
		}
		if !committed {
			return errors.New("a transaction was not committed")
		}
	}
	return nil
}
