package file

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

// stdio is the path of standard input and output.
const stdio = "-"

// standard is what a File has to do with standard input and output, guarded by File.mu.
type standard struct {
	in  *stdin
	out *stdout

	input  io.Reader // nil: os.Stdin
	output io.Writer // nil: os.Stdout
}

func (f *File[T]) fromStdin() bool { return f.path == stdio && f.FS == nil }

// Queue implements weaver.Queue: of all that a File reads, only standard input can't be read from a position by another process.
func (f *File[T]) Queue() bool { return f.fromStdin() }

// stdin is standard input and what was read of it, unpacked, and is not acknowledged. It can be read again from there by one reader after the other.
//
// It reads in a goroutine, once at a time and only when what is there has been read, so nothing piles up. A read that is under way can't be stopped: who waits
// for it may go, and what it brings is there for the next.
type stdin struct {
	mu      sync.Mutex
	taken   bool   // it has a reader
	acked   mark   // where the next reader begins
	head    []byte // how the content begins, for what comes before the first record
	base    int64  // of buf in the content
	buf     []byte
	pos     int64         // of the reader
	err     error         // of the last read
	reading chan struct{} // closed when a read is over; nil: none is under way

	// Of the read that is under way.
	input   io.Reader
	content contents
	chunk   []byte
}

func newStdin(input io.Reader, chunk int) *stdin {
	if input == nil {
		input = os.Stdin
	}
	return &stdin{acked: mark{line: 1}, input: input, chunk: make([]byte, chunk)}
}

// Read returns what is there and doesn't wait: see errPending.
func (s *stdin) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var n int
	switch end := s.base + int64(len(s.buf)); {
	case s.pos < s.base && s.pos < int64(len(s.head)):
		n = copy(p, s.head[s.pos:])
	case s.pos < s.base: // it was acknowledged: who looks only at the beginning has seen it
		return 0, errPending
	case s.pos < end:
		n = copy(p, s.buf[s.pos-s.base:])
	case errors.Is(s.err, io.EOF):
		return 0, io.EOF
	case s.err != nil:
		err := s.err
		s.err = nil // the next one may read on
		return 0, err
	default:
		return 0, errPending
	}
	s.pos += int64(n)
	return n, nil
}

// wait waits until Read has something to say.
func (s *stdin) wait(ctx context.Context) error {
	s.mu.Lock()
	if s.err != nil || s.pos < s.base+int64(len(s.buf)) {
		s.mu.Unlock()
		return nil
	}
	if s.reading == nil {
		s.reading = make(chan struct{})
		go s.readOnce()
	}
	over := s.reading
	s.mu.Unlock()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readOnce has content and chunk to itself: it is not started twice.
func (s *stdin) readOnce() {
	var n int
	var err error
	if s.content == nil {
		var c contents
		if c, err = contentsOf(onlyInput{s.input}, nil); err == nil {
			s.content = c
		}
	}
	if err == nil {
		n, err = s.content.Read(s.chunk)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = append(s.buf, s.chunk[:n]...)
	s.err = err
	close(s.reading)
	s.reading = nil
}

// beginning reports whether enough is there to know whether the content has a byte order mark. If not, wait waits for more.
func (s *stdin) beginning() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pos = s.base + int64(len(s.buf))
	switch {
	case s.head != nil || s.err != nil:
		return true
	case len(s.buf) == 1:
		return s.buf[0] < 0xef
	case len(s.buf) == 2:
		return string(s.buf) != "\ufeff"[:2]
	}
	return len(s.buf) > 0
}

// rewind makes the next Read begin anew, to come from there to acked.
func (s *stdin) rewind() mark {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pos = 0
	return s.acked
}

// keep keeps the first n bytes of the content for good: what stands there is looked at by each reader.
func (s *stdin) keep(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head == nil {
		s.head = append([]byte{}, s.buf[:n]...)
	}
}

// ack forgets what comes before m, but for the byte that a stream looks at when it resumes.
func (s *stdin) ack(m mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.print = fingerprint{} // nobody could have replaced it
	s.acked = m
	drop := int(min(m.offset-1, s.pos) - s.base)
	if drop <= len(s.buf)/2 { // what is moved is less than what was dropped
		return
	}
	s.base += int64(drop)
	s.buf = s.buf[:copy(s.buf, s.buf[drop:])]
}

// Close implements opened. Standard input stays open.
func (*stdin) Close() error { return nil }

// Stat implements opened: what stream asks of a file.
func (*stdin) Stat() (fs.FileInfo, error) { return noInfo{}, nil }

func (*stdin) member(int64) member { return member{} }
func (*stdin) stored(int64) int64  { return 0 }

func (s *stdin) seek(m mark) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pos = m.offset
	return nil
}

// onlyInput is an input as a file that can do nothing else.
type onlyInput struct{ io.Reader }

func (onlyInput) Stat() (fs.FileInfo, error) { return noInfo{}, nil }
func (onlyInput) Close() error               { return nil }

// noInfo is the fs.FileInfo of what has none.
type noInfo struct{}

func (noInfo) Name() string       { return stdio }
func (noInfo) Size() int64        { return 0 }
func (noInfo) Mode() fs.FileMode  { return 0 }
func (noInfo) ModTime() time.Time { return time.Time{} }
func (noInfo) IsDir() bool        { return false }
func (noInfo) Sys() any           { return nil }
