package file

import (
	"context"
	"errors"
	"fmt"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// writer encodes records and collects them. Whether it keeps the checkpoint is known when it is asked to, by Restore, or to write without that.
type writer[T any] struct {
	file    *File[T]
	encoder encoder[T]
	ahead   *ahead[T]
	header  []byte
	late    lateHeader[T] // nil: what the file begins with is known
	at      weaver.Lane
	limit   int // of buf, roughly
	stored  Compression

	ledger *ledger    // where it keeps the checkpoint
	shared *appender  // where it doesn't
	buf    []byte     // whole records that the file has not got yet
	blocks *unblocked // of a file of blocks; nil: any other
	err    error      // after which it is of no use
}

var (
	_ weaver.Checkpointer = (*writer[int])(nil)
	_ weaver.Flusher      = (*writer[int])(nil)
)

var errDelete = errors.New("a line of a file can't say that something was deleted: make it part of the value with weaver.MapRecord, which sets Op to Upsert")

// Due implements weaver.Checkpointer and weaver.Flusher: it never has a reason of its own.
func (w *writer[T]) Due() bool { return false }

// Write implements weaver.Writer. Records that can't be encoded are poison, each named; the others are accepted.
func (w *writer[T]) Write(ctx context.Context, b *weaver.Batch[T]) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	if err := w.ahead.encode(b.Records); err != nil {
		return notNow(w.file, err)
	}
	if cap(w.buf) == 0 && len(b.Records) > 0 {
		w.buf = make([]byte, 0, w.limit+w.limit/16) // the record that fills it goes beyond
	}
	var failed []weaver.RecordError
	many, _ := w.encoder.(manyEncoder[T])
	for i := 0; i < len(b.Records); i++ {
		if many != nil && len(w.buf) < w.limit {
			var n int
			if w.buf, n = many.appendMany(w.buf, b.Records[i:], w.limit); n > 0 {
				i += n - 1
				if err := w.spillIfFull(ctx); err != nil {
					return err
				}
				continue
			}
		}
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
		if err := w.spillIfFull(ctx); err != nil {
			return err
		}
	}
	if failed != nil {
		return &weaver.BatchError{Records: failed}
	}
	return nil
}

// poison marks the error of a codec, unless that has done so.
func poison(err error) error {
	if retry.ClassOf(err) == retry.ClassUnmarked {
		return retry.Permanent(err)
	}
	return err
}

// begin opens the file for a writer that was not asked to keep the checkpoint.
func (w *writer[T]) begin(ctx context.Context) error {
	if w.err != nil || w.ledger != nil || w.shared != nil {
		return w.err
	}
	var err error
	if w.shared, err = w.file.share(ctx, w); err != nil {
		return w.broken(err)
	}
	if w.blocks != nil {
		if err := w.blocks.maker.adopt(bytesOf(w.shared.header)); err != nil {
			return w.broken(err)
		}
	}
	return nil
}

func (w *writer[T]) spillIfFull(ctx context.Context) error {
	if len(w.buf) < w.limit && !w.blocks.full() {
		return nil
	}
	if err := w.spill(ctx); err != nil {
		return w.broken(err)
	}
	return nil
}

// spill hands the buffer to the operating system.
func (w *writer[T]) spill(ctx context.Context) error {
	err := w.packed(func(stored []byte) error {
		if w.ledger != nil {
			return w.ledger.write(ctx, stored)
		}
		return w.shared.write(stored)
	})
	w.empty()
	return err
}

// packed gives use what was collected, as it is to be stored.
func (w *writer[T]) packed(use func(stored []byte) error) error {
	if w.blocks == nil {
		return w.file.packed(w.stored, w.buf, use)
	}
	raw, err := w.blocks.end(w.buf)
	if err != nil {
		return err
	}
	return w.file.packed(w.stored, raw, use)
}

// empty makes the buffer ready for more, without what one huge record asked for.
func (w *writer[T]) empty() {
	if cap(w.buf) > 4*w.limit {
		w.buf = nil
	}
	w.buf = w.buf[:0]
}

// broken makes the writer useless: how much of the buffer the file has got is not known.
func (w *writer[T]) broken(err error) error {
	w.err = fmt.Errorf("%s: %w", w.file, writeError(err))
	return w.err
}

// Flush implements weaver.Flusher.
func (w *writer[T]) Flush(ctx context.Context) error {
	switch {
	case w.err != nil:
		return w.err
	case w.ledger != nil:
		return w.broken(retry.Fatal(errors.New("Flush of a writer that keeps the checkpoint: Commit is what makes its records durable")))
	case w.shared == nil && !w.file.emptying():
		return nil // nothing was written
	}
	if err := w.begin(ctx); err != nil {
		return err
	}
	if err := w.packed(w.shared.flush); err != nil {
		return w.broken(err)
	}
	w.empty()
	return nil
}

// emptying reports whether the file is to be emptied even if nothing comes.
func (f *File[T]) emptying() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sink.anew
}

// Restore implements weaver.Checkpointer: it takes the file over from any earlier writer, in this process or another one, cuts it back to what the last
// commit made of it, and returns that commit's envelope.
func (w *writer[T]) Restore(ctx context.Context) ([]byte, error) {
	if w.err != nil {
		return nil, w.err
	}
	if w.ledger != nil || w.shared != nil {
		return nil, w.broken(retry.Fatal(errors.New("Restore is called twice, or after Write")))
	}
	anew, err := w.file.keep(w)
	if err != nil {
		return nil, w.broken(err)
	}
	f := w.file
	t, err := f.openTail(w.stored)
	if err != nil {
		return nil, w.broken(err)
	}
	w.ledger = &ledger{tail: t, sidecarPath: f.path + sidecarSuffix}
	envelope, err := w.ledger.restore(ctx, claim{
		pipeline: w.at.Pipeline,
		split:    w.at.Split.ID,
		exists:   f.IfExists,
		anew:     anew,
		header:   w.header,
		mender:   w.encoder,
	})
	if err != nil {
		return nil, w.broken(err)
	}
	f.begun()
	switch {
	case w.ledger.size > 0:
	case w.blocks != nil:
		w.blocks.begun = w.header
	default:
		w.buf = append(make([]byte, 0, w.limit+w.limit/16), w.header...)
	}
	return envelope, nil
}

// Commit implements weaver.Checkpointer.
func (w *writer[T]) Commit(ctx context.Context, envelope []byte) error {
	switch {
	case w.err != nil:
		return w.err
	case w.ledger == nil:
		return w.broken(retry.Fatal(errors.New("Commit of a writer that was not asked to Restore")))
	}
	commit := func(stored []byte) error { return w.ledger.commit(ctx, stored, envelope) }
	if err := w.packed(commit); err != nil {
		return w.broken(err)
	}
	w.empty()
	return nil
}

// Close implements weaver.Writer. What was neither flushed nor committed is dropped.
func (w *writer[T]) Close() error {
	if w.err == nil {
		w.err = fmt.Errorf("%s: the writer is closed", w.file)
	}
	var err error
	if w.shared != nil {
		err = w.file.release()
		w.shared = nil
	}
	if w.ledger != nil {
		err = w.ledger.close()
		w.ledger = nil
	}
	w.file.mu.Lock()
	defer w.file.mu.Unlock()
	if w.file.sink.keeper == w {
		w.file.sink.keeper = nil
	}
	return err
}
