package file

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
	"github.com/bohica-labs/dataweaver/retry"
)

// batchOf returns a batch of values.
func batchOf[T any](values ...T) *weaver.Batch[T] {
	b := weaver.NewBatch[T](0, 0)
	for _, v := range values {
		b.Add().Value = v
	}
	return b
}

func lines(s ...string) *weaver.Batch[[]byte] {
	b := weaver.NewBatch[[]byte](0, 0)
	for _, v := range s {
		b.Add().Value = []byte(v)
	}
	return b
}

// keep opens a writer that keeps the checkpoint.
func keep[T any](t testing.TB, f *File[T], at weaver.Lane) (*writer[T], []byte) {
	t.Helper()
	w := open(t, f, at)
	envelope, err := w.Restore(t.Context())
	require.NoError(t, err)
	return w, envelope
}

func open[T any](t testing.TB, f *File[T], at weaver.Lane) *writer[T] {
	t.Helper()
	w, err := f.OpenWriter(t.Context(), at)
	require.NoError(t, err)
	return w.(*writer[T])
}

func TestCommitAndRestore(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	f := on(Lines("out"), disk)
	w, envelope := keep(t, f, weaver.Lane{})
	require.Nil(t, envelope)
	require.NoError(t, w.Write(t.Context(), lines("a", "b")))
	require.NoError(t, w.Commit(t.Context(), []byte("2")))
	require.NoError(t, w.Write(t.Context(), lines("c")))
	require.NoError(t, w.Commit(t.Context(), []byte("3")))
	require.NoError(t, w.Commit(t.Context(), []byte("3+")))
	require.NoError(t, w.Write(t.Context(), lines("lost")))
	require.NoError(t, w.spill(t.Context()))
	require.Equal(t, "a\nb\nc\nlost\n", content(t, disk, "out"))
	after := disk.Crash(1)
	w, envelope = keep(t, on(Lines("out"), after), weaver.Lane{})
	require.Equal(t, "3+", string(envelope))
	require.Equal(t, "a\nb\nc\n", content(t, after, "out"))
	require.NoError(t, w.Write(t.Context(), lines("tidied away")))
	require.NoError(t, w.spill(t.Context()))
	require.NoError(t, w.Close())
	require.Equal(t, "a\nb\nc\n", content(t, after, "out"))

	disk = after
	w, envelope = keep(t, on(Lines("out"), disk), weaver.Lane{})
	require.Equal(t, "3+", string(envelope))
	require.Equal(t, "a\nb\nc\n", content(t, disk, "out"))
	require.NoError(t, w.Write(t.Context(), lines("d")))
	require.NoError(t, w.Commit(t.Context(), []byte{}))
	require.NoError(t, w.Close())
	require.Error(t, w.Write(t.Context(), lines("e")))

	w, envelope = keep(t, on(f, disk), weaver.Lane{Resume: true})
	require.Equal(t, []byte{}, envelope)
	require.Equal(t, "a\nb\nc\nd\n", content(t, disk, "out"))
	require.NoError(t, w.Close())
}

func TestEarlierWritersAreFenced(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	first, _ := keep(t, on(Lines("out"), disk), weaver.Lane{Pipeline: "p"})
	require.NoError(t, first.Write(t.Context(), lines("a")))
	require.NoError(t, first.Commit(t.Context(), []byte("1")))
	require.NoError(t, first.Write(t.Context(), lines("b")))

	second, envelope := keep(t, on(Lines("out"), disk), weaver.Lane{Pipeline: "p"})
	require.Equal(t, "1", string(envelope))

	err := first.Commit(t.Context(), []byte("2"))
	require.ErrorIs(t, err, weaver.ErrFenced)
	require.ErrorIs(t, first.Commit(t.Context(), []byte("2")), weaver.ErrFenced)
	require.NoError(t, first.Close())
	require.Equal(t, "a\n", content(t, disk, "out"))

	third := on(Lines("out"), disk)
	third.BufferBytes = 1
	w, _ := keep(t, third, weaver.Lane{Pipeline: "p"})
	require.ErrorIs(t, second.Write(t.Context(), lines(strings.Repeat("x", defaultBufferBytes))), weaver.ErrFenced)
	require.NoError(t, second.Close())
	require.NoError(t, w.Write(t.Context(), lines("c")))
	require.NoError(t, w.Commit(t.Context(), []byte("2")))
	require.NoError(t, w.Close())
	require.Equal(t, "a\nc\n", content(t, disk, "out"))
}

