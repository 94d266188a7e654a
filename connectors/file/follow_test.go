package file

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

// kinds are the circumstances that following must work under.
var kinds = map[string]func(*File[[]byte]) *File[[]byte]{
	"told":      brisk,
	"deaf":      func(f *File[[]byte]) *File[[]byte] { return deaf(brisk(f)) },
	"no inodes": func(f *File[[]byte]) *File[[]byte] { return noInodes(deaf(brisk(f))) },
}

func eachKind(t *testing.T, test func(t *testing.T, kind func(*File[[]byte]) *File[[]byte])) {
	t.Parallel()
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, kind)
		})
	}
}

func TestFollowAppended(t *testing.T) {
	eachKind(t, func(t *testing.T, kind func(*File[[]byte]) *File[[]byte]) {
		l := newLog(t, "app.log")
		x := read(t, kind(Lines(l.path)), weaver.Split{}, nil)
		l.write("one\ntw")
		x.wants("one")
		time.Sleep(20 * time.Millisecond)
		x.wants("one")
		l.write("o\nthree\n")
		x.wants("one", "two", "three")
		at := x.stop()
		l.write("four\nfi")
		x = read(t, kind(Lines(l.path)), weaver.Split{}, at)
		x.wants("four")
		at = x.stop()
		x = read(t, kind(Lines(l.path)), weaver.Split{}, at)
		require.Equal(t, []string{"fi"}, x.finish(), "at the end, half a line is one")
		require.Empty(t, x.logs.String())
	})
}

func TestFollowRotated(t *testing.T) {
	eachKind(t, func(t *testing.T, kind func(*File[[]byte]) *File[[]byte]) {
		for name, rotate := range map[string]func(*logFile){
			"rename":       func(l *logFile) { l.rename(); l.reopen() },
			"copytruncate": func(l *logFile) { l.copyTruncate() },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				l := newLog(t, "app.log")
				line := func(i int) string { return fmt.Sprintf("2026-11-23T10:00:00 line %06d of this log", i) }
				n := 0
				write := func(count int) {
					for range count {
						l.write(line(n) + "\n")
						n++
					}
				}
				wants := func(x *reading, from int) {
					t.Helper()
					var want []string
					for i := from; i < n; i++ {
						want = append(want, line(i))
					}
					x.wants(want...)
				}
				write(3)
				x := read(t, kind(Lines(l.path)), weaver.Split{}, nil)
				wants(x, 0)
				rotate(l)
				write(2)
				wants(x, 0)
				for range 5 { // between two looks
					write(2)
					rotate(l)
				}
				write(1)
				wants(x, 0)
				at := x.stop()
				from := n
				for range 3 { // while nobody looks
					write(2)
					rotate(l)
				}
				write(1)
				x = read(t, kind(Lines(l.path)), weaver.Split{}, at)
				wants(x, from)
				require.NotContains(t, x.logs.String(), "lost")
			})
		}
	})
}

// TestFollowLate: who has a renamed file open goes on writing to it for a while.
func TestFollowLate(t *testing.T) {
	eachKind(t, func(t *testing.T, kind func(*File[[]byte]) *File[[]byte]) {
		l := newLog(t, "app.log")
		x := read(t, kind(Lines(l.path)), weaver.Split{}, nil)
		l.write("one\n")
		x.wants("one")
		l.rename()
		time.Sleep(60 * time.Millisecond)
		l.write("two\n")
		x.wants("one", "two")
		old := l.file
		l.file = nil
		l.write("four\n")
		_, err := old.WriteString("three\n")
		require.NoError(t, err)
		x.wants("one", "two", "three", "four")
		_, err = old.WriteString("too late\n")
		require.NoError(t, err)
		require.Eventually(t, func() bool { return strings.Contains(x.logs.String(), "after it was left") }, time.Minute, time.Millisecond)
	})
}

