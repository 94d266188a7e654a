package weaver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/bohica-labs/dataweaver/retry"
)

// open opens writer, stage and reader at the last durable checkpoint, in this order: the writer knows the checkpoint
// where it is a Checkpointer.
func (l *lane[In, Out]) open() error {
	e := l.e
	at := Lane{Pipeline: e.cfg.name, Split: l.split, Log: l.log}
	if err := l.load(); err != nil {
		return e.wrap(StageCheckpoint, e.p.Checkpoint, l, err)
	}
	if err := l.openWriter(at); err != nil {
		return e.wrap(StageWrite, e.p.Sink, l, err)
	}
	if e.p.Require == ExactlyOnce && l.writer == nil {
		return e.wrap(StageWrite, e.p.Sink, l, retry.Fatal(errors.New(
			"Pipeline.Require is ExactlyOnce, but this sink's Writer is no Checkpointer: it can't keep the position with the records")))
	}
	if err := l.skipCulprit(); err != nil {
		return err
	}
	at.State = slices.Clone(l.durable.state)
	if err := l.openStage(at); err != nil {
		return e.wrap(StageProcess, e.p.Process, l, err)
	}
	if l.snapshots != nil && l.writer == nil && e.p.Checkpoint == nil {
		return e.wrap(StageProcess, e.p.Process, l, retry.Fatal(errors.New(
			"the stage keeps state and nothing keeps its snapshots: set Pipeline.Checkpoint")))
	}
	if l.snapshots != nil && e.queue {
		return e.wrap(StageProcess, e.p.Process, l, retry.Fatal(errors.New(
			"the stage keeps state, but the source is a queue: there is no position at which a snapshot could be kept")))
	}
	at.State = nil
	if !e.queue {
		at.Position = l.durable.clone()
	}
	return e.wrap(StageRead, e.p.Source, l, l.openReader(at))
}

// load brings the durable checkpoint from the store. Without one, and without a Checkpointer, the lane remembers it
// itself from one opening to the next.
func (l *lane[In, Out]) load() error {
	e := l.e
	if e.queue {
		l.forget() // the last position was its Reader's
		return nil
	}
	if e.p.Checkpoint == nil || e.perLane.Load() {
		l.begin(nil, nil, false)
		return nil
	}
	var env []byte
	err := guard(func() (err error) {
		env, l.version, err = e.p.Checkpoint.Load(e.working, l.key())
		l.unsure = nil
		return err
	})
	if err != nil {
		return err
	}
	pos, state, err := decode(env)
	if err != nil {
		return retry.Fatal(fmt.Errorf("under key %q: %w", l.key(), err))
	}
	l.begin(pos, state, env != nil)
	if env == nil {
		l.forget()
	}
	return nil
}

// decode tells an envelope that isn't there from one that is damaged: no checkpoint is nil, an empty one is an error.
func decode(env []byte) (Position, []byte, error) {
	if env == nil {
		return nil, nil, nil
	}
	return decodeEnvelope(env)
}

// key is the lane's in the store.
func (l *lane[In, Out]) key() string {
	if l.split.ID == "" {
		return l.e.cfg.name
	}
	return l.e.cfg.name + "/" + l.split.ID
}

// begin sets all marks to the durable checkpoint; with found, to what was just loaded.
func (l *lane[In, Out]) begin(pos Position, state []byte, found bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found {
		l.durable.pos = append(l.durable.pos[:0], pos...)
		l.durable.state = slices.Clone(state)
		l.durable.has = true
		l.saved = true
		if l.epoch == 1 {
			l.e.resumed.Store(true)
		}
	}
	l.beginLocked()
}

// beginLocked sets all marks to the durable checkpoint. l.mu is held.
func (l *lane[In, Out]) beginLocked() {
	l.readTo.set(&l.durable)
	l.accepted.set(&l.durable)
	l.snapped.set(&l.durable)
	l.count = l.durable.ordinal
	l.exact = true
}

// forget goes back to the very start: the sink or the store holds nothing.
func (l *lane[In, Out]) forget() {
	l.mu.Lock()
	l.durable = mark{ordinal: l.durable.ordinal, seq: l.durable.seq}
	l.mu.Unlock()
	l.begin(nil, nil, false)
}

// openWriter sees to a Writer: the lane's own if it is a Checkpointer, otherwise the shared one. The first lane to
// come finds out which it is.
func (l *lane[In, Out]) openWriter(at Lane) error {
	e := l.e
	known := e.known.Load() // once: another lane may find out in between
	if known && !e.perLane.Load() {
		return nil // writers reopen themselves when they are used
	}
	at.Resume = l.epoch > 1 || l.durable.has
	if !known {
		e.opening.lock()
		defer e.opening.unlock()
		if e.known.Load() && !e.perLane.Load() {
			return nil
		}
	}
	w := newWriter(e, 0, l)
	w.at = at
	if err := w.open(); err != nil {
		return err
	}
	if w.checkpointer == nil {
		if e.perLane.Load() {
			return errors.Join(retry.Fatal(errors.New("the sink opened a Checkpointer before, and now a Writer that is none")), w.closeWriter())
		}
		e.writers[0].adopt(w)
		e.known.Store(true)
		return nil
	}
	l.mu.Lock()
	l.writer = w
	l.mu.Unlock()
	e.perLane.Store(true)
	e.known.Store(true)
	var env []byte
	err := guard(func() (err error) {
		env, err = w.checkpointer.Restore(e.working)
		return err
	})
	if err != nil {
		return e.wrap(StageCommit, e.p.Sink, l, err)
	}
	pos, state, err := decode(env)
	if err != nil {
		return e.wrap(StageCommit, e.p.Sink, l, retry.Fatal(err))
	}
	if e.queue {
		env = nil
	}
	l.begin(pos, state, env != nil)
	if env == nil {
		l.forget()
	}
	l.lastCommit = e.now()
	w.start()
	return nil
}

