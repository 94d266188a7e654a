package weaver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
)

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
	s.keepOnly(holds) // a release may have been saved whose reply was lost: then it is another's, until it is taken again
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
