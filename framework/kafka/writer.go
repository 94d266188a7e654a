package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"

	kafkago "github.com/segmentio/kafka-go"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// lookEvery is how often a writer asks for the partitions there are, which may have become more.
const lookEvery = 5 * time.Minute

// writer sends the records of a Write to the leaders of their partitions, a batch a partition at a time.
type writer struct {
	producer   *Producer
	conns      map[string]*conn // by address
	partitions []*outgoing
	looked     time.Time
	limit      int // bytes of a batch
	turn       int // which partition records without a key are for
	failed     []weaver.RecordError
}

// outgoing is what goes to one partition.
type outgoing struct {
	number  int
	leader  string
	indexes []int // of the records in the weaver.Batch that are not sent yet
	alone   bool  // one record a batch: a broker doesn't say which one it refuses
	batch   batchWriter
	size    [4]byte
	count   int // of indexes that are in batch
	err     error
	refused []produce.ResponseError
}

// look asks which partitions there are, and who leads them.
func (w *writer) look(ctx context.Context, c *conn) error {
	info, err := c.topic(ctx, w.producer.topic)
	if err != nil {
		return err
	}
	for i, p := range info.partitions {
		if i == len(w.partitions) {
			w.partitions = append(w.partitions, &outgoing{number: i})
		}
		w.partitions[i].leader = p.leader
	}
	if len(w.partitions) == 0 {
		return fmt.Errorf("kafka: topic %q has no partitions", w.producer.topic)
	}
	w.looked = time.Now()
	return nil
}

// Write implements weaver.Writer.
func (w *writer) Write(ctx context.Context, b *weaver.Batch[[]byte]) error {
	if time.Since(w.looked) > lookEvery {
		for _, c := range w.conns {
			if err := w.look(ctx, c); err != nil {
				return err
			}
			break
		}
	}
	w.failed = nil
	w.share(b)
	for {
		leaders, err := w.fill(b)
		if err != nil {
			return err
		}
		if len(leaders) == 0 {
			break
		}
		if err := w.send(ctx, leaders); err != nil {
			return err
		}
		for _, out := range leaders {
			for _, p := range out {
				if err := w.settle(ctx, b, p); err != nil {
					return err
				}
			}
		}
	}
	if len(w.failed) > 0 {
		return &weaver.BatchError{Records: w.failed}
	}
	return nil
}

// share gives each partition its records.
func (w *writer) share(b *weaver.Batch[[]byte]) {
	for _, p := range w.partitions {
		p.indexes, p.alone = p.indexes[:0], false
	}
	w.turn++
	n := len(w.partitions)
	for i := range b.Records {
		to := w.turn % n
		if key := b.Records[i].Key; key != nil {
			to = partitionOf(key, n)
		}
		w.partitions[to].indexes = append(w.partitions[to].indexes, i)
	}
}

// fill makes the next batch of each partition that has records left, by leader.
func (w *writer) fill(b *weaver.Batch[[]byte]) (map[string][]*outgoing, error) {
	var leaders map[string][]*outgoing
	now := nowMillis()
	for _, p := range w.partitions {
		if err := w.fillOne(b, p, now); err != nil {
			return nil, err
		}
		if p.count == 0 {
			continue
		}
		if p.leader == "" {
			return nil, fmt.Errorf("kafka: partition %d of topic %q has no leader now", p.number, w.producer.topic)
		}
		if leaders == nil {
			leaders = make(map[string][]*outgoing)
		}
		leaders[p.leader] = append(leaders[p.leader], p)
	}
	return leaders, nil
}

func (w *writer) fillOne(b *weaver.Batch[[]byte], p *outgoing, now int64) error {
	p.batch.reset()
	p.count = 0
	for p.count < len(p.indexes) && (p.count == 0 || !p.alone) {
		i := p.indexes[p.count]
		r := &b.Records[i]
		size := sizeOf(r)
		if p.count > 0 && len(p.batch.buf)+size > w.limit {
			break
		}
		p.batch.add(r, now)
		p.count++
		if len(p.batch.buf) <= w.limit {
			continue
		}
		if p.count > 1 { // can't be: sizeOf is never too small
			return errors.New("kafka: a record is larger than was reckoned")
		}
		// It may be small enough when it is packed, alone.
		packed, err := p.batch.finish(w.producer.Compression)
		if err != nil {
			return err
		}
		if len(packed) > w.limit {
			w.fail(i, fmt.Errorf("kafka: the record has %d bytes as it is sent, and topic %q takes %d at most: see max.message.bytes and Producer.MaxBatchBytes",
				len(packed), w.producer.topic, w.limit))
			p.indexes = slices.Delete(p.indexes, 0, 1)
			p.batch.reset()
			p.count = 0
			continue
		}
		break
	}
	return nil
}

