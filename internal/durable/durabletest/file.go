package durabletest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"

	"github.com/bohica-labs/dataweaver/internal/durable"
)

// file is an open file. Its position is guarded by mu, what it holds by the disk's lock.
type file struct {
	disk *Disk
	node *node
	name string
	flag int

	mu     sync.Mutex
	pos    int64
	closed bool
}

var _ durable.File = (*file)(nil)

func (f *file) Name() string { return f.name }

func (f *file) op(kind string, size int) Op { return Op{Kind: kind, Name: clean(f.name), Size: size} }

func (f *file) wrap(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

// begin begins an operation for which the file must be open in a mode that allows it.
func (f *file) begin(o Op) error {
	access := f.flag & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR)
	switch {
	case f.closed:
		return fs.ErrClosed
	case o.Kind == Read && access == os.O_WRONLY, o.Kind == Write && access == os.O_RDONLY:
		return syscall.EBADF
	case o.Kind == Truncate && access == os.O_RDONLY:
		return syscall.EINVAL
	case f.node.names != nil && o.Kind == Read:
		return syscall.EISDIR
	}
	return f.disk.begin(o)
}

func (f *file) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.read(p, f.pos)
	f.pos += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, f.wrap("read", err)
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.read(p, off)
	return n, f.wrap("read", err)
}

func (f *file) read(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, syscall.EINVAL
	}
	if err := f.begin(f.op(Read, len(p))); err != nil {
		return 0, err
	}
	defer f.disk.mu.Unlock()
	if off >= int64(len(f.node.data)) && len(p) > 0 {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[min(off, int64(len(f.node.data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, end, err := f.write(p, f.pos, f.flag&os.O_APPEND != 0)
	if n > 0 {
		f.pos = end
	}
	return n, f.wrap("write", err)
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flag&os.O_APPEND != 0 {
		return 0, errors.New("os: invalid use of WriteAt on file opened with O_APPEND")
	}
	n, _, err := f.write(p, off, false)
	return n, f.wrap("write", err)
}

func (f *file) write(p []byte, off int64, atEnd bool) (n int, end int64, err error) {
	if off < 0 {
		return 0, 0, syscall.EINVAL
	}
	failed := f.begin(f.op(Write, len(p)))
	var short *ShortWrite
	switch {
	case errors.As(failed, &short):
		f.disk.mu.Lock()
		p = p[:min(short.Keep, len(p))]
	case failed != nil:
		return 0, 0, failed
	}
	defer f.disk.mu.Unlock()
	if atEnd {
		off = int64(len(f.node.data))
	}
	if len(p) > 0 {
		f.node.change(change{off: off, data: append([]byte{}, p...)})
	}
	return len(p), off + int64(len(p)), failed
}

func (f *file) Truncate(size int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if size < 0 {
		return f.wrap("truncate", syscall.EINVAL)
	}
	if err := f.begin(f.op(Truncate, int(size))); err != nil {
		return f.wrap("truncate", err)
	}
	defer f.disk.mu.Unlock()
	f.node.change(change{off: size})
	return nil
}

func (f *file) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(f.op(Sync, 0)); err != nil {
		if !errors.Is(err, ErrPowerLoss) && !f.closed {
			f.disk.mu.Lock()
			f.node.forget()
			f.disk.mu.Unlock()
		}
		return f.wrap("sync", err)
	}
	defer f.disk.mu.Unlock()
	f.node.sync()
	return nil
}

func (f *file) Seek(offset int64, whence int) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, f.wrap("seek", fs.ErrClosed)
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += f.pos
	case io.SeekEnd:
		offset += int64(len(f.node.data))
	}
	switch {
	case f.disk.dead:
		return 0, f.wrap("seek", ErrPowerLoss)
	case offset < 0 || whence < io.SeekStart || whence > io.SeekEnd:
		return 0, f.wrap("seek", syscall.EINVAL)
	}
	f.pos = offset
	return offset, nil
}

func (f *file) Stat() (fs.FileInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(f.op(Stat, 0)); err != nil {
		return nil, f.wrap("stat", err)
	}
	defer f.disk.mu.Unlock()
	return f.node.info(path.Base(clean(f.name))), nil
}

// Close closes the file also when it fails, as close(2) does.
func (f *file) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.begin(f.op(Close, 0))
	f.closed = true
	if err == nil {
		f.disk.mu.Unlock()
	}
	return f.wrap("close", err)
}
