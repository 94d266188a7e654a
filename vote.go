package weaver

import "time"

// vote tells slow work from quick by a saturating balance: what a batch takes beyond slowFrom is put to it, what it takes less
// is taken off. So work that is quick but for each tenth call, as of a sink that collects, counts as slow if it is on the
// average. A single preemption, however long, is clipped: a moving average is flipped by it and stays wrong for long.
type vote struct {
	balance time.Duration
	slow    bool
}

const (
	slowFrom = 15 * time.Microsecond // a hand-over to another goroutine costs a third of it
	voteClip = 6 * slowFrom
	voteOn   = 12 * slowFrom
	voteOff  = 4 * slowFrom
	voteTop  = 16 * slowFrom
)

func (v *vote) cast(d time.Duration) {
	v.balance = min(max(v.balance+min(d, voteClip)-slowFrom, 0), voteTop)
	if v.balance >= voteOn {
		v.slow = true
	} else if v.balance <= voteOff {
		v.slow = false
	}
}
