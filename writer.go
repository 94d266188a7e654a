package weaver

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/bohica-labs/dataweaver/retry"
)

// writer owns a Writer. Whoever has its busy bit calls it: a lane's goroutine that found it free, or the writer's own
// goroutine, which takes what lanes have queued and merges what is small. A part that is in the queue of a lane that is
// broken is dropped.
type writer[In, Out any] struct {
	e     *engine[In, Out]
	index int
	own   *lane[In, Out] // the lane it serves; nil: all
	tally *tally
	slow  atomic.Bool // the vote, for lanes to see
	loop  sync.WaitGroup

	// Who takes the busy bit sees the queue empty first, or holds mu. Who waits for it counts itself before it looks, and
	// release lowers the bit before it looks for waiters, so one of the two sees the other.
	busy    atomic.Bool
	length  atomic.Int32 // of the queue
	waiters atomic.Int32 // on cond

	mu         sync.Mutex
	cond       sync.Cond
	head, tail *part[In, Out]
	records    int // in the queue
	started    bool
	closed     bool
	rush       bool // write what is queued however little
	alarm      *time.Timer

	// Of the holder of the busy bit.
	at           Lane
	w            Writer[Out]
	flusher      Flusher
	checkpointer Checkpointer
	opened       int
	clock        vote
	calls        int
	batch        Batch[Out]    // what Write is given
	merged       []Record[Out] // records of several parts
	dirty        map[*lane[In, Out]]int
	lastDirty    *lane[In, Out]
	lastEpoch    int
	backoff      *retry.Backoff
	anyDirty     atomic.Bool
}

func newWriter[In, Out any](e *engine[In, Out], index int, own *lane[In, Out]) *writer[In, Out] {
	w := &writer[In, Out]{e: e, index: index, own: own, tally: e.shared}
	if own != nil {
		w.tally = own.tally
	}
	w.cond.L = &w.mu
	return w
}

// adopt takes over the Writer that the first lane opened to see what it is.
func (w *writer[In, Out]) adopt(first *writer[In, Out]) {
	w.e.buffers.Store(first.flusher != nil)
	for i, x := range w.e.writers {
		x.waitBusy()
		x.at = first.at
		if i == 0 {
			x.w, x.flusher, x.opened = first.w, first.flusher, 1
		} else {
			x.at.Resume = true // the first has begun; who opens later must not truncate what it wrote
		}
		x.start()
		x.release()
	}
}

func (w *writer[In, Out]) start() {
	w.started = true
	w.loop.Go(w.run)
}

// open opens a Writer. The busy bit is held, or nobody else knows of w yet.
func (w *writer[In, Out]) open() error {
	e := w.e
	at := w.at
	at.Resume = at.Resume || w.opened > 0
	var x Writer[Out]
	err := guard(func() (err error) {
		x, err = e.p.Sink.OpenWriter(e.working, at)
		return err
	})
	if err != nil {
		return err
	}
	if isNil(x) {
		return retry.Fatal(errNoWriter)
	}
	w.opened++
	w.w = x
	w.checkpointer, _ = As[Checkpointer](x)
	w.flusher, _ = As[Flusher](x)
	return nil
}

func (w *writer[In, Out]) closeWriter() error {
	if w.w == nil {
		return nil
	}
	x := w.w
	w.w = nil
	return guard(x.Close)
}

// shut ends the goroutine and closes the Writer. Its queue is empty.
func (w *writer[In, Out]) shut() {
	w.mu.Lock()
	w.closed = true
	if w.alarm != nil {
		w.alarm.Stop()
	}
	w.cond.Broadcast()
	w.mu.Unlock()
	w.loop.Wait()
	w.waitBusy() // for the ticker; nobody gets the bit again
	if err := w.closeWriter(); err != nil {
		w.e.cfg.log.Warn("closing failed", "stage", StageWrite, "err", err)
	}
}

// tryBusy takes the busy bit if nobody has it and nothing is queued.
func (w *writer[In, Out]) tryBusy() bool {
	return w.length.Load() == 0 && w.busy.CompareAndSwap(false, true)
}

func (w *writer[In, Out]) waitBusy() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waitBusyLocked()
}

// waitBusyLocked returns with the busy bit taken. mu is held, and let go of while it waits.
func (w *writer[In, Out]) waitBusyLocked() {
	w.waiters.Add(1)
	defer w.waiters.Add(-1)
	for !w.busy.CompareAndSwap(false, true) {
		w.cond.Wait()
	}
}

