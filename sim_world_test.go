package weaver_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// The simulation: a durable world (what the origin holds, what the sink has, what was saved and acknowledged) that
// outlives the pipelines that run on it, and fakes that fail as the plan of the world says. The world knows what it
// has generated, checks every call against it when it is made, and everything at the end.

// fate is what the plan has in store for a record.
type fate uint8

const (
	fateOK         fate = iota
	fatePhantom         // the origin has a position for it and nothing to read
	fateFilter          // the processor drops it
	fateReject          // the Reader can't decode it
	fatePoison          // the processor fails with a marked error
	fatePanic           // the processor panics
	fateStage           // the stage returns poison for the whole batch
	fateTwice           // the processor fails twice, then works
	fateExhaust         // the processor always fails with an unmarked error
	fateWrite           // the Writer never takes it, as the sink's style says
	fateWriteTwice      // the Writer refuses it twice, naming it
	fateWriteOut        // the Writer always refuses it with a transient error
	fateFlush           // Flush or Commit fails as poison while it is buffered
	fates
)

func (f fate) dead() bool {
	switch f {
	case fateReject, fatePoison, fatePanic, fateStage, fateExhaust, fateWrite, fateWriteOut, fateFlush:
		return true
	}
	return false
}

// simItem is what is read and, changed, what is written.
type simItem struct {
	Split, N, Sub int
	Count, Delta  int // of a count: how many, and how many more than the last time
	Body          []byte
}

func simBody(split, n int) string {
	s := fmt.Sprintf("%d/%d/", split, n)
	return s + strings.Repeat(string(rune('a'+n%26)), 1+n%13)
}

func parseBody(b []byte) (split, n int, ok bool) {
	var tail string
	if k, _ := fmt.Sscanf(string(b), "%d/%d/%s", &split, &n, &tail); k != 3 || string(b) != simBody(split, n) {
		return 0, 0, false
	}
	return split, n, true
}

type simStyle uint8 // of a sink that refuses records

const (
	styleNamed      simStyle = iota // writes the others, names the poison
	styleRolledBack                 // writes none, names the poison
	styleUnknown                    // writes none, names nothing
	stylePlain                      // returns a plain poison error
	stylePanic                      // panics
	styles
)

type simSinkKind uint8

const (
	sinkPlain simSinkKind = iota
	sinkFlusher
	sinkCheckpointer
)

// simConfig is the shape of one simulation. All is drawn from the seed.
type simConfig struct {
	seed         uint64
	splits, n    int
	keys         int // 0: nil keys
	unbounded    bool
	rebalance    bool
	steps        int // of rebalancing; default 6
	queue        bool
	acker        bool
	store        bool
	sink         simSinkKind
	style        simStyle
	letters      simSinkKind // plain or flusher
	process      string
	stateful     bool
	txn          int // longest source transaction; 1: none
	fates        []fate
	batchSize    int
	writers      int
	parallelism  int
	batchDelay   time.Duration
	interval     time.Duration
	inFlight     int64
	slowStage    time.Duration
	slowWrite    time.Duration
	slowRead     time.Duration
	runs         int // the last is calm and goes to the end
	faults       int // how many of each site
	faultRate    float64
	cancelWithin time.Duration
	stopTimeout  time.Duration // of all Runs but the last
}

