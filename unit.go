package weaver

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// unit is a flight: a batch that was read, and all that it becomes until it is accepted by the writers. Its lane owns
// it, whoever holds it in hand (the lane's goroutine, a worker, a writer) works on it.
type unit[In, Out any] struct {
	lane *lane[In, Out]
	next *unit[In, Out] // behind it in the lane, or in the free list
	same *Batch[Out]    // in itself, where In is Out

	in     Batch[In]
	out    Batch[Out]
	emit   Emitter[Out]
	aside  []In        // values as they were read, where the stage changes them in place
	view   *Batch[Out] // what is to be written: out, or in itself where the processor is Pass
	parts  []part[In, Out]
	weight int64 // bytes charged to the budget

	pos    Position // after in; a buffer of the unit's own
	has    bool     // there is one
	tick   bool     // nothing was read: in is a tick or the end of the split
	cut    bool     // state is the stage's snapshot right after this unit
	state  []byte
	inputs int // records and rejects
	turn   int // which writer gets the next records without a key

	// Guarded by lane.mu.
	processed bool
	pending   int  // parts that are not yet accepted
	done      bool // all that it became is accepted, filtered or dead-lettered
	rejected  map[int]bool
}

// part is what one writer gets of a unit.
type part[In, Out any] struct {
	next    *part[In, Out]
	unit    *unit[In, Out]
	records []Record[Out]
	index   []int32 // in unit.view of each record; nil: the same
	own     []Record[Out]
}

// out returns the place in the unit's output of the part's record i.
func (p *part[In, Out]) out(i int) int {
	if p.index == nil {
		return i
	}
	return int(p.index[i])
}

func newUnit[In, Out any](e *engine[In, Out]) *unit[In, Out] {
	u := &unit[In, Out]{parts: make([]part[In, Out], e.cfg.writers)}
	u.same, _ = any(&u.in).(*Batch[Out])
	for i := range u.parts {
		u.parts[i].unit = u
	}
	return u
}

func (u *unit[In, Out]) reset(scribble bool) {
	u.in.reset(scribble)
	u.out.reset(scribble)
	for i := range u.parts {
		p := &u.parts[i]
		p.next, p.records, p.index = nil, nil, p.index[:0]
		clear(p.own)
		p.own = p.own[:0]
	}
	u.view = nil
	clear(u.aside)
	u.aside = u.aside[:0]
	u.has, u.cut, u.tick, u.processed, u.done = false, false, false, false, false
	u.pending, u.inputs = 0, 0
	u.rejected = nil
	u.state = nil
}

// size is what the unit holds, for the bound on what is in flight.
func (u *unit[In, Out]) size() int64 {
	var in Record[In]
	var out Record[Out]
	n := len(u.in.Records)*int(unsafe.Sizeof(in)) + u.in.arena.used + u.in.weight
	n += len(u.out.Records)*int(unsafe.Sizeof(out)) + u.out.arena.used + u.out.weight
	return int64(n)
}

// budget bounds the bytes in flight over all lanes. A lane reads only while something is left, so the bound is passed
// by at most a batch a lane.
type budget struct {
	used    atomic.Int64
	max     int64
	waiting atomic.Int32
	mu      sync.Mutex
	cond    sync.Cond
}

func (b *budget) init(limit int64) {
	b.max = limit
	b.cond.L = &b.mu
}

func (b *budget) add(n int64) { b.used.Add(n) }

func (b *budget) release(n int64) {
	b.used.Add(-n)
	if b.waiting.Load() > 0 {
		b.wake()
	}
}

// wake makes those who wait look again. A waiter counts itself before it looks at used, and release lowers used
// before it looks at waiting, so one of the two sees the other.
func (b *budget) wake() {
	b.mu.Lock()
	b.cond.Broadcast()
	b.mu.Unlock()
}

// wait blocks until something is left or give reports true.
func (b *budget) wait(give func() bool) {
	if b.used.Load() < b.max {
		return
	}
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.used.Load() >= b.max && !give() {
		b.cond.Wait()
	}
}
