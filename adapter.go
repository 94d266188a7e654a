package weaver

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"

	"github.com/bohica-labs/dataweaver/retry"
)

// ErrSkip is returned by a user's function in any of the adapters to filter the record out: it is settled, and no
// error.
var ErrSkip = errors.New("weaver: skip this record")

// recordFunc makes *out, whose content is undefined before, from *in. It reports whether there is an output. What it
// makes of bytes lives in mem.
type recordFunc[In, Out any] func(ctx context.Context, mem *arena, in *Record[In], out *Record[Out]) (bool, error)

// fusable is a Processor that works record by record, so that Then can run it without a batch in between.
type fusable[In, Out any] interface {
	fuse() perRecord[In, Out]
}

// valueFunc is a recordFunc that only makes a value from a value.
type valueFunc[In, Out any] func(ctx context.Context, v In) (Out, error)

// perRecord is the Processor of a recordFunc.
type perRecord[In, Out any] struct {
	open  func() recordFunc[In, Out] // a fresh one for each stage: it may own scratch memory
	value valueFunc[In, Out]         // the same, where all but the value is carried over; else nil
	drops bool                       // it often skips
}

func (p perRecord[In, Out]) fuse() perRecord[In, Out] { return p }

func (p perRecord[In, Out]) OpenStage(context.Context, Lane) (Stage[In, Out], error) {
	return &recordStage[In, Out]{p.open(), p.value, p.drops}, nil
}

type recordStage[In, Out any] struct {
	f     recordFunc[In, Out]
	value valueFunc[In, Out]
	drops bool
}

func (s *recordStage[In, Out]) Process(ctx context.Context, in *Batch[In], out *Emitter[Out]) error {
	s.from(ctx, in, out, 0)
	return nil
}

// from works from record i on.
func (s *recordStage[In, Out]) from(ctx context.Context, in *Batch[In], out *Emitter[Out], i int) {
	for i < len(in.Records) {
		i = s.run(ctx, in, out, i)
	}
}

// inPlace changes values where they are, which is possible where In is Out (same is in): half the memory is touched.
// It returns how many records it has done: the next one has failed with err or is skipped, and is left as it was.
func (s *recordStage[In, Out]) inPlace(ctx context.Context, in *Batch[In], same *Batch[Out]) (done int, err error) {
	i := 0
	defer func() {
		if v := recover(); v != nil {
			done, err = i, recovered(v)
		}
	}()
	f := s.value
	for ; i < len(in.Records); i++ {
		r := &in.Records[i]
		if r.Op == Delete {
			continue
		}
		v, err := f(ctx, r.Value)
		if err != nil {
			return i, err
		}
		same.Records[i].Value = v
	}
	return i, nil
}

// run works from record i on to the end, or to a panic, and returns where to go on.
func (s *recordStage[In, Out]) run(ctx context.Context, in *Batch[In], out *Emitter[Out], i int) (next int) {
	made := len(out.out.Records)
	defer func() {
		if v := recover(); v != nil {
			out.trace()
			out.cut(made)
			out.Fail(i, recovered(v))
			next = i + 1
		}
	}()
	for ; i < len(in.Records); i++ {
		slot := out.out.slot()
		ok, err := s.f(ctx, out.mem, &in.Records[i], slot)
		if ok && err == nil {
			if out.traced {
				out.from = append(out.from, int32(i))
			}
			made++
			continue
		}
		out.out.Records = out.out.Records[:made]
		out.trace()
		if err != nil && !errors.Is(err, ErrSkip) {
			out.Fail(i, err)
		}
	}
	return i
}

// recovered makes poison of what recover returned, with the stack of the panic.
func recovered(v any) error { return retry.Permanent(&PanicError{Value: v, Stack: debug.Stack()}) }

// pure marks an error of a function that depends on nothing but its argument: it will fail again.
func pure(err error) error {
	if retry.ClassOf(err) == retry.ClassUnmarked && !errors.Is(err, ErrSkip) {
		return retry.Permanent(err)
	}
	return err
}

