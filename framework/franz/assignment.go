package franz

import (
	"fmt"
	"sync/atomic"
)

// assignment is the Handle of a split: a partition that a session has, from when it was given until it is taken away.
type assignment struct {
	partition
	session *session

	// Where the group is, or where the session begins to read; an offset below 0: not known. Set before the split is told,
	// and moved by acknowledgements under the committer's lock.
	start place

	ended   atomic.Bool           // it was taken away: nothing is acknowledged any more
	failure atomic.Pointer[error] // what ends reading; a Reader that is opened anew doesn't see it
}

// end ends the assignment, for a reason that its Reader returns.
func (a *assignment) end(err error) {
	a.ended.Store(true)
	a.fail(err)
}

// fail makes the Reader return err.
func (a *assignment) fail(err error) {
	a.failure.Store(&err)
	a.session.fetch.nudge(a.partition)
}

func (a *assignment) failed() error {
	if err := a.failure.Load(); err != nil {
		return *err
	}
	return nil
}

func errMoved(p partition) error {
	return fmt.Errorf("franz: %s belongs to another member of the group by now", p)
}
