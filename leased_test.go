package weaver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/weavertest"
)

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
