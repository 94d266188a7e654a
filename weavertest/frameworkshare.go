package weavertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	weaver "github.com/bohica-labs/dataweaver"
)

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
	changed := make(chan struct{})
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
			case changed <- struct{}{}:
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
