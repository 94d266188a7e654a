package weaver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
)

var errOut = errors.New("connection refused")

// An outage of any part is waited out: nothing is dead-lettered, nothing is lost, order is kept.
func TestOutagePausesWithoutDeadLetters(t *testing.T) {
	for _, part := range []string{"open reader", "read", "write", "flush", "commit", "store", "ack"} {
		t.Run(part, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				until := time.Now().Add(time.Hour)
				out := func(p string) error {
					if p == part && time.Now().Before(until) {
						return errOut
					}
					return nil
				}
				source := &ints{n: 100, step: 10, acks: true}
				source.open = func(weaver.Lane) error { return out("open reader") }
				source.read = func(int, *weaver.Batch[int]) error { return out("read") }
				source.onAck = func(int) error { return out("ack") }
				letters := &dead{}
				var sink weaver.Sink[int]
				var all func() []int
				if part == "flush" || part == "commit" {
					k := &kept{commits: part == "commit", onFlush: func([]int) error { return out(part) }}
					sink, all = k, k.all
				} else {
					s := &sunk[int]{write: func(context.Context, int, *weaver.Batch[int]) error { return out("write") }}
					sink, all = s, s.all
				}
				p := hushed(weaver.NewPipeline(source, weaver.Map(pass), sink))
				p.Name, p.BatchSize = "p", 10
				p.DeadLetter = letters
				if part == "store" {
					p.Checkpoint = outStore{checkpoint.NewMemory(), func() error { return out("store") }}
				}
				require.NoError(t, runWithin(t, p, 2*time.Hour))
				require.Empty(t, letters.all())
				got := all()
				if part == "ack" { // was durable, and is read again: nobody remembers but the origin
					require.Subset(t, got, below(100))
				} else {
					require.Equal(t, below(100), got)
				}
				require.EqualValues(t, 100, source.acked.Load())
			})
		})
	}
}

type outStore struct {
	*checkpoint.Memory
	out func() error
}

func (s outStore) Load(ctx context.Context, key string) ([]byte, checkpoint.Version, error) {
	if err := s.out(); err != nil {
		return nil, 0, err
	}
	return s.Memory.Load(ctx, key)
}

func (s outStore) Save(ctx context.Context, key string, value []byte, v checkpoint.Version) (checkpoint.Version, error) {
	if err := s.out(); err != nil {
		return 0, err
	}
	return s.Memory.Save(ctx, key, value, v)
}

func TestThrottlingWaitsAsTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var at []time.Duration
		start := time.Now()
		sink := &sunk[int]{write: func(_ context.Context, call int, _ *weaver.Batch[int]) error {
			at = append(at, time.Since(start))
			if call <= 3 {
				return retry.After(errOut, 7*time.Minute)
			}
			return nil
		}}
		p := hushed(weaver.NewPipeline(&ints{n: 5}, weaver.Map(pass), sink))
		p.Retry = retry.Policy{Max: time.Second}
		require.NoError(t, p.Run(t.Context()))
		require.Equal(t, []time.Duration{0, 7 * time.Minute, 14 * time.Minute, 21 * time.Minute}, at)
		require.Equal(t, below(5), sink.all())
	})
}

// The longest wait that any record of a batch was told counts.
func TestThrottledRecordsWaitTheLongest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		start := time.Now()
		sink := &sunk[int]{write: func(_ context.Context, call int, _ *weaver.Batch[int]) error {
			if call > 1 {
				return nil
			}
			return &weaver.BatchError{RolledBack: true, Records: []weaver.RecordError{
				{Index: 0, Err: retry.After(errOut, time.Minute)}, {Index: 1, Err: retry.After(errOut, time.Hour)}, {Index: 2, Err: errOut},
			}}
		}}
		p := hushed(weaver.NewPipeline(&ints{n: 3}, weaver.Map(pass), sink))
		require.NoError(t, p.Run(t.Context()))
		require.Equal(t, time.Hour, time.Since(start))
	})
}

