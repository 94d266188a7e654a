package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// partWriter encodes records and finds the parts they belong to. As a writer of one file, it learns whether it keeps the checkpoint when it is asked to.
type partWriter[T any] struct {
	sink    *PartSink[T]
	encoder encoder[T]
	ahead   *ahead[T]
	naming  *naming[T]
	at      weaver.Lane
	rules   partRules

	set     *partSet
	keeps   bool // the checkpoint
	err     error
	name    []byte // of the record in hand
	last    *part  // of the one before
	lastKey []byte
	scratch []byte
}

var (
	_ weaver.Checkpointer = (*partWriter[int])(nil)
	_ weaver.Flusher      = (*partWriter[int])(nil)
)

// Due implements weaver.Checkpointer and weaver.Flusher: a part is complete.
func (w *partWriter[T]) Due() bool { return w.err == nil && w.set != nil && w.set.due() }

// Write implements weaver.Writer. Records that have no name, or can't be encoded, are poison, each named; the others are accepted.
func (w *partWriter[T]) Write(ctx context.Context, b *weaver.Batch[T]) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	if err := w.ahead.encode(b.Records); err != nil {
		return notNow(w.sink, err)
	}
	failed, err := w.write(ctx, b)
	switch {
	case err != nil:
		return w.broken(err)
	case failed != nil:
		return &weaver.BatchError{Records: failed}
	}
	return nil
}

func (w *partWriter[T]) write(ctx context.Context, b *weaver.Batch[T]) (failed []weaver.RecordError, err error) {
	s := w.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	now := time.Now()
	for i := range b.Records {
		r := &b.Records[i]
		if r.Op == weaver.Delete {
			failed = append(failed, weaver.RecordError{Index: i, Err: retry.Permanent(errDelete)})
			continue
		}
		name, err := w.naming.name(w.name[:0], r, now)
		if err != nil {
			failed = append(failed, weaver.RecordError{Index: i, Err: poison(err)})
			continue
		}
		w.name = name
		bad, err := w.put(ctx, &r.Value, now)
		if err != nil {
			s.err = err
			return nil, err
		}
		if bad != nil {
			failed = append(failed, weaver.RecordError{Index: i, Err: poison(bad)})
		}
	}
	return failed, nil
}

// put writes the record in hand. Bad is what is wrong with it, err with the disk. The set is locked.
func (w *partWriter[T]) put(ctx context.Context, v *T, now time.Time) (bad, err error) {
	s := w.set
	p := w.last
	if p == nil || p.sealed || !bytes.Equal(w.name, w.lastKey) {
		p = s.parts[string(w.name)]
	}
	if p == nil {
		if w.scratch, bad = w.ahead.append(w.encoder, w.scratch[:0], v); bad != nil {
			return bad, nil
		}
		if p, err = s.create(ctx, string(w.name), now); err != nil {
			return nil, err
		}
		if s.blocks != nil {
			s.setBuffer(p, bytes.Clone(w.scratch))
		} else {
			s.setBuffer(p, slices.Concat(s.header, w.scratch))
		}
		if cap(w.scratch) > 4*w.rules.buffer {
			w.scratch = nil
		}
	} else {
		out, bad := w.ahead.append(w.encoder, p.buf, v)
		if bad != nil {
			return bad, nil
		}
		s.setBuffer(p, out)
	}
	if p != w.last {
		w.last = p
		w.lastKey = append(w.lastKey[:0], w.name...)
	}
	return nil, s.wrote(ctx, p)
}

// begin opens the parts for a writer that was not asked to keep the checkpoint.
func (w *partWriter[T]) begin(ctx context.Context) error {
	if w.err != nil || w.set != nil {
		return w.err
	}
	s, err := w.sink.share(ctx, w)
	if err != nil {
		return w.broken(err)
	}
	w.set = s
	return nil
}

// broken makes the writer useless: what its parts hold is not known.
func (w *partWriter[T]) broken(err error) error {
	w.err = fmt.Errorf("%s: %w", w.sink, writeError(err))
	return w.err
}

// Flush implements weaver.Flusher.
func (w *partWriter[T]) Flush(ctx context.Context) error {
	switch {
	case w.err != nil:
		return w.err
	case w.keeps:
		return w.broken(retry.Fatal(errors.New("Flush of a writer that keeps the checkpoint: Commit is what makes its records durable")))
	case w.set == nil:
		return nil // nothing was written
	}
	if err := w.set.commit(ctx, nil, false); err != nil {
		return w.broken(err)
	}
	return nil
}

// Restore implements weaver.Checkpointer: it takes the split's parts over from any earlier writer, in this process or another one, cuts them back to what the last
// commit made of them, puts those in their places that were complete, and returns that commit's envelope.
func (w *partWriter[T]) Restore(ctx context.Context) ([]byte, error) {
	if w.err != nil {
		return nil, w.err
	}
	if w.set != nil {
		return nil, w.broken(retry.Fatal(errors.New("Restore is called twice, or after Write")))
	}
	s, err := w.sink.keep(ctx, w)
	if err != nil {
		return nil, w.broken(err)
	}
	w.naming.forSplit(w.at.Split.ID)
	w.set, w.keeps = s, true
	return s.restored, nil
}

// Commit implements weaver.Checkpointer.
func (w *partWriter[T]) Commit(ctx context.Context, envelope []byte) error {
	switch {
	case w.err != nil:
		return w.err
	case !w.keeps:
		return w.broken(retry.Fatal(errors.New("Commit of a writer that was not asked to Restore")))
	}
	if err := w.set.commit(ctx, envelope, true); err != nil {
		return w.broken(err)
	}
	return nil
}

// Close implements weaver.Writer. What was neither flushed nor committed is dropped. If there is nothing of that kind, parts that are not finished are complete: the pipeline has
// ended or was stopped. Otherwise something has failed, and the next writer takes them up.
func (w *partWriter[T]) Close() error {
	if w.err == nil {
		w.err = fmt.Errorf("%s: the writer is closed", w.sink)
	}
	s := w.set
	if s == nil {
		return nil
	}
	w.set, w.last = nil, nil
	if !w.keeps {
		return w.sink.release()
	}
	w.sink.kept()
	return s.close()
}
