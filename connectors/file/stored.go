package file

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/bohica-labs/dataweaver/retry"
)

// storedFile is a file as it is stored, read from any place on if it can seek, and otherwise only onwards.
type storedFile struct {
	opened
	head   []byte // what was read to find out what the file is, and comes first
	offset int64  // of what Read returns next
	skip   int64  // what pass must drop before that, where the file can't seek
	failed error  // of the file system, other than io.EOF
}

// Read implements io.Reader.
func (f *storedFile) Read(p []byte) (int, error) {
	k := copy(p, f.head)
	f.head = f.head[k:]
	if k == len(p) {
		f.offset += int64(k)
		return k, nil
	}
	n, err := f.opened.Read(p[k:])
	f.offset += int64(k + n)
	if err != nil && !errors.Is(err, io.EOF) {
		f.failed = err
	}
	return k + n, err
}

// goTo makes Read go on at a place, after pass where skip says so.
func (f *storedFile) goTo(offset int64) error {
	if s, ok := f.opened.(io.Seeker); ok {
		if _, err := s.Seek(offset, io.SeekStart); err != nil {
			return fmt.Errorf("going to byte %d: %w", offset, err)
		}
		f.head, f.offset = nil, offset
		return nil
	}
	if offset < f.offset {
		return errNoSeek
	}
	f.skip = offset - f.offset
	return nil
}

var errNoSeek = retry.Fatal(errors.New("this file system's files can't be read from a position: it lacks Seek"))

// seeks reports whether goTo can go back.
func (f *storedFile) seeks() bool {
	_, ok := f.opened.(io.Seeker)
	return ok
}

// pass drops some of what is to be skipped. It uses p.
func (f *storedFile) pass(p []byte) error {
	n, err := f.Read(p[:min(int64(len(p)), f.skip)])
	f.skip -= int64(n)
	return err
}

func (f *storedFile) size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// storedBuffer is a storedFile with a buffer of which nothing is lost.
type storedBuffer struct {
	*bufio.Reader
	file storedFile
}

// storedBytes is how much of the stored file is read at once. More is slower, as it drives the content out of the processor's caches.
const storedBytes = 128 << 10

// at returns where in the file what is read next lies.
func (b *storedBuffer) at() int64 { return b.file.offset + b.file.skip - int64(b.Buffered()) }

// goTo goes on to a place, or back to one if the file can seek.
func (b *storedBuffer) goTo(offset int64) error {
	if b.file.seeks() {
		b.Reset(&b.file)
		return b.file.goTo(offset)
	}
	n := min(offset-b.at(), int64(b.Buffered()))
	if n < 0 {
		return errNoSeek
	}
	if _, err := b.Discard(int(n)); err != nil || b.Buffered() > 0 {
		return err
	}
	return b.file.goTo(offset)
}
