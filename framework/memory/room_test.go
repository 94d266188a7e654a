package memory

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// small is a framework whose streams hold so many records of a byte.
func small(t *testing.T, records int, s weaver.Stream) *Framework {
	t.Helper()
	fw := New()
	fw.MaxBytes = int64(records) * (recordBytes + 1)
	create(t, fw, s)
	return fw
}

func TestWriteWaitsForTheGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fw := small(t, 4, weaver.Stream{Name: "s"})
		c := fw.Consumer("s", "g")
		n := join(t, c)
		r := open(t, c, next(t, n).Add[0], nil)
		write(t, fw, "s", batch("", "", ""))

		w, err := fw.Produce("s").OpenWriter(t.Context(), weaver.Lane{})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		require.ErrorIs(t, w.Write(ctx, batch("", "")), context.DeadlineExceeded)

		got, p := read(t, r)
		require.Len(t, got, 3, "a Write that fails has stored nothing")
		done := async(t.Context(), func(ctx context.Context) error { return w.Write(ctx, batch("", "")) })
		synctest.Wait()
		require.Empty(t, done, "what was read isn't consumed")
		_, err = r.Read(t.Context(), weaver.NewBatch[[]byte](0, 0))
		require.Equal(t, weaver.ErrFull, err, "the reader asks for the Ack that makes room")
		ack(t, r, p)
		require.NoError(t, <-done)
		got, _ = read(t, r)
		require.Len(t, got, 2)
	})
}

func TestWriteWaitsForTheSlowestGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fw := small(t, 4, weaver.Stream{Name: "s"})
		write(t, fw, "s", batch("", "", "", ""))
		fast := open(t, fw.Consumer("s", "fast"), split(0), nil)
		slow := open(t, fw.Consumer("s", "slow"), split(0), nil)
		_, p := read(t, fast)
		ack(t, fast, p)
		w, err := fw.Produce("s").OpenWriter(t.Context(), weaver.Lane{})
		require.NoError(t, err)
		done := async(t.Context(), func(ctx context.Context) error { return w.Write(ctx, batch("")) })
		synctest.Wait()
		require.Empty(t, done)
		_, p = read(t, slow)
		ack(t, slow, p)
		require.NoError(t, <-done)

		_, err = fw.Consumer("s", "").OpenReader(t.Context(), weaver.Lane{Split: split(0), Position: p})
		require.NoError(t, err)
		p[len(p)-1] = 1
		_, err = fw.Consumer("s", "").OpenReader(t.Context(), weaver.Lane{Split: split(0), Position: p})
		require.ErrorContains(t, err, "was dropped")
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	})
}

func TestNewGroupHoldsWhatIsThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fw := small(t, 2, weaver.Stream{Name: "s"})
		old := open(t, fw.Consumer("s", "old"), split(0), nil)
		write(t, fw, "s", batch("a", "b"))
		_, p := read(t, old)
		ack(t, old, p)
		r := open(t, fw.Consumer("s", "new"), split(0), nil)
		done := async(t.Context(), func(ctx context.Context) error {
			w, err := fw.Produce("s").OpenWriter(ctx, weaver.Lane{})
			if err != nil {
				return err
			}
			return w.Write(ctx, batch("c"))
		})
		synctest.Wait()
		require.Empty(t, done)
		got, p := read(t, r)
		require.Equal(t, []string{"a", "b"}, got)
		ack(t, r, p)
		require.NoError(t, <-done)
	})
}

func TestRemovedGroupMakesRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fw := small(t, 2, weaver.Stream{Name: "s"})
		write(t, fw, "s", batch("", ""))
		r := open(t, fw.Consumer("s", "g"), split(0), nil)
		_ = open(t, fw.Consumer("s", "forgotten"), split(0), nil)
		_, p := read(t, r)
		ack(t, r, p)
		w, err := fw.Produce("s").OpenWriter(t.Context(), weaver.Lane{})
		require.NoError(t, err)
		done := async(t.Context(), func(ctx context.Context) error { return w.Write(ctx, batch("")) })
		synctest.Wait()
		require.Empty(t, done)
		require.NoError(t, fw.RemoveGroup("s", "forgotten"))
		require.NoError(t, <-done)
	})
}

