package weaver

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
)

// A checkpoint is made in one order: dead letters durable, sink durable, position durable, origin told. Where the sink
// is a Checkpointer each lane commits on its own (commit). Otherwise one round does it for all lanes, because they
// share the writers that must be flushed: it notes what each lane's writers have accepted, flushes, and saves what it
// noted. A lane that loses a writer in between is marked lost before the writer is opened again, and is left out.

// point is a mark to be saved, and the opening of the lane it belongs to.
type point[In, Out any] struct {
	lane  *lane[In, Out]
	epoch int
	mark  mark
}

// kickRound asks for a round soon.
func (e *engine[In, Out]) kickRound() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// kickQueue asks for a round soon where the origin is a queue and nothing has to be flushed for it: what was taken
// from a queue is acknowledged at once, not once an interval.
func (e *engine[In, Out]) kickQueue() {
	if e.queue && (e.perLane.Load() || !e.buffers.Load()) {
		e.kickRound()
	}
}

// round makes durable, saves and acknowledges what all lanes have accepted. With only, it returns at once if that
// lane has nothing to save, and returns that lane's error.
func (e *engine[In, Out]) round(only *lane[In, Out]) error {
	if only != nil && !only.behindCheckpoint() {
		return nil // an earlier round saw to it
	}
	e.rounds.lock()
	defer e.rounds.unlock()
	if only != nil && !only.behindCheckpoint() {
		return nil
	}
	points := e.notePoints(only)
	if len(points) == 0 {
		return nil
	}
	if err := e.flushAll(); err != nil && only != nil && only.hasFailed() {
		return err
	}
	return e.saveAll(points, only)
}

// notePoints notes what lanes have accepted: all of them where a flush serves all, otherwise the one.
func (e *engine[In, Out]) notePoints(only *lane[In, Out]) []point[In, Out] {
	lanes := []*lane[In, Out]{only}
	if only == nil || e.buffers.Load() {
		lanes = e.openLanes()
	}
	points := make([]point[In, Out], 0, len(lanes))
	for _, l := range lanes {
		if p, ok := l.pointToSave(); ok {
			points = append(points, p)
		}
	}
	return points
}

func (e *engine[In, Out]) openLanes() []*lane[In, Out] {
	e.mu.Lock()
	defer e.mu.Unlock()
	lanes := make([]*lane[In, Out], 0, len(e.active))
	for l := range e.active {
		lanes = append(lanes, l)
	}
	return lanes
}

// flushAll flushes the writers that lanes share, and the dead letters.
func (e *engine[In, Out]) flushAll() error {
	var errs []error
	for _, w := range e.writers {
		if !w.anyDirty.Load() {
			continue
		}
		w.waitBusy()
		errs = append(errs, w.flush())
		w.release()
	}
	errs = append(errs, e.letters.flush())
	return errors.Join(errs...)
}

// saveAll saves points, up to eight at once where a store is asked.
func (e *engine[In, Out]) saveAll(points []point[In, Out], only *lane[In, Out]) error {
	if e.p.Checkpoint == nil || len(points) == 1 {
		var first error
		for i := range points {
			err := points[i].lane.save(&points[i])
			if first == nil && (only == nil || points[i].lane == only) {
				first = err
			}
		}
		return first
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, len(points))
	for range min(8, len(points)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(points); i = int(next.Add(1)) - 1 {
				errs[i] = points[i].lane.save(&points[i])
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil && (only == nil || points[i].lane == only) {
			return err
		}
	}
	return nil
}

// target is the mark that may become the checkpoint. l.mu is held.
func (l *lane[In, Out]) target() *mark {
	if l.snapshots != nil {
		return &l.snapped
	}
	return &l.accepted
}

// behindCheckpoint reports whether there is something to save or to acknowledge.
func (l *lane[In, Out]) behindCheckpoint() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isBehind()
}

func (l *lane[In, Out]) isBehind() bool {
	t := l.target()
	return t.has && !l.lost && !l.abandoned && t.seq > l.durable.seq
}

func (l *lane[In, Out]) pointToSave() (point[In, Out], bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.isBehind() || l.writer != nil {
		return point[In, Out]{}, false
	}
	p := point[In, Out]{lane: l, epoch: l.epoch}
	p.mark.set(l.target())
	return p, true
}

// save makes p.mark the lane's checkpoint: everything before it is durable. It returns an error of the store; what
// concerns the lane alone fails the lane.
func (l *lane[In, Out]) save(p *point[In, Out]) error {
	e := l.e
	l.saving.lock()
	defer l.saving.unlock()
	l.mu.Lock()
	stale := l.epoch != p.epoch || l.lost || l.abandoned || p.mark.seq <= l.durable.seq
	l.mu.Unlock()
	if stale {
		return nil
	}
	saved := e.p.Checkpoint != nil && !e.queue
	if saved {
		if err := l.store(&p.mark); err != nil || l.is(&l.lost) {
			return err
		}
	}
	l.becameDurable(&p.mark, saved)
	return l.ack(&p.mark, saved)
}

