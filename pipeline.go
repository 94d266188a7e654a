package weaver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
)

// Guarantee is what a pipeline promises about each record that was read.
type Guarantee uint8

const (
	// BestPossible is the best the parts can give: exactly-once where the sink is a Checkpointer and the source no
	// Queue, at-least-once otherwise.
	BestPossible Guarantee = iota
	// ExactlyOnce makes Run refuse parts that cannot promise it.
	ExactlyOnce
)

// Runner is what Run runs: a Pipeline, whatever its types.
type Runner interface {
	Run(ctx context.Context) error
}

// Pipeline wires read → process → write. Fill its fields, then call Run; don't change them until it has returned.
type Pipeline[In, Out any] struct {
	Name       string // of its checkpoints, logs and errors; needed with Checkpoint, unique in the store
	Source     Source[In]
	Process    Processor[In, Out]
	Sink       Sink[Out]
	DeadLetter Sink[Rejected[In]] // gets poison; nil: poison stops the pipeline
	Retry      retry.Policy
	Checkpoint checkpoint.Store // nil: the sink (Checkpointer) or the origin (Acker) remembers, else nobody
	After      Runner           // once it has returned nil, readers finish what is there and end; if it failed, so does this
	Bounded    bool             // readers end with what is there when they are opened, as after an After that has ended; default: where the source ends
	Require    Guarantee        // default BestPossible

	BatchSize          int           // records a batch; default 512
	BatchBytes         int           // bytes a batch; default 1 MiB
	BatchDelay         time.Duration // how long a small batch waits for more before it is written; default 0: never
	CheckpointInterval time.Duration // how often positions are made durable and acknowledged; default 1 s
	MaxInFlightBytes   int64         // read and not yet written, over all lanes; default 64 MiB
	Parallelism        int           // batches of one lane processed at once, in order; default 1
	Writers            int           // batches written at once, in order per key, not by a Checkpointer; default 1
	MaxLanes           int           // bounded splits open at once; default 256
	StopTimeout        time.Duration // for what is in flight when ctx ends; default 30 s
	RateLimit          RateLimit     // of reading; default none
	Log                *slog.Logger  // default slog.Default()
	Observer           *Observer     // default none
	Scribble           bool          // for tests: overwrite memory before it is used again, so that who kept it shows; default off

	current atomic.Pointer[statsSource]
	running atomic.Bool
}

// statsSource is what Stats asks: the engine of the current or the last Run.
type statsSource struct{ stats func() Stats }

// RateLimit bounds reading, over all lanes of a pipeline. Zero fields bound nothing.
type RateLimit struct {
	Records float64 // a second
	Bytes   float64 // a second, of what readers keep in the batch (Bytes, Copy, Weigh)
}

// NewPipeline returns a Pipeline with the three parts it cannot do without.
func NewPipeline[In, Out any](s Source[In], p Processor[In, Out], k Sink[Out]) *Pipeline[In, Out] {
	return &Pipeline[In, Out]{Source: s, Process: p, Sink: k}
}

// Copy returns a Pipeline that writes what it reads.
func Copy[T any](s Source[T], k Sink[T]) *Pipeline[T, T] {
	return NewPipeline(s, Pass[T](), k)
}

// Run moves records until all splits have ended, ctx ends, or something fails for good. It returns nil in the first
// two cases, once all that was read is durable, saved and acknowledged: a cancelled ctx ends reading, and what is in
// flight is finished within StopTimeout. Otherwise the error is an *Error, or one about a field.
//
// It can be called again after it returned, never twice at once.
func (p *Pipeline[In, Out]) Run(ctx context.Context) error {
	if !p.running.CompareAndSwap(false, true) {
		return errors.New("weaver: Run is called while this pipeline runs")
	}
	defer p.running.Store(false)
	cfg, err := p.settings()
	if err != nil {
		return err
	}
	e, err := newEngine(ctx, p, cfg)
	if err != nil {
		return err
	}
	p.current.Store(&statsSource{e.snapshot})
	return e.run(ctx)
}

// Stats returns a snapshot of the current Run, or of the last one. It may be called at any time.
func (p *Pipeline[In, Out]) Stats() Stats {
	if s := p.current.Load(); s != nil {
		return s.stats()
	}
	return Stats{Pipeline: p.Name}
}

// Check asks those of source, sink and dead-letter sink that are a HealthChecker whether they are reachable, moving
// nothing.
func (p *Pipeline[In, Out]) Check(ctx context.Context) error {
	if _, err := p.settings(); err != nil {
		return err
	}
	var errs []error
	for _, part := range []struct {
		stage string
		v     any
	}{{StageRead, p.Source}, {StageWrite, p.Sink}, {StageDeadLetter, p.DeadLetter}} {
		h, ok := As[HealthChecker](part.v)
		if !ok {
			continue
		}
		if err := h.CheckHealth(ctx); err != nil {
			errs = append(errs, &Error{Pipeline: p.Name, Stage: part.stage, Connector: connectorName(part.v), Index: -1, Err: err})
		}
	}
	return errors.Join(errs...)
}

