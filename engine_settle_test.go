package weaver_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
)

func mod(n int) func(int) []byte {
	return func(i int) []byte { return strconv.AppendInt(nil, int64(i%n), 10) }
}

// Of several writers one is stuck: nothing behind what it has in hand is acknowledged.
func TestNoAckPastAHole(t *testing.T) {
	bubble(t, func(t *testing.T) {
		source := &ints{n: 1000, step: 10, acks: true, endless: true, key: func(i int) []byte { return mod(10)(i / 10) }} // a batch a key
		until := time.Now().Add(time.Minute)
		source.onAck = func(n int) error {
			if n > 450 && time.Now().Before(until) {
				t.Errorf("%d is acknowledged while record 453 is not written", n)
			}
			return nil
		}
		sink := &sunk[int]{write: func(_ context.Context, _ int, b *weaver.Batch[int]) error {
			for i := range b.Records {
				if b.Records[i].Value == 453 && time.Now().Before(until) {
					return errOut
				}
			}
			return nil
		}}
		p := hushed(weaver.NewPipeline(source, weaver.Pass[int](), sink))
		p.Writers, p.BatchSize, p.Retry = 4, 10, exactly
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		require.NoError(t, p.Run(ctx))
		got := sink.all()
		slices.Sort(got)
		require.Equal(t, below(1000), got)
		require.EqualValues(t, 1000, source.acked.Load())
	})
}

// triple makes three records of one, each with a key of its own.
func triple(_ context.Context, in *weaver.Batch[int], out *weaver.Emitter[int]) error {
	for i := range in.Records {
		for k := range 3 {
			r := out.Next(i)
			r.Value = 3*in.Records[i].Value + k
			r.Key = append(out.Bytes(0), fmt.Sprint("k", r.Value)...)
		}
	}
	return nil
}

// A record that became three is acknowledged when all three are written, not with the first.
func TestASplitRecordIsSettledWhole(t *testing.T) {
	for _, writers := range []int{1, 4} {
		t.Run(strconv.Itoa(writers), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				const n, stuck = 100, 3*20 + 1 // the middle piece of record 20
				source := &ints{n: n, step: 1, acks: true, endless: true}
				until := time.Now().Add(time.Minute)
				source.onAck = func(k int) error {
					if k > 20 && time.Now().Before(until) {
						t.Errorf("%d is acknowledged while a piece of record 20 is not written", k)
					}
					return nil
				}
				sink := &sunk[int]{write: func(_ context.Context, _ int, b *weaver.Batch[int]) error {
					for i := range b.Records {
						if b.Records[i].Value == stuck && time.Now().Before(until) {
							return errOut
						}
					}
					return nil
				}}
				p := hushed(weaver.NewPipeline(source, weaver.Processor[int, int](weaver.StageFunc[int, int](triple)), sink))
				p.Writers, p.BatchSize, p.Retry = writers, 2, exactly // three pieces are two Writes
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				require.NoError(t, p.Run(ctx))
				got := sink.all()
				slices.Sort(got)
				require.Equal(t, below(3*n), got)
				require.EqualValues(t, n, source.acked.Load())
			})
		})
	}
}