// becameDurable moves the checkpoint.
func (l *lane[In, Out]) becameDurable(m *mark, saved bool) {
	l.mu.Lock()
	l.durable.set(m)
	l.saved = saved
	l.progress = true
	l.mu.Unlock()
}

// store saves m in the store. A conflict means that somebody else owns the split now, or did in between.
func (l *lane[In, Out]) store(m *mark) error {
	e := l.e
	env := appendEnvelope(nil, m.pos, m.state)
	start := e.now()
	err := guard(func() error { return l.storeEnvelope(env) })
	e.countFlush(nil, StageCheckpoint, e.now()-start, err)
	if err == nil {
		return nil
	}
	if errors.Is(err, checkpoint.ErrConflict) {
		err = e.wrap(StageCheckpoint, e.p.Checkpoint, l, retry.Transient(fmt.Errorf(
			"another owner has saved a position for this split (two pipelines with one Name?): %w", err)))
		l.fail(err, lost) // it goes on from what is saved now
		return nil
	}
	return e.wrap(StageCheckpoint, e.p.Checkpoint, l, err)
}

// storeEnvelope saves env. A conflict with what this lane has saved itself, and heard an error for, is none.
func (l *lane[In, Out]) storeEnvelope(env []byte) error {
	e := l.e
	v, err := e.p.Checkpoint.Save(e.working, l.key(), env, l.version)
	if errors.Is(err, checkpoint.ErrConflict) && l.unsure != nil {
		saved, at, lerr := e.p.Checkpoint.Load(e.working, l.key())
		if lerr != nil {
			return lerr
		}
		if bytes.Equal(saved, l.unsure) {
			l.version, l.unsure = at, nil
			v, err = e.p.Checkpoint.Save(e.working, l.key(), env, l.version)
		}
	}
	switch {
	case err == nil:
		l.version, l.unsure = v, nil
	case !errors.Is(err, checkpoint.ErrConflict):
		l.unsure = env
	}
	return err
}

// ack tells the origin. l.saving is held, so it runs neither beside nor after Close.
func (l *lane[In, Out]) ack(m *mark, saved bool) error {
	e := l.e
	l.mu.Lock()
	acker := l.acker
	ok := l.isOpen && !l.abandoned
	l.mu.Unlock()
	var err error
	if acker != nil && ok {
		err = guard(func() error { return acker.Ack(e.working, m.pos) })
	}
	l.mu.Lock()
	if err == nil {
		l.acked.set(m)
	}
	l.mu.Unlock()
	if err != nil {
		err = e.wrap(StageAck, e.p.Source, l, err)
		l.fail(err, soft)
		return nil
	}
	if f := e.obs.Checkpoint; f != nil {
		f(CheckpointInfo{Pipeline: e.cfg.name, Split: l.split.ID, Position: m.pos, Records: m.ordinal, Saved: saved, Acked: acker != nil && ok})
	}
	return nil
}

// checkpoint makes the lane's checkpoint where it is now. Its goroutine calls it with nothing in flight. A store that
// is out is waited for; a sink that fails makes the lane recover.
func (l *lane[In, Out]) checkpoint() error {
	e := l.e
	if w := l.writer; w != nil {
		w.waitBusy()
		defer w.release()
		return l.commit(w, true)
	}
	if e.p.Checkpoint == nil && !e.buffers.Load() && !e.letters.any.Load() {
		p, ok := l.pointToSave()
		if !ok {
			return nil
		}
		return l.save(&p)
	}
	for {
		err := e.round(l)
		if err == nil || l.hasFailed() || isFinal(err) || stageOf(err) != StageCheckpoint {
			return err
		}
		if l.backoff == nil {
			l.backoff = e.cfg.retry.NewBackoff()
		}
		if perr := e.pause(e.working, l.tally, l.backoff, RetryInfo{Split: l.split.ID, Stage: StageCheckpoint, Err: err}); perr != nil {
			return e.wrap(StageCheckpoint, e.p.Checkpoint, l, perr)
		}
	}
}

// commitIfDue commits after a write if the Writer or the clock wants it. The writer's busy bit is held.
func (l *lane[In, Out]) commitIfDue(w *writer[In, Out]) {
	e := l.e
	l.mu.Lock()
	ready := l.isBehind() && l.exact
	l.mu.Unlock()
	due := w.checkpointer.Due()
	if due && !ready && l.snapshots != nil {
		l.wantTick.Store(true)
	}
	if ready && (due || e.queue || l.snapshots != nil || e.now()-l.lastCommit >= e.cfg.checkpointInterval) {
		_ = l.commit(w, false) // a failure has failed the lane
	}
}

