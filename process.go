package weaver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bohica-labs/dataweaver/retry"
)

// forward processes u and sends it on, or hands it to the workers where processing is slow.
func (l *lane[In, Out]) forward(u *unit[In, Out], w stopwatch) error {
	e := l.e
	if l.snapshots == nil && l.nothing && l.careful.limit == 0 && l.goesInline() {
		return l.solo(u, w)
	}
	l.countRead(u, w)
	u.weight = u.size()
	e.inFlight.add(u.weight)
	if l.careful.limit > 0 {
		return l.forwardCarefully(u)
	}
	l.mu.Lock()
	l.push(u)
	slow := l.clock.slow || l.work != nil && l.unsent != u // while a worker has one in hand, the first stage may be its
	if slow && l.snapshots == nil {
		l.hand(u)
		l.mu.Unlock()
		return nil
	}
	l.mu.Unlock()
	if l.staging != nil {
		l.staging.lock()
		defer l.staging.unlock()
	}
	if err := l.process(e.working, l.stages[0], u); err != nil {
		return err
	}
	if w.on {
		w.processed = e.now()
	}
	l.countProcess(u, w.processed-w.read, w.on)
	l.send(u, w)
	return nil
}

// process makes of u.in what is to be written, with dead letters for what failed for good. On return nothing of u is
// left to be done but to write u.view.
func (l *lane[In, Out]) process(ctx context.Context, s Stage[In, Out], u *unit[In, Out]) error {
	e := l.e
	u.out.limit(e.cfg.batchSize, e.cfg.batchBytes)
	u.emit.run = l.stageRun(u)
	if l.passes && u.same != nil {
		u.view = u.same
		u.emit.begin(u.view, &u.view.arena, len(u.in.Records))
	} else {
		if err := l.processInto(ctx, s, u); err != nil {
			return l.processError(u, err)
		}
		if u.weight > 0 {
			if more := u.size() - u.weight; more > 0 {
				u.weight += more
				e.inFlight.add(more)
			}
		}
	}
	if l.snapshots != nil {
		l.stageSaw(u)
	}
	if e.cfg.writers > 1 && l.writer == nil && l.careful.limit == 0 {
		u.scatter(e.keys)
	}
	if len(u.emit.fails) == 0 && len(u.in.rejects) == 0 {
		return nil
	}
	return l.rejectInputs(u)
}

// processError is what becomes of an error that the stage returned.
func (l *lane[In, Out]) processError(u *unit[In, Out], err error) error {
	var again *againError
	if errors.As(err, &again) {
		return l.processAgain(u, again)
	}
	err = l.e.wrap(StageProcess, l.e.p.Process, l, err)
	if retry.ClassOf(err) != retry.ClassPoison {
		return err
	}
	// Poison that names no record: recover, and look for it.
	l.suspect(l.behind()+int64(u.inputs), err)
	return retry.Transient(err)
}

// inPlacer is a stage that can change values where they are.
type inPlacer[In, Out any] interface {
	Stage[In, Out]
	inPlace(ctx context.Context, in *Batch[In], same *Batch[Out]) int
	from(ctx context.Context, in *Batch[In], out *Emitter[Out], i int)
}

// processInto calls the stage: for a change of values alone, in place. Dead letters want the values as they were read,
// so where there is a sink for them these are kept aside.
func (l *lane[In, Out]) processInto(ctx context.Context, s Stage[In, Out], u *unit[In, Out]) error {
	u.view = &u.out
	u.emit.begin(&u.out, &u.out.arena, len(u.in.Records))
	if !l.placing {
		return processBatch(ctx, s, &u.in, &u.emit)
	}
	if l.e.p.DeadLetter != nil {
		u.aside = u.aside[:0]
		for i := range u.in.Records {
			u.aside = append(u.aside, u.in.Records[i].Value)
		}
	}
	p := s.(inPlacer[In, Out]) //nolint:forcetypeassert // placing says so
	n := p.inPlace(ctx, &u.in, u.same)
	if n == len(u.in.Records) {
		u.view = u.same
		u.emit.begin(u.view, &u.view.arena, n)
		return nil
	}
	u.out.Records = append(u.out.Records, u.same.Records[:n]...)
	p.from(ctx, &u.in, &u.emit, n)
	return settleFailures(ctx, s, &u.in, &u.emit)
}

