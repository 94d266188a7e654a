package weaver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

const leaseTTL = 15 * time.Second // the default

// Two processes that run this share the files of a folder; when one dies the other goes on with its files.
func ExampleLeased() {
	positions := checkpoint.NewMemory() // of one process; of several, a database or a shared folder
	weeks := map[string]weaver.Source[string]{"week-1": list("a", "b"), "week-2": list("c")}

	source := weaver.Leased(weaver.Merge(weeks), positions, "copy-weeks")
	source.TTL = 30 * time.Second

	p := weaver.Copy[string](source, printed[string]("read "))
	p.Name, p.Checkpoint = "copy-weeks", positions
	p.MaxLanes = 1
	p.Log = slog.New(slog.DiscardHandler)
	fmt.Println(p.Run(context.Background()))
	// Unordered output:
	// read a
	// read b
	// read c
	// <nil>
}

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

func TestLeasedShares(t *testing.T) {
	t.Parallel()
	for name, drain := range map[string]time.Duration{"quick": 0, "slow": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newLeaseGroup(20)
				a := g.member(t, drain)
				synctest.Wait()
				require.Equal(t, []int{20}, g.sizes(a), "a first member begins at once")
				b, c := g.member(t, drain), g.member(t, drain)
				after(leaseTTL/3 + drain + leaseTTL/15)
				require.ElementsMatch(t, []int{7, 7, 6}, g.sizes(a, b, c), "whoever of the new ones came first has most")
				require.Len(t, a.revoked(), 1, "all at once")
				require.WithinRange(t, a.lastRevoke().By, time.Now(), time.Now().Add(leaseTTL))

				before := append(g.of(a), g.of(b)...)
				after(time.Hour)
				require.ElementsMatch(t, before, append(g.of(a), g.of(b)...), "nothing moves without a reason")
				require.Less(t, a.line.saves.Load(), int64(3600/5*3/2), "a save a renewal, and now and then a conflict")

				c.stop(t)
				after(leaseTTL / 3)
				require.Equal(t, []int{10, 10}, g.sizes(a, b))
				require.Subset(t, append(g.of(a), g.of(b)...), before)

				g.source.Add("s20")
				g.source.Add("s21")
				synctest.Wait()
				require.Equal(t, []int{11, 11}, g.sizes(a, b), "new splits")
				b.stop(t)
				after(leaseTTL / 3)
				require.Equal(t, []int{22}, g.sizes(a))
				a.stop(t)
				g.check(t)
				value, _, err := g.store.Load(t.Context(), "g/leases")
				require.NoError(t, err)
				require.JSONEq(t, `{"version":1,"members":{}}`, string(value))
			})
		})
	}
}

// More members than splits, and shares that don't come out even: whoever has most keeps one more.
func TestLeasedMovesLittle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newLeaseGroup(4)
		a, b := g.member(t, 0), g.member(t, 0)
		after(leaseTTL)
		require.Equal(t, []int{2, 2}, g.sizes(a, b))
		c := g.member(t, 0)
		after(leaseTTL)
		require.Equal(t, []int{2, 1, 1}, g.sizes(a, b, c))
		d, e, f := g.member(t, 0), g.member(t, 0), g.member(t, 0)
		after(leaseTTL)
		require.Equal(t, []int{1, 1, 1, 1, 0, 0}, g.sizes(a, b, c, d, e, f))
		var idle *member
		for _, m := range []*member{a, b, c, d, e, f} {
			if len(g.of(m)) == 0 {
				idle = m
			}
		}
		a.crash()
		after(leaseTTL + 2*leaseTTL/3)
		require.Equal(t, []int{1, 1, 1, 1, 0}, g.sizes(b, c, d, e, f))
		if idle != nil {
			idle.stop(t)
		}
		g.check(t)
	})
}

func TestLeasedTakeoverAfterACrash(t *testing.T) {
	t.Parallel()
	for _, hangs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			g := newLeaseGroup(20)
			a, b := g.member(t, 0), g.member(t, 0)
			after(leaseTTL * 10)
			lost := g.of(a)
			require.Len(t, lost, 10)
			died := time.Now()
			a.line.hangs.Store(hangs)
			a.crash()
			after(time.Until(died.Add(leaseTTL - leaseTTL/3 - 1)))
			require.Equal(t, []int{10}, g.sizes(b), "its last renewal is a third of TTL old at most")
			after(leaseTTL)
			require.Equal(t, []int{20}, g.sizes(b))
			for _, id := range lost {
				require.WithinRange(t, g.took[id], died.Add(leaseTTL-leaseTTL/3), died.Add(leaseTTL+leaseTTL/3))
			}
			g.check(t)
		})
	}
}