func TestMaxAttemptsThenDeadLetter(t *testing.T) {
	for _, where := range []string{"map", "async", "write"} {
		t.Run(where, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				tries := map[int]int{}
				fail := func(v int) error {
					if v%10 != 3 {
						return nil
					}
					tries[v]++
					return fmt.Errorf("%d doesn't work", v)
				}
				var process weaver.Processor[int, int]
				f := func(_ context.Context, v int) (int, error) { return v, fail(v) }
				sink := &sunk[int]{}
				switch where {
				case "map":
					process = weaver.MapContext(f)
				case "async":
					process = weaver.MapAsync(1, f)
				default:
					process = weaver.Map(pass)
					sink.write = func(_ context.Context, _ int, b *weaver.Batch[int]) error {
						e := &weaver.BatchError{RolledBack: true}
						for i := range b.Records {
							if err := fail(b.Records[i].Value); err != nil {
								e.Records = append(e.Records, weaver.RecordError{Index: i, Err: err})
							}
						}
						if len(e.Records) == 0 {
							return nil
						}
						return e
					}
				}
				letters := &dead{}
				p := hushed(weaver.NewPipeline(&ints{n: 40}, process, sink))
				p.DeadLetter, p.Retry = letters, retry.Policy{MaxAttempts: 3, Initial: time.Second, Jitter: retry.NoJitter}
				require.NoError(t, p.Run(t.Context()))
				require.Equal(t, []int{3, 13, 23, 33}, letters.numbers())
				for _, r := range letters.all() {
					require.Equal(t, 3, r.Attempts)
					require.Equal(t, fmt.Sprintf("%d doesn't work", r.Seq), r.Error)
				}
				require.Equal(t, map[int]int{3: 3, 13: 3, 23: 3, 33: 3}, tries)
				require.Len(t, sink.all(), 36)
			})
		})
	}
}

func TestMaxElapsedEndsRun(t *testing.T) {
	for _, part := range []string{"open reader", "read", "write", "flush", "commit", "deadletter"} {
		t.Run(part, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				source := &ints{n: 10}
				if part == "open reader" {
					source.open = func(weaver.Lane) error { return errOut }
				}
				if part == "read" {
					source.read = func(int, *weaver.Batch[int]) error { return errOut }
				}
				sink := weaver.Sink[int](&sunk[int]{write: func(context.Context, int, *weaver.Batch[int]) error {
					if part == "write" {
						return errOut
					}
					return nil
				}})
				if part == "flush" || part == "commit" {
					sink = &kept{commits: part == "commit", onFlush: func([]int) error { return errOut }}
				}
				p := hushed(weaver.NewPipeline(source, weaver.Map(func(v int) (int, error) {
					if part == "deadletter" && v == 5 {
						return 0, errors.New("five")
					}
					return v, nil
				}), sink))
				p.DeadLetter = &dead{sunk: sunk[weaver.Rejected[int]]{write: func(context.Context, int, *weaver.Batch[weaver.Rejected[int]]) error { return errOut }}}
				p.Retry = retry.Policy{Initial: time.Second, MaxElapsed: 10 * time.Minute}
				start := time.Now()
				err := p.Run(t.Context())
				require.ErrorIs(t, err, errOut)
				where := (*weaver.Error)(nil)
				require.ErrorAs(t, err, &where)
				require.Contains(t, err.Error(), "given up after")
				require.InDelta(t, 10, time.Since(start).Minutes(), 1)
			})
		})
	}
}

