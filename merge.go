package weaver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/bohica-labs/dataweaver/retry"
)

// Merge reads several sources as one. Their splits become splits of the whole under the names in the map: a source
// that is no [Splitter], and the split "" of one that is, has the ID of its name, any other split the ID "name/id". A
// slash or a percent sign in a name is written %2F or %25, so that no two splits ever share an ID. Adding or removing a
// source leaves the checkpoints of the others where they are; renaming one makes it a new source.
//
// Order is kept within a split, as ever, and not between splits. What sources and their readers can do they go on
// doing: they acknowledge, finish, tell their lag and share partitions with other members of their groups. While the
// Splits of one source fail, the engine waits before it asks again, and the changes of the others wait with it.
//
// The whole is a [Queue] if one of the sources is, and then no position is stored for any of them. A source beside a
// queue is therefore refused, when it is opened, unless its readers are Ackers: their origin remembers how far they
// were.
func Merge[T any](sources map[string]Source[T]) Source[T] {
	m := &merged[T]{}
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		s := mergedSource[T]{name: name, id: escapeName.Replace(name), source: sources[name]}
		if q, ok := As[Queue](s.source); ok && !isNil(s.source) {
			s.queue = q.Queue()
		}
		m.queue = m.queue || s.queue
		m.sources = append(m.sources, s)
	}
	return m
}

// escapeName keeps the one slash in an ID that isn't the inner split's own for itself.
var escapeName = strings.NewReplacer("%", "%25", "/", "%2F")

type merged[T any] struct {
	sources []mergedSource[T] // by name
	queue   bool              // one of them is
}

type mergedSource[T any] struct {
	name   string
	id     string // of its splits, or what they begin with
	source Source[T]
	queue  bool
}

var (
	_ Splitter      = (*merged[int])(nil)
	_ Queue         = (*merged[int])(nil)
	_ HealthChecker = (*merged[int])(nil)
	_ Finisher      = (*mergedSplits)(nil)
)

// String names the sources.
func (m *merged[T]) String() string {
	names := make([]string, len(m.sources))
	for i := range m.sources {
		names[i] = m.sources[i].name
	}
	return "weaver.Merge(" + strings.Join(names, ", ") + ")"
}

// Queue reports whether one of the sources is a queue.
func (m *merged[T]) Queue() bool { return m.queue }

// CheckHealth asks all sources that can be asked.
func (m *merged[T]) CheckHealth(ctx context.Context) error {
	var errs []error
	for _, s := range m.sources {
		if h, ok := As[HealthChecker](s.source); ok && !isNil(s.source) {
			if err := h.CheckHealth(ctx); err != nil {
				errs = append(errs, s.wrap(err))
			}
		}
	}
	return errors.Join(errs...)
}

func (s *mergedSource[T]) wrap(err error) error { return fmt.Errorf("source %q: %w", s.name, err) }

func (m *merged[T]) check() error {
	if len(m.sources) == 0 {
		return retry.Fatal(errors.New("weaver.Merge of no source: there is nothing to read"))
	}
	for _, s := range m.sources {
		if s.name == "" {
			return retry.Fatal(errors.New("weaver.Merge of a source without a name: its checkpoints are kept under it"))
		}
		if isNil(s.source) {
			return retry.Fatal(fmt.Errorf("weaver.Merge: source %q is nil", s.name))
		}
	}
	return nil
}

// OpenReader opens the split of the source that the ID names, whose Reader it returns as it is.
func (m *merged[T]) OpenReader(ctx context.Context, at Lane) (Reader[T], error) {
	id, inner, _ := strings.Cut(at.Split.ID, "/")
	for _, s := range m.sources {
		if s.id != id {
			continue
		}
		at.Split.ID = inner
		r, err := s.source.OpenReader(ctx, at)
		if err != nil || isNil(r) || !m.queue || s.queue {
			return r, err
		}
		if _, ok := As[Acker](r); !ok {
			return nil, errors.Join(retry.Fatal(fmt.Errorf("weaver.Merge: source %q resumes from stored positions, which a pipeline "+
				"that reads a queue doesn't keep: read it by a pipeline of its own", s.name)), r.Close())
		}
		return r, nil
	}
	return nil, retry.Fatal(fmt.Errorf("weaver.Merge: no source has the split %q", at.Split.ID))
}

// Splits opens a session that asks the sessions of the sources at once.
func (m *merged[T]) Splits(ctx context.Context) (Splits, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // from one Next to the next, until Close
	s := &mergedSplits{stop: cancel, told: make(chan mergedChange)}
	for _, source := range m.sources {
		splitter, ok := As[Splitter](source.source)
		if !ok {
			s.fixed = append(s.fixed, Split{ID: source.id})
			continue
		}
		s.members = append(s.members, &mergedMember{
			id: source.id, wrap: source.wrap, splitter: splitter, carriedOut: make(chan struct{}, 1),
		})
	}
	s.asked = len(s.members)
	for _, a := range s.members {
		s.wg.Go(func() { a.run(ctx, s.told) })
	}
	return s, nil
}

