package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// none is the offset of a partition for which nothing is committed.
const none = -1

// generation is what a member has from one rebalance to the next. The group's heartbeats stop when it begins to end, so
// the splits must be given up well before the session times out; until then commits are taken.
type generation struct {
	session *session
	gen     *kafkago.Generation
	mine    map[string]*assignment
	commits committer

	ending   chan struct{} // closed: the splits are to be given up
	by       time.Time     // at the latest; set before ending is closed
	released chan struct{} // closed: they are
	once     sync.Once     // closes ending
	freed    sync.Once     // closes released
	dead     atomic.Bool   // nothing may be committed any more
}

func newGeneration(s *session, gen *kafkago.Generation) *generation {
	g := &generation{session: s, gen: gen, mine: make(map[string]*assignment), ending: make(chan struct{}), released: make(chan struct{})}
	for topic, partitions := range gen.Assignments {
		for _, p := range partitions {
			g.mine[splitID(topic, p.ID)] = newAssignment(g, topic, p.ID, max(p.Offset, none))
		}
	}
	gen.Start(g.live)
	return g
}

// live is the time of a generation: when it returns, the member goes on to the next one.
func (g *generation) live(ctx context.Context) {
	defer g.dead.Store(true)
	select {
	case <-ctx.Done():
	case <-g.ending:
	case <-g.session.left:
		return
	}
	g.end(time.Now().Add(g.session.consumer.drain()))
	timer := time.NewTimer(time.Until(g.by))
	defer timer.Stop()
	select {
	case <-g.released:
	case <-timer.C:
	case <-g.session.left:
	}
}

// drain is how long what is revoked may take to be given up. The last heartbeat may be as old as their interval, and the
// member has to be back in time.
func (c *Consumer) drain() time.Duration {
	return min(c.sessionTimeout(), c.rebalanceTimeout())*3/4 - c.heartbeatInterval()
}

// end makes the session revoke the splits.
func (g *generation) end(by time.Time) {
	g.once.Do(func() {
		g.by = by
		close(g.ending)
	})
}

func (g *generation) ended() bool {
	select {
	case <-g.ending:
		return true
	default:
		return false
	}
}

// release lets the member go on: the splits are given up.
func (g *generation) release() { g.freed.Do(func() { close(g.released) }) }

func (g *generation) ids() []string { return slices.Sorted(maps.Keys(g.mine)) }

func (g *generation) splits() []weaver.Split {
	out := make([]weaver.Split, 0, len(g.mine))
	for _, id := range g.ids() {
		out = append(out, weaver.Split{ID: id, Handle: g.mine[id]})
	}
	return out
}

// assignment is a partition that a member has for the time of a generation; without one, all the time.
type assignment struct {
	generation *generation
	topic      string
	partition  int
	committed  atomic.Int64 // where a reader without a position starts; negative: none yet
}

func newAssignment(g *generation, topic string, partition int, committed int64) *assignment {
	a := &assignment{generation: g, topic: topic, partition: partition}
	a.committed.Store(committed)
	return a
}

// lost returns an error once the partition may have another owner.
func (a *assignment) lost() error {
	g := a.generation
	switch {
	case g == nil || !g.dead.Load():
		return nil
	case g.session.consumer.fw.isClosed():
		return ErrClosed
	case g.session.isFinal():
		return retry.Fatal(fmt.Errorf("kafka: group %q took partition %d of topic %q away while what was left of it was read: run the pipeline again",
			g.session.consumer.group, a.partition, a.topic))
	}
	return fmt.Errorf("kafka: partition %d of topic %q may belong to another member of group %q by now", a.partition, a.topic, g.session.consumer.group)
}

// commit makes the group's position durable. If the partition may have another owner it does nothing.
func (a *assignment) commit(offset int64) error {
	g := a.generation
	if g == nil {
		a.committed.Store(offset)
		return nil
	}
	if g.dead.Load() {
		return nil
	}
	err := g.commits.commit(g.gen, a, offset)
	switch {
	case err == nil:
		a.committed.Store(offset)
		return nil
	case isCode(err, kafkago.UnknownMemberId, kafkago.IllegalGeneration, kafkago.RebalanceInProgress, kafkago.FencedInstanceID):
		g.end(time.Now()) // the group has gone on without this member
		return nil
	case g.session.consumer.fw.isClosed():
		return ErrClosed
	case g.dead.Load():
		return nil
	}
	return fmt.Errorf("kafka: committing offset %d of topic %q, partition %d, for group %q: %w",
		offset, a.topic, a.partition, g.session.consumer.group, classed(err))
}

// committer commits for all partitions of a generation: what comes while a request is under way goes into the next one.
type committer struct {
	mu   sync.Mutex
	next *commitRound  // takes offsets; nil: none
	turn chan struct{} // holds one: whoever has it may send a request
}

// commitRound is what one request commits.
type commitRound struct {
	offsets map[string]map[int]int64
	done    chan struct{}
	err     error // once done is closed
}

// commit blocks until the offset is committed, which takes as long as two requests may. One of those whose offsets are in
// a request sends it.
func (c *committer) commit(gen *kafkago.Generation, a *assignment, offset int64) error {
	c.mu.Lock()
	if c.turn == nil {
		c.turn = make(chan struct{}, 1)
	}
	r, first := c.next, c.next == nil
	if first {
		r = &commitRound{offsets: make(map[string]map[int]int64), done: make(chan struct{})}
		c.next = r
	}
	if r.offsets[a.topic] == nil {
		r.offsets[a.topic] = make(map[int]int64)
	}
	r.offsets[a.topic][a.partition] = offset
	c.mu.Unlock()
	if first {
		c.turn <- struct{}{}
		c.mu.Lock()
		c.next = nil
		c.mu.Unlock()
		r.err = gen.CommitOffsets(r.offsets)
		close(r.done)
		<-c.turn
	}
	<-r.done
	return r.err
}
