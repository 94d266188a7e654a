package weaver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bohica-labs/dataweaver/retry"
)

var errNoWriter = errors.New("OpenWriter returned neither a Writer nor an error")

// openError is a failure to open a Writer: nothing that was accepted is lost by it.
type openError struct{ err error }

func (e *openError) Error() string { return e.err.Error() }
func (e *openError) Unwrap() error { return e.err }

// origin is one record that is to be written: record i of a part.
type origin[In, Out any] struct {
	part *part[In, Out]
	i    int
}

// deliver writes records, which are those of group from number from on. It returns once they are accepted or
// dead-lettered, and then true; or else all lanes concerned have been failed.
func (w *writer[In, Out]) deliver(group *part[In, Out], records []Record[Out], from int) bool {
	if from > 0 { // a part of more than BatchSize, alone: its lane may have failed since it began
		if l := group.unit.lane; l.is(&l.broken) {
			return false
		}
	}
	err := w.call(records)
	if err == nil {
		if w.backoff != nil && w.flusher == nil {
			w.backoff.Reset()
		}
		return true
	}
	todo := make([]origin[In, Out], 0, len(records))
	n := 0
	for p := group; p != nil; p = p.next {
		for i := range p.records {
			if n >= from && n < from+len(records) {
				todo = append(todo, origin[In, Out]{p, i})
			}
			n++
		}
	}
	r := repair[In, Out]{w: w, attempts: make(map[origin[In, Out]]int)}
	if err := r.run(todo, err); err != nil {
		harm := broken
		if w.checkpointer != nil { // what of records is staged must not be committed with a position before it
			harm = lost
			if cerr := w.closeWriter(); cerr != nil {
				w.e.cfg.log.Warn("closing failed", "stage", StageWrite, "err", cerr)
			}
		}
		for p := group; p != nil; p = p.next {
			p.unit.lane.fail(err, harm)
		}
		return false
	}
	if w.backoff != nil && w.flusher == nil {
		w.backoff.Reset()
	}
	return true
}

// call is one Write, of a Writer that is opened if need be.
func (w *writer[In, Out]) call(records []Record[Out]) (err error) {
	if w.w == nil {
		if err := w.open(); err != nil {
			return &openError{err}
		}
	}
	w.batch.Records = records
	w.batch.limit(w.e.cfg.batchSize, w.e.cfg.batchBytes)
	defer func() {
		w.batch.Records = nil
		if v := recover(); v != nil {
			err = recovered(v)
		}
	}()
	return w.w.Write(w.e.working, &w.batch)
}

// repair brings records to an end whose Write has failed: written, dead-lettered, or their lanes failed.
type repair[In, Out any] struct {
	w        *writer[In, Out]
	attempts map[origin[In, Out]]int // failures of single records
}

// run works on todo, in order, whose Write returned err. It returns nil once all are settled.
func (r *repair[In, Out]) run(todo []origin[In, Out], err error) error {
	for {
		next, stop := r.judge(todo, err)
		if stop != nil {
			return stop
		}
		todo = r.stillWanted(next)
		if len(todo) == 0 {
			return nil
		}
		if err = r.w.call(r.gather(todo)); err == nil {
			return nil
		}
	}
}

func (r *repair[In, Out]) gather(todo []origin[In, Out]) []Record[Out] {
	records := make([]Record[Out], len(todo))
	for i, o := range todo {
		records[i] = o.part.records[o.i]
	}
	return records
}

// stillWanted leaves out the records of lanes that have failed or were given up meanwhile.
func (r *repair[In, Out]) stillWanted(todo []origin[In, Out]) []origin[In, Out] {
	wanted := todo[:0:0]
	for _, o := range todo {
		if !o.part.unit.lane.is(&o.part.unit.lane.broken) {
			wanted = append(wanted, o)
		}
	}
	return wanted
}

// judge decides what becomes of records whose Write returned err, and returns those to be written next.
func (r *repair[In, Out]) judge(todo []origin[In, Out], err error) ([]origin[In, Out], error) {
	var batch *BatchError
	if errors.As(err, &batch) {
		return r.judgeRecords(todo, batch)
	}
	w := r.w
	if cerr := w.closeWriter(); cerr != nil {
		w.e.cfg.log.Warn("closing failed", "stage", StageWrite, "err", cerr)
	}
	class := retry.ClassOf(err)
	var opening *openError
	if errors.As(err, &opening) && class == retry.ClassPoison {
		class = retry.ClassFatal // it concerns no record
	}
	if class == retry.ClassFatal {
		return nil, r.giveUp(todo, err)
	}
	if opening == nil && (w.flusher != nil || w.checkpointer != nil) {
		return nil, w.lose(todo, err, StageWrite)
	}
	if class == retry.ClassPoison {
		return nil, r.bisect(todo, err, 1)
	}
	return todo, r.pause(todo, 0, err)
}

