package weavertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

// transactional calls f if the sink's writers are a Checkpointer.
func (r *sinkRun[T]) transactional(ctx context.Context, f func() error) error {
	w, err := r.open(ctx, "probe", false)
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("Close: %w", err)
	}
	if w.checkpointer == nil {
		return nil
	}
	return f()
}

// found checks what Restore returned.
func found(got []byte, want string) error {
	if string(got) != want {
		return fmt.Errorf("Restore returns %s, want %s, the envelope of the last Commit", short(got), short(want))
	}
	return nil
}

func (r *sinkRun[T]) ruleRestore(ctx context.Context) error {
	return r.transactional(ctx, func() error {
		for i, envelope := range []string{"one", "two", "three"} {
			err := r.with(ctx, "a", i > 0, func(w opened[T], got []byte) error {
				if i == 0 && got != nil {
					return fmt.Errorf("Restore returns %s before the first Commit, want nil", short(got))
				}
				if i > 0 {
					if err := found(got, []string{"one", "two", "three"}[i-1]); err != nil {
						return err
					}
				}
				if err := r.write(ctx, w, i, i+1); err != nil {
					return err
				}
				return w.settle(ctx, envelope)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *sinkRun[T]) ruleCommit(ctx context.Context) error {
	return r.transactional(ctx, func() error {
		err := r.with(ctx, "a", false, func(w opened[T], _ []byte) error {
			if err := w.settle(ctx, "nothing"); err != nil {
				return fmt.Errorf("with nothing staged: %w", err)
			}
			if err := r.write(ctx, w, 0, 3); err != nil {
				return err
			}
			if err := r.holds(ctx, nil); err != nil {
				return fmt.Errorf("before Commit: %w", err)
			}
			if err := w.settle(ctx, "three"); err != nil {
				return err
			}
			if err := r.holds(ctx, r.records(0, 3)); err != nil {
				return fmt.Errorf("after Commit: %w", err)
			}
			return r.write(ctx, w, 3, 5) // never committed
		})
		if err != nil {
			return err
		}
		err = r.with(ctx, "a", true, func(w opened[T], got []byte) error {
			if err := found(got, "three"); err != nil {
				return err
			}
			if err := w.settle(ctx, "still three"); err != nil {
				return fmt.Errorf("with nothing staged: %w", err)
			}
			return r.holds(ctx, r.records(0, 3))
		})
		if err != nil {
			return err
		}
		return r.with(ctx, "a", true, func(_ opened[T], got []byte) error { return found(got, "still three") })
	})
}

func (r *sinkRun[T]) ruleEnvelope(ctx context.Context) error {
	big := make([]byte, 1<<20)
	for i := range big {
		big[i] = byte(i * i >> 3)
	}
	return r.transactional(ctx, func() error {
		var last []byte
		for i, envelope := range [][]byte{{}, {0}, []byte("\xff\x00'\"\\\n%s$1"), big, []byte("small again")} {
			err := r.with(ctx, "a", i > 0, func(w opened[T], got []byte) error {
				if !bytes.Equal(got, last) {
					return fmt.Errorf("an envelope of %d bytes comes back as %d others, %s", len(last), len(got), short(got))
				}
				if err := w.checkpointer.Commit(ctx, slices.Clone(envelope)); err != nil {
					return fmt.Errorf("Commit with an envelope of %d bytes: %w", len(envelope), err)
				}
				last = envelope
				return nil
			})
			if err != nil {
				return err
			}
		}
		return r.with(ctx, "a", true, func(_ opened[T], got []byte) error { return found(got, string(last)) })
	})
}

func (r *sinkRun[T]) ruleFence(ctx context.Context) error {
	return r.transactional(ctx, func() error {
		old, _, err := r.restored(ctx, "a", false)
		if err != nil {
			return err
		}
		err = func() error {
			if err := r.write(ctx, old, 0, 2); err != nil {
				return err
			}
			if err := old.settle(ctx, "old"); err != nil {
				return err
			}
			if err := r.write(ctx, old, 2, 4); err != nil { // staged when the later writer comes
				return err
			}
			return r.with(ctx, "a", true, func(w opened[T], got []byte) error {
				if err := found(got, "old"); err != nil {
					return err
				}
				if old.settle(ctx, "late") == nil {
					return errors.New("the earlier writer's Commit returns nil after Restore of the later one")
				}
				if err := r.holds(ctx, r.records(0, 2)); err != nil {
					return fmt.Errorf("after the fenced writer tried to commit: %w", err)
				}
				if err := r.write(ctx, w, 2, 3); err != nil {
					return err
				}
				if err := w.settle(ctx, "new"); err != nil {
					return fmt.Errorf("of the later writer: %w", err)
				}
				return nil
			})
		}()
		closed := old.Close()
		if err != nil {
			return errors.Join(err, closed)
		}
		if err := r.holds(ctx, r.records(0, 3)); err != nil {
			return err
		}
		return r.with(ctx, "a", true, func(_ opened[T], got []byte) error { return found(got, "new") })
	})
}

func (r *sinkRun[T]) ruleSplits(ctx context.Context) error {
	splits := []string{"", "a", "A", "a/b", "..", "0", "ü \x00'"}
	return r.transactional(ctx, func() error {
		for i, id := range splits {
			err := r.with(ctx, id, false, func(w opened[T], got []byte) error {
				if got != nil {
					return fmt.Errorf("split %q begins with the envelope %s of another", id, short(got))
				}
				if err := r.write(ctx, w, i, i+1); err != nil {
					return err
				}
				return w.settle(ctx, "of "+id)
			})
			if err != nil {
				return err
			}
		}
		for _, id := range splits {
			err := r.with(ctx, id, true, func(_ opened[T], got []byte) error { return found(got, "of "+id) })
			if err != nil {
				return fmt.Errorf("split %q: %w", id, err)
			}
		}
		return nil
	})
}
