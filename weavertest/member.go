package weavertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	weaver "github.com/bohica-labs/dataweaver"
)

// member is one that consumes a stream: it does what the engine does with a Splits session, one call at a time.
type member struct {
	source  weaver.Source[[]byte]
	session weaver.Splits
	acks    bool
	splits  map[string]weaver.Split
	readers map[string]weaver.Reader[[]byte]
	got     map[string][]weaver.Record[[]byte]
	last    map[string]weaver.Position // behind what was read
}

// join opens a session.
func (r *frameworkRun) join(ctx context.Context, stream, group string) (*member, error) {
	m := &member{
		source:  r.fw.Consume(stream, group),
		acks:    true,
		splits:  make(map[string]weaver.Split),
		readers: make(map[string]weaver.Reader[[]byte]),
		got:     make(map[string][]weaver.Record[[]byte]),
		last:    make(map[string]weaver.Position),
	}
	splitter, ok := weaver.As[weaver.Splitter](m.source)
	if !ok {
		return nil, errors.New("what Consume returns is no Splitter")
	}
	var err error
	if m.session, err = splitter.Splits(ctx); err != nil {
		return nil, fmt.Errorf("Splits: %w", err)
	}
	return m, nil
}

// change waits for the next change and carries it out.
func (m *member) change(ctx context.Context) error {
	c, err := m.session.Next(ctx)
	if err != nil {
		return err
	}
	return m.carryOut(ctx, c)
}

// carryOut gives up what is revoked and takes what is added.
func (m *member) carryOut(ctx context.Context, c weaver.Change) error {
	for _, id := range c.Revoke {
		if _, mine := m.splits[id]; !mine {
			continue
		}
		if err := m.release(ctx, id); err != nil {
			return err
		}
		delete(m.splits, id)
	}
	for _, s := range c.Add {
		if _, twice := m.splits[s.ID]; twice {
			return fmt.Errorf("split %q is added to a member that has it", s.ID)
		}
		m.splits[s.ID] = s
	}
	return nil
}

// until carries out changes until the member has what it should.
func (m *member) until(ctx context.Context, enough func() bool) error {
	for !enough() {
		if err := m.change(ctx); err != nil {
			return fmt.Errorf("Next, with the splits %q: %w", m.ids(), err)
		}
	}
	return nil
}

// ids returns the splits that the member has.
func (m *member) ids() []string { return slices.Sorted(maps.Keys(m.splits)) }

// reader opens the split if it isn't open.
func (m *member) reader(ctx context.Context, id string) (weaver.Reader[[]byte], error) {
	if rd := m.readers[id]; rd != nil {
		return rd, nil
	}
	rd, err := m.source.OpenReader(ctx, weaver.Lane{Pipeline: "weavertest", Split: m.splits[id], Log: quiet})
	if err != nil {
		return nil, fmt.Errorf("OpenReader of split %q: %w", id, err)
	}
	m.readers[id] = rd
	return rd, nil
}

// read reads a split until at least so many more records are there.
func (m *member) read(ctx context.Context, id string, n int) error {
	rd, err := m.reader(ctx, id)
	if err != nil {
		return err
	}
	b := weaver.NewBatch[[]byte](3, 0)
	for n > 0 {
		b.Reset()
		p, err := rd.Read(ctx, b)
		m.take(id, b, p)
		n -= len(b.Records)
		if errors.Is(err, weaver.ErrFull) {
			err = m.ack(ctx, id)
		}
		if err != nil {
			return fmt.Errorf("Read of split %q: %w", id, err)
		}
	}
	return nil
}

func (m *member) take(id string, b *weaver.Batch[[]byte], p weaver.Position) {
	for i := range b.Records {
		m.got[id] = append(m.got[id], cloneRecord(b.Records[i], slices.Clone))
	}
	if p != nil {
		m.last[id] = slices.Clone(p)
	}
}

// ack acknowledges what was read of a split.
func (m *member) ack(ctx context.Context, id string) error {
	acker, ok := weaver.As[weaver.Acker](m.readers[id])
	if !ok || m.last[id] == nil {
		return nil
	}
	if err := acker.Ack(ctx, m.last[id]); err != nil {
		return fmt.Errorf("Ack of split %q: %w", id, err)
	}
	return nil
}

// release acknowledges and closes a split.
func (m *member) release(ctx context.Context, id string) error {
	rd := m.readers[id]
	if rd == nil {
		return nil
	}
	delete(m.readers, id)
	var err error
	if m.acks && m.last[id] != nil {
		if acker, ok := weaver.As[weaver.Acker](rd); ok {
			err = acker.Ack(ctx, m.last[id])
		}
	}
	delete(m.last, id)
	if err := errors.Join(err, rd.Close()); err != nil {
		return fmt.Errorf("Ack and Close of split %q: %w", id, err)
	}
	return nil
}

// leave releases everything and ends the session.
func (m *member) leave(ctx context.Context) error {
	var errs []error
	for _, id := range m.ids() {
		errs = append(errs, m.release(ctx, id))
	}
	return errors.Join(append(errs, m.session.Close())...)
}

// crash closes everything without an Ack.
func (m *member) crash(ctx context.Context) error {
	m.acks = false
	return m.leave(ctx)
}

// drain finishes the session and all its splits, reads to the end, leaves, and returns what was read.
func (m *member) drain(ctx context.Context) (map[string][]weaver.Record[[]byte], error) {
	err := func() error {
		if f, ok := weaver.As[weaver.Finisher](m.session); ok {
			if err := f.Finish(ctx); err != nil {
				return fmt.Errorf("Finish of the Splits session: %w", err)
			}
		}
		for {
			err := m.change(ctx)
			if ended(err) {
				break
			}
			if err != nil {
				return fmt.Errorf("Next after Finish, with the splits %q: %w", m.ids(), err)
			}
		}
		for _, id := range m.ids() {
			if err := m.readToEnd(ctx, id); err != nil {
				return err
			}
		}
		return nil
	}()
	return m.got, errors.Join(err, m.leave(ctx))
}

// readToEnd reads a split to the end of what is there.
func (m *member) readToEnd(ctx context.Context, id string) error {
	rd, err := m.reader(ctx, id)
	if err != nil {
		return err
	}
	f, ok := weaver.As[weaver.Finisher](rd)
	if !ok {
		return errors.New("the reader is no Finisher")
	}
	if err := f.Finish(ctx); err != nil {
		return fmt.Errorf("Finish: %w", err)
	}
	for err == nil {
		err = m.read(ctx, id, 1)
	}
	if ended(err) {
		return nil
	}
	return err
}
