package serde_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde"
)

// remote is number with a server that is out for a while, more often than any record is tried.
type remote struct {
	serde.Funcs[int]
	mu    sync.Mutex
	calls int
	class func(error) error
}

const outageBegins, outageEnds = 50, 70 // in calls

func newRemote(class func(error) error) *remote { return &remote{Funcs: number, class: class} }

func (*remote) Remote() bool { return true }

func (r *remote) out() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.calls > outageBegins && r.calls <= outageEnds {
		return r.class(errors.New("the server is out"))
	}
	return nil
}

func (r *remote) Append(dst []byte, v int) ([]byte, error) {
	if err := r.out(); err != nil {
		return append(dst, "half"...), err
	}
	return r.Funcs.Append(dst, v)
}

func (r *remote) Decode(data []byte, v *int) error {
	if err := r.out(); err != nil {
		return err
	}
	return r.Funcs.Decode(data, v)
}

// wrapped is a codec that passes every call on to another one.
type wrapped struct{ serde.Codec[int] }

func (w wrapped) Unwrap() any { return w.Codec }

type collected[T any] struct {
	mu     sync.Mutex
	values []T
}

func (c *collected[T]) OpenWriter(context.Context, weaver.Lane) (weaver.Writer[T], error) {
	return collectedWriter[T]{c}, nil
}

type collectedWriter[T any] struct{ c *collected[T] }

func (w collectedWriter[T]) Close() error { return nil }

func (w collectedWriter[T]) Write(_ context.Context, b *weaver.Batch[T]) error {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	for _, r := range b.Records {
		w.c.values = append(w.c.values, r.Value)
	}
	return nil
}

func numbers[T any](n int, of func(i int) T) weaver.Source[T] {
	return weaver.FromSeq(func(yield func(T, error) bool) {
		for i := range n {
			if !yield(of(i), nil) {
				return
			}
		}
	})
}

func digits(i int) []byte { return fmt.Append(nil, i) }

func letters(i int) []byte {
	if i%20 == 7 {
		return []byte("x")
	}
	return digits(i)
}

// ends makes of bytes what a sink of bytes is given.
type ends struct {
	*collected[[]byte]
}

func (e ends) OpenWriter(context.Context, weaver.Lane) (weaver.Writer[[]byte], error) { return e, nil }

func (e ends) Close() error { return nil }

func (e ends) Write(_ context.Context, b *weaver.Batch[[]byte]) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range b.Records {
		e.values = append(e.values, slices.Clone(r.Value))
	}
	return nil
}

