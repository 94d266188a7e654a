package weavertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

func (r *sourceRun[T]) ruleAck(ctx context.Context) error {
	return r.with(ctx, nil, func(rd weaver.Reader[T]) error {
		acker, ok := weaver.As[weaver.Acker](rd)
		if !ok {
			return nil
		}
		acks := make(chan weaver.Position)
		acked := make(chan error, 1)
		go func() {
			var failed error
			for p := range acks {
				if err := acker.Ack(ctx, p); err != nil && failed == nil {
					failed = fmt.Errorf("Ack(%q) beside Read: %w", p, err)
				}
			}
			acked <- failed
		}()
		var last weaver.Position
		readErr := func() error {
			b := weaver.NewBatch[T](1, 0)
			for n := 0; n < len(r.Want[r.main]); {
				b.Reset()
				p, err := rd.Read(ctx, b)
				n += len(b.Records)
				if p != nil {
					if last != nil {
						acks <- last // the Ack runs beside the next Read
					}
					last = slices.Clone(p)
				}
				if errors.Is(err, weaver.ErrFull) && last != nil {
					acks <- last
					last, err = nil, nil
				}
				if err != nil {
					return only(err, io.EOF)
				}
			}
			return nil
		}()
		close(acks)
		if err := errors.Join(<-acked, readErr); err != nil || last == nil || !r.Endless {
			return err
		}
		return r.ackBesideWaiting(ctx, rd, acker, last)
	})
}

// ackBesideWaiting acknowledges while a Read waits.
func (r *sourceRun[T]) ackBesideWaiting(ctx context.Context, rd weaver.Reader[T], acker weaver.Acker, p weaver.Position) error {
	readCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = rd.Read(readCtx, weaver.NewBatch[T](1, 0)) // ends with readCtx
	}()
	<-time.After(glance)
	acked := make(chan error, 1)
	go func() { acked <- acker.Ack(ctx, p) }()
	var err error
	select {
	case err = <-acked:
		cancel()
	case <-ctx.Done():
		<-acked
		err = errors.New("Ack doesn't return while Read waits")
	}
	<-read
	return err
}

func (r *sourceRun[T]) ruleRedeliver(ctx context.Context) error {
	want := r.Want[r.main]
	return r.withSplits(ctx, func(splits map[string]weaver.Split) error {
		acked, acks := 0, false
		err := r.read(ctx, splits[r.main], nil, func(rd weaver.Reader[T]) error {
			acker, ok := weaver.As[weaver.Acker](rd)
			if acks = ok; !ok {
				return nil
			}
			b := weaver.NewBatch[T](1, 0)
			for n := 0; n < len(want)-1; {
				b.Reset()
				p, err := rd.Read(ctx, b)
				n += len(b.Records)
				if p != nil && (acked == 0 || errors.Is(err, weaver.ErrFull)) && n > 0 {
					acked = n
					if err := acker.Ack(ctx, p); err != nil {
						return fmt.Errorf("Ack: %w", err)
					}
				}
				if err != nil {
					return only(err, io.EOF, weaver.ErrFull)
				}
			}
			return nil
		})
		if err != nil || !acks {
			return err
		}
		return r.read(ctx, splits[r.main], nil, func(rd weaver.Reader[T]) error {
			b := weaver.NewBatch[T](1, 0)
			_, err := rd.Read(ctx, b)
			if err := only(err, io.EOF, weaver.ErrFull); err != nil {
				return err
			}
			for i := range min(acked+1, len(want)) {
				if len(b.Records) > 0 && r.equal(want[i], b.Records[0]) {
					return nil
				}
			}
			got := "nothing"
			if len(b.Records) > 0 {
				got = describe(b.Records[0])
			}
			return fmt.Errorf("%d records were acknowledged, the next reader begins with %s, want %s or one before it", acked, got, describe(want[min(acked, len(want)-1)]))
		})
	})
}