// pause waits before the next attempt. An outage (records 0) ends by itself or when the policy's MaxElapsed does.
func (r *repair[In, Out]) pause(todo []origin[In, Out], records int, err error) error {
	w := r.w
	if w.backoff == nil {
		w.backoff = w.e.cfg.retry.NewBackoff()
	}
	info := RetryInfo{Split: w.split(), Stage: StageWrite, Records: records, Err: err}
	if perr := w.e.pause(w.patience(), w.tally, w.backoff, info); perr != nil {
		return r.giveUp(todo, perr)
	}
	return nil
}

// patience is the ctx of waiting for a Writer to be well again.
func (w *writer[In, Out]) patience() context.Context { return w.e.working }

// giveUp stops the pipeline.
func (r *repair[In, Out]) giveUp(todo []origin[In, Out], err error) error {
	e := r.w.e
	var l *lane[In, Out]
	if len(todo) > 0 {
		l = todo[0].part.unit.lane
	}
	err = e.wrap(StageWrite, e.p.Sink, l, err)
	e.fail(err)
	return err
}

// judgeRecords decides about a batch of which the Writer says which records failed.
func (r *repair[In, Out]) judgeRecords(todo []origin[In, Out], batch *BatchError) ([]origin[In, Out], error) {
	if err := batch.check(len(todo)); err != nil {
		return nil, r.giveUp(todo, retry.Fatal(err))
	}
	if len(batch.Records) == 0 { // rolled back, and it doesn't know why
		switch class := retry.ClassOf(batch.Err); class {
		case retry.ClassPoison:
			return nil, r.bisect(todo, batch.Err, 1)
		case retry.ClassFatal:
			return nil, r.giveUp(todo, batch.Err)
		default:
			return todo, r.pause(todo, 0, batch.Err)
		}
	}
	if r.w.checkpointer != nil && !batch.RolledBack && batch.transient() {
		if cerr := r.w.closeWriter(); cerr != nil {
			r.w.e.cfg.log.Warn("closing failed", "stage", StageWrite, "err", cerr)
		}
		return nil, r.w.lose(todo, retry.Transient(batch), StageWrite) // later records of a key can't be staged twice
	}
	again := make([]bool, len(todo))
	dead := make([]bool, len(todo))
	var letters []letter[In, Out]
	var cause error
	tries := 0
	for _, f := range batch.Records {
		o := todo[f.Index]
		if retry.ClassOf(f.Err) == retry.ClassUnmarked && retry.ClassOf(batch.Err) != retry.ClassUnmarked {
			f.Err = errors.Join(f.Err, batch.Err) // it has the class, and how long to wait
		}
		class := retry.ClassOf(f.Err)
		if class == retry.ClassFatal {
			return nil, r.giveUp(todo, f.Err)
		}
		r.attempts[o]++
		most := r.w.e.cfg.retry.Attempts(class)
		if class == retry.ClassPoison || most >= 0 && r.attempts[o] >= most {
			dead[f.Index] = true
			letters = append(letters, letter[In, Out]{o, f.Err, r.attempts[o]})
			continue
		}
		again[f.Index] = true
		tries++
		if d, told := retry.Delay(f.Err); cause == nil || told && d > delayOf(cause) {
			cause = f.Err
		}
	}
	if err := r.reject(letters); err != nil {
		return nil, err
	}
	next := make([]origin[In, Out], 0, len(todo))
	for i, o := range todo {
		if !dead[i] && (batch.RolledBack || again[i] || behindSameKey(todo, again, i)) {
			next = append(next, o)
		}
	}
	if tries > 0 {
		if err := r.pause(todo, tries, cause); err != nil {
			return nil, err
		}
	}
	return next, nil
}

func delayOf(err error) time.Duration {
	d, _ := retry.Delay(err)
	return d
}

// behindSameKey reports whether an earlier record of the same key and lane is tried again: then record i is written
// again after it, so that the last one wins as it did at the origin.
func behindSameKey[In, Out any](todo []origin[In, Out], again []bool, i int) bool {
	o := todo[i]
	key := o.part.records[o.i].Key
	if key == nil {
		return false
	}
	for j, earlier := range todo[:i] {
		if again[j] && earlier.part.unit.lane == o.part.unit.lane && bytes.Equal(earlier.part.records[earlier.i].Key, key) {
			return true
		}
	}
	return false
}

