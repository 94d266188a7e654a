package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	weaver "github.com/bohica-labs/dataweaver"
)

// joinBackoff is the pause before another attempt to join.
const joinBackoff = 500 * time.Millisecond

// Splits joins the group. Without a group it tells all partitions.
func (c *Consumer) Splits(ctx context.Context) (weaver.Splits, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	found, err := c.find(ctx)
	if err != nil {
		return nil, err
	}
	if c.group == "" {
		return &everything{consumer: c, found: found, told: make(map[string]bool), wake: make(chan struct{}, 1)}, nil
	}
	s := &session{consumer: c, topics: namesOf(found), wake: make(chan struct{}, 1), left: make(chan struct{})}
	if err := c.fw.enter(s); err != nil {
		return nil, err
	}
	if err := s.join(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// enter makes Close leave the group.
func (f *Framework) enter(s *session) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	if f.groups == nil {
		f.groups = make(map[*session]struct{})
	}
	f.groups[s] = struct{}{}
	return nil
}

func namesOf(found []topicInfo) []string {
	names := make([]string, len(found))
	for i, t := range found {
		names[i] = t.name
	}
	slices.Sort(names)
	return names
}

// session is a member of a group, through one generation of it after the other.
type session struct {
	consumer *Consumer
	topics   []string // that the member asks for
	group    *kafkago.ConsumerGroup
	current  *generation // nil: it has none, or that has ended and its splits are given up
	wake     chan struct{}
	left     chan struct{} // closed: the member has left
	leaving  sync.Once

	mu       sync.Mutex
	finished bool
	final    bool // Next has returned io.EOF
}

// join begins to be a member that asks for the topics. The group is entered in the background: Next tells.
func (s *session) join() error {
	if len(s.topics) == 0 {
		return nil // nothing matches Pattern yet
	}
	c := s.consumer
	group, err := kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{
		ID:      c.group,
		Brokers: c.fw.brokers,
		Dialer: &kafkago.Dialer{
			ClientID:      c.fw.clientID(),
			Timeout:       c.fw.dialTimeout(),
			DialFunc:      c.fw.connect,
			TLS:           c.fw.TLS,
			SASLMechanism: c.fw.SASL,
		},
		Topics:                 s.topics,
		GroupBalancers:         c.Balancers,
		HeartbeatInterval:      c.heartbeatInterval(),
		SessionTimeout:         c.sessionTimeout(),
		RebalanceTimeout:       c.rebalanceTimeout(),
		WatchPartitionChanges:  true,
		PartitionWatchInterval: orDefault(c.Refresh, defaultRefresh),
		JoinGroupBackoff:       joinBackoff,
	})
	if err != nil {
		return fmt.Errorf("kafka: group %q: %w", c.group, err)
	}
	s.group = group
	return nil
}

// Next waits for the next generation, or for this one to end. What the last change revoked is given up now.
func (s *session) Next(ctx context.Context) (weaver.Change, error) {
	if s.current != nil && s.current.ended() {
		s.current.release()
		s.current = nil
	}
	var refresh <-chan time.Time
	if s.consumer.Pattern != nil {
		ticker := time.NewTicker(orDefault(s.consumer.Refresh, defaultRefresh))
		defer ticker.Stop()
		refresh = ticker.C
	}
	for {
		switch {
		case s.hasLeft():
			return weaver.Change{}, s.gone()
		case ctx.Err() != nil:
			return weaver.Change{}, context.Cause(ctx)
		}
		if s.current == nil {
			if err := s.rejoin(ctx); err != nil {
				return weaver.Change{}, err
			}
			if s.group != nil {
				return s.begin(ctx)
			}
		}
		if s.end() {
			return weaver.Change{}, io.EOF
		}
		var ending <-chan struct{}
		if s.current != nil {
			ending = s.current.ending
		}
		select {
		case <-ctx.Done():
		case <-s.left:
		case <-s.wake:
		case <-ending:
			return weaver.Change{Revoke: s.current.ids(), By: s.current.by}, nil
		case <-refresh:
			if err := s.look(ctx); err != nil {
				return weaver.Change{}, err
			}
		}
	}
}

func (s *session) hasLeft() bool {
	select {
	case <-s.left:
		return true
	default:
		return false
	}
}

// gone is the error of a session that has left.
func (s *session) gone() error {
	if s.consumer.fw.isClosed() {
		return ErrClosed
	}
	return errors.New("kafka: the session has left its group")
}

