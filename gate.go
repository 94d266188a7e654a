package weaver

// gate is a lock that may be held over I/O and is waited for on a channel, so that a virtual clock (testing/synctest)
// sees the waiter as blocked. It is for rare, long sections; a sync.Mutex guards the short ones.
type gate chan struct{}

func newGate() gate { return make(gate, 1) }

func (g gate) lock() { g <- struct{}{} }

func (g gate) tryLock() bool {
	select {
	case g <- struct{}{}:
		return true
	default:
		return false
	}
}

func (g gate) unlock() { <-g }
