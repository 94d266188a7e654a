package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if child, err := peakChild(); child {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// Both sides of every scenario move a few records and find them all.
func TestScenarios(t *testing.T) {
	d := newFolder(1)
	d.path = t.TempDir()
	for _, s := range scenarios(d) {
		s.records = min(s.records, 3001)
		t.Run(s.name, func(t *testing.T) {
			m, err := s.measure(1)
			if errors.Is(err, errNoBroker) && os.Getenv("CI") != "true" {
				t.Skip("there is no Kafka broker: run internal/services/with kafka -- go test ./..., or set WEAVER_TEST_KAFKA to host:port")
			}
			require.NoError(t, err)
			require.Positive(t, m.ns)
			require.Regexp(t, "^"+regexp.QuoteMeta(s.name)+" .*(ok|MISS)$", s.line(m))
		})
	}
}

func TestHandwrittenKeepsOrderAndTotals(t *testing.T) {
	t.Parallel()
	for _, batchSize := range []int{1, 7, 512} {
		for _, workers := range []int{1, 2, 5} {
			t.Run(fmt.Sprintf("batches of %d, %d workers", batchSize, workers), func(t *testing.T) {
				t.Parallel()
				out, err := runHandwritten(10_001, batchSize, workers)
				require.NoError(t, err)
				require.NoError(t, out.verify())
			})
		}
	}
}

func TestHandwrittenTriesAgainAndGivesUp(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, workers := range []int{1, 3} {
		for failures, want := range map[int64]error{mapperRetries: nil, mapperRetries + 1: broken} {
			t.Run(fmt.Sprintf("%d failures, %d workers", failures, workers), func(t *testing.T) {
				t.Parallel()
				var left atomic.Int64
				left.Store(failures)
				supplier, total := &recSupplier{n: 5_000}, &recTotal{}
				h := &handwritten{supplier: supplier, consumer: total, batchSize: 10, depth: 2, workers: workers}
				h.mappers = []mapper{func(_ context.Context, e *envelope) error {
					if e.position == 1_234 && left.Add(-1) >= 0 {
						return broken
					}
					return nil
				}}
				require.ErrorIs(t, h.run(t.Context()), want)
				require.Equal(t, min(failures, mapperRetries), h.counters.retries.Load())
				if want == nil {
					require.Equal(t, 5_000, total.count)
					require.EqualValues(t, 4_999, supplier.committed)
				} else {
					require.Equal(t, 1_230, total.count, "all batches before the broken one")
					require.EqualValues(t, 1_229, supplier.committed)
				}
			})
		}
	}
}

func TestHandwrittenStops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	h := &handwritten{supplier: &recSupplier{n: 1 << 60}, consumer: &recTotal{}, batchSize: 8, depth: 2, workers: 2}
	h.mappers = []mapper{func(_ context.Context, e *envelope) error {
		if e.position == 10_000 {
			cancel()
		}
		return nil
	}}
	require.ErrorIs(t, h.run(ctx), context.Canceled)
}

func TestMeasure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		taking := func(d time.Duration) side {
			return func(int) (outcome, error) {
				time.Sleep(d) // the bubble's clock: exactly d
				return outcome{verify: func() error { return nil }, goroutines: int(d / time.Millisecond)}, nil
			}
		}
		s := scenario{name: "sleep", records: 1000, ours: taking(5 * time.Millisecond), baseline: taking(20 * time.Millisecond)}
		m, err := s.measure(3)
		require.NoError(t, err)
		m.allocs = 0 // other tests run beside this one
		require.Equal(t, measured{ns: 5000, baseline: 20_000, speed: 4, elapsed: 5 * time.Millisecond, goroutines: 5}, m)

		s.pairs = 1
		began := time.Now()
		_, err = s.measure(3)
		require.NoError(t, err)
		require.Equal(t, 50*time.Millisecond, time.Since(began), "one pair to warm up and one that counts")

		wrong := errors.New("a record is missing")
		s.baseline = func(int) (outcome, error) { return outcome{verify: func() error { return wrong }}, nil }
		_, err = s.measure(3)
		require.ErrorIs(t, err, wrong)
	})
}