// An outage of what a codec needs pauses the pipeline, wherever the codec is, and no record is blamed for it; one that is wrong is, before and after.
func TestOutagePauses(t *testing.T) {
	t.Parallel()
	policy := retry.Policy{Initial: time.Microsecond, Max: time.Millisecond, MaxAttempts: 2}
	throttled := func(err error) error { return retry.After(err, time.Microsecond) }
	const n = 200
	type result struct{ values, dead int }
	for name, test := range map[string]func(t *testing.T, c serde.Codec[int]) (result, error){
		"Decode": func(t *testing.T, c serde.Codec[int]) (result, error) {
			sink, dead := &collected[int]{}, &collected[weaver.Rejected[[]byte]]{}
			p := weaver.NewPipeline(numbers(n, letters), serde.Decode(c), sink)
			p.DeadLetter, p.Retry, p.BatchSize, p.Log = dead, policy, 16, slog.New(slog.DiscardHandler)
			err := p.Run(t.Context())
			return result{len(sink.values), len(dead.values)}, err
		},
		"Decode in Then": func(t *testing.T, c serde.Codec[int]) (result, error) {
			sink, dead := &collected[int]{}, &collected[weaver.Rejected[[]byte]]{}
			p := weaver.NewPipeline(numbers(n, letters), weaver.Then(serde.Decode(c), weaver.Map(func(v int) (int, error) { return v, nil })), sink)
			p.DeadLetter, p.Retry, p.BatchSize, p.Log = dead, policy, 16, slog.New(slog.DiscardHandler)
			err := p.Run(t.Context())
			return result{len(sink.values), len(dead.values)}, err
		},
		"Source": func(t *testing.T, c serde.Codec[int]) (result, error) {
			sink, dead := &collected[int]{}, &collected[weaver.Rejected[int]]{}
			p := weaver.Copy(serde.Source(numbers(n, letters), c), sink)
			p.DeadLetter, p.Retry, p.BatchSize, p.Log = dead, policy, 16, slog.New(slog.DiscardHandler)
			err := p.Run(t.Context())
			return result{len(sink.values), len(dead.values)}, err
		},
		"Encode": func(t *testing.T, c serde.Codec[int]) (result, error) {
			sink, dead := ends{&collected[[]byte]{}}, &collected[weaver.Rejected[int]]{}
			p := weaver.NewPipeline(numbers(n, negative), serde.Encode(c), sink)
			p.DeadLetter, p.Retry, p.BatchSize, p.Log = dead, policy, 16, slog.New(slog.DiscardHandler)
			err := p.Run(t.Context())
			return result{len(sink.values), len(dead.values)}, err
		},
		"Sink": func(t *testing.T, c serde.Codec[int]) (result, error) {
			sink, dead := ends{&collected[[]byte]{}}, &collected[weaver.Rejected[int]]{}
			p := weaver.Copy(numbers(n, negative), serde.Sink(sink, c))
			p.DeadLetter, p.Retry, p.BatchSize, p.Log = dead, policy, 16, slog.New(slog.DiscardHandler)
			err := p.Run(t.Context())
			return result{len(sink.values), len(dead.values)}, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, class := range []func(error) error{retry.Transient, throttled} {
				codec := newRemote(class)
				got, err := test(t, codec)
				require.NoError(t, err)
				require.Equal(t, result{n - n/20, n / 20}, got, "what is wrong is dead-lettered, and nothing else")
				require.Greater(t, codec.calls, n+outageEnds-outageBegins)
			}
			got, err := test(t, wrapped{newRemote(retry.Transient)})
			require.NoError(t, err)
			require.Equal(t, result{n - n/20, n / 20}, got)

			_, err = test(t, newRemote(retry.Fatal))
			require.ErrorContains(t, err, "the server is out")

			got, err = test(t, newRemote(func(err error) error { return err }))
			require.NoError(t, err)
			require.Equal(t, n, got.values+got.dead)
			require.GreaterOrEqual(t, got.dead, n/20+outageEnds-outageBegins-2, "what isn't marked is poison")
		})
	}
}

func negative(i int) int {
	if i%20 == 7 {
		return -1
	}
	return i
}

func TestRemoteDecodeCarriesAll(t *testing.T) {
	t.Parallel()
	b := in("1", "", "3")
	b.Records[1].Op, b.Records[1].Value = weaver.Delete, nil
	out := weaver.NewBatch[int](0, 0)
	e := weaver.NewEmitter(out, len(b.Records))
	stage, err := serde.Decode[int](newRemote(retry.Transient)).OpenStage(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	require.NoError(t, stage.Process(t.Context(), b, e))
	require.Len(t, out.Records, 3)
	for i, r := range out.Records {
		require.Equal(t, []int{1, 0, 3}[i], r.Value)
		require.Equal(t, b.Records[i].Key, r.Key)
		require.Equal(t, b.Records[i].Op, r.Op)
		require.Equal(t, b.Records[i].Seq, r.Seq)
		require.Equal(t, b.Records[i].Headers, r.Headers)
	}
}

// panicking is a remote codec that panics at one value.
type panicking struct{ *remote }

func (p panicking) Decode(data []byte, v *int) error {
	if string(data) == "33" {
		panic("at 33")
	}
	return p.remote.Decode(data, v)
}

// A panic of a remote codec is the fault of one record, which is found, as it is with any other codec.
func TestRemotePanics(t *testing.T) {
	t.Parallel()
	sink, dead := &collected[int]{}, &collected[weaver.Rejected[[]byte]]{}
	p := weaver.NewPipeline(numbers(100, digits), serde.Decode[int](panicking{newRemote(retry.Transient)}), sink)
	p.DeadLetter, p.BatchSize, p.Log = dead, 16, slog.New(slog.DiscardHandler)
	p.Retry = retry.Policy{Initial: time.Microsecond, Max: time.Millisecond}
	require.NoError(t, p.Run(t.Context()))
	require.Len(t, sink.values, 99)
	require.NotContains(t, sink.values, 33)
	require.Len(t, dead.values, 1)
	require.Contains(t, dead.values[0].Error, "at 33")
}
