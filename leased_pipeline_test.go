package weaver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
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
