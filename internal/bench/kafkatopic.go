package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync/atomic"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/kafka"
)

// kafkaBytes is how long a record in a topic is.
const kafkaBytes = 100

// kafkaPartitions is how many partitions the topics have.
const kafkaPartitions = 4

// kafkaAddress is the broker's; empty: there is none, and the scenarios that need it are left out.
func kafkaAddress() string { return os.Getenv("WEAVER_TEST_KAFKA") }

var errNoBroker = errors.New("WEAVER_TEST_KAFKA is not set")

// kafkaTopic is a topic with n records of kafkaBytes, which is made once.
type kafkaTopic struct {
	name string
	n    int
}

// fill makes the topic hold n records.
func (t *kafkaTopic) fill(n int) (string, error) {
	if t.n == n {
		return t.name, nil
	}
	addr := kafkaAddress()
	if addr == "" {
		return "", errNoBroker
	}
	fw := kafka.New(addr)
	name := newName()
	err := fw.CreateStream(context.Background(), weaver.Stream{Name: name, Partitions: kafkaPartitions})
	if err == nil {
		value := make([]byte, kafkaBytes)
		for i := range value {
			value[i] = byte(i)
		}
		p := weaver.Copy(weaver.FromSeq(func(yield func([]byte, error) bool) {
			for range n {
				if !yield(value, nil) {
					return
				}
			}
		}), fw.Produce(name))
		p.BatchSize = 5000
		err = p.Run(context.Background())
	}
	if err := errors.Join(err, fw.Close()); err != nil {
		return "", err
	}
	t.name, t.n = name, n
	return name, nil
}

// newName is the name of a new topic or group.
func newName() string { return fmt.Sprintf("bench-%x", rand.Uint64()) }

// toItsEnd runs a pipeline up to the end of its source as of now.
func toItsEnd[In, Out any](p *weaver.Pipeline[In, Out]) error {
	p.Log = slog.New(slog.DiscardHandler)
	p.Bounded = true
	return p.Run(context.Background())
}

// counter counts what arrives.
type counter struct{ records, bytes atomic.Int64 }

// verify holds the counts against n records.
func (c *counter) verify(n int) func() error {
	return func() error {
		if r, b := c.records.Load(), c.bytes.Load(); r != int64(n) || b != int64(n)*kafkaBytes {
			return fmt.Errorf("%d records of %d bytes in all arrived, of %d of %d bytes each", r, b, n, kafkaBytes)
		}
		return nil
	}
}

// sink returns a sink that counts.
func (c *counter) sink() weaver.Sink[[]byte] {
	return weaver.SinkFunc[[]byte](func(_ context.Context, b *weaver.Batch[[]byte]) error {
		var bytes int64
		for i := range b.Records {
			bytes += int64(len(b.Records[i].Value))
		}
		c.bytes.Add(bytes)
		c.records.Add(int64(len(b.Records)))
		return nil
	})
}
