package franz

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// closePatience bounds what Close says to brokers that may not be there.
const closePatience = 5 * time.Second

// session is a member of a group, or all partitions without a group. It has one client, which the fetcher and the
// committer use, too.
type session struct {
	c       *Consumer
	cl      *kgo.Client
	fetch   *fetcher
	commits *committer // nil without a group
	wake    chan struct{}
	polling sync.WaitGroup
	slabs   sync.Pool

	mu       sync.Mutex
	known    map[string]int32          // partitions of topics when the session began: what comes later is read from its start
	held     map[partition]*assignment // given and not taken away
	adds     []*assignment             // not told yet
	revokes  []*revocation             // not told yet
	told     *revocation               // being carried out
	failure  error                     // of the group, to be told
	assigned bool                      // the group has given what there is for this member, perhaps nothing
	waitTo   time.Time                 // until when a member that was given nothing waits for more, once it is finished
	looked   time.Time                 // without group: for new partitions
	finished bool
	final    bool // Next has returned io.EOF
	closed   bool
}

// revocation is what the group takes away in one go. Its callback waits until done is closed.
type revocation struct {
	assignments []*assignment
	by          time.Time
	done        chan struct{}
}

// Splits joins the group. Without a group it tells all partitions.
func (c *Consumer) Splits(ctx context.Context) (weaver.Splits, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	s := &session{
		c: c, wake: make(chan struct{}, 1),
		known: make(map[string]int32), held: make(map[partition]*assignment),
	}
	var err error
	if s.cl, err = c.fw.newClient(s.options()...); err != nil {
		return nil, err
	}
	if err := s.open(ctx); err != nil {
		s.cl.Close()
		return nil, c.fw.isClosed(err)
	}
	s.fetch = newFetcher(s.cl, c)
	if err := c.fw.own(s); err != nil {
		s.fetch.close()
		s.cl.Close()
		return nil, err
	}
	if c.group == "" {
		return s, nil
	}
	s.commits = newCommitter(s.cl)
	if err := s.join(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// open looks for the topics, so that one that isn't there is an error and not silence.
func (s *session) open(ctx context.Context) error {
	topics, err := s.describe(ctx)
	if err != nil {
		return err
	}
	for name, t := range topics {
		s.known[name] = int32(len(t.Partitions)) //nolint:gosec // small
	}
	return nil
}

// describe returns the topics to be read. One that was named and can't be read is an error.
func (s *session) describe(ctx context.Context) (map[string]kadm.TopicDetail, error) {
	out := make(map[string]kadm.TopicDetail)
	names := s.c.topics()
	ask := names
	if s.c.Pattern != nil {
		ask = nil // for all there are
	}
	m, err := kadm.NewClient(s.cl).Metadata(ctx, ask...)
	if err != nil {
		return nil, classify("looking for "+s.c.name(), err)
	}
	for _, name := range names {
		t, ok := m.Topics[name]
		if err := t.Err; err != nil || !ok {
			return nil, classify(fmt.Sprintf("topic %q", name), orUnknown(err))
		}
		out[name] = t
	}
	if s.c.Pattern != nil {
		whole, err := regexp.Compile(s.c.pattern())
		if err != nil {
			return nil, invalid("Consumer.Pattern: %v", err)
		}
		for name, t := range m.Topics {
			if t.Err == nil && !t.IsInternal && whole.MatchString(name) {
				out[name] = t
			}
		}
	}
	return out, nil
}

// Next waits for partitions to come and go. What the last change revoked is given up now.
func (s *session) Next(ctx context.Context) (weaver.Change, error) {
	s.carriedOut()
	for {
		if ctx.Err() != nil {
			return weaver.Change{}, context.Cause(ctx)
		}
		change, wait, err := s.change()
		if err != nil || len(change.Add) > 0 || len(change.Revoke) > 0 {
			return change, err
		}
		found, err := s.prepare(ctx)
		if err != nil {
			return weaver.Change{}, s.c.fw.isClosed(err)
		}
		if found {
			continue
		}
		s.await(ctx, wait)
	}
}

// await waits until something has happened, and at most so long; 0: without a bound.
func (s *session) await(ctx context.Context, most time.Duration) {
	var late <-chan time.Time
	if most > 0 {
		t := time.NewTimer(most)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-s.wake:
	case <-late:
	case <-ctx.Done():
	}
}

// carriedOut lets the group have what the last change revoked.
func (s *session) carriedOut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told != nil {
		close(s.told.done)
		s.told = nil
	}
}

// change returns what is to be told now, or how long to wait at most; 0: until something happens.
func (s *session) change() (weaver.Change, time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return weaver.Change{}, 0, s.c.fw.isClosed(errors.New("franz: the session is closed"))
	}
	if len(s.revokes) > 0 {
		s.told, s.revokes = s.revokes[0], s.revokes[1:]
		c := weaver.Change{By: s.told.by}
		for _, a := range s.told.assignments {
			c.Revoke = append(c.Revoke, a.id())
		}
		return c, 0, nil
	}
	if err := s.failure; err != nil {
		s.failure = nil
		return weaver.Change{}, 0, err
	}
	var c weaver.Change
	rest := s.adds[:0]
	for _, a := range s.adds {
		if a.start.offset >= 0 || s.c.Start == NoStart {
			c.Add = append(c.Add, weaver.Split{ID: a.id(), Handle: a})
			continue
		}
		rest = append(rest, a)
	}
	s.adds = rest
	if len(c.Add) > 0 || len(rest) > 0 {
		return c, 0, nil
	}
	switch left := time.Until(s.waitTo); {
	case s.c.group == "" && !s.finished:
		return c, max(time.Until(s.looked.Add(orDefault(s.c.Refresh, defaultRefresh))), time.Millisecond), nil
	case !s.finished || !s.assigned:
		return c, 0, nil
	case len(s.held) == 0 && left > 0:
		return c, left, nil
	}
	s.final = true
	return c, 0, io.EOF
}

