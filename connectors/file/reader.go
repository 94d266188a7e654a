package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/retry"
)

// reader reads the files of one split, one after the other.
type reader[T any] struct {
	file     *File[T]
	format   format[T]
	maxBytes int

	files   []found
	next    int // of files, the one after the current one
	current durable.File
	in      input
	line    int64 // on which in.data begins
	head    []byte
	whole   fingerprint // of all of head
	broken  bool        // in.data begins in the middle of a line
	done    bool        // the last file has been read to its end
	encoded []byte      // of the position returned last

	size   int64        // of the current file when it was opened
	later  int64        // sizes of the files behind it
	behind atomic.Int64 // bytes of these that are not read
}

var _ weaver.LagReporter = (*reader[int])(nil)

// Lag implements weaver.LagReporter: what the files held when they were opened and was not read. How many records that is nobody knows.
func (r *reader[T]) Lag() weaver.Lag {
	return weaver.Lag{Records: -1, Bytes: max(r.behind.Load(), 0), Time: -1}
}

// start opens the file that a position is about, or the first one.
func (r *reader[T]) start(at weaver.Lane) error {
	var p position
	if at.Position != nil {
		var err error
		if p, err = parsePosition(at.Position); err != nil {
			return retry.Fatal(fmt.Errorf("the checkpoint has a position that this source can't have made: %w", err))
		}
	}
	var err error
	if r.files, err = r.file.files(at); err != nil {
		return err
	}
	for _, f := range r.files {
		if info, err := r.file.fsys.Stat(f.path); err == nil {
			r.later += info.Size()
		}
	}
	if at.Position == nil {
		if len(r.files) == 0 {
			return errNoMatch
		}
		return r.openNext()
	}
	i, there := slices.BinarySearchFunc(r.files, p.name, func(f found, name string) int { return strings.Compare(f.name, name) })
	for _, f := range r.files[:i] {
		if info, err := r.file.fsys.Stat(f.path); err == nil {
			r.later -= info.Size()
		}
	}
	r.next = i
	switch {
	case there:
		return r.openAt(p)
	case !p.done:
		return retry.Fatal(fmt.Errorf("%q, which was read up to byte %d, is gone: put it back, or remove the checkpoint to begin anew", p.name, p.offset))
	case i < len(r.files): // it was read to the end, and tidied away since
		return r.openNext()
	}
	r.done = true
	r.encoded = slices.Clone(at.Position)
	return nil
}

func (r *reader[T]) openNext() error { return r.openAt(position{name: r.files[r.next].name, line: 1}) }

// openAt opens the file r.next, to be read from p on.
func (r *reader[T]) openAt(p position) error {
	path := r.files[r.next].path
	r.next++
	// Before it is opened: opening a pipe would block.
	info, err := r.file.fsys.Stat(path)
	if err != nil {
		return advice(err, "check the path, and the folder the program runs in")
	}
	if err := regular(info, path); err != nil {
		return err
	}
	f, err := r.file.fsys.OpenFile(path, 0, 0)
	if err != nil {
		return advice(err, "check the path, and the folder the program runs in")
	}
	r.current = f
	if err := r.begin(p, path); err != nil {
		r.current = nil
		return errors.Join(err, f.Close())
	}
	return nil
}

// begin makes the open file ready to be read from p on.
func (r *reader[T]) begin(p position, path string) error {
	info, err := r.current.Stat()
	if err != nil {
		return err
	}
	if info.Size() < p.offset {
		return retry.Fatal(fmt.Errorf("%s has %d bytes, but was read up to byte %d: it was cut or replaced; put it back, or remove the checkpoint to read the new one",
			path, info.Size(), p.offset))
	}
	r.size = info.Size()
	r.later -= r.size
	if r.head == nil {
		r.head = make([]byte, fingerprintBytes)
	}
	n, err := r.current.ReadAt(r.head[:fingerprintBytes], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	r.head, r.whole = r.head[:n], fingerprintOf(r.head[:n])
	if p.print.size > n || fingerprintOf(r.head[:p.print.size]) != p.print && p.print.size > 0 {
		return retry.Fatal(fmt.Errorf("%s doesn't begin as the file did that was read up to byte %d: it was replaced; put the other back, or remove the checkpoint to read this one",
			path, p.offset))
	}
	r.in.reset(r.current, 0)
	r.line = 1
	if err := r.preamble(path); err != nil {
		return err
	}
	if p.offset <= r.in.offset {
		return nil
	}
	if _, err := r.current.Seek(p.offset, io.SeekStart); err != nil {
		return err
	}
	r.in.reset(r.current, p.offset)
	r.line = p.line
	return r.joined(p)
}

// preamble reads what comes before the first record: a byte order mark, a header.
func (r *reader[T]) preamble(path string) error {
	const mark = "\ufeff"
	if r.format.bom && bytes.HasPrefix(r.head, []byte(mark)) {
		for len(r.in.data()) < len(mark) {
			if err := r.in.more(); err != nil {
				return err
			}
		}
		r.in.drop(len(mark))
	}
	use := r.format.decoder.headed()
	if use == noHeader {
		return r.format.decoder.begin(nil)
	}
	for {
		data := r.in.data()
		f, ok := r.format.framing.next(data, r.in.eof)
		long := ok && f.body > r.maxBytes || !ok && len(data) > r.maxBytes+len("\r\n")
		fail := func(raw []byte, err error) error {
			return retry.Fatal(fmt.Errorf("the header: %w", recordError(path, r.line, r.in.offset, raw, err)))
		}
		switch {
		case ok && f.blank:
			r.drop(f)
		case use == firstRecord && (long || ok && f.bad != nil): // rejected later
			return r.format.decoder.begin(nil)
		case long:
			return fail(data, r.tooLong())
		case ok && f.bad != nil:
			return fail(data[:f.body], f.bad)
		case ok:
			if err := r.format.decoder.begin(data[:f.body]); err != nil {
				return fail(data[:f.body], err)
			}
			if use == ownRecord {
				r.drop(f)
			}
			return nil
		case r.in.eof:
			return r.format.decoder.begin(nil)
		default:
			if err := r.in.more(); err != nil {
				return err
			}
		}
	}
}

// joined looks at how the file goes on behind a record that was its last one and had no line end. A line end that came later belongs to it. Anything else has
// made another record of it, and what came is rejected.
func (r *reader[T]) joined(p position) error {
	last := []byte{0}
	if _, err := r.current.ReadAt(last, p.offset-1); err != nil {
		return err
	}
	if last[0] == '\n' {
		return nil
	}
	for len(r.in.data()) < 2 && !r.in.eof {
		if err := r.in.more(); err != nil {
			return err
		}
	}
	switch data := r.in.data(); {
	case bytes.HasPrefix(data, []byte("\n")):
		r.drop(frame{size: 1, lines: 1})
	case bytes.HasPrefix(data, []byte("\r\n")):
		r.drop(frame{size: 2, lines: 1})
	default:
		r.broken = len(data) > 0
	}
	return nil
}

func (r *reader[T]) drop(f frame) {
	r.in.drop(f.size)
	r.line += int64(f.lines)
}

// Read implements weaver.Reader.
func (r *reader[T]) Read(ctx context.Context, b *weaver.Batch[T]) (weaver.Position, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for !r.done {
		ended, err := r.fill(ctx, b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.file, err)
		}
		if !ended {
			return r.position(false), nil
		}
		if r.next == len(r.files) {
			r.done = true
			r.position(true)
			break
		}
		if err := r.close(); err != nil {
			return nil, fmt.Errorf("%s: %w", r.file, err)
		}
		if err := r.openNext(); err != nil {
			return nil, fmt.Errorf("%s: %w", r.file, err)
		}
	}
	return r.encoded, io.EOF
}