func TestWithoutDeadLetterPoisonStops(t *testing.T) {
	poison := errors.New("no such product")
	for _, where := range []string{"process", "write", "commit batch", "reject"} {
		t.Run(where, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				source := &ints{n: 100, step: 10, acks: true}
				process := weaver.Map(func(v int) (int, error) {
					if v == 57 && where == "process" {
						return 0, poison
					}
					return v, nil
				})
				refuse := func(values []int) error {
					for i, v := range values {
						if v == 57 {
							return &weaver.BatchError{Records: []weaver.RecordError{{Index: i, Err: retry.Permanent(poison)}}}
						}
					}
					return nil
				}
				plain := &sunk[int]{}
				var sink weaver.Sink[int] = plain
				all := plain.all
				stage := weaver.StageProcess
				seq := int64(57)
				switch where {
				case "write":
					stage = weaver.StageWrite
					plain.write = func(_ context.Context, _ int, b *weaver.Batch[int]) error {
						values := make([]int, len(b.Records))
						for i := range values {
							values[i] = b.Records[i].Value
						}
						return refuse(values)
					}
				case "commit batch":
					stage = weaver.StageWrite
					k := &kept{commits: true, onWrite: refuse}
					sink, all = k, k.all
				case "reject":
					stage = weaver.StageRead
					source.read = func(at int, b *weaver.Batch[int]) error {
						if at == 50 {
							b.Reject(57, []byte("57"), poison)
						}
						return nil
					}
				}
				p := hushed(weaver.NewPipeline(source, process, sink))
				p.Name, p.BatchSize = "orders", 10
				err := p.Run(t.Context())
				require.ErrorIs(t, err, poison)
				e := (*weaver.Error)(nil)
				require.ErrorAs(t, err, &e)
				require.Equal(t, stage, e.Stage)
				require.Equal(t, "orders", e.Pipeline)
				require.Equal(t, seq, e.Seq)
				require.GreaterOrEqual(t, e.Index, 0)
				require.Equal(t, retry.ClassPoison, retry.ClassOf(err))
				require.Equal(t, 50, posInt(e.Position), "the checkpoint before the failure")
				require.LessOrEqual(t, source.acked.Load(), int64(57))
				if where == "commit batch" {
					// What of the failed batch is staged must not be committed with the position before it.
					require.ElementsMatch(t, below(int(source.acked.Load())), all())
				} else {
					require.Subset(t, all(), below(50))
				}
			})
		})
	}
}

func TestDeadLetterSinkIsOut(t *testing.T) {
	for _, buffers := range []bool{false, true} {
		t.Run(fmt.Sprint(buffers), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				until := time.Now().Add(time.Hour)
				source := &ints{n: 50, step: 5, acks: true}
				source.onAck = func(n int) error {
					if time.Now().Before(until) && n > 7 {
						t.Errorf("acknowledged %d while dead letters are out", n)
					}
					return nil
				}
				letters := &deadKept{out: func() error {
					if time.Now().Before(until) {
						return errOut
					}
					return nil
				}, buffers: buffers}
				sink := &sunk[int]{}
				p := hushed(weaver.NewPipeline(source, weaver.Map(func(v int) (int, error) {
					if v%10 == 7 {
						return 0, errOut
					}
					return v, nil
				}), sink))
				p.DeadLetter = letters
				require.NoError(t, p.Run(t.Context()))
				require.Subset(t, letters.durable, []int{7, 17, 27, 37, 47})
				require.EqualValues(t, 50, source.acked.Load())
			})
		})
	}
}

// deadKept is a sink of dead letters, of Flushers if buffers says so.
type deadKept struct {
	out     func() error
	buffers bool
	durable []int
}

type deadWriter struct {
	s      *deadKept
	staged []int
}

type deadFlusher struct{ *deadWriter }

func (s *deadKept) OpenWriter(context.Context, weaver.Lane) (weaver.Writer[weaver.Rejected[int]], error) {
	if s.buffers {
		return deadFlusher{&deadWriter{s: s}}, nil
	}
	return &deadWriter{s: s}, nil
}

func (w *deadWriter) Write(_ context.Context, b *weaver.Batch[weaver.Rejected[int]]) error {
	if !w.s.buffers {
		if err := w.s.out(); err != nil {
			return err
		}
	}
	for i := range b.Records {
		w.staged = append(w.staged, *b.Records[i].Value.Value)
	}
	if !w.s.buffers {
		w.s.durable = append(w.s.durable, w.staged...)
		w.staged = nil
	}
	return nil
}

