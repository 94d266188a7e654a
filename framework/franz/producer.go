package franz

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	weaver "github.com/bohica-labs/dataweaver"
)

// Compression is how record batches are compressed.
type Compression uint8

// The ways to compress that Kafka knows.
const (
	Uncompressed Compression = iota
	Gzip
	Snappy
	Lz4
	Zstd
)

func (c Compression) codec() (kgo.CompressionCodec, error) {
	switch c {
	case Uncompressed:
		return kgo.NoCompression(), nil
	case Gzip:
		return kgo.GzipCompression(), nil
	case Snappy:
		return kgo.SnappyCompression(), nil
	case Lz4:
		return kgo.Lz4Compression(), nil
	case Zstd:
		return kgo.ZstdCompression(), nil
	}
	return kgo.CompressionCodec{}, invalid("Compression is %d: want Uncompressed, Gzip, Snappy, Lz4 or Zstd", c)
}

const (
	defaultDeliveryTimeout = 30 * time.Second
	defaultBatchBytes      = 1_000_012
	mostBatchBytes         = 64 << 20
	maxMessageConfig       = "max.message.bytes"
)

// Producer writes to a stream. It is at-least-once: Write returns when all replicas in sync have the batch. While a writer
// is open nothing is doubled or put out of order, however often the client has to send it; a writer that is opened again
// after a failure repeats what its predecessor had sent without an answer. Set its fields before it is used.
//
// Records with a key go where the Java client sends them (murmur2), records without one to one partition a request.
type Producer struct {
	Compression     Compression   // default none
	MaxBatchBytes   int           // of one record, and of a batch on the wire; what is larger is poison; default the topic's max.message.bytes, 1 MB if the broker doesn't tell
	DeliveryTimeout time.Duration // how long the client tries before the outage becomes the pipeline's; default 30 s

	fw     *Framework
	stream string
}

// Producer returns a sink that writes to a stream.
func (f *Framework) Producer(stream string) *Producer { return &Producer{fw: f, stream: stream} }

// String names the stream.
func (p *Producer) String() string { return fmt.Sprintf("franz.Producer(%s)", p.stream) }

func (p *Producer) validate() error {
	switch {
	case p.stream == "":
		return invalid("the stream's name is empty")
	case p.MaxBatchBytes < 0 || p.MaxBatchBytes > mostBatchBytes:
		return invalid("Producer.MaxBatchBytes is %d: want 0 (the default) to %d", p.MaxBatchBytes, mostBatchBytes)
	}
	if _, err := p.Compression.codec(); err != nil {
		return err
	}
	return notNegative(durationField{"Producer.DeliveryTimeout", p.DeliveryTimeout})
}

// OpenWriter opens a writer with connections of its own. A stream that isn't there is a fatal error.
func (p *Producer) OpenWriter(ctx context.Context, _ weaver.Lane) (weaver.Writer[[]byte], error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	limit, err := p.fw.recordLimit(ctx, p.stream, p.MaxBatchBytes)
	if err != nil {
		return nil, err
	}
	opts, err := produceOptions(p.stream, p.Compression)
	if err != nil {
		return nil, err
	}
	opts = append(opts,
		kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytes(int32(limit)), //nolint:gosec // bounded
		kgo.ManualFlushing(), kgo.MaxBufferedRecords(1<<30), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
	)
	cl, err := p.fw.newClient(opts...)
	if err != nil {
		return nil, err
	}
	w := &writer{fw: p.fw, stream: p.stream, cl: cl, patience: orDefault(p.DeliveryTimeout, defaultDeliveryTimeout)}
	w.out = newOutbox(p.stream, limit)
	if err := p.fw.own(w); err != nil {
		cl.Close()
		return nil, err
	}
	return w, nil
}

// produceOptions are what all that produces has in common.
func produceOptions(stream string, c Compression) ([]kgo.Opt, error) {
	codec, err := c.codec()
	if err != nil {
		return nil, err
	}
	return []kgo.Opt{
		kgo.DefaultProduceTopic(stream),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(codec),
	}, nil
}

// recordLimit sees that a stream is there, and returns how large a batch of it can be.
func (f *Framework) recordLimit(ctx context.Context, stream string, want int) (int, error) {
	cl, err := f.client()
	if err != nil {
		return 0, err
	}
	if _, err := describe(ctx, cl, stream); err != nil {
		return 0, f.isClosed(classify(fmt.Sprintf("topic %q", stream), err))
	}
	limit := defaultBatchBytes
	text, err := config(ctx, cl, stream, maxMessageConfig)
	switch {
	case isCode(err, kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.UnsupportedVersion):
		// Configuration isn't for everybody to see.
	case err != nil:
		return 0, f.isClosed(classify(fmt.Sprintf("the configuration of topic %q", stream), err))
	default:
		if n, err := strconv.Atoi(text); err == nil && n > 0 {
			limit = min(n, mostBatchBytes)
		}
	}
	if want > 0 {
		limit = min(limit, want)
	}
	return max(limit, 1<<10), nil
}

// writer is a plain writer: its batch is sent as a whole and waited for.
type writer struct {
	fw       *Framework
	stream   string
	cl       *kgo.Client
	patience time.Duration
	out      *outbox
	broken   error // nothing can be written any more
}

// Write returns when the batch is durable. When ctx ends first, the writer is of no more use.
func (w *writer) Write(ctx context.Context, b *weaver.Batch[[]byte]) error {
	switch {
	case w.broken != nil:
		return w.broken
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	w.out.fill(b.Records)
	for i := range w.out.records {
		w.cl.Produce(context.Background(), &w.out.records[i], w.out.done)
	}
	late := fmt.Errorf("franz: topic %q has not taken a batch within %v (Producer.DeliveryTimeout)", w.stream, w.patience)
	flushing, cancel := context.WithTimeoutCause(ctx, w.patience, late) // the client's own timeout counts from the record's time
	defer cancel()
	if err := w.cl.Flush(flushing); err != nil {
		w.broken = w.fw.isClosed(errors.New("franz: the writer was given up in the middle of a batch"))
		w.cl.Close() // no memory of the batch is used behind this
		w.out.wait()
		return w.fw.isClosed(context.Cause(flushing))
	}
	w.out.wait()
	err := w.out.result()
	if err == nil {
		return nil
	}
	if e := (*weaver.BatchError)(nil); errors.As(err, &e) {
		return e
	}
	w.broken = w.fw.isClosed(err)
	return w.broken
}

// Close closes the connections.
func (w *writer) Close() error {
	w.cl.Close()
	w.fw.disown(w)
	return nil
}

// CheckHealth reports whether the stream can be written to.
func (p *Producer) CheckHealth(ctx context.Context) error {
	if err := p.validate(); err != nil {
		return err
	}
	return p.fw.checkHealth(ctx, check{topics: []string{p.stream}, write: true})
}

var (
	_ weaver.Sink[[]byte]  = (*Producer)(nil)
	_ weaver.HealthChecker = (*Producer)(nil)
)
