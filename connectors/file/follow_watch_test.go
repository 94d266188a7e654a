package file

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
)

// relying makes a follower look again in an hour, unless it is told to.
func relying(f *File[[]byte]) *File[[]byte] {
	f.Follow, f.PollEvery = true, time.Hour
	f.following.pace = pace{poll: time.Hour, restTold: time.Hour, rest: time.Hour, quiet: time.Millisecond}
	return f
}

// unwatched makes the system tell nothing more of a folder, which the hub doesn't know.
func unwatched(t *testing.T, f *File[[]byte], dir string) *fsnotify.Watcher {
	t.Helper()
	hub := &f.following.hub
	hub.mu.Lock()
	defer hub.mu.Unlock()
	if hub.notify == nil {
		t.Skip("the system tells nothing")
	}
	require.True(t, hub.folders[dir])
	require.NoError(t, hub.notify.Remove(dir))
	return hub.notify
}

// Where the system says that it dropped events, all is looked at: a path, a pattern and a bucket miss nothing.
func TestFollowTooManyEvents(t *testing.T) {
	t.Parallel()
	for name, pattern := range map[string]string{"path": "a.log", "pattern": "*.log", "bucket": "*.log"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			f := relying(Lines(filepath.Join(dir, pattern)))
			if name == "bucket" {
				f.Buckets = 1
			}
			if name != "path" {
				f.following.pace.poll = time.Millisecond // is how long crowds of changes are waited for
			}
			appendTo(t, filepath.Join(dir, "a.log"), "a1\n")
			c := &collected{}
			running(t, f, c, checkpoint.NewMemory())
			want := []string{"a1"}
			wants := func() {
				t.Helper()
				require.Eventually(t, func() bool { return len(c.all()) >= len(want) }, time.Minute, time.Millisecond)
				require.ElementsMatch(t, want, c.all())
			}
			wants()
			time.Sleep(20 * time.Millisecond) // until it waits
			n := unwatched(t, f, dir)
			appendTo(t, filepath.Join(dir, "a.log"), "a2\n")
			want = append(want, "a2")
			if name != "path" {
				appendTo(t, filepath.Join(dir, "b.log"), "b1\n")
				want = append(want, "b1")
			}
			time.Sleep(20 * time.Millisecond)
			require.NotContains(t, c.all(), want[len(want)-1], "nothing tells of it")
			select {
			case n.Errors <- fsnotify.ErrEventOverflow:
			case <-time.After(time.Minute):
				require.Fail(t, "nobody hears of it")
			}
			wants()
		})
	}
}

// Where an event is lost and nobody says so, all is looked at from time to time.
func TestFollowALostEvent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.log")
	appendTo(t, path, "a1\n")
	f := brisk(Lines(filepath.Join(dir, "*.log")))
	c := &collected{}
	running(t, f, c, checkpoint.NewMemory())
	require.Eventually(t, func() bool { return len(c.all()) == 1 }, time.Minute, time.Millisecond)
	unwatched(t, f, dir)
	appendTo(t, path, "a2\n")
	require.NoError(t, os.Rename(path, path+".1"))
	appendTo(t, path, "a3\n")
	appendTo(t, filepath.Join(dir, "b.log"), "b1\n")
	require.Eventually(t, func() bool { return len(c.all()) >= 4 }, time.Minute, time.Millisecond)
	require.ElementsMatch(t, []string{"a1", "a2", "a3", "b1"}, c.all())
}

// A follower that is told of a change sees it at once, and not only when it looks from time to time: without that, the two tests above would prove nothing.
func TestFollowIsTold(t *testing.T) {
	t.Parallel()
	l := newLog(t, "app.log")
	l.write("one\n")
	f := relying(Lines(l.path))
	x := read(t, f, weaver.Split{}, nil)
	x.wants("one")
	f.following.hub.mu.Lock()
	told := f.following.hub.notify != nil
	f.following.hub.mu.Unlock()
	if !told {
		t.Skip("the system tells nothing")
	}
	l.write("two\n")
	x.wants("one", "two")
}
