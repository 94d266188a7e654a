package serde_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/json"
)

// number is a codec that is easy to make fail.
var number = serde.Funcs[int]{
	AppendFunc: func(dst []byte, v int) ([]byte, error) {
		if v < 0 {
			return append(dst, "half of it"...), errors.New("negative")
		}
		return strconv.AppendInt(dst, int64(v), 10), nil
	},
	DecodeFunc: func(data []byte, v *int) (err error) {
		*v = -1
		*v, err = strconv.Atoi(string(data))
		return err
	},
}

func in(values ...string) *weaver.Batch[[]byte] {
	b := weaver.NewBatch[[]byte](0, 0)
	for i, v := range values {
		r := b.Add()
		r.Value, r.Seq, r.Key = []byte(v), int64(i+1), []byte("key"+v)
		r.Headers = weaver.Headers{{Key: "h", Value: []byte(v)}}
	}
	return b
}

func TestDecode(t *testing.T) {
	t.Parallel()
	b := in("1", "x"+strings.Repeat("\n", 1000), "3", "", "5", "")
	b.Records[3].Op, b.Records[3].Value = weaver.Delete, nil
	b.Records[4].Op = weaver.Delete
	out := weaver.NewBatch[int](0, 0)
	e := weaver.NewEmitter(out, len(b.Records))
	stage, err := serde.Decode(number).OpenStage(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	require.NoError(t, stage.Process(t.Context(), b, e))
	require.Len(t, out.Records, 4)
	for i, from := range []int{0, 2, 3, 4} {
		require.Equal(t, from, e.From(i))
		require.Equal(t, []int{1, 3, 0, 5}[i], out.Records[i].Value)
		require.Equal(t, b.Records[from].Key, out.Records[i].Key)
		require.Equal(t, b.Records[from].Op, out.Records[i].Op)
		require.Equal(t, b.Records[from].Seq, out.Records[i].Seq)
	}
	var failed []int
	e.Failures(func(from int, err error) bool {
		failed = append(failed, from)
		require.Equal(t, retry.ClassPoison, retry.ClassOf(err))
		var se *serde.Error
		require.ErrorAs(t, err, &se)
		require.Equal(t, int64(from+1), se.Seq)
		require.ErrorIs(t, err, strconv.ErrSyntax)
		require.NotContains(t, err.Error(), "\n")
		require.Less(t, len(se.Excerpt), 400)
		return true
	})
	require.Equal(t, []int{1, 5}, failed)
}

func TestEncode(t *testing.T) {
	t.Parallel()
	b := weaver.NewBatch[int](0, 0)
	for i, v := range []int{7, -1, 42, -1} {
		r := b.Add()
		r.Value, r.Seq, r.Key = v, int64(i+1), []byte("k")
	}
	b.Records[3].Op = weaver.Delete
	out := weaver.NewBatch[[]byte](0, 0)
	e := weaver.NewEmitter(out, len(b.Records))
	stage, err := serde.Encode(number).OpenStage(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	require.NoError(t, stage.Process(t.Context(), b, e))
	require.Len(t, out.Records, 3)
	require.Equal(t, "7", string(out.Records[0].Value))
	require.Equal(t, "42", string(out.Records[1].Value))
	require.Nil(t, out.Records[2].Value)
	require.Equal(t, weaver.Delete, out.Records[2].Op)
	require.Equal(t, int64(4), out.Records[2].Seq)
	e.Failures(func(from int, err error) bool {
		require.Equal(t, 1, from)
		require.EqualError(t, err, "encode seq 2: negative")
		require.Equal(t, retry.ClassPoison, retry.ClassOf(err))
		return true
	})

	inf := weaver.NewBatch[float64](0, 0)
	inf.Add().Value = math.Inf(1)
	e = weaver.NewEmitter(out, 1)
	floats, err := serde.Encode(json.Codec[float64]{}).OpenStage(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	require.NoError(t, floats.Process(t.Context(), inf, e))
	e.Failures(func(_ int, err error) bool {
		require.Equal(t, retry.ClassPoison, retry.ClassOf(err))
		return true
	})
}

func TestHalfACodec(t *testing.T) {
	t.Parallel()
	_, err := serde.Funcs[int]{}.Append(nil, 1)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	require.Equal(t, retry.ClassFatal, retry.ClassOf(serde.Funcs[int]{}.Decode(nil, nil)))
}

// feed is a Source with every capability.
type feed struct {
	batches []func(b *weaver.Batch[[]byte]) (weaver.Position, error)
	acked   []weaver.Position
	closed  bool
}

func (f *feed) String() string                                { return "feed" }
func (f *feed) Queue() bool                                   { return true }
func (f *feed) CheckHealth(context.Context) error             { return errors.New("ill") }
func (f *feed) Splits(context.Context) (weaver.Splits, error) { return nil, errors.New("no splits") }

func (f *feed) Ack(_ context.Context, p weaver.Position) error {
	f.acked = append(f.acked, p)
	return nil
}

func (f *feed) Finish(context.Context) error { return errors.New("finished") }

func (f *feed) Lag() weaver.Lag { return weaver.Lag{Records: 5} }

func (f *feed) Close() error { f.closed = true; return nil }

func (f *feed) OpenReader(context.Context, weaver.Lane) (weaver.Reader[[]byte], error) { return f, nil }

func (f *feed) Read(_ context.Context, b *weaver.Batch[[]byte]) (weaver.Position, error) {
	if len(f.batches) == 0 {
		return nil, errors.New("read after the end")
	}
	next := f.batches[0]
	f.batches = f.batches[1:]
	return next(b)
}

func (f *feed) then(p string, err error, values ...string) {
	f.batches = append(f.batches, func(b *weaver.Batch[[]byte]) (weaver.Position, error) {
		for _, r := range in(values...).Records {
			*b.Add() = r
		}
		return weaver.Position(p), err
	})
}

func TestSourceReadsAsItsSourceDoes(t *testing.T) {
	t.Parallel()
	f := &feed{}
	f.then("p1", nil, "1", "two", "3")
	f.then("p2", weaver.ErrFull)
	broken := errors.New("broken")
	f.then("lost", broken, "9")
	f.then("p3", io.EOF, "4", "5", "6")
	src := serde.Source[int](f, number)
	require.Equal(t, "serde.Source of feed", src.(fmt.Stringer).String())
	queue, ok := weaver.As[weaver.Queue](src)
	require.True(t, ok && queue.Queue())
	health, _ := weaver.As[weaver.HealthChecker](src)
	require.EqualError(t, health.CheckHealth(t.Context()), "ill")
	_, ok = weaver.As[weaver.Splitter](src)
	require.True(t, ok)
	r, err := src.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	acker, ok := weaver.As[weaver.Acker](r)
	require.True(t, ok)
	require.NoError(t, acker.Ack(t.Context(), weaver.Position("p")))
	finisher, _ := weaver.As[weaver.Finisher](r)
	require.EqualError(t, finisher.Finish(t.Context()), "finished")
	lag, _ := weaver.As[weaver.LagReporter](r)
	require.Equal(t, int64(5), lag.Lag().Records)

	b := weaver.NewBatch[int](0, 0)
	read := func() (string, error) {
		b.Reset()
		p, err := r.Read(t.Context(), b)
		return string(p), err
	}
	p, err := read()
	require.NoError(t, err)
	require.Equal(t, "p1", p)
	require.Equal(t, []int{1, 3}, valuesOf(b))
	require.Equal(t, "key3", string(b.Records[1].Key))
	require.Equal(t, weaver.Headers{{Key: "h", Value: []byte("3")}}, b.Records[1].Headers)
	rejects := 0
	for _, x := range b.Rejects() {
		rejects++
		require.Equal(t, "two", string(x.Raw))
		require.Equal(t, int64(2), x.Seq)
		require.Equal(t, retry.ClassPoison, retry.ClassOf(x.Err))
		require.ErrorContains(t, x.Err, `decode seq 2: strconv.Atoi: parsing "two": invalid syntax: "two"`)
	}
	require.Equal(t, 1, rejects)

	p, err = read()
	require.Equal(t, weaver.ErrFull, err)
	require.Equal(t, "p2", p)
	_, err = read()
	require.Equal(t, broken, err)
	p, err = read()
	require.Equal(t, io.EOF, err)
	require.Equal(t, "p3", p)
	require.Equal(t, []int{4, 5, 6}, valuesOf(b))
	require.NoError(t, r.Close())
	require.True(t, f.closed)
}

func valuesOf(b *weaver.Batch[int]) []int {
	out := []int{}
	for _, r := range b.Records {
		out = append(out, r.Value)
	}
	return out
}

// counting fills what it is given, and knows how much that was.
type counting struct{ feed }

func (c *counting) OpenReader(context.Context, weaver.Lane) (weaver.Reader[[]byte], error) {
	return c, nil
}

func (c *counting) Read(_ context.Context, b *weaver.Batch[[]byte]) (weaver.Position, error) {
	for !b.Full() {
		b.Add().Value = []byte("1")
	}
	return weaver.Position("p"), nil
}

func TestSourceFindsTheRightSize(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 100, 512, 5000} {
		r, err := serde.Source[int](&counting{}, number).OpenReader(t.Context(), weaver.Lane{})
		require.NoError(t, err)
		b := weaver.NewBatch[int](size, 0)
		for range 100 {
			b.Reset()
			_, err = r.Read(t.Context(), b)
			require.NoError(t, err)
		}
		for range 5 {
			b.Reset()
			p, err := r.Read(t.Context(), b)
			require.NoError(t, err)
			require.Len(t, b.Records, size)
			if size <= 512 {
				require.Equal(t, "p", string(p))
			}
		}
	}
}

// store is a Sink with every capability.
type store struct {
	wrote  [][]string
	fail   error
	closed bool
}

func (s *store) OpenWriter(context.Context, weaver.Lane) (weaver.Writer[[]byte], error) {
	return s, nil
}
func (s *store) CheckHealth(context.Context) error       { return errors.New("ill") }
func (s *store) Due() bool                               { return true }
func (s *store) Flush(context.Context) error             { return errors.New("flushed") }
func (s *store) Restore(context.Context) ([]byte, error) { return []byte("envelope"), nil }
func (s *store) Commit(context.Context, []byte) error    { return errors.New("committed") }
func (s *store) Close() error                            { s.closed = true; return nil }

func (s *store) Write(_ context.Context, b *weaver.Batch[[]byte]) error {
	var all []string
	for _, r := range b.Records {
		all = append(all, fmt.Sprintf("%s %s %s %t", r.Op, r.Key, r.Value, r.Value == nil))
	}
	s.wrote = append(s.wrote, all)
	return s.fail
}

func TestSink(t *testing.T) {
	t.Parallel()
	s := &store{}
	sink := serde.Sink[int](s, number)
	health, _ := weaver.As[weaver.HealthChecker](sink)
	require.EqualError(t, health.CheckHealth(t.Context()), "ill")
	w, err := sink.OpenWriter(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	keeper, ok := weaver.As[weaver.Checkpointer](w)
	require.True(t, ok)
	envelope, err := keeper.Restore(t.Context())
	require.NoError(t, err)
	require.Equal(t, "envelope", string(envelope))
	require.EqualError(t, keeper.Commit(t.Context(), nil), "committed")
	flusher, ok := weaver.As[weaver.Flusher](w)
	require.True(t, ok && flusher.Due())

	batch := func(values ...int) *weaver.Batch[int] {
		b := weaver.NewBatch[int](0, 0)
		for _, v := range values {
			r := b.Add()
			r.Value, r.Key = v, []byte("k")
			if v == 0 {
				r.Op = weaver.Delete
			}
		}
		return b
	}
	write := func(values ...int) *weaver.BatchError {
		s.wrote = nil
		err := w.Write(t.Context(), batch(values...))
		var partial *weaver.BatchError
		if err != nil {
			require.ErrorAs(t, err, &partial)
		}
		return partial
	}
	indexes := func(e *weaver.BatchError) (all []int) {
		for _, r := range e.Records {
			all = append(all, r.Index)
			require.Equal(t, retry.ClassPoison, retry.ClassOf(r.Err))
		}
		return all
	}

	require.Nil(t, write(1, 0, 22))
	require.Equal(t, [][]string{{"upsert k 1 false", "delete k  true", "upsert k 22 false"}}, s.wrote)

	e := write(-1, 1, -1, 2)
	require.Equal(t, []int{0, 2}, indexes(e))
	require.False(t, e.RolledBack)
	require.Equal(t, [][]string{{"upsert k 1 false", "upsert k 2 false"}}, s.wrote)

	require.Equal(t, []int{0}, indexes(write(-1)))
	require.Empty(t, s.wrote)

	s.fail = &weaver.BatchError{RolledBack: true, Records: []weaver.RecordError{{Index: 1, Err: retry.Permanent(errors.New("no"))}}}
	e = write(1, -1, 2, 3)
	require.Equal(t, []int{1, 2}, indexes(e))
	require.True(t, e.RolledBack)
	require.Same(t, s.fail, error(write(1, 2)))

	s.fail = errors.New("outage")
	require.Equal(t, s.fail, w.Write(t.Context(), batch(1, -1)))
	require.NoError(t, w.Close())
	require.True(t, s.closed)
}

func TestNil(t *testing.T) {
	t.Parallel()
	_, err := serde.Source[int](nil, number).OpenReader(t.Context(), weaver.Lane{})
	require.Error(t, err)
	_, err = serde.Sink[int](&store{}, nil).OpenWriter(t.Context(), weaver.Lane{})
	require.Error(t, err)
}

func TestExcerpt(t *testing.T) {
	t.Parallel()
	require.Equal(t, `"a\n\x00"`, serde.Excerpt([]byte("a\n\x00")))
	require.Equal(t, `""`, serde.Excerpt(nil))
	require.Equal(t, `"`+strings.Repeat("x", 128)+`"… (129 bytes)`, serde.Excerpt([]byte(strings.Repeat("x", 129))))
}

func BenchmarkDecode(b *testing.B) {
	batch := in(strings.Split(strings.Repeat("1234567 ", 511)+"7", " ")...)
	out := weaver.NewBatch[int](0, 0)
	stage, err := serde.Decode(number).OpenStage(b.Context(), weaver.Lane{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		if err := stage.Process(b.Context(), batch, weaver.NewEmitter(out, 512)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/512, "ns/record")
}

func BenchmarkEncode(b *testing.B) {
	batch := weaver.NewBatch[int](0, 0)
	for i := range 512 {
		batch.Add().Value = i
	}
	out := weaver.NewBatch[[]byte](0, 0)
	stage, err := serde.Encode(number).OpenStage(b.Context(), weaver.Lane{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		if err := stage.Process(b.Context(), batch, weaver.NewEmitter(out, 512)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/512, "ns/record")
}
