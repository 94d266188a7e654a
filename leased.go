package weaver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
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