// Of a record that became three, one piece can't be written: it is this record that is dead-lettered.
func TestTheRightRecordIsBlamed(t *testing.T) {
	for _, writers := range []int{1, 4} {
		for style := range 3 {
			t.Run(fmt.Sprint(writers, style), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					bad := func(v int) bool { return v == 3*7+2 || v == 3*31 || v == 3*31+1 }
					sink := &sunk[int]{write: func(_ context.Context, _ int, b *weaver.Batch[int]) error {
						e := &weaver.BatchError{RolledBack: true}
						for i := range b.Records {
							if bad(b.Records[i].Value) {
								e.Records = append(e.Records, weaver.RecordError{Index: i, Err: retry.Permanent(errOut)})
							}
						}
						switch {
						case len(e.Records) == 0:
							return nil
						case style == 1:
							return retry.Permanent(errOut)
						case style == 2:
							return &weaver.BatchError{Err: retry.Permanent(errOut), RolledBack: true}
						}
						return e
					}}
					letters := &dead{}
					p := hushed(weaver.NewPipeline(&ints{n: 50}, weaver.Processor[int, int](weaver.StageFunc[int, int](triple)), sink))
					p.Writers, p.BatchSize, p.DeadLetter = writers, 20, letters
					require.NoError(t, p.Run(t.Context()))
					require.ElementsMatch(t, []int{7, 31}, letters.numbers())
					var want []int
					for v := range 150 {
						if !bad(v) {
							want = append(want, v)
						}
					}
					got := sink.all()
					slices.Sort(got)
					require.Equal(t, want, got)
				})
			})
		}
	}
}

// A record that is tried again is not the last word on its key: what came behind it is written again behind it.
func TestRetryKeepsOrderPerKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		refused := map[int]int{}
		var s *sunk[int]
		s = &sunk[int]{write: func(_ context.Context, _ int, b *weaver.Batch[int]) error {
			e := &weaver.BatchError{}
			for i := range b.Records {
				r := &b.Records[i]
				if r.Value%10 == 1 && refused[r.Value] < 2 {
					refused[r.Value]++
					e.Records = append(e.Records, weaver.RecordError{Index: i, Err: errOut})
					continue
				}
				s.mu.Lock()
				s.values, s.keys = append(s.values, r.Value), append(s.keys, string(r.Key))
				s.mu.Unlock()
			}
			if len(e.Records) > 0 {
				return e
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.values, s.keys = s.values[:len(s.values)-len(b.Records)], s.keys[:len(s.keys)-len(b.Records)] // the kit adds them
			return nil
		}}
		p := hushed(weaver.NewPipeline(&ints{n: 100, key: mod(3)}, weaver.Pass[int](), s))
		p.BatchSize, p.DeadLetter = 16, &dead{}
		require.NoError(t, p.Run(t.Context()))
		last := map[int]int{} // where each value stands for the last time
		for i, v := range s.all() {
			last[v] = i
		}
		require.Len(t, last, 100)
		for v := range 97 {
			require.Less(t, last[v], last[v+3], "the last of %d and of %d, which have one key", v, v+3)
		}
	})
}

// What a Writer is given is what was read, also while others read on: no memory is used again before its time.
func TestMemoryIsNotUsedTooEarly(t *testing.T) {
	for _, slow := range []time.Duration{0, time.Millisecond} {
		for name, process := range map[string]weaver.Processor[[]byte, []byte]{
			"pass": weaver.Pass[[]byte](),
			"map":  weaver.Map(func(v []byte) ([]byte, error) { return v, nil }),
		} {
			for _, writers := range []int{1, 3} {
				t.Run(fmt.Sprint(slow, name, writers), func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						const n = 2000
						source := weaver.SourceFunc[[]byte](func(_ context.Context, after weaver.Position, b *weaver.Batch[[]byte]) (weaver.Position, error) {
							at := posInt(after)
							for k := 0; at < n && k < 7; k++ {
								r := b.Add()
								r.Value = b.Copy(fmt.Appendf(nil, "value %d", at))
								r.Key = b.Copy(fmt.Appendf(nil, "%d", at))
								at++
							}
							return intPos(at), endAt(at, n)
						})
						seen := make(chan int, n)
						sink := weaver.SinkFunc[[]byte](func(_ context.Context, b *weaver.Batch[[]byte]) error {
							if slow > 0 {
								time.Sleep(slow)
							}
							for i := range b.Records {
								r := &b.Records[i]
								at, err := strconv.Atoi(string(r.Key))
								if want := fmt.Appendf(nil, "value %d", at); err != nil || !bytes.Equal(r.Value, want) {
									t.Errorf("key %q, value %q", r.Key, r.Value)
								}
								seen <- at
							}
							return nil
						})
						p := hushed(weaver.NewPipeline(source, process, sink))
						p.Writers, p.BatchSize, p.Parallelism = writers, 16, 2
						require.NoError(t, p.Run(t.Context()))
						require.Len(t, seen, n)
					})
				})
			}
		}
	}
}

