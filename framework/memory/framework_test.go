package memory

import (
	"context"
	"io"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

func TestCreateStream(t *testing.T) {
	t.Parallel()
	fw := New()
	create(t, fw, weaver.Stream{Name: "s", Partitions: 2, Retention: time.Hour})
	create(t, fw, weaver.Stream{Name: "s", Partitions: 2, Retention: time.Hour, Replication: 1})
	create(t, fw, weaver.Stream{Name: "s"})
	err := fw.CreateStream(t.Context(), weaver.Stream{Name: "s", Partitions: 3, Replication: 3, Retention: -1})
	require.EqualError(t, err, `memory: stream "s" exists with 2 partitions, not 3 and a replication of 1, not 3 and a retention of 1h0m0s, not for ever`)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))

	create(t, fw, weaver.Stream{Name: "one"})
	create(t, fw, weaver.Stream{Name: "one", Partitions: 1, Retention: -5})
	require.ErrorContains(t, fw.CreateStream(t.Context(), weaver.Stream{Name: "one", Partitions: 2}), "1 partitions, not 2")
	require.ErrorContains(t, fw.CreateStream(t.Context(), weaver.Stream{}), "Stream.Name")
	require.ErrorContains(t, fw.CreateStream(t.Context(), weaver.Stream{Name: "x", Partitions: -1}), "Stream.Partitions")
	require.ErrorContains(t, fw.CreateStream(t.Context(), weaver.Stream{Name: "x", Replication: -1}), "Stream.Replication")
	require.ErrorContains(t, (&Framework{MaxBytes: -1}).CreateStream(t.Context(), weaver.Stream{Name: "x"}), "MaxBytes")
	require.ErrorContains(t, (&Framework{RebalanceTimeout: -1}).CreateStream(t.Context(), weaver.Stream{Name: "x"}), "RebalanceTimeout")
}

func TestUnknownStream(t *testing.T) {
	t.Parallel()
	fw := New()
	_, err := fw.Consumer("s", "g").Splits(t.Context())
	require.EqualError(t, err, `memory: there is no stream "s": call CreateStream before the pipeline runs`)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	_, err = fw.Consume("s", "g").OpenReader(t.Context(), weaver.Lane{Split: split(0)})
	require.ErrorContains(t, err, `"s"`)
	_, err = fw.Produce("s").OpenWriter(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, `"s"`)
	require.ErrorContains(t, fw.Producer("s").CheckHealth(t.Context()), `"s"`)
	require.ErrorContains(t, fw.Consumer("s", "").CheckHealth(t.Context()), `"s"`)
	require.ErrorContains(t, fw.RemoveGroup("s", "g"), `"s"`)

	create(t, fw, weaver.Stream{Name: "s"})
	require.NoError(t, fw.Producer("s").CheckHealth(t.Context()))
	for _, id := range []string{"1", "-1", "00", "", "x"} {
		_, err = fw.Consume("s", "").OpenReader(t.Context(), weaver.Lane{Split: weaver.Split{ID: id}})
		require.ErrorContains(t, err, "no split "+strconv.Quote(id))
	}
	c := fw.Consumer("s", "g")
	c.Start = 7
	require.ErrorContains(t, c.CheckHealth(t.Context()), "Consumer.Start")
	c.Start, c.OutOfRange = Latest, 7
	require.ErrorContains(t, c.CheckHealth(t.Context()), "Consumer.OutOfRange")
}