// mergedSplits is the session of a Merge. It has a goroutine for each source that has a session: while one waits in
// its Next, the others are asked as well. Close ends them.
type mergedSplits struct {
	fixed   []Split // of sources that are no Splitter; told first
	members []*mergedMember
	told    chan mergedChange
	stop    context.CancelFunc
	wg      sync.WaitGroup

	// Of the caller of Next.
	asked int           // members whose set isn't final
	last  *mergedMember // whose change was returned last
}

// mergedChange is what the session of a member has said.
type mergedChange struct {
	member *mergedMember
	change Change
	err    error
}

// Next returns the next change of any member. That it is called says that the last change was carried out, so the
// member it came from may be asked again, and only that one has waited for it.
//
//nolint:errorlint // io.EOF counts only as it is, as everywhere
func (s *mergedSplits) Next(ctx context.Context) (Change, error) {
	if s.last != nil {
		s.last.carriedOut <- struct{}{} // has room: one change of a member is out at a time
		s.last = nil
	}
	if len(s.fixed) > 0 {
		c := Change{Add: s.fixed}
		s.fixed = nil
		return c, nil
	}
	for s.asked > 0 {
		select {
		case <-ctx.Done():
			return Change{}, context.Cause(ctx)
		case c := <-s.told:
			if c.err == io.EOF {
				s.asked--
				continue
			}
			s.last = c.member
			return c.change, c.err
		}
	}
	return Change{}, io.EOF
}

// Finish tells all sessions that can finish, and those that are not open yet when they are.
func (s *mergedSplits) Finish(ctx context.Context) error {
	var errs []error
	for _, a := range s.members {
		if err := a.finish(ctx); err != nil {
			errs = append(errs, a.wrap(err))
		}
	}
	return errors.Join(errs...)
}

// Close ends the goroutines and closes the sessions.
func (s *mergedSplits) Close() error {
	s.stop()
	s.wg.Wait()
	var errs []error
	for _, a := range s.members {
		if a.session == nil {
			continue
		}
		if err := guard(a.session.Close); err != nil {
			errs = append(errs, a.wrap(err))
		}
		a.session = nil
	}
	return errors.Join(errs...)
}

// mergedMember is one source of a Merge that has a session.
type mergedMember struct {
	id         string
	wrap       func(error) error
	splitter   Splitter
	carriedOut chan struct{}

	mu      sync.Mutex
	session Splits // nil: not open
	owed    bool   // it is to be told to finish once it is open
}

// run asks the session again and again: after a change when that is carried out, after an error when the engine has
// waited.
func (a *mergedMember) run(ctx context.Context, told chan<- mergedChange) {
	for {
		c, err := a.next(ctx)
		select {
		case told <- mergedChange{a, c, err}:
		case <-ctx.Done():
			return
		}
		if err == io.EOF { //nolint:errorlint // only io.EOF itself says that the set is final
			return
		}
		select {
		case <-a.carriedOut:
		case <-ctx.Done():
			return
		}
	}
}

// next opens the session if need be and asks it once.
func (a *mergedMember) next(ctx context.Context) (Change, error) {
	session, err := a.open(ctx)
	if err != nil {
		return Change{}, a.wrap(err)
	}
	var c Change
	err = guard(func() (err error) {
		c, err = session.Next(ctx)
		return err
	})
	switch {
	case err == io.EOF: //nolint:errorlint // only io.EOF itself says that the set is final
		return Change{}, io.EOF
	case err != nil:
		return Change{}, a.wrap(err)
	}
	out := Change{By: c.By}
	for _, sp := range c.Add {
		sp.ID = a.outer(sp.ID)
		out.Add = append(out.Add, sp)
	}
	for _, id := range c.Revoke {
		out.Revoke = append(out.Revoke, a.outer(id))
	}
	return out, nil
}

// outer is what a split of this source is called outside.
func (a *mergedMember) outer(id string) string {
	if id == "" {
		return a.id
	}
	return a.id + "/" + id
}

func (a *mergedMember) open(ctx context.Context) (Splits, error) {
	a.mu.Lock()
	session := a.session
	a.mu.Unlock()
	if session == nil {
		err := guard(func() (err error) {
			session, err = a.splitter.Splits(ctx)
			return err
		})
		if err != nil {
			return nil, err
		}
		if isNil(session) {
			return nil, retry.Fatal(errors.New("Splits returned neither a session nor an error"))
		}
	}
	// Either Finish comes before this section, and leaves it to us to tell the session, or it finds the session.
	a.mu.Lock()
	a.session = session
	owed := a.owed
	a.mu.Unlock()
	if !owed {
		return session, nil
	}
	if err := finishSplits(ctx, session); err != nil {
		return nil, err // told again with the next attempt
	}
	a.mu.Lock()
	a.owed = false
	a.mu.Unlock()
	return session, nil
}

func (a *mergedMember) finish(ctx context.Context) error {
	a.mu.Lock()
	session := a.session
	if session == nil {
		a.owed = true
	}
	a.mu.Unlock()
	if session == nil {
		return nil
	}
	return finishSplits(ctx, session)
}

func finishSplits(ctx context.Context, session Splits) error {
	f, ok := As[Finisher](session)
	if !ok {
		return nil
	}
	return guard(func() error { return f.Finish(ctx) })
}