// A zombie: it lives, and can't reach the store. It has let go of everything before others may take it, however long
// its lanes would take.
func TestLeasedZombieGivesUpInTime(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(*line) *atomic.Bool{
		"down":  func(l *line) *atomic.Bool { return &l.down },
		"hangs": func(l *line) *atomic.Bool { return &l.hangs },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newLeaseGroup(20)
				a, b := g.member(t, time.Hour), g.member(t, 0)
				after(leaseTTL * 10) // a has abandoned what it gave b
				require.Equal(t, []int{10, 10}, g.sizes(a, b))
				begun := time.Now()
				cut(a.line).Store(true)
				after(leaseTTL)
				require.Empty(t, g.of(a), "given up")
				c := a.lastRevoke()
				require.Len(t, c.Revoke, 10)
				require.Less(t, c.By.Sub(begun), leaseTTL)
				after(leaseTTL)
				require.Equal(t, []int{20}, g.sizes(b))
				require.NotEmpty(t, a.heard(), "and the engine is told why")
				cut(a.line).Store(false)
				after(2 * leaseTTL)
				require.Equal(t, []int{10, 10}, g.sizes(a, b), "it is a member again")
				g.check(t)
			})
		})
	}
}

// The store comes back while the others haven't taken anything: the member goes on with what it had.
func TestLeasedShortOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newLeaseGroup(4)
		a := g.member(t, 0)
		after(leaseTTL)
		a.line.down.Store(true)
		after(leaseTTL / 3)
		require.Len(t, g.of(a), 4, "one renewal that fails does no harm")
		a.line.down.Store(false)
		after(leaseTTL)
		require.Empty(t, a.revoked())
		a.line.down.Store(true)
		after(10 * leaseTTL)
		require.Empty(t, g.of(a))
		a.line.down.Store(false)
		after(leaseTTL / 3)
		require.Len(t, g.of(a), 4, "nobody else was there")
		g.check(t)
	})
}

// What costs nothing is given back first: splits that aren't open.
func TestLeasedGivesWhatIsNotOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newLeaseGroup(6)
		l := &line{Store: g.store}
		src := g.leased(l)
		a := g.join(t, src, l, 0)
		synctest.Wait()
		for _, id := range []string{"s01", "s04", "s05"} {
			r, err := src.OpenReader(t.Context(), weaver.Lane{Split: a.split(id)})
			require.NoError(t, err)
			defer r.Close()
		}
		b := g.member(t, 0)
		after(leaseTTL)
		require.Equal(t, []string{"s00", "s02", "s03"}, g.of(b))
	})
}

// A member that was out for long remembers how others were. One that was struck out and has joined anew must not look
// the same.
func TestLeasedRemembersNoOtherSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newLeaseGroup(2)
		a := g.member(t, 0)
		synctest.Wait()
		b := g.member(t, 0)
		after(leaseTTL / 3) // a has seen b
		a.line.down.Store(true)
		b.line.down.Store(true)
		c := g.member(t, 0)
		after(2 * leaseTTL)
		require.Len(t, g.of(c), 2, "c has struck both out")
		c.stop(t)
		b.line.down.Store(false)
		after(leaseTTL / 10)
		require.Len(t, g.of(b), 2)
		a.line.down.Store(false)
		after(leaseTTL)
		require.Equal(t, []int{1, 1}, g.sizes(a, b))
		for _, c := range b.revoked() {
			require.NotContains(t, c.Revoke, "s00", "b gives one back, and is not struck out")
		}
		g.check(t)
	})
}

func TestLeasedRepliesLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newLeaseGroup(7)
		var members []*member
		for i := range 3 {
			l := &line{Store: g.store}
			l.loses.Store(true)
			l.saves.Store(int64(i))
			members = append(members, g.join(t, g.leased(l), l, 0))
			after(leaseTTL / 4)
		}
		after(4 * leaseTTL)
		require.Equal(t, []int{3, 2, 2}, g.sizes(members...))
		members[0].crash()
		after(4 * leaseTTL)
		require.Equal(t, []int{4, 3}, g.sizes(members[1:]...))
		g.check(t)
	})
}

func TestLeasedRestart(t *testing.T) {
	t.Parallel()
	t.Run("after Close", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := newLeaseGroup(3)
			a := g.member(t, 0)
			synctest.Wait()
			a.stop(t)
			require.NoError(t, a.session.Close(), "twice")
			b := g.member(t, 0)
			synctest.Wait()
			require.Len(t, g.of(b), 3, "at once")
			g.check(t)
		})
	})
	t.Run("after a crash, by the same Owner", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := newLeaseGroup(3)
			a := g.member(t, 0)
			after(leaseTTL)
			a.crash()
			l := &line{Store: g.store}
			src := g.leased(l)
			src.Owner = a.name
			b := g.join(t, src, l, 0)
			synctest.Wait()
			require.Len(t, g.of(b), 3, "at once")
			g.check(t)
		})
	})
	t.Run("two of one Owner", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := newLeaseGroup(3)
			a := g.member(t, 0)
			after(leaseTTL)
			l := &line{Store: g.store}
			src := g.leased(l)
			src.Owner = a.name
			b := g.join(t, src, l, 0)
			after(leaseTTL)
			require.ErrorContains(t, a.failure(), `another member has joined as Owner "m1"`)
			require.Empty(t, g.of(a))
			require.Len(t, a.lastRevoke().Revoke, 3)
			require.NoError(t, a.session.Close())
			after(leaseTTL)
			require.Len(t, g.of(b), 3, "the first one's Close does nothing to the other")
		})
	})
}

