package memory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// reader reads a partition. Read, Ack, Finish and Lag may run at once: what they share is atomic or under the stream's
// lock.
type reader struct {
	stream     *stream
	partition  *partition
	index      int
	assignment *assignment
	outOfRange OutOfRange
	next       atomic.Int64 // the offset to read
	finishAt   atomic.Int64 // negative: not asked to finish
	acked      atomic.Int64
	fullAt     int64 // where ErrFull was returned: once is enough
	position   [positionBytes]byte
	closed     atomic.Bool
}

// Read adds what is there.
func (r *reader) Read(ctx context.Context, b *weaver.Batch[[]byte]) (weaver.Position, error) {
	entries, err := r.await(ctx)
	n := 0
	for err == nil && len(entries) > 0 && !b.Full() {
		took := fill(b, entries, r.next.Load())
		n += took
		r.next.Add(int64(took))
		entries, err = r.view()
	}
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil // the next Read says so
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, weaver.ErrFull) {
		return nil, err
	}
	encodePosition(r.position[:], r.stream.life, r.next.Load())
	return r.position[:], err
}

// fill copies records, the first of which has the given offset, into the batch until it is full, and returns how many.
func fill(b *weaver.Batch[[]byte], entries []entry, offset int64) int {
	var headers []weaver.Header // of all records, made once
	for i := range entries {
		if b.Full() {
			return i
		}
		e := &entries[i]
		r := b.Add()
		r.Value, r.Key, r.Op, r.Time = copyBytes(b, e.value), copyBytes(b, e.key), e.op, e.time
		r.Seq = offset + int64(i)
		if e.headers == nil {
			continue
		}
		if cap(headers)-len(headers) < len(e.headers) {
			headers = make([]weaver.Header, 0, max(len(e.headers)*min(len(entries)-i, 512), 1))
		}
		m := len(headers)
		for j := range e.headers {
			headers = append(headers, weaver.Header{Key: e.headers[j].Key, Value: copyBytes(b, e.headers[j].Value)})
		}
		r.Headers = headers[m:len(headers):len(headers)]
	}
	return len(entries)
}

// copyBytes is b.Copy that keeps the empty apart from nil.
func copyBytes(b *weaver.Batch[[]byte], p []byte) []byte {
	if p != nil && len(p) == 0 {
		return []byte{}
	}
	return b.Copy(p)
}

// await returns records, when there are some. io.EOF: Finish was called and there are no more. ErrFull: a Write waits
// for the Ack of what was read.
func (r *reader) await(ctx context.Context) ([]entry, error) {
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		entries, err := r.view()
		if err != nil || len(entries) > 0 {
			return entries, err
		}
		next := r.next.Load()
		s := r.stream
		s.mu.Lock()
		if r.partition.end != next || s.closed || r.closed.Load() || r.finishAt.Load() >= 0 || r.partition.start > next || r.assignment.ended() {
			s.mu.Unlock()
			continue // it has changed since
		}
		if s.waiting > 0 && r.assignment.group != nil && r.fullAt != next && next > r.acked.Load() {
			r.fullAt = next
			s.mu.Unlock()
			return nil, weaver.ErrFull
		}
		err = s.wait(ctx, &r.partition.changed, time.Time{})
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
}

// view returns the records there are to read now, in one piece of memory.
func (r *reader) view() ([]entry, error) {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case r.closed.Load():
		return nil, errors.New("memory: the reader is closed")
	case r.assignment.ended():
		return nil, errMoved(s.config.Name, r.index)
	}
	next, err := r.inRange(r.next.Load())
	if err != nil {
		return nil, err
	}
	r.next.Store(next)
	entries := r.partition.view(next)
	if end := r.finishAt.Load(); end >= 0 {
		if next >= end {
			return nil, io.EOF
		}
		entries = entries[:min(int64(len(entries)), end-next)]
	}
	return entries, nil
}

// inRange returns where to read when asked to read at an offset: there, if there is anything. The stream is locked.
func (r *reader) inRange(offset int64) (int64, error) {
	p := r.partition
	if p.start <= offset && offset <= p.end {
		return offset, nil
	}
	switch r.outOfRange {
	case ToEarliest:
		return p.start, nil
	case ToLatest:
		return p.end, nil
	case Fail:
	}
	const help = "remove the checkpoint or set Consumer.OutOfRange"
	switch {
	case offset < 0:
		return 0, retry.Fatal(fmt.Errorf("memory: the position is one of another stream %q, which is gone (an earlier process?): %s", r.stream.config.Name, help))
	case offset > p.end:
		return 0, retry.Fatal(fmt.Errorf("memory: position %d is behind the end, %d, of partition %d of stream %q: %s", offset, p.end, r.index, r.stream.config.Name, help))
	default:
		return 0, retry.Fatal(fmt.Errorf("memory: position %d in partition %d of stream %q was dropped (MaxBytes, Retention), the oldest record kept is %d: %s",
			offset, r.index, r.stream.config.Name, p.start, help))
	}
}

// Finish makes Read end after the records there are now.
func (r *reader) Finish(context.Context) error {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	r.finishAt.CompareAndSwap(-1, max(r.partition.end, r.next.Load()))
	r.partition.changed.wake()
	return nil
}

// Lag is how many records there are that weren't read.
func (r *reader) Lag() weaver.Lag {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	lag := weaver.UnknownLag
	lag.Records = max(r.partition.end-r.next.Load(), 0)
	return lag
}

// Close ends the reader.
func (r *reader) Close() error {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	r.closed.Store(true)
	r.partition.changed.wake()
	return nil
}

// groupReader is a reader that moves its group's position.
type groupReader struct{ *reader }

// Ack moves the group's position, never back. If the partition has another owner by now it does nothing.
func (r groupReader) Ack(_ context.Context, p weaver.Position) error {
	life, offset, err := decodePosition(p)
	if err != nil {
		return err
	}
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case life != s.life || offset > r.partition.end:
		return errors.New("memory: Ack of a position that no reader of this stream returned")
	}
	r.acked.Store(offset)
	g := r.assignment.group
	if r.assignment.ended() || offset <= g.positions[r.index] {
		return nil
	}
	g.positions[r.index] = offset
	s.settlePartition(r.index)
	return nil
}

var (
	_ weaver.Acker       = groupReader{}
	_ weaver.Finisher    = groupReader{}
	_ weaver.LagReporter = groupReader{}
	_ weaver.Finisher    = (*session)(nil)
	_ weaver.Finisher    = (*everything)(nil)
)
