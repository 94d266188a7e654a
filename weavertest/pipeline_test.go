package weavertest_test

import (
	"context"
	"log/slog"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/weavertest"
)

var discard = slog.New(slog.DiscardHandler)

// TestOutageOfMinutesTakesMilliseconds is what the package comment promises.
func TestOutageOfMinutesTakesMilliseconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := weavertest.NewSource(numbers(2000)...)
		sink := weavertest.NewSink[int]()
		sink.Faults = []weavertest.Fault{{At: 1000, Times: 20, Err: errBroken}}
		p := weaver.Copy[int](source, sink)
		p.Log, p.Retry.Jitter = discard, retry.NoJitter
		p.BatchSize = 100
		start := time.Now()
		require.NoError(t, p.Run(t.Context()))
		require.Greater(t, time.Since(start), 5*time.Minute)
		require.Equal(t, numbers(2000), sink.Values())
		require.Equal(t, 2000, source.Acked(""))
		require.NoError(t, source.Check())
		require.NoError(t, sink.Check())
	})
}

// TestEndlessPipelineIsStopped shows how to wait for what a pipeline does, and that a later one goes on.
func TestEndlessPipelineIsStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := checkpoint.NewMemory()
		source := weavertest.NewSource[int]()
		source.Endless = true
		sink := weavertest.NewSink[int]()
		for run := range 3 {
			p := weaver.Copy[int](source, sink)
			p.Log, p.Name, p.Checkpoint = discard, "copy", store
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- p.Run(ctx) }()
			for i := range 5 {
				time.Sleep(time.Second)
				source.Add("", weaver.Record[int]{Value: 5*run + i})
			}
			require.NoError(t, sink.Wait(ctx, 5*(run+1)))
			require.NoError(t, source.WaitAcked(ctx, "", 5*(run+1)))
			stop()
			require.NoError(t, <-done)
		}
		require.Equal(t, numbers(15), sink.Values())
		require.NoError(t, source.Check())
		require.NoError(t, sink.Check())
	})
}

// TestFaultsEverywhere runs pipelines through all faults there are, in all modes, and counts from the generator.
func TestFaultsEverywhere(t *testing.T) {
	t.Parallel()
	for _, mode := range []weavertest.Mode{weavertest.Plain, weavertest.Buffered, weavertest.Transactional} {
		for _, window := range []int{0, 7} {
			t.Run(strconv.Itoa(int(mode))+"/"+strconv.Itoa(window), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					source := &weavertest.Source[int]{Window: window, ReadSize: 5, PositionEvery: 3}
					for i := range 100 {
						source.Add(strconv.Itoa(i%3), weaver.Record[int]{Value: i})
					}
					source.Faults = []weavertest.Fault{
						{On: weavertest.CallSplits, Err: errBroken},
						{On: weavertest.CallOpen, At: 1, Times: 2, Err: errBroken},
						{Split: "1", At: 10, Times: 2, Err: errBroken},
						{Split: "2", At: 20, Wait: time.Minute},
						{On: weavertest.CallAck, At: 1, Err: errBroken, Lost: true},
						{On: weavertest.CallClose, Err: errBroken},
					}
					sink := &weavertest.Sink[int]{Mode: mode, DueEvery: 10}
					sink.Faults = []weavertest.Fault{
						{On: weavertest.CallOpen, Times: 2, Err: errBroken},
						{At: 10, Times: 2, Err: errBroken},
						{At: 30, Err: &weaver.BatchError{Records: []weaver.RecordError{{Index: 0, Err: retry.Transient(errBroken)}}}},
						{At: 40, Err: &weaver.BatchError{Err: retry.Transient(errBroken), RolledBack: true}},
						{On: weavertest.CallFlush, At: 2, Err: errBroken},
						{On: weavertest.CallCommit, At: 2, Err: errBroken, Lost: true},
						{On: weavertest.CallRestore, At: 1, Err: errBroken},
					}
					p := weaver.Copy[int](source, sink)
					p.Log = discard
					require.NoError(t, p.Run(t.Context()))
					got := make(map[int]int)
					for _, v := range sink.Values() {
						got[v]++
					}
					for i := range 100 {
						require.Positive(t, got[i], "record %d", i)
						if mode == weavertest.Transactional {
							require.Equal(t, 1, got[i], "record %d", i)
						}
					}
					for split, n := range map[string]int{"0": 34, "1": 33, "2": 33} {
						require.Equal(t, n, source.Acked(split))
					}
					require.NoError(t, source.Check())
					require.NoError(t, sink.Check())
				})
			})
		}
	}
}
