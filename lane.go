package weaver

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
)

// lane is one split on its way: its reader, its stages, what it has in flight and how far it is. It is the unit of
// order, state and recovery. Its goroutine (run) reads, and processes and writes as well while that is quick.
type lane[In, Out any] struct {
	e      *engine[In, Out]
	split  Split
	log    *slog.Logger
	ended  chan struct{} // closed when run has returned
	tally  *tally
	saving gate // one save and acknowledgement at a time

	// Set while the lane is opened, by its goroutine; read by others only while it is open.
	reading   context.Context //nolint:containedctx // the lane's own: ends with reading at large, a revoke or a failure
	reader    Reader[In]
	acker     Acker
	stages    []Stage[In, Out] // the first is the goroutine's, the others the workers'
	snapshots Snapshotter      // nil: the stage keeps no state
	passes    bool             // the stage is Pass: what was read is written
	placing   bool             // the stage changes values in place
	staging   gate             // of a stage with state: ticks come from another goroutine
	writer    *writer[In, Out] // its own, of a Checkpointer; nil: it is shared
	work      chan *unit[In, Out]
	workers   sync.WaitGroup

	// Of its goroutine alone.
	backoff   *retry.Backoff
	careful   careful
	skip      *skip
	held      *unit[In, Out] // not to be used again yet, whatever becomes of it; guarded by mu
	heldBack  bool           // it would have been
	tries     map[int64]int  // failures of a record in a stage with state, by ordinal
	batches   int
	lastCount int // inputs of the last batch
	ateAll    bool
	retrying  *stageRun
	resting   bool        // no ticks from elsewhere: not open yet, or settling; guarded by staging
	wantTick  atomic.Bool // the ticker found the stage at work
	alert     atomic.Bool // failure, revoked or abandoned is set
	nothing   bool        // nothing is in flight: it was seen, and only this goroutine can change it (not with state: there are ticks)
	spared    *unit[In, Out]
	nextPause time.Duration // before it no snapshot is taken for a tick
	stale     bool          // the stage has changed since its last snapshot; guarded by staging

	mu         sync.Mutex
	cond       sync.Cond
	stop       context.CancelCauseFunc
	epoch      int // how often it was opened
	isOpen     bool
	head, tail *unit[In, Out] // in flight, in the order read
	unsent     *unit[In, Out] // the first of them that was not given to a writer
	queued     int            // how many are in flight
	records    int            // that were read into those
	flying     int            // what workers and writers have of them in hand or in a queue
	free       *unit[In, Out]
	units      int // all there are
	clock      vote
	failure    error // why it must recover
	broken     bool  // nothing more may be written before it has recovered
	lost       bool  // what was accepted since the last checkpoint is gone
	revoked    bool
	abandoned  bool
	progress   bool  // a checkpoint has advanced since the last failure
	suspects   int64 // how many inputs behind the checkpoint may be what made culprit
	culprit    error // poison that named no record; nil: none
	readTo     mark  // what the stage has seen; guarded by staging where there is state
	accepted   mark  // all before it is accepted by the writers
	count      int64 // inputs accepted
	exact      bool  // nothing was accepted behind accepted
	snapped    mark  // the last accepted point that has a snapshot
	durable    mark  // the checkpoint
	saved      bool  // durable is in the sink or the store
	acked      mark  // what the reader was told
	version    checkpoint.Version
	unsure     []byte // what the store may have saved, though it returned an error; nil: it is known
	lag        LagReporter
	measure    ProgressReporter
	finisher   Finisher
	lastCommit time.Duration
}

func newLane[In, Out any](e *engine[In, Out], s Split) *lane[In, Out] {
	l := &lane[In, Out]{e: e, split: s, ended: make(chan struct{}), saving: newGate(), log: e.cfg.log}
	l.cond.L = &l.mu
	return l
}