func TestFollowHalfALineIsRotated(t *testing.T) {
	eachKind(t, func(t *testing.T, kind func(*File[[]byte]) *File[[]byte]) {
		l := newLog(t, "app.log")
		x := read(t, kind(Lines(l.path)), weaver.Split{}, nil)
		l.write("one\ntw")
		x.wants("one")
		l.rename()
		l.reopen()
		l.write("three\n")
		x.wants("one", "tw", "three")
	})
}

// A record of a binary format is one when it is all there.
func TestFollowBinary(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make   func(string) *File[[]byte]
		pieces []string
		want   []string
	}{
		"fixed":    {func(p string) *File[[]byte] { return Fixed[[]byte](p, 3) }, []string{"ab", "cd", "ef"}, []string{"abc", "def"}},
		"prefixed": {func(p string) *File[[]byte] { return Prefixed[[]byte](p, Uint16BE) }, []string{"\x00", "\x02a", "b\x00\x01", "c"}, []string{"ab", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLog(t, "in")
			r := read(t, brisk(c.make(l.path)), weaver.Split{}, nil)
			for _, piece := range c.pieces {
				l.write(piece)
				time.Sleep(20 * time.Millisecond)
			}
			r.wants(c.want...)
			require.Equal(t, c.want, r.finish())
			require.Zero(t, r.rejects)
		})
	}
}

func TestFollowTruncated(t *testing.T) {
	eachKind(t, func(t *testing.T, kind func(*File[[]byte]) *File[[]byte]) {
		l := newLog(t, "app.log")
		x := read(t, kind(Lines(l.path)), weaver.Split{}, nil)
		l.write("one\ntwo\n")
		x.wants("one", "two")
		require.NoError(t, os.Truncate(l.path, 0))
		l.write("three, and more than there was\n")
		x.wants("one", "two", "three, and more than there was")
		require.Contains(t, x.logs.String(), "no copy of it is found")
		at := x.stop()
		require.NoError(t, os.Truncate(l.path, 0))
		l.write("f\n")
		x = read(t, kind(Lines(l.path)), weaver.Split{}, at)
		x.wants("f")
		require.Contains(t, x.logs.String(), "no copy of it is found")
	})
}

func TestFollowDeletedAndMadeAgain(t *testing.T) {
	eachKind(t, func(t *testing.T, kind func(*File[[]byte]) *File[[]byte]) {
		l := newLog(t, "app.log")
		x := read(t, kind(Lines(l.path)), weaver.Split{}, nil)
		l.write("one\n")
		x.wants("one")
		for _, line := range []string{"two", "three"} {
			require.NoError(t, os.Remove(l.path))
			l.write("late " + line + "\n") // into what has no name any more
			l.reopen()
			l.write(line + "\n")
		}
		x.wants("one", "late two", "three")
		at := x.stop()
		require.NoError(t, os.Remove(l.path))
		l.reopen()
		l.write("four\n")
		x = read(t, kind(Lines(l.path)), weaver.Split{}, at)
		x.wants("four")
		require.Contains(t, x.logs.String(), "no copy of it is found")
	})
}

// TestFollowCompressed: a file may be renamed and compressed while nobody looks, in the middle of what was not read.
func TestFollowCompressed(t *testing.T) {
	eachKind(t, func(t *testing.T, kind func(*File[[]byte]) *File[[]byte]) {
		l := newLog(t, "app.log")
		line := func(i int) string { return fmt.Sprintf("2026-11-23T10:00:00 line %06d of this log", i) }
		x := read(t, kind(Lines(l.path)), weaver.Split{}, nil)
		var want []string
		write := func() {
			want = append(want, line(len(want)))
			l.write(want[len(want)-1] + "\n")
		}
		write()
		write()
		write()
		x.wants(want...)
		at := x.stop()
		write()
		l.rename()
		l.reopen()
		write()
		data, err := os.ReadFile(l.old(1))
		require.NoError(t, err)
		info, err := os.Stat(l.old(1))
		require.NoError(t, err)
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, err = w.Write(data)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		realFile(t, l.old(1)+".gz", packed.String())
		require.NoError(t, os.Chtimes(l.old(1)+".gz", info.ModTime(), info.ModTime()))
		require.NoError(t, os.Remove(l.old(1)))
		x = read(t, kind(Lines(l.path)), weaver.Split{}, at)
		x.wants(want[3:]...)
		at = x.stop()
		write()
		x = read(t, kind(Lines(l.path)), weaver.Split{}, at)
		x.wants(want[5:]...)
		require.NotContains(t, x.logs.String(), "lost")
	})
}

