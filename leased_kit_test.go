package weaver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/weavertest"
)

const leaseTTL = 15 * time.Second // the default

// line is the way of one member to the store.
type line struct {
	checkpoint.Store
	down  atomic.Bool
	hangs atomic.Bool // calls wait for their ctx
	saves atomic.Int64
	slow  atomic.Int64 // how long calls take, before and after what they do
	loses atomic.Bool  // every third reply is lost
}

func (l *line) fails(ctx context.Context) error {
	if l.hangs.Load() {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if l.down.Load() {
		return errOutage
	}
	return retry.Sleep(ctx, time.Duration(l.slow.Load()))
}

func (l *line) Load(ctx context.Context, key string) ([]byte, checkpoint.Version, error) {
	if err := l.fails(ctx); err != nil {
		return nil, 0, err
	}
	return l.Store.Load(ctx, key)
}

func (l *line) Save(ctx context.Context, key string, value []byte, v checkpoint.Version) (checkpoint.Version, error) {
	l.saves.Add(1)
	if err := l.fails(ctx); err != nil {
		return 0, err
	}
	v, err := l.Store.Save(ctx, key, value, v)
	if err == nil {
		err = retry.Sleep(ctx, time.Duration(l.slow.Load()))
	}
	if err == nil && l.loses.Load() && l.saves.Load()%3 == 0 {
		err = errOutage
	}
	return v, err
}

// board is who owns what, as the members believe. That no split has two owners is checked with each claim.
type board struct {
	mu     sync.Mutex
	owners map[string]*member
	took   map[string]time.Time
	double []string
}

func newBoard() *board {
	return &board{owners: make(map[string]*member), took: make(map[string]time.Time)}
}

func (b *board) claim(id string, m *member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o := b.owners[id]; o != nil {
		b.double = append(b.double, fmt.Sprintf("%s: %s while %s", id, m.name, o.name))
	}
	b.owners[id], b.took[id] = m, time.Now()
}

func (b *board) release(m *member, ids ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		if b.owners[id] == m {
			delete(b.owners, id)
		}
	}
}

// of returns what a member owns.
func (b *board) of(m *member) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for id, o := range b.owners {
		if o == m {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (b *board) sizes(members ...*member) []int {
	var n []int
	for _, m := range members {
		n = append(n, len(b.of(m)))
	}
	slices.SortFunc(n, func(a, b int) int { return b - a })
	return n
}

func (b *board) check(t *testing.T, seed ...uint64) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(t, b.double, "splits with two owners, seed %v", seed)
}

// member carries out what a session says, as an engine does, without reading anything.
type member struct {
	name    string
	board   *board
	line    *line
	session weaver.Splits
	drain   atomic.Int64 // how long a revoked split takes
	cancel  context.CancelFunc
	ended   chan struct{}

	mu      sync.Mutex
	err     error // that ended it
	outages []error
	revokes []weaver.Change
	handles map[string]weaver.Split
}

func (b *board) join(t *testing.T, src *weaver.LeasedSource[string], l *line, drain time.Duration) *member {
	t.Helper()
	m := &member{name: src.Owner, board: b, line: l, ended: make(chan struct{}), handles: make(map[string]weaver.Split)}
	m.drain.Store(int64(drain))
	m.session = openSplits(t, src)
	ctx, cancel := context.WithCancel(t.Context())
	m.cancel = cancel
	go m.play(ctx)
	t.Cleanup(m.crash)
	return m
}

func (m *member) play(ctx context.Context) {
	defer close(m.ended)
	for {
		c, err := m.session.Next(ctx)
		switch {
		case err != nil && (ctx.Err() != nil || errors.Is(err, io.EOF) || retry.ClassOf(err) == retry.ClassFatal):
			m.mu.Lock()
			m.err = err
			m.mu.Unlock()
			return
		case err != nil:
			m.mu.Lock()
			m.outages = append(m.outages, err)
			m.mu.Unlock()
			_ = retry.Sleep(ctx, time.Second)
			continue
		}
		if len(c.Revoke) > 0 {
			m.mu.Lock()
			m.revokes = append(m.revokes, c)
			m.mu.Unlock()
			_ = retry.Sleep(ctx, min(time.Duration(m.drain.Load()), time.Until(c.By)))
			m.board.release(m, c.Revoke...)
		}
		for _, sp := range c.Add {
			m.mu.Lock()
			m.handles[sp.ID] = sp
			m.mu.Unlock()
			m.board.claim(sp.ID, m)
		}
	}
}

// stop is a stop in good order: lanes drained, the session closed.
func (m *member) stop(t *testing.T) {
	t.Helper()
	m.cancel()
	<-m.ended
	m.board.release(m, m.board.of(m)...)
	if err := m.session.Close(); !m.line.down.Load() && !m.line.hangs.Load() && m.line.slow.Load() == 0 && !m.line.loses.Load() {
		require.NoError(t, err)
	}
}

// crash is the end of a process: nothing runs any more, and nobody is told.
func (m *member) crash() {
	m.cancel()
	<-m.ended
	m.line.down.Store(true)
	m.board.release(m, m.board.of(m)...)
	_ = m.session.Close()
}

func (m *member) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

func (m *member) lastRevoke() weaver.Change {
	if all := m.revoked(); len(all) > 0 {
		return all[len(all)-1]
	}
	return weaver.Change{}
}

func (m *member) revoked() []weaver.Change {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.revokes)
}

func (m *member) heard() []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.outages)
}

func (m *member) split(id string) weaver.Split {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.handles[id]
}

// leaseGroup is a source with n splits that don't end, and what its members share.
type leaseGroup struct {
	*board
	source *weavertest.Source[string]
	store  *checkpoint.Memory
	n      int
}

func newLeaseGroup(splits int) *leaseGroup {
	g := &leaseGroup{board: newBoard(), source: weavertest.NewSource[string](), store: checkpoint.NewMemory()}
	g.source.Endless = true
	for i := range splits {
		g.source.Add(fmt.Sprintf("s%02d", i))
	}
	return g
}

func (g *leaseGroup) leased(l *line) *weaver.LeasedSource[string] {
	g.n++
	src := weaver.Leased[string](g.source, l, "g")
	src.Owner = fmt.Sprintf("m%d", g.n)
	return src
}

func (g *leaseGroup) member(t *testing.T, drain time.Duration) *member {
	t.Helper()
	l := &line{Store: g.store}
	return g.join(t, g.leased(l), l, drain)
}

// after lets virtual time go by.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