// untilLeft returns a context that ends when the session leaves, too.
func (s *session) untilLeft(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-s.left:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel()
		watching.Wait()
	}
}

// end reports whether Next has nothing more to tell.
func (s *session) end() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.final = s.finished
	return s.final
}

func (s *session) isFinal() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.final
}

// rejoin makes the session a member for the topics there are now.
func (s *session) rejoin(ctx context.Context) error {
	found, err := s.consumer.find(ctx) // a topic that is gone is an error
	if err != nil {
		return err
	}
	names := namesOf(found)
	if s.group != nil && slices.Equal(names, s.topics) {
		return nil
	}
	if s.group != nil {
		_ = s.group.Close()
		s.group = nil
	}
	s.topics = names
	return s.join()
}

// look finds out whether other topics match the pattern, and ends the generation if so.
func (s *session) look(ctx context.Context) error {
	found, err := s.consumer.find(ctx)
	if err != nil {
		return err
	}
	if s.current != nil && !slices.Equal(namesOf(found), s.topics) {
		s.current.end(time.Now().Add(s.consumer.drain()))
	} else if s.current == nil {
		s.nudge()
	}
	return nil
}

// begin waits for a generation and tells what it assigns.
func (s *session) begin(ctx context.Context) (weaver.Change, error) {
	joining, stop := s.untilLeft(ctx)
	defer stop()
	for {
		gen, err := s.group.Next(joining)
		switch {
		case err == nil:
			s.current = newGeneration(s, gen)
			return weaver.Change{Add: s.current.splits()}, nil
		case ctx.Err() != nil:
			return weaver.Change{}, context.Cause(ctx)
		case s.hasLeft():
			return weaver.Change{}, s.gone()
		case isCode(err, kafkago.GroupLoadInProgress, kafkago.GroupCoordinatorNotAvailable, kafkago.NotCoordinatorForGroup,
			kafkago.RebalanceInProgress, kafkago.UnknownMemberId, kafkago.IllegalGeneration, kafkago.MemberIDRequired):
			continue // the group is coming to be, moves, or was joined by somebody else meanwhile
		}
		return weaver.Change{}, fmt.Errorf("kafka: joining group %q: %w", s.consumer.group, classed(err))
	}
}

// Finish makes Next end once the member has been told what it has.
func (s *session) Finish(context.Context) error {
	s.mu.Lock()
	s.finished = true
	s.mu.Unlock()
	s.nudge()
	return nil
}

func (s *session) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Close leaves the group.
func (s *session) Close() error {
	s.consumer.fw.mu.Lock()
	delete(s.consumer.fw.groups, s)
	s.consumer.fw.mu.Unlock()
	s.leave()
	if s.group != nil {
		_ = s.group.Close() // is always nil
	}
	return nil
}

// leave makes the generation end and everything that waits return. Close waits for it to have ended.
func (s *session) leave() { s.leaving.Do(func() { close(s.left) }) }

// everything is a session without a group.
type everything struct {
	consumer *Consumer
	found    []topicInfo
	told     map[string]bool
	wake     chan struct{}

	mu       sync.Mutex
	finished bool
}

// Next tells the partitions that are new.
func (e *everything) Next(ctx context.Context) (weaver.Change, error) {
	for {
		var c weaver.Change
		for _, t := range e.found {
			for i := range t.partitions {
				if id := splitID(t.name, i); !e.told[id] {
					e.told[id] = true
					c.Add = append(c.Add, weaver.Split{ID: id, Handle: newAssignment(nil, t.name, i, none)})
				}
			}
		}
		if len(c.Add) > 0 {
			return c, nil
		}
		e.mu.Lock()
		finished := e.finished
		e.mu.Unlock()
		if finished {
			return weaver.Change{}, io.EOF
		}
		timer := time.NewTimer(orDefault(e.consumer.Refresh, defaultRefresh))
		select {
		case <-ctx.Done():
			timer.Stop()
			return weaver.Change{}, context.Cause(ctx)
		case <-e.wake:
			timer.Stop()
		case <-timer.C:
			found, err := e.consumer.find(ctx)
			if err != nil {
				return weaver.Change{}, err
			}
			e.found = found
		}
	}
}

// Finish makes Next end.
func (e *everything) Finish(context.Context) error {
	e.mu.Lock()
	e.finished = true
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
	return nil
}

// Close does nothing.
func (e *everything) Close() error { return nil }

var (
	_ weaver.Finisher = (*session)(nil)
	_ weaver.Finisher = (*everything)(nil)
)
