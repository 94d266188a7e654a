package file

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

// folderOf makes files of one line each in a new folder.
func folderOf(t testing.TB, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i, name := range files {
		realFile(t, filepath.Join(dir, name), name+"\n")
		at := time.Now().Add(time.Duration(i-len(files)) * time.Minute)
		require.NoError(t, os.Chtimes(filepath.Join(dir, name), at, at))
	}
	return dir
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	all := []string{}
	for _, e := range entries {
		if !e.IsDir() {
			all = append(all, e.Name())
		}
	}
	return all
}

// bounded reads what there is, and acknowledges the last position if told to.
func bounded(t testing.TB, f *File[[]byte], at weaver.Position, ack bool) ([]string, weaver.Position) {
	t.Helper()
	r, err := f.OpenReader(t.Context(), weaver.Lane{Position: at})
	require.NoError(t, err)
	defer r.Close()
	if at != nil && ack {
		require.NoError(t, r.(weaver.Acker).Ack(t.Context(), at))
	}
	var all []string
	b := weaver.NewBatch[[]byte](2, 0)
	for {
		b.Reset()
		p, err := r.Read(t.Context(), b)
		for _, rec := range b.Records {
			all = append(all, string(rec.Value))
		}
		if p != nil {
			at = slices.Clone(p)
		}
		if err == io.EOF { //nolint:errorlint // as it is
			break
		}
		require.NoError(t, err)
		if ack {
			require.NoError(t, r.(weaver.Acker).Ack(t.Context(), at))
		}
	}
	if ack {
		require.NoError(t, r.(weaver.Acker).Ack(t.Context(), at))
	}
	return all, at
}

