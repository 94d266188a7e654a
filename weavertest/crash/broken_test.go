package crash_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

// hasty says that records are durable when they are in its buffer.
type hasty struct{ path string }

func (h *hasty) OpenWriter(context.Context, weaver.Lane) (weaver.Writer[measured], error) {
	f, err := appendTo(h.path)
	return &hastyWriter{file: f}, err
}

type hastyWriter struct {
	file *os.File
	buf  []byte
}

func (w *hastyWriter) Write(_ context.Context, b *weaver.Batch[measured]) (err error) {
	if w.buf, err = appendLines(w.buf, b); err != nil || len(w.buf) < 32<<10 {
		return err
	}
	n := bytes.IndexByte(w.buf[8<<10:], '\n') + (8<<10 + 1) // the rest is always behind
	_, err = w.file.Write(w.buf[:n])
	w.buf = w.buf[:copy(w.buf, w.buf[n:])]
	return err
}

func (w *hastyWriter) Close() error {
	_, err := w.file.Write(w.buf) // so that nothing is lost but by a crash
	return errors.Join(err, w.file.Close())
}

// broken keeps the checkpoint and how much of the file counts in a second file, and does it in one wrong way or another.
type broken struct {
	dir           string
	positionFirst bool
	cuts          bool  // back to what counts
	tooFar        int64 // by so much
}

func (s broken) OpenWriter(context.Context, weaver.Lane) (weaver.Writer[measured], error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "out"), os.O_CREATE|os.O_RDWR, 0o600)
	return &brokenWriter{broken: s, file: f}, err
}

type brokenWriter struct {
	broken
	file   *os.File
	size   int64
	staged []byte
}

func (w *brokenWriter) note() string { return filepath.Join(w.dir, "note") }

func (w *brokenWriter) Due() bool { return false }

func (w *brokenWriter) Restore(context.Context) ([]byte, error) {
	note, err := os.ReadFile(w.note())
	info, statErr := w.file.Stat()
	switch {
	case statErr != nil:
		return nil, statErr
	case errors.Is(err, fs.ErrNotExist):
		w.size = info.Size()
		return nil, nil
	case err != nil:
		return nil, err
	}
	size, envelope, _ := strings.Cut(string(note), "\n")
	if w.size, err = strconv.ParseInt(size, 10, 64); err != nil {
		return nil, err
	}
	switch {
	case !w.cuts || info.Size() <= w.size-w.tooFar: // perhaps what the note promises was never written
		w.size = info.Size()
	default:
		w.size -= w.tooFar
		err = w.file.Truncate(w.size)
	}
	return []byte(envelope), err
}

func (w *brokenWriter) Write(_ context.Context, b *weaver.Batch[measured]) (err error) {
	w.staged, err = appendLines(w.staged, b)
	return err
}

func (w *brokenWriter) Commit(_ context.Context, envelope []byte) error {
	size := w.size + int64(len(w.staged))
	steps := []func() error{
		func() error {
			_, err := w.file.WriteAt(w.staged, w.size)
			return err
		},
		func() error {
			temp := w.note() + ".new"
			if err := os.WriteFile(temp, []byte(strconv.FormatInt(size, 10)+"\n"+string(envelope)), 0o600); err != nil {
				return err
			}
			return os.Rename(temp, w.note())
		},
	}
	if w.positionFirst {
		steps[0], steps[1] = steps[1], steps[0]
	}
	if err := steps[0](); err != nil {
		return err
	}
	time.Sleep(10 * time.Millisecond) // nearly all the time there is
	if err := steps[1](); err != nil {
		return err
	}
	w.size, w.staged = size, w.staged[:0]
	return nil
}

func (w *brokenWriter) Close() error { return w.file.Close() }
