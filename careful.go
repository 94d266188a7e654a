package weaver

import (
	"bytes"
	"fmt"

	"github.com/bohica-labs/dataweaver/retry"
)

// careful is how a lane looks for a record that made something fail without being named (a Flush, a Commit, a stage
// that gave up on its batch): it reads in smaller and smaller batches, each made durable before the next, until the
// culprit is alone. That one is dead-lettered, and the lane opened behind it.
type careful struct {
	limit int   // inputs a batch; 0: not looking
	left  int64 // suspects still to come
}

// skip is a culprit that was dead-lettered: the lane goes on at to if it is found at from.
type skip struct {
	from  Position
	to    mark
	tried bool
}

// suspect makes the lane look, once it has recovered, for the record behind err among so many since the checkpoint.
func (l *lane[In, Out]) suspect(records int64, err error) {
	l.mu.Lock()
	l.suspects = max(l.suspects, records, 1)
	l.culprit = err
	l.mu.Unlock()
}

// lookCloser starts the search, or goes on with it. It reports false if there is none.
func (l *lane[In, Out]) lookCloser() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.skip; s != nil {
		first := !s.tried // where moving the checkpoint fails, that is an outage as any other
		s.tried = true
		return first
	}
	if l.culprit == nil {
		return false
	}
	c := &l.careful
	c.left = max(c.left, l.suspects)
	if c.limit == 0 {
		c.limit = int(min(int64(l.e.cfg.batchSize), c.left))
	}
	c.limit = max(1, c.limit/2)
	l.suspects, l.culprit = 0, nil
	return true
}

// forwardCarefully processes, writes and makes durable one batch while nothing else is staged.
func (l *lane[In, Out]) forwardCarefully(u *unit[In, Out]) error {
	if l.staging != nil {
		l.staging.lock()
		defer l.staging.unlock()
	}
	l.mu.Lock()
	alone := l.count == l.durable.ordinal
	l.push(u)
	l.held, l.heldBack = u, false // its input may have to be dead-lettered when it has long been accepted
	l.mu.Unlock()
	defer l.letGo(u)
	inputs, limit := u.inputs, l.careful.limit
	err := l.process(l.e.working, l.stages[0], u)
	if err == nil {
		l.countProcess(u, 0, false)
		if l.snapshots != nil && u.has {
			err = l.snapshotInto(u)
		}
	}
	processed := err == nil
	if processed {
		err = l.writeAlone(u)
	}
	if err == nil {
		if l.careful.left -= int64(inputs); l.careful.left <= 0 {
			l.careful = careful{}
		}
		return nil
	}
	l.mu.Lock()
	culprit := l.culprit
	l.mu.Unlock()
	switch {
	case culprit == nil || l.is(&l.abandoned):
		return err
	case inputs == 1 && !alone:
		return retry.Fatal(fmt.Errorf("a record can't be told from those before it, because its Reader gives no position between them: %w", err))
	case inputs > 1 && limit == 1:
		return retry.Fatal(fmt.Errorf("one of %d records can't be told from the others: asked for one, the Reader gave them all: %w", inputs, err))
	case inputs > 1:
		return err
	}
	return l.condemn(u, culprit, processed)
}