func (w *writer[In, Out]) release() {
	w.busy.Store(false)
	if w.waiters.Load() == 0 {
		return
	}
	w.mu.Lock()
	w.cond.Broadcast()
	w.mu.Unlock()
}

// enqueue puts p at the end of the queue and wakes the goroutine if there is something to do for it now.
func (w *writer[In, Out]) enqueue(p *part[In, Out]) {
	w.mu.Lock()
	p.next = nil
	first := w.head == nil
	if first {
		w.head = p
	} else {
		w.tail.next = p
	}
	w.tail = p
	w.length.Add(1)
	before := w.records
	w.records += len(p.records)
	size := w.e.cfg.batchSize
	switch delay := w.e.cfg.batchDelay; {
	case delay == 0:
		if first {
			w.cond.Broadcast()
		}
	case before < size && w.records >= size:
		w.cond.Broadcast()
	case first:
		w.rush = false
		w.setAlarm()
	}
	w.mu.Unlock()
}

// setAlarm bounds how long what is queued waits for more. w.mu is held.
func (w *writer[In, Out]) setAlarm() {
	if w.alarm == nil {
		w.alarm = time.AfterFunc(w.e.cfg.batchDelay, w.hurry)
	} else {
		w.alarm.Reset(w.e.cfg.batchDelay)
	}
}

// hurry makes the goroutine write what is queued, however little.
func (w *writer[In, Out]) hurry() {
	w.mu.Lock()
	if w.head != nil {
		w.rush = true
		w.cond.Broadcast()
	}
	w.mu.Unlock()
}

// hurry makes all writers write what they have queued.
func (e *engine[In, Out]) hurry() {
	if e.cfg.batchDelay == 0 {
		return
	}
	for _, w := range e.writers {
		w.hurry()
	}
	if !e.perLane.Load() {
		return
	}
	for _, l := range e.openLanes() {
		l.mu.Lock()
		w := l.writer
		l.mu.Unlock()
		if w != nil {
			w.hurry()
		}
	}
}

// run is the writer's goroutine.
func (w *writer[In, Out]) run() {
	for {
		w.mu.Lock()
		for !w.ready() {
			if w.closed {
				w.mu.Unlock()
				return
			}
			w.cond.Wait()
		}
		w.waitBusyLocked()
		if !w.ready() { // a lane took its parts back meanwhile
			w.mu.Unlock()
			w.release()
			continue
		}
		group := w.pop()
		w.mu.Unlock()
		w.write(group)
		w.release()
	}
}

// ready reports whether something should be written now. w.mu is held.
func (w *writer[In, Out]) ready() bool {
	if w.head == nil {
		return false
	}
	return w.e.cfg.batchDelay == 0 || w.rush || w.closed || w.records >= w.e.cfg.batchSize
}

// pop takes the first part, and the ones behind it while all are small: copying is worth it only then. A part after
// which a snapshot was taken ends a group of a Checkpointer: it commits there. w.mu is held.
func (w *writer[In, Out]) pop() *part[In, Out] {
	size := w.e.cfg.batchSize
	group := w.head
	last := group
	n := len(group.records)
	if n < size/2 || size == 1 {
		for next := last.next; next != nil && n+len(next.records) <= size && !last.unit.cut; next = last.next {
			n += len(next.records)
			last = next
		}
	}
	w.head = last.next
	if w.head == nil {
		w.tail = nil
		w.rush = false
	} else if w.e.cfg.batchDelay > 0 && !w.rush {
		w.setAlarm()
	}
	last.next = nil
	for p := group; p != nil; p = p.next {
		w.records -= len(p.records)
		w.length.Add(-1)
	}
	return group
}

// purge takes the lane's parts out of the queue and returns how many there were.
func (w *writer[In, Out]) purge(l *lane[In, Out]) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	var last *part[In, Out]
	for p := w.head; p != nil; p = p.next {
		if p.unit.lane == l {
			n++
			w.records -= len(p.records)
			w.length.Add(-1)
			if last == nil {
				w.head = p.next
			} else {
				last.next = p.next
			}
			continue
		}
		last = p
	}
	w.tail = last
	return n
}