// prepare does what takes requests, before there is something to tell: it finds out where to start, and without a group
// which partitions there are. It reports whether there may be something to tell now.
func (s *session) prepare(ctx context.Context) (bool, error) {
	s.mu.Lock()
	look := s.c.group == "" && (s.looked.IsZero() || !s.finished && time.Since(s.looked) >= orDefault(s.c.Refresh, defaultRefresh))
	adds := append([]*assignment(nil), s.adds...)
	s.mu.Unlock()
	if look {
		return true, s.discover(ctx)
	}
	if len(adds) == 0 {
		return false, nil
	}
	return true, s.resolve(ctx, adds)
}

// discover adds the partitions that are new. It stands in for the group where there is none.
func (s *session) discover(ctx context.Context) error {
	topics, err := s.describe(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked, s.assigned = time.Now(), true
	for name, t := range topics {
		for i := range t.Partitions {
			p := partition{name, i}
			if s.held[p] == nil {
				s.give(p, place{-1, -1})
			}
		}
	}
	return nil
}

// give notes a partition that the session has from now on. s.mu is held.
func (s *session) give(p partition, start place) {
	a := &assignment{partition: p, session: s, start: start}
	s.held[p] = a
	s.adds = append(s.adds, a)
}

// resolve finds where to start where nobody has been, and commits that, so that it is found once.
func (s *session) resolve(ctx context.Context, adds []*assignment) error {
	when := make(map[partition]int64, len(adds))
	for _, a := range adds {
		when[a.partition] = s.startOf(a.partition)
	}
	all, err := listOffsets(ctx, s.cl, s.c.isolation(), when)
	if err != nil {
		return classify("looking up where to start", err)
	}
	late := make(map[partition]int64) // nothing is as late as StartAt
	for p, l := range all {
		if l.err != nil {
			return classify("looking up where to start in "+p.String(), l.err)
		}
		if l.offset < 0 {
			late[p] = listEnd
		}
	}
	if len(late) > 0 {
		ends, err := listOffsets(ctx, s.cl, s.c.isolation(), late)
		if err != nil {
			return classify("looking up where to start", err)
		}
		for p, l := range ends {
			if l.err != nil {
				return classify("looking up where to start in "+p.String(), l.err)
			}
			all[p] = l
		}
	}
	if s.commits != nil {
		if err := s.commits.begin(ctx, adds, all); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range adds {
		a.start = place{all[a.partition].offset, -1}
	}
	return nil
}

// startOf is Start as ListOffsets wants it. A partition that wasn't there when the session began is read from its start: its
// records came after any now or then that could be meant.
func (s *session) startOf(p partition) int64 {
	if p.index >= s.known[p.topic] {
		return listStart
	}
	switch s.c.Start {
	case Latest:
		return listEnd
	case AtTime:
		return s.c.StartAt.UnixMilli()
	default:
		return listStart
	}
}

// Finish makes Next end once the group has given this member its partitions.
func (s *session) Finish(context.Context) error {
	s.mu.Lock()
	s.finished = true
	s.mu.Unlock()
	signal(s.wake)
	return nil
}

// Close leaves the group: its partitions go to the other members at once, those of a static member when its session is over.
func (s *session) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	if s.told != nil {
		close(s.told.done)
		s.told = nil
	}
	for _, r := range s.revokes {
		close(r.done)
	}
	s.revokes = nil
	held := s.held
	s.held = nil
	s.mu.Unlock()
	signal(s.wake)
	for _, a := range held {
		a.end(s.c.fw.isClosed(errors.New("franz: the session that told this split is closed")))
	}
	s.fetch.close()
	if s.commits != nil {
		s.commits.close()
		ctx, cancel := context.WithTimeout(context.Background(), closePatience)
		defer cancel()
		_ = s.cl.LeaveGroupContext(ctx) // who doesn't answer will notice that there are no heartbeats
	}
	s.cl.Close()
	s.polling.Wait()
	s.c.fw.disown(s)
	return nil
}

// openReader opens a partition that this session has told.
func (s *session) openReader(ctx context.Context, a *assignment, at weaver.Lane) (weaver.Reader[[]byte], error) {
	if a.ended.Load() {
		if err := a.failed(); retry.ClassOf(err) == retry.ClassFatal {
			return nil, err
		}
		return nil, errMoved(a.partition)
	}
	a.failure.Store(nil)
	r := &reader{s: s, a: a, log: at.Log}
	r.slabs = &s.slabs
	r.finishAt.Store(-1)
	start := a.start
	if s.commits != nil {
		start = s.commits.committed(a)
	}
	if at.Position != nil {
		var err error
		if start, err = decodePosition(at.Position); err != nil {
			return nil, retry.Fatal(err)
		}
	}
	if start.offset < 0 {
		return nil, retry.Fatal(fmt.Errorf("franz: group %q has no position in %s, and Consumer.Start is NoStart", s.c.group, a.partition))
	}
	if err := r.open(ctx, start); err != nil {
		return nil, s.c.fw.isClosed(err)
	}
	if s.commits == nil {
		return r, nil
	}
	return groupReader{r}, nil
}

var (
	_ weaver.Splits   = (*session)(nil)
	_ weaver.Finisher = (*session)(nil)
)
