package file

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/retry"
)

// fails waits for the error of a reader to which losses are errors.
func (x *reading) fails(what string) {
	x.t.Helper()
	select {
	case <-x.done:
	case <-time.After(time.Minute):
		require.Fail(x.t, "nothing is said of a loss")
	}
	require.ErrorIs(x.t, x.err, ErrVanished)
	require.Equal(x.t, retry.ClassFatal, retry.ClassOf(x.err))
	require.ErrorContains(x.t, x.err, what)
	require.NotContains(x.t, x.logs.String(), what, "it is told once")
}

// What is lost of a followed path ends the pipeline, as often as it is tried, until somebody says that it may be lost.
func TestFollowVanishedFails(t *testing.T) {
	eachKind(t, func(t *testing.T, kind func(*File[[]byte]) *File[[]byte]) {
		strict := func(l *logFile) *File[[]byte] {
			f := kind(Lines(l.path))
			f.Vanished = Fail
			return f
		}
		t.Run("deleted", func(t *testing.T) {
			t.Parallel()
			l := newLog(t, "app.log")
			x := read(t, strict(l), weaver.Split{}, nil)
			l.write("one\n")
			x.wants("one")
			l.write("two\nthr") // of which perhaps nothing is read
			at := x.stop()
			require.NoError(t, os.Remove(l.path))
			l.reopen()
			l.write("four\n")
			for range 2 {
				x = read(t, strict(l), weaver.Split{}, at)
				x.fails("read up to byte")
				require.Empty(t, x.got)
				require.Equal(t, at, x.stop())
			}
			x = read(t, kind(Lines(l.path)), weaver.Split{}, at)
			x.wants("four")
			at = x.stop()
			l.write("five\n")
			x = read(t, strict(l), weaver.Split{}, at)
			x.wants("five")
		})
		t.Run("cut", func(t *testing.T) {
			t.Parallel()
			l := newLog(t, "app.log")
			x := read(t, strict(l), weaver.Split{}, nil)
			l.write("one\ntwo\n")
			x.wants("one", "two")
			require.NoError(t, os.Truncate(l.path, 0))
			x.fails("was cut")
		})
		t.Run("late", func(t *testing.T) {
			t.Parallel()
			l := newLog(t, "app.log")
			x := read(t, strict(l), weaver.Split{}, nil)
			l.write("one\n")
			x.wants("one")
			l.rename()
			old := l.file
			l.file = nil
			l.write("two\n")
			x.wants("one", "two")
			_, err := old.WriteString("too late\n")
			require.NoError(t, err)
			x.fails("after it was left")
		})
		t.Run("rotated", func(t *testing.T) { // which is no loss
			t.Parallel()
			l := newLog(t, "app.log")
			x := read(t, strict(l), weaver.Split{}, nil)
			l.write("2026-11-23T10:00:00 the first line of this log, which is not too short\n")
			x.lines(1)
			l.copyTruncate()
			l.write("2026-11-23T10:00:00 the second line of this log, which is not too short\n")
			x.lines(2)
			l.rename()
			l.reopen()
			l.write("three\n")
			require.Len(t, x.lines(3), 3)
		})
	})
}

// The same for files that are read in turn.
func TestFollowVanishedInABucket(t *testing.T) {
	t.Parallel()
	const half = "a line, and half a line that is never com"
	for name, vanish := range map[string]struct {
		do   func(t *testing.T, path string)
		what string
	}{
		"deleted":  {func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) }, "gone before it was read to its end"},
		"cut":      {func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 3)) }, "lost"},
		"replaced": {func(t *testing.T, path string) { replace(t, path, "another\n") }, "replaced before it was read to its end"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folderOf(t, "b")
			path := realFile(t, filepath.Join(dir, "a"), "one\n"+half)
			f := brisk(Lines(filepath.Join(dir, "*")))
			f.Buckets, f.Vanished = 1, Fail
			split := weaver.Split{ID: bucketOfSplit(0, 1), Handle: bucketNumber(0)}
			x := read(t, f, split, nil)
			x.wants("one", "b")
			time.Sleep(10 * time.Millisecond) // so that half a line is seen to be there
			vanish.do(t, path)
			x.fails(vanish.what)
			at := x.stop()
			for range 2 { // and without knowing its name
				r, err := f.OpenReader(t.Context(), weaver.Lane{Split: split, Position: at})
				if err == nil {
					_, err = r.Read(t.Context(), weaver.NewBatch[[]byte](0, 0))
					require.NoError(t, r.Close())
				}
				require.ErrorIs(t, err, ErrVanished)
			}
			f.Vanished = Warn
			x = read(t, f, split, at)
			realFile(t, filepath.Join(dir, "c"), "more\n")
			require.Eventually(t, func() bool { got := x.lines(1); return got[len(got)-1] == "more" }, time.Minute, time.Millisecond)
			require.Contains(t, x.logs.String(), "lost")
		})
	}
}

// replace puts another file in the place of one.
func replace(t *testing.T, path, data string) {
	t.Helper()
	realFile(t, path+"~", data)
	require.NoError(t, os.Rename(path+"~", path))
}

// A file that was seen to have grown, and is gone before it could be opened, is told of as well.
func TestFollowVanishedAfterItGrew(t *testing.T) {
	t.Parallel()
	dir := folderOf(t, "a", "b")
	disk := faltering{durable.OS(), &falter{err: syscall.EMFILE}, &falter{}, &falter{}}
	f := on(deaf(brisk(Lines(filepath.Join(dir, "*")))), disk)
	f.Buckets, f.PollEvery = 1, time.Millisecond
	logs := &lockedBuffer{}
	r, err := f.OpenReader(t.Context(), weaver.Lane{Split: weaver.Split{ID: bucketOfSplit(0, 1), Handle: bucketNumber(0)}, Log: slog.New(slog.NewTextHandler(logs, nil))})
	require.NoError(t, err)
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	b := weaver.NewBatch[[]byte](0, 0)
	next := func() error {
		b.Reset()
		_, err := r.Read(ctx, b)
		return err
	}
	for n := 0; n < 2; n += len(b.Records) {
		require.NoError(t, next())
	}
	disk.opens.every.Store(1)
	appendTo(t, filepath.Join(dir, "b"), "more\n")
	require.ErrorIs(t, next(), syscall.EMFILE)
	require.NoError(t, os.Remove(filepath.Join(dir, "b")))
	disk.opens.every.Store(0)
	require.NoError(t, next(), "there is a position without it")
	require.Contains(t, logs.String(), "gone before it was read to its end")
}
