package weavertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

func (r *frameworkRun) ruleCreate(ctx context.Context) error {
	name, err := r.create(ctx, 2)
	if err != nil {
		return err
	}
	for _, s := range []weaver.Stream{{Name: name, Partitions: 2}, {Name: name}} {
		if err := r.fw.CreateStream(ctx, s); err != nil {
			return fmt.Errorf("%+v, when there is one of 2 partitions: %w", s, err)
		}
	}
	m, err := r.join(ctx, name, "")
	if err != nil {
		return err
	}
	err = m.until(ctx, func() bool { return len(m.splits) >= 2 })
	return errors.Join(err, m.leave(ctx))
}

func (r *frameworkRun) ruleDiffers(ctx context.Context) error {
	name, err := r.create(ctx, 2)
	if err != nil {
		return err
	}
	err = r.fw.CreateStream(ctx, weaver.Stream{Name: name, Partitions: 3})
	if err == nil {
		return errors.New("CreateStream of 3 partitions returns nil, when there are 2")
	}
	if !strings.Contains(err.Error(), name) {
		return fmt.Errorf("the error doesn't name the stream %q: %w", name, err)
	}
	return nil
}

func (r *frameworkRun) ruleUnknown(ctx context.Context) error {
	name := r.name("missing")
	for what, use := range map[string]func() error{
		"consuming": func() error {
			m, err := r.join(ctx, name, r.name("group"))
			if err != nil {
				return err
			}
			err = m.change(ctx)
			for _, id := range m.ids() {
				err = errors.Join(err, m.read(ctx, id, 1))
			}
			return errors.Join(err, m.leave(ctx))
		},
		"producing": func() error { return r.produce(ctx, name, keyedRecords(0, 1, 1)...) },
	} {
		err := use()
		switch {
		case err == nil:
			return fmt.Errorf("%s a stream that doesn't exist works", what)
		case ctx.Err() != nil:
			return fmt.Errorf("%s a stream that doesn't exist waits: %w", what, err)
		case !strings.Contains(err.Error(), name):
			return fmt.Errorf("%s a stream that doesn't exist: the error doesn't name %q: %w", what, name, err)
		}
	}
	return nil
}

func (r *frameworkRun) ruleRoundTrip(ctx context.Context) error {
	name, err := r.create(ctx, 1)
	if err != nil {
		return err
	}
	when := time.UnixMilli(1_700_000_000_123).UTC()
	want := []weaver.Record[[]byte]{
		{Key: []byte("k"), Value: []byte("v"), Time: when, Headers: weaver.Headers{{Key: "b", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "b", Value: []byte("3")}}},
		{Key: nil, Value: []byte("no key"), Time: when},
		{Key: []byte{}, Value: []byte("an empty key"), Time: when},
		{Key: []byte("\x00\xff"), Value: []byte{}, Time: when},
		{Key: []byte("large"), Value: []byte(strings.Repeat("0123456789", 10_000)), Time: when, Headers: weaver.Headers{{Key: "empty", Value: []byte{}}}},
		{Key: []byte("k"), Op: weaver.Delete, Time: when},
	}
	if err := r.produce(ctx, name, want...); err != nil {
		return err
	}
	got, err := r.consume(ctx, name, "", false)
	if err != nil {
		return err
	}
	if len(got) != 1 {
		return fmt.Errorf("records come from %d splits of a stream with one partition", len(got))
	}
	for _, records := range got {
		err = sameRecords(want, records, equalRecords)
	}
	return err
}

func (r *frameworkRun) ruleOrder(ctx context.Context) error {
	const n, keys = 120, 6
	name, err := r.create(ctx, 4)
	if err != nil {
		return err
	}
	for from := 0; from < n; from += 40 { // by several writers
		if err := r.produce(ctx, name, keyedRecords(from, 40, keys)...); err != nil {
			return err
		}
	}
	got, err := r.consume(ctx, name, "", false)
	if err != nil {
		return err
	}
	if err := exactly(n, values(got)); err != nil {
		return err
	}
	home, last := make(map[string]string), make(map[string]int)
	for id, records := range got {
		for _, rec := range records {
			key, v := string(rec.Key), values(map[string][]weaver.Record[[]byte]{"": {rec}})[0]
			if h, known := home[key]; known && h != id {
				return fmt.Errorf("key %q is in the splits %q and %q", key, h, id)
			}
			if before, known := last[key]; known && v < before {
				return fmt.Errorf("key %q: record %d comes after %d", key, v, before)
			}
			home[key], last[key] = id, v
		}
	}
	return nil
}

