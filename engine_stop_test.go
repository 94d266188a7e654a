package weaver_test

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
)

// After a cancel, what is in flight is written with a ctx that lives, saved and acknowledged, and Run returns nil.
func TestDrainAfterCancel(t *testing.T) {
	for _, kind := range []string{"plain", "flusher", "checkpointer"} {
		t.Run(kind, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				source := &ints{n: 1000, step: 10, acks: true, endless: true, every: time.Millisecond}
				writes := 0
				slow := func() error {
					if writes++; writes == 5 {
						cancel()
					}
					time.Sleep(50 * time.Millisecond)
					return nil
				}
				plain := &sunk[int]{write: func(ctx context.Context, _ int, _ *weaver.Batch[int]) error {
					err := slow()
					if ctx.Err() != nil {
						t.Errorf("the drain writes with a ctx that has ended: %v", context.Cause(ctx))
						return ctx.Err()
					}
					return err
				}}
				k := &kept{commits: kind == "checkpointer", onWrite: func([]int) error { return slow() }}
				sink, all := weaver.Sink[int](plain), plain.all
				if kind != "plain" {
					sink, all = k, k.all
				}
				p := hushed(weaver.NewPipeline(source, weaver.Map(pass), sink))
				p.BatchSize = 10
				require.NoError(t, p.Run(ctx))
				got := all()
				require.Equal(t, below(len(got)), got)
				require.GreaterOrEqual(t, len(got), 50)
				require.EqualValues(t, len(got), source.acked.Load(), "all that is durable is acknowledged")
			})
		})
	}
}

func TestStopTimeout(t *testing.T) {
	for _, kind := range []string{"plain", "flusher", "checkpointer"} {
		t.Run(kind, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				source := &ints{n: 1000, step: 10, acks: true, endless: true}
				out := func(values []int) error {
					if values[0] < 50 {
						return nil
					}
					cancel()
					return errOut
				}
				plain := &sunk[int]{write: func(_ context.Context, _ int, b *weaver.Batch[int]) error { return out([]int{b.Records[0].Value}) }}
				k := &kept{commits: kind == "checkpointer", onWrite: out, onFlush: func([]int) error { return nil }}
				sink, all := weaver.Sink[int](plain), plain.all
				if kind != "plain" {
					sink, all = k, k.all
				}
				p := hushed(weaver.NewPipeline(source, weaver.Map(pass), sink))
				p.BatchSize, p.StopTimeout = 10, 3*time.Second
				start := time.Now()
				err := p.Run(ctx)
				require.LessOrEqual(t, time.Since(start), 4*time.Second)
				if kind == "plain" { // it is tried again for as long as StopTimeout
					require.ErrorIs(t, err, weaver.ErrStopTimeout)
				} else {
					require.ErrorIs(t, err, errOut)
				}
				require.LessOrEqual(t, int(source.acked.Load()), len(all()), "nothing is acknowledged that isn't durable")
			})
		})
	}
}

// A connector that ignores its ctx can't keep Run from returning.
func TestConnectorIgnoresContext(t *testing.T) {
	for _, where := range []string{"read", "write", "ack", "process"} {
		t.Run(where, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				release := make(chan struct{})
				stuck := func(w string) error {
					if w == where {
						cancel()
						<-release
					}
					return nil
				}
				source := &ints{n: 100, step: 10, acks: true, endless: true}
				source.read = func(at int, _ *weaver.Batch[int]) error {
					if at == 50 {
						return stuck("read")
					}
					return nil
				}
				source.onAck = func(int) error { return stuck("ack") }
				sink := &sunk[int]{write: func(context.Context, int, *weaver.Batch[int]) error { return stuck("write") }}
				p := hushed(weaver.NewPipeline(source, weaver.Map(func(v int) (int, error) { return v, stuck("process") }), sink))
				p.BatchSize, p.StopTimeout = 10, time.Second
				start := time.Now()
				err := p.Run(ctx)
				require.ErrorIs(t, err, weaver.ErrStopTimeout)
				require.ErrorContains(t, err, "haven't returned")
				require.InDelta(t, 6, time.Since(start).Seconds(), 1.5)
				close(release)
				synctest.Wait()
			})
		})
	}
}

// The end of the input while the pipeline stops is no failure.
func TestCleanEndWhileStopping(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		source := &ints{n: 10}
		source.end = func() (weaver.Position, error) {
			cancel()
			return intPos(10), io.EOF
		}
		sink := &kept{}
		require.NoError(t, hushed(weaver.NewPipeline(source, weaver.Map(pass), sink)).Run(ctx))
		require.Equal(t, below(10), sink.all())
	})
}

func TestCancelledBeforeRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		sink := &sunk[int]{}
		require.NoError(t, hushed(weaver.NewPipeline(&ints{n: 10, endless: true}, weaver.Map(pass), sink)).Run(ctx))
	})
}

func TestRunTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := checkpoint.NewMemory()
		source := &ints{n: 100, step: 10, every: time.Second}
		sink := &sunk[int]{}
		p := hushed(weaver.NewPipeline(source, weaver.Map(pass), sink))
		p.Name, p.Checkpoint = "p", store
		ctx, cancel := context.WithTimeout(t.Context(), 5500*time.Millisecond)
		defer cancel()
		ended := make(chan error)
		go func() { ended <- p.Run(ctx) }()
		synctest.Wait()
		require.ErrorContains(t, p.Run(t.Context()), "while this pipeline runs")
		require.NoError(t, <-ended)
		require.Equal(t, below(50), sink.all())
		require.NoError(t, p.Run(t.Context()), "one after the other")
		require.Equal(t, below(100), sink.all())
		require.EqualValues(t, 50, p.Stats().Read.Records, "of the last Run")
	})
}

// Run in its order: the second ends when what the first has made is read.
func TestAfter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var made atomic.Int64
		first := hushed(weaver.NewPipeline(&ints{n: 50, step: 5, every: time.Second}, weaver.Map(pass),
			weaver.SinkFunc[int](func(_ context.Context, b *weaver.Batch[int]) error {
				made.Add(int64(len(b.Records)))
				return nil
			})))
		stream := &ints{n: 50, step: 1, endless: true}
		sink := &sunk[int]{}
		second := hushed(weaver.NewPipeline(stream, weaver.Map(pass), sink))
		second.After = first
		require.ErrorContains(t, second.Run(t.Context()), "give both to one weaver.Run")
		start := time.Now()
		require.NoError(t, weaver.Run(t.Context(), second, first))
		require.Equal(t, 10*time.Second, time.Since(start))
		require.Equal(t, below(50), sink.all())
	})
}

// A stream has no end, but what is there has one; what may come later isn't waited for.
func TestBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sink := &sunk[int]{}
		p := hushed(weaver.NewPipeline(&ints{n: 50, step: 1, endless: true}, weaver.Map(pass), sink))
		p.Bounded = true
		require.NoError(t, p.Run(t.Context()))
		require.Equal(t, below(50), sink.all())
		p.After = p
		require.ErrorContains(t, p.Run(t.Context()), "Bounded and After")
	})
}

func TestAfterAFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first := hushed(weaver.NewPipeline(&ints{n: 5}, weaver.Map(func(int) (int, error) { return 0, retry.Fatal(errOut) }), &sunk[int]{}))
		second := hushed(weaver.NewPipeline(&ints{n: 5, endless: true}, weaver.Map(pass), &sunk[int]{}))
		second.After = first
		err := weaver.Run(t.Context(), first, second)
		require.ErrorIs(t, err, errOut)
	})
}

// Without a Finisher a pipeline that comes after another could never end, and says so.
func TestAfterNeedsAFinisher(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first := hushed(weaver.NewPipeline(&ints{n: 5}, weaver.Map(pass), &sunk[int]{}))
		second := hushed(weaver.NewPipeline(weaver.SourceFunc[int](func(ctx context.Context, _ weaver.Position, _ *weaver.Batch[int]) (weaver.Position, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}), weaver.Map(pass), &sunk[int]{}))
		second.After = first
		require.ErrorContains(t, weaver.Run(t.Context(), first, second), "no Finisher")
	})
}

// A tail without any position, in a sink that buffers, is not lost at the end or on a stop.
func TestTailWithoutPositions(t *testing.T) {
	for _, stop := range []bool{false, true} {
		t.Run(map[bool]string{false: "end", true: "stop"}[stop], func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				source := &ints{n: 100, step: 7, endless: stop}
				source.pos = func(int, weaver.Position) (weaver.Position, bool) { return nil, false }
				source.end = func() (weaver.Position, error) { return nil, io.EOF }
				letters := &deadKept{buffers: true, out: func() error { return nil }}
				sink := &kept{}
				p := hushed(weaver.NewPipeline(source, weaver.Map(func(v int) (int, error) {
					if v == 99 {
						return 0, errOut
					}
					return v, nil
				}), sink))
				p.DeadLetter = letters
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				require.NoError(t, p.Run(ctx))
				require.Equal(t, below(99), sink.all())
				require.Equal(t, []int{99}, letters.durable)
			})
		})
	}
}

// Where positions are kept, a split that ends behind its last one is refused: what is staged could never be committed.
func TestEndBehindTheLastPosition(t *testing.T) {
	for _, commits := range []bool{false, true} {
		for _, alone := range []bool{false, true} {
			bubbleRun(t, func(t *testing.T) {
				source := &ints{n: 30, step: 10}
				source.pos = func(at int, p weaver.Position) (weaver.Position, bool) {
					if at > 20 {
						return nil, false
					}
					return p, true
				}
				if alone { // the end comes by itself, after records without a position
					source.n, source.endless = 30, true
					source.read = func(at int, _ *weaver.Batch[int]) error {
						if at == 30 {
							return io.EOF
						}
						return nil
					}
				} else {
					source.end = func() (weaver.Position, error) { return nil, io.EOF }
				}
				sink := &kept{commits: commits}
				p := hushed(weaver.NewPipeline(source, weaver.Map(pass), sink))
				if !commits {
					p.Name, p.Checkpoint = "p", checkpoint.NewMemory()
				}
				err := p.Run(t.Context())
				require.ErrorContains(t, err, "position")
				require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
				got := sink.all()
				require.ElementsMatch(t, below(len(got)), got)
				if commits {
					require.LessOrEqual(t, len(got), 20)
				}
			})
		}
	}
}

func bubbleRun(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Run("", func(t *testing.T) { bubble(t, f) })
}
