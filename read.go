package weaver

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bohica-labs/dataweaver/retry"
)

// step moves one batch. It reports the end of reading: of the split, or because the lane must stop or has failed.
//
//nolint:errorlint // io.EOF and ErrFull count only as they are: a wrapped EOF is a broken connection, not the end of a split
func (l *lane[In, Out]) step() (end bool, err error) {
	e := l.e
	if l.wantTick.Load() && l.wantTick.CompareAndSwap(true, false) {
		if err := l.tickStage(false); err != nil {
			return true, err
		}
		if w := l.writer; w != nil && w.tryBusy() { // a snapshot was taken, perhaps with nothing to write after it
			if w.w != nil {
				l.commitIfDue(w)
			}
			w.release()
		}
	}
	u := l.take()
	if u == nil {
		return true, nil
	}
	timed := l.lastCount >= 16 || l.batches&7 == 0
	l.batches++
	var start, read time.Duration
	if timed {
		start = e.now()
	}
	pos, err := l.read(u)
	if timed {
		read = e.now()
	}
	eof, full := err == io.EOF, err == ErrFull
	if err != nil && !eof && !full {
		l.giveBack(u)
		if l.reading.Err() != nil {
			return true, nil
		}
		return true, l.readError(err)
	}
	u.inputs = len(u.in.Records) + len(u.in.rejects)
	l.lastCount = u.inputs
	if u.has = pos != nil; u.has {
		u.pos = append(u.pos[:0], pos...)
	}
	if eof && u.inputs > 0 && !u.has && (l.writer != nil || e.p.Checkpoint != nil) {
		l.giveBack(u)
		return true, l.readError(retry.Fatal(errors.New("the Reader ended the split with records and no position: there is none to save")))
	}
	u.in.End = false // the end is a batch of its own, behind all records
	if u.inputs > 0 || u.has {
		if !l.underLimit(u) {
			l.giveBack(u) // stopping: nothing of it was processed, it is read again next time
			return true, nil
		}
		if err := l.forward(u, stopwatch{start: start, read: read, on: timed}); err != nil {
			return true, err
		}
	} else {
		l.giveBack(u)
	}
	switch {
	case eof:
		l.ateAll = true
		return true, nil
	case full:
		return false, l.makeRoom()
	}
	return false, nil
}

// readError says where a Reader failed. Nothing marked poison can be dead-lettered here: it concerns no record.
func (l *lane[In, Out]) readError(err error) error {
	return l.e.wrap(StageRead, l.e.p.Source, l, err)
}

func (l *lane[In, Out]) read(u *unit[In, Out]) (pos Position, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = recovered(v)
		}
	}()
	limit := l.e.cfg.batchSize
	if l.careful.limit > 0 {
		limit = min(limit, l.careful.limit)
	}
	u.in.limit(limit, l.e.cfg.batchBytes)
	return l.reader.Read(l.reading, &u.in)
}