// write writes a group of parts and tells their lanes. The busy bit is held.
func (w *writer[In, Out]) write(group *part[In, Out]) {
	e := w.e
	group = w.alive(group)
	if group == nil {
		return
	}
	records := group.records
	if group.next != nil {
		w.merged = w.merged[:0]
		for p := group; p != nil; p = p.next {
			w.merged = append(w.merged, p.records...)
		}
		records = w.merged
	}
	timed := len(records) >= 16 || w.calls&7 == 0
	w.calls++
	var start time.Duration
	if timed {
		start = e.now()
	}
	ok := true
	if w.flusher != nil || w.opened == 0 {
		for p := group; p != nil; p = p.next {
			w.markDirty(p.unit.lane)
		}
	}
	for from := 0; from < len(records) && ok; from += e.cfg.batchSize {
		to := min(from+e.cfg.batchSize, len(records))
		ok = w.deliver(group, records[from:to], from)
	}
	if w.flusher == nil {
		w.eachDirty(nil)
	}
	var d time.Duration
	if timed {
		d = e.now() - start
		w.cast(d)
	}
	if ok {
		w.count(records, d, timed, group)
	}
	merged := group.next != nil
	for p := group; p != nil; {
		p = p.unit.lane.wrote(p, ok)
	}
	if merged {
		clear(w.merged)
	}
	if ok {
		w.afterWrite()
	}
}

// alive drops the parts of lanes that must not write any more.
func (w *writer[In, Out]) alive(group *part[In, Out]) *part[In, Out] {
	var first, last *part[In, Out]
	var l *lane[In, Out]
	dead := false
	for p := group; p != nil; {
		next := p.next
		p.next = nil
		if p.unit.lane != l {
			l = p.unit.lane
			dead = l.is(&l.broken)
		}
		switch {
		case dead:
			l.wrote(p, false)
		case last == nil:
			first, last = p, p
		default:
			last.next = p
			last = p
		}
		p = next
	}
	return first
}

func (w *writer[In, Out]) count(records []Record[Out], d time.Duration, timed bool, group *part[In, Out]) {
	bytes := 0
	for p := group; p != nil; p = p.next {
		bytes += p.unit.view.arena.used + p.unit.view.weight
	}
	t := w.tally
	t.mu.Lock()
	t.write.add(len(records), bytes)
	if timed {
		t.write.latency.add(d)
	}
	t.mu.Unlock()
	w.tell(len(records), bytes, d, timed)
}

func (w *writer[In, Out]) tell(records, bytes int, d time.Duration, timed bool) {
	if f := w.e.obs.Batch; f != nil {
		f(BatchInfo{Pipeline: w.e.cfg.name, Split: w.split(), Stage: StageWrite, Records: records, Bytes: bytes, Duration: d, Timed: timed})
	}
}

// cast votes whether writing is quick enough to be done by the goroutine that reads.
func (w *writer[In, Out]) cast(d time.Duration) {
	w.clock.cast(d)
	if w.slow.Load() != w.clock.slow {
		w.slow.Store(w.clock.slow)
	}
}

// writeSolo writes u, which is in no queue, for its lane's goroutine. It reports whether all of it is accepted or
// dead-lettered; otherwise the lane has been failed. The busy bit is held.
func (w *writer[In, Out]) writeSolo(u *unit[In, Out]) bool {
	if l := u.lane; l.alert.Load() && l.is(&l.broken) { // what came before it may just have been lost
		return false
	}
	if w.flusher != nil || w.opened == 0 {
		w.markDirty(u.lane)
	}
	p := &u.parts[0]
	p.records = u.view.Records
	size := w.e.cfg.batchSize
	for from := 0; from < len(p.records); from += size {
		if !w.deliver(p, p.records[from:min(from+size, len(p.records))], from) {
			return false
		}
	}
	if w.flusher == nil {
		w.eachDirty(nil)
	}
	return true
}

// split is the writer's, where it serves one lane.
func (w *writer[In, Out]) split() string {
	if w.own != nil {
		return w.own.split.ID
	}
	return ""
}

// afterWrite asks a Writer that buffers whether it wants to be flushed, or the lane's checkpoint is due.
func (w *writer[In, Out]) afterWrite() {
	e := w.e
	switch {
	case w.own != nil:
		w.own.commitIfDue(w)
	case w.flusher != nil:
		if w.flusher.Due() && w.flush() == nil {
			e.kickRound()
		}
	default:
		e.kickQueue()
	}
}
