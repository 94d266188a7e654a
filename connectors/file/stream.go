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
	"github.com/bohica-labs/dataweaver/serde"
)

// opened is a file that is read. What else it can do, seeking above all, contents finds out.
type opened interface {
	io.Reader
	Stat() (fs.FileInfo, error)
	Close() error
}

// stream is one file, read record by record. It knows nothing of other files, or of positions of splits.
type stream[T any] struct {
	path     string
	format   format[T]
	maxBytes int

	file     opened
	contents contents
	in       input
	scan     scan   // of the record that in.data begins with
	first    int64  // offset of the first record, a header included
	clear    int64  // up to there, or further, is no format.mark
	refused  bool   // what begins at in.data was rejected, with all behind it
	line     int64  // on which in.data begins, or which record it is
	head     []byte // how the content begins, fingerprintBytes at most
	whole    fingerprint
	broken   bool // in.data begins in the middle of a line
	headless bool // the header is damaged, so nothing can be read
	sealed   bool // head ends at damage: what follows in the content is no part of it
	skipping bool // and that line was rejected already
	joining  bool // in.data may begin with the end of the line before, but isn't there yet
	blocks   blockState[T]
	size     int64 // of the file when it was opened, as it is stored
	average  int   // bytes of a line, where many were read at once; 0: not known
}

