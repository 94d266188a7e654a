package weaver_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

var errUndecodable = errors.New("undecodable")

func splitID(s int) string { return fmt.Sprintf("s%d", s) }

func splitOf(id string) int {
	var s int
	_, _ = fmt.Sscanf(id, "s%d", &s)
	return s
}

// simSource is the origin: splits with positions, or a queue.
type simSource struct{ w *simWorld }

// simSplitSource has several splits, or ones that come and go.
type simSplitSource struct{ simSource }

type simQueueSource struct{ simSource }

func (simQueueSource) Queue() bool { return true }

func (w *simWorld) source() weaver.Source[simItem] {
	switch {
	case w.c.queue:
		return simQueueSource{simSource{w}}
	case w.c.splits > 1 || w.c.rebalance || w.c.unbounded:
		return simSplitSource{simSource{w}}
	}
	return simSource{w}
}

// simReader reads one split. Of a queue, it delivers what no reader before it had acknowledged, and its positions are
// its own.
type simReader struct {
	owner
	split    int
	at       int // the next record
	from     int // the first one
	base     int // what a queue's positions count from
	txnEnd   int // no position before it
	pos      []byte
	given    map[int]bool
	lastAck  int
	hold     *simHold
	ackOwner owner
	done     chan struct{}
}

// simHold is a split in the hands of a session.
type simHold struct {
	revoked bool
	givenUp time.Time // the session was told that it is, or gave the split to another: no Ack any more
}

type simAckReader struct{ *simReader }

func (s simSource) OpenReader(ctx context.Context, at weaver.Lane) (weaver.Reader[simItem], error) {
	w := s.w
	if at.Log == nil {
		w.t.Errorf("OpenReader: no Log")
	}
	w.nap(w.c.slowRead)
	if w.fails("open reader") {
		return nil, w.failure("open reader")
	}
	split := splitOf(at.Split.ID)
	w.mu.Lock()
	r := &simReader{split: split, given: map[int]bool{}, lastAck: -1, done: make(chan struct{})}
	name := fmt.Sprintf("reader of split %d", split)
	r.owner = owner{w: w, name: name}
	r.ackOwner = owner{w: w, name: name}
	if r.hold, _ = at.Split.Handle.(*simHold); r.hold == nil {
		r.hold = &simHold{}
	}
	switch {
	case w.c.queue:
		if at.Position != nil {
			w.violate("%s: a queue is opened at a position", name)
		}
		r.at, r.base = w.acked[split], w.rng.IntN(1000)
	case at.Position != nil:
		n, ok := simPos(at.Position)
		if !ok {
			w.violate("%s: opened at a position %x that was never given", name, []byte(at.Position))
		}
		r.at = n
		w.durableUpTo(name+" opened", split, n)
		if w.c.acker && n < w.acked[split] && !r.hold.revoked {
			w.violate("%s: opened at %d, but %d is acknowledged", name, n, w.acked[split])
		}
	case w.c.acker:
		r.at = w.acked[split]
	case w.saved[split] > 0 && !w.c.rebalance: // a lane that was given up may save while the next one opens
		w.violate("%s: opened at the start, but %d is saved", name, w.saved[split])
	}
	r.from, r.txnEnd = r.at, r.at
	switch old := w.live[split]; {
	case old == nil || r.hold.revoked: // the latter is a lane that was given up while it opened
	case old.hold.revoked:
		old.hold.givenUp = time.Now() // one change has taken the split and given it back
	default:
		w.violate("%s: opened while another one is open", name)
	}
	if !r.hold.revoked {
		w.live[split] = r
	}
	w.mu.Unlock()
	w.opened(r, name)
	if w.c.acker {
		return simAckReader{r}, nil
	}
	return r, nil
}

