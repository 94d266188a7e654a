package weaver_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// What Stats, the hooks and the test itself count is one and the same.
func TestNumbersAddUp(t *testing.T) {
	for _, slow := range []time.Duration{0, time.Millisecond} {
		for _, writers := range []int{1, 3} {
			t.Run(slow.String()+strconv.Itoa(writers), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					const n = 10_000
					source := &ints{n: n, step: 30, acks: true, key: func(i int) []byte { return strconv.AppendInt(nil, int64(i%9), 10) }}
					process := weaver.Map(func(v int) (int, error) {
						switch v % 10 {
						case 3:
							return 0, errors.New("three")
						case 4:
							return 0, weaver.ErrSkip
						}
						return v, nil
					})
					sink := &sunk[int]{write: func(_ context.Context, call int, _ *weaver.Batch[int]) error {
						time.Sleep(slow)
						if call%50 == 7 {
							return errOut
						}
						return nil
					}}
					var mu sync.Mutex
					records, batches := map[string]int64{}, map[string]int64{}
					retries, opened, closed, settled := 0, 0, 0, int64(0)
					p := hushed(weaver.NewPipeline(source, process, sink))
					p.Writers, p.DeadLetter = writers, &dead{}
					p.Observer = &weaver.Observer{
						Batch: func(b weaver.BatchInfo) {
							mu.Lock()
							defer mu.Unlock()
							if b.Err == nil {
								records[b.Stage] += int64(b.Records)
								batches[b.Stage]++
							}
						},
						Retry: func(r weaver.RetryInfo) {
							mu.Lock()
							defer mu.Unlock()
							if !errors.Is(r.Err, errOut) || r.Stage != weaver.StageWrite || r.Wait <= 0 || r.Failures < 1 {
								t.Errorf("retry: %+v", r)
							}
							retries++
						},
						Checkpoint: func(c weaver.CheckpointInfo) {
							mu.Lock()
							defer mu.Unlock()
							if c.Records < settled || c.Records != int64(posInt(c.Position)) || !c.Acked || c.Saved {
								t.Errorf("checkpoint: %+v after %d", c, settled)
							}
							settled = c.Records
						},
						Lane: func(l weaver.LaneInfo) {
							mu.Lock()
							defer mu.Unlock()
							switch l.Event {
							case weaver.LaneOpened:
								opened++
							case weaver.LaneClosed:
								closed++
							default:
								t.Errorf("lane: %+v", l)
							}
						},
					}
					require.NoError(t, p.Run(t.Context()))
					s := p.Stats()
					require.EqualValues(t, n, s.Read.Records)
					require.EqualValues(t, n/10, s.DeadLetter.Records)
					require.EqualValues(t, n/10, s.Filtered)
					require.EqualValues(t, n/10*8, s.Write.Records)
					require.Len(t, sink.all(), n/10*8)
					require.EqualValues(t, n/10, s.Process.Errors.Poison)
					require.EqualValues(t, retries, s.Write.Retries)
					require.EqualValues(t, retries, s.Write.Errors.Transient)
					require.NotZero(t, retries)
					require.Equal(t, s.Read.Records, records[weaver.StageRead])
					require.Equal(t, s.Write.Records, records[weaver.StageWrite])
					require.Equal(t, s.Write.Batches, batches[weaver.StageWrite])
					require.Equal(t, s.DeadLetter.Records, records[weaver.StageDeadLetter])
					require.EqualValues(t, n, settled)
					require.Equal(t, 1, opened)
					require.Equal(t, 1, closed)
					require.Zero(t, s.InFlight)
					require.Zero(t, s.Recoveries)
				})
			})
		}
	}
}

// At info a pipeline that works says nothing, and one that fails says nothing of what records hold.
func TestLogs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var info, debug bytes.Buffer
		run := func(level slog.Level, to *bytes.Buffer, fail bool) {
			source := weaver.SourceFunc[string](func(_ context.Context, after weaver.Position, b *weaver.Batch[string]) (weaver.Position, error) {
				n := posInt(after)
				for !b.Full() && n < 1000 {
					r := b.Add()
					r.Value, r.Key = "secret-value", b.Copy([]byte("secret-key"))
					r.Headers = r.Headers.With("authorization", []byte("secret-header"))
					n++
				}
				if n == 1000 {
					b.Reject(0, []byte("secret-raw"), errors.New("not a number"))
				}
				return intPos(n), endAt(n, 1000)
			})
			writes := 0
			sink := weaver.SinkFunc[string](func(context.Context, *weaver.Batch[string]) error {
				if writes++; fail && writes%7 == 0 {
					return errOut
				}
				return nil
			})
			p := weaver.NewPipeline(source, weaver.Map(func(v string) (string, error) {
				if fail {
					return "", retry.Permanent(errors.New("no such thing"))
				}
				return v, nil
			}), sink)
			p.BatchSize = 10
			p.DeadLetter = weaver.SinkFunc[weaver.Rejected[string]](func(context.Context, *weaver.Batch[weaver.Rejected[string]]) error { return nil })
			p.Log = slog.New(slog.NewTextHandler(locked{&mu, to}, &slog.HandlerOptions{Level: level}))
			require.NoError(t, p.Run(t.Context()))
		}
		run(slog.LevelInfo, &info, false)
		require.Empty(t, info.String())
		run(slog.LevelDebug, &debug, true)
		run(slog.LevelDebug, &debug, false)
		require.NotContains(t, debug.String(), "secret")
		require.Less(t, strings.Count(debug.String(), "\n"), 500, "no line per record")
	})
}