// A split goes and comes again while its release is being saved: it isn't this member's just because it was.
func TestLeasedDuringASave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, b := checkpoint.NewMemory(), newBoard()
		var members []*member
		var sources []*spoken
		for i := range 2 {
			in := newSpoken()
			l := &line{Store: store}
			src := weaver.Leased[string](in, l, "g")
			src.Owner = fmt.Sprintf("m%d", 2-i) // what is free is the second one's
			members = append(members, b.join(t, src, l, 0))
			sources = append(sources, in)
			in.says <- adds("x")
			synctest.Wait()
		}
		members[0].line.slow.Store(int64(time.Second))
		sources[0].says <- weaver.Change{Revoke: []string{"x"}}
		after(1500 * time.Millisecond) // the release is under way
		sources[0].says <- adds("x")
		after(leaseTTL)
		require.Equal(t, []string{"x"}, b.of(members[1]))
		b.check(t)
	})
}

// Members come, go, crash, lose the store and find it again at random. No split ever has two owners, and in the end
// they are shared evenly.
func TestLeasedPropertyOneOwner(t *testing.T) {
	t.Parallel()
	for _, seed := range simSeeds(t, 50, 5000) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			loses := rng.IntN(2) == 0
			g := newLeaseGroup(1 + rng.IntN(12))
			var members []*member
			for range 40 {
				i := 0
				if len(members) > 0 {
					i = rng.IntN(len(members))
				}
				switch k := rng.IntN(10); {
				case len(members) == 0, k < 3 && len(members) < 5:
					members = append(members, g.member(t, time.Duration(rng.IntN(20))*time.Second))
					members[len(members)-1].line.loses.Store(loses)
				case k < 4:
					members[i].stop(t)
					members = slices.Delete(members, i, i+1)
				case k < 5:
					members[i].crash()
					members = slices.Delete(members, i, i+1)
				case k < 7:
					members[i].line.down.Store(!members[i].line.down.Load())
				case k < 8:
					members[i].line.slow.Store(rng.Int64N(int64(leaseTTL / 4)))
				case k < 9:
					members[i].line.hangs.Store(!members[i].line.hangs.Load())
				}
				after(time.Duration(rng.Int64N(int64(leaseTTL))))
				g.check(t, seed)
			}
			for _, m := range members {
				m.line.down.Store(false)
				m.line.hangs.Store(false)
				m.line.slow.Store(0)
				m.line.loses.Store(false)
				m.drain.Store(0)
			}
			after(6 * leaseTTL)
			splits := len(g.owners)
			require.Equal(t, len(g.source.Opened()), 0)
			for i, n := range g.sizes(members...) {
				want := splits / len(members)
				if i < splits%len(members) {
					want++
				}
				require.Equal(t, want, n, "seed %d", seed)
			}
			g.check(t, seed)
			for _, m := range members {
				m.stop(t)
			}
		})
	}
}

// leasedRun is a bounded input that several pipelines read, and what they share.
type leasedRun struct {
	source    *weavertest.Source[string]
	sink      *weavertest.Sink[string]
	leases    *checkpoint.Memory
	positions *checkpoint.Memory
	want      map[string]int
}

func newLeasedRun(splits, records int) *leasedRun {
	r := &leasedRun{
		source: weavertest.NewSource[string](), sink: weavertest.NewSink[string](),
		leases: checkpoint.NewMemory(), positions: checkpoint.NewMemory(), want: make(map[string]int),
	}
	r.source.ReadSize = 1
	for s := range splits {
		r.add(fmt.Sprintf("s%02d", s), records)
	}
	return r
}

func (r *leasedRun) add(split string, records int) {
	for range records {
		v := fmt.Sprintf("%s/%d", split, len(r.want))
		r.want[v] = 1
		r.source.Add(split, weaver.Record[string]{Value: v})
	}
}

// slowly lets each Read take some time.
func (r *leasedRun) slowly(d time.Duration) {
	r.source.Hook = func(ctx context.Context, call weavertest.Call, _ string) error {
		if call == weavertest.CallRead {
			return retry.Sleep(ctx, d)
		}
		return nil
	}
}

