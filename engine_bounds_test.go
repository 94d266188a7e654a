package weaver_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
)

// Never more than MaxLanes of a thousand bounded splits are open at once, and all are read.
func TestMaxLanes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var open, most atomic.Int64
		source := &parts{ints: &ints{n: 10, step: 5, every: time.Millisecond}}
		source.open = func(weaver.Lane) error {
			most.Store(max(most.Load(), open.Add(1)))
			return nil
		}
		source.onClose = func() { open.Add(-1) }
		for i := range 1000 {
			source.ids = append(source.ids, weaver.Split{ID: strconv.Itoa(i), Bounded: true})
		}
		sink := &sunk[int]{}
		p := hushed(weaver.NewPipeline(source, weaver.Map(pass), sink))
		p.MaxLanes = 7
		require.NoError(t, p.Run(t.Context()))
		require.LessOrEqual(t, most.Load(), int64(7))
		require.Len(t, sink.all(), 10_000)
		require.Zero(t, open.Load())
	})
}

// A source that outruns a stuck sink is held back: what is in flight is bounded, and so is memory.
func TestMemoryIsFlatWhileTheSinkIsStuck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const limit, record, batch = 1 << 20, 1000, 64
		read := 0
		source := weaver.SourceFunc[[]byte](func(_ context.Context, _ weaver.Position, b *weaver.Batch[[]byte]) (weaver.Position, error) {
			for !b.Full() {
				b.Add().Value = b.Bytes(record)
				read++
			}
			return intPos(read), nil
		})
		stuck := true
		sink := weaver.SinkFunc[[]byte](func(ctx context.Context, _ *weaver.Batch[[]byte]) error {
			time.Sleep(time.Millisecond) // slow work is done by others than the goroutine that reads
			if stuck {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		p := hushed(weaver.NewPipeline(source, weaver.Pass[[]byte](), sink))
		p.Scribble = false
		p.BatchSize, p.MaxInFlightBytes, p.Writers, p.StopTimeout = batch, limit, 4, time.Second
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		time.Sleep(time.Hour)
		s := p.Stats()
		require.Less(t, s.InFlight.Bytes, int64(limit+2*batch*(record+200)))
		require.Less(t, read*record, 2*limit)
		before := read
		time.Sleep(time.Hour)
		require.Equal(t, before, read, "nothing more is read")
		cancel()
		require.ErrorIs(t, <-ended, weaver.ErrStopTimeout)
	})
}

// TestProofMemory is the same against the real clock and the real heap, for two seconds, or a minute with WEAVER_PROOF=1.
func TestProofMemory(t *testing.T) {
	length := 2 * time.Second
	if os.Getenv("WEAVER_PROOF") == "1" {
		length = time.Minute
	}
	const limit = 16 << 20
	n := 0
	source := weaver.SourceFunc[[]byte](func(_ context.Context, _ weaver.Position, b *weaver.Batch[[]byte]) (weaver.Position, error) {
		for !b.Full() {
			b.Add().Value = b.Bytes(4000)
			n++
		}
		return intPos(n), nil
	})
	sink := weaver.SinkFunc[[]byte](func(ctx context.Context, _ *weaver.Batch[[]byte]) error { return retry.Sleep(ctx, 20*time.Millisecond) })
	p := hushed(weaver.NewPipeline(source, weaver.Pass[[]byte](), sink))
	p.Scribble, p.MaxInFlightBytes, p.StopTimeout = false, limit, time.Second
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var most, used uint64
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	for {
		select {
		case err := <-ended:
			require.NoError(t, err)
			require.Less(t, most, uint64(4*limit), "heap in use, 4 MiB of it per MiB of MaxInFlightBytes at the most")
			t.Logf("%d MiB read in %v with %d MiB allowed in flight: at most %d MiB of heap", n*4000>>20, length, limit>>20, most>>20)
			return
		case <-tick.C:
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			used = m.HeapInuse
			most = max(most, used)
		}
	}
}