// value is input i as it was read.
func (u *unit[In, Out]) value(i int) *In {
	if i < len(u.aside) {
		return &u.aside[i]
	}
	return &u.in.Records[i].Value
}

// stageSaw moves the point the stage's state is at.
func (l *lane[In, Out]) stageSaw(u *unit[In, Out]) {
	if u.inputs > 0 || u.has {
		l.stale = l.stale || u.inputs > 0 || u.has && !(l.readTo.has && bytes.Equal(l.readTo.pos, u.pos))
		l.readTo.has = u.has
		l.readTo.pos = append(l.readTo.pos[:0], u.pos...)
	}
	if len(l.tries) > 0 {
		past := l.ordinal(u) + int64(u.inputs)
		for ordinal := range l.tries {
			if ordinal < past {
				delete(l.tries, ordinal)
			}
		}
	}
}

// stageRun is what processBatch needs to know for u. Only a stage with state asks how often an input has failed.
func (l *lane[In, Out]) stageRun(u *unit[In, Out]) *stageRun {
	if l.snapshots == nil {
		return l.retrying
	}
	r := *l.retrying
	if len(l.tries) > 0 {
		first := l.ordinal(u)
		r.tried = func(from int) int { return l.tries[first+int64(from)] }
	}
	return &r
}

// behind is how many inputs were accepted since the checkpoint.
func (l *lane[In, Out]) behind() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.count - l.durable.ordinal
	for u := l.head; u != nil; u = u.next {
		n += int64(u.inputs)
	}
	return n
}

// processAgain recovers the lane because a record failed in a stage with state, and counts how often it did.
func (l *lane[In, Out]) processAgain(u *unit[In, Out], again *againError) error {
	if l.tries == nil {
		l.tries = make(map[int64]int)
	}
	l.tries[l.ordinal(u)+int64(again.from)]++
	err := again.err
	if retry.ClassOf(err) == retry.ClassUnmarked {
		err = retry.Transient(err)
	}
	return l.e.wrap(StageProcess, l.e.p.Process, l, err)
}

// ordinal is how many inputs of the lane come before u.
func (l *lane[In, Out]) ordinal(u *unit[In, Out]) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.count
	for x := l.head; x != nil && x != u; x = x.next {
		n += int64(x.inputs)
	}
	return n
}

// countProcess counts what the stage made of u.
func (l *lane[In, Out]) countProcess(u *unit[In, Out], d time.Duration, timed bool) {
	l.tally.mu.Lock()
	l.tallyProcess(u, d, timed)
	l.tally.mu.Unlock()
	l.tellProcess(u, d, timed)
}

func (l *lane[In, Out]) tallyProcess(u *unit[In, Out], d time.Duration, timed bool) {
	t := l.tally
	n := len(u.in.Records)
	t.process.add(n-len(u.emit.fails), u.out.arena.used)
	t.process.errors.Poison += int64(len(u.emit.fails))
	if u.emit.traced || len(u.view.Records) < n {
		t.filtered += int64(u.filtered())
	}
	if timed {
		t.process.latency.add(d)
	}
}

func (l *lane[In, Out]) tellProcess(u *unit[In, Out], d time.Duration, timed bool) {
	e, n := l.e, len(u.in.Records)
	if e.obs.Batch != nil {
		e.obs.Batch(BatchInfo{Pipeline: e.cfg.name, Split: l.split.ID, Stage: StageProcess, Records: n, Bytes: u.out.arena.used, Duration: d, Timed: timed})
	}
}

// filtered is how many inputs nothing became of.
func (u *unit[In, Out]) filtered() int {
	n := len(u.in.Records) - len(u.emit.fails)
	last := -1
	for i := range u.view.Records {
		if from := u.emit.From(i); from >= 0 && from != last {
			n--
			last = from
		}
	}
	return max(n, 0)
}

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