// open makes f, which it owns from now on, ready to be read from m on. The memory of the file before is used again.
func (s *stream[T]) open(ctx context.Context, f opened, path string, m mark) error {
	s.file, s.path, s.line, s.broken, s.whole = f, path, 1, false, fingerprint{}
	s.skipping, s.joining, s.headless, s.sealed = false, false, false, false
	s.head = s.head[:0]
	if err := s.begin(ctx, m); err != nil {
		s.file = nil
		if closing := f.Close(); closing != nil {
			return errors.Join(err, closing)
		}
		return err // as it is: errPending is looked for
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
	if c, ok := s.file.(*stdin); ok { // is unpacked
		s.contents = c
	} else if s.contents, err = contentsOf(s.file, s.contents); err != nil {
		return err
	}
	s.in.reset(s.contents, 0)
	s.scan, s.clear = scan{}, 0
	if err := s.lookAtHead(ctx); err != nil {
		return err
	}
	if s.in.torn != nil && m.print.size > len(s.head) {
		return retry.Fatal(fmt.Errorf("%s was read up to byte %d, and is damaged since: %w", s.path, m.offset, s.in.torn))
	}
	if err := m.isOf(s.head, s.path); err != nil {
		return err
	}
	if s.format.layout != nil {
		return s.beginBlocks(ctx, m)
	}
	if err := s.preamble(ctx); err != nil {
		return err
	}
	s.refused = m.refused
	if m.offset <= s.in.offset && m.member.stored == 0 {
		return nil
	}
	return s.resume(ctx, m)
}

// lookAtHead reads as much as a fingerprint is of.
func (s *stream[T]) lookAtHead(ctx context.Context) error {
	for len(s.in.data()) < fingerprintBytes && !s.in.eof {
		if err := s.more(ctx); err == errPending { //nolint:errorlint // made here
			break
		} else if err != nil {
			return err
		}
	}
	s.whole = fingerprintOf(s.head)
	return nil
}

// isOf finds out whether a file that begins with head is the one that m is about.
func (m mark) isOf(head []byte, path string) error {
	if m.print.size == 0 || m.print.size <= len(head) && fingerprintOf(head[:m.print.size]) == m.print {
		return nil
	}
	if m.print.size > len(head) {
		return replaced(fmt.Errorf("%s has %d bytes, but was read up to byte %d: it was cut or replaced; put it back, or remove the checkpoint to read the new one",
			path, len(head), m.offset))
	}
	return replaced(fmt.Errorf("%s doesn't begin as the file did that was read up to byte %d: it was replaced; put the other back, or remove the checkpoint to read this one",
		path, m.offset))
}

// resume goes to m, which lies behind what was read.
func (s *stream[T]) resume(ctx context.Context, m mark) error {
	if m.beginsMember() {
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
	if last == '\n' || !s.format.lines {
		return nil
	}
	return s.joined(ctx)
}

// replacedError says that a file isn't the one that a mark is about.
type replacedError struct {
	error
	short bool // it begins like that one, but ends before the mark
}

func (e *replacedError) Unwrap() error { return e.error }

func replaced(err error) error { return &replacedError{error: retry.Fatal(err)} }

func cutShort(path string, m mark) error {
	return &replacedError{short: true, error: retry.Fatal(fmt.Errorf("%s ends before byte %d, up to which it was read: it was cut or replaced; put it back, or remove the checkpoint to read the new one", path, m.offset))}
}

// beginsMember reports whether a compressed member begins at m: the record before ended there, or what lies before can't be read.
func (m mark) beginsMember() bool { return m.member.stored > 0 && m.member.offset == m.offset }

// seek goes to where a record begins.
func (s *stream[T]) seek(m mark) error {
	if c, ok := s.contents.(interface{ seeks() bool }); ok && !c.seeks() {
		if n := m.offset - s.in.offset; n >= 0 && n < int64(len(s.in.data())) {
			s.in.drop(int(n))
			s.scan, s.line = scan{}, m.line
			return nil
		}
	}
	err := s.contents.seek(m)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = cutShort(s.path, m)
	}
	s.in.reset(s.contents, m.offset)
	s.scan, s.clear = scan{}, 0
	s.line = m.line
	return err
}

// joined looks at how the file goes on behind a record that was its last one and had no line end. A line end that came later belongs to it. Anything else has
// made another record of it, and what came is rejected.
func (s *stream[T]) joined(ctx context.Context) error {
	for len(s.in.data()) < 2 && !s.in.eof {
		if err := s.more(ctx); err == errPending { //nolint:errorlint // made here
			s.joining = true
			return nil
		} else if err != nil {
			return err
		}
	}
	s.joining = false
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
	s.first = s.in.offset
	use := s.format.decoder.headed()
	if s.foreign(s.in.data()) {
		if use == ownRecord {
			return retry.Fatal(fmt.Errorf("the header: %w", recordError(s.path, s.line, 0, s.head, errUTF16)))
		}
		use = noHeader // fill rejects it
	}
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
			s.scan = scan{}
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
		f, ok := s.next(data)
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
			return fail(data, s.tooLong(data))
		case ok && f.bad != nil:
			return fail(data[:f.body], f.bad)
		case ok:
			if err := s.format.decoder.begin(data[:f.body]); err != nil {
				return fail(data[:f.body], err)
			}
			s.drop(f)
			return nil
		case s.in.eof:
			s.headless = s.in.torn != nil
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
	if s.format.layout != nil {
		return s.fillBlocks(ctx, b)
	}
	if s.headless {
		return true, s.rejectRest(ctx, b)
	}
	if s.skipping || s.joining || s.broken {
		if err := s.mend(ctx, b); err != nil {
			return false, err
		}
	}
	for !b.Full() {
		data := s.in.data()
		// Nearly all records are plain lines, for which framing says the same, but not so fast.
		if s.format.lines && s.scan.at == 0 && s.in.offset > s.first {
			if s.format.many != nil {
				if size, lines := s.format.many.decodeMany(b, data, false, s.line, s.maxBytes); lines > 0 {
					s.in.drop(size)
					s.line += int64(lines)
					s.average = size / lines
					continue
				}
				if done, err := s.readInto(ctx, b); done || err != nil {
					return false, err
				}
				data = s.in.data()
			}
			n := bytes.IndexByte(data, '\n')
			if n > 0 && n <= s.maxBytes && data[0] > ' ' && (s.format.mark == 0 || s.clear >= s.in.offset+int64(n) || s.lacksMark(data, n)) {
				body := data[:n]
				if body[n-1] == '\r' {
					body = body[:n-1]
				}
				if err := s.add(b, body); err != nil {
					return false, err
				}
				s.in.drop(n + 1)
				s.line++
				continue
			}
		}
		f, ok := s.next(data)
		switch {
		case ok && f.rest && f.body <= s.maxBytes && f.lead <= s.mostLead():
			s.refuse(b, f.lead, f.bad)
			return true, nil
		case ok && f.blank:
			s.drop(f)
		case ok && f.bad != nil && !f.rest:
			s.reject(b, data[:f.body], f.bad)
			s.drop(f)
		case ok && f.body <= s.maxBytes && f.lead <= s.mostLead():
			s.in.drop(f.lead)
			if err := s.add(b, data[f.lead:f.lead+f.body]); err != nil {
				return false, err
			}
			f.size -= f.lead
			s.drop(f)
		case ok || len(data) > s.maxBytes+s.scan.body+s.format.prefix+len("\r\n"):
			if !s.format.lines {
				at := s.scan.body
				if at > s.mostLead() { // it may or may not have been seen
					at = 0
				}
				s.refuse(b, at, s.tooLong(data))
				return true, nil
			}
			if err := s.skipLine(ctx, b, s.tooLong(data)); err != nil {
				return false, err
			}
		case s.in.torn != nil:
			if ended, err := s.rejectDamage(ctx, b); ended || err != nil {
				return ended, err
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

// mostLead is how much may come before the value of a record: what comes between two is bounded like a record, wherever a
// piece of the file happens to end.
func (s *stream[T]) mostLead() int { return s.maxBytes + s.format.prefix + len("\r\n") }

// mend comes to the beginning of a record.
func (s *stream[T]) mend(ctx context.Context, b *weaver.Batch[T]) error {
	if s.joining {
		if err := s.joined(ctx); err != nil {
			return err
		}
		if s.joining {
			return errPending
		}
	}
	if s.broken {
		if err := s.skipLine(ctx, b, errContinued); err != nil && !s.skipping {
			return err
		}
		s.broken = false
	}
	if s.skipping {
		return s.discardLine(ctx)
	}
	return nil
}

// next asks for the record that data, which is in.data, begins with.
func (s *stream[T]) next(data []byte) (frame, bool) {
	s.scan.first = s.in.offset == s.first
	if s.scan.first && s.foreign(data) {
		return frame{bad: errUTF16, rest: true}, true
	}
	return s.format.framing.next(data, s.in.eof && s.in.torn == nil, &s.scan)
}

// lacksMark looks for format.mark in a line of n bytes, and beyond: most files have none.
func (s *stream[T]) lacksMark(data []byte, n int) bool {
	from := int(max(s.clear-s.in.offset, 0))
	to := bytes.IndexByte(data[from:], s.format.mark)
	if to < 0 {
		to = len(data) - from
	}
	s.clear = s.in.offset + int64(from+to)
	return from+to >= n
}

// foreign reports whether a file that should be text is so in another encoding, as its beginning says.
func (s *stream[T]) foreign(data []byte) bool {
	return (s.format.lines || s.format.bom) && len(data) >= 2 && (data[0] == 0xff && data[1] == 0xfe || data[0] == 0xfe && data[1] == 0xff)
}

var errUTF16 = errors.New(`the file is UTF-16 or UTF-32, as its byte order mark says: convert it to UTF-8, with "iconv -f UTF-16 -t UTF-8" for instance`)

// refuse rejects all that is left of the file, once: what is wrong with it was seen at so many bytes. The position stays where the record begins, so that nothing is
// missed if the file is completed later.
func (s *stream[T]) refuse(b *weaver.Batch[T], at int, why error) {
	if s.refused {
		return
	}
	s.refused = true
	raw := s.in.data()[at:]
	raw = raw[:min(len(raw), rejectedBytes)]
	why = fmt.Errorf("%w; no record can be found behind that, so the rest of the file is rejected", why)
	b.Reject(s.line, raw, s.recordError(s.in.offset+int64(at), raw, why))
}

func (s *stream[T]) recordError(offset int64, raw []byte, why error) error {
	if s.format.number {
		return &RecordError{Path: s.path, Record: s.line, Offset: offset, Excerpt: serde.Excerpt(raw), Err: why}
	}
	return recordError(s.path, s.line, offset, raw, why)
}

func (s *stream[T]) drop(f frame) {
	s.in.drop(f.size)
	s.line += int64(f.lines)
	s.scan = scan{}
}

func (s *stream[T]) more(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.in.more()
	if n := len(s.head); n < fingerprintBytes && !s.sealed { // of which nothing was dropped yet, or not much
		if data, from := s.in.data(), n-int(s.in.offset); from >= 0 && from < len(data) {
			s.head = append(s.head, data[from:min(len(data), from+fingerprintBytes-n)]...)
			s.whole = fingerprintOf(s.head)
		}
	}
	s.sealed = s.sealed || s.in.torn != nil
	return err
}

// add makes a record of body, or rejects it. It returns an error if that can't be told now: then the stream is of no more use.
func (s *stream[T]) add(b *weaver.Batch[T], body []byte) error {
	s.refused = false
	rec := b.Add()
	rec.Seq = s.line
	if err := s.format.decoder.decode(b, body, &rec.Value); err != nil {
		n := len(b.Records) - 1
		clear(b.Records[n:]) // what was decoded before the error
		b.Records = b.Records[:n]
		if serde.Outage(s.format.codec, err) {
			return s.recordError(s.in.offset, nil, err)
		}
		s.reject(b, body, err)
	}
	return nil
}

func (s *stream[T]) reject(b *weaver.Batch[T], raw []byte, err error) {
	b.Reject(s.line, raw, s.recordError(s.in.offset, raw, err))
}

func (s *stream[T]) tooLong(data []byte) error {
	if s.format.lines && s.in.offset == s.first && bytes.IndexByte(data, '\n') < 0 && bytes.IndexByte(data, '\r') >= 0 {
		return fmt.Errorf("the record is longer than MaxRecordBytes, %d, and has carriage returns: is that %w", s.maxBytes, errCarriageReturns)
	}
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
	s.skipping = true
	for {
		data := s.in.data()
		if n := bytes.IndexByte(data, '\n'); n >= 0 {
			s.drop(frame{size: n + 1, lines: 1})
			s.skipping = false
			return nil
		}
		s.drop(frame{size: len(data)})
		if s.in.eof {
			s.skipping = false
			return nil
		}
		if err := s.more(ctx); err != nil {
			return err
		}
	}
}

// notCut finds out whether the file, which was read to its end, is as long as when that began.
func (s *stream[T]) notCut() error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	if now := info.Size(); now < s.size && now < s.contents.stored(s.in.offset) {
		return retry.Fatal(fmt.Errorf("%s had %d bytes and has %d: it was cut while it was read; put it back, or remove the checkpoint to read the new one", s.path, s.size, now))
	}
	return nil
}

// mark returns where the next record begins.
func (s *stream[T]) mark() mark {
	if s.blocks.isLost {
		return s.blocks.lost
	}
	m := mark{offset: s.in.offset, line: s.line, inside: s.blocks.inside(), refused: s.refused, print: s.whole, member: s.contents.member(s.in.offset)}
	if m.offset < int64(len(s.head)) {
		m.print = fingerprintOf(s.head[:m.offset])
	}
	return m
}

// left is about how many bytes of the file, as it is stored, are not read.
func (s *stream[T]) left() int64 {
	if s.file == nil || s.in.eof && s.scan.ended {
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

// release gives back what is kept for the next file: there is none.
func (s *stream[T]) release() {
	if c, ok := s.contents.(releaser); ok {
		c.release()
		s.contents = nil
	}
}
