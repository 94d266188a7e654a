package franz

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/bohica-labs/dataweaver/retry"
)

// options make the client a member of the group. It manages the membership and nothing else: it is told that there is
// nothing to fetch, because the fetcher does that.
func (s *session) options() []kgo.Opt {
	c := s.c
	refresh := orDefault(c.Refresh, defaultRefresh)
	opts := []kgo.Opt{kgo.MetadataMaxAge(refresh), kgo.MetadataMinAge(min(250*time.Millisecond, refresh))}
	if c.group == "" {
		return opts
	}
	opts = append(opts,
		kgo.ConsumerGroup(c.group),
		kgo.DisableAutoCommit(),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(orDefault(c.SessionTimeout, defaultSessionTimeout)),
		kgo.HeartbeatInterval(orDefault(c.HeartbeatInterval, defaultHeartbeatInterval)),
		kgo.RebalanceTimeout(orDefault(c.RebalanceTimeout, defaultRebalanceTimeout)),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.OnPartitionsAssigned(s.onAssigned),
		kgo.OnPartitionsRevoked(s.onRevoked),
		kgo.OnPartitionsLost(s.onLost),
		kgo.AdjustFetchOffsetsFn(s.onOffsets),
	)
	if c.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(c.InstanceID))
	}
	if c.NextGen {
		opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	if c.Pattern != nil {
		return append(opts, kgo.ConsumeRegex(), kgo.ConsumeTopics(c.pattern()))
	}
	return append(opts, kgo.ConsumeTopics(c.topics()...))
}

// join starts to listen to what the membership has to say beside its callbacks.
func (s *session) join() error {
	s.polling.Go(func() {
		for {
			fetches := s.cl.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			fetches.EachError(func(topic string, p int32, err error) {
				s.groupFailed(topic, p, err)
			})
		}
	})
	return nil
}

// groupFailed notes what Next is to tell: the client tries again by itself what may pass.
func (s *session) groupFailed(topic string, p int32, err error) {
	what := "group " + s.c.group
	if topic != "" {
		what += ": " + partition{topic, p}.String()
	}
	if g := (*kgo.ErrGroupSession)(nil); errors.As(err, &g) {
		err = g.Err
	}
	if isCode(err, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID) {
		return // it was there when the session began; who reads it notices
	}
	err = classify(what, err)
	if retry.ClassOf(err) != retry.ClassFatal {
		return
	}
	s.mu.Lock()
	s.failure = err
	s.mu.Unlock()
	signal(s.wake)
}

// onAssigned comes at the end of each rebalance, before onOffsets, which it may come without.
func (s *session) onAssigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	if len(added) > 0 {
		return
	}
	s.mu.Lock()
	if !s.assigned {
		// The first rebalance of a cooperative group gives a new member nothing where others have everything: they give
		// it up first, and the second gives it.
		s.assigned = true
		s.waitTo = time.Now().Add(2*orDefault(s.c.HeartbeatInterval, defaultHeartbeatInterval) + time.Second)
	}
	s.mu.Unlock()
	signal(s.wake)
}

// onOffsets is told where the group is in the partitions that it gives to this member. It returns that none is to be fetched.
func (s *session) onOffsets(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	s.mu.Lock()
	for topic, ps := range offsets {
		for i, o := range ps {
			if s.closed {
				continue
			}
			p := partition{topic, i}
			at := o.EpochOffset()
			start := place{at.Offset, at.Epoch}
			if at.Offset < 0 {
				start = place{-1, -1}
			}
			if old := s.held[p]; old != nil {
				continue // it never went away
			}
			s.give(p, start)
		}
	}
	s.assigned = true
	s.mu.Unlock()
	signal(s.wake)
	return nil, nil
}

// onRevoked has what the group takes away drained, and returns when that is done or its time is over.
func (s *session) onRevoked(ctx context.Context, _ *kgo.Client, lost map[string][]int32) {
	c := s.c
	patience := min(orDefault(c.RebalanceTimeout, defaultRebalanceTimeout), orDefault(c.SessionTimeout, defaultSessionTimeout)) * 3 / 4
	s.takeAway(ctx, lost, time.Now().Add(patience), min(grace, patience/10))
}

// onLost has what the group has taken away given up.
func (s *session) onLost(ctx context.Context, _ *kgo.Client, lost map[string][]int32) {
	s.takeAway(ctx, lost, time.Now(), grace)
}

// grace is how long past By it is waited that the pipeline has let go.
const grace = time.Second

func (s *session) takeAway(ctx context.Context, lost map[string][]int32, by time.Time, grace time.Duration) {
	r := s.revoke(lost, by)
	if r == nil {
		return
	}
	t := time.NewTimer(time.Until(by) + grace)
	defer t.Stop()
	select {
	case <-r.done:
	case <-t.C:
	case <-ctx.Done():
	}
	for _, a := range r.assignments {
		a.end(errMoved(a.partition))
	}
}

// revoke notes what is to be revoked, of what the engine knows of. It returns nil if there is nothing to wait for.
func (s *session) revoke(lost map[string][]int32, by time.Time) *revocation {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &revocation{by: by, done: make(chan struct{})}
	now := !time.Now().Before(by)
	for topic, ps := range lost {
		for _, i := range ps {
			p := partition{topic, i}
			a := s.held[p]
			if a == nil {
				continue
			}
			delete(s.held, p)
			if k := slices.Index(s.adds, a); k >= 0 {
				s.adds = slices.Delete(s.adds, k, k+1)
				a.ended.Store(true)
				continue
			}
			if s.final {
				a.end(retry.Fatal(errors.New("franz: the group gives " + p.String() +
					" to another member, after this one was told that its set of partitions is final: finish pipelines that end when no member comes or goes")))
				continue
			}
			if now {
				a.end(errMoved(p))
			}
			r.assignments = append(r.assignments, a)
		}
	}
	if len(r.assignments) == 0 || s.closed {
		return nil
	}
	s.revokes = append(s.revokes, r)
	signal(s.wake)
	return r
}