func (r *sourceRun[T]) ruleCancel(ctx context.Context) error {
	return r.withSplits(ctx, func(splits map[string]weaver.Split) error {
		for _, endFirst := range []bool{true, false} {
			err := r.read(ctx, splits[r.main], nil, func(rd weaver.Reader[T]) error {
				if !endFirst && r.Endless {
					if _, _, err := r.drain(ctx, rd, 0, len(r.Want[r.main])); err != nil {
						return err
					}
				}
				readCtx, cancel := context.WithCancel(ctx)
				defer cancel()
				if endFirst {
					cancel()
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					_, _ = rd.Read(readCtx, weaver.NewBatch[T](0, 0)) // says ctx's error, or that it had something
				}()
				select {
				case <-done:
					return nil
				case <-time.After(glance):
				}
				cancel()
				select {
				case <-done:
					return nil
				case <-ctx.Done():
					return errors.New("Read goes on after its ctx has ended")
				}
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *sourceRun[T]) ruleFinish(ctx context.Context) error {
	return r.with(ctx, nil, func(rd weaver.Reader[T]) error {
		f, ok := weaver.As[weaver.Finisher](rd)
		if !ok {
			return nil
		}
		for range 2 {
			if err := f.Finish(ctx); err != nil {
				return fmt.Errorf("Finish: %w", err)
			}
		}
		bounded := *r
		bounded.Endless = false
		got, _, err := bounded.drain(ctx, rd, 2, len(r.Want[r.main]))
		if err != nil {
			return fmt.Errorf("after Finish: %w", err)
		}
		if err := sameRecords(r.Want[r.main], got, r.equal); err != nil {
			return fmt.Errorf("after Finish: %w", err)
		}
		return nil
	})
}

func (r *sourceRun[T]) ruleLag(ctx context.Context) error {
	return r.with(ctx, nil, func(rd weaver.Reader[T]) error {
		l, ok := weaver.As[weaver.LagReporter](rd)
		if !ok {
			return nil
		}
		if lag := l.Lag(); lag.Records == 0 {
			return fmt.Errorf("before the first Read the lag is %+v, want the %d records there are, or a negative number if it isn't known", lag, len(r.Want[r.main]))
		}
		if _, _, err := r.drain(ctx, rd, 0, len(r.Want[r.main])); err != nil {
			return err
		}
		if lag := l.Lag(); lag.Records > 0 {
			return fmt.Errorf("behind the last record the lag is %+v", lag)
		}
		return nil
	})
}

func (r *sourceRun[T]) ruleProgress(ctx context.Context) error {
	return r.with(ctx, nil, func(rd weaver.Reader[T]) error {
		m, ok := weaver.As[weaver.ProgressReporter](rd)
		if !ok {
			return nil
		}
		if p := m.Progress(); p.TotalRecords == 0 || p.TotalBytes == 0 {
			return fmt.Errorf("before the first Read the progress is %+v, want how much there is, or a negative number if it isn't known", p)
		}
		if _, _, err := r.drain(ctx, rd, 0, len(r.Want[r.main])); err != nil {
			return err
		}
		p := m.Progress()
		if p.Records >= 0 && p.Records < int64(len(r.Want[r.main])) || p.TotalRecords > p.Records || p.TotalBytes > p.Bytes {
			return fmt.Errorf("behind the last of %d records the progress is %+v", len(r.Want[r.main]), p)
		}
		return nil
	})
}

func (r *sourceRun[T]) ruleClose(ctx context.Context) error {
	return r.withSplits(ctx, func(splits map[string]weaver.Split) error {
		err := r.read(ctx, splits[r.main], nil, func(weaver.Reader[T]) error { return nil })
		if err != nil {
			return fmt.Errorf("without a Read: %w", err)
		}
		return r.read(ctx, splits[r.main], nil, func(rd weaver.Reader[T]) error {
			_, _, err := r.drain(ctx, rd, 0, len(r.Want[r.main]))
			return err
		})
	})
}

func (r *sourceRun[T]) ruleIndependent(ctx context.Context) error {
	if r.queue() {
		return nil
	}
	want := r.Want[r.main]
	return r.withSplits(ctx, func(splits map[string]weaver.Split) error {
		err := r.read(ctx, splits[r.main], nil, func(a weaver.Reader[T]) error {
			b := weaver.NewBatch[T](1, 0)
			if _, err := a.Read(ctx, b); only(err, io.EOF, weaver.ErrFull) != nil {
				return err
			}
			first := len(b.Records)
			err := r.read(ctx, splits[r.main], nil, func(b weaver.Reader[T]) error {
				got, _, err := r.drain(ctx, b, 2, len(want))
				if err != nil {
					return err
				}
				return sameRecords(want, got, r.equal)
			})
			if err != nil {
				return fmt.Errorf("a second reader: %w", err)
			}
			got, _, err := r.drain(ctx, a, 2, len(want)-first)
			if err != nil {
				return err
			}
			if err := sameRecords(want[first:], got, r.equal); err != nil {
				return fmt.Errorf("after a second reader has come and gone: %w", err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		errs := make([]error, 4)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				errs[i] = r.read(ctx, splits[r.main], nil, func(rd weaver.Reader[T]) error {
					got, _, err := r.drain(ctx, rd, 2, len(want))
					if err != nil {
						return err
					}
					return sameRecords(want, got, r.equal)
				})
			})
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				return fmt.Errorf("one of four at once: %w", err)
			}
		}
		return nil
	})
}
