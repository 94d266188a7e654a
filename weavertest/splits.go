package weavertest

import (
	"context"
	"io"

	weaver "github.com/bohica-labs/dataweaver"
)

// Splits opens a session that tells the splits there are and, of an Endless source, those that come and go.
func (s *Source[T]) Splits(ctx context.Context) (weaver.Splits, error) {
	fault, err := s.begin(ctx, CallSplits, "", 0)
	if err != nil {
		return nil, err
	}
	if fault != nil && fault.Err != nil {
		return nil, fault.Err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.order) == 0 && len(s.changes) == 0 {
		s.order = []string{""}
		s.splits = map[string]*sourceSplit[T]{"": {}}
	}
	s.open++
	ss := &session[T]{source: s, next: len(s.changes)}
	for _, id := range s.order {
		ss.first.Add = append(ss.first.Add, weaver.Split{ID: id})
	}
	return ss, nil
}

// session is an open Splits session, guarded by its source's lock.
type session[T any] struct {
	source   *Source[T]
	first    weaver.Change // the splits there were when it was opened
	told     bool
	next     int // in source.changes
	finished bool
	calling  bool
	closed   bool
}

// Next returns the next change.
func (ss *session[T]) Next(ctx context.Context) (weaver.Change, error) {
	s := ss.source
	s.mu.Lock()
	if err := ss.enter(); err != nil {
		s.mu.Unlock()
		return weaver.Change{}, err
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		ss.calling = false
		s.mu.Unlock()
	}()
	fault, err := s.begin(ctx, CallNext, "", 0)
	if err != nil {
		return weaver.Change{}, err
	}
	if fault != nil && fault.Err != nil {
		return weaver.Change{}, fault.Err
	}
	for {
		s.mu.Lock()
		c, err, done := ss.advance()
		if done {
			s.mu.Unlock()
			return c, err
		}
		changed := s.changed.wait()
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return weaver.Change{}, context.Cause(ctx)
		}
	}
}

func (ss *session[T]) enter() error {
	switch {
	case ss.closed:
		return ss.source.misuse.addf("Next after Close of the Splits session")
	case ss.calling:
		return ss.source.misuse.addf("two calls of Next at once")
	}
	ss.calling = true
	return nil
}

func (ss *session[T]) advance() (c weaver.Change, err error, done bool) { //nolint:revive // the error is a result like the others
	s := ss.source
	switch {
	case !ss.told && len(ss.first.Add) > 0:
		c = ss.first
	case ss.next < len(s.changes):
		c = s.changes[ss.next]
		ss.next++
	case ss.finished || !s.Endless:
		return c, io.EOF, true
	default:
		return c, nil, false
	}
	ss.told = true
	out := weaver.Change{Revoke: c.Revoke, By: c.By}
	for _, sp := range c.Add {
		sp.Bounded = !s.Endless
		out.Add = append(out.Add, sp)
	}
	return out, nil, true
}

// Finish makes Next end after the changes there are now.
func (ss *session[T]) Finish(context.Context) error {
	s := ss.source
	s.mu.Lock()
	defer s.mu.Unlock()
	ss.finished = true
	s.changed.wake()
	return nil
}

// Close ends the session.
func (ss *session[T]) Close() error {
	s := ss.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if ss.closed {
		return s.misuse.addf("Close of the Splits session twice")
	}
	if ss.calling && !s.deaf() {
		_ = s.misuse.addf("Close beside Next")
	}
	ss.closed = true
	s.open--
	return nil
}
