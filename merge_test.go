package weaver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// spoken is a source whose session says what the test tells it to. Its records are the splits' IDs.
type spoken struct {
	says   chan weaver.Change // Next returns what comes; closed: io.EOF
	fails  chan error         // or this
	opens  chan error         // Splits waits for it, and returns it; nil: it doesn't wait
	health error

	mu       sync.Mutex
	calls    int // of Next
	finished int
	closed   int
	handles  map[string]any // that readers were opened with
	finish   error          // what Finish returns, once
}

func newSpoken() *spoken {
	return &spoken{says: make(chan weaver.Change), fails: make(chan error), handles: make(map[string]any)}
}

func (s *spoken) CheckHealth(context.Context) error { return s.health }

func (s *spoken) Splits(ctx context.Context) (weaver.Splits, error) {
	if s.opens != nil {
		select {
		case err := <-s.opens:
			if err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return spokenSplits{s}, nil
}

func (s *spoken) OpenReader(_ context.Context, at weaver.Lane) (weaver.Reader[string], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handles[at.Split.ID] = at.Split.Handle
	return weaver.SourceFunc[string](func(_ context.Context, _ weaver.Position, b *weaver.Batch[string]) (weaver.Position, error) {
		b.Add().Value = at.Split.ID
		return weaver.Position("end"), io.EOF
	}).OpenReader(context.Background(), at)
}

func (s *spoken) nexts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

type spokenSplits struct{ s *spoken }

func (n spokenSplits) Next(ctx context.Context) (weaver.Change, error) {
	n.s.mu.Lock()
	n.s.calls++
	n.s.mu.Unlock()
	select {
	case c, more := <-n.s.says:
		if !more {
			return weaver.Change{}, io.EOF
		}
		return c, nil
	case err := <-n.s.fails:
		return weaver.Change{}, err
	case <-ctx.Done():
		return weaver.Change{}, context.Cause(ctx)
	}
}

func (n spokenSplits) Finish(context.Context) error {
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	n.s.finished++
	err := n.s.finish
	n.s.finish = nil
	return err
}

func (n spokenSplits) Close() error {
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	n.s.closed++
	return nil
}

func openSplits(t *testing.T, source any) weaver.Splits {
	t.Helper()
	splitter, ok := weaver.As[weaver.Splitter](source)
	require.True(t, ok)
	s, err := splitter.Splits(t.Context())
	require.NoError(t, err)
	return s
}

func adds(ids ...string) weaver.Change {
	var c weaver.Change
	for _, id := range ids {
		c.Add = append(c.Add, weaver.Split{ID: id})
	}
	return c
}

func TestMergeNamesSplits(t *testing.T) {
	t.Parallel()
	words := func(w string) weaver.Source[string] {
		return weaver.FromSeq(func(yield func(string, error) bool) { yield(w, nil) })
	}
	slash, plain := newSpoken(), newSpoken()
	src := weaver.Merge(map[string]weaver.Source[string]{
		"a":     slash, // with splits "", "b", "b/c", "%2Fb"
		"a/b":   words("a/b"),
		"a%2Fb": plain, // with splits "" and "c"
		"z%":    words("z%"),
	})
	out := weavertest.NewSink[string]()
	store := checkpoint.NewMemory()
	p := weaver.Copy(src, out)
	p.Name, p.Checkpoint = "p", store
	seen := make(map[string]bool)
	var mu sync.Mutex
	p.Observer = &weaver.Observer{Lane: func(l weaver.LaneInfo) {
		mu.Lock()
		defer mu.Unlock()
		seen[l.Split] = true
	}}
	go func() {
		c := adds("", "b", "b/c", "%2Fb")
		c.Add[1].Handle = 42
		slash.says <- c
		plain.says <- adds("", "c")
		close(slash.says)
		close(plain.says)
	}()
	require.NoError(t, p.Run(t.Context()))
	got := out.Values()
	slices.Sort(got)
	require.Equal(t, []string{"", "", "%2Fb", "a/b", "b", "b/c", "c", "z%"}, got)
	require.Equal(t, map[string]any{"": nil, "b": 42, "b/c": nil, "%2Fb": nil}, slash.handles)
	ids := []string{"a", "a/b", "a/b/c", "a/%2Fb", "a%2Fb", "a%252Fb", "a%252Fb/c", "z%25"}
	require.Len(t, seen, len(ids))
	for _, id := range ids {
		require.True(t, seen[id], id)
		value, _, err := store.Load(t.Context(), "p/"+id)
		require.NoError(t, err)
		require.NotNil(t, value, id)
	}
	_, err := src.OpenReader(t.Context(), weaver.Lane{Split: weaver.Split{ID: "b/a"}})
	require.ErrorContains(t, err, `no source has the split "b/a"`)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
}

func TestMergeOfOneMoreMovesNoCheckpoint(t *testing.T) {
	t.Parallel()
	store := checkpoint.NewMemory()
	one, other := weavertest.NewSource(1, 2, 3), weavertest.NewSource(4, 5)
	run := func(sources map[string]weaver.Source[int]) []int {
		out := weavertest.NewSink[int]()
		p := weaver.Copy(weaver.Merge(sources), out)
		p.Name, p.Checkpoint = "p", store
		require.NoError(t, p.Run(t.Context()))
		require.NoError(t, out.Check())
		values := out.Values()
		slices.Sort(values)
		return values
	}
	require.Equal(t, []int{1, 2, 3}, run(map[string]weaver.Source[int]{"m": one}))
	require.Equal(t, []int{4, 5}, run(map[string]weaver.Source[int]{"a": other, "m": one}))
	require.NoError(t, errors.Join(one.Check(), other.Check()))
	require.Equal(t, 3, one.Acked(""))
	require.Equal(t, 2, other.Acked(""))
}

// TestMergeAsksAgainWhenCarriedOut has two sessions: while the change of one is carried out, the other is asked, and
// the one is not.
func TestMergeAsksAgainWhenCarriedOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := newSpoken(), newSpoken()
		s := openSplits(t, weaver.Merge(map[string]weaver.Source[string]{"a": a, "b": b}))
		by := time.Now().Add(time.Minute)
		go func() { a.says <- weaver.Change{Revoke: []string{"1", ""}, By: by} }()
		c, err := s.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, weaver.Change{Revoke: []string{"a/1", "a"}, By: by}, c)
		synctest.Wait()
		require.Equal(t, 1, a.nexts(), "its revocation has not been carried out")
		require.Equal(t, 1, b.nexts())

		next := make(chan weaver.Change)
		go func() {
			c, _ := s.Next(t.Context())
			next <- c
		}()
		synctest.Wait()
		require.Equal(t, 2, a.nexts(), "now it has")
		b.says <- adds("x")
		require.Equal(t, adds("b/x"), <-next)
		a.says <- adds("2") // comes while that of b is carried out
		synctest.Wait()
		require.Equal(t, 2, a.nexts())
		require.Equal(t, 1, b.nexts())
		c, err = s.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, adds("a/2"), c)
		synctest.Wait()
		require.Equal(t, 2, b.nexts())

		close(a.says)
		close(b.says)
		_, err = s.Next(t.Context())
		require.Equal(t, io.EOF, err)
		_, err = s.Next(t.Context())
		require.Equal(t, io.EOF, err)
		require.NoError(t, s.Close())
		require.Equal(t, 1, a.closed)
		require.Equal(t, 1, b.closed)
	})
}

func TestMergeSessionErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := newSpoken(), newSpoken()
		a.opens = make(chan error)
		s := openSplits(t, weaver.Merge(map[string]weaver.Source[string]{"a": a, "b": b, "c": weaver.FromSeq(func(func(string, error) bool) {})}))
		next := func() (weaver.Change, error) { return s.Next(t.Context()) }
		c, err := next()
		require.NoError(t, err)
		require.Equal(t, adds("c"), c, "what needs no session comes first")

		go func() { a.opens <- retry.Transient(errOutage) }()
		_, err = next()
		require.ErrorIs(t, err, errOutage)
		require.ErrorContains(t, err, `source "a"`)
		require.Equal(t, retry.ClassTransient, retry.ClassOf(err))
		go func() { a.opens <- io.EOF }()
		_, err = next()
		require.NotEqual(t, io.EOF, err, "no session is not the end of the set")
		require.Error(t, err)
		go func() { b.says <- adds("1") }()
		c, err = next()
		require.NoError(t, err, "one that is out keeps no other from being heard")
		require.Equal(t, adds("b/1"), c)
		go func() {
			a.opens <- nil
			a.fails <- fmt.Errorf("connection: %w", io.EOF)
		}()
		_, err = next()
		require.ErrorContains(t, err, `source "a": connection`, "a wrapped io.EOF is no end")
		go func() { a.says <- adds("1") }()
		c, err = next()
		require.NoError(t, err, "the same session is asked again")
		require.Equal(t, adds("a/1"), c)
		require.Equal(t, 2, a.nexts())

		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			synctest.Wait()
			cancel()
		}()
		_, err = s.Next(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, s.Close(), "ends both goroutines, which wait in Next")
		require.Equal(t, 1, a.closed)
	})
}

