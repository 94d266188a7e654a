package weaver_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
)

// A lookup that fails once in a hundred times, upstream of a stage with state: the sum is exact, and the failures cost
// what waiting for them costs, not a replay of the lane.
func TestFailuresUpstreamOfState(t *testing.T) {
	for _, commits := range []bool{false, true} {
		t.Run(fmt.Sprint(commits), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				const n = 20_000
				rng := rand.New(rand.NewPCG(1, 2))
				calls, failed := 0, 0
				lookup := weaver.MapContext(func(_ context.Context, v int) (int, error) {
					calls++
					if rng.IntN(100) == 0 {
						failed++
						return 0, errors.New("the lookup timed out")
					}
					return v, nil
				})
				source := &ints{n: n}
				sink := &kept{commits: commits}
				p := hushed(weaver.NewPipeline(source, weaver.Then(lookup, weaver.Processor[int, int](sums{})), weaver.Sink[int](sink)))
				p.Name, p.Checkpoint = "p", checkpoint.NewMemory()
				p.DeadLetter = &dead{}
				start := time.Now()
				require.NoError(t, p.Run(t.Context()))
				require.Equal(t, []int{n * (n - 1) / 2}, sink.all())
				require.NotZero(t, failed)
				require.Equal(t, n+failed, calls, "each failure costs one call more")
				require.Zero(t, p.Stats().Recoveries)
				require.Less(t, time.Since(start), time.Minute, "40 batches, each with a failure or two, and their waits")
			})
		})
	}
}

// State survives any stop, and a tick with nothing to say lets it be saved.
func TestStateAcrossRuns(t *testing.T) {
	for _, commits := range []bool{false, true} {
		for _, every := range []time.Duration{0, time.Millisecond} {
			t.Run(fmt.Sprint(commits, every), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					const n = 3000
					sink := &kept{commits: commits}
					store := checkpoint.NewMemory()
					rng := rand.New(rand.NewPCG(3, 4))
					for range 200 {
						source := &ints{n: n, step: 10, every: every}
						source.read = func(int, *weaver.Batch[int]) error {
							if rng.IntN(200) == 0 {
								return errOut
							}
							return nil
						}
						p := hushed(weaver.NewPipeline(source, sums{}, weaver.Sink[int](sink)))
						p.Name, p.CheckpointInterval = "p", 10*time.Millisecond
						if !commits {
							p.Checkpoint = store
						}
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(int(50*time.Millisecond))))
						require.NoError(t, p.Run(ctx))
						cancel()
						if len(sink.all()) > 0 {
							break
						}
					}
					require.Equal(t, n*(n-1)/2, sink.all()[0])
				})
			})
		}
	}
}

// A busy lane whose stage is silent at ticks commits its state all the same, once an interval or so.
func TestSilentStateIsCommitted(t *testing.T) {
	for _, slow := range []time.Duration{0, time.Millisecond} {
		t.Run(slow.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				process := weaver.Processor[int, int](silent{slow})
				sink := &kept{commits: true}
				p := hushed(weaver.NewPipeline(&ints{n: 100_000, step: 10, every: time.Millisecond, acks: true}, process, weaver.Sink[int](sink)))
				p.CheckpointInterval = 100 * time.Millisecond
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				go func() {
					time.Sleep(4900 * time.Millisecond)
					sink.mu.Lock()
					defer sink.mu.Unlock()
					if sink.flushes < 20 {
						t.Errorf("%d commits in 49 intervals", sink.flushes)
					}
				}()
				require.NoError(t, p.Run(ctx))
			})
		})
	}
}

// silent passes records on, counts them, and says nothing at ticks.
type silent struct{ slow time.Duration }

type silentStage struct {
	silent
	n int
}

func (s silent) OpenStage(context.Context, weaver.Lane) (weaver.Stage[int, int], error) {
	return &silentStage{silent: s}, nil
}

func (s *silentStage) Process(_ context.Context, in *weaver.Batch[int], out *weaver.Emitter[int]) error {
	if len(in.Records) > 0 && s.slow > 0 {
		time.Sleep(s.slow)
	}
	for i := range in.Records {
		s.n++
		out.Emit(i, in.Records[i])
	}
	return nil
}

func (s *silentStage) Snapshot() ([]byte, error) { return strconv.AppendInt(nil, int64(s.n), 10), nil }

// Positions without records (all was filtered at the origin) are acknowledged, also behind a stage with state.
func TestPositionsAloneAreAcknowledged(t *testing.T) {
	for name, process := range map[string]weaver.Processor[int, int]{"pass": weaver.Pass[int](), "state": silent{}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				source := &heartbeats{}
				p := hushed(weaver.NewPipeline(source, process, weaver.Sink[int](&sunk[int]{})))
				p.Name, p.Checkpoint = "p", checkpoint.NewMemory()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				require.NoError(t, p.Run(ctx))
				require.GreaterOrEqual(t, source.acked, 55)
			})
		})
	}
}

// heartbeats is an origin that has a new position each second, and no records.
type heartbeats struct{ at, acked int }

func (s *heartbeats) OpenReader(context.Context, weaver.Lane) (weaver.Reader[int], error) {
	return s, nil
}

func (s *heartbeats) Read(ctx context.Context, _ *weaver.Batch[int]) (weaver.Position, error) {
	if err := retry.Sleep(ctx, time.Second); err != nil {
		return nil, err
	}
	s.at++
	return intPos(s.at), nil
}

func (s *heartbeats) Ack(_ context.Context, p weaver.Position) error {
	s.acked = posInt(p)
	return nil
}

func (*heartbeats) Close() error { return nil }

// Everything is filtered, and the position goes on.
func TestFilteredRecordsAreSettled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		source := &ints{n: 1000, step: 10, acks: true, endless: true}
		sink := &sunk[int]{}
		p := hushed(weaver.NewPipeline(source, weaver.Filter(func(v int) (bool, error) { return v%500 == 3, nil }), sink))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		go func() {
			time.Sleep(5 * time.Second)
			if n := source.acked.Load(); n != 1000 {
				t.Errorf("%d of 1000 acknowledged after five intervals", n)
			}
		}()
		require.NoError(t, p.Run(ctx))
		require.Equal(t, []int{3, 503}, sink.all())
		require.EqualValues(t, 998, p.Stats().Filtered)
	})
}

// An origin that is full gets an acknowledgement at once, from each kind of sink, also behind a stage with state.
func TestFullOriginIsAcknowledgedAtOnce(t *testing.T) {
	for kind, open := range map[string]func() weaver.Sink[int]{
		"plain":        func() weaver.Sink[int] { return &sunk[int]{} },
		"flusher":      func() weaver.Sink[int] { return &kept{} },
		"checkpointer": func() weaver.Sink[int] { return &kept{commits: true} },
	} {
		for name, process := range map[string]weaver.Processor[int, int]{"pass": weaver.Pass[int](), "state": silent{}} {
			t.Run(kind+" "+name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					source := &ints{n: 10_000, step: 100, acks: true}
					source.read = func(at int, _ *weaver.Batch[int]) error {
						if at-int(source.acked.Load()) >= 500 {
							return weaver.ErrFull
						}
						return nil
					}
					p := hushed(weaver.NewPipeline(source, process, open()))
					p.Name, p.Checkpoint, p.CheckpointInterval = "p", checkpoint.NewMemory(), time.Hour
					require.NoError(t, runWithin(t, p, time.Second))
					require.EqualValues(t, 10_000, source.acked.Load())
				})
			})
		}
	}
}
