package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"

	kafkago "github.com/segmentio/kafka-go"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// reader reads a partition: it fetches one request ahead, and copies records into batches. Finish, Lag and Ack run beside
// Read: what they share is atomic.
type reader struct {
	consumer   *Consumer
	assignment *assignment
	topic      string
	partition  int
	log        *slog.Logger

	fetch     *fetcher
	unpack    unpacker
	committed committed
	set       []byte  // batches of the last response that are not looked at
	batch     records // the batch that is read
	epoch     int32   // of the record before next; -1: not known
	damaged   int64   // where a damaged batch was fetched again; negative: nowhere
	position  [positionBytes]byte

	next     atomic.Int64 // the offset to read; negative: not known yet
	end      atomic.Int64 // behind what can be read, as of the last response; negative: not known
	finishAt atomic.Int64 // negative: not asked to finish
}

func newReader(c *Consumer, mine *assignment, log *slog.Logger) *reader {
	r := &reader{consumer: c, assignment: mine, topic: mine.topic, partition: mine.partition, log: log, epoch: -1, damaged: none}
	r.unpack.limit = orDefault(c.MaxBatchBytes, defaultMaxBatchBytes)
	r.next.Store(none)
	r.end.Store(none)
	r.finishAt.Store(none)
	return r
}

// open connects to the leader and finds out where to begin.
func (r *reader) open(ctx context.Context) error {
	c := r.consumer
	conn, err := c.fw.dialLeader(ctx, r.topic, r.partition)
	if err != nil {
		return err
	}
	r.fetch = &fetcher{
		conn: conn, topic: r.topic, partition: r.partition, committed: !c.ReadUncommitted,
		maxBytes: orDefault(c.MaxBytes, defaultMaxBytes), maxWait: orDefault(c.MaxWait, defaultMaxWait), limit: r.unpack.limit,
	}
	if err := r.fetch.open(); err != nil {
		return err
	}
	if r.next.Load() >= 0 {
		return nil
	}
	if o := r.assignment.committed.Load(); o >= 0 {
		r.next.Store(o)
		return nil
	}
	return r.reset(ctx)
}

// reset begins where Start says, and commits that, so that it is found here again whatever comes.
func (r *reader) reset(ctx context.Context) error {
	c := r.consumer
	at := int64(oldest)
	switch c.Start {
	case Earliest:
	case Latest:
		at = newest
	case AtTime:
		at = c.StartAt.UnixMilli()
	case NoStart:
		return retry.Fatal(fmt.Errorf("kafka: group %q has no committed offset for partition %d of topic %q, and Consumer.Start is NoStart", c.group, r.partition, r.topic))
	}
	offset, err := r.fetch.conn.offset(ctx, r.topic, r.partition, at, false)
	if err != nil {
		return err
	}
	if r.assignment.generation != nil {
		r.log.Info("no committed offset", "group", c.group, "start", offset)
	}
	r.next.Store(offset)
	return r.assignment.commit(offset)
}

// Read implements weaver.Reader.
func (r *reader) Read(ctx context.Context, b *weaver.Batch[[]byte]) (weaver.Position, error) {
	start := r.next.Load()
	r.batch.headers = nil // those of the last Read may still be in use
	for !b.Full() {
		if err := r.assignment.lost(); err != nil {
			return nil, err
		}
		more, err := r.add(b)
		if err != nil {
			return nil, err
		}
		if more {
			continue
		}
		if r.next.Load() != start || len(b.Rejects()) > 0 {
			break
		}
		if r.finished() {
			return encodePosition(r.position[:], start, r.epoch), io.EOF
		}
		if err := r.refill(ctx); err != nil {
			return nil, err
		}
	}
	return encodePosition(r.position[:], r.next.Load(), r.epoch), nil
}

// finished reports whether all is read that Finish asked for. A position behind that is in range only if the broker says
// so.
func (r *reader) finished() bool {
	end, next := r.finishAt.Load(), r.next.Load()
	return end >= 0 && (next == end || next > end && r.end.Load() >= 0)
}