func TestWhatWasThereBefore(t *testing.T) {
	t.Parallel()
	run := func(disk durable.FS, exists IfExists, at weaver.Lane) (string, error) {
		f := on(Lines("out"), disk)
		f.IfExists = exists
		w := open(t, f, at)
		defer w.Close()
		envelope, err := w.Restore(t.Context())
		if err != nil {
			return "", err
		}
		require.NoError(t, w.Write(t.Context(), lines("new")))
		require.NoError(t, w.Commit(t.Context(), []byte("1")))
		return string(envelope), nil
	}
	for _, c := range []struct {
		name, before string
		exists       IfExists
		want         string
	}{
		{"empty, Refuse", "", Refuse, "new\n"},
		{"Append", "old\n", Append, "old\nnew\n"},
		{"Append to a line without an end", "old", Append, "old\nnew\n"},
		{"Overwrite", "old\n", Overwrite, "new\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			disk := newDisk(t, map[string]string{"out": c.before})
			envelope, err := run(disk, c.exists, weaver.Lane{})
			require.NoError(t, err)
			require.Empty(t, envelope)
			require.Equal(t, c.want, content(t, disk, "out"))

			envelope, err = run(disk, c.exists, weaver.Lane{})
			require.NoError(t, err)
			if c.exists == Overwrite {
				require.Empty(t, envelope)
				require.Equal(t, "new\n", content(t, disk, "out"))
			} else {
				require.Equal(t, "1", envelope)
				require.Equal(t, c.want+"new\n", content(t, disk, "out"))
			}

			// A lane that goes on never empties anything.
			envelope, err = run(disk, Overwrite, weaver.Lane{Resume: true})
			require.NoError(t, err)
			require.Equal(t, "1", envelope)
			require.True(t, strings.HasSuffix(content(t, disk, "out"), "new\nnew\n"))
		})
	}

	disk := newDisk(t, map[string]string{"out": "old\n"})
	_, err := run(disk, Refuse, weaver.Lane{})
	require.ErrorContains(t, err, "remove it, or set IfExists to file.Append or file.Overwrite")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	require.Equal(t, "old\n", content(t, disk, "out"))
}

// An Overwrite that fails before it has emptied the file is still to be done by the writer that is opened next, though that one resumes.
func TestOverwriteIsNotForgotten(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	f := on(Lines("out"), disk)
	f.IfExists = Overwrite
	w, _ := keep(t, f, weaver.Lane{})
	require.NoError(t, w.Write(t.Context(), lines("old")))
	require.NoError(t, w.Commit(t.Context(), []byte("1")))
	require.NoError(t, w.Close())

	disk.Fail(func(o durabletest.Op) error {
		if o.Kind == durabletest.Rename {
			return syscall.EIO
		}
		return nil
	})
	w = open(t, f, weaver.Lane{})
	_, err := w.Restore(t.Context())
	require.ErrorIs(t, err, syscall.EIO)
	require.Equal(t, retry.ClassUnmarked, retry.ClassOf(err))
	require.NoError(t, w.Close())
	disk.Fail(nil)

	w, envelope := keep(t, f, weaver.Lane{Resume: true})
	require.Nil(t, envelope)
	require.Empty(t, content(t, disk, "out"))
	require.NoError(t, w.Close())
}

func TestAChangedFileIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(disk durable.FS)
		at     weaver.Lane
		want   string
	}{
		"cut":               {func(d durable.FS) { put(t, d, "out", "a\n") }, weaver.Lane{}, "it has 2 bytes instead of at least 4"},
		"removed":           {func(d durable.FS) { require.NoError(t, d.Remove("out")) }, weaver.Lane{}, "it has 0 bytes instead of at least 4"},
		"other":             {func(d durable.FS) { put(t, d, "out", "other\n") }, weaver.Lane{}, "the bytes before 4 are others"},
		"sidecar damaged":   {func(d durable.FS) { put(t, d, "out.checkpoint", "x") }, weaver.Lane{}, "out.checkpoint is damaged"},
		"sidecar empty":     {func(d durable.FS) { put(t, d, "out.checkpoint", "") }, weaver.Lane{}, "out.checkpoint is damaged"},
		"sidecar removed":   {func(d durable.FS) { require.NoError(t, d.Remove("out.checkpoint")) }, weaver.Lane{}, "set IfExists"},
		"another split":     {func(durable.FS) {}, weaver.Lane{Split: weaver.Split{ID: "s"}}, "one file takes one split"},
		"another pipeline":  {func(durable.FS) {}, weaver.Lane{Pipeline: "q"}, `was written by pipeline "p"`},
		"pipeline nameless": {func(durable.FS) {}, weaver.Lane{Pipeline: "-"}, `this is ""`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := durabletest.New()
			w, _ := keep(t, on(Lines("out"), disk), weaver.Lane{Pipeline: "p"})
			require.NoError(t, w.Write(t.Context(), lines("a", "b")))
			require.NoError(t, w.Commit(t.Context(), []byte("2")))
			require.NoError(t, w.Close())
			c.change(disk)
			before, _ := durable.ReadFile(disk, "out")
			switch c.at.Pipeline {
			case "":
				c.at.Pipeline = "p"
			case "-":
				c.at.Pipeline = ""
			}
			w = open(t, on(Lines("out"), disk), c.at)
			_, err := w.Restore(t.Context())
			require.ErrorContains(t, err, c.want)
			require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
			require.NoError(t, w.Close())
			after, _ := durable.ReadFile(disk, "out")
			require.Equal(t, string(before), string(after))
		})
	}
}

func TestChangesWhileItIsWritten(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(disk durable.FS){
		"appended to": func(d durable.FS) {
			f, err := d.OpenFile("out", 1, 0)
			require.NoError(t, err)
			_, err = f.WriteAt([]byte("foreign\n"), 2)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		},
		"replaced":        func(d durable.FS) { put(t, d, "out", "a\nforeign\n") },
		"removed":         func(d durable.FS) { require.NoError(t, d.Remove("out")) },
		"sidecar removed": func(d durable.FS) { require.NoError(t, d.Remove("out.checkpoint")) },
	} {
		disk := durabletest.New()
		w, _ := keep(t, on(Lines("out"), disk), weaver.Lane{})
		require.NoError(t, w.Write(t.Context(), lines("a")))
		require.NoError(t, w.Commit(t.Context(), []byte("1")))
		change(disk)
		require.NoError(t, w.Write(t.Context(), lines("b")))
		err := w.Commit(t.Context(), []byte("2"))
		require.Error(t, err, name)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err), name)
		require.NoError(t, w.Close())
	}
}

func TestOneFileTakesOneSplit(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	f := on(Lines("out"), disk)
	f.IfExists = Overwrite
	w, _ := keep(t, f, weaver.Lane{Split: weaver.Split{ID: "a"}})
	require.NoError(t, w.Write(t.Context(), lines("a")))
	require.NoError(t, w.Commit(t.Context(), []byte("1")))
	for range 2 { // open, and closed
		_, err := f.OpenWriter(t.Context(), weaver.Lane{Split: weaver.Split{ID: "b"}})
		require.ErrorContains(t, err, "one file takes one split")
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
		require.NoError(t, w.Close())
	}
	require.Equal(t, "a\n", content(t, disk, "out"))
	w, envelope := keep(t, f, weaver.Lane{Split: weaver.Split{ID: "a"}, Resume: true})
	require.Equal(t, "1", string(envelope))
	require.NoError(t, w.Close())

	// Both were opened before either knew what for.
	g := on(Lines("other"), disk)
	a, b := open(t, g, weaver.Lane{Split: weaver.Split{ID: "a"}}), open(t, g, weaver.Lane{Split: weaver.Split{ID: "b"}})
	_, err := a.Restore(t.Context())
	require.NoError(t, err)
	_, err = b.Restore(t.Context())
	require.ErrorContains(t, err, "one file takes one split")
	require.NoError(t, errors.Join(a.Close(), b.Close()))
}

