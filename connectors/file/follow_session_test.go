package file

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
)

// collected is a sink that keeps what came, by split.
type collected struct {
	mu    sync.Mutex
	lines []string
}

func (c *collected) sink() weaver.Sink[[]byte] {
	return weaver.SinkFunc[[]byte](func(_ context.Context, b *weaver.Batch[[]byte]) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, r := range b.Records {
			c.lines = append(c.lines, string(r.Value))
		}
		return nil
	})
}

func (c *collected) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines)
}

func appendTo(t testing.TB, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// running runs a pipeline until stop.
func running(t testing.TB, f *File[[]byte], c *collected, store checkpoint.Store) (p *weaver.Pipeline[[]byte, []byte], stop func() error) {
	t.Helper()
	p = weaver.NewPipeline(f, weaver.Pass[[]byte](), c.sink())
	p.Name, p.Checkpoint, p.CheckpointInterval = "p", store, 5*time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return p, stop
}

func TestFollowPattern(t *testing.T) {
	t.Parallel()
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			f := kind(Lines(filepath.Join(dir, "**", "*.log*")))
			store := checkpoint.NewMemory()
			c := &collected{}
			appendTo(t, filepath.Join(dir, "a.log"), "a1\n")
			_, stop := running(t, f, c, store)
			wants := func(want ...string) {
				t.Helper()
				require.Eventually(t, func() bool { return len(c.all()) >= len(want) }, time.Minute, time.Millisecond)
				require.ElementsMatch(t, want, c.all())
			}
			wants("a1")
			appendTo(t, filepath.Join(dir, "b.log"), "b1\n")
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "x", "y"), 0o700))
			appendTo(t, filepath.Join(dir, "x", "y", "c.log"), "c1\n")
			wants("a1", "b1", "c1")
			require.NoError(t, os.Rename(filepath.Join(dir, "a.log"), filepath.Join(dir, "a.log.1")))
			appendTo(t, filepath.Join(dir, "a.log"), "a2\n")
			wants("a1", "b1", "c1", "a2")
			time.Sleep(60 * time.Millisecond)
			wants("a1", "b1", "c1", "a2")
			require.NoError(t, stop())
			require.NoError(t, os.Rename(filepath.Join(dir, "a.log.1"), filepath.Join(dir, "a.log.2")))
			require.NoError(t, os.Rename(filepath.Join(dir, "a.log"), filepath.Join(dir, "a.log.1")))
			appendTo(t, filepath.Join(dir, "a.log"), "a3\n")
			p, _ := running(t, f, c, store)
			wants("a1", "b1", "c1", "a2", "a3")
			// What is gone doesn't leave a lane, and may come back.
			require.NoError(t, os.Remove(filepath.Join(dir, "b.log")))
			require.Eventually(t, func() bool { return len(p.Stats().Lanes) == 2 }, time.Minute, time.Millisecond)
			appendTo(t, filepath.Join(dir, "b.log"), "b2\n")
			wants("a1", "b1", "c1", "a2", "a3", "b2")
		})
	}
}

func TestFollowAfterFinishes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	appendTo(t, filepath.Join(dir, "a.log"), "a1\nhalf")
	f := brisk(Lines(filepath.Join(dir, "*.log")))
	s, err := f.Splits(t.Context())
	require.NoError(t, err)
	defer s.Close()
	c, err := s.Next(t.Context())
	require.NoError(t, err)
	require.Len(t, c.Add, 1)
	x := read(t, f, c.Add[0], nil)
	x.wants("a1")
	require.Equal(t, []string{"a1", "half"}, x.finish())
	appendTo(t, filepath.Join(dir, "b.log"), "")
	require.NoError(t, s.(weaver.Finisher).Finish(t.Context()))
	require.NoError(t, s.(weaver.Finisher).Finish(t.Context()))
	c, err = s.Next(t.Context())
	require.NoError(t, err)
	require.Len(t, c.Add, 1)
	_, err = s.Next(t.Context())
	require.Equal(t, io.EOF, err)
}

func TestFollowFewOpenFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := brisk(Lines(filepath.Join(dir, "*.log")))
	f.MaxOpen = 3
	c := &collected{}
	var want []string
	write := func() {
		for i := range 20 {
			line := fmt.Sprintf("%02d: line %d of this file", i, len(want))
			appendTo(t, filepath.Join(dir, fmt.Sprintf("%02d.log", i)), line+"\n")
			want = append(want, line)
		}
	}
	write()
	running(t, f, c, checkpoint.NewMemory())
	for range 3 {
		require.Eventually(t, func() bool { return len(c.all()) >= len(want) }, time.Minute, time.Millisecond)
		require.ElementsMatch(t, want, c.all())
		f.following.hub.mu.Lock()
		require.LessOrEqual(t, f.following.hub.open, 3)
		f.following.hub.mu.Unlock()
		write()
	}
}

func TestFollowFolderComesAndGoes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "logs")
	f := brisk(Lines(filepath.Join(dir, "app.log")))
	x := read(t, f, weaver.Split{}, nil)
	for i := range 3 {
		require.NoError(t, os.Mkdir(dir, 0o700))
		appendTo(t, filepath.Join(dir, "app.log"), fmt.Sprintln(i))
		require.Len(t, x.lines(i+1), i+1)
		require.NoError(t, os.RemoveAll(dir))
	}
}

