package main

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/kafka"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

// kafkaConsume reads a topic by kafka-go.
func kafkaConsume(d *folder) scenario {
	var topic kafkaTopic
	return scenario{
		name:    "kafka-consume",
		what:    "a topic of 4 partitions to a counting sink, as a group, against Transport.RoundTrip of fetches without one, a goroutine a partition",
		records: d.records(kafkaBytes / 2),
		bars:    []bar{speedAtLeast(0.85)},
		pairs:   bigPairs,
		ours: func(n int) (outcome, error) {
			name, err := topic.fill(n)
			if err != nil {
				return outcome{}, err
			}
			fw := kafka.New(kafkaAddress())
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
			err = consumeByHand(context.Background(), name, &c)
			return outcome{verify: c.verify(n)}, err
		},
	}
}

// consumeByHand reads a topic up to its end as of now.
func consumeByHand(ctx context.Context, topic string, c *counter) error {
	transport := &kafkago.Transport{MetadataTopics: []string{topic}}
	defer transport.CloseIdleConnections()
	client := &kafkago.Client{Addr: kafkago.TCP(kafkaAddress()), Transport: transport, Timeout: time.Minute}
	ask := make([]kafkago.OffsetRequest, kafkaPartitions)
	for i := range ask {
		ask[i] = kafkago.LastOffsetOf(i)
	}
	ends, err := client.ListOffsets(ctx, &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{topic: ask}, IsolationLevel: kafkago.ReadCommitted})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, kafkaPartitions)
	for _, end := range ends.Topics[topic] {
		wg.Go(func() { errs[end.Partition] = consumePartition(ctx, client, topic, end.Partition, end.LastOffset, c) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func consumePartition(ctx context.Context, client *kafkago.Client, topic string, partition int, end int64, c *counter) error {
	const fetchBytes = 1 << 20
	for next := int64(0); next < end; {
		m, err := client.Transport.RoundTrip(ctx, client.Addr, &fetch.Request{
			ReplicaID: -1, MaxWaitTime: 500, MinBytes: 1, MaxBytes: fetchBytes, IsolationLevel: int8(kafkago.ReadCommitted), SessionEpoch: -1,
			Topics: []fetch.RequestTopic{{Topic: topic, Partitions: []fetch.RequestPartition{{
				Partition: int32(partition), CurrentLeaderEpoch: -1, FetchOffset: next, LogStartOffset: -1, PartitionMaxBytes: fetchBytes,
			}}}},
		})
		if err != nil {
			return err
		}
		p := &m.(*fetch.Response).Topics[0].Partitions[0]
		if p.ErrorCode != 0 {
			return kafkago.Error(p.ErrorCode)
		}
		stream, ok := p.RecordSet.Records.(*protocol.RecordStream)
		if !ok {
			continue
		}
		var records, bytes int64
		aborted := make(map[int64]bool, len(p.AbortedTransactions))
		for _, t := range p.AbortedTransactions {
			aborted[t.ProducerID] = true
		}
		for _, r := range stream.Records {
			switch batch := r.(type) {
			case *protocol.ControlBatch:
				continue
			case *protocol.RecordBatch:
				if batch.Attributes.Transactional() && aborted[batch.ProducerID] {
					continue
				}
			}
			for {
				rec, err := r.ReadRecord()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					return err
				}
				if rec.Offset < next {
					continue
				}
				next = rec.Offset + 1
				records++
				bytes += int64(rec.Value.Len())
				_ = rec.Value.Close()
			}
		}
		c.records.Add(records)
		c.bytes.Add(bytes)
	}
	return nil
}
