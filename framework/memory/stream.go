package memory

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// signal wakes all that wait for a change. A lock of its owner guards it.
type signal struct{ c chan struct{} }

// wait returns a channel that is closed at the next change.
func (s *signal) wait() <-chan struct{} {
	if s.c == nil {
		s.c = make(chan struct{})
	}
	return s.c
}

func (s *signal) wake() {
	if s.c != nil {
		close(s.c)
		s.c = nil
	}
}

// stream is a named set of partitions and the groups that consume them. One lock guards all of it; nothing is waited
// for while it is held.
type stream struct {
	config           weaver.Stream
	life             uint64 // tells this stream from one of its name in another process
	maxBytes         int64
	segmentBytes     int
	rebalanceTimeout time.Duration

	mu         sync.Mutex
	partitions []*partition
	groups     map[string]*group
	bytes      int64 // kept
	unread     int64 // of them, not consumed by all groups
	turn       int   // of records without a key
	waiting    int   // Writes that wait for room
	room       signal
	closed     bool
}

func newStream(config weaver.Stream, maxBytes int64, rebalanceTimeout time.Duration) *stream {
	s := &stream{
		config:           config,
		life:             rand.Uint64(),
		maxBytes:         maxBytes,
		segmentBytes:     int(min(maxSegment, maxBytes/int64(8*config.Partitions))),
		rebalanceTimeout: rebalanceTimeout,
		groups:           make(map[string]*group),
	}
	for range config.Partitions {
		s.partitions = append(s.partitions, &partition{})
	}
	return s
}

// append stores records, all or none. It waits until there is room for them: they are no more than maxBytes.
func (s *stream) append(ctx context.Context, records []weaver.Record[[]byte], size int64, first bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.makeRoom(ctx, size, first); err != nil {
		return err
	}
	now := time.Now()
	for i := range records {
		r := &records[i]
		n := sizeOf(r)
		p := s.partitions[s.partitionOf(r.Key)]
		p.append(r, n, now, s.segmentBytes)
		p.changed.wake()
		s.bytes += n
		s.unread += n
	}
	return nil
}

// partitionOf returns where a record with this key belongs.
func (s *stream) partitionOf(key []byte) int {
	if key == nil {
		s.turn = (s.turn + 1) % len(s.partitions)
		return s.turn
	}
	if len(s.partitions) == 1 {
		return 0
	}
	h := uint32(2166136261) // FNV-1a
	for _, c := range key {
		h = (h ^ uint32(c)) * 16777619
	}
	return int(h % uint32(len(s.partitions))) //nolint:gosec // a count of partitions
}

// makeRoom waits until so many bytes more are within maxBytes. Nothing is lost if it fails. Without any group nobody
// will ever make room: then it says so, if it is the first thing that the Write does, and waits otherwise, because a
// Write that is repeated after it stored a part would store that twice.
func (s *stream) makeRoom(ctx context.Context, size int64, first bool) error {
	for {
		if s.closed {
			return ErrClosed
		}
		expires := s.trim(size)
		if s.unread+size <= s.maxBytes {
			return nil
		}
		if first && len(s.groups) == 0 && s.config.Retention < 0 {
			return retry.After(fmt.Errorf("memory: stream %q is full (MaxBytes %d) and no group consumes it: start a consumer, or create it with a Retention",
				s.config.Name, s.maxBytes), time.Second)
		}
		s.waiting++
		for _, p := range s.partitions {
			p.changed.wake() // a reader at the end asks for an Ack
		}
		err := s.wait(ctx, &s.room, expires)
		s.waiting--
		if err != nil {
			return err
		}
	}
}

// wait lets go of the lock until sig wakes, the time comes or ctx ends.
func (s *stream) wait(ctx context.Context, sig *signal, until time.Time) error {
	changed := sig.wait()
	var timeout <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		timeout = t.C
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-changed:
	case <-timeout:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// trim makes room for so many bytes by dropping, oldest first, what all groups have consumed and then, if it must be,
// what is older than Retention. If that isn't enough it returns when more gets too old; zero: nothing will.
func (s *stream) trim(size int64) (expires time.Time) {
	for s.bytes+size > s.maxBytes && s.dropOldest((*partition).consumedHead) {
	}
	if s.config.Retention < 0 {
		return expires
	}
	now := time.Now()
	tooOld := func(p *partition) bool {
		at := p.segments[0].last.Add(s.config.Retention)
		if now.Before(at) && (expires.IsZero() || at.Before(expires)) {
			expires = at
		}
		return !now.Before(at)
	}
	for s.unread+size > s.maxBytes && s.dropOldest(tooOld) {
	}
	return expires
}

// dropOldest drops the oldest first segment of a partition that may be dropped, and reports whether there was one.
func (s *stream) dropOldest(may func(p *partition) bool) bool {
	var oldest *partition
	for _, p := range s.partitions {
		if len(p.segments) > 0 && may(p) && (oldest == nil || p.segments[0].last.Before(oldest.segments[0].last)) {
			oldest = p
		}
	}
	if oldest == nil {
		return false
	}
	bytes, unread := oldest.drop()
	s.bytes -= bytes
	s.unread -= unread
	oldest.changed.wake() // a reader may stand on what is gone
	return true
}

// settle works out, after a group's position moved or a group came or went, what all groups have consumed.
func (s *stream) settle() {
	for i := range s.partitions {
		s.settlePartition(i)
	}
}

func (s *stream) settlePartition(i int) {
	p := s.partitions[i]
	floor := p.end
	for _, g := range s.groups {
		floor = min(floor, g.positions[i])
	}
	if len(s.groups) == 0 {
		floor = p.start
	}
	floor = max(floor, p.start)
	switch {
	case floor > p.floor:
		s.unread -= p.between(p.floor, floor)
		s.room.wake()
	case floor < p.floor:
		s.unread += p.between(floor, p.floor)
	}
	p.floor = floor
}

func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.room.wake()
	for _, p := range s.partitions {
		p.changed.wake()
		p.segments = nil
	}
	for _, g := range s.groups {
		g.changed.wake()
	}
}
