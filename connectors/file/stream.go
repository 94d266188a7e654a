package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// opened is a file that is read. What else it can do, seeking above all, contents finds out.
type opened interface {
	io.Reader
	Stat() (fs.FileInfo, error)
	Close() error
}

// stream is one file, read record by record. It knows nothing of other files, or of positions of splits.
type stream[T any] struct {
	name     string // that errors give: String of the File
	path     string
	format   format[T]
	maxBytes int

	file     opened
	contents contents
	in       input
	line     int64  // on which in.data begins
	head     []byte // how the content begins, fingerprintBytes at most
	whole    fingerprint
	broken   bool  // in.data begins in the middle of a line
	size     int64 // of the file when it was opened, as it is stored
}

// open makes f, which it owns from now on, ready to be read from m on. The memory of the file before is used again.
func (s *stream[T]) open(ctx context.Context, f opened, path string, m mark) error {
	s.file, s.path, s.line, s.broken, s.whole = f, path, 1, false, fingerprint{}
	s.head = s.head[:0]
	if err := s.begin(ctx, m); err != nil {
		s.file = nil
		return errors.Join(err, f.Close())
	}
	return nil
}

func (s *stream[T]) begin(ctx context.Context, m mark) error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	if err := regular(info, s.path); err != nil {
		return err
	}
	s.size = info.Size()
	if s.contents, err = contentsOf(s.file, s.contents); err != nil {
		return err
	}
	s.in.reset(s.contents, 0)
	if err := s.lookAtHead(ctx); err != nil {
		return err
	}
	if err := m.isOf(s.head, s.path); err != nil {
		return err
	}
	if err := s.preamble(ctx); err != nil {
		return err
	}
	if m.offset <= s.in.offset {
		return nil
	}
	return s.resume(ctx, m)
}

// lookAtHead reads as much as a fingerprint is of.
func (s *stream[T]) lookAtHead(ctx context.Context) error {
	for len(s.in.data()) < fingerprintBytes && !s.in.eof {
		if err := s.more(ctx); err != nil {
			return err
		}
	}
	s.head = append(s.head[:0], s.in.data()[:min(len(s.in.data()), fingerprintBytes)]...)
	s.whole = fingerprintOf(s.head)
	return nil
}

// isOf finds out whether a file that begins with head is the one that m is about.
func (m mark) isOf(head []byte, path string) error {
	if m.print.size == 0 || m.print.size <= len(head) && fingerprintOf(head[:m.print.size]) == m.print {
		return nil
	}
	if m.print.size > len(head) {
		return retry.Fatal(fmt.Errorf("%s has %d bytes, but was read up to byte %d: it was cut or replaced; put it back, or remove the checkpoint to read the new one",
			path, len(head), m.offset))
	}
	return retry.Fatal(fmt.Errorf("%s doesn't begin as the file did that was read up to byte %d: it was replaced; put the other back, or remove the checkpoint to read this one",
		path, m.offset))
}

// resume goes to m, which lies behind what was read.
func (s *stream[T]) resume(ctx context.Context, m mark) error {
	if !s.format.lines {
		return s.seek(m)
	}
	before := m
	before.offset--
	if err := s.seek(before); err != nil {
		return err
	}
	for len(s.in.data()) == 0 {
		if s.in.eof {
			return cutShort(s.path, m)
		}
		if err := s.more(ctx); err != nil {
			return err
		}
	}
	last := s.in.data()[0]
	s.in.drop(1)
	s.line = m.line
	if last == '\n' {
		return nil
	}
	return s.joined(ctx)
}

func cutShort(path string, m mark) error {
	return retry.Fatal(fmt.Errorf("%s ends before byte %d, up to which it was read: it was cut or replaced; put it back, or remove the checkpoint to read the new one", path, m.offset))
}

// seek goes to where a record begins.
func (s *stream[T]) seek(m mark) error {
	err := s.contents.seek(m)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = cutShort(s.path, m)
	}
	s.in.reset(s.contents, m.offset)
	s.line = m.line
	return err
}

// joined looks at how the file goes on behind a record that was its last one and had no line end. A line end that came later belongs to it. Anything else has
// made another record of it, and what came is rejected.
func (s *stream[T]) joined(ctx context.Context) error {
	for len(s.in.data()) < 2 && !s.in.eof {
		if err := s.more(ctx); err != nil {
			return err
		}
	}
	switch data := s.in.data(); {
	case bytes.HasPrefix(data, []byte("\n")):
		s.drop(frame{size: 1, lines: 1})
	case bytes.HasPrefix(data, []byte("\r\n")):
		s.drop(frame{size: 2, lines: 1})
	default:
		s.broken = len(data) > 0
	}
	return nil
}

// preamble reads what comes before the first record: a byte order mark, a header.
func (s *stream[T]) preamble(ctx context.Context) error {
	const bom = "\ufeff"
	if s.format.bom && bytes.HasPrefix(s.in.data(), []byte(bom)) {
		s.in.drop(len(bom))
	}
	use := s.format.decoder.headed()
	if use == noHeader {
		return s.format.decoder.begin(nil)
	}
	first := s.in.offset
	if err := s.beginWith(ctx, use); err != nil {
		return err
	}
	if use == firstRecord { // which is a record all the same
		if back := int(s.in.offset - first); back <= s.in.start {
			s.in.drop(-back)
			s.line = 1
			return nil
		}
		return s.seek(mark{offset: first, line: 1})
	}
	return nil
}