// A lane that waits for room that only it can make goes on when it fails.
func TestFailureWhileWaitingForRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		source := &ints{n: 200, step: 1}
		writes := 0
		sink := &kept{onWrite: func([]int) error {
			time.Sleep(time.Millisecond)
			if writes++; writes%29 == 0 {
				return errOut
			}
			return nil
		}, onFlush: func([]int) error { return nil }}
		p := hushed(weaver.NewPipeline(source, weaver.Map(pass), sink))
		p.BatchSize, p.MaxInFlightBytes, p.CheckpointInterval = 1, 1, 5*time.Millisecond
		require.NoError(t, runWithin(t, p, time.Hour))
		require.Subset(t, sink.all(), below(200))
	})
}

func TestRateLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		start := time.Now()
		p := hushed(weaver.NewPipeline(&ints{n: 5000}, weaver.Map(pass), &sunk[int]{}))
		p.RateLimit.Records = 100
		require.NoError(t, p.Run(t.Context()))
		require.InDelta(t, 50, time.Since(start).Seconds(), 1)

		start = time.Now()
		source := weaver.SourceFunc[int](func(_ context.Context, after weaver.Position, b *weaver.Batch[int]) (weaver.Position, error) {
			n := posInt(after)
			for !b.Full() && n < 1000 {
				b.Add()
				b.Weigh(1000)
				n++
			}
			if n == 1000 {
				return intPos(n), io.EOF
			}
			return intPos(n), nil
		})
		p = hushed(weaver.NewPipeline(source, weaver.Map(pass), &sunk[int]{}))
		p.RateLimit.Bytes, p.BatchBytes = 10_000, 5000
		require.NoError(t, p.Run(t.Context()))
		require.InDelta(t, 100, time.Since(start).Seconds(), 2)
	})
}

// A source transaction of any size goes through without a checkpoint inside of it.
func TestHugeTransaction(t *testing.T) {
	for _, commits := range []bool{false, true} {
		t.Run(fmt.Sprint(commits), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				source := &ints{n: 100_000, step: 100, txn: 100_000, acks: true, every: time.Millisecond}
				source.onAck = func(n int) error {
					require.Equal(t, 100_000, n)
					return nil
				}
				sink := &kept{commits: commits, due: true}
				p := hushed(weaver.NewPipeline(source, weaver.Map(pass), sink))
				p.MaxInFlightBytes = 1 << 16
				require.NoError(t, p.Run(t.Context()))
				require.Equal(t, below(100_000), sink.all())
				if commits {
					require.Equal(t, 1, sink.flushes)
				}
			})
		})
	}
}

// What many lanes bring in small portions is written together.
func TestMergedWrites(t *testing.T) {
	bubble(t, func(t *testing.T) {
		source := &parts{ints: &ints{n: 50, step: 1, every: time.Millisecond}}
		for i := range 100 {
			source.ids = append(source.ids, weaver.Split{ID: strconv.Itoa(i)})
		}
		sink := &sunk[int]{write: func(context.Context, int, *weaver.Batch[int]) error {
			time.Sleep(10 * time.Millisecond)
			return nil
		}}
		p := hushed(weaver.NewPipeline(source, weaver.Map(pass), sink))
		require.NoError(t, p.Run(t.Context()))
		require.Len(t, sink.all(), 5000)
		require.Less(t, sink.calls, 200, "calls of Write for 5000 reads of one record")
	})
}

// BatchDelay makes large batches of small reads, and bounds how long a record waits.
func TestBatchDelay(t *testing.T) {
	for _, commits := range []bool{false, true} {
		t.Run(fmt.Sprint(commits), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				source := &ints{n: 1000, step: 1, every: time.Millisecond}
				calls := 0
				sink := &kept{commits: commits, onWrite: func(v []int) error {
					calls++
					return nil
				}}
				p := hushed(weaver.NewPipeline(source, weaver.Map(pass), sink))
				p.BatchSize, p.BatchDelay = 10, time.Hour // more reads than there are units: the lane must not wait for itself
				require.NoError(t, runWithin(t, p, time.Minute))
				require.Equal(t, below(1000), sink.all())
				require.LessOrEqual(t, calls, 200)
			})
		})
	}
}

