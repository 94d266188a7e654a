package weaver

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
)

// Leased lets several processes read one source whose splits nobody shares out: files, shards, or a source that is one
// split and is to go on elsewhere when a process dies. Each process runs the same pipeline over the same source, with the
// same store and name, and gets its part of the splits. Positions must be where all of them find them too: in the sink, or
// in a Pipeline.Checkpoint that they share.
//
// The processes are the members of a group, which keeps one record in store, under "<name>/leases". A member renews its
// leases every third of TTL, and shares the splits evenly with the others: it takes what is free up to its share, and
// gives back what is beyond that, drained and saved, when others come. What a process held that has died is read by others
// once nothing was heard of it for TTL. Clocks needn't agree: each member counts from when it saw the record of another
// change last. Closing the session, as Run does at its end, frees everything at once.
//
// A member that can't reach the store gives up its splits before the others may take them. That is as far as a lease
// goes: a process that was suspended for longer than TTL goes on for a moment where it was, and one whose sink hangs may
// yet complete a write. What happens then is decided where positions are kept: a [Checkpointer] fences the one that comes
// too late, and a [checkpoint.Store] refuses its position, which leaves records that were written twice.
//
// Revoked splits are drained for no longer than a lease lasts (nine tenths of TTL), so TTL should be a multiple of
// what a batch takes from Read to Write.
//
// A split that has ended is not read by other members, as long as one that knows of it stays: when a member stops or dies
// before all have ended, those it had ended are opened once more, at their ends. Run returns when all splits have ended,
// whoever has read them, and not before: until then somebody may have to take over. A group that nobody is a member of
// remembers nothing, so a later Run goes on with what was added since, as ever. With Pipeline.After, Run ends when this
// member's splits have.
//
// The source keeps what it can do: it acknowledges, finishes and tells its lag.
func Leased[T any](source Source[T], store checkpoint.Store, name string) *LeasedSource[T] {
	return &LeasedSource[T]{source: source, store: store, name: name}
}

// LeasedSource is a Source that leases the splits of another one. [Leased] makes it. Set its fields before the pipeline runs.
type LeasedSource[T any] struct {
	TTL   time.Duration // for how long a member that isn't heard of keeps its splits; default 15 s
	Owner string        // who this member is, while it runs nobody else; started anew with the same, it needn't wait for TTL; default: random, new with each Run

	source Source[T]
	store  checkpoint.Store
	name   string
}

var (
	_ Source[int] = (*LeasedSource[int])(nil)
	_ Splitter    = (*LeasedSource[int])(nil)
	_ Finisher    = (*leasedSplits)(nil)
)

// Unwrap returns the source: every call but OpenReader and Splits goes straight on to it.
func (s *LeasedSource[T]) Unwrap() any { return s.source }

// String names the source.
func (s *LeasedSource[T]) String() string { return "weaver.Leased(" + connectorName(s.source) + ")" }

func (s *LeasedSource[T]) check() error {
	var errs []error
	for _, p := range []struct {
		wrong bool
		why   string
	}{
		{isNil(s.source), "the source is nil"},
		{isNil(s.store), "the store is nil: members find each other in it"},
		{s.name == "", "the name is empty: leases are kept under it"},
		{s.TTL < 0, fmt.Sprintf("TTL is %v: must not be negative", s.TTL)},
		{!utf8.ValidString(s.Owner), fmt.Sprintf("Owner is %q: must be valid UTF-8", s.Owner)},
	} {
		if p.wrong {
			errs = append(errs, errors.New("weaver.Leased: "+p.why))
		}
	}
	return retry.Fatal(errors.Join(errs...))
}

// Splits joins the group and opens a session that tells which splits this member has a lease of.
func (s *LeasedSource[T]) Splits(ctx context.Context) (Splits, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	now := time.Now()
	n := &leasedSplits{
		store: s.store, key: s.name + "/leases", owner: s.Owner, session: rand.Text(), ttl: s.TTL, begun: now,
		wake: make(chan struct{}, 1), news: make(chan struct{}, 1), resume: make(chan struct{}, 1),
		sightings: make(map[string]sighting),
		known:     make(map[string]Split),
		leases:    make(map[string]*lease),
		syncAt:    now,
	}
	if n.ttl == 0 {
		n.ttl = 15 * time.Second
	}
	if n.owner == "" {
		n.owner = n.session
	}
	if splitter, ok := As[Splitter](s.source); ok {
		inner, err := splitter.Splits(ctx)
		if err != nil {
			return nil, err
		}
		if isNil(inner) {
			return nil, retry.Fatal(errors.New("Splits returned neither a session nor an error"))
		}
		n.inner = inner
	} else {
		n.hear(Change{Add: []Split{{}}}, nil, false)
		n.hear(Change{}, io.EOF, true)
	}
	ctx, n.stop = context.WithCancel(context.WithoutCancel(ctx)) // from one Next to the next, until Close
	var asking context.Context
	asking, n.stopAsking = context.WithCancel(ctx)
	if n.inner != nil {
		n.wg.Go(func() { n.ask(asking) })
	}
	n.wg.Go(func() { n.keep(ctx) })
	return n, nil
}