// beginWith gives the decoder the first record.
func (s *stream[T]) beginWith(ctx context.Context, use headerUse) error {
	for {
		data := s.in.data()
		f, ok := s.format.framing.next(data, s.in.eof)
		long := ok && f.body > s.maxBytes || !ok && len(data) > s.maxBytes+len("\r\n")
		fail := func(raw []byte, err error) error {
			return retry.Fatal(fmt.Errorf("the header: %w", recordError(s.path, s.line, s.in.offset, raw, err)))
		}
		switch {
		case ok && f.blank, ok && f.bad != nil && use == firstRecord && !long:
			s.drop(f)
		case long && use == firstRecord:
			if err := s.discardLine(ctx); err != nil {
				return err
			}
		case long:
			return fail(data, s.tooLong())
		case ok && f.bad != nil:
			return fail(data[:f.body], f.bad)
		case ok:
			if err := s.format.decoder.begin(data[:f.body]); err != nil {
				return fail(data[:f.body], err)
			}
			s.drop(f)
			return nil
		case s.in.eof:
			return s.format.decoder.begin(nil)
		default:
			if err := s.more(ctx); err != nil {
				return err
			}
		}
	}
}

// fill reads records until b is full, or, which it reports, the file ends.
func (s *stream[T]) fill(ctx context.Context, b *weaver.Batch[T]) (ended bool, err error) {
	if s.broken {
		s.broken = false
		if err := s.skipLine(ctx, b, errContinued); err != nil {
			return false, err
		}
	}
	for !b.Full() {
		data := s.in.data()
		// Nearly all records are plain lines, for which framing says the same, but not so fast.
		if s.format.lines {
			n := bytes.IndexByte(data, '\n')
			if n > 0 && n <= s.maxBytes && data[0] > ' ' && (s.format.mark == 0 || bytes.IndexByte(data[:n], s.format.mark) < 0) {
				body := data[:n]
				if body[n-1] == '\r' {
					body = body[:n-1]
				}
				s.add(b, body)
				s.in.drop(n + 1)
				s.line++
				continue
			}
		}
		f, ok := s.format.framing.next(data, s.in.eof)
		switch {
		case ok && f.blank:
			s.drop(f)
		case ok && f.bad != nil:
			s.reject(b, data[:f.body], f.bad)
			s.drop(f)
		case ok && f.body <= s.maxBytes:
			s.add(b, data[:f.body])
			s.drop(f)
		case ok || len(data) > s.maxBytes+len("\r\n"):
			if err := s.skipLine(ctx, b, s.tooLong()); err != nil {
				return false, err
			}
		case s.in.eof:
			return true, nil
		default:
			if err := s.more(ctx); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

func (s *stream[T]) drop(f frame) {
	s.in.drop(f.size)
	s.line += int64(f.lines)
}

func (s *stream[T]) more(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.in.more()
}

func (s *stream[T]) add(b *weaver.Batch[T], body []byte) {
	rec := b.Add()
	rec.Seq = s.line
	if err := s.format.decoder.decode(b, body, &rec.Value); err != nil {
		n := len(b.Records) - 1
		clear(b.Records[n:]) // what was decoded before the error
		b.Records = b.Records[:n]
		s.reject(b, body, err)
	}
}

func (s *stream[T]) reject(b *weaver.Batch[T], raw []byte, err error) {
	b.Reject(s.line, raw, recordError(s.path, s.line, s.in.offset, raw, err))
}

func (s *stream[T]) tooLong() error {
	return fmt.Errorf("the record is longer than MaxRecordBytes, %d", s.maxBytes)
}

var errContinued = errors.New("the last record of the file had no line end when it was read, and was continued since: this is the rest of it")

// rejectedBytes is what a dead letter has of a record that is too long.
const rejectedBytes = 1 << 10

// skipLine rejects the record with which in.data begins and goes on to the next line.
func (s *stream[T]) skipLine(ctx context.Context, b *weaver.Batch[T], why error) error {
	for len(s.in.data()) < rejectedBytes && !s.in.eof && bytes.IndexByte(s.in.data(), '\n') < 0 {
		if err := s.more(ctx); err != nil {
			return err
		}
	}
	data := s.in.data()
	n := bytes.IndexByte(data, '\n')
	if n < 0 {
		n = len(data)
	}
	s.reject(b, data[:min(n, rejectedBytes)], why)
	return s.discardLine(ctx)
}

// discardLine goes on to the next line, in the memory that is there.
func (s *stream[T]) discardLine(ctx context.Context) error {
	for {
		data := s.in.data()
		if n := bytes.IndexByte(data, '\n'); n >= 0 {
			s.drop(frame{size: n + 1, lines: 1})
			return nil
		}
		s.drop(frame{size: len(data)})
		if s.in.eof {
			return nil
		}
		if err := s.more(ctx); err != nil {
			return err
		}
	}
}

// mark returns where the next record begins.
func (s *stream[T]) mark() mark {
	m := mark{offset: s.in.offset, line: s.line, print: s.whole, member: s.contents.member(s.in.offset)}
	if m.offset < int64(len(s.head)) {
		m.print = fingerprintOf(s.head[:m.offset])
	}
	return m
}

// left is about how many bytes of the file, as it is stored, are not read.
func (s *stream[T]) left() int64 {
	if s.file == nil {
		return 0
	}
	return max(s.size-s.contents.stored(s.in.offset), 0)
}

func (s *stream[T]) close() error {
	f := s.file
	s.file = nil
	if f == nil {
		return nil
	}
	return f.Close()
}
