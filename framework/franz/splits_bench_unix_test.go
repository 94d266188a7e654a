//go:build unix

package franz

import (
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

// BenchmarkSplits is what a producer for each split costs: so many of them commit a transaction of 10 records per 100 ms, for
// 10 s an iteration. Run it with -benchtime 1x.
func BenchmarkSplits(b *testing.B) {
	for _, splits := range []int{4, 50, 200} {
		b.Run(strconv.Itoa(splits), func(b *testing.B) {
			fw := New(broker(b))
			defer fw.Close()
			out := unique("splits")
			require.NoError(b, fw.CreateStream(b.Context(), weaver.Stream{Name: out, Partitions: 8}))
			sink := fw.Transactional(out)
			sink.Checkpoints = unique("checkpoints")
			var before, after syscall.Rusage
			var memBefore, memAfter runtime.MemStats
			for b.Loop() {
				runtime.GC()
				runtime.ReadMemStats(&memBefore)
				goroutines := runtime.NumGoroutine()
				began := time.Now()
				writers := make([]weaver.Writer[[]byte], splits)
				var wg sync.WaitGroup
				for i := range writers {
					wg.Go(func() {
						w, err := sink.OpenWriter(b.Context(), weaver.Lane{Pipeline: unique("p"), Split: weaver.Split{ID: strconv.Itoa(i)}})
						if err == nil {
							_, err = w.(weaver.Checkpointer).Restore(b.Context())
						}
						if err != nil {
							b.Error(err)
							return
						}
						writers[i] = w
					})
				}
				wg.Wait()
				if b.Failed() {
					return
				}
				opened := time.Since(began)
				runtime.ReadMemStats(&memAfter)
				goroutines = runtime.NumGoroutine() - goroutines
				require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &before))
				var mu sync.Mutex
				var took []time.Duration
				end := time.Now().Add(10 * time.Second)
				for _, w := range writers {
					wg.Go(func() {
						for time.Now().Before(end) {
							next := time.Now().Add(100 * time.Millisecond)
							if err := w.Write(b.Context(), batch("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")); err != nil {
								b.Error(err)
								return
							}
							start := time.Now()
							if err := w.(weaver.Checkpointer).Commit(b.Context(), make([]byte, 40)); err != nil {
								b.Error(err)
								return
							}
							mu.Lock()
							took = append(took, time.Since(start))
							mu.Unlock()
							time.Sleep(time.Until(next))
						}
					})
				}
				wg.Wait()
				if b.Failed() {
					return
				}
				require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &after))
				slices.Sort(took)
				cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
				b.Logf("%d splits: opened in %v; %d commits in 10 s, median %v, 99 %% %v; CPU of this process %v a commit, %.0f %% of a core; %d goroutines and %d KiB a split",
					splits, opened.Round(time.Millisecond), len(took), took[len(took)/2].Round(100*time.Microsecond), took[len(took)*99/100].Round(100*time.Microsecond),
					(cpu / time.Duration(len(took))).Round(time.Microsecond), 10*cpu.Seconds(), goroutines/splits, (memAfter.HeapInuse-memBefore.HeapInuse)>>10/uint64(splits))
				for _, w := range writers {
					require.NoError(b, w.Close())
				}
			}
		})
	}
}