func TestUnencodableRecordsAreNamed(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	w, _ := keep(t, on(NDJSON[order]("out"), disk), weaver.Lane{})
	b := batchOf(order{ID: 1}, order{ID: 2, Price: math.NaN()}, order{ID: 3}, order{ID: 4}, order{ID: 5, Price: math.Inf(1)})
	b.Records[3].Op = weaver.Delete
	err := w.Write(t.Context(), b)
	var partial *weaver.BatchError
	require.ErrorAs(t, err, &partial)
	require.False(t, partial.RolledBack)
	var failed []int
	for _, r := range partial.Records {
		failed = append(failed, r.Index)
		require.Equal(t, retry.ClassPoison, retry.ClassOf(r.Err))
	}
	require.Equal(t, []int{1, 3, 4}, failed)
	require.ErrorIs(t, partial.Records[1].Err, errDelete)
	require.NoError(t, w.Commit(t.Context(), []byte("5")))
	require.NoError(t, w.Close())
	require.Equal(t, `{"id":1,"name":"","price":0}`+"\n"+`{"id":3,"name":"","price":0}`+"\n", content(t, disk, "out"))

	l, _ := keep(t, on(Lines("lines"), disk), weaver.Lane{})
	require.ErrorAs(t, l.Write(t.Context(), lines("a", "b\nc", "d\r", "e\rf")), &partial)
	require.Len(t, partial.Records, 2)
	require.NoError(t, l.Commit(t.Context(), nil))
	require.NoError(t, l.Close())
	require.Equal(t, "a\ne\rf\n", content(t, disk, "lines"))
}

func TestCSVSink(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	f := on(CSV[order]("out"), disk)
	w, _ := keep(t, f, weaver.Lane{})
	require.NoError(t, w.Commit(t.Context(), []byte("0")))
	require.Equal(t, "id,name,price\n", content(t, disk, "out"))
	require.NoError(t, w.Close())
	for i := range 2 {
		w, _ = keep(t, f, weaver.Lane{})
		require.NoError(t, w.Write(t.Context(), batchOf(order{ID: int64(i), Name: "a\"b,\n", Price: math.NaN()})))
		require.NoError(t, w.Commit(t.Context(), []byte("1")))
		require.NoError(t, w.Close())
	}
	require.Equal(t, "id,name,price\n0,\"a\"\"b,\n\",NaN\n1,\"a\"\"b,\n\",NaN\n", content(t, disk, "out"))

	g := on(CSV[order]("out"), disk)
	g.Columns = []string{"name", "id"}
	w = open(t, g, weaver.Lane{})
	_, err := w.Restore(t.Context())
	require.ErrorContains(t, err, `other columns`)
	require.NoError(t, w.Close())

	for name, c := range map[string]struct {
		set   func(*File[order])
		want  string
		fatal string
	}{
		"columns":   {set: func(f *File[order]) { f.Columns = []string{"name", "id"}; f.Comma = ';' }, want: "name;id\nn;1\n"},
		"no header": {set: func(f *File[order]) { f.NoHeader = true }, want: "1,n,2\n"},
		"unknown":   {set: func(f *File[order]) { f.Columns = []string{"x"} }, fatal: "Columns names one that T has no field for"},
	} {
		f := on(CSV[order](name), disk)
		c.set(f)
		w, err := f.OpenWriter(t.Context(), weaver.Lane{})
		if c.fatal != "" {
			require.ErrorContains(t, err, c.fatal)
			continue
		}
		require.NoError(t, err)
		require.NoError(t, w.Write(t.Context(), batchOf(order{ID: 1, Name: "n", Price: 2})))
		require.NoError(t, w.(weaver.Flusher).Flush(t.Context()))
		require.NoError(t, w.Close())
		require.Equal(t, c.want, content(t, disk, name))
	}
}

