package weaver

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/bohica-labs/dataweaver/retry"
)

// engine is one Run of a pipeline. Its goroutines: one a lane (lane.go), one a writer and workers where work is slow
// (writer.go, send.go), the splits session, and a ticker for checkpoints. Each is counted in wg.
//
// Locks, in the order in which they are taken: engine.mu, lane.mu, then writer.mu, budget.mu or tally.mu. None is held
// over a call of a connector or a user's function but Lag, which must not block; for those there are gates (gate.go):
// lane.staging, engine.opening, engine.rounds, then writer.busy, then lane.saving, then the dead letters'.
type engine[In, Out any] struct {
	p          *Pipeline[In, Out]
	cfg        settings
	obs        Observer
	begun      time.Time
	queue      bool // the source is a Queue
	maxUnits   int  // a lane
	maxRecords int  // that a lane has read before it waits for the writers: more would only leave the cache

	reading     context.Context //nolint:containedctx // of the Run: the caller's, ended also by a failure
	stopReading context.CancelCauseFunc
	working     context.Context //nolint:containedctx // of the Run: outlives reading by StopTimeout
	stopWorking context.CancelCauseFunc
	wg          sync.WaitGroup // of all goroutines but the ticker and the watchdog
	background  sync.WaitGroup // of those
	done        chan struct{}  // closed when all lanes have ended
	kick        chan struct{}  // asks the ticker for a round now

	rounds   gate // one round of checkpoints at a time
	opening  gate // the first lane finds out what kind of Writer the sink has
	perLane  atomic.Bool
	known    atomic.Bool // perLane has been found out
	buffers  atomic.Bool // shared Writers are Flushers
	writers  []*writer[In, Out]
	letters  *deadLetters[In, Out]
	inFlight budget
	keys     maphash.Seed  // of records, to writers
	records  *rate.Limiter // nil: no bound
	bytes    *rate.Limiter
	resumed  atomic.Bool // a checkpoint of an earlier Run was found
	settled  atomic.Bool // the set of splits is final
	finished atomic.Bool // what is there now is all: readers are told to finish

	mu          sync.Mutex
	err         error // the first that ends the Run
	lanes       map[string]*lane[In, Out]
	active      map[*lane[In, Out]]struct{} // those that run
	waiting     []*lane[In, Out]            // bounded ones that wait for a runner
	runners     int
	session     Splits
	closeSplits context.CancelFunc // ends its Next
	tallies     []*tally           // all there ever were
	idle        []*tally           // left behind by closed lanes
	freeUnits   []*unit[In, Out]
	shared      *tally
}

func newEngine[In, Out any](ctx context.Context, p *Pipeline[In, Out], cfg settings) (*engine[In, Out], error) {
	e := &engine[In, Out]{
		p: p, cfg: cfg, begun: time.Now(),
		done: make(chan struct{}), kick: make(chan struct{}, 1),
		rounds: newGate(), opening: newGate(),
		lanes:      make(map[string]*lane[In, Out]),
		active:     make(map[*lane[In, Out]]struct{}),
		shared:     &tally{},
		keys:       maphash.MakeSeed(),
		maxUnits:   16*cfg.writers + 2*cfg.parallelism,
		maxRecords: (3*cfg.writers + 2*cfg.parallelism) * cfg.batchSize,
	}
	e.tallies = []*tally{e.shared}
	if p.Observer != nil {
		e.obs = *p.Observer
	}
	if q, ok := As[Queue](p.Source); ok {
		e.queue = q.Queue()
	}
	if e.queue && p.Require == ExactlyOnce {
		return nil, fmt.Errorf("weaver: Pipeline.Require is ExactlyOnce, but %s is a queue: its records can't be read again from a position", connectorName(p.Source))
	}
	e.inFlight.init(cfg.maxInFlight)
	if n := p.RateLimit.Records; n > 0 {
		e.records = rate.NewLimiter(rate.Limit(n), max(1, min(cfg.batchSize, int(n/10))))
	}
	if n := p.RateLimit.Bytes; n > 0 {
		e.bytes = rate.NewLimiter(rate.Limit(n), max(1, min(cfg.batchBytes, int(n/10))))
	}
	e.reading, e.stopReading = context.WithCancelCause(ctx)
	e.working, e.stopWorking = context.WithCancelCause(context.WithoutCancel(ctx))
	for i := range cfg.writers {
		e.writers = append(e.writers, newWriter(e, i, nil))
	}
	e.letters = newDeadLetters(e)
	return e, nil
}

