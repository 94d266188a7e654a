package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	weaver "github.com/bohica-labs/dataweaver"
)

// damage says which part of a compressed file can't be unpacked. Nobody will ever read it, so it is rejected, and not tried again.
type damage struct {
	format string
	stored int64 // where the member begins in the file as it is stored
	offset int64 // of the content, where it ends
	err    error
}

// Error is one line.
func (d *damage) Error() string {
	s := fmt.Sprintf("the %s data that begins at byte %d of the compressed file can't be unpacked behind byte %d of the content: %v", d.format, d.stored, d.offset, d.err)
	if _, ok := d.err.(tooMuch); ok { //nolint:errorlint // made by an unpacker
		return s
	}
	return s + ": get a whole copy of the file, and read that for what is missing"
}

// Unwrap returns what is wrong.
func (d *damage) Unwrap() error { return d.err }

// tooMuch says why data that may be whole isn't unpacked, and what to do.
type tooMuch string

func (t tooMuch) Error() string { return string(t) }

var (
	errTruncated = errors.New("the file is cut short")
	errGarbage   = errors.New("what is there isn't compressed data of this kind")
)

var (
	errBehindDamage = errors.New("what comes before it in the file is damaged, so this may be the rest of a record that began there")
	errNoHeader     = errors.New("the header of the file is damaged, so nothing in it can be read")
)

// rejectDamage rejects what is damaged, of which one record may be the beginning, and goes on with the next line: on which one a compressed member begins nobody
// knows. The line before that is rejected on its own. Members one after the other that are all damaged are one reject. It reports whether the rest of the file is
// given up, as nothing shows where a record begins.
//
// Only behind that line is there a place to resume at, so that a reader which is opened again rejects none of it twice.
func (s *stream[T]) rejectDamage(ctx context.Context, b *weaver.Batch[T]) (ended bool, err error) {
	why, line, offset := s.in.torn, s.line, s.in.offset
	begun := s.dropAll()
	if !s.format.lines {
		b.Reject(line, begun, s.recordError(offset, begun, why))
		s.refused = true
		return true, s.giveUp()
	}
	var rest []byte
	var restLine, restOffset int64
	for found := false; !found; {
		s.in.mend()
		restLine, restOffset = s.line, s.in.offset
		rest, found, err = s.dropLine(ctx)
		if err == errPending { //nolint:errorlint // made here
			s.skipping, s.broken = len(rest) > 0, len(rest) == 0
			break
		}
		if err != nil {
			return false, err
		}
	}
	b.Reject(line, begun, recordError(s.path, line, offset, begun, why))
	if len(bytes.TrimRight(rest, "\r")) > 0 {
		b.Reject(restLine, rest, recordError(s.path, restLine, restOffset, rest, errBehindDamage))
	}
	return false, nil
}

// dropLine drops the line that data begins with, and returns a copy of it, maxBytes at most; false if it is damaged before its end. With errPending it returns what there is.
func (s *stream[T]) dropLine(ctx context.Context) ([]byte, bool, error) {
	var line []byte
	for {
		data := s.in.data()
		n := bytes.IndexByte(data, '\n')
		part := data
		if n >= 0 {
			part = data[:n]
		}
		line = append(line, part[:min(len(part), s.maxBytes-len(line))]...)
		if n >= 0 {
			s.drop(frame{size: n + 1, lines: 1})
			return line, true, nil
		}
		s.drop(frame{size: len(data)})
		if s.in.eof {
			return line, s.in.torn == nil, nil
		}
		if err := s.more(ctx); err != nil {
			return line, false, err
		}
	}
}

// rejectRest rejects what is left of a file whose header is damaged, as a whole.
func (s *stream[T]) rejectRest(ctx context.Context, b *weaver.Batch[T]) error {
	for len(s.in.data()) == 0 && !s.in.eof {
		if err := s.more(ctx); err != nil {
			return err
		}
	}
	if len(s.in.data()) == 0 && s.in.torn == nil {
		return nil
	}
	why, line, offset := s.in.torn, s.line, s.in.offset
	if why == nil {
		why = errNoHeader
	}
	begun := s.dropAll()
	b.Reject(line, begun, recordError(s.path, line, offset, begun, why))
	return s.giveUp()
}

// giveUp makes this the end of the file.
func (s *stream[T]) giveUp() error {
	s.in.eof, s.in.torn = true, nil
	if c, ok := s.contents.(quitter); ok {
		return c.giveUp()
	}
	return nil
}

// dropAll drops what is in memory, and returns a copy of how it begins.
func (s *stream[T]) dropAll() []byte {
	data := s.in.data()
	begun := bytes.Clone(data[:min(len(data), rejectedBytes)])
	s.drop(frame{size: len(data), lines: bytes.Count(data, []byte{'\n'})})
	return begun
}
