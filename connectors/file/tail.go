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
	synced int64 // how much of it is durable, or is to count as if it were

	lazy   bool // to be made durable at the end alone
	behind bool // that has not been done
	stored Compression
	packed func(raw []byte, use func([]byte) error) error // as stored says
}

// openTail opens the File's file, which it makes if it is missing.
func (f *File[T]) openTail(stored Compression) (*tail, error) {
	fsys := f.disk()
	if err := writable(fsys, f.path); err != nil {
		return nil, err
	}
	file, err := fsys.OpenFile(f.path, os.O_RDWR|os.O_CREATE, or(f.Perm, defaultPerm))
	if err != nil {
		return nil, advice(err, "make the folder first")
	}
	return &tail{
		fsys:   fsys,
		path:   f.path,
		file:   file,
		lazy:   f.Sync == SyncComplete,
		behind: f.Sync == SyncComplete, // whoever was here before may not have come to it
		stored: stored,
		packed: func(raw []byte, use func([]byte) error) error { return f.packed(stored, raw, use) },
	}, nil
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

// sync makes durable all that was written, unless that has time until the end.
func (t *tail) sync() error {
	if t.synced == t.size {
		return nil
	}
	if t.lazy {
		t.behind = true
	} else if err := t.file.Sync(); err != nil {
		return err
	}
	t.synced = t.size
	return nil
}

// complete makes durable what had time until the end.
func (t *tail) complete() error {
	if !t.behind {
		return nil
	}
	t.behind = false
	return t.file.Sync()
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

// begins finds out whether the file has the header that new rows need. A byte order mark before it, and the line end behind it, may differ. An adopter decides for itself, and
// goes on as the file begins.
func (t *tail) begins(header []byte, m mender) error {
	b, _ := m.(adopter)
	if l, ok := m.(interface{ late() bool }); ok && !l.late() {
		b = nil
	}
	if b != nil {
		if err := b.adopt(t.head); err != nil {
			return retry.Fatal(fmt.Errorf("%s can't be continued: %w; give this one a path of its own", t.path, err))
		}
		return nil
	}
	if len(header) == 0 {
		return nil
	}
	const mark = "\ufeff"
	got, err := t.head(len(mark) + len(header) + 1)
	if err != nil {
		return err
	}
	line := bytes.TrimPrefix(got, []byte(mark))
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	if want := bytes.TrimSuffix(header, []byte("\n")); !bytes.Equal(bytes.TrimSuffix(line, []byte("\r")), want) {
		return retry.Fatal(fmt.Errorf("%s has other columns than the rows to be appended: it begins with %q instead of %q; set Columns, or give this one a path of its own", t.path, line, want))
	}
	return nil
}

// head returns the first n bytes of the content, or all if that is less.
func (t *tail) head(n int) ([]byte, error) {
	if t.stored != None {
		got, err := unpackedHead(t.file, t.size, t.stored, n)
		if err != nil {
			return nil, notPacked(t.path, t.stored, err)
		}
		return got, nil
	}
	got := make([]byte, n)
	n, err := t.file.ReadAt(got, 0)
	if n == 0 && err != nil {
		return nil, err
	}
	return got[:n], nil
}

// untorn looks at all of a compressed file, which takes as long as unpacking it, and cuts off what a crash has left of a last member. The result is nil if the file
// isn't compressed.
func (t *tail) untorn(ctx context.Context) (*whole, error) {
	if t.stored == None || t.size == 0 {
		return nil, nil //nolint:nilnil // nothing to look at
	}
	w, err := members(ctx, t.file, t.size, t.stored)
	if err != nil || w.bad == nil {
		return &w, err
	}
	if w.stored == 0 {
		first := make([]byte, min(t.size, 4))
		if _, err := t.file.ReadAt(first, 0); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if !t.stored.starts(first) && len(bytes.Trim(first, "\x00")) > 0 { // a loss of power may leave zeros
			return nil, notPacked(t.path, t.stored, w.bad)
		}
	}
	if rest := t.size - w.stored; rest > tornLimit {
		return nil, retry.Fatal(fmt.Errorf("%s can't be unpacked from byte %d on (%w), and %d bytes follow, which is more than a crash leaves: mend it, or give this one a path of its own",
			t.path, w.stored, w.bad, rest))
	}
	return &w, t.cut(w.stored)
}

// tornHeader reports whether the file is what a loss of power left of its header: a part of it, with zeros where the rest was to be.
//
// Of a header, loose bytes may be any: two that are alike otherwise differ in them.
func (t *tail) tornHeader(header, loose []byte) (torn bool, err error) {
	if t.stored != None || t.size == 0 || t.size > int64(len(header)) {
		return false, nil
	}
	got := make([]byte, t.size)
	if _, err := t.file.ReadAt(got, 0); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	from := len(header)
	if len(loose) > 0 {
		from = bytes.LastIndex(header, loose)
	}
	for i, c := range got {
		if c != header[i] && c != 0 && (from < 0 || i < from || i >= from+len(loose)) {
			return false, nil
		}
	}
	return !bytes.Equal(got, header), nil
}

// mend appends what the last record of a file lacks, so that the next one is not glued to it. Known is what untorn has found.
func (t *tail) mend(m mender, known *whole) error {
	if t.size == 0 || known != nil && known.size == 0 {
		return nil
	}
	if c, ok := m.(cutter); ok {
		return t.takeBack(c, known)
	}
	count := func() (int64, error) { return t.count('"') }
	var last byte
	var err error
	if known != nil {
		last = known.last
		count = func() (int64, error) { return known.quotes, nil }
	} else if last, err = t.last(); err != nil {
		return err
	}
	end, err := m.mend(last, count)
	if err != nil {
		return err
	}
	return t.packed([]byte(end), t.write)
}

// takeBack cuts off the part of a record that a crash has left behind the whole ones: nobody can read it, and whoever wrote it writes it again, as it was not flushed.
// Compressed files have none, see untorn.
func (t *tail) takeBack(c cutter, known *whole) error {
	if known != nil {
		return nil
	}
	n, err := c.whole(t.file, t.size)
	if err != nil || n == t.size {
		return err
	}
	if err := t.cut(n); err != nil {
		return err
	}
	t.synced = min(t.synced, n)
	return nil
}

const (
	lockWait  = 5 * time.Second
	lockPause = 5 * time.Millisecond
)

// lock keeps other writers away, in this process and in others, until unlock. It waits for a while.
func (t *tail) lock(ctx context.Context) error { return lockFile(ctx, t.file, t.path) }

// lockFile waits for the lock of an open file.
func lockFile(ctx context.Context, file durable.File, path string) error {
	var deadline <-chan time.Time
	for {
		ok, err := tryLock(file)
		if err != nil {
			return fmt.Errorf("lock %s: %w", path, err)
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
			err = fmt.Errorf("%s is being written by another pipeline or process: wait for it to end, or give each a path of its own", path)
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
