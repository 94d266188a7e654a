package weaver

import (
	"bytes"
	"context"
	"errors"
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
	inPlace(ctx context.Context, in *Batch[In], same *Batch[Out]) (int, error)
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
	n, err := p.inPlace(ctx, &u.in, u.same)
	if err == nil {
		u.view = u.same
		u.emit.begin(u.view, &u.view.arena, n)
		return nil
	}
	u.out.Records = append(u.out.Records, u.same.Records[:n]...)
	u.emit.trace()
	if !errors.Is(err, ErrSkip) {
		u.emit.Fail(n, err)
	}
	p.from(ctx, &u.in, &u.emit, n+1)
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
		l.stale = l.stale || u.inputs > 0 || u.has && (!l.readTo.has || !bytes.Equal(l.readTo.pos, u.pos))
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
