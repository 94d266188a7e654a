package file

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

// brisk makes a follower quick enough for tests.
func brisk(f *File[[]byte]) *File[[]byte] {
	f.Follow = true
	f.PollEvery = 20 * time.Millisecond
	f.following.pace = pace{poll: 2 * time.Millisecond, restTold: 50 * time.Millisecond, rest: 5 * time.Millisecond, quiet: 20 * time.Millisecond, patience: time.Second, withdrawn: 100 * time.Millisecond}
	return f
}

// noInodes hides what files are called by the system.
func noInodes(f *File[[]byte]) *File[[]byte] {
	f.following.identify = func(fs.FileInfo) identity { return identity{} }
	return f
}

// deaf makes the system tell nothing.
func deaf(f *File[[]byte]) *File[[]byte] {
	f.following.hub.deaf = true
	return f
}

// reading is a reader at work.
type reading struct {
	t      testing.TB
	r      weaver.Reader[[]byte]
	cancel context.CancelFunc
	done   chan struct{}
	logs   *lockedBuffer

	mu       sync.Mutex
	changed  sync.Cond
	got      []string
	rejects  int
	position weaver.Position
	err      error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// read reads a split from a position on, until stop.
func read(t testing.TB, f *File[[]byte], split weaver.Split, at weaver.Position) *reading {
	t.Helper()
	logs := &lockedBuffer{}
	r, err := f.OpenReader(t.Context(), weaver.Lane{Split: split, Position: at, Log: slog.New(slog.NewTextHandler(logs, nil))})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	x := &reading{t: t, r: r, cancel: cancel, done: make(chan struct{}), position: slices.Clone(at), logs: logs}
	x.changed.L = &x.mu
	go x.run(ctx)
	t.Cleanup(func() { x.stop() })
	return x
}

func (x *reading) run(ctx context.Context) {
	defer close(x.done)
	b := weaver.NewBatch[[]byte](7, 0)
	for {
		b.Reset()
		p, err := x.r.Read(ctx, b)
		x.mu.Lock()
		if err == nil || errors.Is(err, io.EOF) {
			for _, rec := range b.Records {
				x.got = append(x.got, string(rec.Value))
			}
			x.rejects += len(b.Rejects())
			if p != nil {
				x.position = slices.Clone(p)
			}
		}
		x.changed.Broadcast()
		if err != nil {
			if ctx.Err() == nil {
				x.err = err
			}
			x.mu.Unlock()
			return
		}
		x.mu.Unlock()
	}
}

// lines waits until that many lines came, and returns all.
func (x *reading) lines(n int) []string {
	x.t.Helper()
	late := time.AfterFunc(time.Minute, func() { x.mu.Lock(); x.changed.Broadcast(); x.mu.Unlock() })
	defer late.Stop()
	deadline := time.Now().Add(time.Minute)
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(x.got) < n && x.err == nil && time.Now().Before(deadline) {
		x.changed.Wait()
	}
	require.NoError(x.t, x.err)
	return slices.Clone(x.got)
}

// wants waits for exactly these lines.
func (x *reading) wants(lines ...string) {
	x.t.Helper()
	require.Equal(x.t, lines, x.lines(len(lines)), x.logs)
}

// finish makes the reader end with what is there, and returns all lines.
func (x *reading) finish() []string {
	x.t.Helper()
	require.NoError(x.t, x.r.(weaver.Finisher).Finish(x.t.Context()))
	select {
	case <-x.done:
	case <-time.After(time.Minute):
		require.Fail(x.t, "the reader doesn't finish")
	}
	require.ErrorIs(x.t, x.err, io.EOF)
	return x.got
}

// stop closes the reader and returns the last position.
func (x *reading) stop() weaver.Position {
	x.cancel()
	<-x.done
	if x.r != nil {
		require.NoError(x.t, x.r.Close())
		x.r = nil
	}
	return x.position
}

// logFile is a file that a test writes to and rotates.
type logFile struct {
	t    testing.TB
	path string
	kept int // generations
	file *os.File
}

func newLog(t testing.TB, name string) *logFile {
	return &logFile{t: t, path: filepath.Join(t.TempDir(), name), kept: 100}
}

func (l *logFile) open() *os.File {
	if l.file == nil {
		var err error
		l.file, err = os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		require.NoError(l.t, err)
		file := l.file
		l.t.Cleanup(func() { _ = file.Close() })
	}
	return l.file
}

func (l *logFile) write(s string) {
	l.t.Helper()
	_, err := l.open().WriteString(s)
	require.NoError(l.t, err)
}

func (l *logFile) old(n int) string {
	return l.path + "." + string([]byte{byte('0' + n/100), byte('0' + n/10%10), byte('0' + n%10)})
}

// shift makes room for a youngest rotated generation.
func (l *logFile) shift() string {
	for n := l.kept - 1; n > 0; n-- {
		if err := os.Rename(l.old(n), l.old(n+1)); err != nil {
			require.ErrorIs(l.t, err, fs.ErrNotExist)
		}
	}
	_ = os.Remove(l.old(l.kept + 1))
	return l.old(1)
}

// rename rotates by renaming. What is open stays open until reopen.
func (l *logFile) rename() {
	l.t.Helper()
	require.NoError(l.t, os.Rename(l.path, l.shift()))
}

func (l *logFile) reopen() {
	if l.file != nil {
		require.NoError(l.t, l.file.Close())
		l.file = nil
	}
}

// copyTruncate rotates by copying.
func (l *logFile) copyTruncate() {
	l.t.Helper()
	to := l.shift()
	data, err := os.ReadFile(l.path)
	require.NoError(l.t, err)
	require.NoError(l.t, os.WriteFile(to, data, 0o600))
	require.NoError(l.t, os.Truncate(l.path, 0))
}