func (r *simReader) Read(ctx context.Context, b *weaver.Batch[simItem]) (weaver.Position, error) {
	defer r.enter("Read")()
	w, c := r.w, r.w.c
	for i := range r.pos {
		r.pos[i] = 0xEE // the last position was to be copied
	}
	w.nap(c.slowRead)
	if w.intn(30) == 0 {
		select { // a quiet origin
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(w.intn(int(2 * c.interval)))):
		}
	}
	if ctx.Err() != nil && w.intn(2) == 0 {
		return nil, ctx.Err()
	}
	window := 3 * c.batchSize
	if _, acks := any(r).(weaver.Acker); (acks || c.acker) && w.intn(4) > 0 {
		w.mu.Lock()
		full := r.at-max(r.from, w.acked[r.split]) >= window && r.at >= r.txnEnd
		w.mu.Unlock()
		if full {
			return nil, weaver.ErrFull
		}
	}
	if r.at == c.n {
		return r.ending(ctx)
	}
	fail := w.fails("read")
	most := 1 + w.intn(2*c.batchSize)
	for k := 0; k < most && r.at < c.n && !b.Full(); k++ {
		if r.at == r.txnEnd {
			r.txnEnd = min(c.n, r.at+1+w.intn(c.txn))
		}
		if fail && w.intn(3) == 0 {
			break
		}
		r.add(b)
	}
	if fail {
		if w.intn(5) == 0 {
			return r.position(), fmt.Errorf("cut off: %w", io.EOF)
		}
		return nil, w.failure("read")
	}
	p := r.position()
	if r.at == c.n && !c.unbounded && w.intn(2) == 0 {
		return p, io.EOF
	}
	return p, nil
}

// ending is a Read after the last record.
func (r *simReader) ending(ctx context.Context) (weaver.Position, error) {
	if !r.w.c.unbounded {
		if r.w.intn(2) == 0 && r.at > r.from {
			return r.position(), io.EOF
		}
		return nil, io.EOF
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-r.done:
		return nil, io.EOF
	}
}

func (r *simReader) add(b *weaver.Batch[simItem]) {
	w := r.w
	n := r.at
	r.at++
	switch w.fate[r.split][n] {
	case fatePhantom:
		return
	case fateReject:
		b.Reject(int64(n), []byte(simBody(r.split, n)), errUndecodable)
		return
	}
	x := b.Add()
	x.Seq = int64(n)
	x.Value = simItem{Split: r.split, N: n, Body: b.Copy([]byte(simBody(r.split, n)))}
	if k := w.key(r.split, n); k != "" {
		x.Key = b.Copy([]byte(k))
	}
	if n%5 == 0 {
		b.Weigh(100)
	}
}

func (r *simReader) position() weaver.Position {
	if r.at < r.txnEnd {
		return nil
	}
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.given[r.at] = true
	r.pos = binary.BigEndian.AppendUint64(r.pos[:0], uint64(r.base+r.at))
	return r.pos
}

func (r *simReader) Close() error {
	defer r.enter("Close")()
	w := r.w
	w.nap(0)
	w.mu.Lock()
	if r.ackOwner.busy != "" {
		w.violate("%s: closed while Ack runs", r.name)
	}
	r.ackOwner.gone = true
	if w.live[r.split] == r {
		delete(w.live, r.split)
	}
	w.mu.Unlock()
	w.closed(r, r.name)
	if w.fails("close") {
		return errors.New("closing failed")
	}
	return nil
}

func (r simAckReader) Ack(_ context.Context, p weaver.Position) error {
	defer r.ackOwner.enter("Ack")()
	w := r.w
	n, ok := simPos(p)
	n -= r.base
	w.mu.Lock()
	switch {
	case !ok || !r.given[n] && (n != r.from || w.c.queue): // what it was opened at is its own as well
		w.violate("%s: Ack of %d (%v), which this reader has not given", r.name, n, ok)
	case n < r.lastAck:
		w.violate("%s: Ack of %d after %d", r.name, n, r.lastAck)
	case !r.hold.givenUp.IsZero() && time.Now().After(r.hold.givenUp):
		w.violate("%s: Ack of %d after the session was told that it is given up", r.name, n)
	case (w.c.store || w.c.sink == sinkCheckpointer) && !w.c.queue && w.saved[r.split] < n:
		w.violate("%s: Ack of %d, but only %d is saved", r.name, n, w.saved[r.split])
	default:
		w.durableUpTo("Ack", r.split, n)
	}
	r.lastAck = n
	w.mu.Unlock()
	w.nap(w.c.slowRead)
	fail := w.fails("ack")
	if !fail || w.intn(2) == 0 {
		w.mu.Lock()
		if r.hold.givenUp.IsZero() { // otherwise the origin fences it, as groups do
			w.acked[r.split] = max(w.acked[r.split], n)
		}
		w.mu.Unlock()
	}
	if fail {
		return w.failure("ack")
	}
	return nil
}

// simSession tells splits: all of them, or, rebalancing, now these and now those.
type simSession struct {
	owner
	mine    map[int]*simHold
	pending []*simHold // revoked by the last change
	steps   int
}

