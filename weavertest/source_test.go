package weavertest_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/weavertest"
)

var errBroken = errors.New("broken")

func numbers(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func openReader[T any](t *testing.T, s weaver.Source[T], at weaver.Lane) weaver.Reader[T] {
	t.Helper()
	r, err := s.OpenReader(t.Context(), at)
	require.NoError(t, err)
	return r
}

func values[T any](b *weaver.Batch[T]) []T {
	var out []T
	for i := range b.Records {
		out = append(out, b.Records[i].Value)
	}
	return out
}

func TestSourceReadsInBatchesAndResumes(t *testing.T) {
	t.Parallel()
	s := weavertest.NewSource(numbers(5)...)
	r := openReader(t, s, weaver.Lane{})
	b := weaver.NewBatch[int](2, 0)
	p, err := r.Read(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, []int{0, 1}, values(b))
	require.Equal(t, "2", string(p))
	require.NoError(t, r.Close())

	r = openReader(t, s, weaver.Lane{Position: p})
	b = weaver.NewBatch[int](0, 0)
	p, err = r.Read(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, []int{2, 3, 4}, values(b))
	require.Equal(t, int64(2), b.Records[0].Seq)
	b.Reset()
	_, err = r.Read(t.Context(), b)
	require.Equal(t, io.EOF, err)
	require.Empty(t, b.Records)

	ack, ok := weaver.As[weaver.Acker](r)
	require.True(t, ok)
	require.NoError(t, ack.Ack(t.Context(), p))
	require.Equal(t, 5, s.Acked(""))
	require.Equal(t, 5, s.Delivered(""))
	require.Equal(t, 1, s.Open())
	require.ErrorContains(t, s.Check(), "still open")
	require.NoError(t, r.Close())
	require.NoError(t, s.Check())
	require.Len(t, s.Opened(), 2)
	require.Equal(t, "2", string(s.Opened()[1].Position))
}

func TestSourceOptions(t *testing.T) {
	t.Parallel()
	s := weavertest.NewSource(numbers(7)...)
	s.PositionEvery, s.ReadSize, s.EagerEOF = 3, 2, true
	r := openReader(t, s, weaver.Lane{})
	var got []string
	for {
		b := weaver.NewBatch[int](0, 0)
		p, err := r.Read(t.Context(), b)
		got = append(got, string(p))
		if err != nil {
			require.Equal(t, io.EOF, err)
			require.Len(t, b.Records, 1)
			break
		}
	}
	require.Equal(t, []string{"", "", "6", "7"}, got)
	require.NoError(t, r.Close())

	s = weavertest.NewSource(numbers(3)...)
	s.Window = 2
	r = openReader(t, s, weaver.Lane{})
	b := weaver.NewBatch[int](0, 0)
	p, err := r.Read(t.Context(), b)
	require.Equal(t, weaver.ErrFull, err)
	require.Len(t, b.Records, 2)
	require.NoError(t, r.(weaver.Acker).Ack(t.Context(), p))
	b.Reset()
	_, err = r.Read(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, []int{2}, values(b))
	require.NoError(t, r.Close())

	s.Remembers = true
	r = openReader(t, s, weaver.Lane{})
	b.Reset()
	_, err = r.Read(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, []int{2}, values(b))
	require.NoError(t, r.Close())

	s = weavertest.NewSource[int]()
	s.NoAck = true
	r = openReader(t, s, weaver.Lane{})
	_, ok := weaver.As[weaver.Acker](r)
	require.False(t, ok)
	require.NoError(t, r.Close())
	require.NoError(t, s.Check())
}

func TestSourceFaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := weavertest.NewSource(numbers(4)...)
		s.Faults = []weavertest.Fault{
			{At: 2, Times: 2, Err: errBroken},
			{On: weavertest.CallOpen, At: 1, Wait: time.Minute},
			{On: weavertest.CallAck, Err: errBroken, Lost: true},
		}
		r := openReader(t, s, weaver.Lane{})
		b := weaver.NewBatch[int](0, 0)
		p, err := r.Read(t.Context(), b)
		require.NoError(t, err, "it stops before the record that fails")
		require.Len(t, b.Records, 2)
		require.Equal(t, errBroken, r.(weaver.Acker).Ack(t.Context(), p))
		require.Equal(t, 2, s.Acked(""))
		_, err = r.Read(t.Context(), b)
		require.Equal(t, errBroken, err)
		require.NoError(t, r.Close())

		start := time.Now()
		r = openReader(t, s, weaver.Lane{Position: p})
		require.Equal(t, time.Minute, time.Since(start))
		_, err = r.Read(t.Context(), b)
		require.Equal(t, errBroken, err)
		require.NoError(t, r.Close())
		r = openReader(t, s, weaver.Lane{Position: p})
		b.Reset()
		_, err = r.Read(t.Context(), b)
		require.NoError(t, err)
		require.Equal(t, []int{2, 3}, values(b))
		require.NoError(t, r.Close())
		require.NoError(t, s.Check())
	})
}

