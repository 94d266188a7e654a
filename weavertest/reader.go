package weavertest

import (
	"context"
	"errors"
	"io"

	weaver "github.com/bohica-labs/dataweaver"
)

// reader reads a split of a Source. Everything but busy calls is guarded by the source's lock.
type reader[T any] struct {
	source   *Source[T]
	split    *sourceSplit[T]
	id       string
	next     int
	acked    int
	finishAt int          // where Finish was called; negative: it wasn't
	returned map[int]bool // positions that may be acknowledged
	reading  bool
	acking   bool
	failed   error
	closed   bool
}

// Read adds what is there.
func (r *reader[T]) Read(ctx context.Context, b *weaver.Batch[T]) (weaver.Position, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	p, err := r.read(ctx, b)
	s := r.source
	s.mu.Lock()
	defer s.mu.Unlock()
	r.reading = false
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, weaver.ErrFull) {
		r.failed = err
	}
	return p, err
}

// enter checks that the engine may read now.
func (r *reader[T]) enter() error {
	s := r.source
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.closed:
		return s.misuse.addf("Read after Close, split %q", r.id)
	case r.reading:
		return s.misuse.addf("two Reads at once, split %q", r.id)
	case r.failed != nil:
		return s.misuse.addf("Read after a Read that failed (%v), split %q: the reader must be closed", r.failed, r.id)
	}
	r.reading = true
	return nil
}