// OpenReader opens a split that this member has a lease of.
func (s *LeasedSource[T]) OpenReader(ctx context.Context, at Lane) (Reader[T], error) {
	if isNil(s.source) {
		return nil, s.check()
	}
	l, ok := at.Split.Handle.(*lease)
	if !ok { // opened without a session
		return s.source.OpenReader(ctx, at)
	}
	if err := l.open(); err != nil {
		return nil, err
	}
	at.Split = l.split
	r, err := s.source.OpenReader(ctx, at)
	if err != nil || isNil(r) {
		return r, err
	}
	return &leasedReader[T]{Reader: r, lease: l}, nil
}

// leasedReader reads while the lease lasts, and notices the end of the split.
type leasedReader[T any] struct {
	Reader[T]
	lease *lease
	ended func() bool // nil: io.EOF hasn't come; whether ctx has not ended since
}

// Unwrap returns the Reader of the split: every call but Read and Close is its own.
func (r *leasedReader[T]) Unwrap() any { return r.Reader }

// Read reads, unless the lease has run out: the session may not be asked in time to say so.
func (r *leasedReader[T]) Read(ctx context.Context, b *Batch[T]) (Position, error) {
	if err := r.lease.check(); err != nil {
		return nil, err
	}
	p, err := r.Reader.Read(ctx, b)
	if err == io.EOF { //nolint:errorlint // only io.EOF itself ends a split
		r.ended = context.AfterFunc(ctx, func() {})
	}
	return p, err
}

// Close takes the split for ended if io.EOF has come and its lane hasn't failed, which would have ended the ctx of Read.
func (r *leasedReader[T]) Close() error {
	defer func() {
		if r.ended != nil && r.ended() {
			r.lease.end()
		}
	}()
	return r.Reader.Close()
}

// lease is what the engine was told to read. It is the Handle of the split.
type lease struct {
	session *leasedSplits
	split   Split // as the source calls it

	lost atomic.Bool // another member may have it by now

	// Guarded by session.mu.
	opened  bool
	ended   bool      // its lane has come to the end of the split
	leaving bool      // the engine was told to give it up
	gone    bool      // the source's session has revoked it
	by      time.Time // and said until when
}

// check returns an error once the lease has run out.
func (l *lease) check() error {
	s := l.session
	if !l.lost.Load() && time.Since(s.begun) < time.Duration(s.validTo.Load()) {
		return nil
	}
	err := fmt.Errorf("the lease of split %q has run out: the store of leases was out of reach for too long, or another member has the split", l.split.ID)
	if s.over.Load() { // no revocation will come
		return retry.Fatal(err)
	}
	return err
}

func (l *lease) open() error {
	if err := l.check(); err != nil {
		return err
	}
	s := l.session
	s.mu.Lock()
	defer s.mu.Unlock()
	l.opened = true
	if l.ended { // its lane had failed after all, and has recovered
		l.ended = false
		s.active++
		s.syncBy(time.Now())
	}
	return nil
}

func (l *lease) end() {
	s := l.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.ended || s.leases[l.split.ID] != l {
		return
	}
	l.ended = true
	s.active--
	at := time.Now()
	if s.active > 0 {
		at = at.Add(s.ttl / pollsATTL) // the ends of many small splits are told together
	}
	s.syncBy(at)
}

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

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// keep is the keeper.
func (s *leasedSplits) keep(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-t.C:
		}
		s.mu.Lock()
		wait := time.Until(s.syncAt)
		s.mu.Unlock()
		if wait <= 0 {
			s.sync(ctx)
			s.mu.Lock()
			wait = time.Until(s.syncAt)
			s.mu.Unlock()
		}
		t.Reset(wait)
	}
}

