package weavertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

func (r *sourceRun[T]) ruleSplits(ctx context.Context) error {
	splitter, ok := weaver.As[weaver.Splitter](r.source)
	if !ok {
		if !slices.Equal(r.ids, []string{""}) {
			return fmt.Errorf("the source is no Splitter, but Want has the splits %q", r.ids)
		}
		return nil
	}
	for _, which := range []string{"first", "second"} {
		splits, end, err := r.session(ctx)
		if err != nil {
			return fmt.Errorf("%s session: %w", which, err)
		}
		if got := slices.Sorted(maps.Keys(splits)); !slices.Equal(got, r.ids) {
			return errors.Join(fmt.Errorf("the %s session tells the splits %q, want %q", which, got, r.ids), end())
		}
		if err := end(); err != nil {
			return fmt.Errorf("Close of the %s session: %w", which, err)
		}
	}
	session, err := splitter.Splits(ctx)
	if err != nil {
		return err
	}
	known := make(map[string]bool)
	for len(known) < len(r.ids) {
		c, err := session.Next(ctx)
		if err != nil {
			return errors.Join(err, session.Close())
		}
		for _, s := range c.Add {
			known[s.ID] = true
		}
	}
	err = soon(ctx, func(ctx context.Context) error {
		c, err := session.Next(ctx)
		switch {
		case err == io.EOF, ctx.Err() != nil && err != nil: //nolint:errorlint // the contract is io.EOF itself
			return nil
		case err != nil:
			return fmt.Errorf("Next, when all splits are told, returns %w, want io.EOF or to wait", err)
		}
		return fmt.Errorf("Next, when all splits are told, tells another change: %+v", c)
	})
	return errors.Join(err, session.Close())
}

// soon calls f with a ctx that ends while f is running, as far as can be told.
func soon(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err := <-done:
		return err
	case <-time.After(glance):
		cancel()
		return <-done
	}
}

func (r *sourceRun[T]) ruleRead(ctx context.Context) error {
	return r.withSplits(ctx, func(splits map[string]weaver.Split) error {
		for _, id := range r.ids {
			err := r.read(ctx, splits[id], nil, func(rd weaver.Reader[T]) error {
				got, _, err := r.drain(ctx, rd, 2, len(r.Want[id]))
				if err != nil {
					return err
				}
				return sameRecords(r.Want[id], got, r.equal)
			})
			if err != nil {
				return fmt.Errorf("split %q: %w", id, err)
			}
		}
		return nil
	})
}

func (r *sourceRun[T]) ruleEOF(ctx context.Context) error {
	if r.Endless {
		return nil
	}
	return r.with(ctx, nil, func(rd weaver.Reader[T]) error {
		var marks []mark
		b := weaver.NewBatch[T](0, 0)
		for n := 0; ; {
			b.Reset()
			p, err := rd.Read(ctx, b)
			if n += len(b.Records); p != nil {
				marks = append(marks, mark{n, slices.Clone(p)})
			}
			switch {
			case err == io.EOF: //nolint:errorlint // the contract is io.EOF itself
				b.Reset()
				if _, err = rd.Read(ctx, b); err != io.EOF || len(b.Records) > 0 { //nolint:errorlint // the contract is io.EOF itself
					return fmt.Errorf("Read after io.EOF returns %d records and %w, want io.EOF again", len(b.Records), orNil(err))
				}
				return nil
			case errors.Is(err, weaver.ErrFull):
				if err := r.makeRoom(ctx, rd, marks); err != nil {
					return err
				}
			case err != nil:
				return fmt.Errorf("after the last record Read returns %[1]T %[1]w, want io.EOF itself", err)
			}
		}
	})
}

func (r *sourceRun[T]) ruleFull(ctx context.Context) error {
	return r.with(ctx, nil, func(rd weaver.Reader[T]) error {
		b := weaver.NewBatch[T](2, 0)
		_, err := rd.Read(ctx, b)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, weaver.ErrFull) {
			return err
		}
		if len(b.Records) > 2 {
			return fmt.Errorf("Read added %d records to a batch that is full at 2", len(b.Records))
		}
		return nil
	})
}