func (w *writer) fail(index int, err error) {
	w.failed = append(w.failed, weaver.RecordError{Index: index, Err: retry.Permanent(err)})
}

// send sends one request to each leader and waits for all.
func (w *writer) send(ctx context.Context, leaders map[string][]*outgoing) error {
	if len(leaders) == 1 {
		for addr, out := range leaders {
			c, err := w.conn(ctx, addr)
			if err != nil {
				return err
			}
			return w.sendTo(ctx, c, out)
		}
	}
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	for addr, out := range leaders {
		c, err := w.conn(ctx, addr)
		if err != nil {
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
			continue
		}
		wg.Go(func() {
			if err := w.sendTo(ctx, c, out); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (w *writer) conn(ctx context.Context, addr string) (*conn, error) {
	if c := w.conns[addr]; c != nil {
		return c, nil
	}
	c, err := w.producer.fw.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	w.conns[addr] = c
	return c, nil
}

// sendTo sends batches to their leader and notes what it says to each.
func (w *writer) sendTo(ctx context.Context, c *conn, out []*outgoing) error {
	const allInSync = -1
	wait := w.producer.fw.requestTimeout()
	topic := rawproduce.RequestTopic{Topic: w.producer.topic, Partitions: make([]rawproduce.RequestPartition, 0, len(out))}
	for _, p := range out {
		packed, err := p.batch.finish(w.producer.Compression)
		if err != nil {
			return err
		}
		binary.BigEndian.PutUint32(p.size[:], uint32(len(packed)))
		p.err, p.refused = errNoAnswer, nil
		topic.Partitions = append(topic.Partitions, rawproduce.RequestPartition{
			Partition: int32(p.number),
			RecordSet: protocol.RawRecordSet{Reader: io.MultiReader(bytes.NewReader(p.size[:]), bytes.NewReader(packed))},
		})
	}
	msg, err := c.roundTrip(ctx, &rawproduce.Request{Acks: allInSync, Timeout: int32(wait.Milliseconds()), Topics: []rawproduce.RequestTopic{topic}}, wait)
	if err != nil {
		return fmt.Errorf("writing to topic %q: %w", w.producer.topic, err)
	}
	for _, t := range msg.(*produce.Response).Topics {
		for _, r := range t.Partitions {
			if i := slices.IndexFunc(out, func(p *outgoing) bool { return p.number == int(r.Partition) }); i >= 0 {
				out[i].err, out[i].refused = codeError(r.ErrorCode, r.ErrorMessage), r.RecordErrors
			}
		}
	}
	return nil
}

var errNoAnswer = errors.New("the broker doesn't say what became of the records")

// settle looks at what a broker said to a batch.
func (w *writer) settle(ctx context.Context, b *weaver.Batch[[]byte], p *outgoing) error {
	sent := p.indexes[:p.count]
	switch {
	case p.err == nil:
		p.indexes = p.indexes[p.count:]
		return nil
	case isCode(p.err, kafkago.UnknownTopicOrPartition): // a broker says so also while partitions move
		return w.producer.fw.goneOr(ctx, w.producer.topic, fmt.Errorf("kafka: partition %d of topic %q is not where it was", p.number, w.producer.topic))
	case !isCode(p.err, kafkago.MessageSizeTooLarge, kafkago.RecordListTooLarge, kafkago.InvalidRecord, kafkago.InvalidTimestamp):
		return fmt.Errorf("kafka: writing to topic %q, partition %d: %w", w.producer.topic, p.number, p.err)
	case len(p.refused) > 0: // it took none, and names those to blame
		bad := make(map[int]bool, len(p.refused))
		for _, r := range p.refused {
			if i := int(r.BatchIndex); i >= 0 && i < len(sent) && !bad[sent[i]] {
				bad[sent[i]] = true
				w.fail(sent[i], fmt.Errorf("kafka: topic %q refuses the record: %w: %s", w.producer.topic, p.err, r.BatchIndexErrorMessage))
			}
		}
		if len(bad) == 0 {
			p.alone = true
		}
		p.indexes = slices.DeleteFunc(p.indexes, func(i int) bool { return bad[i] })
	case p.count == 1:
		r := &b.Records[sent[0]]
		w.fail(sent[0], fmt.Errorf("kafka: topic %q refuses the record, of %d bytes: %w", w.producer.topic, len(r.Key)+len(r.Value), p.err))
		p.indexes = p.indexes[1:]
	default:
		p.alone = true
	}
	return nil
}

// Close ends the connections.
func (w *writer) Close() error {
	var errs []error
	for _, c := range w.conns {
		if err := c.close(); err != nil && !w.producer.fw.isClosed() {
			errs = append(errs, fmt.Errorf("kafka: closing the connection: %w", err))
		}
	}
	w.conns = nil
	return errors.Join(errs...)
}