func TestFullWithoutAnyGroup(t *testing.T) {
	t.Parallel()
	fw := small(t, 2, weaver.Stream{Name: "s"})
	write(t, fw, "s", batch("", ""))
	w, err := fw.Produce("s").OpenWriter(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	err = w.Write(t.Context(), batch(""))
	require.ErrorContains(t, err, `stream "s" is full (MaxBytes 258) and no group consumes it`)
	require.Equal(t, retry.ClassThrottled, retry.ClassOf(err))
	require.Len(t, rest(t, open(t, fw.Consumer("s", ""), split(0), nil)), 2)
}

func TestRetention(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fw := small(t, 2, weaver.Stream{Name: "s", Retention: time.Hour})
		r := open(t, fw.Consumer("s", "g"), split(0), nil)
		write(t, fw, "s", batch("a", "b"))
		time.Sleep(2 * time.Hour)
		got, _ := read(t, open(t, fw.Consumer("s", ""), split(0), nil))
		require.Len(t, got, 2, "nothing goes before the room is needed")
		write(t, fw, "s", batch("c"))
		_, err := r.Read(t.Context(), weaver.NewBatch[[]byte](0, 0))
		require.ErrorContains(t, err, "position 0 in partition 0 of stream \"s\" was dropped")
		c := fw.Consumer("s", "g")
		_, err = c.OpenReader(t.Context(), weaver.Lane{Split: split(0)})
		require.ErrorContains(t, err, "the oldest record kept is 2")
		c.OutOfRange = ToEarliest
		late := open(t, c, split(0), nil)
		got, p := read(t, late)
		require.Equal(t, []string{"c"}, got)
		ack(t, late, p)

		write(t, fw, "s", batch("d", "e")) // c is consumed
		start := time.Now()
		write(t, fw, "s", batch("f")) // waits until d and e are old enough
		require.Equal(t, time.Hour, time.Since(start))
		c.OutOfRange = ToLatest
		require.Empty(t, rest(t, open(t, c, split(0), nil)))
	})
}

func TestLargeBatchesAndRecords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fw := small(t, 2, weaver.Stream{Name: "s"})
		c := fw.Consumer("s", "g")
		r := open(t, c, split(0), nil)
		w, err := fw.Produce("s").OpenWriter(t.Context(), weaver.Lane{})
		require.NoError(t, err)
		done := async(t.Context(), func(ctx context.Context) error {
			return w.Write(ctx, batch("", "", strings.Repeat("x", 1000), "", "", ""))
		})
		for n := 0; n < 5; {
			got, p := read(t, r)
			n += len(got)
			ack(t, r, p)
		}
		var partial *weaver.BatchError
		require.ErrorAs(t, <-done, &partial)
		require.Len(t, partial.Records, 1)
		require.Equal(t, 2, partial.Records[0].Index)
		require.Equal(t, retry.ClassPoison, retry.ClassOf(partial.Records[0].Err))
		require.NoError(t, w.Close())
		require.Error(t, w.Write(t.Context(), batch("")))
	})
}

func TestPositionsOutOfRange(t *testing.T) {
	t.Parallel()
	fw := New()
	create(t, fw, weaver.Stream{Name: "s"})
	write(t, fw, "s", batch("a", "b"))
	_, p := read(t, open(t, fw.Consumer("s", ""), split(0), nil))
	openAt := func(fw *Framework, policy OutOfRange, p weaver.Position) (weaver.Reader[[]byte], error) {
		c := fw.Consumer("s", "")
		c.OutOfRange = policy
		return c.OpenReader(t.Context(), weaver.Lane{Split: split(0), Position: p})
	}
	beyond := append(weaver.Position(nil), p...)
	beyond[len(beyond)-1]++
	_, err := openAt(fw, Fail, beyond)
	require.ErrorContains(t, err, "behind the end")
	_, err = openAt(fw, Fail, weaver.Position("junk"))
	require.ErrorContains(t, err, "no position of this source")
	_, err = openAt(fw, Fail, weaver.Position{})
	require.ErrorContains(t, err, "no position of this source")

	other := New() // as after a restart of the process
	create(t, other, weaver.Stream{Name: "s"})
	write(t, other, "s", batch("c", "d", "e"))
	_, err = openAt(other, Fail, p)
	require.ErrorContains(t, err, "an earlier process")
	r, err := openAt(other, ToEarliest, p)
	require.NoError(t, err)
	require.Equal(t, []string{"c", "d", "e"}, rest(t, r))
	r, err = openAt(other, ToLatest, p)
	require.NoError(t, err)
	require.Empty(t, rest(t, r))
	r = open(t, other.Consumer("s", "g"), split(0), nil)
	require.ErrorContains(t, r.(weaver.Acker).Ack(t.Context(), p), "no reader of this stream")
	require.Error(t, r.(weaver.Acker).Ack(t.Context(), nil))
}
