package weaver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Then runs b on what a emits. Two that work record by record (Map, Filter, MapContext, KeyBy …) become one pass
// without a batch in between. A transient failure in a, where a keeps no state, is tried again before b sees the
// records behind it.
func Then[In, Mid, Out any](a Processor[In, Mid], b Processor[Mid, Out]) Processor[In, Out] {
	fa, okA := a.(fusable[In, Mid])
	fb, okB := b.(fusable[Mid, Out])
	if okA && okB {
		return fused(fa.fuse(), fb.fuse())
	}
	return then[In, Mid, Out]{a, b}
}

// fused is one function made of two: of their values alone where that is all they change.
func fused[In, Mid, Out any](a perRecord[In, Mid], b perRecord[Mid, Out]) perRecord[In, Out] {
	if a.value != nil && b.value != nil {
		p := ofValue(func(ctx context.Context, v In) (out Out, err error) {
			mid, err := a.value(ctx, v)
			if err != nil {
				return out, err
			}
			return b.value(ctx, mid)
		})
		p.drops = a.drops || b.drops
		return p
	}
	return perRecord[In, Out]{open: func() recordFunc[In, Out] {
		f, g := a.open(), b.open()
		var mid Record[Mid]
		return func(ctx context.Context, mem *arena, in *Record[In], out *Record[Out]) (bool, error) {
			if ok, err := f(ctx, mem, in, &mid); !ok || err != nil {
				return ok, err
			}
			return g(ctx, mem, &mid, out)
		}
	}}
}

// Chain runs processors of one type one after the other, as Then does. Chain of none is Pass.
func Chain[T any](ps ...Processor[T, T]) Processor[T, T] {
	if len(ps) == 0 {
		return Pass[T]()
	}
	p := ps[0]
	for _, next := range ps[1:] {
		p = Then(p, next)
	}
	return p
}

type then[In, Mid, Out any] struct {
	a Processor[In, Mid]
	b Processor[Mid, Out]
}

func (p then[In, Mid, Out]) OpenStage(ctx context.Context, at Lane) (Stage[In, Out], error) {
	stateA, stateB, err := splitState(at.State)
	if err != nil {
		return nil, err
	}
	if p.a == nil || p.b == nil {
		return nil, errors.New("weaver.Then of a nil Processor")
	}
	at.State = stateA
	a, err := p.a.OpenStage(ctx, at)
	if err != nil {
		return nil, err
	}
	at.State = stateB
	b, err := p.b.OpenStage(ctx, at)
	if err != nil {
		return nil, errors.Join(err, closeStage(a))
	}
	s := &thenStage[In, Mid, Out]{a: a, b: b}
	s.snapA, _ = As[Snapshotter](a)
	s.snapB, _ = As[Snapshotter](b)
	if s.snapA != nil || s.snapB != nil {
		return statefulThen[In, Mid, Out]{s}, nil
	}
	return s, nil
}

type thenStage[In, Mid, Out any] struct {
	a            Stage[In, Mid]
	b            Stage[Mid, Out]
	snapA, snapB Snapshotter
	mid          Batch[Mid]
	emit         Emitter[Mid]
}

func (s *thenStage[In, Mid, Out]) Process(ctx context.Context, in *Batch[In], out *Emitter[Out]) error {
	s.mid.reset(false)
	s.mid.limit(0, 0)
	s.emit.begin(&s.mid, out.mem, len(in.Records))
	s.emit.run = out.run
	if err := s.first(ctx, in); err != nil {
		return err
	}
	s.mid.End = in.End
	inputs := out.inputs
	out.inputs = len(s.mid.Records)
	err := s.b.Process(ctx, &s.mid, out)
	out.inputs = inputs
	if err != nil {
		return err
	}
	if s.emit.traced {
		out.trace()
		for i, j := range out.from {
			if j >= 0 {
				out.from[i] = s.emit.from[j]
			}
		}
		for i := range out.fails {
			if j := out.fails[i].from; j >= 0 {
				out.fails[i].from = int(s.emit.from[j])
			}
		}
	}
	for _, f := range s.emit.fails {
		out.fail(f)
	}
	return nil
}

// first runs a. Where a keeps state only the lane can try again, so what failed is passed on; b must not see it.
func (s *thenStage[In, Mid, Out]) first(ctx context.Context, in *Batch[In]) error {
	if s.snapA == nil {
		return processBatch(ctx, s.a, in, &s.emit)
	}
	if err := callStage(ctx, s.a, in, &s.emit); err != nil {
		return err
	}
	if len(s.emit.fails) > 0 {
		s.emit.void()
	}
	return nil
}

// Close closes those of the two stages that can be closed.
func (s *thenStage[In, Mid, Out]) Close() error {
	return errors.Join(closeStage(s.a), closeStage(s.b))
}

func closeStage(stage any) error {
	if c, ok := stage.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// statefulThen is a thenStage of which one keeps state.
type statefulThen[In, Mid, Out any] struct {
	*thenStage[In, Mid, Out]
}

// Snapshot joins the snapshots of both.
func (s statefulThen[In, Mid, Out]) Snapshot() ([]byte, error) {
	var a, b []byte
	var err error
	if s.snapA != nil {
		if a, err = s.snapA.Snapshot(); err != nil {
			return nil, err
		}
	}
	if s.snapB != nil {
		if b, err = s.snapB.Snapshot(); err != nil {
			return nil, err
		}
	}
	return joinState(a, b), nil
}

const stateVersion = 1

// joinState is a version, the length of a, a, and b.
func joinState(a, b []byte) []byte {
	out := make([]byte, 0, 1+binary.MaxVarintLen64+len(a)+len(b))
	out = append(out, stateVersion)
	out = binary.AppendUvarint(out, uint64(len(a)))
	out = append(out, a...)
	return append(out, b...)
}

func splitState(state []byte) (a, b []byte, err error) {
	if len(state) == 0 {
		return nil, nil, nil
	}
	if state[0] != stateVersion {
		return nil, nil, fmt.Errorf("state of weaver.Then has version %d, this release reads %d", state[0], stateVersion)
	}
	n, k := binary.Uvarint(state[1:])
	if k <= 0 || n > uint64(len(state)-1-k) {
		return nil, nil, errors.New("state of weaver.Then is cut short")
	}
	rest := state[1+k:]
	return rest[:n:n], rest[n:], nil
}