// take returns a unit to read into, or nil if the lane must come to its end. It waits while what is in flight, in this
// lane or in all, is at its bound; and, where work is quick again, until the lane's own is written: from then on it
// goes on without handing over.
func (l *lane[In, Out]) take() *unit[In, Out] {
	e := l.e
	if e.inFlight.used.Load() >= e.inFlight.max {
		e.hurry()
		e.inFlight.wait(func() bool { return l.reading.Err() != nil })
	}
	if u := l.spared; u != nil && l.snapshots == nil && l.nothing && !l.alert.Load() {
		if l.reading.Err() != nil {
			return nil
		}
		l.spared = nil
		return u
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for hurried := false; ; {
		if l.failure != nil || l.reading.Err() != nil {
			return nil
		}
		l.nothing = l.queued == 0
		if l.queued == 0 || !l.goesInline() {
			if l.records < e.maxRecords {
				if u := l.spared; u != nil {
					l.spared = nil
					return u
				}
				if u := l.free; u != nil {
					l.free = u.next
					u.next = nil
					return u
				}
				if l.units < e.maxUnits {
					return l.another(l.lastCount)
				}
			}
			if !hurried { // whoever collects a batch for BatchDelay must not wait for records that can't come
				l.mu.Unlock() // hurry locks lanes, this one too
				e.hurry()
				l.mu.Lock()
				hurried = true
				continue
			}
		}
		l.cond.Wait()
		hurried = false
	}
}

// goesInline reports whether this lane's work is quick enough to be done by its own goroutine.
func (l *lane[In, Out]) goesInline() bool {
	if l.clock.slow || l.e.cfg.batchDelay > 0 {
		return false
	}
	if l.writer != nil {
		return !l.writer.slow.Load()
	}
	return l.e.cfg.writers == 1 && !l.e.writers[0].slow.Load()
}

// giveBack returns a unit that was not forwarded.
func (l *lane[In, Out]) giveBack(u *unit[In, Out]) {
	u.reset(l.e.cfg.scribble)
	if l.spared == nil {
		l.spared = u
		return
	}
	l.mu.Lock()
	u.next = l.free
	l.free = u
	l.mu.Unlock()
}

// underLimit waits as RateLimit says. It reports false if the lane must stop.
func (l *lane[In, Out]) underLimit(u *unit[In, Out]) bool {
	e := l.e
	if e.records == nil && e.bytes == nil {
		return true
	}
	n := u.inputs
	for n > 0 && e.records != nil {
		k := min(n, e.records.Burst())
		if e.records.WaitN(l.reading, k) != nil {
			return false
		}
		n -= k
	}
	n = u.in.arena.used + u.in.weight
	for n > 0 && e.bytes != nil {
		k := min(n, e.bytes.Burst())
		if e.bytes.WaitN(l.reading, k) != nil {
			return false
		}
		n -= k
	}
	return true
}

// makeRoom makes durable and acknowledges what there is: the origin waits for it.
func (l *lane[In, Out]) makeRoom() error {
	l.drain()
	if l.snapshots != nil && !l.hasFailed() {
		if err := l.takeSnapshot(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	before := l.acked.seq
	l.mu.Unlock()
	if err := l.checkpoint(); err != nil {
		return err
	}
	l.mu.Lock()
	after, failed := l.acked.seq, l.failure != nil
	l.mu.Unlock()
	if after > before || failed || l.reading.Err() != nil {
		return nil
	}
	// The Reader says full with nothing to acknowledge: what it waits for is not ours to give. Don't spin on it.
	return ignoreStop(retry.Sleep(l.reading, 10*time.Millisecond))
}

func ignoreStop(error) error { return nil }

// stopwatch is when a batch came past; off, it is all zero.
type stopwatch struct {
	on                            bool
	start, read, processed, wrote time.Duration
}

// countRead counts a batch that was read.
func (l *lane[In, Out]) countRead(u *unit[In, Out], w stopwatch) {
	l.tally.mu.Lock()
	l.tallyRead(u, w)
	l.tally.mu.Unlock()
	l.tellRead(u, w)
}

func (l *lane[In, Out]) tallyRead(u *unit[In, Out], w stopwatch) {
	t := &l.tally.read
	t.add(u.inputs, u.in.arena.used+u.in.weight)
	if w.on {
		t.latency.add(w.read - w.start)
	}
}

func (l *lane[In, Out]) tellRead(u *unit[In, Out], w stopwatch) {
	if f := l.e.obs.Batch; f != nil {
		f(BatchInfo{
			Pipeline: l.e.cfg.name, Split: l.split.ID, Stage: StageRead, Records: u.inputs,
			Bytes: u.in.arena.used + u.in.weight, Duration: w.read - w.start, Timed: w.on,
		})
	}
}

// settle lets what is in flight come to its end, makes a last checkpoint, and returns why the lane must recover, nil
// if it must not.
func (l *lane[In, Out]) settle(err error) error {
	l.rest(true)
	l.drain()
	if err == nil && l.ateAll && !l.passes && !l.hasFailed() {
		err = l.tickStage(true)
		l.drain()
	}
	l.mu.Lock()
	ended := l.ateAll && l.failure == nil && err == nil
	if l.failure != nil && (err == nil || l.reading.Err() != nil && !isFinal(err)) {
		err = l.failure
	}
	gone, abandoned := l.lost, l.abandoned
	clean := l.queued == 0
	l.discard()
	l.mu.Unlock()
	l.ateAll = false
	if gone || abandoned {
		return err
	}
	if l.snapshots != nil && clean && err == nil && !ended {
		if serr := l.takeSnapshot(); serr != nil {
			return serr
		}
	}
	if cerr := l.checkpoint(); cerr != nil && err == nil {
		err = cerr
	}
	if !l.exact && err == nil {
		err = l.flushBehind(ended)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure != nil && err == nil {
		err = l.failure
	}
	if err != nil && errors.Is(err, errRevoked) {
		return nil
	}
	return err
}

// flushBehind sees to what was accepted behind the last position, when the lane comes to its end: it is made durable all
// the same. Where positions are kept, a split must not end like that.
func (l *lane[In, Out]) flushBehind(ended bool) error {
	e := l.e
	if ended && !e.queue && (l.writer != nil || e.p.Checkpoint != nil) {
		return l.readError(retry.Fatal(errors.New("the Reader ended the split behind its last position: there is none to save")))
	}
	if l.writer != nil {
		return nil
	}
	e.rounds.lock()
	defer e.rounds.unlock()
	return ignoreOthers(e.flushAll())
}

func ignoreOthers(error) error { return nil } // an error of this lane has failed it

// rest ends ticks from elsewhere, or lets them begin.
func (l *lane[In, Out]) rest(resting bool) {
	if l.staging == nil {
		return
	}
	l.staging.lock()
	l.resting = resting
	l.staging.unlock()
}

// drain waits until no worker and no writer has anything of this lane.
func (l *lane[In, Out]) drain() {
	l.e.hurry()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.flying > 0 {
		if l.broken {
			l.purge()
			if l.flying == 0 {
				return
			}
		}
		l.cond.Wait()
	}
}

// purge takes back what waits in queues of writers. l.mu is held.
func (l *lane[In, Out]) purge() {
	if l.writer != nil {
		l.flying -= l.writer.purge(l)
		return
	}
	for _, w := range l.e.writers {
		l.flying -= w.purge(l)
	}
}

// discard takes back all units in flight that came to nothing. l.mu is held, and nobody has one in hand.
func (l *lane[In, Out]) discard() {
	for u := l.head; u != nil; {
		next := u.next
		l.recycle(u)
		u = next
	}
	l.head, l.tail, l.unsent, l.queued, l.records = nil, nil, nil, 0, 0
}

// recycle makes a unit free for another batch. l.mu is held.
func (l *lane[In, Out]) recycle(u *unit[In, Out]) {
	if u == l.held {
		l.heldBack = true
		return
	}
	l.e.inFlight.release(u.weight)
	u.weight = 0
	u.reset(l.e.cfg.scribble)
	u.next = l.free
	l.free = u
}

// push puts u behind all others in flight. l.mu is held.
func (l *lane[In, Out]) push(u *unit[In, Out]) {
	l.nothing = false
	u.next = nil
	if l.tail == nil {
		l.head = u
	} else {
		l.tail.next = u
	}
	l.tail = u
	l.queued++
	l.records += u.inputs
	if l.unsent == nil {
		l.unsent = u
	}
}

// advance moves the accepted point over all units at the head that are done. l.mu is held.
func (l *lane[In, Out]) advance() {
	for u := l.head; u != nil && u.done; u = l.head {
		l.head = u.next
		if l.head == nil {
			l.tail = nil
		}
		l.queued--
		l.records -= u.inputs
		if !l.lost {
			l.accept(u)
		}
		l.recycle(u)
	}
	l.cond.Broadcast()
}

// accept moves the accepted point over u. l.mu is held.
func (l *lane[In, Out]) accept(u *unit[In, Out]) {
	l.count += int64(u.inputs)
	if u.tick && !u.cut && len(u.view.Records) == 0 {
		return // it came to nothing: with a point of its own, a snapshot before it could never be committed
	}
	if u.has {
		l.accepted.seq++
		l.accepted.pos = append(l.accepted.pos[:0], u.pos...)
		l.accepted.has = true
		l.accepted.ordinal = l.count
		l.exact = true
	} else if u.inputs > 0 || len(u.view.Records) > 0 {
		l.exact = false
	}
	if u.cut {
		l.snapped.set(&l.accepted)
		l.snapped.state = u.state
	}
}

func (l *lane[In, Out]) String() string { return fmt.Sprintf("lane %q", l.split.ID) }
