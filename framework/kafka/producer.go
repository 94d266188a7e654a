package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// Producer writes to a topic with acks=all: what Write returns nil for is on all replicas in sync. It is at-least-once.
// Records with a key go to the partition that Java's producer chooses, those without take turns, a Write each. Set its
// fields before it is used.
//
// Each Write sends to all brokers concerned at once and waits, so that one Writer has at most one request under way to
// each. To have more, set Pipeline.Writers; larger requests are made of a larger Pipeline.BatchSize.
type Producer struct {
	Compression Compression // of batches; default Uncompressed

	// MaxBatchBytes is how large a batch may get, a partition and request, as it is sent; a record that is larger alone is poison. Default: the
	// topic's max.message.bytes, or 1 MiB where the broker doesn't tell.
	MaxBatchBytes int

	fw    *Framework
	topic string
}

// standardBatchBytes is max.message.bytes where nobody says otherwise.
const standardBatchBytes = 1<<20 + 12

// Producer returns a sink that writes to a topic.
func (f *Framework) Producer(topic string) *Producer { return &Producer{fw: f, topic: topic} }

// String names the topic.
func (p *Producer) String() string { return fmt.Sprintf("kafka.Producer(%s)", p.topic) }

func (p *Producer) check() error {
	switch {
	case p.topic == "":
		return retry.Fatal(errors.New("kafka: Produce was given no topic"))
	case p.Compression > Zstd:
		return retry.Fatal(fmt.Errorf("kafka: Producer.Compression is %d: want Uncompressed, Gzip, Snappy, Lz4 or Zstd", p.Compression))
	case p.MaxBatchBytes < 0 || p.MaxBatchBytes > 1<<30:
		return retry.Fatal(fmt.Errorf("kafka: Producer.MaxBatchBytes is %d: want 1 to 1 GiB", p.MaxBatchBytes))
	}
	return p.fw.check()
}

// CheckHealth reports whether the brokers answer, know the topic and let these credentials write to it.
func (p *Producer) CheckHealth(ctx context.Context) (err error) {
	if err := p.check(); err != nil {
		return err
	}
	conn, err := p.fw.dialAny(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.close()) }()
	if _, err := conn.topic(ctx, p.topic); err != nil {
		return err
	}
	return conn.allowed(ctx, p.topic, mayWrite)
}

// OpenWriter asks for the topic's partitions and limits.
func (p *Producer) OpenWriter(ctx context.Context, _ weaver.Lane) (weaver.Writer[[]byte], error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	c, err := p.fw.dialAny(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{producer: p, conns: map[string]*conn{c.addr: c}, limit: p.MaxBatchBytes, turn: rand.IntN(1 << 30)}
	if err := w.look(ctx, c); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	if w.limit == 0 {
		w.limit = standardBatchBytes
		if v, err := c.config(ctx, p.topic, "max.message.bytes"); err == nil {
			if n, err := strconv.Atoi(v); err == nil && n > batchHeaderBytes {
				w.limit = n
			}
		} else if ctx.Err() != nil {
			return nil, errors.Join(context.Cause(ctx), w.Close())
		}
	}
	return w, nil
}

var (
	_ weaver.Sink[[]byte]  = (*Producer)(nil)
	_ weaver.HealthChecker = (*Producer)(nil)
)
