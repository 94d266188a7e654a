package weaver_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
)

// ints is a source of the numbers below n, all in one split unless splits says more. Its readers read as many as fit,
// or step at once, and wait for ctx behind the last one if it is endless.
type ints struct {
	n, step int
	endless bool
	acks    bool
	every   time.Duration                                           // before each Read
	txn     int                                                     // a position only behind so many records; 0: behind each batch
	read    func(at int, b *weaver.Batch[int]) error                // before each Read; ErrIgnored: goes on
	key     func(i int) []byte                                      // of a record
	open    func(at weaver.Lane) error                              // before each OpenReader
	onAck   func(upTo int) error                                    // at each Ack
	end     func() (weaver.Position, error)                         // what Read returns behind the last record
	onClose func()                                                  // at each Close
	pos     func(at int, p weaver.Position) (weaver.Position, bool) // what Read returns instead

	opens atomic.Int64
	acked atomic.Int64
}

func intPos(i int) weaver.Position { return binary.BigEndian.AppendUint64(nil, uint64(i)) }

func posInt(p weaver.Position) int {
	if p == nil {
		return 0
	}
	return int(binary.BigEndian.Uint64(p))
}

type intReader struct {
	s    *ints
	at   int
	done chan struct{}
	once sync.Once
}

type intAcker struct{ *intReader }

func (s *ints) OpenReader(_ context.Context, at weaver.Lane) (weaver.Reader[int], error) {
	s.opens.Add(1)
	if s.open != nil {
		if err := s.open(at); err != nil {
			return nil, err
		}
	}
	r := &intReader{s: s, at: posInt(at.Position), done: make(chan struct{})}
	if s.acks {
		r.at = max(r.at, int(s.acked.Load()))
		return intAcker{r}, nil
	}
	return r, nil
}

func (r *intReader) Read(ctx context.Context, b *weaver.Batch[int]) (weaver.Position, error) {
	s := r.s
	if s.every > 0 {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(s.every):
		}
	}
	if s.read != nil {
		if err := s.read(r.at, b); err != nil {
			return nil, err
		}
	}
	if r.at == s.n && s.endless {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-r.done:
			return nil, io.EOF
		}
	}
	for k := 0; r.at < s.n && !b.Full() && (s.step == 0 || k < s.step); k++ {
		x := b.Add()
		x.Value, x.Seq = r.at, int64(r.at)
		if s.key != nil {
			x.Key = b.Copy(s.key(r.at))
		}
		r.at++
	}
	p := intPos(r.at)
	if s.txn > 0 && r.at%s.txn != 0 && r.at != s.n {
		p = nil
	}
	if s.pos != nil {
		p, _ = s.pos(r.at, p)
	}
	if r.at == s.n && !s.endless {
		if s.end != nil {
			return s.end()
		}
		return p, io.EOF
	}
	return p, nil
}

func (r *intReader) Finish(context.Context) error {
	r.once.Do(func() { close(r.done) })
	return nil
}

func (r *intReader) Close() error {
	if r.s.onClose != nil {
		r.s.onClose()
	}
	return nil
}

func (r intAcker) Ack(_ context.Context, p weaver.Position) error {
	if r.s.onAck != nil {
		if err := r.s.onAck(posInt(p)); err != nil {
			return err
		}
	}
	r.s.acked.Store(int64(posInt(p)))
	return nil
}

type intQueue struct{ *ints }

func (intQueue) Queue() bool { return true }

// sunk keeps what a sink was given.
type sunk[T any] struct {
	mu     sync.Mutex
	values []T
	keys   []string
	calls  int
	write  func(ctx context.Context, call int, b *weaver.Batch[T]) error // before each Write; an error: nothing is kept
}

func (s *sunk[T]) OpenWriter(context.Context, weaver.Lane) (weaver.Writer[T], error) {
	return sunkWriter[T]{s}, nil
}

func (s *sunk[T]) all() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]T(nil), s.values...)
}

type sunkWriter[T any] struct{ s *sunk[T] }

