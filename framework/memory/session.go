package memory

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

// Splits joins the group. Without a group it tells all partitions once.
func (c *Consumer) Splits(context.Context) (weaver.Splits, error) {
	s, err := c.open()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.group == "" {
		all := &everything{stream: s}
		for i, p := range s.partitions {
			all.add = append(all.add, weaver.Split{ID: strconv.Itoa(i), Handle: &assignment{partition: i, start: p.offset(c.Start)}})
		}
		return all, nil
	}
	g := s.group(c.group, c.Start)
	return &session{stream: s, group: g, member: g.join(time.Now(), s.rebalanceTimeout)}, nil
}

// everything is a session without a group.
type everything struct {
	stream *stream
	add    []weaver.Split
}

// Next tells all partitions, then that there are no others.
func (e *everything) Next(ctx context.Context) (weaver.Change, error) {
	if ctx.Err() != nil {
		return weaver.Change{}, context.Cause(ctx)
	}
	add := e.add
	e.add = nil
	if add == nil {
		return weaver.Change{}, io.EOF
	}
	return weaver.Change{Add: add}, nil
}

// Finish does nothing: the end comes by itself.
func (e *everything) Finish(context.Context) error { return nil }

// Close does nothing.
func (e *everything) Close() error { return nil }

// session is a member of a group. The stream's lock guards it.
type session struct {
	stream   *stream
	group    *group
	member   *member
	finished bool
	closed   bool
}

// Next waits for partitions to come and go. What the last change revoked is given up now.
func (n *session) Next(ctx context.Context) (weaver.Change, error) {
	s := n.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if !n.closed {
		n.group.giveUp(n.member)
	}
	for {
		switch {
		case n.closed:
			return weaver.Change{}, errors.New("memory: the session has left its group")
		case s.closed:
			return weaver.Change{}, ErrClosed
		case ctx.Err() != nil:
			return weaver.Change{}, context.Cause(ctx)
		}
		c, more, next := n.group.change(n.member, time.Now())
		switch {
		case len(c.Add) > 0 || len(c.Revoke) > 0:
			for _, sp := range c.Add { // whoever still reads it has to notice
				s.partitions[sp.Handle.(*assignment).partition].changed.wake()
			}
			return c, nil
		case n.finished && !more:
			n.member.final = true
			return weaver.Change{}, io.EOF
		}
		if err := s.wait(ctx, &n.group.changed, next); err != nil {
			return weaver.Change{}, err
		}
	}
}

// Finish makes Next end as soon as the member has all that it was meant to have.
func (n *session) Finish(context.Context) error {
	n.stream.mu.Lock()
	defer n.stream.mu.Unlock()
	n.finished = true
	n.group.changed.wake()
	return nil
}

// Close leaves the group: its partitions go to the other members at once.
func (n *session) Close() error {
	s := n.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	n.group.leave(n.member, time.Now(), s.rebalanceTimeout)
	return nil
}
