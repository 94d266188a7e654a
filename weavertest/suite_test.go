package weavertest_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/framework/memory"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// sample is record i of a sink's test.
func sample(i int) weaver.Record[[]byte] {
	return weaver.Record[[]byte]{
		Value: []byte("value " + strconv.Itoa(i)), Key: []byte("key " + strconv.Itoa(i)), Time: time.Unix(int64(i), 0),
		Headers: weaver.Headers{{Key: "h", Value: []byte{byte(i)}}},
	}
}

func samples(n int) []weaver.Record[[]byte] {
	out := make([]weaver.Record[[]byte], n)
	for i := range out {
		out[i] = sample(i)
	}
	return out
}

func TestMockSourceKeepsTheContract(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(s *weavertest.Source[[]byte], c *weavertest.SourceCase[[]byte]){
		"as it is":  func(*weavertest.Source[[]byte], *weavertest.SourceCase[[]byte]) {},
		"eager":     func(s *weavertest.Source[[]byte], _ *weavertest.SourceCase[[]byte]) { s.EagerEOF = true },
		"few marks": func(s *weavertest.Source[[]byte], _ *weavertest.SourceCase[[]byte]) { s.PositionEvery = 3 },
		"no ack":    func(s *weavertest.Source[[]byte], _ *weavertest.SourceCase[[]byte]) { s.NoAck = true },
		"window":    func(s *weavertest.Source[[]byte], _ *weavertest.SourceCase[[]byte]) { s.Window = 2 },
		"remembers": func(s *weavertest.Source[[]byte], _ *weavertest.SourceCase[[]byte]) { s.Remembers = true },
		"queue":     func(s *weavertest.Source[[]byte], _ *weavertest.SourceCase[[]byte]) { s.IsQueue = true },
		"endless": func(s *weavertest.Source[[]byte], c *weavertest.SourceCase[[]byte]) {
			s.Endless, c.Endless = true, true
		},
		"short": func(s *weavertest.Source[[]byte], _ *weavertest.SourceCase[[]byte]) { s.ReadSize = 1 },
		"two splits": func(s *weavertest.Source[[]byte], c *weavertest.SourceCase[[]byte]) {
			s.Add("b", sample(9))
			c.Want["b"] = []weaver.Record[[]byte]{sample(9)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := weavertest.SourceCase[[]byte]{Want: map[string][]weaver.Record[[]byte]{"a": samples(7)}}
			set(&weavertest.Source[[]byte]{}, &c)
			var last *weavertest.Source[[]byte]
			c.New = func(context.Context) (weaver.Source[[]byte], error) {
				if last != nil {
					require.NoError(t, last.Check(), "what the suite does is itself no misuse")
				}
				last = &weavertest.Source[[]byte]{Overlap: true}
				last.Add("a", samples(7)...)
				set(last, &weavertest.SourceCase[[]byte]{Want: map[string][]weaver.Record[[]byte]{}})
				return last, nil
			}
			require.NoError(t, weavertest.TestSource(t.Context(), c))
		})
	}
}

func TestMockSinkKeepsTheContract(t *testing.T) {
	t.Parallel()
	for _, mode := range []weavertest.Mode{weavertest.Plain, weavertest.Buffered, weavertest.Transactional} {
		for _, refusal := range []weavertest.Refusal{weavertest.Named, weavertest.NamedAll, weavertest.Unnamed, weavertest.AtFlush} {
			if mode == weavertest.Plain && refusal == weavertest.AtFlush {
				continue
			}
			t.Run(fmt.Sprint(mode, refusal), func(t *testing.T) {
				t.Parallel()
				require.NoError(t, weavertest.TestSink(t.Context(), weavertest.SinkCase[[]byte]{
					New: func(context.Context) (weaver.Sink[[]byte], func(context.Context) ([]weaver.Record[[]byte], error), error) {
						s := weavertest.NewSink[[]byte]()
						s.Mode, s.Refusal = mode, refusal
						s.Refuse = func(r weaver.Record[[]byte]) error {
							if string(r.Value) == "poison" {
								return errBroken
							}
							return nil
						}
						return s, func(context.Context) ([]weaver.Record[[]byte], error) { return s.Durable(), nil }, nil
					},
					Record: sample,
					Poison: func() weaver.Record[[]byte] { return weaver.Record[[]byte]{Value: []byte("poison")} },
				}))
			})
		}
	}
}

func newMemory(context.Context) (weaver.Framework, error) { return memory.New(), nil }

func TestMemoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	require.NoError(t, weavertest.TestFramework(t.Context(), weavertest.FrameworkCase{New: newMemory}))
	want := samples(9)
	for _, group := range []string{"", "g"} {
		require.NoError(t, weavertest.TestSource(t.Context(), weavertest.SourceCase[[]byte]{
			New: func(ctx context.Context) (weaver.Source[[]byte], error) {
				fw := memory.New()
				if err := fw.CreateStream(ctx, weaver.Stream{Name: "s"}); err != nil {
					return nil, err
				}
				w, err := fw.Produce("s").OpenWriter(ctx, weaver.Lane{})
				if err != nil {
					return nil, err
				}
				b := weaver.NewBatch[[]byte](0, 0)
				b.Records = want
				return fw.Consume("s", group), errors.Join(w.Write(ctx, b), w.Close())
			},
			Want:    map[string][]weaver.Record[[]byte]{"0": want},
			Endless: true,
		}))
	}
	require.NoError(t, weavertest.TestSink(t.Context(), weavertest.SinkCase[[]byte]{
		New: func(ctx context.Context) (weaver.Sink[[]byte], func(context.Context) ([]weaver.Record[[]byte], error), error) {
			fw := memory.New()
			fw.MaxBytes = 1 << 20
			durable := func(ctx context.Context) ([]weaver.Record[[]byte], error) {
				r, err := fw.Consume("s", "").OpenReader(ctx, weaver.Lane{Split: weaver.Split{ID: "0"}})
				if err != nil {
					return nil, err
				}
				if err := r.(weaver.Finisher).Finish(ctx); err != nil {
					return nil, err
				}
				b := weaver.NewBatch[[]byte](0, 0)
				for err == nil {
					_, err = r.Read(ctx, b)
				}
				return b.Records, r.Close()
			}
			return fw.Produce("s"), durable, fw.CreateStream(ctx, weaver.Stream{Name: "s"})
		},
		Record: sample,
		Poison: func() weaver.Record[[]byte] { return weaver.Record[[]byte]{Value: make([]byte, 2<<20)} },
	}))
}

func TestStoresKeepTheContract(t *testing.T) {
	t.Parallel()
	require.NoError(t, weavertest.TestCheckpointStore(t.Context(), weavertest.StoreCase{
		New: func(context.Context) (checkpoint.Store, error) { return checkpoint.NewMemory(), nil },
	}))
	dirs := make(map[checkpoint.Store]string)
	require.NoError(t, weavertest.TestCheckpointStore(t.Context(), weavertest.StoreCase{
		New: func(context.Context) (checkpoint.Store, error) {
			dir := t.TempDir()
			s := checkpoint.NewFile(dir)
			dirs[s] = dir
			return s, nil
		},
		Reopen: func(_ context.Context, s checkpoint.Store) (checkpoint.Store, error) {
			again := checkpoint.NewFile(dirs[s])
			dirs[again] = dirs[s]
			return again, nil
		},
		Patience: time.Minute, // a disk is slow
	}))
}

func TestSuitesRefuseWhatTheyCannotCheck(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	require.ErrorContains(t, weavertest.TestSource(ctx, weavertest.SourceCase[int]{}), "needs New and Want")
	require.ErrorContains(t, weavertest.TestSink(ctx, weavertest.SinkCase[int]{}), "needs New and Record")
	require.ErrorContains(t, weavertest.TestFramework(ctx, weavertest.FrameworkCase{}), "needs New")
	require.ErrorContains(t, weavertest.TestCheckpointStore(ctx, weavertest.StoreCase{}), "needs New")
	require.ErrorContains(t, weavertest.TestFramework(ctx, weavertest.FrameworkCase{New: newMemory, Skip: []string{"x"}}), `"x"`)
	broken := func(context.Context) (weaver.Framework, error) { return nil, errBroken }
	require.ErrorIs(t, weavertest.TestFramework(ctx, weavertest.FrameworkCase{New: broken}), errBroken)
	few := map[string][]weaver.Record[int]{"": make([]weaver.Record[int], 2)}
	require.ErrorContains(t, weavertest.TestSource(ctx, weavertest.SourceCase[int]{
		New: func(context.Context) (weaver.Source[int], error) { return weavertest.NewSource[int](), nil }, Want: few,
	}), "three records")

	ended, cancel := context.WithCancel(ctx)
	cancel()
	var rule *weavertest.RuleError
	require.False(t, errors.As(weavertest.TestFramework(ended, weavertest.FrameworkCase{New: newMemory}), &rule), "a stop is no broken rule")
}

// TestSuitesUnderAVirtualClock shows that waiting for a broken connector costs no time there.
func TestSuitesUnderAVirtualClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		require.NoError(t, weavertest.TestFramework(t.Context(), weavertest.FrameworkCase{New: newMemory}))
	})
}