func (c *simConfig) String() string { return fmt.Sprintf("%+v", *c) }

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func drawConfig(seed uint64) *simConfig {
	r := rand.New(rand.NewPCG(seed, 17))
	c := &simConfig{
		seed:        seed,
		splits:      pick(r, 1, 1, 2, 5),
		n:           pick(r, 1, 20, 100, 300),
		keys:        pick(r, 0, 3, 50),
		unbounded:   r.IntN(4) == 0,
		rebalance:   r.IntN(3) == 0,
		queue:       r.IntN(6) == 0,
		acker:       r.IntN(2) == 0,
		store:       r.IntN(2) == 0,
		sink:        pick(r, sinkPlain, sinkFlusher, sinkCheckpointer),
		style:       simStyle(r.IntN(int(styles))),
		letters:     pick(r, sinkPlain, sinkFlusher),
		process:     pick(r, "pass", "map", "then", "flatmap", "async", "stage", "count", "thencount"),
		txn:         pick(r, 1, 1, 7, 40),
		batchSize:   pick(r, 1, 2, 7, 64),
		writers:     pick(r, 1, 1, 3),
		parallelism: pick(r, 1, 3),
		batchDelay:  pick(r, 0, 0, 3*time.Millisecond, time.Second),
		interval:    pick(r, 5*time.Millisecond, 100*time.Millisecond, time.Second),
		inFlight:    pick(r, int64(1), 2000, 0),
		slowStage:   pick(r, 0, 0, 20*time.Microsecond, time.Millisecond),
		slowWrite:   pick(r, 0, 0, 20*time.Microsecond, 2*time.Millisecond),
		slowRead:    pick(r, 0, 0, 100*time.Microsecond, 5*time.Millisecond),
		runs:        pick(r, 1, 2, 5),
		faults:      pick(r, 0, 3, 10),
		faultRate:   pick(r, 0.02, 0.2, 0.6),
	}
	c.cancelWithin = pick(r, 3*time.Millisecond, 100*time.Millisecond, 3*time.Second)
	c.stopTimeout = pick(r, 0, 0, time.Millisecond)
	if c.queue {
		c.splits, c.rebalance, c.store, c.acker, c.unbounded, c.txn = 1, false, false, true, true, 1
		if c.process == "count" || c.process == "thencount" {
			c.process = "map" // nothing could keep the state of a queue's stage
		}
	}
	if c.runs > 1 && !c.acker && !c.store && c.sink != sinkCheckpointer {
		c.store = true // somebody must remember
	}
	if c.rebalance && !c.acker && c.sink != sinkCheckpointer {
		c.store = true
	}
	c.stateful = c.process == "count" || c.process == "thencount"
	if c.stateful {
		if c.sink != sinkCheckpointer {
			c.store = true
		}
		if c.keys == 0 {
			c.keys = 3
		}
	}
	c.fates = c.possible(r)
	return c
}

// possible draws the fates that make sense in this configuration.
func (c *simConfig) possible(r *rand.Rand) []fate {
	all := []fate{fatePhantom, fateReject}
	switch c.process {
	case "pass":
	case "map", "async":
		all = append(all, fateFilter, fatePoison, fatePanic, fateTwice, fateExhaust)
	case "then":
		all = append(all, fateFilter, fatePoison, fatePanic, fateTwice, fateExhaust)
	case "flatmap":
		all = append(all, fateFilter, fatePoison, fatePanic)
	case "stage":
		all = append(all, fateFilter, fatePoison, fateTwice, fateExhaust)
		if c.txn == 1 {
			all = append(all, fateStage)
		}
	case "thencount":
		all = append(all, fateFilter, fatePoison, fateTwice, fateExhaust)
	case "count":
		all = append(all, fateFilter, fatePoison)
	}
	if !c.stateful {
		if c.txn == 1 || c.sink == sinkPlain || c.style <= styleUnknown {
			all = append(all, fateWrite)
		}
		all = append(all, fateWriteTwice, fateWriteOut)
		if c.txn == 1 && c.sink != sinkPlain {
			all = append(all, fateFlush)
		}
	}
	var some []fate
	for _, f := range all {
		if r.IntN(3) == 0 {
			some = append(some, f)
		}
	}
	return some
}

// condemns reports whether a record may be found by search: skipping it isn't acknowledged before a later one is read.
func (c *simConfig) condemns() bool {
	return slices.Contains(c.fates, fateStage) || slices.Contains(c.fates, fateFlush) ||
		slices.Contains(c.fates, fateWrite) && c.sink != sinkPlain
}

// simWorld is what outlives a Run.
type simWorld struct {
	t    testing.TB
	c    *simConfig
	born time.Time

	mu       sync.Mutex
	rng      *rand.Rand
	calm     bool
	faulty   map[string]int // faults so far
	fate     [][]fate
	settles  [][]bool // cache of what has settled: never undone
	upTo     []int    // contiguous prefix that has settled
	sunk     [][][]int
	order    [][]simItem // durable content by split, in order
	dead     [][]int
	acked    []int
	saved    []int // in the store or the sink; -1: never
	state    [][]byte
	fence    []int
	envelope [][]byte
	counts   map[string]int // per key: what the emitted deltas add up to
	last     map[string]int // per key: the last emitted count
	open     map[any]string // what is open
	live     map[int]*simReader
	opens    int
	lastOpen time.Time
	bad      []string
	everCut  map[[2]int]int // failures of records that fail a number of times
}

