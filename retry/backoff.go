package retry

import (
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Backoff counts failures and says how long to wait after each. It has one owner: no two calls at a time. Making one reads no clock, and
// what it needs to count is allocated at the first failure.
//
// Each class that has a policy of its own in PerClass also has an interval of its own; the others share one. Failures and elapsed time are counted over
// all classes.
type Backoff struct {
	policy    Policy
	first     time.Time // of the first failure; says nothing while failures is 0
	failures  int
	intervals [classes]*backoff.ExponentialBackOff // ClassUnmarked's is the shared one
}

// NewBackoff returns a Backoff for p that has seen no failure.
func (p Policy) NewBackoff() *Backoff { return &Backoff{policy: p} }

// Next takes note of a failure and returns how long to wait before the next try. It is false once MaxElapsed, of the policy for err's class, is over:
// then the wait is 0. Attempts are not its business: compare [Backoff.Failures] with [Policy.Attempts].
//
// A delay that err tells ([Delay], more than 0) takes the place of the computed wait, exactly and beyond Max; if it leads beyond MaxElapsed there is no use
// in waiting and Next is false. A computed wait is cut short instead, so that the last try falls on the bound.
//
// It does not judge the class: poison and fatal errors get the waits of an unmarked one.
func (b *Backoff) Next(err error) (wait time.Duration, ok bool) {
	now := time.Now()
	if b.failures == 0 {
		b.first = now
	}
	b.failures++

	class := ClassOf(err)
	if !class.retries() {
		class = ClassUnmarked
	}
	p := b.policy.For(class)
	left := p.MaxElapsed - now.Sub(b.first)
	if p.MaxElapsed > 0 && left <= 0 {
		return 0, false
	}
	if wait, ok = Delay(err); ok && wait > 0 {
		if p.MaxElapsed > 0 && wait > left {
			return 0, false
		}
		return wait, true
	}
	wait = min(b.interval(class, p).NextBackOff(), p.Max) // which floating point may miss by a little
	if p.Jitter == FullJitter {
		wait = 1 + rand.N(wait)
	}
	if p.MaxElapsed > 0 {
		wait = min(wait, left)
	}
	return wait, true
}

// interval returns what counts the interval of errors of a class, whose policy is p.
func (b *Backoff) interval(class Class, p Policy) *backoff.ExponentialBackOff {
	if _, own := b.policy.PerClass[class]; !own {
		class = ClassUnmarked
	}
	if b.intervals[class] == nil {
		b.intervals[class] = backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(p.Initial),
			backoff.WithMaxInterval(p.Max),
			backoff.WithMultiplier(p.Multiplier),
			backoff.WithRandomizationFactor(0), // its jitter is around the interval; ours is below it
			backoff.WithMaxElapsedTime(0),      // it would count from when it was made
		)
	}
	return b.intervals[class]
}

// Reset forgets all failures: the next one is the first again.
func (b *Backoff) Reset() {
	if b.failures == 0 {
		return
	}
	b.failures = 0
	for _, i := range b.intervals {
		if i != nil {
			i.Reset()
		}
	}
}

// Failures returns how many failures there were since the last Reset.
func (b *Backoff) Failures() int { return b.failures }

// Elapsed returns the time since the first failure after the last Reset; 0 if there was none.
func (b *Backoff) Elapsed() time.Duration {
	if b.failures == 0 {
		return 0
	}
	return time.Since(b.first)
}