// taken is a source whose one split is revoked, with a deadline, and never comes back.
type taken struct {
	*ints
	after time.Duration
	by    time.Duration
	told  chan struct{} // closed when the session is asked again: the split is another's now
}

type takenSession struct {
	s     *taken
	calls int
}

func (s *taken) Splits(context.Context) (weaver.Splits, error) { return &takenSession{s: s}, nil }

func (x *takenSession) Next(context.Context) (weaver.Change, error) {
	switch x.calls++; x.calls {
	case 1:
		return weaver.Change{Add: []weaver.Split{{ID: "a"}}}, nil
	case 2:
		time.Sleep(x.s.after)
		change := weaver.Change{Revoke: []string{"a"}}
		if x.s.by > 0 {
			change.By = time.Now().Add(x.s.by)
		}
		return change, nil
	}
	close(x.s.told)
	return weaver.Change{}, io.EOF
}

func (*takenSession) Close() error { return nil }

// What was not drained by the deadline is not acknowledged any more: the split is another's.
func TestNoAckAfterTheDeadline(t *testing.T) {
	for name, slow := range map[string]string{"save": "save", "write": "write", "commit": "commit"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				source := &taken{ints: &ints{n: 1000, step: 10, acks: true, endless: true}, after: 500 * time.Millisecond, by: time.Second, told: make(chan struct{})}
				source.onAck = func(n int) error {
					select {
					case <-source.told:
						t.Errorf("%d acknowledged after the deadline", n)
					default:
					}
					return nil
				}
				wait := func(w string) error {
					if w == slow {
						time.Sleep(10 * time.Second)
					}
					return nil
				}
				var sink weaver.Sink[int] = &sunk[int]{write: func(context.Context, int, *weaver.Batch[int]) error { return wait("write") }}
				if slow == "commit" {
					sink = &kept{commits: true, onFlush: func([]int) error { return wait("commit") }}
				}
				p := hushed(weaver.NewPipeline(source, weaver.Pass[int](), sink))
				p.Name, p.CheckpointInterval = "p", 100*time.Millisecond
				p.Checkpoint = outStore{checkpoint.NewMemory(), func() error {
					if source.opens.Load() > 0 { // not while it loads
						return wait("save")
					}
					return nil
				}}
				start := time.Now()
				require.NoError(t, p.Run(t.Context()))
				require.Less(t, time.Since(start), time.Minute)
			})
		})
	}
}

// A split that is revoked in time is drained, saved and acknowledged before the session is asked again.
func TestRevokeDrains(t *testing.T) {
	bubble(t, func(t *testing.T) {
		source := &taken{ints: &ints{n: 1000, step: 10, acks: true, endless: true, every: 10 * time.Millisecond}, after: 505 * time.Millisecond, told: make(chan struct{})}
		sink := &kept{onWrite: func([]int) error {
			time.Sleep(30 * time.Millisecond)
			return nil
		}}
		p := hushed(weaver.NewPipeline(source, weaver.Pass[int](), weaver.Sink[int](sink)))
		p.BatchSize = 10
		p.CheckpointInterval = time.Hour
		then := make(chan int64, 1)
		go func() {
			<-source.told
			then <- source.acked.Load()
		}()
		require.NoError(t, p.Run(t.Context()))
		require.Equal(t, int64(len(sink.all())), source.acked.Load())
		at := <-then
		require.Equal(t, source.acked.Load(), at)
		require.GreaterOrEqual(t, at, int64(100))
	})
}