func newWorld(t testing.TB, c *simConfig) *simWorld {
	w := &simWorld{
		t: t, c: c, born: time.Now(), rng: rand.New(rand.NewPCG(c.seed, 99)),
		faulty: map[string]int{}, counts: map[string]int{}, last: map[string]int{},
		open: map[any]string{}, live: map[int]*simReader{}, everCut: map[[2]int]int{},
		acked: make([]int, c.splits), saved: make([]int, c.splits), upTo: make([]int, c.splits),
		state: make([][]byte, c.splits), fence: make([]int, c.splits), envelope: make([][]byte, c.splits),
		order: make([][]simItem, c.splits),
	}
	r := rand.New(rand.NewPCG(c.seed, 5))
	rate := pick(r, 0.01, 0.1, 0.5)
	for s := range c.splits {
		w.saved[s] = -1
		w.fate = append(w.fate, make([]fate, c.n))
		w.settles = append(w.settles, make([]bool, c.n))
		w.sunk = append(w.sunk, make([][]int, c.n))
		w.dead = append(w.dead, make([]int, c.n))
		for n := range c.n {
			w.sunk[s][n] = make([]int, 4)
			if len(c.fates) > 0 && r.Float64() < rate {
				w.fate[s][n] = pick(r, c.fates...)
			}
		}
	}
	return w
}

// violate notes a broken promise. mu is held.
func (w *simWorld) violate(format string, args ...any) {
	if len(w.bad) < 20 {
		w.bad = append(w.bad, fmt.Sprintf("%v: ", time.Since(w.born))+fmt.Sprintf(format, args...))
	}
}

// fails draws whether a call at site fails now.
func (w *simWorld) fails(site string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calm || w.faulty[site] >= w.c.faults || w.rng.Float64() >= w.c.faultRate {
		return false
	}
	w.faulty[site]++
	return true
}

// failure is an error such as connectors return.
func (w *simWorld) failure(site string) error {
	w.mu.Lock()
	k := w.rng.IntN(4)
	w.mu.Unlock()
	err := fmt.Errorf("%s is out", site)
	switch k {
	case 0:
		return retry.After(err, 20*time.Millisecond)
	case 1:
		return retry.Transient(err)
	}
	return err
}

// nap lets virtual time pass, sometimes.
func (w *simWorld) nap(usual time.Duration) {
	w.mu.Lock()
	d := usual
	if w.rng.IntN(3) == 0 {
		d = 0
	} else if w.rng.IntN(50) == 0 {
		d += time.Duration(w.rng.IntN(int(50 * time.Millisecond)))
	}
	w.mu.Unlock()
	if d > 0 {
		time.Sleep(d)
	}
}

func (w *simWorld) intn(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n)
}

// outputs is how many records n becomes when it is neither filtered nor dead.
func (w *simWorld) outputs(n int) int {
	if w.c.process == "flatmap" {
		return n % 4
	}
	return 1
}

func (w *simWorld) key(split, n int) string {
	if w.c.keys == 0 {
		return ""
	}
	return fmt.Sprintf("k%d/%d", split, n%w.c.keys)
}

// settled reports whether record n is where it belongs. mu is held.
func (w *simWorld) settled(split, n int) bool {
	if w.settles[split][n] {
		return true
	}
	f := w.fate[split][n]
	ok := true
	switch {
	case f == fatePhantom || f == fateFilter:
	case f.dead():
		ok = w.dead[split][n] > 0
		if f == fateWrite || f == fateWriteOut || f == fateFlush { // what isn't written can't fail
			ok = ok || w.outputs(n) == 0
		}
	case w.c.stateful: // state is checked where it is saved
	default:
		for sub := range w.outputs(n) {
			ok = ok && w.sunk[split][n][sub] > 0
		}
	}
	w.settles[split][n] = ok
	return ok
}