func TestOrderByTime(t *testing.T) {
	t.Parallel()
	dir := folderOf(t, "c", "a", "b")
	f := Lines(filepath.Join(dir, "*"))
	f.Order = ByTime
	got, at := bounded(t, f, nil, false)
	require.Equal(t, []string{"c", "a", "b"}, got)
	realFile(t, filepath.Join(dir, "0"), "before all\n")
	require.NoError(t, os.Rename(filepath.Join(dir, "b"), filepath.Join(dir, "d")))
	file, err := os.OpenFile(filepath.Join(dir, "a"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = file.WriteString("more\n")
	require.NoError(t, err)
	require.NoError(t, file.Close())
	got, at = bounded(t, f, at, false)
	require.ElementsMatch(t, []string{"before all", "more"}, got)
	got, _ = bounded(t, f, at, false)
	require.Empty(t, got)
}

func TestFinishedDelete(t *testing.T) {
	t.Parallel()
	for _, order := range []Order{ByName, ByTime} {
		dir := folderOf(t, "a", "b", "c", "d")
		f := Lines(filepath.Join(dir, "*"))
		f.Finished, f.Order = Delete, order
		got, at := bounded(t, f, nil, false)
		require.Equal(t, []string{"a", "b", "c", "d"}, got)
		require.Equal(t, []string{"a", "b", "c", "d"}, names(t, dir), "nothing is durable")
		realFile(t, filepath.Join(dir, "b"), "b\nmore\n")                                     // has grown
		require.NoError(t, os.Remove(filepath.Join(dir, "c")))                                // was
		realFile(t, filepath.Join(dir, "c"), "C\n")                                           // replaced
		got, at = bounded(t, f, at, true)                                                     // a crash came before it
		require.ElementsMatch(t, []string{"more", "C"}, got)                                  // though
		require.Empty(t, names(t, dir), "deleted by the run after the crash, as now durable") // all
		realFile(t, filepath.Join(dir, "a"), "new\n")
		got, at = bounded(t, f, at, true)
		require.Equal(t, []string{"new"}, got)
		got, at = bounded(t, f, at, true)
		require.Empty(t, got)
		require.Less(t, len(at), 10, "what is gone is forgotten")
	}
}

func TestFinishedKeepsWhatIsNotDurable(t *testing.T) {
	t.Parallel()
	dir := folderOf(t, "a", "b", "c", "d", "e")
	f := Lines(filepath.Join(dir, "*"))
	f.Finished = Delete
	r, err := f.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	defer r.Close()
	b := weaver.NewBatch[[]byte](2, 0)
	p, err := r.Read(t.Context(), b)
	require.NoError(t, err)
	p = slices.Clone(p)
	b.Reset()
	_, err = r.Read(t.Context(), b)
	require.NoError(t, err)
	require.NoError(t, r.(weaver.Acker).Ack(t.Context(), p))
	require.Equal(t, []string{"b", "c", "d", "e"}, names(t, dir), "a is behind, and b is not yet known to be at its end")
}

func TestFinishedMove(t *testing.T) {
	t.Parallel()
	dir := folderOf(t, "a.txt", "b.txt")
	done := filepath.Join(dir, "done")
	f := Lines(filepath.Join(dir, "**", "*.txt"))
	f.Finished, f.MoveTo = Move, done
	require.NoError(t, os.Mkdir(done, 0o700))
	realFile(t, filepath.Join(done, "a.txt"), "of yesterday\n")
	got, _ := bounded(t, f, nil, true)
	require.Equal(t, []string{"a.txt", "b.txt"}, got)
	require.Empty(t, names(t, dir))
	require.Equal(t, []string{"a.txt", "a~2.txt", "b.txt"}, names(t, done))
	// A crash between the two steps of moving.
	realFile(t, filepath.Join(dir, "c.txt"), "c\n")
	g := Lines(filepath.Join(dir, "**", "*.txt"))
	g.Finished, g.MoveTo = Move, done
	got, at := bounded(t, g, nil, false)
	require.Equal(t, []string{"c"}, got)
	require.NoError(t, os.Link(filepath.Join(dir, "c.txt"), filepath.Join(done, "c.txt")))
	_, _ = bounded(t, g, at, true)
	require.Empty(t, names(t, dir))
	require.Equal(t, []string{"a.txt", "a~2.txt", "b.txt", "c.txt"}, names(t, done))
}

// TestFinishedAfterBounded: a position that was made without entries says what is read, but not what may be deleted.
func TestFinishedAfterBounded(t *testing.T) {
	t.Parallel()
	dir := folderOf(t, "a", "b")
	f := Lines(filepath.Join(dir, "*"))
	r, err := f.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	at, err := r.Read(t.Context(), weaver.NewBatch[[]byte](0, 0))
	require.Equal(t, io.EOF, err)
	require.NoError(t, r.Close())
	realFile(t, filepath.Join(dir, "c"), "c\n")
	g := Lines(filepath.Join(dir, "*"))
	g.Finished = Delete
	got, _ := bounded(t, g, slices.Clone(at), true)
	require.Equal(t, []string{"c"}, got)
	require.Equal(t, []string{"a", "b"}, names(t, dir))
}

func TestFollowFinished(t *testing.T) {
	t.Parallel()
	l := newLog(t, "app.log")
	f := brisk(Lines(l.path))
	f.Finished = Delete
	x := read(t, f, weaver.Split{}, nil)
	ack := func() error {
		x.mu.Lock()
		at := slices.Clone(x.position)
		x.mu.Unlock()
		return x.r.(weaver.Acker).Ack(context.Background(), at)
	}
	l.write("one\n")
	x.wants("one")
	require.NoError(t, ack())
	l.rename()
	l.reopen()
	require.NoError(t, ack())
	require.Equal(t, []string{"app.log.001"}, names(t, filepath.Dir(l.path)))
	l.write("two\n")
	x.wants("one", "two")
	at := x.stop() // a crash between saving and acknowledging
	x = read(t, f, weaver.Split{}, at)
	require.NoError(t, ack())
	require.Equal(t, []string{"app.log"}, names(t, filepath.Dir(l.path)))
	l.write("three\n")
	x.wants("three")
}

func TestFollowFinishedAfter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := realFile(t, filepath.Join(dir, "app.log"), "one\ntwo")
	f := brisk(Lines(path))
	f.Finished, f.FinishedAfter, f.MoveTo = Move, 50*time.Millisecond, filepath.Join(dir, "done")
	x := read(t, f, weaver.Split{}, nil)
	x.wants("one", "two")
	require.Equal(t, []string{"app.log"}, names(t, dir))
	require.Eventually(t, func() bool {
		x.mu.Lock()
		at := slices.Clone(x.position)
		x.mu.Unlock()
		require.NoError(t, x.r.(weaver.Acker).Ack(t.Context(), at))
		return len(names(t, dir)) == 0
	}, time.Minute, 5*time.Millisecond)
	require.Equal(t, []string{"app.log"}, names(t, filepath.Join(dir, "done")))
	realFile(t, path, "three\n")
	x.wants("one", "two", "three")
}

func TestFollowBuckets(t *testing.T) {
	t.Parallel()
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			f := kind(Lines(filepath.Join(dir, "*.log*")))
			f.Buckets = 3
			session, err := f.Splits(t.Context())
			require.NoError(t, err)
			c, err := session.Next(t.Context())
			require.NoError(t, err)
			require.NoError(t, session.Close())
			require.Len(t, c.Add, 3)
			var want []string
			put := func(i int) {
				line := fmt.Sprintf("2026-11-23T10:00:00Z the only line of a file that has the number %d, and is not short\n", i)
				want = append(want, line[:len(line)-1])
				realFile(t, filepath.Join(dir, fmt.Sprintf("%03d.log", i)), line)
			}
			var at [3]weaver.Position
			var got []string
			run := func() {
				var xs []*reading
				n := 0
				for i, s := range c.Add {
					xs = append(xs, read(t, f, s, at[i]))
				}
				require.Eventually(t, func() bool {
					n = 0
					for _, x := range xs {
						x.mu.Lock()
						n += len(x.got)
						x.mu.Unlock()
					}
					return n+len(got) >= len(want)
				}, time.Minute, time.Millisecond)
				time.Sleep(60 * time.Millisecond)
				for i, x := range xs {
					at[i] = x.stop()
					require.NoError(t, x.err)
					got = append(got, x.got...)
				}
				require.ElementsMatch(t, want, got)
			}
			for i := range 50 {
				put(100 + i)
			}
			run()
			for i := range 20 { // they sort before the others
				put(i)
			}
			for i := range 10 {
				was := filepath.Join(dir, fmt.Sprintf("%03d.log", 100+i))
				require.NoError(t, os.Rename(was, was+".1"))
			}
			run()
			for i := 60; i < 70; i++ {
				put(i)
				require.NoError(t, os.Remove(filepath.Join(dir, fmt.Sprintf("%03d.log", 80+i))))
			}
			run()
			run()
			size := len(at[0]) + len(at[1]) + len(at[2])
			require.LessOrEqual(t, size, 70*50)
		})
	}
}

