package weavertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

// SourceCase is what TestSource needs to know about a source.
type SourceCase[T any] struct {
	// New returns a source of an origin that nobody has read from. It is called before each rule.
	New func(ctx context.Context) (weaver.Source[T], error)
	// Want is what the origin holds: the records of each split in order, three at least of one of them.
	Want map[string][]weaver.Record[T]

	Endless  bool                                  // Read waits after the last record; default: io.EOF
	Equal    func(got, want weaver.Record[T]) bool // default: all but Seq is equal
	Patience time.Duration                         // how long a rule may take; default 10 s
	Skip     []string                              // names of rules that don't apply; default: none
	Idle     func()                                // lets go of what may outlive a reader, such as idle connections; default: nothing
}

// TestSource checks that a source keeps its contract, and returns nil or a *RuleError that names the first rule it
// breaks:
//
//   - splits: a session tells the splits of Want, each once, the same ones in a second session, and then io.EOF or
//     nothing until ctx ends
//   - read: each split gives its records in order
//   - eof: the end is io.EOF itself, and again when Read is called again
//   - full: Read stops at a full batch
//   - position: one is returned after the last record at the latest, none is empty, and it stays as it is until the
//     next Read
//   - redeliver: what was read and not acknowledged is read again by the next reader
//   - cancel: Read returns when ctx ends
//   - memory: what happens to a batch after Read changes neither what the same reader reads next nor what another does
//   - resume: a reader opened at a position reads exactly what comes after it
//   - ack: Ack works beside Read, also one that waits
//   - finish: after Finish, Read ends with io.EOF behind what is there
//   - lag: a lag that isn't known is negative, not 0
//   - close: a reader closes without a Read, and after the end
//   - independent: readers that are open at once don't disturb each other
//   - leak: no goroutine is left when everything is closed (checked after each of the others)
//
// Rules about a capability that the source doesn't have are kept. A Queue is not resumed.
func TestSource[T any](ctx context.Context, c SourceCase[T]) error {
	if c.New == nil || len(c.Want) == 0 {
		return errors.New("weavertest: SourceCase needs New and Want")
	}
	run := &sourceRun[T]{SourceCase: c, equal: orEqual(c.Equal)}
	for id := range c.Want {
		run.ids = append(run.ids, id)
	}
	sort.Strings(run.ids)
	run.main = slices.MaxFunc(run.ids, func(a, b string) int { return len(c.Want[a]) - len(c.Want[b]) })
	if len(c.Want[run.main]) < 3 {
		return errors.New("weavertest: SourceCase.Want has no split of three records")
	}
	return suite[*sourceRun[T]]{
		rules: []rule[*sourceRun[T]]{
			{"splits", (*sourceRun[T]).ruleSplits},
			{"read", (*sourceRun[T]).ruleRead},
			{"eof", (*sourceRun[T]).ruleEOF},
			{"full", (*sourceRun[T]).ruleFull},
			{"position", (*sourceRun[T]).rulePosition},
			{"redeliver", (*sourceRun[T]).ruleRedeliver},
			{"cancel", (*sourceRun[T]).ruleCancel},
			{"memory", (*sourceRun[T]).ruleMemory},
			{"resume", (*sourceRun[T]).ruleResume},
			{"ack", (*sourceRun[T]).ruleAck},
			{"finish", (*sourceRun[T]).ruleFinish},
			{"lag", (*sourceRun[T]).ruleLag},
			{"progress", (*sourceRun[T]).ruleProgress},
			{"close", (*sourceRun[T]).ruleClose},
			{"independent", (*sourceRun[T]).ruleIndependent},
		},
		skip:     c.Skip,
		patience: c.Patience,
		idle:     c.Idle,
		begin: func(ctx context.Context) (*sourceRun[T], error) {
			r := *run
			var err error
			r.source, err = c.New(ctx)
			return &r, err
		},
	}.run(ctx)
}

// sourceRun is the check of one rule.
type sourceRun[T any] struct {
	SourceCase[T]
	equal  func(a, b weaver.Record[T]) bool
	ids    []string
	main   string // the split with the most records
	source weaver.Source[T]
}