// durableUpTo checks that everything before n has settled. mu is held.
func (w *simWorld) durableUpTo(who string, split, n int) {
	if n > w.c.n || n < 0 {
		w.violate("%s: position %d of split %d doesn't exist", who, n, split)
		return
	}
	for w.upTo[split] < n {
		if !w.settled(split, w.upTo[split]) {
			w.violate("%s: position %d of split %d, but record %d (fate %d) has not settled", who, n, split, w.upTo[split], w.fate[split][w.upTo[split]])
			return
		}
		w.upTo[split]++
	}
}

// sink makes items durable. mu is held.
func (w *simWorld) sink(items []simItem) {
	for _, x := range items {
		w.order[x.Split] = append(w.order[x.Split], x)
		if w.c.stateful {
			k := w.key(x.Split, x.N)
			w.counts[k] += x.Delta
			w.last[k] = x.Count
			continue
		}
		w.sunk[x.Split][x.N][x.Sub]++
	}
}

// checkState compares a snapshot with what it must be at a position. mu is held.
func (w *simWorld) checkState(who string, split, upTo int, state []byte) {
	if !w.c.stateful {
		return
	}
	want := map[string]int{}
	for n := range upTo {
		if f := w.fate[split][n]; f == fateOK || f == fateTwice {
			want[w.key(split, n)]++
		}
	}
	got := map[string][2]int{}
	if w.c.process == "thencount" && len(state) > 0 {
		n, k := binary.Uvarint(state[1:]) // as weaver.Then joins states: the first one has none
		state = state[1+k+int(n):]
	}
	if len(state) > 0 {
		if err := json.Unmarshal(state, &got); err != nil {
			w.violate("%s: state of split %d: %v in %q", who, split, err, state)
			return
		}
	}
	for k, n := range want {
		if got[k][0] != n {
			w.violate("%s: at position %d of split %d the state has %d of key %s, want %d", who, upTo, split, got[k][0], k, n)
			return
		}
	}
	for k, n := range got {
		if w.c.sink == sinkCheckpointer && w.counts[k] != n[1] {
			w.violate("%s: at position %d of split %d the state has told %d of key %s, the sink was told %d", who, upTo, split, n[1], k, w.counts[k])
			return
		}
		if want[k] != n[0] {
			w.violate("%s: at position %d of split %d the state has %d of key %s, want %d", who, upTo, split, n[0], k, want[k])
			return
		}
	}
}

// checkpointed checks and notes an envelope. mu is held.
func (w *simWorld) checkpointed(who string, split int, env []byte) {
	pos, state, err := weaver.DecodeEnvelope(env)
	if err != nil {
		w.violate("%s: %v", who, err)
		return
	}
	n, ok := simPos(pos)
	if !ok {
		w.violate("%s: position %x was never given", who, []byte(pos))
		return
	}
	if n < w.saved[split] {
		w.violate("%s: position of split %d goes back from %d to %d", who, split, w.saved[split], n)
	}
	w.durableUpTo(who, split, n)
	w.checkState(who, split, n, state)
	w.saved[split] = n
}

func simPos(p []byte) (int, bool) {
	if len(p) != 8 {
		return 0, false
	}
	return int(binary.BigEndian.Uint64(p)), true
}

// opened and closed keep the books.
func (w *simWorld) opened(x any, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[x] = what
	if now := time.Now(); now.Equal(w.lastOpen) {
		if w.opens++; w.opens > 3000 {
			panic(fmt.Sprintf("%s: opened %d times without any wait; %v", what, w.opens, w.c))
		}
	} else {
		w.lastOpen, w.opens = now, 0
	}
}

func (w *simWorld) closed(x any, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.open[x]; !ok {
		w.violate("%s closed twice", what)
	}
	delete(w.open, x)
}

var errOwner = errors.New("two calls at once")

// owner checks that calls come one at a time.
type owner struct {
	w    *simWorld
	name string
	mu   sync.Mutex
	busy string
	gone bool
}

func (o *owner) enter(call string) func() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.busy != "" || o.gone {
		o.w.mu.Lock()
		o.w.violate("%s.%s while %s runs (closed: %v): %v", o.name, call, o.busy, o.gone, errOwner)
		o.w.mu.Unlock()
	}
	o.busy = call
	return func() {
		o.mu.Lock()
		o.busy = ""
		if call == "Close" {
			o.gone = true
		}
		o.mu.Unlock()
	}
}