func (r *leasedRun) pipeline(store checkpoint.Store) *weaver.Pipeline[string, string] {
	p := weaver.Copy[string](weaver.Leased[string](r.source, store, "job"), r.sink)
	p.Name, p.Checkpoint = "job", r.positions
	p.Log = slog.New(slog.DiscardHandler)
	return p
}

func (r *leasedRun) got() map[string]int {
	got := make(map[string]int)
	for _, v := range r.sink.Values() {
		got[v]++
	}
	return got
}

func TestLeasedPipelines(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		maxLanes int
		begin    time.Duration // from one pipeline to the next
		sink     weavertest.Mode
	}{
		"together":                {begin: 0},
		"one after the other":     {begin: 4 * time.Second},
		"few lanes":               {maxLanes: 2},
		"the last comes too late": {begin: time.Hour},
		"transactional":           {begin: 4 * time.Second, sink: weavertest.Transactional},
		"buffered":                {begin: 4 * time.Second, sink: weavertest.Buffered},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newLeasedRun(30, 20)
				r.slowly(time.Second)
				r.sink.Mode = test.sink
				var wg sync.WaitGroup
				errs := make([]error, 3)
				for i := range errs {
					wg.Go(func() {
						after := time.After(time.Duration(i) * test.begin)
						<-after
						p := r.pipeline(r.leases)
						p.MaxLanes = test.maxLanes
						errs[i] = p.Run(t.Context())
					})
				}
				wg.Wait()
				require.NoError(t, errors.Join(errs...))
				require.Equal(t, r.want, r.got(), "each record exactly once")
				require.NoError(t, r.source.Check(), "and no split read by two")
				require.NoError(t, r.sink.Check())
				if test.maxLanes > 0 {
					require.Less(t, len(r.source.Opened()), 30+2*3+3, "what moves isn't open yet, and what has ended isn't opened again")
				}
				value, _, err := r.leases.Load(t.Context(), "job/leases")
				require.NoError(t, err)
				require.JSONEq(t, `{"version":1,"members":{}}`, string(value), "the group remembers nothing")
			})
		})
	}
}

// Pipelines are stopped and started again, and lose the store of leases, at random.
func TestLeasedPropertyPipelines(t *testing.T) {
	t.Parallel()
	for _, seed := range simSeeds(t, 15, 1000) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 8))
			r := newLeasedRun(1+rng.IntN(12), 1+rng.IntN(60))
			r.slowly(time.Second)
			r.sink.Mode = []weavertest.Mode{weavertest.Plain, weavertest.Buffered, weavertest.Transactional}[rng.IntN(3)]
			var wg sync.WaitGroup
			for range 3 {
				own := rand.New(rand.NewPCG(rng.Uint64(), 9))
				wg.Go(func() {
					l := &line{Store: r.leases}
					p := r.pipeline(l)
					p.MaxLanes = own.IntN(4)
					<-time.After(time.Duration(own.IntN(20)) * time.Second)
					for range 8 {
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(own.IntN(60))*time.Second)
						fired := make(chan struct{})
						outage := time.AfterFunc(time.Duration(own.IntN(60))*time.Second, func() {
							l.down.Store(true)
							close(fired)
						})
						require.NoError(t, p.Run(ctx), "seed %d", seed)
						if !outage.Stop() {
							<-fired
						}
						cancel()
						<-time.After(time.Duration(own.IntN(3)) * time.Second)
						l.down.Store(false)
					}
					ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
					defer cancel()
					require.NoError(t, p.Run(ctx), "seed %d", seed)
					require.NoError(t, ctx.Err(), "seed %d: it comes to its end by itself", seed)
				})
			}
			wg.Wait()
			got := r.got()
			require.Len(t, got, len(r.want), "seed %d: each record at least once", seed)
			if r.sink.Mode == weavertest.Transactional {
				require.Equal(t, r.want, got, "seed %d", seed)
			}
			require.NoError(t, errors.Join(r.source.Check(), r.sink.Check()), "seed %d", seed)
		})
	}
}

// What a group knows of ended splits ends with it: the next Run reads what was added since.
func TestLeasedRunsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newLeasedRun(5, 3)
		p := r.pipeline(r.leases)
		require.NoError(t, p.Run(t.Context()))
		r.add("s03", 4)
		r.add("s17", 1)
		require.NoError(t, p.Run(t.Context()))
		require.Equal(t, r.want, r.got())
	})
}

// A member that is stopped leaves no word of what it has ended: others look themselves.
func TestLeasedStoppedMember(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newLeasedRun(6, 10)
		r.add("s00", 100)
		r.add("s01", 100)
		r.slowly(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i, ctx := range []context.Context{ctx, t.Context()} {
			wg.Go(func() { errs[i] = r.pipeline(r.leases).Run(ctx) })
		}
		after(50 * time.Second) // the short ones have ended, one or two long ones are left to each
		before := len(r.source.Opened())
		cancel()
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		require.Equal(t, r.want, r.got())
		require.NoError(t, r.source.Check())
		again := r.source.Opened()[before:]
		require.Greater(t, len(again), 1)
		for _, at := range again {
			require.NotEmpty(t, at.Position, "from where it was")
		}
	})
}