// carry copies all but the value.
func carry[In, Out any](out *Record[Out], in *Record[In]) {
	out.Key, out.Op, out.Time, out.Headers, out.Seq = in.Key, in.Op, in.Time, in.Headers, in.Seq
}

// Map makes a value from a value; key, time and the rest are carried over. F is pure: an unmarked error is poison. A
// Delete passes through untouched, with a zero value where the types differ.
func Map[In, Out any](f func(In) (Out, error)) Processor[In, Out] {
	mustHave("Map", f == nil)
	return ofValue(func(_ context.Context, v In) (Out, error) {
		out, err := f(v)
		if err != nil {
			return out, pure(err)
		}
		return out, nil
	})
}

// ofValue makes a Processor of a valueFunc. Deletes pass through.
func ofValue[In, Out any](f valueFunc[In, Out]) perRecord[In, Out] {
	return perRecord[In, Out]{
		value: f,
		open: func() recordFunc[In, Out] {
			return func(ctx context.Context, _ *arena, in *Record[In], out *Record[Out]) (bool, error) {
				carry(out, in)
				if in.Op == Delete {
					out.Value = castOrZero[In, Out](in.Value)
					return true, nil
				}
				var err error
				out.Value, err = f(ctx, in.Value)
				return err == nil, err
			}
		},
	}
}

// mustHave panics for a nil function: it could only fail at the first record.
func mustHave(adapter string, isNil bool) {
	if isNil {
		panic("weaver." + adapter + ": the function is nil")
	}
}

// castOrZero is v where both types are one, as they are for a Delete that passes through Map.
func castOrZero[In, Out any](v In) Out {
	out, _ := any(v).(Out)
	return out
}

// MapContext is Map for a function that calls something else: an unmarked error is transient, tried again up to
// MaxAttempts and then dead-lettered. Its ctx outlives a stop by StopTimeout.
//
// To wait for as long as what it calls is out, mark such errors retry.Transient and set Retry.PerClass for
// retry.ClassTransient to a MaxAttempts below 0: then nothing is dead-lettered by an outage.
func MapContext[In, Out any](f func(context.Context, In) (Out, error)) Processor[In, Out] {
	mustHave("MapContext", f == nil)
	return ofValue(valueFunc[In, Out](f))
}

// MapRecord sees everything, Deletes included: f gets the record and one to fill that has all but the value carried
// over. An unmarked error is transient, as in MapContext.
func MapRecord[In, Out any](f func(ctx context.Context, in *Record[In], out *Record[Out]) error) Processor[In, Out] {
	mustHave("MapRecord", f == nil)
	return perRecord[In, Out]{open: func() recordFunc[In, Out] {
		return func(ctx context.Context, _ *arena, in *Record[In], out *Record[Out]) (bool, error) {
			var zero Out
			out.Value = zero
			carry(out, in)
			err := f(ctx, in, out)
			return err == nil, err
		}
	}}
}

// Filter keeps the records for which keep is true, and all Deletes. Keep is pure: an unmarked error is poison.
func Filter[T any](keep func(T) (bool, error)) Processor[T, T] {
	mustHave("Filter", keep == nil)
	p := ofValue(func(_ context.Context, v T) (T, error) {
		ok, err := keep(v)
		if err != nil {
			return v, pure(err)
		}
		if !ok {
			return v, ErrSkip
		}
		return v, nil
	})
	p.drops = true
	return p
}

// KeyBy sets the key of each record to what key returns for its value. A Delete keeps the key it has.
func KeyBy[T any](key func(T) string) Processor[T, T] {
	mustHave("KeyBy", key == nil)
	return perRecord[T, T]{open: func() recordFunc[T, T] {
		return func(_ context.Context, mem *arena, in, out *Record[T]) (bool, error) {
			*out = *in
			if in.Op != Delete {
				k := key(in.Value)
				out.Key = mem.bytes(len(k))
				copy(out.Key, k)
			}
			return true, nil
		}
	}}
}

// Pass leaves everything as it is, at no cost: what was read is written.
func Pass[T any]() Processor[T, T] { return pass[T]{} }