// now is a cheap clock: nanoseconds since Run began.
func (e *engine[In, Out]) now() time.Duration { return time.Since(e.begun) }

func (e *engine[In, Out]) run(ctx context.Context) error {
	defer e.stopWorking(nil)
	defer e.stopReading(nil)
	if err := e.follow(ctx); err != nil {
		return err
	}
	e.background.Go(e.tick)
	e.background.Go(e.watchStop)
	e.startSplits()
	ended := make(chan struct{})
	go func() { // ends with the lanes, which the watchdog ends
		e.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-e.working.Done():
		select {
		case <-ended:
		case <-time.After(grace):
			close(e.done)
			go func() { // once the calls return after all, nothing stays open
				<-ended
				e.background.Wait()
				e.close()
			}()
			return e.stuck()
		}
	}
	close(e.done)
	e.background.Wait()
	e.close()
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// grace is how long past StopTimeout Run waits for calls that don't return though their ctx has ended.
const grace = 5 * time.Second

// stuck gives up on connectors that don't return: their goroutines stay behind, which the error says.
func (e *engine[In, Out]) stuck() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	ids := make([]string, 0, len(e.lanes))
	for id := range e.lanes {
		ids = append(ids, fmt.Sprintf("%q", id))
	}
	slices.Sort(ids)
	err := fmt.Errorf("%w, and calls of a connector or a processor haven't returned %v after their ctx ended (open splits: %s)",
		ErrStopTimeout, grace, strings.Join(ids, ", "))
	return errors.Join(e.err, err)
}

// watchStop lets what is in flight go on for StopTimeout after reading has ended.
func (e *engine[In, Out]) watchStop() {
	select {
	case <-e.done:
		return
	case <-e.reading.Done():
	}
	e.inFlight.wake()
	t := time.NewTimer(e.cfg.stopTimeout)
	defer t.Stop()
	select {
	case <-e.done:
	case <-t.C:
		e.note(&Error{
			Pipeline: e.cfg.name, Stage: StageWrite, Connector: connectorName(e.p.Sink), Index: -1,
			Err: fmt.Errorf("%w (%v)", ErrStopTimeout, e.cfg.stopTimeout),
		})
		e.stopWorking(ErrStopTimeout)
		e.inFlight.wake()
		for _, l := range e.openLanes() {
			l.mu.Lock()
			l.cond.Broadcast()
			l.mu.Unlock()
		}
	}
}

// follow waits for the pipeline this one comes after, if there is one.
func (e *engine[In, Out]) follow(ctx context.Context) error {
	if e.p.Bounded {
		e.finish()
	}
	if isNil(e.p.After) {
		return nil
	}
	group, _ := ctx.Value(runGroupKey{}).(*runGroup)
	var end *runEnd
	if group != nil {
		end = group.done[e.p.After]
	}
	if end == nil {
		return errors.New("weaver: Pipeline.After isn't run with this pipeline: give both to one weaver.Run")
	}
	e.background.Go(func() {
		select {
		case <-e.done:
			return
		case <-end.closed:
		}
		if end.err != nil {
			e.fail(fmt.Errorf("weaver: the pipeline this one comes after has failed: %w", end.err))
			return
		}
		if !end.cut {
			e.finish()
		}
	})
	return nil
}

// finish tells the session and all readers that what is there now is all. Lanes opened later are told when they open.
func (e *engine[In, Out]) finish() {
	e.finished.Store(true)
	if err := e.finishSession(); err != nil {
		e.fail(e.wrap(StageSplits, e.p.Source, nil, err))
	}
	for _, l := range e.openLanes() {
		l.finish()
	}
}