type locked struct {
	mu *sync.Mutex
	to *bytes.Buffer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(p)
}

// What was taken from a queue is acknowledged when it is written, not once an interval.
func TestQueueIsAcknowledgedPromptly(t *testing.T) {
	for _, sink := range []weaver.Sink[int]{&sunk[int]{}, &kept{commits: true}, &kept{due: true}} {
		bubbleRun(t, func(t *testing.T) {
			source := &ints{n: 100, step: 1, acks: true, endless: true, every: 100 * time.Millisecond}
			var read atomic.Value
			read.Store(time.Now())
			source.read = func(int, *weaver.Batch[int]) error {
				read.Store(time.Now())
				return nil
			}
			source.onAck = func(n int) error {
				if late := time.Since(read.Load().(time.Time)); late > 10*time.Millisecond && n != 100 {
					t.Errorf("%d acknowledged after %v", n, late)
				}
				return nil
			}
			p := hushed(weaver.NewPipeline(intQueue{source}, weaver.Map(pass), sink))
			p.CheckpointInterval = time.Hour
			ctx, cancel := context.WithTimeout(t.Context(), 11*time.Second)
			defer cancel()
			require.NoError(t, p.Run(ctx))
			require.EqualValues(t, 100, source.acked.Load())
		})
	}
}

// A queue into a sink that fails every five seconds: what is written twice is bounded by what was in flight.
func TestQueueRecoveryStorm(t *testing.T) {
	for _, buffers := range []bool{false, true} {
		bubbleRun(t, func(t *testing.T) {
			const n = 60_000
			source := &ints{n: n, step: 10, acks: true, endless: true, every: 10 * time.Millisecond}
			next := time.Now().Add(5 * time.Second)
			written, fails := 0, 0
			fail := func(k int) error {
				if time.Now().After(next) {
					next = next.Add(5 * time.Second)
					fails++
					return errOut
				}
				written += k
				return nil
			}
			sink := weaver.Sink[int](&sunk[int]{write: func(_ context.Context, _ int, b *weaver.Batch[int]) error { return fail(len(b.Records)) }})
			if buffers {
				sink = &kept{onFlush: func(v []int) error { return fail(len(v)) }}
			}
			p := hushed(weaver.NewPipeline(intQueue{source}, weaver.Map(pass), sink))
			var most atomic.Int64
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			go func() {
				for ctx.Err() == nil {
					most.Store(max(most.Load(), p.Stats().InFlight.Bytes))
					_ = retry.Sleep(ctx, 50*time.Millisecond)
				}
			}()
			require.NoError(t, p.Run(ctx))
			require.EqualValues(t, n, source.acked.Load())
			require.Greater(t, fails, 10)
			require.Less(t, float64(written-n)/n, 0.02, "share of duplicates")
			require.Less(t, most.Load(), int64(1<<20))
		})
	}
}

// Progress is told while a lane runs, and at its end everything is done.
func TestProgress(t *testing.T) {
	bubble(t, func(t *testing.T) {
		source := weavertest.NewSource[int]()
		for i := range 40 {
			source.Add("a", weaver.Record[int]{Value: i})
		}
		sink := weaver.SinkFunc[int](func(context.Context, *weaver.Batch[int]) error {
			time.Sleep(100 * time.Millisecond)
			return nil
		})
		var mu sync.Mutex
		var told []weaver.ProgressInfo
		p := weaver.NewPipeline[int, int](source, weaver.Pass[int](), sink)
		p.CheckpointInterval = time.Second
		p.BatchSize = 1
		p.Observer = &weaver.Observer{Progress: func(i weaver.ProgressInfo) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, i)
		}}
		require.NoError(t, p.Run(t.Context()))
		require.Greater(t, len(told), 3)
		for i := 1; i < len(told); i++ {
			require.GreaterOrEqual(t, told[i].Settled, told[i-1].Settled)
			require.GreaterOrEqual(t, told[i].Progress.Records, told[i-1].Progress.Records)
		}
		require.Equal(t, weaver.Progress{Records: 40, TotalRecords: 40, Bytes: -1, TotalBytes: -1}, told[len(told)-1].Progress)
		require.Equal(t, int64(40), told[len(told)-1].Settled)
	})
}