func TestMergePanicOfASession(t *testing.T) {
	t.Parallel()
	s := openSplits(t, weaver.Merge(map[string]weaver.Source[int]{"a": panics{}}))
	_, err := s.Next(t.Context())
	var p *weaver.PanicError
	require.ErrorAs(t, err, &p)
	require.Equal(t, "no splits today", p.Value)
	require.NoError(t, s.Close())
}

type panics struct{ weaver.Source[int] }

func (panics) Splits(context.Context) (weaver.Splits, error) { panic("no splits today") }

func TestMergeFinish(t *testing.T) {
	t.Parallel()
	t.Run("before a session is open, after, and when it fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := newSpoken(), newSpoken()
			a.opens, a.finish = make(chan error), errOutage
			s := openSplits(t, weaver.Merge(map[string]weaver.Source[string]{"a": a, "b": b}))
			f, ok := weaver.As[weaver.Finisher](s)
			require.True(t, ok)
			synctest.Wait()
			require.NoError(t, f.Finish(t.Context()))
			require.Equal(t, 0, a.finished)
			require.Equal(t, 1, b.finished)
			a.opens <- nil
			_, err := s.Next(t.Context())
			require.ErrorIs(t, err, errOutage)
			go func() { _, _ = s.Next(t.Context()) }()
			synctest.Wait()
			require.Equal(t, 2, a.finished, "told again")
			require.Equal(t, 1, a.nexts())
			close(a.says)
			close(b.says)
			synctest.Wait()
			require.NoError(t, s.Close())
		})
	})
	t.Run("in a pipeline with After", func(t *testing.T) {
		t.Parallel()
		a, b := weavertest.NewSource(1, 2), weavertest.NewSource(3)
		a.Endless, b.Endless = true, true
		b.Add("more", weaver.Record[int]{Value: 4})
		first := weaver.Copy(weavertest.NewSource(0), weavertest.NewSink[int]())
		out := weavertest.NewSink[int]()
		p := weaver.Copy(weaver.Merge(map[string]weaver.Source[int]{"a": a, "b": b}), out)
		p.After = first
		require.NoError(t, weaver.Run(t.Context(), first, p))
		got := out.Values()
		slices.Sort(got)
		require.Equal(t, []int{1, 2, 3, 4}, got)
		require.NoError(t, errors.Join(a.Check(), b.Check(), out.Check()))
	})
}

// TestMergeRevokes takes a split away from one of two endless sources while both are read, and gives it back.
func TestMergeRevokes(t *testing.T) {
	t.Parallel()
	a, b := weavertest.NewSource[int](), weavertest.NewSource[int]()
	a.Endless, b.Endless = true, true
	a.Faults = []weavertest.Fault{{On: weavertest.CallNext, At: 1, Err: errOutage}}
	out := weavertest.NewSink[int]()
	out.Mode = weavertest.Buffered
	for i := range 100 {
		a.Add("x", weaver.Record[int]{Value: i})
		a.Add("y", weaver.Record[int]{Value: 100 + i})
		b.Add("x", weaver.Record[int]{Value: 200 + i})
	}
	p := weaver.Copy(weaver.Merge(map[string]weaver.Source[int]{"a": a, "b": b}), out)
	p.BatchSize = 7
	p.CheckpointInterval = time.Millisecond
	p.Retry, p.Log = retry.Policy{Initial: 1, Max: 1}, quiet
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	require.NoError(t, a.WaitAcked(ctx, "x", 100))
	a.Change(weaver.Change{Revoke: []string{"x"}})
	b.Change(weaver.Change{Revoke: []string{"x"}})
	a.Change(adds("x"))
	b.Change(adds("x"))
	for i := range 50 {
		a.Add("x", weaver.Record[int]{Value: 300 + i})
		b.Add("x", weaver.Record[int]{Value: 400 + i})
	}
	for _, s := range []*weavertest.Source[int]{a, b} {
		require.NoError(t, s.WaitAcked(ctx, "x", 150))
	}
	require.NoError(t, a.WaitAcked(ctx, "y", 100))
	cancel()
	require.NoError(t, <-done)
	require.NoError(t, errors.Join(a.Check(), b.Check(), out.Check()))
	got := counts(out.Values())
	for i := range 350 {
		require.Positive(t, got[i], "record %d is missing", i)
	}
	for i := 400; i < 450; i++ {
		require.Positive(t, got[i], "record %d is missing", i)
	}
}