func (*deadWriter) Close() error { return nil }
func (deadFlusher) Due() bool    { return false }

func (w deadFlusher) Flush(context.Context) error {
	if err := w.s.out(); err != nil {
		return err
	}
	w.s.durable = append(w.s.durable, w.staged...)
	w.staged = nil
	return nil
}

// A dead letter that can't be written either stops the pipeline, and its record is not acknowledged.
func TestPoisonInDeadLettersStops(t *testing.T) {
	bubble(t, func(t *testing.T) {
		source := &ints{n: 50, step: 5, acks: true}
		letters := &dead{}
		letters.write = func(context.Context, int, *weaver.Batch[weaver.Rejected[int]]) error {
			return retry.Permanent(errors.New("too large"))
		}
		p := hushed(weaver.NewPipeline(source, weaver.Map(func(v int) (int, error) {
			if v == 17 {
				return 0, errOut
			}
			return v, nil
		}), &sunk[int]{}))
		p.DeadLetter = letters
		err := p.Run(t.Context())
		require.ErrorContains(t, err, "too large")
		e := (*weaver.Error)(nil)
		require.ErrorAs(t, err, &e)
		require.Equal(t, weaver.StageDeadLetter, e.Stage)
		require.LessOrEqual(t, source.acked.Load(), int64(17))
	})
}

func TestNonsenseFromAWriterIsFatal(t *testing.T) {
	for name, err := range map[string]error{
		"index too large": &weaver.BatchError{Records: []weaver.RecordError{{Index: 10, Err: errOut}}},
		"index negative":  &weaver.BatchError{Records: []weaver.RecordError{{Index: -1, Err: errOut}}},
		"index twice":     &weaver.BatchError{Records: []weaver.RecordError{{Index: 1, Err: errOut}, {Index: 1, Err: errOut}}},
		"no error":        &weaver.BatchError{Records: []weaver.RecordError{{Index: 1}}},
		"empty":           &weaver.BatchError{},
		"empty with Err":  &weaver.BatchError{Err: errOut},
		"rolled back":     &weaver.BatchError{RolledBack: true},
	} {
		for _, commits := range []bool{false, true} {
			t.Run(fmt.Sprint(name, commits), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					source := &ints{n: 40, acks: true}
					bad := func(first int) error {
						if first == 20 {
							return err
						}
						return nil
					}
					plain := &sunk[int]{write: func(_ context.Context, _ int, b *weaver.Batch[int]) error { return bad(b.Records[0].Value) }}
					k := &kept{commits: true, onWrite: func(v []int) error { return bad(v[0]) }}
					sink, all := weaver.Sink[int](plain), plain.all
					if commits {
						sink, all = k, k.all
					}
					p := hushed(weaver.NewPipeline(source, weaver.Map(pass), sink))
					p.BatchSize, p.DeadLetter = 10, &dead{}
					got := p.Run(t.Context())
					require.Error(t, got)
					require.Equal(t, retry.ClassFatal, retry.ClassOf(got))
					require.Contains(t, got.Error(), "the Writer returned a BatchError")
					require.LessOrEqual(t, source.acked.Load(), int64(20))
					require.Len(t, all(), int(source.acked.Load()))
				})
			})
		}
	}
}

// Only io.EOF itself ends a split: a connection that was cut is no end.
func TestWrappedEOFIsAFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cuts := 0
		source := &ints{n: 30, step: 10}
		source.read = func(at int, _ *weaver.Batch[int]) error {
			if at == 10 && cuts < 3 {
				cuts++
				return fmt.Errorf("reading the body: %w", io.EOF)
			}
			return nil
		}
		sink := &sunk[int]{}
		p := hushed(weaver.NewPipeline(source, weaver.Map(pass), sink))
		require.NoError(t, p.Run(t.Context()))
		require.Equal(t, below(30), sink.all())
		require.EqualValues(t, 4, source.opens.Load())
		require.EqualValues(t, 3, p.Stats().Recoveries)
	})
}