func TestSinkErrorsThatSomebodyHasToMend(t *testing.T) {
	t.Parallel()
	disk := newDisk(t, map[string]string{"file": "x\n"})
	require.NoError(t, disk.MkdirAll("folder", 0o755))
	for path, want := range map[string]string{
		"missing/out": "make the folder first",
		"folder":      "is a folder",
		"file/out":    "is no folder",
	} {
		_, err := on(Lines(path), disk).OpenWriter(t.Context(), weaver.Lane{})
		require.ErrorContains(t, err, want)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err), path)
	}
	for _, denied := range []error{fs.ErrPermission, syscall.EROFS} {
		disk.Fail(func(o durabletest.Op) error {
			if o.Kind == durabletest.Create {
				return denied
			}
			return nil
		})
		w := open(t, on(Lines("out"), disk), weaver.Lane{})
		_, err := w.Restore(t.Context())
		require.ErrorContains(t, err, "give the user that this program runs as the right")
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
		require.NoError(t, w.Close())
		w = open(t, on(Lines("out"), disk), weaver.Lane{})
		require.Equal(t, retry.ClassFatal, retry.ClassOf(w.Write(t.Context(), lines("a"))))
		require.NoError(t, w.Close())
	}
}

// At whatever operation the disk is full or broken, for once or for a while, the writer that is opened next goes on with nothing lost and nothing doubled.
func TestFailuresOfTheDisk(t *testing.T) {
	t.Parallel()
	var want strings.Builder
	for i := range 20 {
		fmt.Fprintf(&want, "record %d\n", i)
	}
	hit := map[string]bool{}
	for _, failure := range []error{syscall.ENOSPC, &durabletest.ShortWrite{Keep: 5, Err: syscall.ENOSPC}, syscall.EIO} {
		for n := 0; ; n++ {
			disk := durabletest.New()
			f := on(Lines("out"), disk)
			f.BufferBytes = 25
			disk.Fail(func(o durabletest.Op) error {
				if o.N != n {
					return nil
				}
				hit[kindOf(o)] = true
				return failure
			})
			for try := 0; ; try++ {
				require.Less(t, try, 3)
				if err := copyAll(t, f, try > 0); err == nil {
					break
				} else if retry.ClassOf(err) != retry.ClassUnmarked {
					t.Fatal(err)
				}
			}
			operations := disk.Count()
			disk.Fail(nil)
			require.Equal(t, want.String(), content(t, disk, "out"), "%v at %d", failure, n)
			if operations <= n {
				break
			}
		}
	}
	requireKinds(t, hit, map[string][]string{
		"other": {durabletest.Create, durabletest.Write, durabletest.Sync, durabletest.Close, durabletest.SyncDir, durabletest.Stat}, // the file
		"new":   {durabletest.Create, durabletest.Write, durabletest.Sync, durabletest.Close},
		"state": {durabletest.Open, durabletest.Read, durabletest.Rename, durabletest.Close},
	})
}

// copyAll writes 20 records, from where the checkpoint says, as the engine does.
func copyAll(t *testing.T, f *File[[]byte], resume bool) (err error) {
	t.Helper()
	x, err := f.OpenWriter(t.Context(), weaver.Lane{Resume: resume})
	if err != nil {
		return err
	}
	defer x.Close() // which may fail, as the disk does
	w := x.(*writer[[]byte])
	envelope, err := w.Restore(t.Context())
	if err != nil {
		return err
	}
	next := 0
	if envelope != nil {
		next = int(envelope[0])
	}
	for next < 20 {
		for range min(3, 20-next) {
			if err := w.Write(t.Context(), lines(fmt.Sprintf("record %d", next))); err != nil {
				return err
			}
			next++
		}
		if err := w.Commit(t.Context(), []byte{byte(next)}); err != nil {
			return err
		}
	}
	return nil
}
