package weavertest

import (
	"context"
	"errors"
	"fmt"
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
