package weaver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/bohica-labs/dataweaver/retry"
)

// SourceFunc is a source of one split made of a function that keeps nothing: it reads what comes after a position
// into b and returns the position after that, under the contract of Reader.Read. A nil position is the start.
//
// It is all that a source of an API with a cursor needs.
type SourceFunc[T any] func(ctx context.Context, after Position, b *Batch[T]) (Position, error)

// OpenReader returns a Reader that calls f with the position it has come to.
func (f SourceFunc[T]) OpenReader(_ context.Context, at Lane) (Reader[T], error) {
	if f == nil {
		return nil, retry.Fatal(errors.New("weaver.SourceFunc is nil"))
	}
	return &funcReader[T]{f: f, at: at.Position}, nil
}

type funcReader[T any] struct {
	f  SourceFunc[T]
	at Position
}

func (r *funcReader[T]) Read(ctx context.Context, b *Batch[T]) (Position, error) {
	p, err := r.f(ctx, r.at, b)
	if p != nil {
		r.at = p
	}
	return p, err
}

func (*funcReader[T]) Close() error { return nil }

// SinkFunc is a sink made of a function under the contract of Writer.Write: when it returns nil, b is durable. It may
// be called by several goroutines where Pipeline.Writers is above 1.
type SinkFunc[T any] func(ctx context.Context, b *Batch[T]) error

// OpenWriter returns a Writer that calls f.
func (f SinkFunc[T]) OpenWriter(context.Context, Lane) (Writer[T], error) {
	if f == nil {
		return nil, retry.Fatal(errors.New("weaver.SinkFunc is nil"))
	}
	return funcWriter[T]{f}, nil
}

type funcWriter[T any] struct{ f SinkFunc[T] }

func (w funcWriter[T]) Write(ctx context.Context, b *Batch[T]) error { return w.f(ctx, b) }
func (funcWriter[T]) Close() error                                   { return nil }

// FromSeq is a bounded source of what seq yields. Its positions count: to resume, seq is run again and as many records
// are skipped, so it must yield the same ones. An error that it yields recovers the lane, or, marked poison or fatal,
// stops the pipeline.
func FromSeq[T any](seq iter.Seq2[T, error]) Source[T] { return seqSource[T]{seq} }

type seqSource[T any] struct{ seq iter.Seq2[T, error] }

func (s seqSource[T]) String() string { return "weaver.FromSeq" }

func (s seqSource[T]) OpenReader(_ context.Context, at Lane) (Reader[T], error) {
	skip := uint64(0)
	if at.Position != nil {
		n, k := binary.Uvarint(at.Position)
		if k != len(at.Position) {
			return nil, retry.Fatal(fmt.Errorf("position %x is no count of records", []byte(at.Position)))
		}
		skip = n
	}
	r := &seqReader[T]{}
	r.next, r.stop = iter.Pull2(s.seq)
	for ; r.n < skip; r.n++ {
		_, err, ok := r.next()
		if err != nil {
			r.stop()
			return nil, err
		}
		if !ok {
			break
		}
	}
	return r, nil
}

type seqReader[T any] struct {
	next func() (T, error, bool)
	stop func()
	n    uint64
	pos  []byte
}

func (r *seqReader[T]) Read(ctx context.Context, b *Batch[T]) (Position, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	end := false
	for !b.Full() {
		v, err, ok := r.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			end = true
			break
		}
		x := b.Add()
		x.Value = v
		x.Seq = int64(r.n)
		r.n++
	}
	r.pos = binary.AppendUvarint(r.pos[:0], r.n)
	if end {
		return r.pos, io.EOF
	}
	return r.pos, nil
}

func (r *seqReader[T]) Close() error {
	r.stop()
	return nil
}
