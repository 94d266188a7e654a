package weavertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

// FrameworkCase is what TestFramework needs to know about a framework.
type FrameworkCase struct {
	// New returns a framework. It is called before each rule, which uses streams and groups of new names and closes the
	// framework in the end.
	New func(ctx context.Context) (weaver.Framework, error)

	Prefix   string        // of the names of streams and groups; default "weavertest-"
	Patience time.Duration // how long a rule may take; default 10 s, a broker that rebalances slowly needs more
	Skip     []string      // names of rules that don't apply; default: none
	Idle     func()        // lets go of what may outlive Close; default: nothing
}

// TestFramework checks that a framework keeps its contract, and returns nil or a *RuleError that names the first rule it
// breaks:
//
//   - create: a stream that exists as asked for is no error, also where zero fields leave the choice
//   - differs: a stream that exists with other partitions is an error that names it
//   - unknown stream: consuming or producing one is an error that names it, within Patience
//   - round trip: key, value, headers and time come back, a nil key apart from an empty one; a Delete is a Delete
//   - order: records of a key share a partition and keep their order
//   - replay: a partition is read again from any position
//   - no group: without a group all is read, and again the next time
//   - groups: two groups see everything
//   - positions: a group goes on behind what it has acknowledged
//   - share: two members share the partitions
//   - hand over: what a member leaves behind is read by the other, and nothing is lost
//   - finish: Finish ends a Next and a Read that wait (all rules before rely on it to end behind what is there)
//   - close: Close of the framework ends what it has opened
//   - leak: no goroutine is left (checked after each of the others)
//
// TestSource and TestSink fit what the framework opens, too.
func TestFramework(ctx context.Context, c FrameworkCase) error {
	if c.New == nil {
		return errors.New("weavertest: FrameworkCase needs New")
	}
	if c.Prefix == "" {
		c.Prefix = "weavertest-"
	}
	return suite[*frameworkRun]{
		rules: []rule[*frameworkRun]{
			{"create", (*frameworkRun).ruleCreate},
			{"differs", (*frameworkRun).ruleDiffers},
			{"unknown stream", (*frameworkRun).ruleUnknown},
			{"round trip", (*frameworkRun).ruleRoundTrip},
			{"order", (*frameworkRun).ruleOrder},
			{"replay", (*frameworkRun).ruleReplay},
			{"no group", (*frameworkRun).ruleNoGroup},
			{"groups", (*frameworkRun).ruleGroups},
			{"positions", (*frameworkRun).rulePositions},
			{"share", (*frameworkRun).ruleShare},
			{"hand over", (*frameworkRun).ruleHandOver},
			{"finish", (*frameworkRun).ruleFinish},
			{"close", (*frameworkRun).ruleClose},
		},
		skip:     c.Skip,
		patience: c.Patience,
		idle:     c.Idle,
		begin: func(ctx context.Context) (*frameworkRun, error) {
			fw, err := c.New(ctx)
			return &frameworkRun{FrameworkCase: c, fw: fw, id: strconv.FormatUint(rand.Uint64(), 36)}, err
		},
		end: func(_ context.Context, r *frameworkRun) error {
			if r.closed {
				return nil
			}
			if err := r.fw.Close(); err != nil {
				return fmt.Errorf("Close of the framework: %w", err)
			}
			return nil
		},
	}.run(ctx)
}

// frameworkRun is the check of one rule.
type frameworkRun struct {
	FrameworkCase
	fw weaver.Framework
	id string // makes names new

	closed bool // the rule has closed the framework
}

// name returns the name of a stream or a group of this rule.
func (r *frameworkRun) name(of string) string { return r.Prefix + of + "-" + r.id }

// create makes a stream of so many partitions and returns its name.
func (r *frameworkRun) create(ctx context.Context, partitions int) (string, error) {
	name := r.name("stream")
	if err := r.fw.CreateStream(ctx, weaver.Stream{Name: name, Partitions: partitions}); err != nil {
		return "", fmt.Errorf("CreateStream: %w", err)
	}
	return name, nil
}

// produce writes records, in batches of a few, and makes them durable.
func (r *frameworkRun) produce(ctx context.Context, stream string, records ...weaver.Record[[]byte]) error {
	s := &sinkRun[[]byte]{sink: r.fw.Produce(stream)}
	return s.with(ctx, "0", false, func(w opened[[]byte], _ []byte) error {
		b := weaver.NewBatch[[]byte](0, 0)
		for chunk := range slices.Chunk(records, 7) {
			b.Reset()
			for _, rec := range chunk {
				*b.Add() = cloneRecord(rec, slices.Clone)
			}
			if err := w.Write(ctx, b); err != nil {
				return fmt.Errorf("Write: %w", err)
			}
			scribble(b)
		}
		return w.settle(ctx, "e")
	})
}

// keyedRecords are n records with the values from.. and one of so many keys each.
func keyedRecords(from, n, keys int) []weaver.Record[[]byte] {
	out := make([]weaver.Record[[]byte], n)
	for i := range out {
		out[i].Key = []byte("key-" + strconv.Itoa((from+i)%keys))
		out[i].Value = []byte(strconv.Itoa(from + i))
	}
	return out
}

// consume reads a stream as one member of a group, alone, to the end of what is there, and returns it by split.
func (r *frameworkRun) consume(ctx context.Context, stream, group string, ack bool) (map[string][]weaver.Record[[]byte], error) {
	m, err := r.join(ctx, stream, group)
	if err != nil {
		return nil, err
	}
	m.acks = ack
	return m.drain(ctx)
}

// values are the values of all records, sorted as numbers.
func values(of ...map[string][]weaver.Record[[]byte]) []int {
	var out []int
	for _, m := range of {
		for _, records := range m {
			for _, rec := range records {
				n, err := strconv.Atoi(string(rec.Value))
				if err != nil {
					n = -1
				}
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return out
}

// exactly checks that the values are 0..n, each once.
func exactly(n int, got []int) error {
	for i := range n {
		if i >= len(got) || got[i] > i {
			return fmt.Errorf("record %d is missing (%d of %d are there)", i, len(got), n)
		}
		if got[i] < i {
			return fmt.Errorf("record %d is there twice, or is none that was written", got[i])
		}
	}
	if len(got) > n {
		return fmt.Errorf("record %d is too much", got[n])
	}
	return nil
}

// atLeast checks that the values 0..n are there, each once or more.
func atLeast(n int, got []int) error { return exactly(n, slices.Compact(slices.Clone(got))) }

// ended reports whether an error is the end of input.
func ended(err error) bool { return errors.Is(err, io.EOF) }
