package main

import (
	"context"
	"errors"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/franz"
	"github.com/bohica-labs/dataweaver/framework/kafka"
)

// kafkaRelay copies a topic to another one by kafka-go, at-least-once.
func kafkaRelay(d *folder) scenario {
	var topic kafkaTopic
	return scenario{
		name:    "kafka-relay",
		what:    "a topic of 4 partitions to another one, at-least-once, against the same franz-go relay as franz-relay",
		records: d.records(kafkaBytes / 2),
		bars:    []bar{speedAtLeast(0.6)},
		pairs:   bigPairs,
		ours: func(n int) (outcome, error) {
			return franzRelayed(n, &topic, func(_ *franz.Framework, in, out string) error {
				fw := kafka.New(kafkaAddress())
				sink := fw.Producer(out)
				sink.Compression = kafka.Snappy // as the other side's client does by itself
				p := weaver.Copy(fw.Consume(in, newName()), sink)
				p.BatchSize, p.BatchBytes, p.Writers = 8192, 2<<20, 2
				return errors.Join(toItsEnd(p), fw.Close())
			})
		},
		baseline: func(n int) (outcome, error) {
			return franzRelayed(n, &topic, func(_ *franz.Framework, in, out string) error {
				return relayByHand(context.Background(), in, out, n)
			})
		},
	}
}
