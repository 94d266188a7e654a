package file

import (
	"errors"
	"fmt"
	"io"

	"github.com/bohica-labs/dataweaver/internal/durable"
)

// handle is a file that may be appended to, renamed and cut while it is read. It never returns bytes of something else: after each read it makes sure that what
// came before is still there. A file that was cut between two reads and has grown beyond its old size since is found out like that.
type handle struct {
	durable.File
	at      int64
	before  []byte // what the file has before at, pastBytes at most
	compare []byte
}

// errCut says that a file was cut, or written anew, since it was read.
var errCut = errors.New("the file was cut or written anew while it was followed")

// Read implements io.Reader.
func (h *handle) Read(p []byte) (int, error) {
	n, err := h.ReadAt(p, h.at)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if err := h.verify(); err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, io.EOF
	}
	h.at += int64(n)
	h.remember(p[:n])
	return n, nil
}

// verify returns errCut if what lay before at isn't there any more.
func (h *handle) verify() error {
	if len(h.before) == 0 {
		return nil
	}
	if h.compare == nil {
		h.compare = make([]byte, pastBytes)
	}
	now := h.compare[:len(h.before)]
	n, err := h.ReadAt(now, h.at-int64(len(now)))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if n < len(now) || string(now) != string(h.before) {
		return errCut
	}
	return nil
}

func (h *handle) remember(p []byte) {
	if len(p) >= pastBytes {
		h.before = append(h.before[:0], p[len(p)-pastBytes:]...)
		return
	}
	if over := len(h.before) + len(p) - pastBytes; over > 0 {
		h.before = h.before[:copy(h.before, h.before[over:])]
	}
	h.before = append(h.before, p...)
}

// Seek implements io.Seeker, from the beginning alone. io.ErrUnexpectedEOF: the file isn't that long.
func (h *handle) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekCurrent {
		offset += h.at
	} else if whence != io.SeekStart {
		return h.at, fmt.Errorf("%w: seeking from the end of a file that grows", errors.ErrUnsupported)
	}
	if offset < 0 {
		return h.at, fmt.Errorf("seeking to byte %d", offset)
	}
	n := min(offset, pastBytes)
	before := make([]byte, n)
	if read, err := h.ReadAt(before, offset-n); int64(read) < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return h.at, err
	}
	h.at, h.before = offset, before
	return offset, nil
}

// has reports whether the bytes before offset are those that tail was made of.
func (h *handle) has(tail fingerprint, offset int64) (bool, error) {
	if tail.size == 0 {
		return true, nil
	}
	data := make([]byte, tail.size)
	n, err := h.ReadAt(data, offset-int64(len(data)))
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return n == len(data) && fingerprintOf(data) == tail, nil
}
