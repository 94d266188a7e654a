package weavertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

func (r *frameworkRun) ruleFinish(ctx context.Context) error {
	const n = 5
	name, err := r.create(ctx, 1)
	if err != nil {
		return err
	}
	if err := r.produce(ctx, name, keyedRecords(0, n, n)...); err != nil {
		return err
	}
	m, err := r.join(ctx, name, r.name("group"))
	if err != nil {
		return err
	}
	err = func() error {
		if err := m.until(ctx, func() bool { return len(m.splits) == 1 }); err != nil {
			return err
		}
		id := m.ids()[0]
		if err := m.read(ctx, id, n); err != nil {
			return err
		}
		rd := m.readers[id]
		atRead, readable := weaver.As[weaver.Finisher](rd)
		atNext, nextable := weaver.As[weaver.Finisher](m.session)
		if !readable || !nextable {
			return errors.New("a reader or the Splits session is no Finisher")
		}
		reads, nexts := make(chan error, 1), make(chan error, 1)
		go func() { // waits for what doesn't come
			b := weaver.NewBatch[[]byte](0, 0)
			_, err := rd.Read(ctx, b)
			if len(b.Records) > 0 {
				err = fmt.Errorf("%d records more than there are", len(b.Records))
			}
			reads <- err
		}()
		go func() {
			_, err := m.session.Next(ctx)
			nexts <- err
		}()
		<-time.After(glance)
		err := errors.Join(atNext.Finish(ctx), atRead.Finish(ctx))
		if err != nil {
			err = fmt.Errorf("Finish: %w", err)
		}
		if e := <-reads; e != io.EOF && err == nil { //nolint:errorlint // the contract is io.EOF itself
			err = fmt.Errorf("a Read that waits at Finish returns %w, want io.EOF", orNil(e))
		}
		if e := <-nexts; e != io.EOF && err == nil { //nolint:errorlint // the contract is io.EOF itself
			err = fmt.Errorf("a Next that waits at Finish returns %w, want io.EOF", orNil(e))
		}
		return err
	}()
	return errors.Join(err, m.leave(ctx))
}

func (r *frameworkRun) ruleClose(ctx context.Context) error {
	name, err := r.create(ctx, 1)
	if err != nil {
		return err
	}
	m, err := r.join(ctx, name, r.name("group"))
	if err != nil {
		return err
	}
	if err := m.until(ctx, func() bool { return len(m.splits) == 1 }); err != nil {
		return errors.Join(err, m.crash(ctx))
	}
	rd, err := m.reader(ctx, m.ids()[0])
	if err != nil {
		return errors.Join(err, m.crash(ctx))
	}
	w, err := r.fw.Produce(name).OpenWriter(ctx, weaver.Lane{Pipeline: "weavertest", Log: quiet})
	if err != nil {
		return errors.Join(err, m.crash(ctx))
	}
	reads := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			_, err = rd.Read(ctx, weaver.NewBatch[[]byte](0, 0))
		}
		reads <- err
	}()
	r.closed = true
	if err := r.fw.Close(); err != nil {
		return fmt.Errorf("Close: %w", err)
	}
	err = func() error {
		if err := <-reads; ctx.Err() != nil || ended(err) {
			return fmt.Errorf("after Close of the framework, Read returns %w, want an error that says so, soon", orNil(err))
		}
		s := &sinkRun[[]byte]{sink: r.fw.Produce(name)}
		b := weaver.NewBatch[[]byte](0, 0)
		b.Add().Value = []byte("late")
		err := w.Write(ctx, b)
		if f, ok := weaver.As[weaver.Flusher](w); ok && err == nil {
			err = f.Flush(ctx)
		}
		if err == nil || ctx.Err() != nil {
			return fmt.Errorf("after Close of the framework, a writer's Write and Flush return %w, want an error that says so, soon", orNil(err))
		}
		if err := s.with(ctx, "0", false, func(opened[[]byte], []byte) error { return nil }); err == nil {
			return errors.New("after Close of the framework, writers can be opened")
		}
		return nil
	}()
	_ = w.Close()
	_ = m.crash(ctx) // what Close of these returns is theirs
	return err
}
