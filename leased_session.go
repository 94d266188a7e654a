package weaver

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bohica-labs/dataweaver/checkpoint"
)

// What happens when, in parts of TTL after the last renewal.
const (
	renewalsATTL = 3  // the next one, after a third
	pollsATTL    = 15 // how often a member looks that waits for others
)

func revokeAfter(ttl time.Duration) time.Duration { return ttl - ttl/3 }  // without a renewal splits are revoked
func expireAfter(ttl time.Duration) time.Duration { return ttl - ttl/10 } // and abandoned; the rest is for clocks of different speed

// leasedSplits is the session of a Leased. Its keeper (keep) looks at the record, decides what this member has and saves
// that; another goroutine (ask) asks the source's session. Next tells the engine what came of it. Each lets the others do
// without it for a while: the store may be slow, and the engine may take long to carry out a change.
//
// A split goes through the hands of the three like this. The keeper puts it among the holds in the record; Next sees it
// among holds and makes it a lease. Back: the keeper puts it among giving and leaves it in the record; Next revokes it, and
// when it is called again drops the lease; the keeper sees that there is none and takes the split out of the record.
type leasedSplits struct {
	store   checkpoint.Store
	key     string
	owner   string
	session string // random: tells this member from another of the same name
	ttl     time.Duration
	begun   time.Time

	inner      Splits // nil: the source is one split
	stop       context.CancelFunc
	stopAsking context.CancelFunc
	wg         sync.WaitGroup
	wake       chan struct{} // for the keeper: syncAt has come nearer
	news       chan struct{} // for Next: there may be something to tell
	resume     chan struct{} // for ask: what was said last is carried out

	validTo atomic.Int64 // when readers stop, since begun
	over    atomic.Bool  // Next has returned io.EOF

	// The keeper's, and once that has ended, Close's.
	sightings map[string]sighting
	tried     bool   // it may be in the record
	beat      uint64 // of the last save that was tried
	closed    bool

	mu sync.Mutex

	// What the source's session has said.
	known     map[string]Split
	order     []string // the same
	dropped   map[string]bool
	final     bool
	finishing bool
	innerErr  error
	pending   pending

	// What the record says.
	joined  bool
	renewed time.Time       // before the last save
	holds   map[string]bool // by this member
	mine    map[string]bool // ended, by the word of this member
	done    map[string]bool // of any
	taken   map[string]bool // held by others
	quota   int
	giving  map[string]bool // to be given back
	syncAt  time.Time       // when to look again
	err     error           // why that failed
	broken  error           // for good

	// What the engine was told.
	leases  map[string]*lease
	active  int // that haven't ended
	revoked []string
	failed  bool // it was told innerErr
}

// pending is why the source's session isn't asked yet.
type pending uint8

const (
	nothingPending pending = iota
	changePending          // its change is to be carried out
	errorPending           // the engine waits
)

// Next returns what this member is to read, or to read no more.
func (s *leasedSplits) Next(ctx context.Context) (Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.carriedOut()
	for {
		now := time.Now()
		c, told, err := s.tell(now)
		if told {
			return c, err
		}
		wait := s.ttl
		if s.active > 0 {
			wait = s.renewed.Add(revokeAfter(s.ttl)).Sub(now)
		}
		s.mu.Unlock()
		err = s.await(ctx, wait)
		s.mu.Lock()
		if err != nil {
			return Change{}, err
		}
	}
}

func (s *leasedSplits) await(ctx context.Context, wait time.Duration) error {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.news:
	case <-t.C:
	}
	return nil
}

// carriedOut takes note that the engine has done what it was told. s.mu is held.
func (s *leasedSplits) carriedOut() {
	for _, id := range s.revoked {
		l := s.leases[id]
		l.lost.Store(true) // a lane that was abandoned may not have noticed yet
		if !l.ended {
			s.active--
		}
		delete(s.leases, id)
	}
	if len(s.revoked) > 0 {
		s.revoked = nil
		s.syncBy(time.Now())
	}
	switch s.pending {
	case changePending:
		for _, l := range s.leases {
			if l.gone {
				return
			}
		}
	case errorPending:
		if !s.failed {
			return
		}
	default:
		return
	}
	s.pending, s.failed = nothingPending, false
	s.resume <- struct{}{} // has room: ask waits for one at a time
}

// tell returns what the engine is to be told now, if there is something. s.mu is held.
//
// The most urgent comes first, because the engine hears nothing more until it has carried out what it was told: that
// splits are lost; what is to be added, which takes no time; what the source or the group takes back. By is never later
// than the leases last: when the store goes out meanwhile, there is still the time to revoke the rest.
func (s *leasedSplits) tell(now time.Time) (c Change, told bool, err error) {
	var lost, gone, back []string
	expiry := s.renewed.Add(expireAfter(s.ttl))
	by := expiry
	expired := !now.Before(s.renewed.Add(revokeAfter(s.ttl)))
	for id, l := range s.leases {
		switch {
		case l.gone:
			gone = append(gone, id)
			if !l.by.IsZero() && l.by.Before(by) {
				by = l.by
			}
		case l.ended:
		case l.lost.Load():
			lost = append(lost, id)
		case expired || s.giving[id]:
			back = append(back, id)
		}
	}
	switch {
	case len(lost) > 0:
		return s.revoke(lost, now), true, nil
	case s.broken != nil:
		return Change{}, true, s.broken
	}
	if !expired {
		c.Add = s.additions()
	}
	switch {
	case len(c.Add) > 0:
		return c, true, nil
	case len(gone) > 0:
		return s.revoke(gone, by), true, nil
	case len(back) > 0:
		return s.revoke(back, expiry), true, nil
	case s.pending == errorPending && !s.failed:
		s.failed = true
		return Change{}, true, s.innerErr
	case s.err != nil && s.active == 0: // with leases there is no time to wait as the engine does after an error
		err, s.err = s.err, nil
		return Change{}, true, err
	case s.isOver():
		s.over.Store(true)
		return Change{}, true, io.EOF
	}
	return Change{}, false, nil
}

