package weavertest_test

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/weavertest"
)

func openWriter[T any](t *testing.T, s weaver.Sink[T], at weaver.Lane) weaver.Writer[T] {
	t.Helper()
	w, err := s.OpenWriter(t.Context(), at)
	require.NoError(t, err)
	return w
}

func batchOf[T any](vs ...T) *weaver.Batch[T] {
	b := weaver.NewBatch[T](0, 0)
	for _, v := range vs {
		b.Add().Value = v
	}
	return b
}

func TestSinkModes(t *testing.T) {
	t.Parallel()
	s := weavertest.NewSink[int]()
	w := openWriter(t, s, weaver.Lane{})
	require.NoError(t, w.Write(t.Context(), batchOf(1, 2)))
	require.Equal(t, []int{1, 2}, s.Values())
	require.NoError(t, w.Close())

	s = weavertest.NewSink[int]()
	s.Mode, s.DueEvery = weavertest.Buffered, 3
	w = openWriter(t, s, weaver.Lane{})
	f := w.(weaver.Flusher)
	require.NoError(t, w.Write(t.Context(), batchOf(1, 2)))
	require.False(t, f.Due())
	require.NoError(t, w.Write(t.Context(), batchOf(3)))
	require.True(t, f.Due())
	require.Empty(t, s.Durable())
	require.NoError(t, f.Flush(t.Context()))
	require.False(t, f.Due())
	require.NoError(t, w.Write(t.Context(), batchOf(4)))
	require.NoError(t, w.Close())
	require.Equal(t, []int{1, 2, 3}, s.Values(), "Close loses what is staged")
	require.Len(t, s.Written(), 4)
	require.NoError(t, s.Check())
}

func TestSinkTransactions(t *testing.T) {
	t.Parallel()
	s := weavertest.NewSink[int]()
	s.Mode = weavertest.Transactional
	at := weaver.Lane{Split: weaver.Split{ID: "a"}}
	open := func() (weaver.Writer[int], weaver.Checkpointer) {
		w := openWriter(t, s, at)
		c, ok := weaver.As[weaver.Checkpointer](w)
		require.True(t, ok)
		return w, c
	}
	w1, c1 := open()
	e, err := c1.Restore(t.Context())
	require.NoError(t, err)
	require.Nil(t, e)
	require.NoError(t, w1.Write(t.Context(), batchOf(1)))
	require.NoError(t, c1.Commit(t.Context(), []byte("one")))
	require.NoError(t, w1.Write(t.Context(), batchOf(2)))

	w2, c2 := open()
	e, err = c2.Restore(t.Context())
	require.NoError(t, err)
	require.Equal(t, "one", string(e))
	require.ErrorIs(t, c1.Commit(t.Context(), []byte("late")), weavertest.ErrFenced)
	require.NoError(t, c2.Commit(t.Context(), nil))
	e, commits := s.Envelope("a")
	require.Empty(t, e)
	require.Equal(t, 2, commits)
	require.Equal(t, []int{1}, s.Values())
	require.NoError(t, w1.Close())
	require.NoError(t, w2.Close())

	w3, c3 := open()
	e, err = c3.Restore(t.Context())
	require.NoError(t, err)
	require.NotNil(t, e, "an empty envelope is one")
	require.NoError(t, w3.Close())
	require.NoError(t, s.Check())
}

func TestSinkFaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := weavertest.NewSink[int]()
		s.Faults = []weavertest.Fault{
			{Wait: time.Hour, Err: errBroken},
			{At: 1, Err: &weaver.BatchError{Records: []weaver.RecordError{{Index: 1, Err: errBroken}, {Index: 99, Err: errBroken}}}},
			{At: 4, Err: errBroken, Lost: true},
		}
		w := openWriter(t, s, weaver.Lane{})
		start := time.Now()
		require.Equal(t, errBroken, w.Write(t.Context(), batchOf(0)))
		require.Equal(t, time.Hour, time.Since(start))
		require.NoError(t, w.Close())

		w = openWriter(t, s, weaver.Lane{Resume: true})
		require.NoError(t, w.Write(t.Context(), batchOf(1)))
		var partial *weaver.BatchError
		require.ErrorAs(t, w.Write(t.Context(), batchOf(2, 3, 4)), &partial)
		require.NoError(t, w.Write(t.Context(), batchOf(6)), "the writer is well after a BatchError")
		require.Equal(t, errBroken, w.Write(t.Context(), batchOf(5)))
		require.NoError(t, w.Close())
		require.Equal(t, []int{1, 2, 4, 6, 5}, s.Values())
		require.NoError(t, s.Check())
	})
}

func TestSinkRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		refusal weavertest.Refusal
		named   []int // in the BatchError; nil: it is none
		durable []int
	}{
		{weavertest.Named, []int{1}, []int{0, 2}},
		{weavertest.NamedAll, []int{1}, nil},
		{weavertest.Unnamed, []int{}, nil},
		{weavertest.WriteBroken, nil, nil},
		{weavertest.AtFlush, nil, nil},
	} {
		s := weavertest.NewSink[int]()
		s.Mode, s.Refusal = weavertest.Buffered, c.refusal
		s.Refuse = func(r weaver.Record[int]) error {
			if r.Value == 1 {
				return errBroken
			}
			return nil
		}
		w := openWriter(t, s, weaver.Lane{})
		err := w.Write(t.Context(), batchOf(0, 1, 2))
		var partial *weaver.BatchError
		if errors.As(err, &partial) {
			named := []int{}
			for _, r := range partial.Records {
				named = append(named, r.Index)
			}
			require.Equal(t, c.named, named)
		} else {
			require.Nil(t, c.named)
		}
		if err == nil || partial != nil {
			err = w.(weaver.Flusher).Flush(t.Context())
		}
		require.Equal(t, partial == nil, err != nil)
		require.NoError(t, w.Close())
		require.Equal(t, c.durable, s.Values())
	}
}

// TestSinkCopies overwrites everything that was written.
func TestSinkCopies(t *testing.T) {
	t.Parallel()
	type nested struct {
		Raw   json.RawMessage
		Ptr   *[]byte
		Map   map[string][]byte
		Any   any
		Array [1][]byte
		When  time.Time
	}
	text := func() []byte { return []byte("text") }
	fresh := func() nested {
		p := text()
		return nested{text(), &p, map[string][]byte{"k": text()}, text(), [1][]byte{text()}, time.Unix(1, 0)}
	}
	s := weavertest.NewDeadLetters[nested]()
	w := openWriter(t, s, weaver.Lane{})
	v := fresh()
	b := batchOf(weaver.Rejected[nested]{Value: &v, Raw: text(), Headers: weaver.Headers{{Key: "k", Value: text()}}})
	b.Records[0].Key = b.Copy(text())
	require.NoError(t, w.Write(t.Context(), b))
	rejected := b.Records[0].Value
	for _, p := range [][]byte{v.Raw, *v.Ptr, v.Map["k"], v.Any.([]byte), v.Array[0], rejected.Raw, rejected.Headers[0].Value, b.Records[0].Key} {
		copy(p, "####")
	}
	v.When = time.Time{}
	got := s.Durable()[0]
	want := fresh()
	require.Equal(t, "text", string(got.Key))
	require.Equal(t, weaver.Rejected[nested]{Value: &want, Raw: text(), Headers: weaver.Headers{{Key: "k", Value: text()}}}, got.Value)
	require.NoError(t, w.Close())
}

// The engine uses a batch again, and with it what Rejected.Value points to.
func TestDeadLettersKeepPlainValues(t *testing.T) {
	t.Parallel()
	s := weavertest.NewDeadLetters[int]()
	w := openWriter(t, s, weaver.Lane{})
	values := []int{1, 2}
	b := batchOf(weaver.Rejected[int]{Value: &values[0]}, weaver.Rejected[int]{Value: &values[1]}, weaver.Rejected[int]{})
	require.NoError(t, w.Write(t.Context(), b))
	clear(values)
	got := s.Values()
	require.Equal(t, []int{1, 2}, []int{*got[0].Value, *got[1].Value})
	require.Nil(t, got[2].Value)
	require.NoError(t, w.Close())
}

// TestSinkTellsMisuse does to writers what an engine must not.
func TestSinkTellsMisuse(t *testing.T) {
	t.Parallel()
	for name, misuse := range map[string]func(t *testing.T, s *weavertest.Sink[int], w weaver.Writer[int]){
		"write after Close": func(t *testing.T, _ *weavertest.Sink[int], w weaver.Writer[int]) {
			require.NoError(t, w.Close())
			require.Error(t, w.Write(t.Context(), batchOf(1)))
		},
		"Close of a writer twice": func(t *testing.T, _ *weavertest.Sink[int], w weaver.Writer[int]) {
			require.NoError(t, w.Close())
			require.Error(t, w.Close())
		},
		"flush after a call that failed": func(t *testing.T, s *weavertest.Sink[int], w weaver.Writer[int]) {
			s.Faults = []weavertest.Fault{{Err: errBroken}}
			require.Error(t, w.Write(t.Context(), batchOf(1)))
			require.Error(t, w.(weaver.Flusher).Flush(t.Context()))
		},
		"commit without Restore": func(t *testing.T, _ *weavertest.Sink[int], w weaver.Writer[int]) {
			require.Error(t, w.(weaver.Checkpointer).Commit(t.Context(), nil))
		},
		"Restore of a writer twice": func(t *testing.T, _ *weavertest.Sink[int], w weaver.Writer[int]) {
			_, err := w.(weaver.Checkpointer).Restore(t.Context())
			require.NoError(t, err)
			_, err = w.(weaver.Checkpointer).Restore(t.Context())
			require.Error(t, err)
		},
		"Restore after Write": func(t *testing.T, _ *weavertest.Sink[int], w weaver.Writer[int]) {
			require.NoError(t, w.Write(t.Context(), batchOf(1)))
			_, err := w.(weaver.Checkpointer).Restore(t.Context())
			require.Error(t, err)
		},
		"still open": func(*testing.T, *weavertest.Sink[int], weaver.Writer[int]) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := weavertest.NewSink[int]()
			s.Mode = weavertest.Transactional
			misuse(t, s, openWriter(t, s, weaver.Lane{}))
			require.ErrorContains(t, s.Check(), name)
		})
	}
}
