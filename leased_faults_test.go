package weaver_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
)

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
