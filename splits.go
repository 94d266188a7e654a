package weaver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bohica-labs/dataweaver/retry"
)

// startSplits starts the only lane, or the session that tells which there are.
func (e *engine[In, Out]) startSplits() {
	splitter, ok := As[Splitter](e.p.Source)
	if !ok {
		e.settled.Store(true)
		_ = e.add(Split{}) // there is no other that it could collide with
		return
	}
	e.wg.Go(func() {
		if err := e.runSession(splitter); err != nil && !e.stopping() {
			e.fail(e.wrap(StageSplits, e.p.Source, nil, err))
		}
	})
}

// openSession opens the session of this Run, waiting for an origin that is out.
func (e *engine[In, Out]) openSession(splitter Splitter, b *retry.Backoff) (Splits, error) {
	for {
		var s Splits
		err := guard(func() (err error) {
			s, err = splitter.Splits(e.reading)
			return err
		})
		if err == nil && isNil(s) {
			return nil, retry.Fatal(errors.New("Splits returned neither a session nor an error"))
		}
		if err == nil {
			e.mu.Lock()
			e.session = s
			e.mu.Unlock()
			return s, nil
		}
		if err := e.splitsFailed(b, err); err != nil {
			return nil, err
		}
	}
}

func (e *engine[In, Out]) splitsFailed(b *retry.Backoff, err error) error {
	if isFinal(err) || e.stopping() {
		return err
	}
	return e.pause(e.reading, e.shared, b, RetryInfo{Stage: StageSplits, Err: err})
}

// runSession carries out what the session says, until it says that the set is final.
func (e *engine[In, Out]) runSession(splitter Splitter) error {
	b := e.cfg.retry.NewBackoff()
	session, err := e.openSession(splitter, b)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(e.reading)
	defer cancel()
	e.mu.Lock()
	e.closeSplits = cancel
	e.mu.Unlock()
	if e.finished.Load() {
		if err := e.finishSession(); err != nil {
			return err
		}
	}
	for {
		var change Change
		err := guard(func() (err error) {
			change, err = session.Next(ctx)
			return err
		})
		if err == io.EOF { //nolint:errorlint // only io.EOF itself says that the set is final
			e.settled.Store(true)
			return nil
		}
		if err != nil && e.finished.Load() && ctx.Err() != nil {
			return nil
		}
		if e.stopping() {
			return nil
		}
		if err != nil {
			if err := e.splitsFailed(b, err); err != nil {
				return err
			}
			continue
		}
		b.Reset()
		e.revoke(change.Revoke, change.By)
		if err := e.add(change.Add...); err != nil {
			return err
		}
	}
}

// finishSession ends the session with the splits there are now: one that is no Finisher is not asked again.
func (e *engine[In, Out]) finishSession() error {
	e.mu.Lock()
	session, stop := e.session, e.closeSplits
	e.mu.Unlock()
	if session == nil || stop == nil {
		return nil // it will be asked to when it is open
	}
	if f, ok := As[Finisher](session); ok {
		return guard(func() error { return f.Finish(e.working) })
	}
	stop()
	return nil
}

// add starts lanes, or lets bounded ones wait for their turn.
func (e *engine[In, Out]) add(splits ...Split) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range splits {
		if _, twice := e.lanes[s.ID]; twice {
			return retry.Fatal(fmt.Errorf("the session adds split %q, which it has added before and not revoked", s.ID))
		}
		l := newLane(e, s)
		e.lanes[s.ID] = l
		if s.Bounded {
			e.waiting = append(e.waiting, l)
			continue
		}
		e.active[l] = struct{}{}
		e.wg.Go(l.run)
	}
	for range min(len(e.waiting), e.cfg.maxLanes-e.runners) {
		e.runners++
		e.wg.Go(e.runBounded)
	}
	return nil
}

// runBounded runs bounded lanes one after the other until none waits.
func (e *engine[In, Out]) runBounded() {
	for {
		e.mu.Lock()
		if len(e.waiting) == 0 || e.stopping() {
			e.runners--
			e.mu.Unlock()
			return
		}
		l := e.waiting[0]
		e.waiting[0] = nil
		e.waiting = e.waiting[1:]
		e.active[l] = struct{}{}
		e.mu.Unlock()
		l.run()
	}
}

// revoke drains and closes lanes; past by they are given up.
func (e *engine[In, Out]) revoke(ids []string, by time.Time) {
	var lanes []*lane[In, Out]
	e.mu.Lock()
	for _, id := range ids {
		l := e.lanes[id]
		if l == nil {
			continue
		}
		if _, runs := e.active[l]; !runs { // it waits for its turn: there is nothing to drain
			for i, x := range e.waiting {
				if x == l {
					e.waiting = append(e.waiting[:i], e.waiting[i+1:]...)
					break
				}
			}
			delete(e.lanes, id)
			continue
		}
		lanes = append(lanes, l)
	}
	e.mu.Unlock()
	for _, l := range lanes {
		l.revoke()
	}
	var late <-chan time.Time
	if !by.IsZero() {
		t := time.NewTimer(time.Until(by))
		defer t.Stop()
		late = t.C
	}
	for _, l := range lanes {
		select {
		case <-l.ended:
			continue
		case <-e.working.Done():
			l.abandon()
		case <-late:
			late = closedTimer
			l.abandon()
		}
		e.mu.Lock()
		if e.lanes[l.split.ID] == l {
			delete(e.lanes, l.split.ID) // the split may come back while the old lane still closes
		}
		e.mu.Unlock()
	}
}

// closedTimer is a channel of which there is always something to receive.
var closedTimer = func() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()
