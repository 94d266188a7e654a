package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/retry"
)

// tail is the end of a file that is written to.
type tail struct {
	fsys   durable.FS
	path   string
	file   durable.File
	size   int64 // what the file has
	synced int64 // how much of it is durable
}

// openTail opens the file, which it makes if it is missing.
func openTail(fsys durable.FS, path string, perm fs.FileMode) (*tail, error) {
	if err := writable(fsys, path); err != nil {
		return nil, err
	}
	f, err := fsys.OpenFile(path, os.O_RDWR|os.O_CREATE, perm)
	if err != nil {
		return nil, advice(err, "make the folder first")
	}
	return &tail{fsys: fsys, path: path, file: f}, nil
}

// writable finds out what is wrong with a path before anything is made.
func writable(fsys durable.FS, path string) error {
	info, err := fsys.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return retry.Fatal(fmt.Errorf("%s is a folder: give the path of a file in it", path))
	case err == nil && !info.Mode().IsRegular():
		return retry.Fatal(fmt.Errorf("%s is no regular file (%s): it can't be cut back after a failure", path, info.Mode().Type()))
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return advice(err, "")
	}
	_, err = fsys.Stat(filepath.Dir(path))
	return advice(err, "make the folder first")
}

// measure asks for the size. The caller has the lock.
func (t *tail) measure() error {
	info, err := t.file.Stat()
	if err != nil {
		return err
	}
	t.size = info.Size()
	return nil
}

// write appends p. After an error some of it may be there.
func (t *tail) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	info, err := t.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() != t.size {
		return retry.Fatal(fmt.Errorf("%s has %d bytes where %d were written: another program writes to it; give this one a path of its own", t.path, info.Size(), t.size))
	}
	n, err := t.file.WriteAt(p, t.size)
	t.size += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// sync makes durable all that was written.
func (t *tail) sync() error {
	if t.synced == t.size {
		return nil
	}
	if err := t.file.Sync(); err != nil {
		return err
	}
	t.synced = t.size
	return nil
}

// cut takes away everything from size on.
func (t *tail) cut(size int64) error {
	if err := t.file.Truncate(size); err != nil {
		return err
	}
	t.size = size
	return nil
}

// sum returns the checksum of the last bytes before length.
func (t *tail) sum(length int64) (uint64, error) {
	last := make([]byte, min(length, fingerprintBytes))
	if _, err := t.file.ReadAt(last, length-int64(len(last))); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	return fingerprintOf(last).sum, nil
}

// last returns the last byte of a file that isn't empty.
func (t *tail) last() (byte, error) {
	var b [1]byte
	_, err := t.file.ReadAt(b[:], t.size-1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[0], err
}

// count returns how often c is in the file.
func (t *tail) count(c byte) (int64, error) {
	buf := make([]byte, readBytes)
	var sum, at int64
	for at < t.size {
		n, err := t.file.ReadAt(buf, at)
		for _, b := range buf[:n] {
			if b == c {
				sum++
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// begins finds out whether the file has the header that new rows need. A byte order mark before it, and the line end behind it, may differ.
func (t *tail) begins(header []byte) error {
	if len(header) == 0 {
		return nil
	}
	const mark = "\ufeff"
	got := make([]byte, len(mark)+len(header)+1)
	n, err := t.file.ReadAt(got, 0)
	if n == 0 && err != nil {
		return err
	}
	line := bytes.TrimPrefix(got[:n], []byte(mark))
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	if want := bytes.TrimSuffix(header, []byte("\n")); !bytes.Equal(bytes.TrimSuffix(line, []byte("\r")), want) {
		return retry.Fatal(fmt.Errorf("%s has other columns than the rows to be appended: it begins with %q instead of %q; set Columns, or give this one a path of its own", t.path, line, want))
	}
	return nil
}

// tornHeader reports whether the file is what a loss of power left of its header: a part of it, with zeros where the rest was to be.
func (t *tail) tornHeader(header []byte) (torn bool, err error) {
	if t.size == 0 || t.size > int64(len(header)) {
		return false, nil
	}
	got := make([]byte, t.size)
	if _, err := t.file.ReadAt(got, 0); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	for i, c := range got {
		if c != header[i] && c != 0 {
			return false, nil
		}
	}
	return !bytes.Equal(got, header), nil
}

// mend appends what the last record of a file lacks, so that the next one is not glued to it.
func (t *tail) mend(m mender) error {
	if t.size == 0 {
		return nil
	}
	last, err := t.last()
	if err != nil {
		return err
	}
	end, err := m.mend(last, func() (int64, error) { return t.count('"') })
	if err != nil {
		return err
	}
	return t.write([]byte(end))
}

const (
	lockWait  = 5 * time.Second
	lockPause = 5 * time.Millisecond
)

// lock keeps other writers away, in this process and in others, until unlock. It waits for a while.
func (t *tail) lock(ctx context.Context) error {
	var deadline <-chan time.Time
	for {
		ok, err := tryLock(t.file)
		if err != nil {
			return fmt.Errorf("lock %s: %w", t.path, err)
		}
		if ok {
			return nil
		}
		if deadline == nil {
			timer := time.NewTimer(lockWait)
			defer timer.Stop()
			deadline = timer.C
		}
		pause := time.NewTimer(lockPause)
		select {
		case <-pause.C:
			continue
		case <-deadline:
			err = fmt.Errorf("%s is being written by another pipeline or process: wait for it to end, or give each a path of its own", t.path)
		case <-ctx.Done():
			err = ctx.Err()
		}
		pause.Stop()
		return err
	}
}

func (t *tail) unlock() error { return unlock(t.file) }

// writeError marks those errors of writing that somebody has to do something about.
func writeError(err error) error {
	if retry.ClassOf(err) != retry.ClassUnmarked {
		return err
	}
	return advice(err, "it was moved or removed while it was written; put it back, or remove what is left of it to begin anew")
}
