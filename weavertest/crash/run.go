package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// ErrTooFewKills is in the error of a Run whose program came to its end before it was killed often enough.
var ErrTooFewKills = errors.New("too few kills")

// Run starts the program, kills it and starts it again as planned, and then lets it come to its end. It returns an error
// if the program fails by itself, with the end of what it printed; if it was not killed often enough; and if it takes
// too long. Whatever happens, the program doesn't run any more when Run returns.
func (p Plan) Run(ctx context.Context, program Program) (Report, error) {
	p, err := p.filled()
	if err != nil {
		return Report{}, err
	}
	if program.Command == nil {
		return Report{}, errors.New("crash: Program.Command is nil: make the Program with Child, or set it")
	}
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, p.Timeout, fmt.Errorf("Plan.Timeout of %v is over", p.Timeout))
	defer cancel()
	r := &runner{
		plan:    p,
		program: program,
		rng:     rand.New(rand.NewPCG(p.Seed, 0)),
		start:   50 * time.Millisecond, // until a life has shown how long it takes
		step:    5 * time.Millisecond,
		left:    p.Kills,
		early:   p.Early,
	}
	err = r.run(ctx)
	r.report.Took = time.Since(began)
	if err != nil {
		return r.report, fmt.Errorf("crash: life %d, after %d of %d kills: %w", r.report.Lives, p.Kills-r.left, p.Kills, err)
	}
	return r.report, nil
}

// runner is one Run.
type runner struct {
	plan    Plan
	program Program
	rng     *rand.Rand
	report  Report
	left    int           // kills that are still to come
	early   int           // and those at a start
	at      int64         // progress, the greatest so far
	start   time.Duration // how long a life took to its first progress, the longest so far
	step    time.Duration // from one progress to the next in the last life that showed it
}

// run lets one life follow another until one comes to its end.
func (r *runner) run(ctx context.Context) error {
	// Each life that isn't killed early is killed after progress, so more than this are lives that didn't count.
	for most := 2*(r.plan.Kills+r.plan.Early) + 2*mostAgain; r.report.Lives < most; {
		ended, err := r.life(ctx)
		if err != nil {
			return err
		}
		if !ended {
			continue
		}
		if r.left == 0 {
			return nil
		}
		if r.plan.Again == nil || r.report.Again == mostAgain {
			return fmt.Errorf("%w: the program ended by itself: make it slower (Pipeline.RateLimit) or give it more to do, see that it writes often (Pipeline.CheckpointInterval), or set Plan.Again", ErrTooFewKills)
		}
		r.report.Again++
		r.at = 0
		if err := r.plan.Again(); err != nil {
			return fmt.Errorf("Plan.Again: %w", err)
		}
	}
	return fmt.Errorf("%w: the program was started %d times", ErrTooFewKills, r.report.Lives)
}

// life starts the program and stays until it is dead. It reports whether it came to its end.
func (r *runner) life(ctx context.Context) (ended bool, err error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	w := watch{plan: &r.plan}
	if err := w.look(); err != nil {
		return false, err
	}
	r.report.Lives++
	l, err := start(r.program)
	if err != nil {
		return false, err
	}
	defer l.end()
	w.life = l
	switch {
	case r.left > 0 && r.early > 0 && r.rng.IntN(r.left+r.early) < r.early:
		r.early--
		err = w.wait(ctx, time.Duration(r.rng.Int64N(int64(r.start)+1)))
	case r.left > 0:
		err = w.until(ctx, r.target())
		if err == nil {
			r.start = min(max(r.start, w.first), time.Second)
			r.step = w.step(r.step)
			err = w.wait(ctx, r.jitter(&w))
		}
	default:
		err = w.until(ctx, -1)
	}
	if err != nil {
		return false, l.explain(err)
	}
	return r.bury(l, &w)
}

// target is the progress for the next kill: with n kills left, 1/(n+2) of what is left of the output, give or take
// up to three fifths of that. What is behind the last one is for a machine that is busy when the kill is due.
func (r *runner) target() int64 {
	left := r.plan.Total - 1 - r.at
	mean := float64(left) / float64(r.left+2)
	return r.at + max(1, int64(mean*(0.4+1.2*r.rng.Float64())))
}

// jitter is a random time to wait.
func (r *runner) jitter(w *watch) time.Duration {
	most := r.plan.Jitter
	if most == 0 {
		most = min(2*r.step, greatestJitter)
		if left, known := w.left(); known {
			most = min(most, left/time.Duration(r.left+2))
		}
		most >>= r.report.Again // a program that has ended while it was waited had less time than it seemed
	}
	return time.Duration(r.rng.Int64N(int64(max(0, most)) + 1))
}

// bury kills the program, if it isn't dead yet, and takes down how it ended.
func (r *runner) bury(l *life, w *watch) (ended bool, err error) {
	switch killed, err := l.kill(); {
	case err != nil:
		return false, err
	case !killed:
		return true, nil
	}
	if err := w.look(); err != nil {
		return false, err
	}
	k := Kill{Life: r.report.Lives, Progress: w.at}
	k.Counts = r.left > 0 && w.advanced && w.at < r.plan.Total
	if k.Counts {
		r.left--
	}
	r.at = max(r.at, w.at)
	r.report.Kills = append(r.report.Kills, k)
	if r.plan.AfterKill == nil {
		return false, nil
	}
	return false, r.plan.AfterKill(k)
}