// session returns the splits, with what their connector wants back, and a function that ends the session.
func (r *sourceRun[T]) session(ctx context.Context) (map[string]weaver.Split, func() error, error) {
	splitter, ok := weaver.As[weaver.Splitter](r.source)
	if !ok {
		return map[string]weaver.Split{"": {}}, func() error { return nil }, nil
	}
	session, err := splitter.Splits(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("Splits: %w", err)
	}
	splits := make(map[string]weaver.Split)
	for len(splits) < len(r.ids) {
		c, err := session.Next(ctx)
		for _, s := range c.Add {
			if _, twice := splits[s.ID]; twice {
				err = fmt.Errorf("split %q is added twice", s.ID)
			}
			splits[s.ID] = s
		}
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("Next: %w (%d of %d splits known)", err, len(splits), len(r.ids)), session.Close())
		}
	}
	return splits, session.Close, nil
}

// with opens a session and a reader of the main split, calls f, and closes both.
func (r *sourceRun[T]) with(ctx context.Context, at weaver.Position, f func(weaver.Reader[T]) error) error {
	return r.withSplits(ctx, func(splits map[string]weaver.Split) error {
		return r.read(ctx, splits[r.main], at, f)
	})
}

func (r *sourceRun[T]) withSplits(ctx context.Context, f func(map[string]weaver.Split) error) error {
	splits, end, err := r.session(ctx)
	if err != nil {
		return err
	}
	err = f(splits)
	if e := end(); e != nil && err == nil {
		err = fmt.Errorf("Close of the Splits session: %w", e)
	}
	return err
}

func (r *sourceRun[T]) open(ctx context.Context, split weaver.Split, at weaver.Position) (weaver.Reader[T], error) {
	rd, err := r.source.OpenReader(ctx, weaver.Lane{Pipeline: "weavertest", Split: split, Position: at, Log: quiet})
	if err != nil {
		return nil, fmt.Errorf("OpenReader of split %q at position %q: %w", split.ID, at, err)
	}
	return rd, nil
}

func (r *sourceRun[T]) read(ctx context.Context, split weaver.Split, at weaver.Position, f func(weaver.Reader[T]) error) error {
	rd, err := r.open(ctx, split, at)
	if err != nil {
		return err
	}
	err = f(rd)
	if e := rd.Close(); e != nil && err == nil {
		err = fmt.Errorf("Close: %w", e)
	}
	return err
}

// mark is a position and how many records were read before it.
type mark struct {
	records  int
	position weaver.Position
}

// drain reads until so many records are there and, unless the source is endless, until io.EOF. It hands out copies.
func (r *sourceRun[T]) drain(ctx context.Context, rd weaver.Reader[T], size, want int) (got []weaver.Record[T], marks []mark, err error) {
	clone := cloner[T](nil)
	b := weaver.NewBatch[T](size, 0)
	for idle := 0; !r.Endless || len(got) < want; {
		if len(got) > want {
			return got, marks, fmt.Errorf("more than %d records: %s", want, describe(got[want]))
		}
		b.Reset()
		p, err := rd.Read(ctx, b)
		for i := range b.Records {
			got = append(got, cloneRecord(b.Records[i], clone))
		}
		if p != nil {
			marks = append(marks, mark{len(got), slices.Clone(p)})
		}
		if idle++; len(b.Records) > 0 {
			idle = 0
		}
		switch {
		case err == io.EOF: //nolint:errorlint // the contract is io.EOF itself
			return got, marks, nil
		case errors.Is(err, io.EOF):
			return got, marks, nil // rule eof has an opinion
		case errors.Is(err, weaver.ErrFull):
			if err := r.makeRoom(ctx, rd, marks); err != nil {
				return got, marks, err
			}
		case err != nil:
			return got, marks, fmt.Errorf("Read after %d of %d records: %w", len(got), want, err)
		}
		if idle > 1000 {
			return got, marks, fmt.Errorf("Read returned 1000 times without a record, after %d of %d", len(got), want)
		}
	}
	return got, marks, nil
}

// makeRoom acknowledges what was read.
func (r *sourceRun[T]) makeRoom(ctx context.Context, rd weaver.Reader[T], marks []mark) error {
	acker, ok := weaver.As[weaver.Acker](rd)
	if !ok || len(marks) == 0 {
		return errors.New("Read returned ErrFull, but there is nothing to acknowledge")
	}
	if err := acker.Ack(ctx, marks[len(marks)-1].position); err != nil {
		return fmt.Errorf("Ack: %w", err)
	}
	return nil
}

func (r *sourceRun[T]) queue() bool {
	q, ok := weaver.As[weaver.Queue](r.source)
	return ok && q.Queue()
}

func (r *sourceRun[T]) skips(rule string) bool { return slices.Contains(r.Skip, rule) }