// A lane that fails at its end hasn't ended.
func TestLeasedFailureAtTheEnd(t *testing.T) {
	t.Parallel()
	t.Run("of the sink", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := newLeasedRun(1, 10)
			r.sink.Mode = weavertest.Transactional
			r.sink.Faults = []weavertest.Fault{{On: weavertest.CallCommit, Times: 5, Err: errOutage}, {On: weavertest.CallOpen, At: 1, Times: 20, Err: errOutage}}
			begun := time.Now()
			var wg sync.WaitGroup
			ends := make([]time.Duration, 2)
			for i := range ends {
				wg.Go(func() {
					if err := r.pipeline(r.leases).Run(t.Context()); err == nil {
						ends[i] = time.Since(begun)
					}
				})
			}
			wg.Wait()
			require.Equal(t, r.want, r.got())
			require.Greater(t, min(ends[0], ends[1]), 10*time.Second, "nobody goes before it is through")
		})
	})
	t.Run("of the stage", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := newLeasedRun(2, 3)
			var failures atomic.Int64
			stage := weaver.StageFunc[string, string](func(_ context.Context, in *weaver.Batch[string], out *weaver.Emitter[string]) error {
				for i := range in.Records {
					out.Emit(i, in.Records[i])
				}
				if in.End && failures.Add(1) < 5 {
					return retry.Transient(errOutage)
				}
				return nil
			})
			p := weaver.NewPipeline[string, string](weaver.Leased[string](r.source, r.leases, "job"), stage, r.sink)
			p.Name, p.Checkpoint = "job", r.positions
			p.Log = slog.New(slog.DiscardHandler)
			p.Retry = retry.Policy{Initial: 3 * time.Second, Jitter: retry.NoJitter}
			require.NoError(t, p.Run(t.Context()))
			require.Equal(t, r.want, r.got())
			require.GreaterOrEqual(t, failures.Load(), int64(5))
		})
	})
}

// A lane that recovers after it seemed to have ended takes its word back.
func TestLeasedEndTakenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, b := checkpoint.NewMemory(), newBoard()
		join := func() (*weaver.LeasedSource[string], *member) {
			in := newSpoken()
			l := &line{Store: store}
			src := weaver.Leased[string](in, l, "g")
			src.Owner = fmt.Sprintf("m%d", len(b.took))
			m := b.join(t, src, l, 0)
			in.says <- weaver.Change{Add: []weaver.Split{{ID: "x", Bounded: true}}}
			close(in.says)
			synctest.Wait()
			return src, m
		}
		src, m := join()
		_, other := join()
		read := func() weaver.Reader[string] {
			r, err := src.OpenReader(t.Context(), weaver.Lane{Split: m.split("x")})
			require.NoError(t, err)
			_, err = r.Read(t.Context(), weaver.NewBatch[string](1, 0))
			require.Equal(t, io.EOF, err)
			return r
		}
		record := func() string {
			value, _, err := store.Load(t.Context(), "g/leases")
			require.NoError(t, err)
			return string(value)
		}
		after(leaseTTL)
		require.NoError(t, other.failure(), "somebody may have to take over")
		require.NoError(t, read().Close())
		after(leaseTTL)
		require.Equal(t, io.EOF, other.failure())
		require.Equal(t, io.EOF, m.failure())
		require.Contains(t, record(), `"done":["x"]`)

		r := read()
		after(leaseTTL / 15)
		require.Contains(t, record(), `"holds":["x"]`)
		require.NotContains(t, record(), `"done"`)
		require.NoError(t, r.Close())
		synctest.Wait()
		require.Contains(t, record(), `"done":["x"]`)
		m.line.down.Store(true) // and when it can't tell
		read()
		m.line.down.Store(false)
		require.NoError(t, m.session.Close())
		require.NotContains(t, record(), "x", "the other one gets no wrong word")
		_, err := src.OpenReader(t.Context(), weaver.Lane{Split: m.split("x")})
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err), "nobody will revoke it any more")
	})
}