// commit makes what is staged durable together with the position behind it. The writer's busy bit is held. A position
// that is not exactly behind what is staged can't be committed; last says that there will be no other chance.
func (l *lane[In, Out]) commit(w *writer[In, Out], last bool) error {
	e := l.e
	l.mu.Lock()
	var m mark
	ok := l.isBehind() && l.exact && l.target().seq >= l.accepted.seq
	if ok {
		m.set(l.target())
	}
	l.mu.Unlock()
	if !ok || w.w == nil {
		return nil
	}
	if err := e.letters.flush(); err != nil && l.hasFailed() {
		return err
	}
	if l.is(&l.lost) { // its letters are, while others were written
		return nil
	}
	start := e.now()
	err := guard(func() error { return w.checkpointer.Commit(e.working, appendEnvelope(nil, m.pos, m.state)) })
	e.countFlush(w, StageCommit, e.now()-start, err)
	if err != nil {
		if cerr := w.closeWriter(); cerr != nil {
			l.log.Warn("closing failed", "stage", StageCommit, "err", cerr)
		}
		w.markDirty(l)
		return w.lose(nil, err, StageCommit)
	}
	w.eachDirty(nil)
	l.saving.lock()
	defer l.saving.unlock()
	l.lastCommit = e.now()
	l.becameDurable(&m, true)
	return l.ack(&m, true)
}

// countFlush counts a flush, a commit or a save.
func (e *engine[In, Out]) countFlush(w *writer[In, Out], stage string, d time.Duration, err error) {
	t := e.shared
	split := ""
	if w != nil {
		t, split = w.tally, w.split()
	}
	t.mu.Lock()
	if err == nil {
		t.checkpoint.add(0, 0)
	} else {
		t.checkpoint.errors.add(retry.ClassOf(err), 1)
	}
	t.checkpoint.latency.add(d)
	t.mu.Unlock()
	if f := e.obs.Batch; f != nil {
		f(BatchInfo{Pipeline: e.cfg.name, Split: split, Stage: stage, Duration: d, Timed: true, Err: err, Class: retry.ClassOf(err)})
	}
}

// tick is the goroutine that makes checkpoints while lanes wait for their sources.
func (e *engine[In, Out]) tick() {
	every := time.NewTicker(e.cfg.checkpointInterval)
	defer every.Stop()
	var delay <-chan time.Time
	if e.cfg.batchDelay > 0 && e.cfg.batchDelay < e.cfg.checkpointInterval {
		t := time.NewTicker(e.cfg.batchDelay)
		defer t.Stop()
		delay = t.C
	}
	storing := e.cfg.retry.NewBackoff()
	for {
		select {
		case <-e.done:
			return
		case <-delay:
			e.askDue()
			continue
		case <-e.kick:
		case <-every.C:
			e.askDue()
			e.tickLanes()
		}
		if e.perLane.Load() {
			continue
		}
		e.roundForAll(storing)
	}
}

// roundForAll is a round for all lanes. Where the store is out, the next tick is the next attempt.
func (e *engine[In, Out]) roundForAll(b *retry.Backoff) {
	err := e.round(nil)
	if err == nil {
		b.Reset()
		return
	}
	if _, ok := b.Next(err); !ok || isFinal(err) {
		e.fail(err)
		return
	}
	e.cfg.log.Warn("positions can't be saved", "failures", b.Failures(), "err", err)
}

// tickLanes gives stages with state a tick, commits for lanes that are idle, and tells how far each lane is.
func (e *engine[In, Out]) tickLanes() {
	for _, l := range e.openLanes() {
		l.mu.Lock()
		staging, open := l.staging, l.isOpen
		l.mu.Unlock()
		if staging != nil && open {
			l.wantTick.Store(true)
			if staging.tryLock() {
				if !l.resting && l.wantTick.CompareAndSwap(true, false) && !l.hasFailed() {
					if err := l.tickLocked(false); err != nil {
						l.fail(err, soft)
					}
				}
				staging.unlock()
			}
		}
		l.mu.Lock()
		w := l.writer
		l.mu.Unlock()
		if w != nil && w.tryBusy() {
			if l.is(&l.isOpen) && w.w != nil && e.now()-l.lastCommit >= e.cfg.checkpointInterval {
				_ = l.commit(w, false)
			}
			w.release()
		}
		l.tellProgress()
	}
}

// askDue asks idle writers whether they want to be flushed.
func (e *engine[In, Out]) askDue() {
	for _, w := range e.writers {
		if !w.anyDirty.Load() || !w.tryBusy() {
			continue
		}
		if w.flusher != nil && w.w != nil && w.flusher.Due() && w.flush() == nil {
			e.kickRound()
		}
		w.release()
	}
}