// A Reader that returns nothing at all breaks the contract and must not break the pipeline.
func TestReadOfNothing(t *testing.T) {
	t.Parallel()
	n, empty := 0, 0
	source := weaver.SourceFunc[int](func(_ context.Context, _ weaver.Position, b *weaver.Batch[int]) (weaver.Position, error) {
		if empty < 1000 {
			empty++
			return nil, nil
		}
		empty = 0
		b.Add().Value = n
		n++
		if n == 3 {
			return intPos(n), io.EOF
		}
		return intPos(n), nil
	})
	sink := &sunk[int]{}
	require.NoError(t, hushed(weaver.NewPipeline(source, weaver.Map(pass), sink)).Run(t.Context()))
	require.Equal(t, below(3), sink.all())
}

// Poison that shows only when it is made durable is found, and only that: with everything else exactly once where the
// sink keeps the positions.
func TestPoisonAtFlushAndCommitIsFound(t *testing.T) {
	for _, commits := range []bool{false, true} {
		for _, store := range []bool{false, true} {
			t.Run(fmt.Sprint(commits, store), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					bad := map[int]bool{0: true, 41: true, 42: true, 199: true}
					sink := &kept{commits: commits, onFlush: func(values []int) error {
						for _, v := range values {
							if bad[v] {
								return retry.Permanent(errOut)
							}
						}
						return nil
					}}
					letters := &dead{}
					p := hushed(weaver.NewPipeline(&ints{n: 200}, weaver.Map(pass), sink))
					p.Name, p.BatchSize, p.DeadLetter = "p", 64, letters
					if store {
						p.Checkpoint = checkpoint.NewMemory()
					}
					require.NoError(t, runWithin(t, p, time.Minute))
					require.Equal(t, []int{0, 41, 42, 199}, letters.numbers())
					var want []int
					for v := range 200 {
						if !bad[v] {
							want = append(want, v)
						}
					}
					require.Equal(t, want, sink.all())
				})
			})
		}
	}
}

// Where the checkpoint can't be moved over a record that was found, the lane waits as in any outage.
func TestSearchDoesNotSpinInAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tries := 0
		var until time.Time
		sink := &kept{onFlush: func(values []int) error {
			for _, v := range values {
				if v == 3 {
					if len(values) == 1 { // the record is found now: from here on the store is out
						until = time.Now().Add(time.Hour)
					}
					return retry.Permanent(errOut)
				}
			}
			return nil
		}}
		p := hushed(weaver.NewPipeline(&ints{n: 20}, weaver.Map(pass), sink))
		p.Name, p.DeadLetter = "p", &dead{}
		p.Checkpoint = outStore{checkpoint.NewMemory(), func() error {
			if time.Now().Before(until) {
				if tries++; tries > 1000 {
					return retry.Fatal(errors.New("more than a thousand attempts in an hour"))
				}
				return errOut
			}
			return nil
		}}
		require.NoError(t, p.Run(t.Context()))
		require.Len(t, sink.all(), 19)
	})
}

// A batch that is lost is never saved, also where the lane can't be opened for a while.
func TestLostBatchIsNotSavedWhileTheLaneOpens(t *testing.T) {
	bubble(t, func(t *testing.T) {
		source := &ints{n: 100, step: 10, every: 100 * time.Millisecond}
		flushes := 0
		sink := &kept{onFlush: func([]int) error {
			if flushes++; flushes == 3 {
				return errOut
			}
			return nil
		}}
		opens := 0
		source.open = func(weaver.Lane) error {
			if opens++; opens > 1 && opens < 5 {
				return errOut
			}
			return nil
		}
		p := hushed(weaver.NewPipeline(source, weaver.Map(pass), sink))
		p.Name, p.BatchSize, p.CheckpointInterval = "p", 10, 50*time.Millisecond
		p.Checkpoint = checkpoint.NewMemory()
		p.Retry = exactly
		require.NoError(t, p.Run(t.Context()))
		require.Equal(t, below(100), sink.all())
	})
}