func (r *frameworkRun) ruleReplay(ctx context.Context) error {
	const n = 10
	name, err := r.create(ctx, 1)
	if err != nil {
		return err
	}
	records := keyedRecords(0, n, 3)
	if err := r.produce(ctx, name, records...); err != nil {
		return err
	}
	for _, group := range []string{"", r.name("group")} {
		if err := r.replay(ctx, name, group, records); err != nil {
			return fmt.Errorf("group %q: %w", group, err)
		}
	}
	return nil
}

// replay reads and acknowledges everything, and then again from every position.
func (r *frameworkRun) replay(ctx context.Context, stream, group string, want []weaver.Record[[]byte]) error {
	m, err := r.join(ctx, stream, group)
	if err != nil {
		return err
	}
	err = func() error {
		if err := m.until(ctx, func() bool { return len(m.splits) == 1 }); err != nil {
			return err
		}
		run := &sourceRun[[]byte]{SourceCase: SourceCase[[]byte]{Endless: true}, source: m.source, equal: orEqual[[]byte](nil)}
		split := m.splits[m.ids()[0]]
		var marks []mark
		err := run.read(ctx, split, nil, func(rd weaver.Reader[[]byte]) (err error) {
			if _, marks, err = run.drain(ctx, rd, 1, len(want)); err != nil {
				return err
			}
			if acker, ok := weaver.As[weaver.Acker](rd); ok && len(marks) > 0 {
				return acker.Ack(ctx, marks[len(marks)-1].position)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, at := range marks {
			if at.records == len(want) {
				continue
			}
			err := run.read(ctx, split, at.position, func(rd weaver.Reader[[]byte]) error {
				got, _, err := run.drain(ctx, rd, 0, len(want)-at.records)
				if err != nil {
					return err
				}
				for i := range got {
					if string(got[i].Value) != string(want[at.records+i].Value) {
						return fmt.Errorf("record %d is %s, want %s", i, describe(got[i]), describe(want[at.records+i]))
					}
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("at the position behind %d records: %w", at.records, err)
			}
		}
		return nil
	}()
	return errors.Join(err, m.crash(ctx))
}

func (r *frameworkRun) ruleNoGroup(ctx context.Context) error {
	const n = 20
	name, err := r.create(ctx, 3)
	if err != nil {
		return err
	}
	if err := r.produce(ctx, name, keyedRecords(0, n, 10)...); err != nil {
		return err
	}
	for _, when := range []string{"at first", "again"} {
		got, err := r.consume(ctx, name, "", true)
		if err == nil {
			err = exactly(n, values(got))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", when, err)
		}
	}
	return nil
}

func (r *frameworkRun) ruleGroups(ctx context.Context) error {
	const n = 20
	name, err := r.create(ctx, 2)
	if err != nil {
		return err
	}
	if err := r.produce(ctx, name, keyedRecords(0, n, 10)...); err != nil {
		return err
	}
	for _, group := range []string{"one", "two"} {
		got, err := r.consume(ctx, name, r.name(group), true)
		if err == nil {
			err = exactly(n, values(got))
		}
		if err != nil {
			return fmt.Errorf("group %s: %w", group, err)
		}
	}
	return nil
}

func (r *frameworkRun) rulePositions(ctx context.Context) error {
	const n = 30
	name, err := r.create(ctx, 2)
	if err != nil {
		return err
	}
	group := r.name("group")
	if err := r.produce(ctx, name, keyedRecords(0, n, 10)...); err != nil {
		return err
	}
	first, err := r.consume(ctx, name, group, true)
	if err != nil {
		return err
	}
	if err := exactly(n, values(first)); err != nil {
		return err
	}
	if err := r.produce(ctx, name, keyedRecords(n, n, 10)...); err != nil {
		return err
	}
	lost, err := r.consume(ctx, name, group, false) // reads, acknowledges nothing and is gone
	if err != nil {
		return err
	}
	for i, got := range []map[string][]weaver.Record[[]byte]{lost, nil} {
		if i == 1 {
			if got, err = r.consume(ctx, name, group, true); err != nil {
				return err
			}
		}
		if err := exactly(2*n, values(first, got)); err != nil {
			return fmt.Errorf("what the group's first member acknowledged and what member %d after it read, together: %w", i+1, err)
		}
	}
	none, err := r.consume(ctx, name, group, true)
	if err != nil {
		return err
	}
	if got := values(none); len(got) > 0 {
		return fmt.Errorf("when all is acknowledged, the next member reads %d", got)
	}
	return nil
}

// shared returns two members of a group that have shared four partitions, all of which the first had before.
func (r *frameworkRun) shared(ctx context.Context, stream, group string, use func(a, b *member) error) error {
	a, err := r.join(ctx, stream, group)
	if err != nil {
		return err
	}
	err = a.until(ctx, func() bool { return len(a.splits) == 4 })
	if err != nil {
		return errors.Join(fmt.Errorf("the only member: %w", err), a.crash(ctx))
	}
	b, err := r.join(ctx, stream, group)
	if err != nil {
		return errors.Join(err, a.crash(ctx))
	}
	if err = r.settle(ctx, a, b); err == nil {
		err = use(a, b)
	}
	return errors.Join(err, a.crash(ctx), b.crash(ctx))
}

// settle lets two members carry out changes, at once, until they have shared four partitions.
func (r *frameworkRun) settle(ctx context.Context, a, b *member) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := make(chan error)
	errs := make(chan error, 2)
	turn := make(chan struct{}, 1) // one of the two changes at a time
	turn <- struct{}{}
	watch := func(m *member) {
		for {
			c, err := m.session.Next(ctx)
			if err == nil {
				<-turn
				err = m.carryOut(ctx, c)
				turn <- struct{}{}
			}
			if ctx.Err() != nil {
				errs <- nil
				return
			}
			if err != nil {
				errs <- err
				return
			}
			select {
			case changed <- nil:
			case <-ctx.Done():
			}
		}
	}
	go watch(a)
	go watch(b)
	var err error
	running := 2
	for err == nil {
		select {
		case <-changed:
		case err = <-errs:
			running--
			continue
		}
		<-turn
		even := len(a.splits) == 2 && len(b.splits) == 2
		err = disjoint(a, b)
		turn <- struct{}{}
		if even {
			break
		}
	}
	cancel()
	for range running {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		return fmt.Errorf("the members have %q and %q of 4 splits: %w", a.ids(), b.ids(), err)
	}
	return nil
}

// disjoint checks that no split has two owners.
func disjoint(a, b *member) error {
	for id := range a.splits {
		if _, both := b.splits[id]; both {
			return fmt.Errorf("both members have split %q", id)
		}
	}
	return nil
}

func (r *frameworkRun) ruleShare(ctx context.Context) error {
	const n = 40
	name, err := r.create(ctx, 4)
	if err != nil {
		return err
	}
	if err := r.produce(ctx, name, keyedRecords(0, n, 20)...); err != nil {
		return err
	}
	return r.shared(ctx, name, r.name("group"), func(a, b *member) error {
		for _, m := range []*member{a, b} {
			for _, id := range m.ids() {
				if err := m.readToEnd(ctx, id); err != nil {
					return err
				}
			}
		}
		return exactly(n, values(a.got, b.got))
	})
}

func (r *frameworkRun) ruleHandOver(ctx context.Context) error {
	const n = 80
	name, err := r.create(ctx, 4)
	if err != nil {
		return err
	}
	if err := r.produce(ctx, name, keyedRecords(0, n, 40)...); err != nil {
		return err
	}
	return r.shared(ctx, name, r.name("group"), func(a, b *member) error {
		acked := make(map[string][]weaver.Record[[]byte])
		for _, id := range b.ids() { // read some, acknowledge that, read some more, and go
			if err := b.read(ctx, id, 2); err != nil {
				return err
			}
			if err := b.ack(ctx, id); err != nil {
				return err
			}
			acked[id] = slices.Clone(b.got[id])
			if err := b.read(ctx, id, 1); err != nil {
				return err
			}
		}
		gone := maps.Clone(b.splits)
		if err := b.crash(ctx); err != nil {
			return err
		}
		b.splits, b.session = nil, closed{}
		if err := a.until(ctx, func() bool { return len(a.splits) == 4 }); err != nil {
			return fmt.Errorf("when the other has left: %w", err)
		}
		for _, id := range a.ids() {
			if err := a.readToEnd(ctx, id); err != nil {
				return err
			}
		}
		if err := atLeast(n, values(acked, a.got)); err != nil {
			return fmt.Errorf("what the one that left acknowledged, and what the other read: %w", err)
		}
		for id := range gone {
			if err := exactly(len(acked[id])+len(a.got[id]), ranks(acked[id], a.got[id])); err != nil {
				return fmt.Errorf("split %q goes on elsewhere than behind the last Ack: %w", id, err)
			}
		}
		return nil
	})
}

// ranks gives the values of lists, one after the other, the numbers 0.. in their order, so that exactly finds twice
// ones.
func ranks(lists ...[]weaver.Record[[]byte]) []int {
	seen := make(map[string]int)
	var out []int
	for _, list := range lists {
		for _, rec := range list {
			v := string(rec.Value)
			if _, known := seen[v]; !known {
				seen[v] = len(seen)
			}
			out = append(out, seen[v])
		}
	}
	slices.Sort(out)
	return out
}

// closed is the session of a member that has left.
type closed struct{ weaver.Splits }

func (closed) Close() error { return nil }