// fill reads records of the current file until b is full, or, which it reports, the file ends.
func (r *reader[T]) fill(ctx context.Context, b *weaver.Batch[T]) (ended bool, err error) {
	if r.broken {
		r.broken = false
		if err := r.skipLine(ctx, b, errContinued); err != nil {
			return false, err
		}
	}
	for !b.Full() {
		data := r.in.data()
		f, ok := r.format.framing.next(data, r.in.eof)
		switch {
		case ok && f.blank:
			r.drop(f)
		case ok && f.bad != nil:
			r.reject(b, data[:f.body], f.bad)
			r.drop(f)
		case ok && f.body <= r.maxBytes:
			r.add(b, data[:f.body])
			r.drop(f)
		case ok || len(data) > r.maxBytes+len("\r\n"):
			if err := r.skipLine(ctx, b, r.tooLong()); err != nil {
				return false, err
			}
		case r.in.eof:
			return true, nil
		default:
			if err := r.more(ctx); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

func (r *reader[T]) more(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.in.more()
}

func (r *reader[T]) add(b *weaver.Batch[T], body []byte) {
	rec := b.Add()
	rec.Seq = r.line
	if err := r.format.decoder.decode(b, body, &rec.Value); err != nil {
		n := len(b.Records) - 1
		clear(b.Records[n:]) // what was decoded before the error
		b.Records = b.Records[:n]
		r.reject(b, body, err)
	}
}

func (r *reader[T]) reject(b *weaver.Batch[T], raw []byte, err error) {
	b.Reject(raw, recordError(r.files[r.next-1].path, r.line, r.in.offset, raw, err))
}

func (r *reader[T]) tooLong() error {
	return fmt.Errorf("the record is longer than MaxRecordBytes, %d", r.maxBytes)
}

var errContinued = errors.New("the last record of the file had no line end when it was read, and was continued since: this is the rest of it")

// rejectedBytes is what a dead letter has of a record that is too long.
const rejectedBytes = 1 << 10

// skipLine rejects the record with which in.data begins and goes on to the next line, in the memory that is there.
func (r *reader[T]) skipLine(ctx context.Context, b *weaver.Batch[T], why error) error {
	data := r.in.data()
	n := bytes.IndexByte(data, '\n')
	if n < 0 {
		n = len(data)
	}
	r.reject(b, data[:min(n, rejectedBytes)], why)
	for {
		data := r.in.data()
		if n := bytes.IndexByte(data, '\n'); n >= 0 {
			r.drop(frame{size: n + 1, lines: 1})
			return nil
		}
		r.drop(frame{size: len(data)})
		if r.in.eof {
			return nil
		}
		if err := r.more(ctx); err != nil {
			return err
		}
	}
}

// position encodes where the next record begins. It is good until the next call.
func (r *reader[T]) position(done bool) weaver.Position {
	p := position{name: r.files[r.next-1].name, offset: r.in.offset, line: r.line, done: done, print: r.whole}
	if p.offset < int64(len(r.head)) {
		p.print = fingerprintOf(r.head[:p.offset])
	}
	r.encoded = p.append(r.encoded[:0])
	r.behind.Store(max(r.size-r.in.offset, 0) + max(r.later, 0))
	return r.encoded
}

func (r *reader[T]) close() error {
	f := r.current
	r.current = nil
	if f == nil {
		return nil
	}
	return f.Close()
}

// Close implements weaver.Reader.
func (r *reader[T]) Close() error { return r.close() }
