package weaver

import (
	"context"
	"errors"
	"fmt"
)

// Processor turns records of one type into records of another. It is immutable configuration and safe for concurrent
// use. Most are made by the adapters: Map, Filter, FlatMap, KeyBy, Then and their like.
type Processor[In, Out any] interface {
	// OpenStage opens the stage of one lane, or one of several where Pipeline.Parallelism is above 1 and the stage is
	// no Snapshotter. Errors are classed as in Source.OpenReader. A Stage that is an io.Closer is closed with its lane.
	OpenStage(ctx context.Context, at Lane) (Stage[In, Out], error)
}

// Stage processes the batches of one lane in order. It has one owner and is called one call at a time.
type Stage[In, Out any] interface {
	// Process emits what the records of in become. A record that is neither emitted nor failed is filtered, which
	// settles it. A returned error recovers the lane, state included: it is transient unless it is marked; marked
	// poison, the engine replays in halves until it knows the record.
	//
	// A batch without records is a tick, or, with End set, the end of the split.
	Process(ctx context.Context, in *Batch[In], out *Emitter[Out]) error
}

// StageFunc is a function that is a Stage, and a Processor that opens itself. It keeps no state of its own: it is
// called for several lanes at once.
type StageFunc[In, Out any] func(ctx context.Context, in *Batch[In], out *Emitter[Out]) error

// OpenStage returns f.
func (f StageFunc[In, Out]) OpenStage(context.Context, Lane) (Stage[In, Out], error) { return f, nil }

// Process calls f.
func (f StageFunc[In, Out]) Process(ctx context.Context, in *Batch[In], out *Emitter[Out]) error {
	return f(ctx, in, out)
}

// Emitter takes what a Stage makes of a batch. Each output names the input it was made from, so that an input is
// settled only when all it became is durable, and blamed when one of them can't be written.
type Emitter[T any] struct {
	out    *Batch[T]
	mem    *arena  // of the flight; a stage inside Then shares that of the outermost
	from   []int32 // the input of each record of out, where traced
	traced bool    // otherwise record i was made from input i
	inputs int
	fails  []failure
	misuse error
	run    *stageRun // nil outside of a Pipeline
}

// failure is what Fail was given. attempts is set by a composite stage that has tried again on its own.
type failure struct {
	from     int
	err      error
	attempts int
}

// NewEmitter returns an Emitter for a batch of so many inputs that appends to out, for tests of stages and for those
// who drive them without a Pipeline.
func NewEmitter[T any](out *Batch[T], inputs int) *Emitter[T] {
	e := &Emitter[T]{}
	e.begin(out, &out.arena, inputs)
	return e
}

func (e *Emitter[T]) begin(out *Batch[T], mem *arena, inputs int) {
	e.out, e.mem, e.inputs = out, mem, inputs
	e.traced = false
	e.from = e.from[:0]
	clear(e.fails)
	e.fails = e.fails[:0]
	e.misuse = nil
}

// Next returns a zeroed record made from in.Records[from], to be filled; from < 0: made from state. The pointer is
// good until the next call.
func (e *Emitter[T]) Next(from int) *Record[T] {
	e.link(from)
	return e.out.Add()
}

// Emit appends r, made from in.Records[from]; from < 0: made from state.
func (e *Emitter[T]) Emit(from int, r Record[T]) {
	e.link(from)
	e.out.Records = append(e.out.Records, r)
}

// Fail says that in.Records[from] failed. Anything emitted from it in this call is void. The class of err decides: a
// poison record is dead-lettered, a transient one (also an unmarked error) is tried again up to MaxAttempts.
func (e *Emitter[T]) Fail(from int, err error) { e.fail(failure{from: from, err: err}) }

func (e *Emitter[T]) fail(f failure) {
	if f.err == nil {
		f.err = errors.New("the stage failed this record and didn't say why")
	}
	if f.from >= e.inputs {
		e.misused(fmt.Errorf("Emitter.Fail(%d) in a batch of %d: %w", f.from, e.inputs, f.err))
		return
	}
	e.fails = append(e.fails, f)
}

// Bytes returns n bytes of undefined content that live as long as the flight.
func (e *Emitter[T]) Bytes(n int) []byte { return e.mem.bytes(n) }

// Failures visits what Fail was given, for tests of stages and for those who drive them without a Pipeline.
func (e *Emitter[T]) Failures(visit func(from int, err error) bool) {
	for _, f := range e.fails {
		if !visit(f.from, f.err) {
			return
		}
	}
}

// From returns which input record i of the output was made from; -1: from state.
func (e *Emitter[T]) From(i int) int {
	if !e.traced {
		return i
	}
	return int(e.from[i])
}

func (e *Emitter[T]) link(from int) {
	if from >= e.inputs {
		e.misused(fmt.Errorf("Emitter.Next(%d) or Emit(%d) in a batch of %d", from, from, e.inputs))
	}
	if !e.traced {
		if from == len(e.out.Records) {
			return
		}
		e.trace()
	}
	e.from = append(e.from, int32(max(from, -1)))
}

// trace writes down the identity that held so far.
func (e *Emitter[T]) trace() {
	if e.traced {
		return
	}
	e.traced = true
	e.from = e.from[:0]
	for i := range e.out.Records {
		e.from = append(e.from, int32(i))
	}
}

func (e *Emitter[T]) misused(err error) {
	if e.misuse == nil {
		e.misuse = err
	}
}

// cut drops the records from n on, and their origins.
func (e *Emitter[T]) cut(n int) {
	e.out.Records = e.out.Records[:n]
	if e.traced {
		e.from = e.from[:n]
	}
}
