package weaver

import (
	"context"
	"fmt"
	"slices"

	"github.com/bohica-labs/dataweaver/retry"
)

// stageRun lets processBatch try again, also for one stage of several.
type stageRun struct {
	policy retry.Policy
	pause  func(ctx context.Context, b *retry.Backoff, records int, err error) error
	tried  func(from int) int // how often an input has failed before; nil: never
}

// againError asks for the lane to recover, because a record failed in a stage with state.
type againError struct {
	from int
	err  error
}

func (e *againError) Error() string { return e.err.Error() }
func (e *againError) Unwrap() error { return e.err }

// processBatch calls s and tries again what failed for a while. What is left in out.fails has failed for good, and
// nothing in out was made from it.
func processBatch[In, Out any](ctx context.Context, s Stage[In, Out], in *Batch[In], out *Emitter[Out]) error {
	if err := callStage(ctx, s, in, out); err != nil {
		return err
	}
	return settleFailures(ctx, s, in, out)
}

func settleFailures[In, Out any](ctx context.Context, s Stage[In, Out], in *Batch[In], out *Emitter[Out]) error {
	if len(out.fails) == 0 || out.run == nil {
		return nil
	}
	return resolveFailures(ctx, s, in, out)
}

func callStage[In, Out any](ctx context.Context, s Stage[In, Out], in *Batch[In], out *Emitter[Out]) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = recovered(v)
		}
	}()
	if err := s.Process(ctx, in, out); err != nil {
		return err
	}
	if out.misuse != nil {
		return retry.Fatal(fmt.Errorf("the stage names an input that isn't there: %w", out.misuse))
	}
	return nil
}

func resolveFailures[In, Out any](ctx context.Context, s Stage[In, Out], in *Batch[In], out *Emitter[Out]) error {
	final, again, err := triage(out, out.run, 1)
	if err != nil {
		return err
	}
	out.void()
	if len(again) == 0 {
		out.fails = final
		return nil
	}
	if _, stateful := As[Snapshotter](s); stateful {
		f := again[0]
		return &againError{from: f.from, err: f.err}
	}
	made := []made[Out]{}
	backoff := out.run.policy.NewBackoff()
	var sub Batch[In]
	var part Batch[Out]
	var emit Emitter[Out]
	for attempt := 2; len(again) > 0; attempt++ {
		if err := out.run.pause(ctx, backoff, len(again), again[0].err); err != nil {
			return err
		}
		sub.reset(false)
		part = Batch[Out]{} // its records are kept
		part.limit(0, 0)
		inputs := make([]int, len(again))
		for i, f := range again {
			inputs[i] = f.from
			sub.Records = append(sub.Records, in.Records[f.from])
		}
		emit.begin(&part, out.mem, len(inputs))
		emit.run = out.run
		if err := callStage(ctx, s, &sub, &emit); err != nil {
			return err
		}
		done, next, err := triage(&emit, &stageRun{policy: out.run.policy}, attempt)
		if err != nil {
			return err
		}
		emit.void()
		for i, r := range part.Records {
			if from := emit.From(i); from >= 0 {
				made = append(made, madeOf(inputs[from], r))
			}
		}
		for i := range done {
			done[i].from = inputs[done[i].from]
		}
		for i := range next {
			next[i].from = inputs[next[i].from]
		}
		final = append(final, done...)
		again = next
	}
	out.insert(made)
	out.fails = final
	return nil
}

// triage sorts what failed into what has failed for good and what is tried again. A fatal failure is returned.
func triage[Out any](out *Emitter[Out], run *stageRun, attempt int) (final, again []failure, err error) {
	seen := make(map[int]bool, len(out.fails))
	for _, f := range out.fails {
		if f.from < 0 {
			return nil, nil, retry.Fatal(fmt.Errorf("a record made from the stage's state failed, which no input can be blamed for: %w", f.err))
		}
		if seen[f.from] {
			continue
		}
		seen[f.from] = true
		class := retry.ClassOf(f.err)
		most := run.policy.Attempts(class)
		attempt := attempt
		if run.tried != nil {
			attempt += run.tried(f.from)
		}
		switch {
		case class == retry.ClassFatal:
			return nil, nil, f.err
		case f.attempts > 0: // a composite stage has tried
			final = append(final, f)
		case class == retry.ClassPoison, most >= 0 && attempt >= most:
			f.attempts = attempt
			final = append(final, f)
		default:
			again = append(again, f)
		}
	}
	return final, again, nil
}

// void drops what was made from inputs that failed.
func (e *Emitter[T]) void() {
	failed := make(map[int]bool, len(e.fails))
	for _, f := range e.fails {
		failed[f.from] = true
	}
	e.trace()
	n := 0
	for i, from := range e.from {
		if failed[int(from)] {
			continue
		}
		e.out.Records[n] = e.out.Records[i]
		e.from[n] = from
		n++
	}
	e.cut(n)
}

type made[T any] struct {
	from   int
	record Record[T]
}

func madeOf[T any](from int, r Record[T]) made[T] { return made[T]{from, r} }

// insert puts records in among those emitted, by input: trying again must not change the order.
func (e *Emitter[T]) insert(more []made[T]) {
	if len(more) == 0 {
		return
	}
	all := make([]made[T], 0, len(e.out.Records)+len(more))
	for i, r := range e.out.Records {
		all = append(all, made[T]{int(e.from[i]), r})
	}
	all = append(all, more...)
	slices.SortStableFunc(all, func(a, b made[T]) int { return a.from - b.from })
	e.out.Records, e.from = e.out.Records[:0], e.from[:0]
	for _, m := range all {
		e.out.Records = append(e.out.Records, m.record)
		e.from = append(e.from, int32(m.from))
	}
}