func TestFollowFrom(t *testing.T) {
	t.Parallel()
	l := newLog(t, "app.log")
	l.write("old\n")
	l.rename()
	l.reopen()
	l.write("one\ntw")
	x := read(t, brisk(Lines(l.path)), weaver.Split{}, nil)
	x.wants("one")
	x.stop()
	f := brisk(Lines(l.path))
	f.From = End
	x = read(t, f, weaver.Split{}, nil)
	require.Eventually(t, func() bool { x.mu.Lock(); defer x.mu.Unlock(); return x.position != nil }, time.Minute, time.Millisecond)
	at := x.stop()
	l.write("o\n")
	l.rename()
	l.reopen()
	l.write("three\n")
	x = read(t, f, weaver.Split{}, at)
	x.wants("two", "three")
}

// TestFollowModel writes, rotates and restarts in any order and compares what came with what was written.
func TestFollowModel(t *testing.T) {
	t.Parallel()
	for name, kind := range kinds {
		for seed := range uint64(12) {
			t.Run(fmt.Sprint(name, seed), func(t *testing.T) {
				t.Parallel()
				model(t, kind, seed)
			})
		}
	}
}

func model(t *testing.T, kind func(*File[[]byte]) *File[[]byte], seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	l := newLog(t, "app.log")
	file := kind(Lines(l.path))
	var want, got []string
	part, n := "", 0
	x := read(t, file, weaver.Split{}, nil)
	require.Eventually(t, func() bool { x.mu.Lock(); defer x.mu.Unlock(); return x.position != nil }, time.Minute, time.Millisecond)
	var steps []string
	for range 150 {
		step := ""
		switch k := rng.IntN(100); {
		case k < 45:
			for range 1 + rng.IntN(20) {
				line := fmt.Sprintf("%08d %s", n, strings.Repeat("x", rng.IntN(90)))
				n++
				l.write(line + "\n")
				want = append(want, part+line)
				part = ""
			}
			step = fmt.Sprint("write to ", n)
		case k < 60:
			more := fmt.Sprintf("part%d", n)
			n++
			l.write(more)
			part += more
			step = "part " + more
		case k < 70 && part == "":
			step = "rename"
			if _, err := os.Stat(l.path); err == nil {
				l.rename()
				if rng.IntN(3) == 0 {
					line := fmt.Sprintf("%08d late", n)
					n++
					l.write(line + "\n")
					want = append(want, line)
				}
				l.reopen()
				if rng.IntN(2) == 0 {
					l.open()
				}
			}
		case k < 80 && part == "":
			step = "copy"
			if _, err := os.Stat(l.path); err == nil {
				l.copyTruncate()
			}
		case k < 90:
			time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
			step = "pause"
		default:
			at := x.stop()
			require.NoError(t, x.err)
			got = append(got, x.got...)
			x = read(t, file, weaver.Split{}, at)
			step = fmt.Sprint("restart after ", len(got))
		}
		steps = append(steps, step)
	}
	x.lines(len(want) - len(got))
	time.Sleep(30 * time.Millisecond)
	if part != "" {
		want = append(want, part)
	}
	got = append(got, x.finish()...)
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			require.Equal(t, want[i], got[i], "line %d; seed %d\n%s\n%s", i, seed, strings.Join(steps, "\n"), x.logs)
		}
	}
	require.Len(t, got, len(want), "seed %d\n%s\n%s", seed, strings.Join(steps, "\n"), x.logs)
}
