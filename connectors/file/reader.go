package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
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
	return weaver.Lag{Records: -1, Bytes: r.behind.Load(), Time: -1}
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
		if err := r.openNext(ctx); err != nil {
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
		// Nearly all records are plain lines, for which framing says the same, but not so fast.
		n := bytes.IndexByte(data, '\n')
		if n > 0 && n <= r.maxBytes && data[0] > ' ' && (r.format.mark == 0 || bytes.IndexByte(data[:n], r.format.mark) < 0) {
			body := data[:n]
			if body[n-1] == '\r' {
				body = body[:n-1]
			}
			r.add(b, body)
			r.in.drop(n + 1)
			r.line++
			continue
		}
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
	b.Reject(r.line, raw, recordError(r.files[r.next-1].path, r.line, r.in.offset, raw, err))
}

func (r *reader[T]) tooLong() error {
	return fmt.Errorf("the record is longer than MaxRecordBytes, %d", r.maxBytes)
}

var errContinued = errors.New("the last record of the file had no line end when it was read, and was continued since: this is the rest of it")

// rejectedBytes is what a dead letter has of a record that is too long.
const rejectedBytes = 1 << 10

// skipLine rejects the record with which in.data begins and goes on to the next line.
func (r *reader[T]) skipLine(ctx context.Context, b *weaver.Batch[T], why error) error {
	data := r.in.data()
	n := bytes.IndexByte(data, '\n')
	if n < 0 {
		n = len(data)
	}
	r.reject(b, data[:min(n, rejectedBytes)], why)
	return r.discardLine(ctx)
}

// discardLine goes on to the next line, in the memory that is there.
func (r *reader[T]) discardLine(ctx context.Context) error {
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
	r.measure()
	return r.encoded
}

// measure notes how much is left.
func (r *reader[T]) measure() { r.behind.Store(max(r.size-r.in.offset, 0) + max(r.later, 0)) }

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