func TestRecordsKeepWhatTheyAre(t *testing.T) {
	t.Parallel()
	fw := New()
	create(t, fw, weaver.Stream{Name: "s"})
	when := time.Date(2024, 5, 6, 7, 8, 9, 10, time.UTC)
	want := []weaver.Record[[]byte]{
		{Value: []byte("v"), Key: []byte("k"), Time: when, Headers: weaver.Headers{{Key: "a", Value: []byte("1")}, {Key: "a", Value: nil}, {Key: "", Value: []byte{}}}},
		{Value: []byte{}, Key: []byte{}, Op: weaver.Insert, Headers: weaver.Headers{}},
		{Op: weaver.Update},
		{Key: []byte("gone"), Op: weaver.Delete},
	}
	b := weaver.NewBatch[[]byte](0, 0)
	for _, r := range want {
		*b.Add() = r
	}
	b.Records[3].Value = []byte("a tombstone has none")
	write(t, fw, "s", b)
	for i := range b.Records { // what is stored must not follow
		for _, p := range [][]byte{b.Records[i].Value, b.Records[i].Key} {
			clear(p)
		}
	}
	want[0].Value, want[0].Key = []byte("v"), []byte("k")
	want[3].Key = []byte("gone")

	for range 2 { // nor follow what a reader's batch becomes
		r := open(t, fw.Consumer("s", ""), split(0), nil)
		got := weaver.NewBatch[[]byte](0, 0)
		_, err := r.Read(t.Context(), got)
		require.NoError(t, err)
		require.Len(t, got.Records, len(want))
		for i := range want {
			want[i].Seq = int64(i)
			require.Equal(t, want[i], got.Records[i])
			require.Equal(t, want[i].Key == nil, got.Records[i].Key == nil)
			clear(got.Records[i].Key)
			clear(got.Records[i].Value)
			for _, h := range got.Records[i].Headers {
				clear(h.Value)
			}
		}
	}
}

func TestKeysStayTogetherAndInOrder(t *testing.T) {
	t.Parallel()
	fw := New()
	create(t, fw, weaver.Stream{Name: "s", Partitions: 4})
	for i := range 100 {
		write(t, fw, "s", keyed("k"+strconv.Itoa(i%10), strconv.Itoa(i)))
	}
	home, used := map[string]string{}, map[string]bool{}
	last := map[string]int{}
	for p := range 4 {
		r := open(t, fw.Consumer("s", ""), split(p), nil)
		require.NoError(t, r.(weaver.Finisher).Finish(t.Context()))
		b := weaver.NewBatch[[]byte](0, 0)
		_, err := r.Read(t.Context(), b)
		if err != nil {
			require.Equal(t, io.EOF, err)
		}
		for _, rec := range b.Records {
			k, id := string(rec.Key), strconv.Itoa(p)
			if home[k] == "" {
				home[k] = id
			}
			require.Equal(t, home[k], id)
			n, err := strconv.Atoi(string(rec.Value))
			require.NoError(t, err)
			require.Greater(t, n, last[k]-1)
			last[k] = n
			used[id] = true
		}
	}
	require.Len(t, home, 10)
	require.Greater(t, len(used), 1)

	create(t, fw, weaver.Stream{Name: "nil", Partitions: 4})
	write(t, fw, "nil", batch(make([]string, 40)...))
	for p := range 4 {
		require.Len(t, rest(t, open(t, fw.Consumer("nil", ""), split(p), nil)), 10)
	}
}

func TestResumeAndReplay(t *testing.T) {
	t.Parallel()
	fw := New()
	create(t, fw, weaver.Stream{Name: "s"})
	write(t, fw, "s", batch("a", "b", "c", "d"))
	c := fw.Consumer("s", "g")
	r := open(t, c, split(0), nil)
	b := weaver.NewBatch[[]byte](2, 0)
	p, err := r.Read(t.Context(), b)
	require.NoError(t, err)
	two := append(weaver.Position(nil), p...)
	require.Equal(t, int64(2), r.(weaver.LagReporter).Lag().Records)
	ack(t, r, two)
	require.NoError(t, r.Close())
	_, err = r.Read(t.Context(), b)
	require.ErrorContains(t, err, "closed")

	require.Equal(t, []string{"c", "d"}, rest(t, open(t, c, split(0), nil)), "the group's position")
	require.Equal(t, []string{"c", "d"}, rest(t, open(t, fw.Consumer("s", "other"), split(0), two)), "a given position")
	require.Equal(t, []string{"a", "b", "c", "d"}, rest(t, open(t, fw.Consumer("s", "third"), split(0), nil)))
	require.Equal(t, []string{"a", "b", "c", "d"}, rest(t, open(t, fw.Consumer("s", ""), split(0), nil)))

	replay := open(t, c, split(0), nil)
	ack(t, replay, two) // late and low: the group doesn't go back
	require.Equal(t, []string{"c", "d"}, rest(t, open(t, c, split(0), nil)))

	late := fw.Consumer("s", "late")
	late.Start = Latest
	lr := open(t, late, split(0), nil)
	require.Empty(t, rest(t, lr))
	write(t, fw, "s", batch("e"))
	require.Equal(t, []string{"e"}, rest(t, open(t, late, split(0), nil)), "Latest is when the group began, not when it is opened again")
}