type pass[T any] struct{}

func (pass[T]) OpenStage(context.Context, Lane) (Stage[T, T], error) { return pass[T]{}, nil }

func (pass[T]) Process(_ context.Context, in *Batch[T], out *Emitter[T]) error {
	for i := range in.Records {
		out.Emit(i, in.Records[i])
	}
	return nil
}

func (pass[T]) fuse() perRecord[T, T] {
	return ofValue(func(_ context.Context, v T) (T, error) { return v, nil })
}

// FlatMap makes any number of values from one: f calls emit for each. F is pure: an unmarked error is poison, and what
// was emitted for that value before it is void. Each output carries key, time and the rest over. A Delete passes
// through untouched, with a zero value where the types differ.
func FlatMap[In, Out any](f func(v In, emit func(Out)) error) Processor[In, Out] {
	mustHave("FlatMap", f == nil)
	return flatMap[In, Out]{f}
}

type flatMap[In, Out any] struct {
	f func(v In, emit func(Out)) error
}

func (p flatMap[In, Out]) OpenStage(context.Context, Lane) (Stage[In, Out], error) {
	s := &flatMapStage[In, Out]{f: p.f}
	s.emitFunc = s.emit // once a stage: a closure a batch would be an allocation a batch
	return s, nil
}

type flatMapStage[In, Out any] struct {
	f        func(v In, emit func(Out)) error
	emitFunc func(Out)
	in       *Record[In]
	from     int
	out      *Emitter[Out]
}

func (s *flatMapStage[In, Out]) emit(v Out) {
	r := s.out.Next(s.from)
	carry(r, s.in)
	r.Value = v
}

func (s *flatMapStage[In, Out]) Process(_ context.Context, in *Batch[In], out *Emitter[Out]) error {
	s.out = out
	for i := range in.Records {
		s.in, s.from = &in.Records[i], i
		if err := s.one(); err != nil && !errors.Is(err, ErrSkip) {
			out.Fail(i, pure(err))
		}
	}
	s.in, s.out = nil, nil
	return nil
}

func (s *flatMapStage[In, Out]) one() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = recovered(v)
		}
	}()
	if s.in.Op == Delete {
		s.emit(castOrZero[In, Out](s.in.Value))
		return nil
	}
	return s.f(s.in.Value, s.emitFunc)
}

// MapAsync is MapContext with up to n calls of f at once within a batch; order is kept. It is for functions that wait
// (a lookup over the network). For ones that compute, set Pipeline.Parallelism.
func MapAsync[In, Out any](n int, f func(context.Context, In) (Out, error)) Processor[In, Out] {
	mustHave("MapAsync", f == nil)
	return mapAsync[In, Out]{max(n, 1), f}
}

type mapAsync[In, Out any] struct {
	n int
	f func(context.Context, In) (Out, error)
}

func (p mapAsync[In, Out]) OpenStage(context.Context, Lane) (Stage[In, Out], error) {
	return &mapAsyncStage[In, Out]{mapAsync: p}, nil
}

type mapAsyncStage[In, Out any] struct {
	mapAsync[In, Out]
	values []Out
	errs   []error
}

func (s *mapAsyncStage[In, Out]) Process(ctx context.Context, in *Batch[In], out *Emitter[Out]) error {
	n := len(in.Records)
	s.values, s.errs = make([]Out, n), make([]error, n)
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(s.n, n) {
		wg.Go(func() {
			for i := range next {
				s.values[i], s.errs[i] = s.one(ctx, &in.Records[i])
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	for i := range n {
		switch err := s.errs[i]; {
		case err == nil:
			r := out.Next(i)
			carry(r, &in.Records[i])
			r.Value = s.values[i]
		case !errors.Is(err, ErrSkip):
			out.Fail(i, err)
		}
	}
	return nil
}

func (s *mapAsyncStage[In, Out]) one(ctx context.Context, r *Record[In]) (v Out, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = recovered(p)
		}
	}()
	if r.Op == Delete {
		return castOrZero[In, Out](r.Value), nil
	}
	return s.f(ctx, r.Value)
}