// A lane that can't hear of a revocation reads no more once the lease has run out.
func TestLeasedReaderStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newLeaseGroup(1)
		g.source.Add("s00", weaver.Record[string]{Value: "a"}, weaver.Record[string]{Value: "b"})
		l := &line{Store: g.store}
		src := g.leased(l)
		s := openSplits(t, src)
		c, err := s.Next(t.Context())
		require.NoError(t, err)
		require.Len(t, c.Add, 1)
		r, err := src.OpenReader(t.Context(), weaver.Lane{Split: c.Add[0]})
		require.NoError(t, err)
		_, err = r.Read(t.Context(), weaver.NewBatch[string](1, 0))
		require.NoError(t, err)
		_, isAcker := weaver.As[weaver.Acker](r)
		require.True(t, isAcker)

		l.down.Store(true)
		after(leaseTTL)
		_, err = r.Read(t.Context(), weaver.NewBatch[string](1, 0))
		require.ErrorContains(t, err, "has run out")
		require.Equal(t, retry.ClassUnmarked, retry.ClassOf(err))
		require.NoError(t, r.Close())
		_, err = src.OpenReader(t.Context(), weaver.Lane{Split: c.Add[0]})
		require.ErrorContains(t, err, "has run out")
		require.ErrorContains(t, s.Close(), "the leases last for another 15s")

		r, err = src.OpenReader(t.Context(), weaver.Lane{Split: weaver.Split{ID: "s00"}})
		require.NoError(t, err, "without a session there are no leases")
		require.NoError(t, r.Close())
		require.NoError(t, g.source.Check())
	})
}

// A source that is one split goes on elsewhere.
func TestLeasedOneSplit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := checkpoint.NewMemory()
		out := weavertest.NewSink[int]()
		out.Hook = func(ctx context.Context, _ weavertest.Call, _ string) error { return retry.Sleep(ctx, time.Second) }
		run := func(ctx context.Context) error {
			p := weaver.Copy[int](weaver.Leased(list(below(100)...), store, "one"), out)
			p.Name, p.Checkpoint, p.BatchSize = "one", store, 5
			return p.Run(ctx)
		}
		var wg sync.WaitGroup
		first, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		errs := make([]error, 2)
		wg.Go(func() { errs[0] = run(first) })
		synctest.Wait()
		wg.Go(func() { errs[1] = run(t.Context()) })
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		require.Equal(t, below(100), out.Values())
		_, _, err := store.Load(t.Context(), "one")
		require.NoError(t, err)
	})
}

// The session of the source is asked as the contract says, and its splits come through as they are.
func TestLeasedInnerSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newSpoken()
		b := newBoard()
		l := &line{Store: checkpoint.NewMemory()}
		src := weaver.Leased[string](in, l, "g")
		src.Owner = "m"
		m := b.join(t, src, l, time.Second)
		in.says <- weaver.Change{Add: []weaver.Split{{ID: "a", Handle: 1, Bounded: true}, {ID: "b", Handle: 2}}}
		synctest.Wait()
		require.Equal(t, []string{"a", "b"}, b.of(m))
		require.True(t, m.split("a").Bounded)
		require.False(t, m.split("b").Bounded)
		r, err := src.OpenReader(t.Context(), weaver.Lane{Split: m.split("b")})
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.Equal(t, map[string]any{"b": 2}, in.handles)

		in.fails <- errOutage
		synctest.Wait()
		require.Len(t, m.heard(), 1)
		require.Equal(t, 2, in.nexts(), "the engine waits")
		after(time.Second)
		require.Equal(t, 3, in.nexts())

		by := time.Now().Add(500 * time.Millisecond)
		in.says <- weaver.Change{Revoke: []string{"a", "x"}, Add: []weaver.Split{{ID: "a", Handle: 3}}, By: by}
		synctest.Wait()
		require.Equal(t, weaver.Change{Revoke: []string{"a"}, By: by}, m.lastRevoke())
		require.Equal(t, 3, in.nexts(), "not before it is carried out")
		after(time.Second)
		require.Equal(t, 4, in.nexts())
		require.Equal(t, []string{"a", "b"}, b.of(m), "handed back")
		r, err = src.OpenReader(t.Context(), weaver.Lane{Split: m.split("a")})
		require.NoError(t, err)
		require.Equal(t, 3, in.handles["a"])
		_, err = r.Read(t.Context(), weaver.NewBatch[string](1, 0))
		require.Equal(t, io.EOF, err)
		require.NoError(t, r.Close())
		after(leaseTTL) // its end is in the record
		b.release(m, "a")
		in.says <- weaver.Change{Revoke: []string{"a", "b"}}
		after(leaseTTL)
		require.Empty(t, b.of(m))
		require.False(t, m.lastRevoke().By.IsZero(), "no longer than the leases last")
		in.says <- adds("a")
		synctest.Wait()
		require.Equal(t, []string{"a"}, b.of(m), "there is one of that name again")
		in.says <- weaver.Change{Revoke: []string{"a"}}
		after(leaseTTL)
		in.says <- adds("c")
		close(in.says)
		synctest.Wait()
		require.Equal(t, []string{"c"}, b.of(m))
		r, err = src.OpenReader(t.Context(), weaver.Lane{Split: m.split("c")})
		require.NoError(t, err)
		_, err = r.Read(t.Context(), weaver.NewBatch[string](1, 0))
		require.Equal(t, io.EOF, err)
		require.NoError(t, r.Close())
		synctest.Wait()
		require.Equal(t, io.EOF, m.failure())
		m.stop(t)
		require.Equal(t, 1, in.closed)
		b.check(t)
	})
}