func (w sunkWriter[T]) Write(ctx context.Context, b *weaver.Batch[T]) error {
	s := w.s
	s.mu.Lock()
	s.calls++
	call := s.calls
	s.mu.Unlock()
	if s.write != nil {
		if err := s.write(ctx, call, b); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range b.Records {
		s.values = append(s.values, b.Records[i].Value)
		s.keys = append(s.keys, string(b.Records[i].Key))
	}
	return nil
}

func (sunkWriter[T]) Close() error { return nil }

// kept is a sink of Flushers, or, with commits, of Checkpointers.
type kept struct {
	commits  bool
	onWrite  func(values []int) error
	onFlush  func(values []int) error // or Commit
	due      bool
	mu       sync.Mutex
	durable  []int
	envelope []byte
	flushes  int
	opens    int
}

type keptWriter struct {
	s      *kept
	staged []int
}

type keptCheckpointer struct{ *keptWriter }

type keptFlusher struct{ *keptWriter }

func (s *kept) OpenWriter(context.Context, weaver.Lane) (weaver.Writer[int], error) {
	s.mu.Lock()
	s.opens++
	s.mu.Unlock()
	if s.commits {
		return keptCheckpointer{&keptWriter{s: s}}, nil
	}
	return keptFlusher{&keptWriter{s: s}}, nil
}

func (s *kept) all() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]int(nil), s.durable...)
}

func (w *keptWriter) Write(_ context.Context, b *weaver.Batch[int]) error {
	values := make([]int, 0, len(b.Records))
	for i := range b.Records {
		values = append(values, b.Records[i].Value)
	}
	if w.s.onWrite != nil {
		err := w.s.onWrite(values)
		if batch := (*weaver.BatchError)(nil); errors.As(err, &batch) && !batch.RolledBack {
			bad := map[int]bool{}
			for _, r := range batch.Records {
				bad[r.Index] = true
			}
			for i, v := range values {
				if !bad[i] {
					w.staged = append(w.staged, v)
				}
			}
		}
		if err != nil {
			return err
		}
	}
	w.staged = append(w.staged, values...)
	return nil
}

func (w *keptWriter) Due() bool    { return w.s.due }
func (w *keptWriter) Close() error { return nil }

func (w *keptWriter) settle(envelope []byte) error {
	s := w.s
	if s.onFlush != nil {
		if err := s.onFlush(w.staged); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushes++
	s.durable = append(s.durable, w.staged...)
	s.envelope = append([]byte(nil), envelope...)
	w.staged = nil
	return nil
}

func (w keptFlusher) Flush(context.Context) error { return w.settle(nil) }

func (w keptCheckpointer) Restore(context.Context) ([]byte, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return bytes.Clone(w.s.envelope), nil
}

func (w keptCheckpointer) Commit(_ context.Context, env []byte) error { return w.settle(env) }

// dead is a sink of dead letters.
type dead struct {
	sunk[weaver.Rejected[int]]
	found []int
}

func (d *dead) OpenWriter(ctx context.Context, at weaver.Lane) (weaver.Writer[weaver.Rejected[int]], error) {
	w, err := d.sunk.OpenWriter(ctx, at)
	return deadSunk{w, d}, err
}

type deadSunk struct {
	weaver.Writer[weaver.Rejected[int]]
	d *dead
}

func (w deadSunk) Write(ctx context.Context, b *weaver.Batch[weaver.Rejected[int]]) error {
	if err := w.Writer.Write(ctx, b); err != nil {
		return err
	}
	for i := range b.Records {
		if v := b.Records[i].Value.Value; v != nil { // it points into the engine's memory
			w.d.found = append(w.d.found, *v)
		}
	}
	return nil
}

func (d *dead) numbers() []int { return d.found }

// hushed keeps a pipeline's log out of the test's.
func hushed[In, Out any](p *weaver.Pipeline[In, Out]) *weaver.Pipeline[In, Out] {
	p.Log = slog.New(slog.DiscardHandler)
	p.Scribble = true
	return p
}

func pass(n int) (int, error) { return n, nil }

func below(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// bubble runs f in virtual time; a Run that hangs there is a deadlock, which synctest reports.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

// runWithin runs p and fails the test if it takes longer, by the virtual clock.
func runWithin(t *testing.T, p weaver.Runner, most time.Duration) error {
	t.Helper()
	start := time.Now()
	err := p.Run(t.Context())
	require.LessOrEqual(t, time.Since(start), most)
	return err
}

var exactly = retry.Policy{Initial: time.Second, Multiplier: 1, Jitter: retry.NoJitter}

var _ checkpoint.Store = (*checkpoint.Memory)(nil)

func endAt(n, end int) error {
	if n == end {
		return io.EOF
	}
	return nil
}