// transient reports whether a record that failed may be tried again.
func (e *BatchError) transient() bool {
	for _, f := range e.Records {
		if !isFinal(f.Err) && !isFinal(e.Err) {
			return true
		}
	}
	return false
}

// check finds a BatchError that makes no sense for a batch of n.
func (e *BatchError) check(n int) error {
	if len(e.Records) == 0 && !e.RolledBack {
		return fmt.Errorf("the Writer returned a BatchError that names no record and isn't RolledBack: what was written? (%w)", e)
	}
	if len(e.Records) == 0 && e.Err == nil {
		return errors.New("the Writer returned a BatchError without any error in it")
	}
	seen := make([]bool, n)
	for _, f := range e.Records {
		switch {
		case f.Index < 0 || f.Index >= n:
			return fmt.Errorf("the Writer returned a BatchError that names record %d of a batch of %d: %w", f.Index, n, e)
		case seen[f.Index]:
			return fmt.Errorf("the Writer returned a BatchError that names record %d twice: %w", f.Index, e)
		case f.Err == nil:
			return fmt.Errorf("the Writer returned a BatchError without an error for record %d: %w", f.Index, e)
		}
		seen[f.Index] = true
	}
	return nil
}

// bisect finds the poison among todo by writing halves, in order.
func (r *repair[In, Out]) bisect(todo []origin[In, Out], err error, attempts int) error {
	if len(todo) == 1 {
		return r.reject([]letter[In, Out]{{todo[0], err, attempts}})
	}
	half := len(todo) / 2
	for _, part := range [][]origin[In, Out]{todo[:half], todo[half:]} {
		part = r.stillWanted(part)
		if len(part) == 0 {
			continue
		}
		err := r.w.call(r.gather(part))
		if err == nil {
			continue
		}
		if err := r.run(part, err); err != nil {
			return err
		}
	}
	return nil
}

// lose fails all lanes that have something in the Writer that isn't durable, and those of todo. It returns why.
func (w *writer[In, Out]) lose(todo []origin[In, Out], err error, stage string) error {
	e := w.e
	poison := retry.ClassOf(err) == retry.ClassPoison
	var one *lane[In, Out]
	if len(todo) > 0 {
		one = todo[0].part.unit.lane
	}
	err = e.wrap(stage, e.p.Sink, one, err)
	told := err
	if poison {
		told = retry.Transient(err) // the lanes recover, and look for the record
	}
	for _, o := range todo {
		w.markDirty(o.part.unit.lane)
	}
	w.eachDirty(func(l *lane[In, Out], epoch int) {
		if poison && l.epochNow() == epoch { // what it wrote before it recovered from something else says nothing about what it writes now
			l.suspect(l.behind(), err)
		}
		l.failIn(epoch, told, lost)
	})
	return told
}

func (w *writer[In, Out]) markDirty(l *lane[In, Out]) {
	epoch := l.epochNow()
	if w.lastDirty == l && w.lastEpoch == epoch {
		return
	}
	if w.dirty == nil {
		w.dirty = make(map[*lane[In, Out]]int)
	}
	w.dirty[l] = epoch
	w.lastDirty, w.lastEpoch = l, epoch
	w.anyDirty.Store(true)
}

// eachDirty visits and forgets the lanes with something accepted and not durable.
func (w *writer[In, Out]) eachDirty(visit func(*lane[In, Out], int)) {
	if w.lastDirty == nil {
		return
	}
	for l, epoch := range w.dirty {
		if visit != nil {
			visit(l, epoch)
		}
	}
	clear(w.dirty)
	w.lastDirty = nil
	w.anyDirty.Store(false)
}

// flush makes durable what was accepted. The busy bit is held. After an error the lanes concerned have been failed.
func (w *writer[In, Out]) flush() error {
	if w.flusher == nil || !w.anyDirty.Load() {
		return nil
	}
	if w.w == nil {
		w.eachDirty(nil)
		return nil
	}
	e := w.e
	start := e.now()
	err := guard(func() error { return w.flusher.Flush(e.working) })
	e.countFlush(w, StageFlush, e.now()-start, err)
	if err == nil {
		w.eachDirty(nil)
		if w.backoff != nil {
			w.backoff.Reset()
		}
		return nil
	}
	if cerr := w.closeWriter(); cerr != nil {
		e.cfg.log.Warn("closing failed", "stage", StageFlush, "err", cerr)
	}
	if retry.ClassOf(err) == retry.ClassFatal {
		err = e.wrap(StageFlush, e.p.Sink, nil, err)
		e.fail(err)
	}
	return w.lose(nil, err, StageFlush)
}
