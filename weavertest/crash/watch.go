package crash

import (
	"context"
	"fmt"
	"time"
)

// poll is how often progress is asked for.
const poll = time.Millisecond

// watch follows the progress of one life.
type watch struct {
	plan     *Plan
	life     *life
	looked   bool
	at       int64         // progress now
	advanced bool          // it grew in this life, which it doesn't by going back first
	first    time.Duration // how long it took until then
	from     int64         // and how far it was then
	latest   time.Duration // and until it grew for the last time
	steps    int           // how often it grew after the first time
}

// look asks how far the output has come.
func (w *watch) look() error {
	at, err := w.plan.Progress()
	if err != nil {
		return fmt.Errorf("Plan.Progress: %w", err)
	}
	if w.looked && at > w.at {
		w.latest = time.Since(w.life.began)
		if w.advanced {
			w.steps++
		} else {
			w.advanced, w.first, w.from = true, w.latest, at
		}
	}
	w.looked, w.at = true, at
	return nil
}

// step returns how long it took from one progress to the next, or before if that hasn't shown.
func (w *watch) step(before time.Duration) time.Duration {
	if w.steps == 0 {
		return before
	}
	return (w.latest - w.first) / time.Duration(w.steps)
}

// left returns how long the output will take until it is complete, if that has shown.
func (w *watch) left() (left time.Duration, known bool) {
	if w.steps == 0 {
		return 0, false
	}
	return time.Duration(float64(w.latest-w.first) * float64(w.plan.Total-w.at) / float64(w.at-w.from)), true
}

// until watches until progress has come to target, which it never does if that is negative, or the program has ended.
func (w *watch) until(ctx context.Context, target int64) error {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	patience := time.NewTimer(w.plan.Patience)
	defer patience.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.life.dead:
			return nil
		case <-patience.C:
			return fmt.Errorf("no progress for %v (Plan.Patience): it stands at %d of %d", w.plan.Patience, w.at, w.plan.Total)
		case <-ticker.C:
		}
		before := w.at
		if err := w.look(); err != nil {
			return err
		}
		if w.at != before {
			patience.Reset(w.plan.Patience)
		}
		if target >= 0 && w.advanced && w.at >= target {
			return nil
		}
	}
}

// wait lets the program run on, unless it ends.
func (w *watch) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-w.life.dead:
	case <-timer.C:
	}
	return nil
}
