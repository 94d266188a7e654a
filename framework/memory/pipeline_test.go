package memory_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/memory"
	"github.com/bohica-labs/dataweaver/weavertest"
)

var discard = slog.New(slog.DiscardHandler)

// produced is a source of n records with one of so many keys each; the values count.
func produced(n, keys int) *weavertest.Source[[]byte] {
	s := weavertest.NewSource[[]byte]()
	for i := range n {
		s.Add("", weaver.Record[[]byte]{Value: []byte(strconv.Itoa(i)), Key: []byte(strconv.Itoa(i % keys))})
	}
	return s
}

func setUp[In, Out any](p *weaver.Pipeline[In, Out]) *weaver.Pipeline[In, Out] {
	p.Log, p.Scribble, p.BatchSize = discard, true, 7
	return p
}

// arrived returns the values of a sink, and checks that each of n is there and that those of a key came in order,
// repeated ones aside.
func arrived(t *testing.T, sink *weavertest.Sink[[]byte], n int) []int {
	t.Helper()
	var got []int
	last, seen := map[string]int{}, map[int]bool{}
	for _, r := range sink.Durable() {
		v, err := strconv.Atoi(string(r.Value))
		require.NoError(t, err)
		got = append(got, v)
		if before, ok := last[string(r.Key)]; ok && !seen[v] {
			require.Greater(t, v, before, "key %s", r.Key)
		}
		seen[v] = true
		last[string(r.Key)] = max(v, last[string(r.Key)])
	}
	require.Len(t, seen, n)
	return got
}

// TestBackpressure sends much through a stream that holds little.
func TestBackpressure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 5000
		fw := memory.New()
		fw.MaxBytes = 8 << 10
		require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: "s", Partitions: 3}))
		sink := weavertest.NewSink[[]byte]()
		sink.Faults = []weavertest.Fault{{Times: -1, Wait: time.Millisecond}}
		in := setUp(weaver.Copy[[]byte](produced(n, 50), fw.Produce("s")))
		out := setUp(weaver.Copy[[]byte](fw.Consume("s", "g"), sink))
		out.After = in
		start := time.Now()
		require.NoError(t, weaver.Run(t.Context(), in, out))
		require.Len(t, arrived(t, sink, n), n, "nothing went wrong, so nothing came twice")
		require.Less(t, time.Since(start), time.Minute, "a reader at the end asks for its Ack at once")
	})
}

// TestMembersComeAndGo lets consumers of one group start and stop at random while records arrive.
func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		t.Run(strconv.Itoa(int(seed)), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const n = 4000
				rnd := rand.New(rand.NewPCG(seed, 7))
				fw := memory.New()
				require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: "s", Partitions: 5}))
				sink := weavertest.NewSink[[]byte]()
				sink.Faults = []weavertest.Fault{{Times: -1, Wait: 3 * time.Millisecond}}
				source := produced(n, 50)
				source.ReadSize = 10
				source.Faults = []weavertest.Fault{{Times: -1, Wait: 20 * time.Millisecond}}
				in := setUp(weaver.Copy[[]byte](source, fw.Produce("s")))
				produce := make(chan error, 1)
				go func() { produce <- in.Run(t.Context()) }()

				type member struct {
					stop context.CancelFunc
					done chan error
				}
				var members []member
				for range 60 {
					time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond)
					if i := rnd.IntN(6); i < len(members) {
						members[i].stop()
						require.NoError(t, <-members[i].done)
						members = slices.Delete(members, i, i+1)
						continue
					}
					ctx, stop := context.WithCancel(t.Context())
					m := member{stop, make(chan error, 1)}
					p := setUp(weaver.Copy[[]byte](fw.Consume("s", "g"), sink))
					go func() { m.done <- p.Run(ctx) }()
					members = append(members, m)
				}
				require.NoError(t, <-produce)
				for _, m := range members {
					m.stop()
					require.NoError(t, <-m.done)
				}
				last := setUp(weaver.Copy[[]byte](fw.Consume("s", "g"), sink))
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				done := make(chan error, 1)
				go func() { done <- last.Run(ctx) }()
				require.NoError(t, sink.Wait(t.Context(), n))
				time.Sleep(time.Minute)
				stop()
				require.NoError(t, <-done)
				require.Len(t, arrived(t, sink, n), n, "every partition was handed over in good order, so nothing came twice")
			})
		})
	}
}

// TestDrainOutlastsTheRebalance stalls a sink for longer than a revoked partition may be kept: nothing is lost, and the
// one who lost it acknowledges nothing afterwards.
func TestDrainOutlastsTheRebalance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 400
		fw := memory.New()
		fw.RebalanceTimeout = 6 * time.Second
		require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: "s", Partitions: 2}))
		require.NoError(t, setUp(weaver.Copy[[]byte](produced(n, 50), fw.Produce("s"))).Run(t.Context()))
		stalled, other := weavertest.NewSink[[]byte](), weavertest.NewSink[[]byte]()
		stalled.Faults = []weavertest.Fault{{At: 50, Wait: 9 * time.Second, Deaf: true}}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 2)
		run := func(sink *weavertest.Sink[[]byte]) {
			p := setUp(weaver.Copy[[]byte](fw.Consume("s", "g"), sink))
			go func() { done <- p.Run(ctx) }()
		}
		run(stalled)
		require.NoError(t, stalled.Wait(ctx, 50))
		time.Sleep(100 * time.Millisecond)
		run(other)
		soon, cancel := context.WithTimeout(ctx, 8*time.Second)
		defer cancel()
		require.NoError(t, other.Wait(soon, 1), "the other doesn't wait for the stalled one")
		time.Sleep(time.Minute)
		stop()
		require.NoError(t, <-done)
		require.NoError(t, <-done)

		seen := make(map[string]bool)
		for _, r := range append(stalled.Durable(), other.Durable()...) {
			seen[string(r.Value)] = true
		}
		require.Len(t, seen, n)
		require.NotEmpty(t, other.Durable())
		require.NoError(t, stalled.Check())
	})
}
