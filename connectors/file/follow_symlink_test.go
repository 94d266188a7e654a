package file

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

// linkedLog is a log of a writer that begins a new file for each generation, and makes a link point to it.
type linkedLog struct {
	t    *testing.T
	link string
	n    int
	want []string
}

func newLinkedLog(t *testing.T) *linkedLog {
	l := &linkedLog{t: t, link: filepath.Join(t.TempDir(), "current")}
	l.turn()
	return l
}

func (l *linkedLog) target(n int) string {
	return filepath.Join(filepath.Dir(l.link), fmt.Sprintf("app.log.%03d", n))
}

// turn begins a new file, which has a line, and makes the link point to it.
func (l *linkedLog) turn() {
	l.t.Helper()
	l.n++
	l.write(1)
	require.NoError(l.t, os.Symlink(filepath.Base(l.target(l.n)), l.link+"~"))
	require.NoError(l.t, os.Rename(l.link+"~", l.link))
}

// write appends lines to the newest file.
func (l *linkedLog) write(lines int) {
	l.t.Helper()
	for range lines {
		line := fmt.Sprintf("line %06d of a log, in the file with the number %d", len(l.want), l.n)
		appendTo(l.t, l.target(l.n), line+"\n")
		l.want = append(l.want, line)
	}
}

// A link is followed to what it points to: the file before is read to its end when it points to the next one.
func TestFollowALink(t *testing.T) {
	eachKind(t, func(t *testing.T, kind func(*File[[]byte]) *File[[]byte]) {
		l := newLinkedLog(t)
		f := kind(Lines(l.link))
		f.Vanished = Fail
		x := read(t, f, weaver.Split{}, nil)
		x.wants(l.want...)
		from := 0
		for i := range 6 {
			l.write(3)
			l.turn()
			if i%2 == 0 { // what was there when nothing was read stays there
				x.wants(l.want[from:]...)
				at := x.stop()
				from = len(l.want)
				l.write(2)
				x = read(t, f, weaver.Split{}, at)
			}
			l.write(2)
			x.wants(l.want[from:]...)
		}
		time.Sleep(40 * time.Millisecond)
		require.Equal(t, l.want[from:], x.finish(), "nothing comes twice")
	})
}

// With Rotated, what the link pointed to meanwhile is read as well: between two looks, and while nobody looked.
func TestFollowALinkThatTurnsQuickly(t *testing.T) {
	eachKind(t, func(t *testing.T, kind func(*File[[]byte]) *File[[]byte]) {
		l := newLinkedLog(t)
		f := kind(Lines(l.link))
		if f.following.identify != nil {
			t.Skip("without inodes, nothing tells which of the files the link points to")
		}
		f.Vanished, f.Rotated = Fail, "app.log.*"
		x := read(t, f, weaver.Split{}, nil)
		x.wants(l.want...)
		from := 0
		for i := range 6 {
			for range 1 + i {
				l.write(2)
				l.turn()
			}
			if i%2 == 0 {
				x.wants(l.want[from:]...)
				at := x.stop()
				from = len(l.want)
				l.write(1)
				l.turn()
				l.turn()
				x = read(t, f, weaver.Split{}, at)
			}
			l.write(2)
			x.wants(l.want[from:]...)
		}
		time.Sleep(40 * time.Millisecond)
		require.Equal(t, l.want[from:], x.finish(), "nothing comes twice")
	})
}