// Batches that are full at once need no delay.
func TestBatchDelayOfFullBatches(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sink := &sunk[int]{write: func(context.Context, int, *weaver.Batch[int]) error {
			time.Sleep(time.Millisecond)
			return nil
		}}
		p := hushed(weaver.NewPipeline(&ints{n: 1003}, weaver.Map(pass), sink))
		p.BatchSize, p.BatchDelay = 10, time.Second
		require.NoError(t, runWithin(t, p, time.Minute))
		require.Equal(t, below(1003), sink.all())
	})
}

// More reads than a lane may have in flight, all too small to be written before BatchDelay: the lane makes room itself.
func TestBatchDelayWithoutRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sink := &kept{commits: true}
		p := hushed(weaver.NewPipeline(&ints{n: 500, step: 1}, weaver.Map(pass), sink))
		p.BatchSize, p.BatchDelay = 512, time.Hour
		require.NoError(t, runWithin(t, p, time.Minute))
		require.Equal(t, below(500), sink.all())
	})
}

// With many writers, some of them slow, the records of a key stay in order.
func TestOrderPerKeyWithManyWriters(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const n, keys = 20_000, 37
		source := &ints{n: n, step: 50, acks: true, key: func(i int) []byte { return strconv.AppendInt(nil, int64(i%keys), 10) }}
		source.onAck = func(int) error { return nil }
		sink := &sunk[int]{}
		var fails atomic.Int64
		sink.write = func(_ context.Context, call int, b *weaver.Batch[int]) error {
			time.Sleep(time.Duration(1+call%7) * time.Millisecond)
			if call%11 == 0 {
				fails.Add(1)
				return errOut
			}
			if call%13 == 0 && len(b.Records) > 2 {
				return &weaver.BatchError{RolledBack: true, Records: []weaver.RecordError{{Index: 1, Err: errOut}}}
			}
			return nil
		}
		p := hushed(weaver.NewPipeline(source, weaver.Map(pass), sink))
		p.Writers, p.Parallelism, p.Retry = 8, 3, retry.Policy{Initial: time.Millisecond}
		p.DeadLetter = &dead{}
		require.NoError(t, p.Run(t.Context()))
		require.NotZero(t, fails.Load())
		last := map[string]int{}
		got := sink.all()
		require.Len(t, got, n)
		for i, v := range got {
			if before, ok := last[sink.keys[i]]; ok {
				require.Less(t, before, v, "key %s", sink.keys[i])
			}
			last[sink.keys[i]] = v
		}
		require.EqualValues(t, n, source.acked.Load())
	})
}

// A stage has one caller also when it turns from slow to quick, so that the work moves from a worker back to the
// goroutine that reads.
func TestStageTurnsQuick(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var busy atomic.Bool
		batches := 0
		stage := weaver.StageFunc[int, int](func(_ context.Context, in *weaver.Batch[int], out *weaver.Emitter[int]) error {
			if !busy.CompareAndSwap(false, true) {
				t.Error("two calls at once")
			}
			defer busy.Store(false)
			batches++
			if batches%60 < 30 {
				time.Sleep(time.Millisecond)
			} else if batches%3 == 0 {
				time.Sleep(10 * time.Microsecond)
			}
			for i := range in.Records {
				out.Emit(i, in.Records[i])
			}
			return nil
		})
		sink := &sunk[int]{}
		p := hushed(weaver.NewPipeline(&ints{n: 20_000, step: 20, every: 7 * time.Microsecond}, weaver.Processor[int, int](stage), sink))
		require.NoError(t, p.Run(t.Context()))
		require.Equal(t, below(20_000), sink.all())
	})
}

// Slow work moves from goroutine to goroutine and keeps the order of a lane, whatever runs beside it.
func TestOrderWithParallelStages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		process := weaver.MapContext(func(_ context.Context, v int) (int, error) {
			if v%10 == 0 {
				time.Sleep(time.Duration(v*7919%13) * time.Millisecond)
			}
			return v, nil
		})
		sink := &kept{commits: true}
		p := hushed(weaver.NewPipeline(&ints{n: 5000, step: 10, acks: true}, process, sink))
		p.Name, p.Parallelism, p.Checkpoint = "p", 5, checkpoint.NewMemory()
		start := time.Now()
		require.NoError(t, p.Run(t.Context()))
		require.Equal(t, below(5000), sink.all())
		require.Less(t, time.Since(start), 1500*time.Millisecond, "500 batches of 6 ms, by five")
	})
}