// finish checks everything there is at the end.
func (w *simWorld) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.c
	for s := range c.splits {
		w.durableUpTo("at the end", s, c.n)
		if (c.store || c.sink == sinkCheckpointer) && !c.queue && w.saved[s] != c.n {
			w.violate("the saved position of split %d is %d at the end, want %d", s, w.saved[s], c.n)
		}
		// A position that became durable and was not acknowledged before the lane was opened again is acknowledged with the
		// next one.
		if c.acker && w.acked[s] != c.n && (c.queue || c.runs == 1 && c.faults == 0 && !c.rebalance && !c.condemns()) {
			w.violate("the acknowledged position of split %d is %d at the end, want %d", s, w.acked[s], c.n)
		}
		for n := range c.n {
			f := w.fate[s][n]
			if !f.dead() && w.dead[s][n] > 0 {
				w.violate("record %d of split %d (fate %d) is in the dead letters %d times and is no poison", n, s, f, w.dead[s][n])
			}
			for sub, times := range w.sunk[s][n] {
				exactly := c.sink == sinkCheckpointer && !c.queue
				switch poisoned := f.dead() && (sub == 0 || f != fateWrite && f != fateWriteOut && f != fateFlush); {
				case times > 0 && (poisoned || f == fatePhantom || f == fateFilter):
					w.violate("record %d/%d of split %d (fate %d) is in the sink", n, sub, s, f)
				case exactly && times > 1:
					w.violate("record %d/%d of split %d (fate %d) is in the sink %d times", n, sub, s, f, times)
				}
			}
		}
		w.checkOrder(s)
	}
	if c.stateful {
		w.checkCounts()
	}
	for _, what := range w.open {
		w.violate("%s was not closed", what)
	}
}

// checkOrder looks at the durable content of a split. mu is held.
func (w *simWorld) checkOrder(s int) {
	c := w.c
	if c.stateful {
		return
	}
	partial := slices.Contains(c.fates, fateWriteTwice) || slices.Contains(c.fates, fateWriteOut)
	if c.keys == 0 && (c.writers > 1 && c.sink != sinkCheckpointer || partial) || c.queue {
		return
	}
	whole := !partial && (c.writers == 1 || c.sink == sinkCheckpointer)
	first, last := map[string]int{}, map[string]int{}
	seen := map[[2]int]bool{}
	for i, x := range w.order[s] {
		if w.fate[s][x.N].dead() {
			continue // of what a dead record became, some may be there
		}
		k := w.key(s, x.N)
		if whole {
			k = "all"
		}
		at := 4*x.N + x.Sub
		if !seen[[2]int{x.N, x.Sub}] {
			seen[[2]int{x.N, x.Sub}] = true
			if before, ok := first[k]; ok && at < before && !partial {
				w.violate("split %d, entry %d: record %d/%d comes for the first time behind %d/%d of key %s", s, i, x.N, x.Sub, before/4, before%4, k)
				return
			}
			first[k] = max(at, first[k]) // a record refused for now comes behind others, which come once more behind it
		}
		last[k] = at
	}
	if c.rebalance && c.store && c.sink != sinkCheckpointer {
		return // a lane that was given up may still save, and make its successor skip what it has begun to write again
	}
	for k, at := range last {
		if at != first[k] {
			w.violate("split %d: the last value of key %s is %d/%d, stale: %d/%d is newer", s, k, at/4, at%4, first[k]/4, first[k]%4)
			return
		}
	}
}

// checkCounts compares what counting has emitted with what there was to count. mu is held.
func (w *simWorld) checkCounts() {
	want := map[string]int{}
	for s := range w.c.splits {
		for n, f := range w.fate[s] {
			if f == fateOK || f == fateTwice {
				want[w.key(s, n)]++
			}
		}
	}
	for k, n := range want {
		if w.last[k] != n && !w.c.unbounded { // which hears no end
			w.violate("the last count of key %s is %d, want %d", k, w.last[k], n)
		}
		if w.c.sink == sinkCheckpointer && w.counts[k] != n && !w.c.unbounded {
			w.violate("the deltas of key %s add up to %d, want exactly %d", k, w.counts[k], n)
		}
	}
}
