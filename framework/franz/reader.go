package franz

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// reader reads a partition. Read has one caller; Ack, Finish and Lag may run beside it.
type reader struct {
	s   *session
	a   *assignment
	l   *lane
	log *slog.Logger

	at       place // behind what was returned
	decoding       // what was fetched and is not returned yet
	err      error // what ends reading when that is returned
	position [positionBytes]byte

	next     atomic.Int64 // at.offset, for Lag
	finishAt atomic.Int64 // negative: not asked to finish
}

// open begins to fetch at a place, or where the policy says if the log doesn't hold it any more.
func (r *reader) open(ctx context.Context, at place) error {
	if at.epoch >= 0 { // what came behind it may have been lost since: then the offset is another record's now
		end, err := endOfEpoch(ctx, r.s.cl, r.a.partition, at.epoch)
		if err != nil {
			return classify("looking up a leader epoch of "+r.a.String(), err)
		}
		if end >= 0 && end < at.offset {
			if at, err = r.elsewhere(ctx, truncated(r.a.partition, at, end)); err != nil {
				return err
			}
		}
	}
	return r.fetchFrom(at)
}

func (r *reader) fetchFrom(at place) error {
	r.at = at
	r.next.Store(at.offset)
	r.l = newLane(r.a.partition, at)
	return r.s.fetch.open(r.l)
}

// elsewhere says where to go on in place of what is out of range.
func (r *reader) elsewhere(ctx context.Context, e *outOfRange) (place, error) {
	return e.resolve(ctx, r.s.cl, r.s.c.OutOfRange, r.s.c.isolation(), r.log)
}

// Read adds what was fetched.
func (r *reader) Read(ctx context.Context, b *weaver.Batch[[]byte]) (weaver.Position, error) {
	before := len(b.Records)
	from := r.at.offset
	for {
		switch err := r.a.failed(); {
		case err != nil:
			return nil, err
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
		end := r.finishAt.Load()
		r.fill(b, end)
		if b.Full() {
			break
		}
		if end >= 0 && (r.at.offset == end || r.at.offset > end && r.s.fetch.confirmed(r.l)) {
			return r.tell(), io.EOF
		}
		ready, err := r.more(ctx)
		if err == nil && ready {
			continue
		}
		if len(b.Records) > before || r.at.offset > from {
			break // an error is told by the next Read
		}
		if err != nil {
			return nil, r.s.c.fw.isClosed(err)
		}
		r.release()
		select {
		case <-r.l.wake:
		case <-ctx.Done():
		}
	}
	return r.tell(), nil
}

// tell returns the position.
func (r *reader) tell() weaver.Position {
	r.next.Store(r.at.offset)
	r.at.encode(r.position[:])
	return r.position[:]
}

// fill adds decoded records until the batch is full, or the next is at end (negative: none is).
func (r *reader) fill(b *weaver.Batch[[]byte], end int64) {
	for len(r.records) > 0 && !b.Full() {
		k := r.records[0]
		if end >= 0 && k.Offset >= end {
			r.at.offset = end
			return
		}
		x := b.Add()
		x.Value, x.Key, x.Time, x.Seq = k.Value, k.Key, k.Timestamp.UTC(), k.Offset
		if k.Value == nil {
			x.Op = weaver.Delete
		}
		weight := len(k.Value) + len(k.Key)
		if len(k.Headers) > 0 {
			weight += r.headers(x, k)
		}
		b.Weigh(weight)
		r.at = place{k.Offset + 1, k.LeaderEpoch}
		r.records = r.records[1:]
	}
	if len(r.records) == 0 && r.behind > r.at.offset {
		r.at.offset = r.behind // behind what transactions have aborted, their markers, and what compaction took away
	}
}

// headers converts the headers and returns their size. One allocation serves the headers of many records.
func (r *reader) headers(x *weaver.Record[[]byte], k *kgo.Record) (size int) {
	if cap(r.heads)-len(r.heads) < len(k.Headers) {
		r.heads = make([]weaver.Header, 0, len(k.Headers)*min(len(r.records), 256))
	}
	n := len(r.heads)
	for _, h := range k.Headers {
		r.heads = append(r.heads, weaver.Header{Key: h.Key, Value: h.Value})
		size += len(h.Key) + len(h.Value)
	}
	x.Headers = r.heads[n:len(r.heads):len(r.heads)]
	return size
}

// more decodes what was fetched next. It reports false if nothing is there.
func (r *reader) more(ctx context.Context) (bool, error) {
	if len(r.records) > 0 {
		return true, nil
	}
	if r.err != nil {
		return false, r.err
	}
	if len(r.chunk.data) == 0 {
		c, ok, err := r.s.fetch.pop(r.l)
		if e := (*outOfRange)(nil); errors.As(err, &e) {
			return r.jump(ctx, e)
		}
		if err != nil || !ok {
			return false, err
		}
		r.chunk = c
	}
	r.err = r.decode(r.a.partition, r.at.offset, r.s.c.isolationLevel())
	return true, nil
}

// jump goes on elsewhere.
func (r *reader) jump(ctx context.Context, e *outOfRange) (bool, error) {
	to, err := r.elsewhere(ctx, e)
	if err != nil {
		return false, err
	}
	r.s.fetch.remove(r.l)
	r.s.fetch.forget(r.a.partition)
	return true, r.fetchFrom(to)
}

// Finish makes Read end behind the records there are now: those of transactions that are committed, unless all are read.
func (r *reader) Finish(ctx context.Context) error {
	if r.finishAt.Load() >= 0 {
		return nil
	}
	end, err := listOffset(ctx, r.s.cl, r.s.c.isolation(), r.a.partition, listEnd)
	if err != nil {
		return r.s.c.fw.isClosed(err)
	}
	r.finishAt.CompareAndSwap(-1, end)
	r.s.fetch.nudge(r.a.partition)
	return nil
}

// Lag is how many offsets are ahead that can be read, as of the last fetch. Some may hold no record.
func (r *reader) Lag() weaver.Lag {
	lag := weaver.UnknownLag
	f := r.s.fetch
	f.mu.Lock()
	defer f.mu.Unlock()
	end := r.l.stable
	if r.s.c.ReadUncommitted || end < 0 {
		end = r.l.end
	}
	if end >= 0 {
		lag.Records = max(end-r.next.Load(), 0)
	}
	return lag
}

// Close ends fetching, and waits for the commit of what was acknowledged.
func (r *reader) Close() error {
	r.s.fetch.remove(r.l)
	if r.s.commits != nil {
		r.s.commits.flush(r.a)
	}
	r.release()
	return nil
}

// groupReader is a reader that moves its group's position.
type groupReader struct{ *reader }

// Ack commits the offset, together with those of other partitions. It doesn't wait: Close does, and a failure ends the next
// Read. If the partition has another owner by now it does nothing.
func (r groupReader) Ack(_ context.Context, p weaver.Position) error {
	at, err := decodePosition(p)
	if err != nil {
		return retry.Fatal(err)
	}
	return r.s.commits.ack(r.a, at)
}

var (
	_ weaver.Acker       = groupReader{}
	_ weaver.Finisher    = groupReader{}
	_ weaver.LagReporter = groupReader{}
	_ weaver.Finisher    = (*reader)(nil)
)
