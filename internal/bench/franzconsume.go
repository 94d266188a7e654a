package main

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/franz"
)

// franzConsume reads a topic by franz-go.
func franzConsume(d *folder) scenario {
	var topic kafkaTopic
	return scenario{
		name:    "franz-consume",
		what:    "a topic of 4 partitions to a counting sink, as a group, against a loop of kgo's PollFetches without one, both read_committed",
		records: d.records(kafkaBytes / 2),
		bars:    []bar{speedAtLeast(0.85)},
		pairs:   bigPairs,
		ours: func(n int) (outcome, error) {
			name, err := topic.fill(n)
			if err != nil {
				return outcome{}, err
			}
			fw := franz.New(kafkaAddress())
			var c counter
			err = toItsEnd(weaver.Copy(fw.Consume(name, newName()), c.sink()))
			return outcome{verify: c.verify(n)}, errors.Join(err, fw.Close())
		},
		baseline: func(n int) (outcome, error) {
			name, err := topic.fill(n)
			if err != nil {
				return outcome{}, err
			}
			var c counter
			cl, err := kgo.NewClient(kgo.SeedBrokers(kafkaAddress()), kgo.ConsumeTopics(name), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
			if err != nil {
				return outcome{}, err
			}
			defer cl.Close()
			for c.records.Load() < int64(n) {
				fetches := cl.PollFetches(context.Background())
				if err := fetches.Err(); err != nil {
					return outcome{}, err
				}
				var records, bytes int64
				fetches.EachRecord(func(r *kgo.Record) {
					records++
					bytes += int64(len(r.Value))
				})
				c.records.Add(records)
				c.bytes.Add(bytes)
			}
			return outcome{verify: c.verify(n)}, nil
		},
	}
}

// franzRelayed runs a relay into a new topic. Counted is how many offsets there are; with transactions some are markers.
func franzRelayed(n int, topic *kafkaTopic, relay func(fw *franz.Framework, in, out string) error) (outcome, error) {
	in, err := topic.fill(n)
	if err != nil {
		return outcome{}, err
	}
	fw := franz.New(kafkaAddress())
	out := newName()
	err = fw.CreateStream(context.Background(), weaver.Stream{Name: out, Partitions: kafkaPartitions})
	if err == nil {
		err = relay(fw, in, out)
	}
	return outcome{verify: func() error { return franzCount(out, n) }}, errors.Join(err, fw.Close())
}

// franzCount reads how many records are committed in a topic, and removes it. A transaction is committed when its coordinator
// says so, and visible a moment later, when the partitions have its marker.
func franzCount(topic string, n int) error {
	fw := franz.New(kafkaAddress())
	var c *counter
	var err error
	for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
		c = new(counter)
		err = toItsEnd(weaver.Copy(fw.Consume(topic, ""), c.sink()))
		if err != nil || c.records.Load() >= int64(n) {
			break
		}
	}
	cl, clErr := kgo.NewClient(kgo.SeedBrokers(kafkaAddress()))
	if clErr == nil {
		_, clErr = kadm.NewClient(cl).DeleteTopic(context.Background(), topic)
		cl.Close()
	}
	return errors.Join(err, clErr, fw.Close(), c.verify(n)())
}
