package weaver_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
)

// simSeeds are the seeds of a property test: WEAVER_TEST_SEED alone, or so many; many more with WEAVER_PROOF=1.
func simSeeds(t *testing.T, short, proof int) []uint64 {
	t.Helper()
	if s := os.Getenv("WEAVER_TEST_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		return []uint64{n}
	}
	n := short
	if os.Getenv("WEAVER_PROOF") == "1" {
		n = proof
	}
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = uint64(i + 1)
	}
	return seeds
}

// simChunk is how many seeds share a subtest.
const simChunk = 25

func runSeeds(t *testing.T, short, proof int, draw func(seed uint64) *simConfig) {
	t.Helper()
	t.Parallel()
	seeds := simSeeds(t, short, proof)
	for len(seeds) > 0 && !t.Failed() {
		chunk := seeds[:min(simChunk, len(seeds))]
		seeds = seeds[len(chunk):]
		t.Run(fmt.Sprintf("seeds%d", chunk[0]), func(t *testing.T) {
			for _, seed := range chunk {
				c := draw(seed)
				if os.Getenv("WEAVER_TEST_VERBOSE") != "" {
					fmt.Fprintf(os.Stderr, "WEAVER_TEST_SEED=%d %v\n", seed, c)
				}
				synctest.Test(t, func(t *testing.T) { simulate(t, c) })
			}
		})
	}
}

// simulate runs pipelines on one durable world until all is done.
func simulate(t *testing.T, c *simConfig) {
	w := newWorld(t, c)
	var store checkpoint.Store
	if c.store {
		store = simStore{w, checkpoint.NewMemory()}
	}
	for run := 1; run <= c.runs; run++ {
		last := run == c.runs
		w.mu.Lock()
		w.calm = last && c.runs > 1
		w.live = map[int]*simReader{}
		w.mu.Unlock()
		p := simPipeline(w, store)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		if !last {
			go func() {
				select {
				case <-time.After(time.Duration(w.intn(int(c.cancelWithin)))):
				case <-ctx.Done():
				}
				cancel()
			}()
		} else if c.unbounded {
			go w.cancelWhenDone(ctx, cancel)
		}
		var err error
		select {
		case err = <-ended:
		case <-time.After(time.Hour):
			buf := make([]byte, 1<<20)
			panic(fmt.Sprintf("Run hangs; WEAVER_TEST_SEED=%d: %v\nviolations: %v\n%s", c.seed, c, w.bad, buf[:runtime.Stack(buf, true)]))
		}
		stopped := ctx.Err() != nil
		cancel()
		if err != nil && (w.calm || !stopped) { // what fails while it stops isn't tried again
			w.bad = append(w.bad, fmt.Sprintf("run %d of %d: %v", run, c.runs, err))
		}
		if s := p.Stats(); s.InFlight.Batches != 0 || s.InFlight.Bytes != 0 || err == nil && !stopped && len(s.Lanes) != 0 {
			w.bad = append(w.bad, fmt.Sprintf("in flight after Run: %+v, lanes %+v", s.InFlight, s.Lanes))
		}
		w.mu.Lock()
		for _, what := range w.open {
			w.violate("run %d (%v): %s was not closed", run, err, what)
		}
		clear(w.open)
		stop := len(w.bad) > 0
		w.mu.Unlock()
		if stop {
			break
		}
	}
	if len(w.bad) == 0 {
		w.finish()
	}
	if len(w.bad) > 0 {
		t.Errorf("WEAVER_TEST_SEED=%d repeats it: %v\n%s", c.seed, c, strings.Join(w.bad, "\n"))
	}
}

func simPipeline(w *simWorld, store checkpoint.Store) *weaver.Pipeline[simItem, simItem] {
	c := w.c
	p := weaver.NewPipeline(w.source(), w.processor(), w.sinkOf())
	p.Name = "sim"
	p.DeadLetter = simLetters{w}
	p.Retry = retry.Policy{Initial: time.Millisecond, Max: 50 * time.Millisecond}
	p.Checkpoint = store
	p.BatchSize, p.Writers, p.Parallelism = c.batchSize, c.writers, c.parallelism
	p.BatchDelay, p.CheckpointInterval, p.MaxInFlightBytes = c.batchDelay, c.interval, c.inFlight
	p.MaxLanes = 3
	if !w.calm {
		p.StopTimeout = c.stopTimeout
	}
	p.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	if os.Getenv("WEAVER_TEST_VERBOSE") == "2" {
		p.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	p.Scribble = true
	return p
}

// cancelWhenDone stops an unbounded pipeline when all is done, or when nothing has moved for long.
func (w *simWorld) cancelWhenDone(ctx context.Context, cancel func()) {
	defer cancel()
	last, since := -1, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
		w.mu.Lock()
		sum := 0
		for s := range w.c.splits {
			switch {
			case w.c.acker:
				sum += w.acked[s]
			case w.c.store || w.c.sink == sinkCheckpointer:
				sum += max(0, w.saved[s])
			default:
				for _, x := range w.sunk[s] {
					for _, n := range x {
						sum += n
					}
				}
				for _, n := range w.dead[s] {
					sum += n
				}
			}
		}
		w.mu.Unlock()
		if sum != last {
			last, since = sum, time.Now()
		}
		if sum == w.c.n*w.c.splits && (w.c.acker || w.c.store || w.c.sink == sinkCheckpointer) || time.Since(since) > time.Minute {
			return
		}
	}
}

func TestPropertyAnything(t *testing.T) { runSeeds(t, 300, 20000, drawConfig) }

// TestPropertyStops cancels many Runs on one world, sooner or later.
func TestPropertyStops(t *testing.T) {
	runSeeds(t, 100, 5000, func(seed uint64) *simConfig {
		c := drawConfig(seed + 1e6)
		c.seed = seed
		c.runs = 8
		if !c.acker && c.sink != sinkCheckpointer {
			c.store = true // somebody must remember
		}
		return c
	})
}

// TestPropertyRebalance revokes and adds splits again and again, with everything slow.
func TestPropertyRebalance(t *testing.T) {
	runSeeds(t, 100, 5000, func(seed uint64) *simConfig {
		c := drawConfig(seed + 2e6)
		c.seed = seed
		if c.queue {
			return c
		}
		c.splits, c.rebalance, c.steps = 5, true, 30
		c.slowWrite, c.slowStage = 2*time.Millisecond, time.Millisecond
		if !c.acker && c.sink != sinkCheckpointer {
			c.store = true
		}
		return c
	})
}