func (r *sourceRun[T]) ruleMemory(ctx context.Context) error {
	want := r.Want[r.main]
	return r.withSplits(ctx, func(splits map[string]weaver.Split) error {
		for _, which := range []string{"the same reader", "a later reader"} {
			n := 0
			err := r.read(ctx, splits[r.main], nil, func(rd weaver.Reader[T]) error {
				b := weaver.NewBatch[T](1, 0)
				for n < len(want) {
					b.Reset()
					p, err := rd.Read(ctx, b)
					for _, got := range b.Records {
						if n < len(want) && !r.equal(want[n], got) {
							return fmt.Errorf("after earlier batches were overwritten, %s reads record %d as %s, want %s", which, n, describe(got), describe(want[n]))
						}
						n++
					}
					if err := r.goOn(ctx, rd, p, err); err != nil {
						return only(err, io.EOF)
					}
					scribble(b)
				}
				return nil
			})
			if err != nil {
				return err
			}
			if r.queue() {
				return nil // what it delivers again may be another order
			}
		}
		return nil
	})
}

// goOn acknowledges p if a Read ended with ErrFull, and otherwise returns its error.
func (r *sourceRun[T]) goOn(ctx context.Context, rd weaver.Reader[T], p weaver.Position, err error) error {
	if !errors.Is(err, weaver.ErrFull) {
		return err
	}
	return r.makeRoom(ctx, rd, []mark{{position: p}})
}

// only returns err unless it is one of those that are fine.
func only(err error, fine ...error) error {
	for _, f := range fine {
		if errors.Is(err, f) {
			return nil
		}
	}
	return err
}

func (r *sourceRun[T]) rulePosition(ctx context.Context) error {
	return r.withSplits(ctx, func(splits map[string]weaver.Split) error {
		return r.read(ctx, splits[r.main], nil, func(rd weaver.Reader[T]) error {
			last := 0
			b := weaver.NewBatch[T](1, 0)
			for n := 0; n < len(r.Want[r.main]) || !r.Endless; {
				b.Reset()
				p, err := rd.Read(ctx, b)
				n += len(b.Records)
				if err := only(err, io.EOF, weaver.ErrFull); err != nil {
					return err
				}
				if p != nil {
					first := last == 0
					last = n
					if err := r.stable(ctx, splits[r.main], rd, p, first); err != nil {
						return fmt.Errorf("after %d records: %w", n, err)
					}
				}
				if err := r.goOn(ctx, rd, p, err); err != nil {
					break
				}
			}
			if n := len(r.Want[r.main]); last != n {
				return fmt.Errorf("there is no position behind all %d records: the last one is behind %d", n, last)
			}
			return nil
		})
	})
}

// stable checks that nothing but Read changes a position: not Lag, and not, if asked, another reader beside this one.
func (r *sourceRun[T]) stable(ctx context.Context, split weaver.Split, rd weaver.Reader[T], p weaver.Position, beside bool) error {
	if len(p) == 0 {
		return errors.New("the position is empty, which is too easily taken for none")
	}
	before := bytes.Clone(p)
	if l, ok := weaver.As[weaver.LagReporter](rd); ok {
		l.Lag()
	}
	if beside && !r.skips("independent") && !r.queue() {
		err := r.read(ctx, split, nil, func(other weaver.Reader[T]) error {
			_, err := other.Read(ctx, weaver.NewBatch[T](2, 0))
			return only(err, io.EOF, weaver.ErrFull)
		})
		if err != nil {
			return fmt.Errorf("another reader: %w", err)
		}
	}
	if !bytes.Equal(p, before) {
		return fmt.Errorf("position %q has become %q before the next Read", before, p)
	}
	return nil
}

func (r *sourceRun[T]) ruleResume(ctx context.Context) error {
	if r.queue() {
		return nil
	}
	want := r.Want[r.main]
	return r.withSplits(ctx, func(splits map[string]weaver.Split) error {
		var marks []mark
		for _, size := range []int{1, 3} {
			err := r.read(ctx, splits[r.main], nil, func(rd weaver.Reader[T]) error {
				_, m, err := r.drain(ctx, rd, size, len(want))
				marks = append(marks, m...)
				return err
			})
			if err != nil {
				return err
			}
		}
		for _, m := range marks {
			if m.records > len(want) || r.Endless && m.records == len(want) {
				continue // an endless source has nothing more to show
			}
			err := r.read(ctx, splits[r.main], m.position, func(rd weaver.Reader[T]) error {
				got, _, err := r.drain(ctx, rd, 2, len(want)-m.records)
				if err != nil {
					return err
				}
				return sameRecords(want[m.records:], got, r.equal)
			})
			if err != nil {
				return fmt.Errorf("at position %q, behind %d records: %w", m.position, m.records, err)
			}
		}
		return nil
	})
}