func (l *lane[In, Out]) openStage(at Lane) error {
	e := l.e
	var s Stage[In, Out]
	err := guard(func() (err error) {
		s, err = e.p.Process.OpenStage(e.working, at)
		return err
	})
	if err != nil {
		return err
	}
	if isNil(s) {
		return retry.Fatal(errors.New("OpenStage returned neither a Stage nor an error"))
	}
	l.stages = append(l.stages[:0], s)
	if l.retrying == nil {
		l.retrying = &stageRun{policy: e.cfg.retry, pause: l.pauseStage}
	}
	_, l.passes = any(s).(pass[In])
	l.placing = false
	if r, ok := s.(*recordStage[In, Out]); ok && r.value != nil && !r.drops {
		_, l.placing = any((*Batch[In])(nil)).(*Batch[Out])
	}
	snapshots, _ := As[Snapshotter](s)
	l.mu.Lock() // the ticker looks at both
	l.snapshots = snapshots
	if snapshots != nil && l.staging == nil {
		l.staging, l.resting = newGate(), true
	}
	l.mu.Unlock()
	return nil
}

func (l *lane[In, Out]) openReader(at Lane) error {
	e := l.e
	var r Reader[In]
	err := guard(func() (err error) {
		r, err = e.p.Source.OpenReader(l.reading, at)
		return err
	})
	if err != nil {
		return err
	}
	if isNil(r) {
		return retry.Fatal(errors.New("OpenReader returned neither a Reader nor an error"))
	}
	l.reader = r
	acker, _ := As[Acker](r)
	finisher, _ := As[Finisher](r)
	lag, _ := As[LagReporter](r)
	measure, _ := As[ProgressReporter](r)
	if !isNil(e.p.After) && finisher == nil && !l.split.Bounded {
		return retry.Fatal(errors.New("Pipeline.After is set, but this source's Reader is no Finisher: it can't end with what is there"))
	}
	l.mu.Lock()
	l.acker, l.finisher, l.lag, l.measure = acker, finisher, lag, measure
	l.isOpen = true
	l.mu.Unlock()
	if e.finished.Load() {
		l.finish()
	}
	return l.ackOpened()
}

// ackOpened tells the origin the position that its Reader was opened at, if nobody has: the last acknowledgement failed,
// or the process ended between saving and acknowledging, and perhaps nothing more will come.
func (l *lane[In, Out]) ackOpened() error {
	l.saving.lock()
	defer l.saving.unlock()
	l.mu.Lock()
	due := l.acker != nil && l.durable.has && !l.e.queue && (!l.acked.has || l.acked.seq < l.durable.seq)
	var m mark
	if due {
		m.set(&l.durable)
	}
	saved := l.saved
	l.mu.Unlock()
	if !due {
		return nil
	}
	return l.ack(&m, saved)
}

// pauseStage waits before records that failed in a stage are tried again.
func (l *lane[In, Out]) pauseStage(ctx context.Context, b *retry.Backoff, records int, err error) error {
	return l.e.pause(ctx, l.tally, b, RetryInfo{Split: l.split.ID, Stage: StageProcess, Records: records, Err: err})
}

// close closes what open opened. Everything in flight has come to its end before.
func (l *lane[In, Out]) close() {
	if l.is(&l.isOpen) {
		l.tellProgress()
	}
	l.saving.lock() // no Ack runs beside or after Close
	l.mu.Lock()
	l.isOpen = false
	l.acker, l.finisher, l.lag, l.measure = nil, nil, nil, nil
	l.mu.Unlock()
	l.saving.unlock()
	if l.work != nil {
		close(l.work)
		l.workers.Wait()
		l.work = nil
	}
	warn := func(what string, err error) {
		if err != nil {
			l.log.Warn("closing failed", "stage", what, "err", err)
		}
	}
	for _, s := range l.stages {
		if s != nil {
			warn(StageProcess, guard(func() error { return closeStage(s) }))
		}
	}
	l.stages = l.stages[:0]
	if l.reader != nil {
		warn(StageRead, guard(l.reader.Close))
		l.reader = nil
	}
	if w := l.writer; w != nil {
		w.shut()
		l.mu.Lock()
		l.writer = nil
		l.mu.Unlock()
	}
}