// fail ends the Run with err: reading stops, what is in flight is finished.
func (e *engine[In, Out]) fail(err error) {
	e.note(err)
	e.stopReading(err)
	e.inFlight.wake()
}

// note keeps the first error for Run to return.
func (e *engine[In, Out]) note(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.err = err
	}
}

func (e *engine[In, Out]) stopping() bool { return e.reading.Err() != nil }

// wrap says where err happened, unless that has been said.
func (e *engine[In, Out]) wrap(stage string, part any, l *lane[In, Out], err error) error {
	if err == nil {
		return nil
	}
	if known := (*Error)(nil); errors.As(err, &known) {
		return err
	}
	w := &Error{Pipeline: e.cfg.name, Stage: stage, Connector: connectorName(part), Index: -1, Err: err}
	if l != nil {
		w.Split = l.split.ID
		w.Position = l.resumePoint()
	}
	return w
}

// close gives back what lanes shared.
func (e *engine[In, Out]) close() {
	for _, w := range e.writers {
		w.shut()
	}
	e.letters.close()
	e.mu.Lock()
	session := e.session
	e.mu.Unlock()
	if session != nil {
		if err := guard(session.Close); err != nil {
			e.cfg.log.Warn("closing the splits session failed", "err", err)
		}
	}
}

// guard makes an error of a panic.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = recovered(v)
		}
	}()
	return f()
}

// lend gives a lane a tally and units that closed lanes left behind.
func (e *engine[In, Out]) lend(l *lane[In, Out]) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := len(e.idle); n > 0 {
		l.tally = e.idle[n-1]
		e.idle = e.idle[:n-1]
	} else {
		l.tally = &tally{}
		e.tallies = append(e.tallies, l.tally)
	}
	if n := len(e.freeUnits); n > 0 {
		u := e.freeUnits[n-1]
		e.freeUnits = e.freeUnits[:n-1]
		u.lane = l
		l.free, l.units = u, 1
	}
}

// takeBack keeps one unit of a closed lane for the next, and its tally.
func (e *engine[In, Out]) takeBack(l *lane[In, Out]) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.idle = append(e.idle, l.tally)
	if u := l.free; u != nil && len(e.freeUnits) < e.cfg.maxLanes {
		u.next, u.lane = nil, nil
		e.freeUnits = append(e.freeUnits, u)
		l.free = nil
	}
	delete(e.active, l)
	if e.lanes[l.split.ID] == l {
		delete(e.lanes, l.split.ID)
	}
}

func (e *engine[In, Out]) snapshot() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	sum := statsSum{Stats: Stats{Pipeline: e.cfg.name}}
	for _, t := range e.tallies {
		sum.add(t)
	}
	for _, l := range e.lanes {
		s := l.snapshot()
		sum.InFlight.Batches += s.InFlightBatches
		sum.Lanes = append(sum.Lanes, s)
	}
	sum.InFlight.Bytes = e.inFlight.used.Load()
	slices.SortFunc(sum.Lanes, func(a, b LaneStats) int { return strings.Compare(a.Split, b.Split) })
	return sum.finish()
}

// pause waits before another attempt, or returns why there is none: the policy's MaxElapsed is over, or ctx has ended.
func (e *engine[In, Out]) pause(ctx context.Context, t *tally, b *retry.Backoff, info RetryInfo) error {
	wait, ok := b.Next(info.Err)
	class := retry.ClassOf(info.Err)
	t.mu.Lock()
	s := t.stage(info.Stage)
	s.errors.add(class, 1)
	if ok {
		s.retries++
	}
	t.mu.Unlock()
	if !ok {
		return retry.Fatal(fmt.Errorf("given up after %d failures in %v: %w", b.Failures(), b.Elapsed().Round(time.Millisecond), info.Err))
	}
	info.Pipeline, info.Class, info.Wait, info.Failures = e.cfg.name, class, wait, b.Failures()
	if e.obs.Retry != nil {
		e.obs.Retry(info)
	}
	e.cfg.log.Warn("trying again", "stage", info.Stage, "split", info.Split, "failures", info.Failures, "wait", wait, "class", class.String(), "err", info.Err)
	return retry.Sleep(ctx, wait)
}