func (r *reader[T]) read(ctx context.Context, b *weaver.Batch[T]) (weaver.Position, error) {
	s := r.source
	s.mu.Lock()
	from := r.next
	s.mu.Unlock()
	fault, err := s.begin(ctx, CallRead, r.id, from)
	if err != nil {
		return nil, err
	}
	for {
		s.mu.Lock()
		n := r.fill(b)
		p, err, done := r.outcome(n)
		if fault != nil && fault.Err != nil {
			err, done = fault.Err, true
		}
		if done {
			s.mu.Unlock()
			return p, err
		}
		changed := s.changed.wait()
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// fill adds records up to the next point where something happens.
func (r *reader[T]) fill(b *weaver.Batch[T]) int {
	s := r.source
	end := min(r.end(), s.faults.next(s.Faults, r.id, r.next))
	if s.Window > 0 {
		end = min(end, r.window())
	}
	if s.ReadSize > 0 {
		end = min(end, r.next+s.ReadSize)
	}
	n := 0
	for ; r.next < end && !b.Full(); r.next++ {
		from := &r.split.records[r.next]
		to := b.Add()
		*to = *from
		to.Value = lend(b, s.clone, from.Value)
		to.Key = copyBytes(b, from.Key)
		if from.Headers != nil {
			to.Headers = make(weaver.Headers, len(from.Headers))
			for i, h := range from.Headers {
				to.Headers[i] = weaver.Header{Key: h.Key, Value: copyBytes(b, h.Value)}
			}
		}
		n++
	}
	r.split.delivered += n
	return n
}

// lend puts a value that is bytes into the batch's memory, so that whoever keeps it finds garbage later.
func lend[T any](b *weaver.Batch[T], clone func(T) T, v T) T {
	if p, ok := any(v).([]byte); ok {
		return any(copyBytes(b, p)).(T)
	}
	return clone(v)
}

// window is the index that Read doesn't pass before an Ack. There is a position at it, or it could never move.
func (r *reader[T]) window() int {
	every := max(r.source.PositionEvery, 1)
	return (r.acked + r.source.Window + every - 1) / every * every
}

// copyBytes is b.Copy that keeps the empty apart from nil.
func copyBytes[T any](b *weaver.Batch[T], p []byte) []byte {
	if p != nil && len(p) == 0 {
		return []byte{}
	}
	return b.Copy(p)
}

// end is the index behind the last record that this reader may add now.
func (r *reader[T]) end() int {
	if r.finishAt >= 0 {
		return r.finishAt
	}
	return len(r.split.records)
}

// outcome is what a Read that added n records returns; not done: it waits.
func (r *reader[T]) outcome(n int) (p weaver.Position, err error, done bool) { //nolint:revive // the error is a result like the others
	s := r.source
	ends := r.finishAt >= 0 || !s.Endless
	atEnd := ends && r.next >= r.end()
	every := max(s.PositionEvery, 1)
	if r.next%every == 0 || atEnd {
		p = position(r.next)
		if r.returned == nil {
			r.returned = make(map[int]bool)
		}
		r.returned[r.next] = true
	}
	switch {
	case atEnd && (n == 0 || s.EagerEOF):
		return p, io.EOF, true
	case s.Window > 0 && r.next >= r.window() && !atEnd:
		return p, weaver.ErrFull, true
	}
	return p, nil, n > 0
}

// Finish makes the reader end after the records there are now.
func (r *reader[T]) Finish(context.Context) error {
	s := r.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.finishAt < 0 {
		r.finishAt = max(len(r.split.records), r.next)
	}
	s.changed.wake()
	return nil
}

// Lag is how many records there are that this reader hasn't added.
func (r *reader[T]) Lag() weaver.Lag {
	r.source.mu.Lock()
	defer r.source.mu.Unlock()
	lag := weaver.UnknownLag
	lag.Records = int64(len(r.split.records) - r.next)
	return lag
}

// Progress is how many records this reader has added, of those there are.
func (r *reader[T]) Progress() weaver.Progress {
	r.source.mu.Lock()
	defer r.source.mu.Unlock()
	p := weaver.UnknownProgress
	p.Records, p.TotalRecords = int64(r.next), int64(len(r.split.records))
	return p
}

// Close ends the reader.
func (r *reader[T]) Close() error {
	s := r.source
	fault, err := s.begin(context.Background(), CallClose, r.id, 0)
	if fault != nil {
		err = fault.Err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.closed:
		return s.misuse.addf("Close twice, split %q", r.id)
	case r.reading && !s.deaf():
		_ = s.misuse.addf("Close beside Read, split %q", r.id)
	case r.acking && !s.deaf():
		_ = s.misuse.addf("Close beside Ack, split %q", r.id)
	}
	r.closed = true
	r.split.open--
	s.open--
	s.changed.wake()
	return err
}

// ackReader is a reader that is an Acker.
type ackReader[T any] struct{ *reader[T] }

// Ack takes note of what is durable.
func (r *ackReader[T]) Ack(ctx context.Context, p weaver.Position) error {
	s := r.source
	s.mu.Lock()
	n, err := r.ackable(p)
	r.acking = true
	s.mu.Unlock()
	var fault *Fault
	if err == nil {
		fault, err = s.begin(ctx, CallAck, r.id, 0)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.acking = false
	if err != nil {
		return err
	}
	for i := range r.returned {
		if i < n {
			delete(r.returned, i)
		}
	}
	r.acked = n
	r.split.acked = max(r.split.acked, n)
	s.changed.wake()
	if fault != nil {
		return fault.Err
	}
	return nil
}

// ackable checks that the engine may acknowledge p now.
func (r *ackReader[T]) ackable(p weaver.Position) (int, error) {
	s := r.source
	n, err := parsePosition(p)
	switch {
	case r.closed:
		return 0, s.misuse.addf("Ack(%q) after Close, split %q", p, r.id)
	case r.acking:
		return 0, s.misuse.addf("two Acks at once, split %q", r.id)
	case err == nil && n < r.acked:
		return 0, s.misuse.addf("Ack(%q) after Ack(%q), split %q", p, position(r.acked), r.id)
	case err != nil || !r.returned[n]:
		return 0, s.misuse.addf("Ack(%q), which this reader didn't return and wasn't opened at, split %q", p, r.id)
	}
	return n, nil
}