func TestRotationSuffixes(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		".1": true, "-20261123": true, "-20261123.gz": true, ".2026-11-23T10-00-00.000Z": true, ".old": true, "~": true, ".2.zst": true, ".gz": true,
		"": false, "1": false, ".txt": false, ".checkpoint": false, ".1.swp": false, ".offset": false, "_error.log": false,
	} {
		require.Equal(t, want, isRotationSuffix(s), s)
	}
	l := Lines("x")
	l.Rotated = "old/{stem}-*{ext}"
	require.True(t, l.lineageOf("a/app[1].log").has("app[1]-2026.log"))
	require.False(t, l.lineageOf("a/app[1].log").has("app1-2026.log"))
	require.Equal(t, filepath.Join("a", "old"), l.lineageOf("a/app[1].log").folder)
}

func TestGenerationsInOrder(t *testing.T) {
	t.Parallel()
	l := lineage{path: "app.log", folder: "."}
	of := func(names ...string) (all []generation) {
		for i, n := range names {
			all = append(all, generation{path: strings.TrimSuffix(n, "!"), time: int64(i), current: n == "app.log"})
		}
		return all
	}
	for _, tt := range []struct{ given, want []generation }{
		{of("app.log.3.gz", "app.log.2", "app.log.1", "app.log"), of("app.log.3.gz", "app.log.2", "app.log.1", "app.log")},
		{of("app.log.1", "app.log.2", "app.log.10", "app.log"), of("app.log.1", "app.log.2", "app.log.10", "app.log")},
		{of("app.log", "app.log-20261122", "app.log-20261123"), nil},
	} {
		got := slices.Clone(tt.given)
		slices.Reverse(got)
		l.order(got)
		if tt.want == nil {
			require.Equal(t, []string{"app.log-20261122", "app.log-20261123", "app.log"}, []string{got[0].path, got[1].path, got[2].path})
			continue
		}
		require.Equal(t, tt.want, got)
	}
	same := of("app.log.1", "app.log.12", "app.log.2", "app.log")
	for i := range same {
		same[i].time = 7
	}
	l.order(same)
	require.Equal(t, []string{"app.log.12", "app.log.2", "app.log.1", "app.log"}, []string{same[0].path, same[1].path, same[2].path, same[3].path})
	clock := of("app.log.1", "app.log.4", "app.log.3", "app.log.2", "app.log") // the clock was set back before the last rotation
	l.order(clock)
	require.Equal(t, "app.log.4", clock[0].path)
	require.Equal(t, "app.log.1", clock[3].path)
}

func TestFollowLag(t *testing.T) {
	t.Parallel()
	l := newLog(t, "app.log")
	l.write(strings.Repeat("a line\n", 100))
	r, err := brisk(Lines(l.path)).OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	defer r.Close()
	b := weaver.NewBatch[[]byte](10, 0)
	_, err = r.Read(t.Context(), b) // where it begins
	require.NoError(t, err)
	_, err = r.Read(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, int64(90*7), r.(weaver.LagReporter).Lag().Bytes)
}

func TestFollowFieldsAreChecked(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*File[[]byte]){
		"Rotated":       func(f *File[[]byte]) { f.Rotated = "x" },
		"From":          func(f *File[[]byte]) { f.From = End },
		"MoveTo":        func(f *File[[]byte]) { f.Finished = Move },
		"PollEvery":     func(f *File[[]byte]) { f.Follow, f.PollEvery = true, -1 },
		"Order":         func(f *File[[]byte]) { f.Follow, f.Order = true, ByTime },
		"FinishedAfter": func(f *File[[]byte]) { f.Follow, f.Buckets, f.Finished = true, 2, Delete },
		"FS":            func(f *File[[]byte]) { f.Follow, f.FS = true, os.DirFS(".") },
		"Finished":      func(f *File[[]byte]) { f.Finished = 7 },
	} {
		f := Lines("x")
		set(f)
		_, err := f.Splits(t.Context())
		require.ErrorContains(t, err, name)
	}
	array := JSONArray[int]("x")
	array.Follow = true
	_, err := array.Splits(t.Context())
	require.ErrorContains(t, err, "file.NDJSON")
	stdin := Lines("-")
	stdin.Follow = true
	_, err = stdin.Splits(t.Context())
	require.ErrorContains(t, err, "standard input")
}

func FuzzPlaces(f *testing.F) {
	p := place{mark: mark{offset: 2000, line: 7, print: fingerprint{1024, 5}}, id: identity{1, math.MaxUint64}, time: 8, size: 9, tail: fingerprint{256, 4}, done: true, seq: 3, due: []leftover{{id: identity{1, 2}, print: fingerprint{3, 4}, size: 5, seq: 1}}}
	f.Add([]byte(p.append(nil)))
	e := entry{mark: p.mark, name: 1, id: 2, size: 2100}
	f.Add(e.append([]byte{entriesVersion, 7, 1}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := parsePlace(data); err == nil && data[0] == placeVersion {
			require.Equal(t, data, []byte(p.append(nil)))
		}
		if seq, all, err := parseEntries(data); err == nil {
			r := turns[int]{seq: seq, count: len(all)}
			for i := range all {
				r.body = all[i].append(r.body)
			}
			again, _, err := parseEntries(r.encode())
			require.NoError(t, err)
			require.Equal(t, seq, again)
		}
	})
}
