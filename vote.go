package weaver

import "time"

// vote tells slow work from quick by a saturating count, one step a batch: a moving average is flipped by a single
// preemption and stays wrong for long.
type vote struct {
	count int
	slow  bool
}

const (
	slowFrom = 15 * time.Microsecond // a hand-over to another goroutine costs a third of it
	voteOn   = 12
	voteOff  = 4
	voteTop  = 16
)

func (v *vote) cast(d time.Duration) {
	if d >= slowFrom {
		v.count = min(v.count+1, voteTop)
	} else {
		v.count = max(v.count-1, 0)
	}
	if v.count >= voteOn {
		v.slow = true
	} else if v.count <= voteOff {
		v.slow = false
	}
}
