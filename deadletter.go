package weaver

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/bohica-labs/dataweaver/retry"
)

// letter is a record that a Writer will never take.
type letter[In, Out any] struct {
	origin   origin[In, Out]
	err      error
	attempts int
}

// reject dead-letters the inputs of records that can't be written: once an input, whichever of what it became failed.
func (r *repair[In, Out]) reject(letters []letter[In, Out]) error {
	e := r.w.e
	for len(letters) > 0 {
		u := letters[0].origin.part.unit
		l := u.lane
		var rejected []Rejected[In]
		rest := letters[:0:0]
		for _, x := range letters {
			o := x.origin
			if o.part.unit != u {
				rest = append(rest, x)
				continue
			}
			from := u.emit.From(o.part.out(o.i))
			if from < 0 {
				return r.giveUp([]origin[In, Out]{o}, retry.Fatal(fmt.Errorf(
					"a record made from the stage's state can't be written, and there is no input to dead-letter: %w", x.err)))
			}
			if u.reject(from) {
				rejected = append(rejected, l.rejected(u, from, StageWrite, x.err, x.attempts))
			}
		}
		if err := e.letters.write(l, e.p.Sink, rejected); err != nil {
			return err
		}
		letters = rest
	}
	return nil
}

// reject reports whether input from is rejected for the first time.
func (u *unit[In, Out]) reject(from int) bool {
	u.lane.mu.Lock()
	defer u.lane.mu.Unlock()
	if u.rejected[from] {
		return false
	}
	if u.rejected == nil {
		u.rejected = make(map[int]bool)
	}
	u.rejected[from] = true
	return true
}

// rejected describes input from of u for a dead-letter sink.
func (l *lane[In, Out]) rejected(u *unit[In, Out], from int, stage string, err error, attempts int) Rejected[In] {
	r := &u.in.Records[from]
	x := l.rejection(stage, err, attempts)
	x.Value, x.Key, x.Op, x.Headers, x.Time, x.Seq = u.value(from), r.Key, r.Op, r.Headers, r.Time, r.Seq
	x.index = from
	return x
}

func (l *lane[In, Out]) rejection(stage string, err error, attempts int) Rejected[In] {
	x := Rejected[In]{
		Pipeline: l.e.cfg.name, Split: l.split.ID, Position: l.resumePoint(),
		Stage: stage, Error: err.Error(), Attempts: attempts, At: time.Now(), err: err,
	}
	if p := (*PanicError)(nil); errors.As(err, &p) {
		x.Stack = string(p.Stack)
	}
	return x
}

// rejectInputs dead-letters what could not be read and what the stage has failed for good.
func (l *lane[In, Out]) rejectInputs(u *unit[In, Out]) error {
	rejected := make([]Rejected[In], 0, len(u.in.rejects)+len(u.emit.fails))
	for _, r := range u.in.rejects {
		if r.Err == nil {
			r.Err = errors.New("the Reader rejected this input and didn't say why")
		}
		if retry.ClassOf(r.Err) == retry.ClassFatal {
			return l.e.wrap(StageRead, l.e.p.Source, l, r.Err)
		}
		x := l.rejection(StageRead, r.Err, 1)
		x.Raw, x.Seq = r.Raw, r.Seq
		x.index = r.Before
		rejected = append(rejected, x)
	}
	for _, f := range u.emit.fails {
		if u.reject(f.from) {
			rejected = append(rejected, l.rejected(u, f.from, StageProcess, f.err, max(f.attempts, 1)))
		}
	}
	part := any(l.e.p.Process)
	if len(u.in.rejects) > 0 {
		part = l.e.p.Source
	}
	return l.e.letters.write(l, part, rejected)
}

// deadLetters owns the Writer of the dead-letter sink, which all lanes share.
type deadLetters[In, Out any] struct {
	e       *engine[In, Out]
	busy    gate
	w       Writer[Rejected[In]]
	flusher Flusher
	opened  int
	dirty   map[*lane[In, Out]]int // lanes with letters that are not durable, and their epoch
	any     atomic.Bool            // there are some
	backoff *retry.Backoff
	batch   Batch[Rejected[In]]
}

func newDeadLetters[In, Out any](e *engine[In, Out]) *deadLetters[In, Out] {
	return &deadLetters[In, Out]{e: e, busy: newGate(), dirty: make(map[*lane[In, Out]]int)}
}

// write writes rejected records of l. Without a dead-letter sink it stops the pipeline, saying which record of which
// part was the first. An outage is waited out; a letter that the sink will never take stops the pipeline as well.
func (d *deadLetters[In, Out]) write(l *lane[In, Out], part any, rejected []Rejected[In]) error {
	return d.put(l, part, rejected, false)
}

// put is write; through, the letters are durable on return.
func (d *deadLetters[In, Out]) put(l *lane[In, Out], part any, rejected []Rejected[In], through bool) error {
	e := d.e
	if len(rejected) == 0 {
		return nil
	}
	if isNil(e.p.DeadLetter) {
		x := &rejected[0]
		err := &Error{
			Pipeline: e.cfg.name, Stage: x.Stage, Connector: connectorName(part), Split: x.Split, Position: x.Position,
			Index: x.index, Seq: x.Seq, Err: retry.Permanent(fmt.Errorf("poison, and Pipeline.DeadLetter is nil: %w", x.err)),
		}
		e.fail(err)
		return err
	}
	d.busy.lock()
	defer d.busy.unlock()
	for from := 0; from < len(rejected); {
		to := min(from+e.cfg.batchSize, len(rejected))
		if err := d.writeAll(l, rejected[from:to]); err != nil {
			return err
		}
		if d.flusher != nil {
			d.dirty[l] = l.epochNow()
			d.any.Store(true)
		}
		from = to
	}
	switch {
	case through:
		return d.flushLocked()
	case d.flusher != nil && d.flusher.Due():
		_ = d.flushLocked() // lanes it concerns, perhaps this one, have been failed
	}
	return nil
}