// sync looks at the record and brings it, and what is known of it, up to date.
func (s *leasedSplits) sync(ctx context.Context) {
	s.mu.Lock()
	s.syncAt = time.Now().Add(s.ttl / renewalsATTL) // whatever happens from now on may make it earlier
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.ttl/renewalsATTL)
	defer cancel()
	for {
		rec, v, err := s.load(ctx)
		save := false
		if err == nil {
			save, err = s.decide(&rec, time.Now())
		}
		begun := time.Now()
		if err == nil && save {
			s.tried = true
			err = s.save(ctx, rec, v)
			if errors.Is(err, checkpoint.ErrConflict) {
				continue
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil { // it may be saved all the same, which the next look will tell
			if s.err = err; isFinal(err) {
				s.broken = err
			}
			s.syncBy(time.Now().Add(s.ttl / pollsATTL))
			signal(s.news)
			return
		}
		if save {
			s.joined, s.renewed = true, begun
			s.validTo.Store(int64(begun.Add(expireAfter(s.ttl)).Sub(s.begun)))
		}
		s.accept(rec)
		return
	}
}

// decide changes the record into what it should be, and reports whether it is to be saved. Next may run at any time: until
// the record is saved it adds nothing that was not this member's in the record before, and will be after.
func (s *leasedSplits) decide(rec *leaseRecord, now time.Time) (save bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	save = s.observe(rec, now)
	me, in := rec.Members[s.owner]
	switch in = in && me.Session == s.session; {
	case in:
	case s.joined && me.Session != "":
		s.loseAll()
		return false, retry.Fatal(fmt.Errorf("weaver.Leased: another member has joined as Owner %q: give each its own", s.owner))
	default: // new, or others have taken it for dead
		if s.joined {
			s.loseAll()
		}
		me = leaseMember{Session: s.session}
		save = true
	}
	others := rec.sets(s.owner)
	was := me
	holds, done := setOf(me.Holds), setOf(me.Done)
	s.keepOnly(holds) // a release may have been saved whose reply was lost
	s.settle(holds, done, others)
	gave := len(s.giving)
	s.share(rec, holds, done, others)
	s.keepOnly(holds) // what is about to be released
	me.Holds, me.Done, me.TTL = listOf(holds), listOf(done), s.ttl
	save = save || len(s.giving) > gave || !now.Before(s.renewed.Add(s.ttl/renewalsATTL)) ||
		!slices.Equal(was.Holds, me.Holds) || !slices.Equal(was.Done, me.Done)
	if save {
		s.beat++ // never the same again, also when it has been struck out and joins anew: others may remember the last one
		me.Beat = s.beat
	}
	rec.Members[s.owner] = me
	return save, nil
}

// sighting is when the record of another member was seen to change last.
type sighting struct {
	session string
	beat    uint64
	at      time.Time
}

// observe strikes out members that nothing was heard of for as long as they said, and reports whether there were any.
func (s *leasedSplits) observe(rec *leaseRecord, now time.Time) (struck bool) {
	for owner, m := range rec.Members {
		if owner == s.owner {
			continue
		}
		seen, ok := s.sightings[owner]
		if !ok || seen.session != m.Session || seen.beat != m.Beat {
			s.sightings[owner] = sighting{m.Session, m.Beat, now}
			continue
		}
		if !now.Before(s.staleAt(seen, m)) {
			delete(rec.Members, owner)
			struck = true
		}
	}
	maps.DeleteFunc(s.sightings, func(owner string, _ sighting) bool {
		_, there := rec.Members[owner]
		return !there
	})
	return struck
}

func (s *leasedSplits) staleAt(seen sighting, m leaseMember) time.Time {
	return seen.at.Add(max(m.TTL, s.ttl))
}

// loseAll takes all leases for lost: another member may have them by now. s.mu is held.
func (s *leasedSplits) loseAll() {
	for _, l := range s.leases {
		l.lost.Store(true)
	}
	s.holds, s.mine = nil, nil
	signal(s.news)
}

// keepOnly lets Next add no others than these. s.mu is held.
func (s *leasedSplits) keepOnly(holds map[string]bool) {
	maps.DeleteFunc(s.holds, func(id string, _ bool) bool { return !holds[id] })
}

// settle brings what this member holds, and has ended, up to date with what has become of its leases. s.mu is held.
func (s *leasedSplits) settle(holds, done map[string]bool, others leaseSets) {
	for id, l := range s.leases {
		switch {
		case !l.ended:
			if done[id] && !l.lost.Load() { // its lane has recovered
				delete(done, id)
				holds[id] = true
			}
		case s.endsHere(l.split), others.holds[id], others.done[id]:
		default:
			delete(holds, id)
			done[id] = true
		}
	}
	for id := range holds {
		if _, known := s.known[id]; !known && s.leases[id] == nil {
			delete(holds, id)
		}
	}
	for id := range s.dropped {
		delete(done, id)
	}
}

// share takes what is free up to the share of this member, or chooses what is beyond that. s.mu is held.
//
// All members come to the same shares, because they go by the record: those that hold the most keep one more than the
// others where it doesn't come out even, so that as little moves as can be.
func (s *leasedSplits) share(rec *leaseRecord, holds, done map[string]bool, others leaseSets) {
	open := len(holds) + len(others.holds)
	var free []string
	for _, id := range s.order {
		if !holds[id] && !done[id] && !others.holds[id] && !others.done[id] {
			free = append(free, id)
			open++
		}
	}
	before := 0 // members that come before this one in the order of what they hold
	for owner, m := range rec.Members {
		if owner != s.owner && cmp.Or(cmp.Compare(len(holds), len(m.Holds)), strings.Compare(owner, s.owner)) < 0 {
			before++
		}
	}
	n := len(others.members) + 1
	s.quota = open / n
	if before < open%n {
		s.quota++
	}
	s.giving = s.surplus(holds, len(holds)-s.quota)
	for id := range s.giving {
		if s.leases[id] == nil { // the engine doesn't know of it, or is through with it
			delete(holds, id)
		}
	}
	for _, id := range free {
		if len(holds) >= s.quota {
			break
		}
		if s.leases[id] == nil { // otherwise the engine has yet to let go of what was lost
			holds[id] = true
		}
	}
}

// surplus chooses what to give back: first what costs nothing. s.mu is held.
func (s *leasedSplits) surplus(holds map[string]bool, n int) map[string]bool {
	if n <= 0 {
		return nil
	}
	cost := func(id string) int {
		l := s.leases[id]
		switch {
		case l == nil:
			return 0
		case l.leaving:
			return 1
		case s.giving[id]:
			return 2
		case !l.opened:
			return 3
		}
		return 4
	}
	type candidate struct {
		id   string
		cost int
	}
	var all []candidate
	for id := range holds {
		if l := s.leases[id]; l == nil || !l.ended {
			all = append(all, candidate{id, cost(id)})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Or(cmp.Compare(a.cost, b.cost), strings.Compare(b.id, a.id)) })
	chosen := make(map[string]bool, n)
	for _, c := range all[:min(n, len(all))] {
		chosen[c.id] = true
	}
	return chosen
}

// accept takes over what the record says, and plans the next look. s.mu is held.
func (s *leasedSplits) accept(rec leaseRecord) {
	me, others := rec.Members[s.owner], rec.sets(s.owner)
	s.err = nil
	s.holds, s.mine, s.taken = setOf(me.Holds), setOf(me.Done), others.holds
	s.done = others.done
	maps.Copy(s.done, s.mine)
	for id, l := range s.leases {
		if !l.ended && !s.holds[id] && !s.mine[id] {
			l.lost.Store(true)
		}
	}
	next := s.renewed.Add(s.ttl / renewalsATTL)
	if len(s.holds) < s.quota || s.active == 0 { // it waits for others to give or to end
		if soon := time.Now().Add(s.ttl / pollsATTL); soon.Before(next) {
			next = soon
		}
	}
	for owner, seen := range s.sightings {
		if t := s.staleAt(seen, rec.Members[owner]); t.Before(next) {
			next = t
		}
	}
	s.syncBy(next)
	signal(s.news)
}

// leave takes this member out of the record.
func (s *leasedSplits) leave() error {
	if !s.tried {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.ttl/renewalsATTL)
	defer cancel()
	for {
		rec, v, err := s.load(ctx)
		me := rec.Members[s.owner]
		if err == nil && me.Session != s.session {
			return nil
		}
		if err == nil {
			delete(rec.Members, s.owner)
			if s.over.Load() {
				s.handOver(rec, me.Done)
			}
			err = s.save(ctx, rec, v)
		}
		switch {
		case errors.Is(err, checkpoint.ErrConflict):
			continue
		case err != nil:
			return fmt.Errorf("the leases last for another %v, because they could not be given back: %w", s.ttl, err)
		}
		return nil
	}
}

// handOver gives what is known of ended splits to the member that was seen to live last.
func (s *leasedSplits) handOver(rec leaseRecord, done []leaseID) {
	heir := ""
	for owner := range rec.Members {
		if heir == "" || s.sightings[owner].at.After(s.sightings[heir].at) {
			heir = owner
		}
	}
	if heir == "" {
		return
	}
	m := rec.Members[heir]
	all := setOf(m.Done)
	s.mu.Lock()
	for _, id := range done {
		if l := s.leases[string(id)]; l == nil || l.ended {
			all[string(id)] = true
		}
	}
	s.mu.Unlock()
	m.Done = listOf(all)
	rec.Members[heir] = m
}

func (s *leasedSplits) load(ctx context.Context) (rec leaseRecord, v checkpoint.Version, err error) {
	var data []byte
	err = guard(func() (err error) {
		data, v, err = s.store.Load(ctx, s.key)
		return err
	})
	if err == nil {
		rec, err = decodeLeases(data)
	}
	if err != nil {
		return leaseRecord{}, 0, fmt.Errorf("weaver.Leased: loading %q: %w", s.key, err)
	}
	return rec, v, nil
}

func (s *leasedSplits) save(ctx context.Context, rec leaseRecord, v checkpoint.Version) error {
	data, err := json.Marshal(rec)
	if err == nil {
		err = guard(func() error {
			_, err := s.store.Save(ctx, s.key, data, v)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("weaver.Leased: saving %q: %w", s.key, err)
	}
	return nil
}

// leaseRecord is what a group keeps in the store, as JSON. A split is in one list of one member, or free.
type leaseRecord struct {
	Version int                    `json:"version"`
	Members map[string]leaseMember `json:"members"`
}

const leaseVersion = 1

// leaseMember is one session. Only its own member writes it, until another strikes it out, but for Done.
type leaseMember struct {
	Session string        `json:"session"`
	Beat    uint64        `json:"beat"` // counts its saves
	TTL     time.Duration `json:"ttl_ns"`
	Holds   []leaseID     `json:"holds,omitempty"`
	Done    []leaseID     `json:"done,omitempty"` // have ended
}

// decodeLeases reads a record; nil is the first one.
func decodeLeases(data []byte) (leaseRecord, error) {
	rec := leaseRecord{Version: leaseVersion}
	if data != nil {
		if err := json.Unmarshal(data, &rec); err != nil {
			return rec, retry.Fatal(fmt.Errorf("this is no record of leases (is there a split \"leases\" in a pipeline of the same name?): %w", err))
		}
		if rec.Version != leaseVersion {
			return rec, retry.Fatal(fmt.Errorf("a record of leases of version %d, this release knows %d", rec.Version, leaseVersion))
		}
	}
	if rec.Members == nil {
		rec.Members = make(map[string]leaseMember)
	}
	return rec, nil
}

// leaseSets is what some members have together.
type leaseSets struct{ members, holds, done map[string]bool }

// sets returns what all members but one have.
func (r *leaseRecord) sets(except string) leaseSets {
	all := leaseSets{make(map[string]bool), make(map[string]bool), make(map[string]bool)}
	for owner, m := range r.Members {
		if owner == except {
			continue
		}
		all.members[owner] = true
		maps.Copy(all.holds, setOf(m.Holds))
		maps.Copy(all.done, setOf(m.Done))
	}
	return all
}

func setOf(ids []leaseID) map[string]bool {
	set := make(map[string]bool, len(ids))
	for _, id := range ids {
		set[string(id)] = true
	}
	return set
}

func listOf(set map[string]bool) []leaseID {
	list := make([]leaseID, 0, len(set))
	for id := range set {
		list = append(list, leaseID(id))
	}
	slices.Sort(list)
	return list
}

// leaseID is the ID of a split. JSON knows only text, file names are any bytes: what is no valid text, and what begins with
// a quotation mark, is written in quotation marks as in Go.
type leaseID string

// MarshalText quotes where need be.
func (id leaseID) MarshalText() ([]byte, error) {
	if utf8.ValidString(string(id)) && !strings.HasPrefix(string(id), `"`) {
		return []byte(id), nil
	}
	return strconv.AppendQuoteToASCII(nil, string(id)), nil
}

// UnmarshalText takes quotation marks off.
func (id *leaseID) UnmarshalText(text []byte) error {
	s := string(text)
	if strings.HasPrefix(s, `"`) {
		var err error
		if s, err = strconv.Unquote(s); err != nil {
			return fmt.Errorf("split %s: %w", text, err)
		}
	}
	*id = leaseID(s)
	return nil
}