// With After, a pipeline ends when its own splits have, though other members go on.
func TestLeasedFinish(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{true, false} { // whether the session is told before it knows any splits
		synctest.Test(t, func(t *testing.T) {
			r := newLeasedRun(6, 5)
			r.source.Endless = true
			sink := weavertest.NewSink[int]()
			if !first {
				sink.Faults = []weavertest.Fault{{Wait: time.Minute}}
			}
			before := weaver.Copy(list(1), sink)
			other := r.pipeline(r.leases)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			if !first {
				go func() { ended <- other.Run(ctx) }()
				synctest.Wait()
			}
			p := r.pipeline(r.leases)
			p.After = before
			require.NoError(t, weaver.Run(t.Context(), before, p))
			if first {
				require.Equal(t, r.want, r.got())
				go func() { ended <- other.Run(ctx) }()
			}
			for split := range 6 { // what comes now is the other's
				r.add(fmt.Sprintf("s%02d", split), 3)
			}
			after(2 * leaseTTL)
			require.Equal(t, r.want, r.got())
			cancel()
			require.NoError(t, <-ended)
			require.NoError(t, r.source.Check())
		})
	}
}

func TestLeasedKeepsWhatTheSourceCan(t *testing.T) {
	t.Parallel()
	store := checkpoint.NewMemory()
	queue := weavertest.NewSource(1)
	queue.IsQueue = true
	src := weaver.Leased[int](queue, store, "g")
	q, ok := weaver.As[weaver.Queue](src)
	require.True(t, ok)
	require.True(t, q.Queue())
	in := newSpoken()
	in.health = errOutage
	h, ok := weaver.As[weaver.HealthChecker](weaver.Leased[string](in, store, "g"))
	require.True(t, ok)
	require.ErrorIs(t, h.CheckHealth(t.Context()), errOutage)
	require.Equal(t, "weaver.Leased(weaver.FromSeq)", weaver.Leased(list(1), store, "g").String())
}

func TestLeasedFields(t *testing.T) {
	t.Parallel()
	store := checkpoint.NewMemory()
	for want, src := range map[string]*weaver.LeasedSource[int]{
		"source is nil":                weaver.Leased[int](nil, store, "g"),
		"store is nil":                 weaver.Leased(list(1), nil, "g"),
		"name is empty":                weaver.Leased(list(1), store, ""),
		"TTL is -1ns":                  {TTL: -1},
		`Owner is "\xff": must be val`: {Owner: "\xff"},
	} {
		_, err := src.Splits(t.Context())
		require.ErrorContains(t, err, want)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
	_, err := weaver.Leased[int](nil, store, "g").OpenReader(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, "source is nil")
}

// IDs are any bytes.
func TestLeasedIDs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newLeaseGroup(0)
		ids := []string{"", "\"", "\"a\"", "\xff", "\xfe", "ü", "a/b", "<&>", "\x00", "\\xff", "\"\\xff\""}
		for _, id := range ids {
			g.source.Add(id)
		}
		slices.Sort(ids)
		a := g.member(t, 0)
		synctest.Wait()
		require.Equal(t, ids, g.of(a))
		b := g.member(t, 0)
		after(leaseTTL)
		all := append(g.of(a), g.of(b)...)
		slices.Sort(all)
		require.Equal(t, ids, all)
		require.Equal(t, []int{6, 5}, g.sizes(a, b))
		g.check(t)
	})
}

func TestLeasedForeignRecord(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"":                                    "no record of leases",
		"\x01abc":                             "no record of leases",
		`{"version":2}`:                       "of version 2",
		`{"members":[]}`:                      "no record of leases",
		`{"members":{"x":{"holds":[1]}}}`:     "no record of leases",
		`{"members":{"x":{"holds":["\"a"]}}}`: "no record of leases",
	} {
		store := checkpoint.NewMemory()
		_, err := store.Save(t.Context(), "g/leases", []byte(value), 0)
		require.NoError(t, err)
		p := weaver.Copy[int](weaver.Leased(list(1), store, "g"), weavertest.NewSink[int]())
		err = p.Run(t.Context())
		require.ErrorContains(t, err, want, value)
		require.ErrorContains(t, err, `"g/leases"`)
	}
}