// add adds records of what has arrived, up to the end of a batch, and reports whether there was any of that.
func (r *reader) add(b *weaver.Batch[[]byte]) (more bool, err error) {
	if r.batch.left > 0 {
		return true, r.drain(b)
	}
	batch, rest, ok, err := cutBatch(r.set)
	if err != nil {
		return false, fmt.Errorf("kafka: topic %q, partition %d: %w", r.topic, r.partition, err)
	}
	if !ok {
		r.set = nil
		return false, nil
	}
	r.set = rest
	h, err := parseHeader(batch)
	if err != nil {
		return r.bad(b, batch, err)
	}
	control := h.attributes&attrControl != 0
	// What is hidden depends on all batches of a response, those included that were read before: the broker sends whole ones.
	hidden := !r.consumer.ReadUncommitted && r.committed.hides(&h, batch[batchHeaderBytes:])
	switch {
	case h.next() <= r.next.Load():
		return true, nil
	case control || hidden:
		r.pass(&h)
		return true, nil
	}
	payload, err := r.unpack.unpack(Compression(h.attributes&attrCompression), batch[batchHeaderBytes:])
	if err != nil {
		return true, r.reject(b, &h, batch, err)
	}
	r.batch.header, r.batch.payload, r.batch.left = h, payload, h.records
	if h.records == 0 { // compaction has emptied it
		r.pass(&h)
	}
	return true, nil
}

// pass goes on behind a batch.
func (r *reader) pass(h *batchHeader) {
	r.next.Store(h.next())
	r.epoch = h.epoch
}

// drain adds records of the batch that is read.
func (r *reader) drain(b *weaver.Batch[[]byte]) error {
	next := r.next.Load()
	for r.batch.left > 0 && !b.Full() {
		offset, err := r.batch.next(b, next)
		if err != nil {
			r.batch.left = 0
			r.next.Store(next)
			return r.reject(b, &r.batch.header, nil, err)
		}
		if offset >= next {
			next = offset + 1
		}
	}
	r.epoch = r.batch.header.epoch
	if r.batch.left == 0 {
		next = max(next, r.batch.header.next())
	}
	r.next.Store(next)
	return nil
}

// bad is for a batch whose header can't be believed. What arrived damaged may be well the next time.
func (r *reader) bad(b *weaver.Batch[[]byte], batch []byte, err error) (bool, error) {
	next := r.next.Load()
	if errors.Is(err, errOldFormat) {
		return false, retry.Fatal(fmt.Errorf("kafka: topic %q, partition %d, offset %d: %w", r.topic, r.partition, next, err))
	}
	if r.damaged != next {
		r.damaged, r.set = next, nil
		r.log.Warn("a batch arrived damaged, and is fetched again", "offset", next, "err", err)
		return false, nil
	}
	// How far it goes is not certain: as far as both of two numbers in it say, and by one at least.
	h := batchHeader{base: next, epoch: r.epoch}
	if len(batch) >= batchHeaderBytes {
		claimed := readHeader(batch)
		if claimed.base <= next && claimed.base >= 0 {
			last := claimed.base + int64(min(max(claimed.lastDelta, 0), max(claimed.records-1, 0)))
			h.lastDelta = int32(max(last-next, 0))
		}
	}
	return true, r.reject(b, &h, batch, err)
}

// reject rejects what is left of a batch, and goes on behind it.
func (r *reader) reject(b *weaver.Batch[[]byte], h *batchHeader, raw []byte, err error) error {
	next := r.next.Load()
	const shown = 1 << 10
	b.Reject(next, raw[:min(len(raw), shown)], fmt.Errorf("kafka: topic %q, partition %d, offsets %d to %d can't be read: %w", r.topic, r.partition, next, h.next()-1, err))
	r.pass(h)
	return nil
}

// refill waits for a response, which may have nothing in it, and asks for the next one.
func (r *reader) refill(ctx context.Context) error {
	next := r.next.Load()
	if r.fetch.asked < 0 {
		if err := r.fetch.ask(ctx, next); err != nil {
			return err
		}
	}
	res, err := r.fetch.answer(ctx)
	if err != nil {
		return err
	}
	if res.throttled > 0 {
		r.log.Debug("the broker throttles", "for", res.throttled)
	}
	if res.requestedAt > next || res.requestedAt != next && res.err != nil {
		return nil // an offset that was guessed too high: asked again with the right one
	}
	if res.err != nil {
		return r.refused(ctx, res.err)
	}
	if cap(r.unpack.buf) > keptBytes {
		r.unpack.buf = nil // one huge batch is no reason to keep it
	}
	r.set = res.set
	r.committed.begin(res.aborted)
	end := res.high
	if r.fetch.committed && res.stable >= 0 {
		end = res.stable
	}
	r.end.Store(end)
	if guess := behind(res.set, next); !r.finishing() || guess < r.finishAt.Load() {
		return r.fetch.ask(ctx, guess)
	}
	return nil
}