// revoke returns a change that revokes splits. s.mu is held.
func (s *leasedSplits) revoke(ids []string, by time.Time) Change {
	slices.Sort(ids)
	s.revoked = ids
	for _, id := range ids {
		s.leases[id].leaving = true
	}
	return Change{Revoke: slices.Clone(ids), By: by}
}

// additions makes leases of the splits that this member holds and the engine doesn't know of. s.mu is held.
func (s *leasedSplits) additions() []Split {
	var add []Split
	for _, id := range s.order {
		if !s.holds[id] || s.giving[id] || s.leases[id] != nil {
			continue
		}
		sp := s.known[id]
		l := &lease{session: s, split: sp}
		s.leases[id] = l
		s.active++
		sp.Handle = l
		add = append(add, sp)
	}
	return add
}

// isOver reports whether there will be nothing to read any more. s.mu is held.
func (s *leasedSplits) isOver() bool {
	if !s.final || !s.joined {
		return false
	}
	for id, sp := range s.known {
		l := s.leases[id]
		switch {
		case l != nil && !l.ended:
			return false
		case s.done[id]:
		case l != nil && s.endsHere(sp):
		case s.finishing && s.taken[id]: // what is there now is the other member's
		default:
			return false
		}
	}
	return true
}

// endsHere reports whether the end of a split was asked for, and says nothing to other members: it stays held until Close.
func (s *leasedSplits) endsHere(sp Split) bool { return s.finishing && !sp.Bounded }

// Finish lets the source's session finish. Next ends when the splits of this member have ended.
func (s *leasedSplits) Finish(ctx context.Context) error {
	f, ok := As[Finisher](s.inner)
	if ok {
		if err := guard(func() error { return f.Finish(ctx) }); err != nil {
			return err
		}
	} else {
		s.stopAsking() // it is told by not being asked again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishing = true
	if !ok {
		s.final = true
	}
	s.syncBy(time.Now())
	signal(s.news)
	return nil
}

// Close frees what this member has, and leaves the group. It waits for the goroutines.
func (s *leasedSplits) Close() error {
	s.stop()
	s.stopAsking()
	s.wg.Wait()
	if s.closed {
		return nil
	}
	s.closed = true
	s.validTo.Store(0)
	err := s.leave()
	if s.inner != nil {
		err = errors.Join(err, guard(s.inner.Close))
	}
	return err
}

// ask asks the source's session again and again: after a revocation when that is carried out, after an error when the
// engine has waited.
func (s *leasedSplits) ask(ctx context.Context) {
	for {
		var c Change
		err := guard(func() (err error) {
			c, err = s.inner.Next(ctx)
			return err
		})
		if ctx.Err() != nil {
			return
		}
		last := err == io.EOF //nolint:errorlint // only io.EOF itself says that the set is final
		if waits := s.hear(c, err, last); last {
			return
		} else if !waits {
			continue
		}
		select {
		case <-s.resume:
		case <-ctx.Done():
			return
		}
	}
}

// hear takes in what the source's session has said. It reports whether that must be carried out before there is more.
func (s *leasedSplits) hear(c Change, err error, last bool) (waits bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.syncBy(time.Now())
	signal(s.news)
	switch {
	case last:
		s.final = true
		return false
	case err != nil:
		s.innerErr, s.pending = err, errorPending
		return true
	}
	gone := make(map[string]bool, len(c.Revoke))
	for _, id := range c.Revoke {
		if _, ok := s.known[id]; !ok {
			continue
		}
		gone[id] = true
		delete(s.known, id)
		if s.dropped == nil {
			s.dropped = make(map[string]bool)
		}
		s.dropped[id] = true
		if l := s.leases[id]; l != nil {
			l.gone, l.by = true, c.By
			s.pending = changePending
		}
	}
	if len(gone) > 0 {
		s.order = slices.DeleteFunc(s.order, func(id string) bool { return gone[id] })
	}
	for _, sp := range c.Add {
		if _, twice := s.known[sp.ID]; !twice {
			s.order = append(s.order, sp.ID)
		}
		s.known[sp.ID] = sp
		delete(s.dropped, sp.ID)
	}
	return s.pending == changePending
}

// syncBy sees to it that the keeper looks at the record then, if not earlier. s.mu is held.
func (s *leasedSplits) syncBy(t time.Time) {
	if t.Before(s.syncAt) {
		s.syncAt = t
		signal(s.wake)
	}
}