// TestFollowBucketsGrowing: files of a bucket may grow as well.
func TestFollowBucketsGrowing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := brisk(Lines(filepath.Join(dir, "*")))
	f.Buckets = 1
	session, err := f.Splits(t.Context())
	require.NoError(t, err)
	c, err := session.Next(t.Context())
	require.NoError(t, err)
	a, b := realFile(t, filepath.Join(dir, "a"), "a1\na"), realFile(t, filepath.Join(dir, "b"), "b1\n")
	x := read(t, f, c.Add[0], nil)
	x.wants("a1", "b1")
	for _, more := range [][2]string{{a, "2\n"}, {b, "b2\n"}} {
		file, err := os.OpenFile(more[0], os.O_APPEND|os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = file.WriteString(more[1])
		require.NoError(t, err)
		require.NoError(t, file.Close())
	}
	require.ElementsMatch(t, []string{"a1", "b1", "a2", "b2"}, x.lines(4))
}

func TestManyFinishedFilesAreSmall(t *testing.T) {
	t.Parallel()
	r := &turns[[]byte]{file: Lines("x"), entries: make(map[uint64]*entry), dirty: true}
	for i := range 20_000 {
		e := &entry{name: hashOf(fmt.Sprint(i)), id: uint64(i)<<40 | 1, size: 123_456, done: true}
		e.offset, e.line, e.print = 123_456, 1, fingerprint{size: 1024, sum: uint64(i)}
		r.entries[e.name] = e
	}
	p := r.encode()
	require.LessOrEqual(t, len(p), 1<<20)
	_, all, err := parseEntries(p)
	require.NoError(t, err)
	require.Len(t, all, 20_000)
	t.Logf("%d bytes", len(p))
}