func TestSourceEndlessUntilFinish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := weavertest.NewSource(1)
		s.Endless = true
		session, err := s.Splits(t.Context())
		require.NoError(t, err)
		c, err := session.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, []weaver.Split{{ID: ""}}, c.Add)
		r := openReader(t, s, weaver.Lane{})
		b := weaver.NewBatch[int](0, 0)
		_, err = r.Read(t.Context(), b)
		require.NoError(t, err)

		go func() {
			time.Sleep(time.Second)
			s.Add("", weaver.Record[int]{Value: 2, Key: []byte("k")})
			s.Add("b", weaver.Record[int]{Value: 3})
		}()
		b.Reset()
		_, err = r.Read(t.Context(), b)
		require.NoError(t, err)
		require.Equal(t, []int{2}, values(b))
		c, err = session.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, []weaver.Split{{ID: "b"}}, c.Add)

		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		b.Reset()
		_, err = r.Read(ctx, b)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, r.Close())

		r = openReader(t, s, weaver.Lane{})
		require.NoError(t, r.(weaver.Finisher).Finish(t.Context()))
		require.NoError(t, session.(weaver.Finisher).Finish(t.Context()))
		s.Add("", weaver.Record[int]{Value: 4})
		b.Reset()
		_, err = r.Read(t.Context(), b)
		require.NoError(t, err)
		require.Equal(t, []int{1, 2}, values(b))
		_, err = r.Read(t.Context(), b)
		require.Equal(t, io.EOF, err)
		_, err = session.Next(t.Context())
		require.Equal(t, io.EOF, err)
		require.NoError(t, session.Close())
		require.NoError(t, r.Close())
		require.NoError(t, s.Check())
	})
}

// TestSourceTellsMisuse does to readers what an engine must not.
func TestSourceTellsMisuse(t *testing.T) {
	t.Parallel()
	read := func(t *testing.T, r weaver.Reader[int]) weaver.Position {
		t.Helper()
		p, err := r.Read(t.Context(), weaver.NewBatch[int](1, 0))
		require.NoError(t, err)
		return p
	}
	ack := func(t *testing.T, r weaver.Reader[int], p weaver.Position) {
		t.Helper()
		_ = r.(weaver.Acker).Ack(t.Context(), p)
	}
	for name, misuse := range map[string]func(t *testing.T, s *weavertest.Source[int], r weaver.Reader[int]){
		"Read after Close": func(t *testing.T, _ *weavertest.Source[int], r weaver.Reader[int]) {
			require.NoError(t, r.Close())
			_, err := r.Read(t.Context(), weaver.NewBatch[int](1, 0))
			require.Error(t, err)
		},
		"Close twice": func(t *testing.T, _ *weavertest.Source[int], r weaver.Reader[int]) {
			require.NoError(t, r.Close())
			require.Error(t, r.Close())
		},
		"after Close": func(t *testing.T, _ *weavertest.Source[int], r weaver.Reader[int]) {
			p := read(t, r)
			require.NoError(t, r.Close())
			ack(t, r, p)
		},
		`Ack("1") after Ack("2")`: func(t *testing.T, _ *weavertest.Source[int], r weaver.Reader[int]) {
			one, two := read(t, r), read(t, r)
			ack(t, r, two)
			ack(t, r, one)
		},
		"which this reader didn't return": func(t *testing.T, _ *weavertest.Source[int], r weaver.Reader[int]) {
			ack(t, r, weaver.Position("1"))
		},
		"Read after a Read that failed": func(t *testing.T, s *weavertest.Source[int], r weaver.Reader[int]) {
			s.Faults = []weavertest.Fault{{Err: errBroken}}
			for range 2 {
				_, err := r.Read(t.Context(), weaver.NewBatch[int](1, 0))
				require.Error(t, err)
			}
		},
		"two Reads at once": func(t *testing.T, s *weavertest.Source[int], r weaver.Reader[int]) {
			entered := make(chan struct{})
			s.Hook = func(ctx context.Context, call weavertest.Call, _ string) error {
				if call == weavertest.CallRead {
					close(entered)
					<-ctx.Done()
				}
				return nil
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = r.Read(ctx, weaver.NewBatch[int](1, 0))
			}()
			<-entered
			_, err := r.Read(t.Context(), weaver.NewBatch[int](1, 0))
			require.Error(t, err)
			cancel()
			<-done
		},
		"while another reader of it is open": func(t *testing.T, s *weavertest.Source[int], _ weaver.Reader[int]) {
			require.NoError(t, openReader(t, s, weaver.Lane{}).Close())
		},
		"which no reader returned": func(t *testing.T, s *weavertest.Source[int], _ weaver.Reader[int]) {
			_, err := s.OpenReader(t.Context(), weaver.Lane{Position: weaver.Position("99")})
			require.Error(t, err)
		},
		"there is no split": func(t *testing.T, s *weavertest.Source[int], _ weaver.Reader[int]) {
			_, err := s.OpenReader(t.Context(), weaver.Lane{Split: weaver.Split{ID: "x"}})
			require.Error(t, err)
		},
		"Next after Close": func(t *testing.T, s *weavertest.Source[int], _ weaver.Reader[int]) {
			session, err := s.Splits(t.Context())
			require.NoError(t, err)
			require.NoError(t, session.Close())
			_, err = session.Next(t.Context())
			require.Error(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := weavertest.NewSource(numbers(5)...)
			misuse(t, s, openReader(t, s, weaver.Lane{}))
			require.ErrorContains(t, s.Check(), name)
		})
	}
}