// settings are a pipeline's numbers with defaults filled in.
type settings struct {
	name               string
	batchSize          int
	batchBytes         int
	batchDelay         time.Duration
	checkpointInterval time.Duration
	maxInFlight        int64
	parallelism        int
	writers            int
	maxLanes           int
	stopTimeout        time.Duration
	retry              retry.Policy
	log                *slog.Logger
	scribble           bool
}

// number is a field with a default and a least value.
type number[N int | int64 | float64 | time.Duration] struct {
	name     string
	value    N
	standard N
}

func (n number[N]) fill(errs *[]error) N {
	switch {
	case n.value < 0:
		*errs = append(*errs, fmt.Errorf("weaver: Pipeline.%s is %v: must not be negative", n.name, n.value))
	case n.value == 0:
		return n.standard
	}
	return n.value
}

func (p *Pipeline[In, Out]) settings() (settings, error) {
	var errs []error
	for _, f := range []struct {
		name    string
		missing bool
	}{{"Source", isNil(p.Source)}, {"Process", isNil(p.Process)}, {"Sink", isNil(p.Sink)}} {
		if f.missing {
			errs = append(errs, fmt.Errorf("weaver: Pipeline.%s is nil: set it (weaver.Pass leaves records as they are)", f.name))
		}
	}
	if p.Checkpoint != nil && p.Name == "" {
		errs = append(errs, errors.New("weaver: Pipeline.Name is empty: positions in a Checkpoint store are kept under it"))
	}
	if p.Bounded && !isNil(p.After) {
		errs = append(errs, errors.New("weaver: Pipeline.Bounded and After are set: one ends with what is there now, the other with what is there later"))
	}
	if p.Require > ExactlyOnce {
		errs = append(errs, fmt.Errorf("weaver: Pipeline.Require is %d: no such guarantee", p.Require))
	}
	if err := p.Retry.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("weaver: Pipeline.Retry: %w", err))
	}
	_ = number[float64]{"RateLimit.Records", p.RateLimit.Records, 0}.fill(&errs)
	_ = number[float64]{"RateLimit.Bytes", p.RateLimit.Bytes, 0}.fill(&errs)
	s := settings{
		name:               p.Name,
		batchSize:          number[int]{"BatchSize", p.BatchSize, 512}.fill(&errs),
		batchBytes:         number[int]{"BatchBytes", p.BatchBytes, 1 << 20}.fill(&errs),
		batchDelay:         number[time.Duration]{"BatchDelay", p.BatchDelay, 0}.fill(&errs),
		checkpointInterval: number[time.Duration]{"CheckpointInterval", p.CheckpointInterval, time.Second}.fill(&errs),
		maxInFlight:        number[int64]{"MaxInFlightBytes", p.MaxInFlightBytes, 64 << 20}.fill(&errs),
		parallelism:        number[int]{"Parallelism", p.Parallelism, 1}.fill(&errs),
		writers:            number[int]{"Writers", p.Writers, 1}.fill(&errs),
		maxLanes:           number[int]{"MaxLanes", p.MaxLanes, 256}.fill(&errs),
		stopTimeout:        number[time.Duration]{"StopTimeout", p.StopTimeout, 30 * time.Second}.fill(&errs),
		retry:              p.Retry,
		log:                p.Log,
		scribble:           p.Scribble,
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if p.Name != "" {
		s.log = s.log.With("pipeline", p.Name)
	}
	return s, errors.Join(errs...)
}

// Run runs several pipelines with one lifetime: when one fails, the others are stopped as by a cancelled ctx, and all
// errors are returned together. It returns when all have. Pipelines that wait for one another by After belong into one
// Run.
func Run(ctx context.Context, rs ...Runner) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group := &runGroup{done: make(map[Runner]*runEnd, len(rs))}
	for i, r := range rs {
		if isNil(r) {
			return fmt.Errorf("weaver: Run: runner %d is nil", i)
		}
		if _, twice := group.done[r]; twice {
			return fmt.Errorf("weaver: Run: runner %d is given twice", i)
		}
		group.done[r] = &runEnd{closed: make(chan struct{})}
	}
	ctx = context.WithValue(ctx, runGroupKey{}, group)
	errs := make([]error, len(rs))
	var wg sync.WaitGroup
	for i, r := range rs {
		wg.Go(func() {
			end := group.done[r]
			defer close(end.closed)
			errs[i] = r.Run(ctx)
			end.err = errs[i]
			end.cut = ctx.Err() != nil
			if errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// runGroup lets a pipeline find the end of the one it comes after. It travels in the ctx of Run, the one thing both
// are given.
type runGroup struct{ done map[Runner]*runEnd }

type runGroupKey struct{}

// runEnd is how a Runner ended; err and cut are set before closed is.
type runEnd struct {
	closed chan struct{}
	err    error
	cut    bool // it was stopped: what it had to say may not all be there
}