func TestMergeWithAQueue(t *testing.T) {
	t.Parallel()
	queue := func() *weavertest.Source[int] {
		s := weavertest.NewSource(1, 2, 3)
		s.IsQueue = true
		return s
	}
	log := weavertest.NewSource(4, 5)
	q, ok := weaver.As[weaver.Queue](weaver.Merge(map[string]weaver.Source[int]{"log": log, "queue": queue()}))
	require.True(t, ok)
	require.True(t, q.Queue())
	q, _ = weaver.As[weaver.Queue](weaver.Merge(map[string]weaver.Source[int]{"log": log}))
	require.False(t, q.Queue())

	t.Run("what acknowledges goes with it", func(t *testing.T) {
		t.Parallel()
		q, out := queue(), weavertest.NewSink[int]()
		p := weaver.Copy(weaver.Merge(map[string]weaver.Source[int]{"log": log, "queue": q}), out)
		require.NoError(t, p.Run(t.Context()))
		require.Len(t, out.Values(), 5)
		require.Equal(t, 3, q.Acked(""))
		require.Equal(t, 2, log.Acked(""))
	})
	t.Run("what resumes from positions doesn't", func(t *testing.T) {
		t.Parallel()
		file := weavertest.NewSource(4, 5)
		file.NoAck = true
		p := weaver.Copy(weaver.Merge(map[string]weaver.Source[int]{"file": file, "queue": queue()}), weavertest.NewSink[int]())
		require.ErrorContains(t, p.Run(t.Context()), `source "file" resumes from stored positions`)
		require.NoError(t, file.Check(), "the reader is closed")
	})
}

func TestMergeRefuses(t *testing.T) {
	t.Parallel()
	var none *weavertest.Source[int]
	some := weavertest.NewSource(1)
	for says, sources := range map[string]map[string]weaver.Source[int]{
		"no source":         {},
		"without a name":    {"": some},
		`source "x" is nil`: {"x": none},
	} {
		p := weaver.Copy(weaver.Merge(sources), weavertest.NewSink[int]())
		require.ErrorContains(t, p.Run(t.Context()), says)
	}
	require.Equal(t, "weaver.Merge(a, b)", fmt.Sprint(weaver.Merge(map[string]weaver.Source[int]{"b": some, "a": some})))
	sick := newSpoken()
	sick.health = errOutage
	h, ok := weaver.As[weaver.HealthChecker](weaver.Merge(map[string]weaver.Source[string]{"x": newSpoken(), "y": sick}))
	require.True(t, ok)
	err := h.CheckHealth(t.Context())
	require.ErrorIs(t, err, errOutage)
	require.ErrorContains(t, err, `source "y"`)
}

// TestMergeLosesNothing lets readers of two of three sources fail on the way.
func TestMergeLosesNothing(t *testing.T) {
	t.Parallel()
	const n = 1000
	sources := make(map[string]weaver.Source[int])
	var all []*weavertest.Source[int]
	for i := range 3 {
		s := weavertest.NewSource[int]()
		for j := range n {
			s.Add([]string{"", "1", "2"}[j%3], weaver.Record[int]{Value: i*n + j})
		}
		if i > 0 {
			s.Faults = []weavertest.Fault{
				{On: weavertest.CallSplits, Err: errOutage},
				{On: weavertest.CallNext, Err: errOutage, Times: 3},
				{On: weavertest.CallRead, Split: "1", At: 100, Err: errOutage},
				{On: weavertest.CallAck, At: 2, Err: errOutage},
			}
		}
		all = append(all, s)
		sources[fmt.Sprintf("s%d", i)] = s
	}
	out := weavertest.NewSink[int]()
	out.Mode = weavertest.Transactional
	p := weaver.Copy(weaver.Merge(sources), out)
	p.Require = weaver.ExactlyOnce
	p.BatchSize = 20
	p.Retry, p.Log = retry.Policy{Initial: 1, Max: 1}, quiet
	require.NoError(t, p.Run(t.Context()))
	got := counts(out.Values())
	require.Len(t, got, 3*n)
	for v, times := range got {
		require.Equal(t, 1, times, "record %d", v)
	}
	for _, s := range all {
		require.NoError(t, s.Check())
	}
	require.NoError(t, out.Check())
}