func (d *deadLetters[In, Out]) writeAll(l *lane[In, Out], rejected []Rejected[In]) error {
	e := d.e
	start := e.now()
	for {
		err := d.call(l, rejected)
		if err == nil {
			break
		}
		var batch *BatchError
		if errors.As(err, &batch) {
			err = batch.first()
		} else {
			d.closeWriter()
			d.lose(err)
		}
		if retry.ClassOf(err) == retry.ClassPoison && spellOut(rejected) {
			continue
		}
		if isFinal(err) {
			err = e.wrap(StageDeadLetter, e.p.DeadLetter, l, retry.Fatal(fmt.Errorf("a dead letter can't be written: %w", err)))
			e.fail(err)
			return err
		}
		if d.backoff == nil {
			d.backoff = e.cfg.retry.NewBackoff()
		}
		info := RetryInfo{Split: l.split.ID, Stage: StageDeadLetter, Records: len(rejected), Err: err}
		if err := e.pause(e.working, l.tally, d.backoff, info); err != nil {
			err = e.wrap(StageDeadLetter, e.p.DeadLetter, l, retry.Fatal(err))
			e.fail(err)
			return err
		}
	}
	if d.backoff != nil {
		d.backoff.Reset()
	}
	took := e.now() - start
	l.tally.mu.Lock()
	l.tally.deadletter.add(len(rejected), 0)
	l.tally.deadletter.latency.add(took)
	l.tally.mu.Unlock()
	if e.obs.Batch != nil {
		e.obs.Batch(BatchInfo{Pipeline: e.cfg.name, Split: l.split.ID, Stage: StageDeadLetter, Records: len(rejected), Duration: took, Timed: true})
	}
	return nil
}

// spellOut turns values into text, for a sink that can't write them. It reports whether there were any.
func spellOut[In any](rejected []Rejected[In]) bool {
	some := false
	for i := range rejected {
		if x := &rejected[i]; x.Value != nil {
			x.Raw = fmt.Appendf(nil, "%+v", *x.Value)
			x.Value = nil
			some = true
		}
	}
	return some
}

// first is the worst of what a batch failed with: that of a record that can't be written, if there is one.
func (e *BatchError) first() error {
	for _, f := range e.Records {
		if isFinal(f.Err) {
			return f.Err
		}
	}
	if e.Err != nil {
		return e.Err
	}
	return e
}

func (d *deadLetters[In, Out]) call(l *lane[In, Out], rejected []Rejected[In]) error {
	if d.w == nil {
		at := Lane{Pipeline: d.e.cfg.name, Split: l.split, Resume: d.opened > 0 || d.e.resumed.Load(), Log: d.e.cfg.log}
		err := guard(func() (err error) {
			d.w, err = d.e.p.DeadLetter.OpenWriter(d.e.working, at)
			return err
		})
		if err == nil && isNil(d.w) {
			err = retry.Fatal(errNoWriter)
		}
		if _, commits := As[Checkpointer](d.w); err == nil && commits {
			if _, ok := As[Flusher](d.w); !ok {
				err = retry.Fatal(errors.New("a dead-letter sink is flushed, and the Writer of this one is a Checkpointer and no Flusher"))
			}
		}
		if err != nil {
			d.w = nil
			if retry.ClassOf(err) == retry.ClassPoison {
				err = retry.Fatal(err) // it concerns no letter
			}
			return err
		}
		d.opened++
		d.flusher, _ = As[Flusher](d.w)
	}
	d.batch.reset(false)
	d.batch.limit(0, 0)
	for i := range rejected {
		r := d.batch.Add()
		r.Value, r.Key, r.Time, r.Seq = rejected[i], rejected[i].Key, rejected[i].Time, rejected[i].Seq
	}
	return guard(func() error { return d.w.Write(d.e.working, &d.batch) })
}

func (d *deadLetters[In, Out]) closeWriter() {
	if d.w == nil {
		return
	}
	w := d.w
	d.w = nil
	if err := guard(w.Close); err != nil {
		d.e.cfg.log.Warn("closing failed", "stage", StageDeadLetter, "err", err)
	}
}

// lose makes all lanes read again whose letters were not durable.
func (d *deadLetters[In, Out]) lose(err error) {
	for l, epoch := range d.dirty {
		l.failIn(epoch, d.e.wrap(StageDeadLetter, d.e.p.DeadLetter, l, retry.Transient(err)), lost)
	}
	d.forget()
}

func (d *deadLetters[In, Out]) forget() {
	clear(d.dirty)
	d.any.Store(false)
}

// flush makes the letters durable; it comes before each checkpoint.
func (d *deadLetters[In, Out]) flush() error {
	d.busy.lock()
	defer d.busy.unlock()
	return d.flushLocked()
}

func (d *deadLetters[In, Out]) flushLocked() error {
	if len(d.dirty) == 0 {
		return nil
	}
	err := guard(func() error { return d.flusher.Flush(d.e.working) })
	if err == nil {
		d.forget()
		return nil
	}
	d.closeWriter()
	if isFinal(err) {
		d.e.fail(d.e.wrap(StageDeadLetter, d.e.p.DeadLetter, nil, retry.Fatal(fmt.Errorf("dead letters can't be flushed: %w", err))))
	}
	d.lose(err)
	return err
}

func (d *deadLetters[In, Out]) close() {
	d.busy.lock()
	defer d.busy.unlock()
	d.closeWriter()
}
