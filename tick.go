package weaver

import (
	"slices"

	"github.com/bohica-labs/dataweaver/retry"
)

// tickStage gives the stage a batch without records: a tick, or the end of the split.
func (l *lane[In, Out]) tickStage(end bool) error {
	if l.staging != nil {
		l.staging.lock()
		defer l.staging.unlock()
	}
	return l.tickLocked(end)
}

// tickLocked gives the stage its tick, and takes a snapshot right behind it if the stage has seen anything since the
// last one and a checkpoint may fall there. staging is held, where there is state.
func (l *lane[In, Out]) tickLocked(end bool) error {
	u := l.spare()
	if u == nil {
		l.wantTick.Store(true) // everything is in flight: after the next batch
		return nil
	}
	u.tick, u.in.End = true, end
	if l.snapshots != nil {
		u.has = l.readTo.has
		u.pos = append(u.pos[:0], l.readTo.pos...)
	}
	stale := l.stale
	l.mu.Lock()
	l.push(u)
	l.mu.Unlock()
	if err := l.process(l.e.working, l.stages[0], u); err != nil {
		return err
	}
	if l.snapshots != nil && u.has && (end || l.mayPause() && (stale || len(u.view.Records) > 0)) {
		if err := l.snapshotInto(u); err != nil {
			return err
		}
	}
	l.mu.Lock()
	u.processed = true
	l.sendReady()
	l.mu.Unlock()
	return nil
}

// mayPause reports whether a snapshot may be taken for a tick. A large state takes long; it must not take more than a
// tenth of the lane's time.
func (l *lane[In, Out]) mayPause() bool { return l.e.now() >= l.nextPause }

// snapshotInto takes the stage's snapshot right behind u.
func (l *lane[In, Out]) snapshotInto(u *unit[In, Out]) error {
	start := l.e.now()
	defer func() {
		end := l.e.now()
		l.nextPause = end + 9*(end-start)
	}()
	var state []byte
	err := guard(func() (err error) {
		state, err = l.snapshots.Snapshot()
		return err
	})
	if err != nil {
		if retry.ClassOf(err) == retry.ClassPoison {
			err = retry.Fatal(err) // it concerns no record
		}
		return l.e.wrap(StageProcess, l.e.p.Process, l, err)
	}
	u.cut = true
	u.state = slices.Clone(state)
	l.stale = false
	return nil
}

// takeSnapshot makes the accepted point one with a snapshot. Nothing is in flight and the stage has seen exactly what
// was accepted.
func (l *lane[In, Out]) takeSnapshot() error {
	l.staging.lock()
	defer l.staging.unlock()
	l.mu.Lock()
	exact := l.exact && l.accepted.has && l.accepted.seq > l.snapped.seq
	l.mu.Unlock()
	if !exact || !l.stale {
		return nil
	}
	var u unit[In, Out]
	if err := l.snapshotInto(&u); err != nil {
		return err
	}
	l.mu.Lock()
	l.snapped.set(&l.accepted)
	l.snapped.state = u.state
	l.mu.Unlock()
	return nil
}

// spare returns a unit if there may be one more.
func (l *lane[In, Out]) spare() *unit[In, Out] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if u := l.free; u != nil {
		l.free = u.next
		u.next = nil
		return u
	}
	if l.units >= l.e.maxUnits {
		return nil
	}
	return l.another(0)
}

// another makes one more unit, with room for so many records: as many as the last batch had. l.mu is held.
func (l *lane[In, Out]) another(room int) *unit[In, Out] {
	l.units++
	u := newUnit(l.e)
	u.lane = l
	if l.units > 1 { // most lanes of a source with very many splits never need a second one
		u.in.Records = make([]Record[In], 0, room)
	}
	return u
}