func TestMedian(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 3, median([]float64{9, 1, 3}), 0)
	require.InDelta(t, 2.5, median([]float64{4, 1, 3, 2}), 0)
}

func TestBars(t *testing.T) {
	t.Parallel()
	m := measured{ns: 10, baseline: 8, speed: 0.8, allocs: 0.002, elapsed: time.Second, goroutines: 7, checkpoint: 900, resident: 40 << 20}
	for _, c := range []struct {
		bar  bar
		text string
		met  bool
	}{
		{speedAtLeast(0.8), "speed >= 0.80", true},
		{speedAtLeast(0.85), "speed >= 0.85", false},
		{allocsAtMost(0.002), "allocs <= 0.002", true},
		{allocsAtMost(0.001), "allocs <= 0.001", false},
		{overheadAtMost(2), "overhead 2.0 ns <= 2", true},
		{overheadAtMost(1.5), "overhead 2.0 ns <= 1.5", false},
		{elapsedAtMost(time.Second), "1s <= 1s", true},
		{elapsedAtMost(time.Millisecond), "1s <= 1ms", false},
		{goroutinesAtMost(7), "7 goroutines <= 7", true},
		{goroutinesAtMost(6), "7 goroutines <= 6", false},
		{checkpointAtMost(900), "checkpoint 900 bytes <= 900", true},
		{checkpointAtMost(899), "checkpoint 900 bytes <= 899", false},
		{residentAtMost(40 << 20), "40 MiB resident <= 40", true},
		{residentAtMost(39 << 20), "40 MiB resident <= 39", false},
	} {
		text, met := c.bar(m)
		require.Equal(t, c.text, text)
		require.Equal(t, c.met, met, text)
	}
}

// What a scenario does to a file shows: a line that is missing, twice, changed or elsewhere.
func TestCheckFile(t *testing.T) {
	t.Parallel()
	want := sum{}
	_, _ = want.Write([]byte("one\ntwo\nthree\n"))
	for content, ok := range map[string]bool{
		"one\ntwo\nthree\n":        true,
		"one\ntwo\nthree":          false,
		"one\nthree\n":             false,
		"one\nthree\ntwo\n":        false,
		"one\ntwo\nthree\nthree\n": false,
		"one\ntwo\nthreE\n":        false,
	} {
		path := filepath.Join(t.TempDir(), "out")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		err := checkFile("somebody", path, want, nil)
		if ok {
			require.NoError(t, err)
			require.NoFileExists(t, path)
		} else {
			require.ErrorContains(t, err, "somebody: ")
		}
	}
}

// The folder and all in it is gone when the bench ends.
func TestFolder(t *testing.T) {
	t.Parallel()
	d := newFolder(1)
	require.NoError(t, d.make())
	stop := d.removeIfInterrupted()
	in, want, err := ndjsonInput(d, 10)
	require.NoError(t, err)
	require.EqualValues(t, 10, want.lines)
	before, err := os.Stat(in)
	require.NoError(t, err)
	again, _, err := ndjsonInput(d, 10)
	require.NoError(t, err)
	require.Equal(t, in, again)
	after, err := os.Stat(in)
	require.NoError(t, err)
	require.Equal(t, before.ModTime(), after.ModTime())
	stop()
	require.NoError(t, d.remove())
	require.NoDirExists(t, d.path)
}

// The same seed makes the same people, so that figures of different days can be compared.
func TestPeople(t *testing.T) {
	t.Parallel()
	p := newPeople()
	quoted, sold := 0, 0
	for range 10_000 {
		p.next()
		if strings.Contains(p.note, `"`) {
			quoted++
		}
		if len(p.appendSale(nil)) > 0 {
			sold++
		}
	}
	require.InDelta(t, 500, quoted, 100)
	require.InDelta(t, 8000, sold, 200)
	q := newPeople()
	for range 10_000 {
		q.next()
	}
	require.Equal(t, string(p.appendNDJSON(nil)), string(q.appendNDJSON(nil)))
}