func (s simSplitSource) Splits(ctx context.Context) (weaver.Splits, error) {
	w := s.w
	if w.fails("splits") {
		return nil, w.failure("splits")
	}
	x := &simSession{owner: owner{w: w, name: "session"}, mine: map[int]*simHold{}}
	if w.c.rebalance {
		x.steps = w.intn(max(6, w.c.steps))
	}
	w.opened(x, "session")
	return x, nil
}

func (s *simSession) Close() error {
	defer s.enter("Close")()
	s.w.closed(s, "session")
	return nil
}

func (s *simSession) Next(ctx context.Context) (weaver.Change, error) {
	defer s.enter("Next")()
	w, c := s.w, s.w.c
	w.mu.Lock()
	for _, h := range s.pending {
		h.givenUp = time.Now()
	}
	s.pending = nil
	w.mu.Unlock()
	if w.fails("next") {
		return weaver.Change{}, w.failure("next")
	}
	if len(s.mine) > 0 && s.steps > 0 {
		select {
		case <-ctx.Done():
			return weaver.Change{}, ctx.Err()
		case <-time.After(time.Duration(w.intn(int(20 * time.Millisecond)))):
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var change weaver.Change
	if s.steps > 0 {
		s.steps--
		for split := range c.splits {
			switch hold := s.mine[split]; {
			case hold != nil && w.rng.IntN(2) == 0:
				change.Revoke = append(change.Revoke, splitID(split))
				s.pending = append(s.pending, hold)
				hold.revoked = true
				s.mine[split] = nil
				if w.rng.IntN(3) == 0 { // with another handle
					s.add(&change, split)
				}
			case hold == nil && w.rng.IntN(2) == 0:
				s.add(&change, split)
			}
		}
		change.Revoke = append(change.Revoke, "unknown")
		switch w.rng.IntN(3) {
		case 0:
			change.By = time.Now().Add(time.Duration(w.rng.IntN(int(5 * time.Millisecond))))
		case 1:
			change.By = time.Now().Add(time.Hour)
		}
		return change, nil
	}
	for split := range c.splits {
		if s.mine[split] == nil {
			s.add(&change, split)
		}
	}
	if len(change.Add) > 0 {
		return change, nil
	}
	if c.unbounded {
		w.mu.Unlock()
		<-ctx.Done()
		w.mu.Lock()
		return weaver.Change{}, ctx.Err()
	}
	return weaver.Change{}, io.EOF
}

func (s *simSession) add(change *weaver.Change, split int) {
	s.mine[split] = &simHold{}
	change.Add = append(change.Add, weaver.Split{ID: splitID(split), Bounded: !s.w.c.unbounded, Handle: s.mine[split]})
}

// The processors, each with the fates it can bring about.

func (w *simWorld) fateOf(x *simItem) (fate, error) {
	split, n, ok := parseBody(x.Body)
	if !ok || split != x.Split || n != x.N {
		w.mu.Lock()
		w.violate("processing: record %d of split %d has body %q", x.N, x.Split, x.Body)
		w.mu.Unlock()
		return fateOK, nil
	}
	f := w.fate[split][n]
	switch f {
	case fatePoison:
		return f, retry.Permanent(errors.New("poison"))
	case fatePanic:
		panic("poisonous")
	case fateExhaust:
		return f, errors.New("fails always")
	case fateTwice:
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.everCut[[2]int{split, n}]++; w.everCut[[2]int{split, n}]%3 != 0 {
			return f, errors.New("fails twice")
		}
	}
	return f, nil
}

func (w *simWorld) mapItem(_ context.Context, x simItem) (simItem, error) {
	f, err := w.fateOf(&x)
	if err == nil && f == fateFilter {
		err = weaver.ErrSkip
	}
	return x, err
}

func (w *simWorld) processor() weaver.Processor[simItem, simItem] {
	busy := weaver.MapContext(func(ctx context.Context, x simItem) (simItem, error) {
		if x.N%8 == 0 {
			w.nap(w.c.slowStage)
		}
		return w.mapItem(ctx, x)
	})
	switch w.c.process {
	case "map":
		return busy
	case "then":
		return weaver.Then(weaver.Then(busy, weaver.Pass[simItem]()), weaver.FlatMap(func(x simItem, emit func(simItem)) error {
			emit(x)
			return nil
		}))
	case "async":
		return weaver.MapAsync(3, w.mapItem)
	case "flatmap":
		return weaver.FlatMap(func(x simItem, emit func(simItem)) error {
			f, err := w.fateOf(&x)
			if f == fateFilter {
				return nil
			}
			for sub := range w.outputs(x.N) {
				x.Sub = sub
				emit(x)
			}
			return err
		})
	case "stage":
		return simStages{w}
	case "count":
		return simCounts{w}
	case "thencount":
		return weaver.Then(busy, weaver.Processor[simItem, simItem](simCounts{w}))
	}
	return weaver.Pass[simItem]()
}

// simStages opens stages that work batch by batch, one owner each.
type simStages struct{ w *simWorld }

type simStage struct {
	owner
}

func (s simStages) OpenStage(context.Context, weaver.Lane) (weaver.Stage[simItem, simItem], error) {
	if s.w.fails("open stage") {
		return nil, s.w.failure("open stage")
	}
	x := &simStage{owner{w: s.w, name: "stage"}}
	s.w.opened(x, "stage")
	return x, nil
}

func (s *simStage) Close() error {
	defer s.enter("Close")()
	s.w.closed(s, "stage")
	return nil
}

func (s *simStage) Process(_ context.Context, in *weaver.Batch[simItem], out *weaver.Emitter[simItem]) error {
	defer s.enter("Process")()
	w := s.w
	w.nap(w.c.slowStage)
	if w.fails("stage") {
		return w.failure("stage")
	}
	for i := range in.Records {
		if w.fate[in.Records[i].Value.Split][in.Records[i].Value.N] == fateStage {
			return retry.Permanent(errors.New("the stage chokes on a record"))
		}
	}
	for i := range in.Records {
		r := &in.Records[i]
		f, err := w.fateOf(&r.Value)
		switch {
		case err != nil:
			out.Fail(i, err)
		case f == fateFilter:
		case r.Value.N%2 == 0:
			out.Emit(i, *r)
		default:
			o := out.Next(i)
			*o = *r
			o.Value.Body = out.Bytes(len(r.Value.Body))
			copy(o.Value.Body, r.Value.Body)
		}
	}
	return nil
}

// simCounts counts per key and tells how many at ticks and at the end.
type simCounts struct{ w *simWorld }

type simCount struct {
	owner
	split  int
	counts map[string][2]int // all, and how many of them were told
	state  []byte
}

func (s simCounts) OpenStage(_ context.Context, at weaver.Lane) (weaver.Stage[simItem, simItem], error) {
	if s.w.fails("open stage") {
		return nil, s.w.failure("open stage")
	}
	x := &simCount{owner: owner{w: s.w, name: "count"}, split: splitOf(at.Split.ID), counts: map[string][2]int{}, state: at.State}
	s.w.opened(x, "count")
	return x, nil
}

// restore reads the state late: Lane.State must not change under a stage that keeps it.
func (s *simCount) restore() error {
	state := s.state
	s.state = nil
	if len(state) == 0 {
		return nil
	}
	return unmarshalCounts(state, &s.counts)
}

func (s *simCount) Close() error {
	defer s.enter("Close")()
	s.w.closed(s, "count")
	return nil
}

func (s *simCount) Process(_ context.Context, in *weaver.Batch[simItem], out *weaver.Emitter[simItem]) error {
	defer s.enter("Process")()
	w := s.w
	w.nap(w.c.slowStage)
	if err := s.restore(); err != nil {
		return retry.Fatal(err)
	}
	if w.fails("stage") {
		return w.failure("stage")
	}
	for i := range in.Records {
		x := &in.Records[i].Value
		if w.c.process == "count" {
			f, err := w.fateOf(x)
			if err != nil {
				out.Fail(i, err)
				continue
			}
			if f == fateFilter {
				continue
			}
		}
		c := s.counts[w.key(x.Split, x.N)]
		c[0]++
		s.counts[w.key(x.Split, x.N)] = c
	}
	if len(in.Records) > 0 && w.intn(3) > 0 {
		return nil
	}
	keys := make([]string, 0, len(s.counts))
	for k := range s.counts {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		c := s.counts[k]
		if c[0] == c[1] {
			continue
		}
		var n int
		_, _ = fmt.Sscanf(k, fmt.Sprintf("k%d/%%d", s.split), &n)
		o := out.Next(-1)
		o.Value = simItem{Split: s.split, N: n, Count: c[0], Delta: c[0] - c[1], Body: []byte(simBody(s.split, n))}
		o.Key = []byte(k)
		s.counts[k] = [2]int{c[0], c[0]}
	}
	return nil
}

func (s *simCount) Snapshot() ([]byte, error) {
	defer s.enter("Snapshot")()
	if err := s.restore(); err != nil {
		return nil, retry.Fatal(err)
	}
	if s.w.fails("snapshot") {
		return nil, s.w.failure("snapshot")
	}
	return marshalCounts(s.counts)
}