// writeAlone writes u with nothing else staged in its writer, and makes it durable.
func (l *lane[In, Out]) writeAlone(u *unit[In, Out]) error {
	l.mu.Lock()
	l.unsent = u.next
	u.processed = true
	if len(u.view.Records) == 0 {
		u.done = true
		l.mu.Unlock()
	} else {
		l.flying++
		u.pending = 1
		u.parts[0].records = u.view.Records
		u.parts[0].index = nil
		l.mu.Unlock()
		w := l.writer
		if w == nil {
			w = l.e.writers[0]
		}
		w.waitBusy()
		if w.own == nil {
			_ = w.flush() // what others have staged: if it fails, it is they who recover
		}
		w.write(&u.parts[0])
		if w.own == nil && !l.hasFailed() {
			_ = w.flush() // fails this lane
		}
		w.release()
	}
	l.mu.Lock()
	l.advance()
	failure := l.failure
	l.mu.Unlock()
	if failure != nil {
		return failure
	}
	if err := l.checkpoint(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failure
}

// letGo lets u be used again, if it would have been.
func (l *lane[In, Out]) letGo(u *unit[In, Out]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = nil
	if l.heldBack {
		l.heldBack = false
		l.recycle(u)
	}
}

// condemn dead-letters the only input of u, and lets the lane go on behind it once it has recovered.
func (l *lane[In, Out]) condemn(u *unit[In, Out], err error, processed bool) error {
	e := l.e
	if !u.has {
		return retry.Fatal(fmt.Errorf("a record can't be skipped, because its Reader has given no position behind it: %w", err))
	}
	part, stage := any(e.p.Process), StageProcess
	if processed {
		part, stage = e.p.Sink, stageOf(err)
	}
	if len(u.in.Records) == 1 && u.reject(0) {
		if err := e.letters.put(l, part, []Rejected[In]{l.rejected(u, 0, stage, err, 1)}, true); err != nil {
			return e.wrap(StageDeadLetter, e.p.DeadLetter, l, err)
		}
	} else if ferr := e.letters.flush(); ferr != nil {
		return e.wrap(StageDeadLetter, e.p.DeadLetter, l, ferr)
	}
	l.mu.Lock()
	to := mark{ordinal: l.durable.ordinal + int64(u.inputs), has: true, seq: l.accepted.seq + 1}
	to.pos = append(to.pos, u.pos...)
	state := l.durable.state // a stage that failed didn't take the record in
	if processed && u.cut {
		state = u.state
	}
	to.state = state
	l.skip = &skip{from: l.durable.clone(), to: to}
	l.culprit, l.suspects = nil, 0
	l.careful.left -= int64(u.inputs)
	if l.careful.left <= 0 {
		l.careful = careful{}
	} else {
		l.careful.limit = int(min(int64(e.cfg.batchSize), max(1, l.careful.left/2)))
	}
	acker := l.acker
	l.mu.Unlock()
	if e.queue && acker != nil {
		l.saving.lock()
		aerr := guard(func() error { return acker.Ack(e.working, u.pos) })
		l.saving.unlock()
		if aerr != nil {
			return e.wrap(StageAck, e.p.Source, l, aerr)
		}
	}
	return retry.Transient(e.wrap(stage, part, l, err))
}

// skipCulprit moves the checkpoint of a lane that is being opened over a record that was dead-lettered, unless the
// sink turns out to have taken it after all.
func (l *lane[In, Out]) skipCulprit() error {
	s := l.skip
	if s == nil {
		return nil
	}
	l.skip = nil
	if !bytes.Equal(s.from, l.durable.pos) || (s.from != nil) != l.durable.has {
		return nil
	}
	if l.e.queue {
		return nil // it was acknowledged
	}
	if l.writer != nil {
		env := appendEnvelope(nil, s.to.pos, s.to.state)
		err := guard(func() error { return l.writer.checkpointer.Commit(l.e.working, env) })
		if err != nil {
			l.skip = s
			if retry.ClassOf(err) == retry.ClassPoison {
				err = retry.Fatal(fmt.Errorf("committing a position without any record failed: %w", err))
			}
			return l.e.wrap(StageCommit, l.e.p.Sink, l, err)
		}
	} else if l.e.p.Checkpoint != nil {
		if err := l.store(&s.to); err != nil {
			l.skip = s
			return err
		}
	}
	l.mu.Lock()
	l.durable.set(&s.to)
	l.saved = l.writer != nil || l.e.p.Checkpoint != nil
	l.progress = true
	l.mu.Unlock()
	l.begin(nil, nil, false)
	return nil
}