// run takes the lane through its life: opened, recovered as often as the policy allows, closed.
func (l *lane[In, Out]) run() {
	defer close(l.ended)
	e := l.e
	e.lend(l)
	defer e.takeBack(l)
	if l.split.ID != "" {
		l.log = e.cfg.log.With("split", l.split.ID)
	}
	for {
		err := l.once()
		switch {
		case l.is(&l.abandoned):
			l.event(LaneAbandoned, err)
			return
		case err == nil:
			l.event(LaneClosed, nil)
			return
		case errors.Is(err, ErrFenced):
			l.countError(err)
			l.event(LaneAbandoned, err)
			l.waitForRevoke(err)
			return
		case isFinal(err):
			l.countError(err)
			e.fail(err)
			l.event(LaneClosed, err)
			return
		case e.stopping() || l.is(&l.revoked):
			l.countError(err)
			if e.stopping() && l.skip == nil { // a record that was found and dead-lettered is no failure
				e.note(err)
			}
			l.event(LaneClosed, err)
			return
		}
		l.event(LaneRecovered, err)
		if !l.waitToRecover(err) {
			return
		}
	}
}

// waitForRevoke waits for the session to take away the split that somebody else has already. Where it doesn't, two
// pipelines believe that the split is theirs.
func (l *lane[In, Out]) waitForRevoke(cause error) {
	e := l.e
	ctx, cancel := l.untilRevoked()
	defer cancel(nil)
	switch {
	case e.stopping():
		e.note(cause)
	case e.settled.Load() || retry.Sleep(ctx, e.cfg.stopTimeout) == nil:
		e.fail(e.wrap(StageCommit, e.p.Sink, l, retry.Fatal(cause)))
	}
}

// untilRevoked returns a ctx for waiting while the lane is closed.
func (l *lane[In, Out]) untilRevoked() (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(l.e.reading)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stop = cancel
	if l.revoked {
		cancel(nil)
	}
	return ctx, cancel
}

// waitToRecover waits as the policy says. It reports false if the lane must not be opened again.
func (l *lane[In, Out]) waitToRecover(cause error) bool {
	e := l.e
	ctx, cancel := l.untilRevoked()
	defer cancel(nil)
	l.mu.Lock()
	progress := l.progress
	l.progress = false
	l.mu.Unlock()
	l.tally.mu.Lock()
	l.tally.recoveries++
	l.tally.mu.Unlock()
	if l.lookCloser() {
		return true // the search ends by itself: there is nothing to wait for
	}
	if l.backoff == nil {
		l.backoff = e.cfg.retry.NewBackoff()
	} else if progress {
		l.backoff.Reset()
	}
	info := RetryInfo{Split: l.split.ID, Stage: stageOf(cause), Err: cause}
	err := e.pause(ctx, l.tally, l.backoff, info)
	if e.stopping() || l.is(&l.revoked) {
		return false
	}
	if err != nil && isFinal(err) { // otherwise the lane has failed once more meanwhile
		e.fail(e.wrap(info.Stage, e.p.Source, l, err))
		return false
	}
	return true
}

func stageOf(err error) string {
	if known := (*Error)(nil); errors.As(err, &known) {
		return known.Stage
	}
	return StageRead
}

// isFinal reports whether trying again is no use.
func isFinal(err error) bool {
	c := retry.ClassOf(err)
	return c == retry.ClassPoison || c == retry.ClassFatal
}

func (l *lane[In, Out]) countError(err error) {
	l.tally.mu.Lock()
	l.tally.stage(stageOf(err)).errors.add(retry.ClassOf(err), 1)
	l.tally.mu.Unlock()
}

func (l *lane[In, Out]) is(flag *bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return *flag
}

// resumePoint is the last accepted position, for errors and dead letters.
func (l *lane[In, Out]) resumePoint() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted.clone()
}

func (l *lane[In, Out]) event(ev LaneEvent, err error) {
	if ev == LaneRecovered || ev == LaneAbandoned {
		l.log.Warn("lane "+string(ev), "err", err)
	} else {
		l.log.Debug("lane " + string(ev))
	}
	if f := l.e.obs.Lane; f != nil {
		f(LaneInfo{Pipeline: l.e.cfg.name, Split: l.split.ID, Event: ev, Err: err})
	}
}