func FuzzLeaseRecord(f *testing.F) {
	f.Add([]byte(`{"version":1,"members":{"m1":{"session":"x","beat":3,"ttl_ns":1000,"holds":["a","\"\\xff\""],"done":["b"]},"m2":{}}}`))
	f.Add([]byte(`{"version":1,"members":{"me":{"session":"","holds":["a","b"]}}}`))
	f.Add([]byte(`{"version":1,"members":{"x":{"ttl_ns":-9223372036854775808,"holds":["a"]},"y":{"holds":["a"],"done":["a"]}}}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		synctest.Test(t, func(t *testing.T) {
			store := checkpoint.NewMemory()
			_, err := store.Save(t.Context(), "g/leases", value, 0)
			require.NoError(t, err)
			in := newSpoken()
			b := newBoard()
			l := &line{Store: store}
			src := weaver.Leased[string](in, l, "g")
			src.Owner = "me"
			m := b.join(t, src, l, 0)
			in.says <- adds("a", "b", "c")
			after(3 * leaseTTL)
			if m.failure() == nil && !slices.Equal(b.of(m), []string{"a", "b", "c"}) {
				require.Contains(t, string(value), "ttl_ns", "whoever is in the record is dead")
			}
			b.check(t)
		})
	})
}

// TestLeasedCrash has three processes that read twenty splits, each into a file of its own, and kills two of them on the
// way. Nothing may be lost, and the last one ends when all is read.
func TestLeasedCrash(t *testing.T) {
	t.Parallel()
	const splits, records = 20, 150
	child := crash.Child(t, func(ctx context.Context, dir string) error {
		out, err := os.OpenFile(filepath.Join(dir, "out."+strconv.Itoa(os.Getpid())), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		store := checkpoint.NewFile(filepath.Join(dir, "store"))
		src := weaver.Leased[string](shards{splits, records}, store, "shards")
		src.TTL = 1500 * time.Millisecond
		p := weaver.Copy[string](src, weaver.SinkFunc[string](func(_ context.Context, b *weaver.Batch[string]) error {
			var lines strings.Builder
			for _, r := range b.Records {
				lines.WriteString(r.Value + "\n")
			}
			_, err := out.WriteString(lines.String())
			return err
		}))
		p.Name, p.Checkpoint, p.CheckpointInterval = "shards", store, 100*time.Millisecond
		p.BatchSize = 5
		p.RateLimit.Records = splits * records / 6 // six seconds for one, two for three
		return p.Run(ctx)
	})
	processes := make([]*exec.Cmd, 3)
	printed := make([]strings.Builder, len(processes))
	for i := range processes {
		cmd := child.Command()
		stdin, err := cmd.StdinPipe()
		require.NoError(t, err)
		defer stdin.Close()
		cmd.Stderr = &printed[i]
		require.NoError(t, cmd.Start())
		processes[i] = cmd
	}
	defer func() {
		for _, cmd := range processes {
			if cmd.ProcessState == nil {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}
		}
	}()
	output := func(cmd *exec.Cmd) string { return filepath.Join(child.Dir, "out."+strconv.Itoa(cmd.Process.Pid)) }
	for i, cmd := range processes[:2] {
		require.Eventually(t, func() bool { return len(readLines(t, output(cmd))) > 100+200*i }, time.Minute, 5*time.Millisecond, "each gets some")
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait())
	}
	err := processes[2].Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 100, exit.ExitCode(), "%s", printed[2].String())

	got, by := make(map[string]int), make([]int, 3)
	for i, cmd := range processes {
		for _, line := range readLines(t, output(cmd)) {
			got[line]++
			by[i]++
		}
	}
	doubled := 0
	for s := range splits {
		for n := range records {
			v := fmt.Sprintf("shard-%d/%d", s, n)
			require.Positive(t, got[v], "%s is lost", v)
			doubled += got[v] - 1
			delete(got, v)
		}
	}
	require.Empty(t, slices.Collect(maps.Keys(got)), "nothing else is there")
	require.Positive(t, by[2])
	require.Less(t, doubled, splits*records/2, "what is read again is what wasn't saved")
	t.Logf("records by process %v, %d of them twice", by, doubled)
}

// readLines returns the whole lines of a file: a kill may leave part of one.
func readLines(t *testing.T, path string) []string {
	data, err := os.ReadFile(path)
	if err != nil {
		require.ErrorIs(t, err, os.ErrNotExist)
		return nil
	}
	lines := strings.Split(string(data), "\n")
	return lines[:len(lines)-1]
}

// shards is a source of fixed splits with so many records each.
type shards struct{ splits, records int }

func (s shards) Splits(context.Context) (weaver.Splits, error) {
	n := newSpoken()
	n.says = make(chan weaver.Change, 1)
	var c weaver.Change
	for i := range s.splits {
		c.Add = append(c.Add, weaver.Split{ID: fmt.Sprintf("shard-%d", i), Bounded: true})
	}
	n.says <- c
	close(n.says)
	return spokenSplits{n}, nil
}

func (s shards) OpenReader(ctx context.Context, at weaver.Lane) (weaver.Reader[string], error) {
	return weaver.FromSeq(func(yield func(string, error) bool) {
		for n := range s.records {
			if !yield(fmt.Sprintf("%s/%d", at.Split.ID, n), nil) {
				return
			}
		}
	}).OpenReader(ctx, at)
}