func TestWithoutGroup(t *testing.T) {
	t.Parallel()
	fw := New()
	create(t, fw, weaver.Stream{Name: "s", Partitions: 2})
	write(t, fw, "s", batch("old", "old"))
	c := fw.Consumer("s", "")
	c.Start = Latest
	n := join(t, c)
	change := next(t, n)
	require.Equal(t, []string{"0", "1"}, ids(change.Add))
	_, err := n.Next(t.Context())
	require.Equal(t, io.EOF, err)
	write(t, fw, "s", batch("x", "x"))
	for range 2 { // a lane that recovers finds what came since the session began
		r := open(t, c, change.Add[1], nil)
		_, acks := r.(weaver.Acker)
		require.False(t, acks)
		require.Equal(t, []string{"x"}, rest(t, r))
	}
}

func TestReadWaitsAndFinishes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fw := New()
		create(t, fw, weaver.Stream{Name: "s"})
		r := open(t, fw.Consumer("s", "g"), split(0), nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := r.Read(ctx, weaver.NewBatch[[]byte](0, 0))
		require.ErrorIs(t, err, context.DeadlineExceeded)

		var got []string
		done := async(t.Context(), func(context.Context) error { got, _ = read(t, r); return nil })
		synctest.Wait()
		write(t, fw, "s", batch("a"))
		require.NoError(t, <-done)
		require.Equal(t, []string{"a"}, got)

		other := open(t, fw.Consumer("s", "other"), split(0), nil)
		require.NoError(t, other.(weaver.Finisher).Finish(t.Context()))
		write(t, fw, "s", batch("after Finish"))
		got, _ = read(t, other)
		require.Equal(t, []string{"a"}, got)
		got, _ = read(t, r)
		require.Equal(t, []string{"after Finish"}, got)

		done = async(t.Context(), func(ctx context.Context) error {
			_, err := r.Read(ctx, weaver.NewBatch[[]byte](0, 0))
			return err
		})
		synctest.Wait()
		require.NoError(t, r.(weaver.Finisher).Finish(t.Context()))
		require.NoError(t, r.(weaver.Finisher).Finish(t.Context()))
		require.Equal(t, io.EOF, <-done)
		write(t, fw, "s", batch("b"))
		_, err = r.Read(t.Context(), weaver.NewBatch[[]byte](0, 0))
		require.Equal(t, io.EOF, err, "what comes after Finish is for another reader")
	})
}

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fw := New()
		fw.MaxBytes = 2 * recordBytes
		create(t, fw, weaver.Stream{Name: "s"})
		c := fw.Consumer("s", "g")
		n := join(t, c)
		sp := next(t, n).Add[0]
		write(t, fw, "s", batch("a"))
		r := open(t, c, sp, nil)
		_, p := read(t, r)
		w, err := fw.Produce("s").OpenWriter(t.Context(), weaver.Lane{})
		require.NoError(t, err)
		waits := []<-chan error{
			async(t.Context(), func(ctx context.Context) error { _, err := n.Next(ctx); return err }),
			async(t.Context(), func(ctx context.Context) error {
				_, err := r.Read(ctx, weaver.NewBatch[[]byte](0, 0))
				return err
			}),
		}
		synctest.Wait()
		waits = append(waits, async(t.Context(), func(ctx context.Context) error { return w.Write(ctx, batch("b", "c")) }))
		<-waits[1] // ErrFull: the Write waits
		require.NoError(t, fw.Close())
		require.NoError(t, fw.Close())
		require.ErrorIs(t, <-waits[0], ErrClosed)
		require.ErrorIs(t, <-waits[2], ErrClosed)
		require.ErrorIs(t, r.(weaver.Acker).Ack(t.Context(), p), ErrClosed)
		_, err = r.Read(t.Context(), weaver.NewBatch[[]byte](0, 0))
		require.ErrorIs(t, err, ErrClosed)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
		require.ErrorIs(t, fw.CreateStream(t.Context(), weaver.Stream{Name: "s"}), ErrClosed)
		_, err = c.Splits(t.Context())
		require.ErrorIs(t, err, ErrClosed)
		require.NoError(t, n.Close())
	})
}