// once opens the lane at its last durable checkpoint, reads until the split ends or the lane must stop or fails, lets
// what is in flight come to its end, and closes.
func (l *lane[In, Out]) once() error {
	ctx, cancel := context.WithCancelCause(l.e.reading)
	defer cancel(nil)
	l.reading = ctx
	l.saving.lock() // a round that still saves for the last opening comes to its end
	l.mu.Lock()
	l.stop = cancel
	l.epoch++
	l.failure, l.broken, l.lost = nil, false, false
	l.beginLocked() // what was accepted behind the checkpoint and is lost must not be saved while this lane opens
	l.alert.Store(false)
	if l.revoked {
		cancel(nil)
	}
	l.mu.Unlock()
	l.saving.unlock()
	defer l.close()
	if err := l.open(); err != nil {
		if ctx.Err() != nil && !isFinal(err) {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.failure // nothing was read: stopping is no failure
		}
		return err
	}
	l.rest(false)
	l.event(LaneOpened, nil)
	end := false
	var err error
	for !end && err == nil {
		end, err = l.step()
	}
	return l.settle(err)
}

// damage is what a failure does to a lane.
type damage uint8

const (
	soft   damage = iota // what was read before it goes on to be written
	broken               // nothing more may be written: order would break
	lost                 // and what was accepted since the last checkpoint is gone
)

// fail makes the lane recover. It may be called from any goroutine; the first failure is the one that is told.
func (l *lane[In, Out]) fail(err error, d damage) {
	l.mu.Lock()
	l.failLocked(err, d)
	l.mu.Unlock()
}

func (l *lane[In, Out]) failLocked(err error, d damage) {
	if l.failure == nil {
		l.failure = err
	}
	l.alert.Store(true)
	if d >= broken {
		l.broken = true
	}
	if d == lost && !l.lost {
		l.lost = true
	}
	if l.stop != nil {
		l.stop(err)
	}
	l.cond.Broadcast()
	l.e.inFlight.wake() // what it waits for may be held by units that only it can give up
}

// failIn fails the lane if it hasn't been opened again since.
func (l *lane[In, Out]) failIn(epoch int, err error, d damage) {
	l.mu.Lock()
	if l.epoch == epoch {
		l.failLocked(err, d)
	}
	l.mu.Unlock()
}

// epochNow is how often the lane was opened.
func (l *lane[In, Out]) epochNow() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

// revoke asks the lane to come to its end in good order.
func (l *lane[In, Out]) revoke() {
	l.mu.Lock()
	l.revoked = true
	if l.stop != nil {
		l.stop(errRevoked)
	}
	l.cond.Broadcast()
	l.mu.Unlock()
	l.e.inFlight.wake()
}

var errRevoked = errors.New("weaver: the split was revoked")

// abandon gives the lane up: neither saved nor acknowledged any more.
func (l *lane[In, Out]) abandon() {
	l.mu.Lock()
	l.abandoned = true
	l.failLocked(errRevoked, broken)
	l.mu.Unlock()
	l.e.inFlight.wake()
}

// finish asks the reader to end with what is there now.
func (l *lane[In, Out]) finish() {
	l.saving.lock() // Close waits for it
	defer l.saving.unlock()
	l.mu.Lock()
	f := l.finisher
	l.mu.Unlock()
	if f == nil {
		return
	}
	if err := guard(func() error { return f.Finish(l.e.working) }); err != nil {
		l.fail(l.e.wrap(StageRead, l.e.p.Source, l, err), soft)
	}
}

// tellProgress tells the Observer how far the lane is.
func (l *lane[In, Out]) tellProgress() {
	if f := l.e.obs.Progress; f != nil {
		s := l.snapshot()
		f(ProgressInfo{Pipeline: l.e.cfg.name, Split: s.Split, Lag: s.Lag, Progress: s.Progress, Settled: s.Settled, InFlightBatches: s.InFlightBatches})
	}
}

func (l *lane[In, Out]) snapshot() LaneStats {
	l.mu.Lock()
	s := LaneStats{Split: l.split.ID, Settled: l.durable.ordinal, InFlightBatches: l.queued, Lag: UnknownLag, Progress: UnknownProgress, Acked: l.acked.clone()}
	if l.saved {
		s.Saved = l.durable.clone()
	}
	if l.lag != nil {
		s.Lag = l.lag.Lag() // it must not block, and Close waits for mu
	}
	if l.measure != nil {
		s.Progress = l.measure.Progress() // nor this
	}
	l.mu.Unlock()
	return s
}
