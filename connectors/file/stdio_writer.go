package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// stdout is standard output, as all writers of a File share it.
type stdout struct {
	mu  sync.Mutex // held over I/O: there is one output
	out io.Writer
	// What a write that failed has not brought out, of which it had brought out a part. It comes first next time, so that no record is ever torn; whoever wrote
	// it writes it again, so there are duplicates.
	rest []byte
	// What the output begins with, as long as it has not begun.
	header []byte
	begins []byte // with that, before it was packed
}

func (o *stdout) write(p []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.put(&o.header, o.header); err != nil {
		return err
	}
	if err := o.put(&o.rest, o.rest); err != nil {
		return err
	}
	return o.put(&o.rest, p)
}

// put writes p. What is left if only a part comes out is in left afterwards.
func (o *stdout) put(left *[]byte, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	n, err := o.out.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	switch {
	case err == nil:
		*left = nil
	case n > 0:
		*left = append([]byte{}, p[n:]...)
	}
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return retry.Fatal(fmt.Errorf("standard output: %w: the program that reads it has ended or closed it", err))
	}
	if err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	return nil
}

// openStdout returns a writer to standard output.
func (f *File[T]) openStdout(made format[T], header []byte, stored Compression) (weaver.Writer[T], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.std.out == nil {
		out := &stdout{out: f.std.output, begins: header}
		if out.out == nil {
			out.out = os.Stdout
		}
		err := f.packed(stored, header, func(p []byte) error {
			out.header = append(out.header, p...)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		f.std.out = out
	}
	w := &stdoutWriter[T]{file: f, encoder: made.encoder, late: lateOf(made.encoder), ahead: aheadOf(made), out: f.std.out, stored: stored, limit: f.bufferBytes(stored), blocks: unblockedOf(made.encoder)}
	if w.blocks != nil {
		if err := w.blocks.maker.adopt(bytesOf(f.std.out.begins)); err != nil {
			return nil, retry.Fatal(fmt.Errorf("%s: standard output has begun with another header: %w", f, err))
		}
	}
	return w, nil
}

// stdoutWriter writes each batch at once, or several pieces of it that are whole records: whoever reads them doesn't have to wait.
type stdoutWriter[T any] struct {
	file    *File[T]
	encoder encoder[T]
	late    lateHeader[T] // nil: what the output begins with is known
	ahead   *ahead[T]
	out     *stdout
	stored  Compression
	limit   int // of buf, roughly
	buf     []byte
	blocks  *unblocked // of blocks; nil: of anything else
}

// Write implements weaver.Writer. Records that can't be encoded are poison, each named; the others are written.
func (w *stdoutWriter[T]) Write(_ context.Context, b *weaver.Batch[T]) error {
	if err := w.ahead.encode(b.Records); err != nil {
		return notNow(w.file, err)
	}
	var failed []weaver.RecordError
	w.buf = w.buf[:0]
	for i := range b.Records {
		r := &b.Records[i]
		if r.Op == weaver.Delete {
			failed = append(failed, weaver.RecordError{Index: i, Err: retry.Permanent(errDelete)})
			continue
		}
		if w.late != nil {
			bad, err := w.headed(&r.Value)
			if err != nil {
				return err
			}
			if bad != nil {
				failed = append(failed, weaver.RecordError{Index: i, Err: poison(bad)})
				continue
			}
		}
		out, err := w.ahead.append(w.encoder, w.buf, &r.Value)
		if err != nil {
			failed = append(failed, weaver.RecordError{Index: i, Err: poison(err)})
			continue
		}
		w.buf = out
		if w.blocks != nil {
			w.blocks.count++
		}
		if len(out) >= w.limit || w.blocks.full() {
			if err := w.spill(); err != nil {
				return err
			}
		}
	}
	if err := w.spill(); err != nil {
		return err
	}
	if failed != nil {
		return &weaver.BatchError{Records: failed}
	}
	return nil
}

func (w *stdoutWriter[T]) spill() error {
	raw, err := w.buf, error(nil)
	if w.blocks != nil {
		raw, err = w.blocks.end(w.buf)
	}
	if err == nil {
		err = w.file.packed(w.stored, raw, w.out.write)
	}
	if cap(w.buf) > 4*w.limit {
		w.buf = nil
	}
	w.buf = w.buf[:0]
	if err != nil {
		return fmt.Errorf("%s: %w", w.file, err)
	}
	return nil
}

// Close implements weaver.Writer. Standard output stays open.
func (*stdoutWriter[T]) Close() error { return nil }
