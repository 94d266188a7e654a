package weavertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

func (r *sinkRun[T]) ruleWrite(ctx context.Context) error {
	return r.with(ctx, "a", false, func(w opened[T], _ []byte) error {
		n := 0
		for _, size := range []int{1, 2, 30} {
			for range 2 {
				if err := r.write(ctx, w, n, n+size); err != nil {
					return err
				}
				n += size
			}
			if err := w.settle(ctx, "e"); err != nil {
				return err
			}
			if err := r.holds(ctx, r.records(0, n)); err != nil { // before Close: it is durable now
				return err
			}
		}
		return nil
	})
}

func (r *sinkRun[T]) ruleEmpty(ctx context.Context) error {
	return r.with(ctx, "a", false, func(w opened[T], _ []byte) error {
		for _, n := range []int{0, 0, 1, 0} {
			if err := r.write(ctx, w, 0, n); err != nil {
				return err
			}
		}
		if err := w.settle(ctx, "e"); err != nil {
			return err
		}
		return r.holds(ctx, r.records(0, 1))
	})
}

func (r *sinkRun[T]) ruleMemory(ctx context.Context) error {
	r.scribbles = true
	err := r.with(ctx, "a", false, func(w opened[T], _ []byte) error {
		for i := range 5 {
			if err := r.write(ctx, w, i, i+1); err != nil {
				return err
			}
		}
		if w.checkpointer == nil {
			return w.settle(ctx, "")
		}
		envelope := []byte("envelope")
		if err := w.checkpointer.Commit(ctx, envelope); err != nil {
			return fmt.Errorf("Commit: %w", err)
		}
		clear(envelope)
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.holds(ctx, r.records(0, 5)); err != nil {
		return fmt.Errorf("the batches were overwritten after Write: %w", err)
	}
	return r.with(ctx, "a", true, func(w opened[T], envelope []byte) error {
		if w.checkpointer != nil && string(envelope) != "envelope" {
			return fmt.Errorf("the envelope was overwritten after Commit: it is %s", short(envelope))
		}
		return nil
	})
}

func (r *sinkRun[T]) ruleClose(ctx context.Context) error {
	for _, resume := range []bool{false, true} {
		err := r.with(ctx, "a", resume, func(opened[T], []byte) error { return nil })
		if err != nil {
			return fmt.Errorf("without a Write: %w", err)
		}
	}
	staged := false
	err := r.with(ctx, "a", true, func(w opened[T], _ []byte) error {
		if staged = !w.plain(); !staged {
			return nil
		}
		if err := r.write(ctx, w, 0, 1); err != nil {
			return err
		}
		if w.flusher != nil && w.checkpointer == nil && w.flusher.Due() {
			staged = false // it may be durable already
		}
		return nil
	})
	if err != nil || !staged {
		return err
	}
	if err := r.holds(ctx, nil); err != nil {
		return fmt.Errorf("a record was written, and the writer closed before Flush or Commit: %w", err)
	}
	return nil
}

func (r *sinkRun[T]) ruleReopen(ctx context.Context) error {
	for i := range 3 {
		err := r.with(ctx, "a", i > 0, func(w opened[T], _ []byte) error {
			if err := r.write(ctx, w, 2*i, 2*i+2); err != nil {
				return err
			}
			return w.settle(ctx, "e")
		})
		if err != nil {
			return err
		}
		if err := r.holds(ctx, r.records(0, 2*i+2)); err != nil {
			return fmt.Errorf("after %d writers, all but the first with Resume: %w", i+1, err)
		}
	}
	return nil
}

func (r *sinkRun[T]) rulePartial(ctx context.Context) error {
	if r.Poison == nil {
		return nil
	}
	return r.with(ctx, "a", false, func(w opened[T], _ []byte) error {
		b := weaver.NewBatch[T](0, 0)
		*b.Add() = r.Record(0)
		*b.Add() = r.Poison()
		*b.Add() = r.Record(1)
		err := w.Write(ctx, b)
		var partial *weaver.BatchError
		switch {
		case err == nil && w.plain():
			return errors.New("Write of a poison record returns nil")
		case err == nil:
			if err = w.settle(ctx, "e"); err == nil {
				return errors.New("a poison record was written and made durable without an error")
			}
			if retry.ClassOf(err) != retry.ClassPoison {
				return fmt.Errorf("a poison record fails after Write with a %v error, want one marked with retry.Permanent, or it is tried for ever: %w", retry.ClassOf(err), err)
			}
			return r.holds(ctx, nil)
		case !errors.As(err, &partial):
			if c := retry.ClassOf(err); c != retry.ClassPoison {
				return fmt.Errorf("a poison record fails with a %v error, want a *BatchError or one marked with retry.Permanent, or it is tried for ever: %w", c, err)
			}
			return nil
		}
		want, err := r.judge(partial)
		if err != nil {
			return err
		}
		if err := r.write(ctx, w, 2, 3); err != nil {
			return fmt.Errorf("after a *BatchError: %w", err)
		}
		if err := w.settle(ctx, "e"); err != nil {
			return fmt.Errorf("after a *BatchError: %w", err)
		}
		if err := r.holds(ctx, append(want, r.Record(2))); err != nil {
			return fmt.Errorf("after a *BatchError (RolledBack %v) that names %d records, and another Write: %w", partial.RolledBack, len(partial.Records), err)
		}
		return nil
	})
}

// judge checks the BatchError of a batch whose second record of three is poison, and returns what is durable by it.
func (r *sinkRun[T]) judge(e *weaver.BatchError) ([]weaver.Record[T], error) {
	var seen []int
	for _, f := range e.Records {
		switch {
		case f.Index < 0 || f.Index > 2:
			return nil, fmt.Errorf("the *BatchError names record %d of a batch of 3", f.Index)
		case slices.Contains(seen, f.Index):
			return nil, fmt.Errorf("the *BatchError names record %d twice", f.Index)
		case f.Err == nil:
			return nil, fmt.Errorf("the *BatchError names record %d without an error", f.Index)
		}
		seen = append(seen, f.Index)
	}
	if !slices.Contains(seen, 1) && (!e.RolledBack || len(seen) > 0) {
		return nil, fmt.Errorf("the *BatchError names the records %v, and not the poison one, 1", seen)
	}
	if e.RolledBack {
		return nil, nil
	}
	var want []weaver.Record[T]
	for i, record := range map[int]int{0: 0, 2: 1} {
		if !slices.Contains(seen, i) {
			want = append(want, r.Record(record))
		}
	}
	if len(want) == 2 {
		want = r.records(0, 2)
	}
	return want, nil
}

func (r *sinkRun[T]) ruleCancel(ctx context.Context) error {
	w, _, err := r.restored(ctx, "a", false)
	if err != nil {
		return err
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.write(ended, w, 0, 1) // with or without an error
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return errors.New("Write goes on after its ctx has ended")
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("Close: %w", err)
	}
	return nil
}

func (r *sinkRun[T]) ruleConcurrent(ctx context.Context) error {
	const writers, each = 4, 25
	var open []opened[T]
	errs := make([]error, writers)
	for i := range writers {
		w, _, err := r.restored(ctx, strconv.Itoa(i), false)
		if err != nil {
			errs[i] = fmt.Errorf("when %d are open: %w", i, err)
			break
		}
		open = append(open, w)
	}
	if len(open) == writers {
		var wg sync.WaitGroup
		for i, w := range open {
			wg.Go(func() {
				mine := *r // with a batch of its own
				for n := i * each; n < (i+1)*each && errs[i] == nil; n += 5 {
					errs[i] = mine.write(ctx, w, n, n+5)
				}
				if errs[i] == nil {
					errs[i] = w.settle(ctx, "e")
				}
			})
		}
		wg.Wait()
	}
	for i, w := range open {
		if err := w.Close(); err != nil && errs[i] == nil {
			errs[i] = fmt.Errorf("Close: %w", err)
		}
	}
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("one of %d writers at once: %w", writers, err)
		}
	}
	all := *r
	all.Unordered = true
	return all.holds(ctx, r.records(0, writers*each))
}

func (r *sinkRun[T]) ruleFlush(ctx context.Context) error {
	w, err := r.open(ctx, "a", false)
	if err != nil {
		return err
	}
	if w.checkpointer == nil {
		return w.Close()
	}
	if w.flusher == nil {
		return errors.Join(errors.New("the writer is a Checkpointer and no Flusher, so that it can't be used where there is no envelope"), w.Close())
	}
	err = r.write(ctx, w, 0, 3)
	if err == nil {
		err = w.flusher.Flush(ctx)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	return r.holds(ctx, r.records(0, 3))
}
