package weaver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bohica-labs/dataweaver/retry"
)

// Route writes each record to the one sink whose name in the map pick returns for it. Pick is a pure function: it
// always names the same sink for a record, changes nothing and keeps nothing. Of a Delete only the key is certain. A
// name that is not in the map, and a panic, are poison for that record alone.
//
// Order is kept among the records of one sink. Those of one key have to go to one sink if their order matters. The
// whole is at-least-once, whatever the sinks: one that could keep the checkpoint itself (Checkpointer) is flushed
// instead. Where one sink is out or rolls back, what the others have taken of the same batch is written to them again,
// and the whole waits.
//
// A Writer of every sink is opened at the start: whether they buffer is asked then, and a sink that can't be reached
// shows then, not with the first record for it.
func Route[T any](pick func(r *Record[T]) string, sinks map[string]Sink[T]) Sink[T] {
	s := router[T]{pick: pick, names: slices.Sorted(maps.Keys(sinks))}
	for _, name := range s.names {
		s.sinks = append(s.sinks, sinks[name])
	}
	return s
}

type router[T any] struct {
	pick  func(*Record[T]) string
	names []string
	sinks []Sink[T] // in the order of names
}

var _ HealthChecker = router[int]{}

// String names the routes.
func (s router[T]) String() string { return "weaver.Route(" + strings.Join(s.names, ", ") + ")" }

func (s router[T]) name(i int) string {
	return fmt.Sprintf("route %q (%s)", s.names[i], sinkName(s.sinks[i]))
}

// CheckHealth asks all sinks that can be asked.
func (s router[T]) CheckHealth(ctx context.Context) error { return checkSinks(ctx, s.sinks, s.name) }

// OpenWriter opens a Writer of each sink.
func (s router[T]) OpenWriter(ctx context.Context, at Lane) (Writer[T], error) {
	switch {
	case s.pick == nil:
		return nil, retry.Fatal(errors.New("weaver.Route: the function that picks a route is nil"))
	case len(s.sinks) == 0:
		return nil, retry.Fatal(errors.New("weaver.Route of no sink: there is nowhere to write to"))
	}
	w := &routeWriter[T]{pick: s.pick, names: s.names, byName: make(map[string]*branch[T], len(s.sinks))}
	for i, sink := range s.sinks {
		if err := w.open(ctx, s.name(i), sink, at); err != nil {
			return nil, errors.Join(err, w.Close())
		}
		w.byName[s.names[i]] = w.all[i]
	}
	return w.front(w), nil
}

type routeWriter[T any] struct {
	branches[T]
	pick   func(*Record[T]) string
	names  []string
	byName map[string]*branch[T]
	used   []*branch[T] // by a batch, in the order of their first records
}

// Write sorts the records by route and writes to one after the other.
func (w *routeWriter[T]) Write(ctx context.Context, b *Batch[T]) error {
	defer w.drop()
	var f failures
	var x *branch[T]
	last := ""
	for i := range b.Records {
		name, err := w.route(&b.Records[i])
		if err == nil && (x == nil || name != last) {
			last = name
			if x = w.byName[name]; x == nil {
				err = w.unknown(name)
			}
		}
		if err != nil {
			f.records = append(f.records, RecordError{Index: i, Err: err})
			continue
		}
		if len(x.index) == 0 {
			w.used = append(w.used, x)
			x.part.limit(b.maxRecords, b.maxBytes)
			x.part.End = b.End
		}
		x.take(&b.Records[i], i)
	}
	for _, x := range w.used {
		if !x.write(ctx, &x.part, &f) {
			break
		}
	}
	return f.err()
}

func (w *routeWriter[T]) drop() {
	for _, x := range w.used {
		x.drop()
	}
	clear(w.used)
	w.used = w.used[:0]
}

// route asks pick, of which a panic is the record's own failure.
func (w *routeWriter[T]) route(r *Record[T]) (name string, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = recovered(v)
		}
	}()
	return w.pick(r), nil
}

func (w *routeWriter[T]) unknown(name string) error {
	const most = 100 // it may come from the record
	shown := name
	if len(shown) > most {
		shown = shown[:most] + "…"
	}
	return retry.Permanent(fmt.Errorf("there is no route %q, only %s", shown, strings.Join(w.names, ", ")))
}