func (r *reader) finishing() bool { return r.finishAt.Load() >= 0 }

// behind returns the offset behind the batches of a record set, as these claim: what is asked for next, before they are
// checked.
func behind(set []byte, next int64) int64 {
	for {
		batch, rest, ok, err := cutBatch(set)
		if err != nil || !ok || len(batch) < batchHeaderBytes {
			return next
		}
		h := readHeader(batch)
		next = max(next, h.next())
		set = rest
	}
}

// refused says what to do about an error that the broker answered.
func (r *reader) refused(ctx context.Context, err error) error {
	where := func(err error) error {
		return fmt.Errorf("kafka: fetching from topic %q, partition %d, offset %d: %w", r.topic, r.partition, r.next.Load(), err)
	}
	switch {
	case isCode(err, kafkago.OffsetOutOfRange):
		return r.outOfRange(ctx, where(err))
	case isCode(err, kafkago.UnknownTopicOrPartition):
		return r.consumer.fw.goneOr(ctx, r.topic, fmt.Errorf("kafka: partition %d of topic %q is not where it was", r.partition, r.topic))
	}
	return where(err)
}

// outOfRange carries out Consumer.OutOfRange.
func (r *reader) outOfRange(ctx context.Context, err error) error {
	first, ferr := r.fetch.conn.offset(ctx, r.topic, r.partition, oldest, false)
	last, lerr := r.fetch.conn.offset(ctx, r.topic, r.partition, newest, false)
	if err := errors.Join(ferr, lerr); err != nil {
		return err
	}
	next := r.next.Load()
	if first <= next && next <= last {
		return fmt.Errorf("kafka: partition %d of topic %q moves: %w", r.partition, r.topic, retry.Transient(err))
	}
	to := first
	switch r.consumer.OutOfRange {
	case Fail:
		return fmt.Errorf("%w (it has the offsets %d to %d)", err, first, last-1)
	case ToEarliest:
	case ToLatest:
		to = last
	}
	r.log.Warn("position out of range: records are missing", "position", next, "oldest", first, "newest", last-1, "goes on at", to, "missing", max(to-next, 0))
	r.next.Store(to)
	r.set, r.batch.left = nil, 0
	return nil
}

// Finish makes Read end behind the records there are now; with read_committed, those that can be read now.
func (r *reader) Finish(ctx context.Context) error {
	conn, err := r.consumer.fw.dialLeader(ctx, r.topic, r.partition)
	if err != nil {
		return err
	}
	end, err := conn.offset(ctx, r.topic, r.partition, newest, !r.consumer.ReadUncommitted)
	if err := errors.Join(err, conn.close()); err != nil {
		return err
	}
	r.finishAt.CompareAndSwap(none, end)
	return nil
}

// Lag is how many records there were, when the broker answered last, that were not read. Those that compaction has taken
// out and those that aren't committed count as well.
func (r *reader) Lag() weaver.Lag {
	lag := weaver.UnknownLag
	if end, next := r.end.Load(), r.next.Load(); end >= 0 && next >= 0 {
		lag.Records = max(end-next, 0)
	}
	return lag
}

// Close ends the connection.
func (r *reader) Close() error {
	if r.fetch == nil {
		return nil
	}
	err := r.fetch.conn.close()
	r.fetch = nil
	if r.unpack.zstd != nil {
		r.unpack.zstd.Close()
	}
	if err != nil && !r.consumer.fw.isClosed() {
		return fmt.Errorf("kafka: closing the connection: %w", err)
	}
	return nil
}

// groupReader is a reader that moves its group's position.
type groupReader struct{ *reader }

// Ack commits the offset, together with those of other partitions that wait. If the partition may have another owner by
// now it does nothing.
func (r groupReader) Ack(_ context.Context, p weaver.Position) error {
	offset, _, err := decodePosition(p)
	if err != nil {
		return err
	}
	if offset == r.assignment.committed.Load() {
		return nil
	}
	return r.assignment.commit(offset)
}

var (
	_ weaver.Acker       = groupReader{}
	_ weaver.Finisher    = groupReader{}
	_ weaver.LagReporter = groupReader{}
)
