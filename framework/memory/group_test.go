package memory

import (
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

func TestRevokeIsCarriedOutBeforeTheNewOwnerReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fw := New()
		create(t, fw, weaver.Stream{Name: "s", Partitions: 2})
		for range 2 {
			write(t, fw, "s", batch("a", "a"))
		}
		c := fw.Consumer("s", "g")
		a := join(t, c)
		first := next(t, a)
		require.Equal(t, []string{"0", "1"}, ids(first.Add))
		ra := open(t, c, first.Add[1], nil)
		_, p := read(t, ra)

		b := join(t, c)
		start := time.Now()
		var got weaver.Change
		done := async(t.Context(), func(ctx context.Context) (err error) { got, err = b.Next(ctx); return err })
		change := next(t, a)
		require.Equal(t, []string{"1"}, change.Revoke)
		require.Empty(t, change.Add)
		require.Equal(t, time.Now().Add(defaultRebalanceTimeout), change.By)
		synctest.Wait()
		require.Empty(t, done, "the old owner isn't through yet")
		ack(t, ra, p) // the drain
		require.NoError(t, ra.Close())

		ctx, cancel := context.WithCancel(t.Context())
		again := async(ctx, func(ctx context.Context) error { _, err := a.Next(ctx); return err })
		require.NoError(t, <-done)
		require.Equal(t, []string{"1"}, ids(got.Add))
		require.Zero(t, time.Since(start), "no deadline was waited for")
		require.Empty(t, rest(t, open(t, c, got.Add[0], nil)), "what was acknowledged isn't read again")
		cancel()
		require.ErrorIs(t, <-again, context.Canceled)

		// B leaves: the partition comes back, under another generation.
		require.NoError(t, b.Close())
		change = next(t, a)
		require.Equal(t, []string{"1"}, ids(change.Add))
		require.NotEqual(t, first.Add[1].Handle, change.Add[0].Handle)
		_, err := b.Next(t.Context())
		require.ErrorContains(t, err, "left")
	})
}

func TestPartitionIsTakenAfterTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fw := New()
		fw.RebalanceTimeout = time.Minute
		create(t, fw, weaver.Stream{Name: "s", Partitions: 2})
		write(t, fw, "s", batch("a", "a"))
		c := fw.Consumer("s", "g")
		a := join(t, c)
		sp := next(t, a).Add[1]
		ra := open(t, c, sp, nil)
		_, p := read(t, ra)
		blocked := async(t.Context(), func(ctx context.Context) error {
			_, err := ra.Read(ctx, weaver.NewBatch[[]byte](0, 0))
			return err
		})
		b := join(t, c)
		start := time.Now()
		taken := next(t, b) // A doesn't come back to Next
		require.Equal(t, time.Minute, time.Since(start))
		require.Equal(t, []string{"1"}, ids(taken.Add))
		require.ErrorContains(t, <-blocked, "another member", "the old owner reads no more")
		ack(t, ra, p)
		require.Equal(t, []string{"a"}, rest(t, open(t, c, taken.Add[0], nil)), "the late Ack was dropped")
		_, err := c.OpenReader(t.Context(), weaver.Lane{Split: sp})
		require.ErrorContains(t, err, "another member")
		late := next(t, a)
		require.Equal(t, []string{"1"}, late.Revoke)
		require.False(t, late.By.After(time.Now()))
	})
}

func TestDeadlineIsNotPutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fw := New()
		fw.RebalanceTimeout = time.Minute
		create(t, fw, weaver.Stream{Name: "s", Partitions: 3})
		c := fw.Consumer("s", "g")
		require.Len(t, next(t, join(t, c)).Add, 3) // and doesn't come back
		b := join(t, c)
		start := time.Now()
		time.Sleep(40 * time.Second)
		join(t, c)
		require.Len(t, next(t, b).Add, 1)
		require.Equal(t, time.Minute, time.Since(start))
	})
}

func TestFinishedMembersKeepWhatTheyHave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fw := New()
		create(t, fw, weaver.Stream{Name: "s", Partitions: 2})
		c := fw.Consumer("s", "g")
		a := join(t, c)
		require.Len(t, next(t, a).Add, 2)
		require.NoError(t, a.(weaver.Finisher).Finish(t.Context()))
		_, err := a.Next(t.Context())
		require.Equal(t, io.EOF, err)

		b := join(t, c)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err = b.Next(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, a.Close())
		require.Len(t, next(t, b).Add, 2)
	})
}

func TestRemoveGroup(t *testing.T) {
	t.Parallel()
	fw := New()
	create(t, fw, weaver.Stream{Name: "s"})
	write(t, fw, "s", batch("a"))
	c := fw.Consumer("s", "g")
	n := join(t, c)
	r := open(t, c, next(t, n).Add[0], nil)
	_, p := read(t, r)
	ack(t, r, p)
	require.ErrorContains(t, fw.RemoveGroup("s", "g"), "1 members")
	require.NoError(t, n.Close())
	require.NoError(t, n.Close())
	require.NoError(t, fw.RemoveGroup("s", "g"))
	require.NoError(t, fw.RemoveGroup("s", "g"))
	require.Equal(t, []string{"a"}, rest(t, open(t, c, split(0), nil)))
}

// TestAssignment lets members come, go, finish and dawdle at random, and checks after each step that no partition is
// read by two, and in the end that all are shared evenly.
func TestAssignment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(200) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			partitions := 1 + rnd.IntN(9)
			g := &group{owners: make([]ownership, partitions)}
			var members []*member
			said := map[*member]map[int]int64{} // what each believes to own, and since which generation
			step := func(m *member) bool {
				g.giveUp(m)
				c, _, _ := g.change(m, time.Now())
				for _, id := range c.Revoke {
					require.False(t, c.By.IsZero())
					i := slices.Index([]string{"0", "1", "2", "3", "4", "5", "6", "7", "8"}, id)
					require.Contains(t, said[m], i)
					delete(said[m], i)
				}
				for _, sp := range c.Add {
					a := sp.Handle.(*assignment)
					for o, parts := range said {
						if gen, ok := parts[a.partition]; ok && o != m {
							require.NotEqual(t, gen, g.owners[a.partition].generation, "two owners at once")
						}
					}
					said[m][a.partition] = a.generation
				}
				return len(c.Add)+len(c.Revoke) > 0
			}
			for range 60 {
				switch k := rnd.IntN(10); {
				case k < 2 && len(members) < 5:
					m := g.join(time.Now(), time.Minute)
					members, said[m] = append(members, m), map[int]int64{}
				case k < 3 && len(members) > 0:
					i := rnd.IntN(len(members))
					g.leave(members[i], time.Now(), time.Minute)
					delete(said, members[i])
					members = slices.Delete(members, i, i+1)
				case k < 4:
					time.Sleep(time.Duration(rnd.IntN(90)) * time.Second)
				case len(members) > 0:
					step(members[rnd.IntN(len(members))])
				}
			}
			if len(members) == 0 {
				continue
			}
			for busy := true; busy; {
				busy = false
				for _, m := range members {
					busy = step(m) || busy
				}
			}
			total := 0
			for _, m := range members {
				n := len(said[m])
				total += n
				require.GreaterOrEqual(t, n, partitions/len(members), "seed %d", seed)
				require.LessOrEqual(t, n, (partitions+len(members)-1)/len(members), "seed %d", seed)
			}
			require.Equal(t, partitions, total, "seed %d", seed)
		}
	})
}
