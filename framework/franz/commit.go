package franz

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/bohica-labs/dataweaver/retry"
)

const (
	commitTimeout = 20 * time.Second
	commitPause   = 100 * time.Millisecond
)

// committer commits the offsets of a group, of all partitions in one request at a time: what is acknowledged while one is
// out goes together in the next. Its goroutine runs while there is something to commit.
type committer struct {
	cl     *kgo.Client
	ctx    context.Context //nolint:containedctx // ends with close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	cond    sync.Cond
	waiting map[*assignment]place
	sent    map[*assignment]place // in the request that is out
	running bool
	at      map[*assignment]place // what is committed
}

func newCommitter(cl *kgo.Client) *committer {
	c := &committer{cl: cl, waiting: make(map[*assignment]place), at: make(map[*assignment]place)}
	c.cond.L = &c.mu
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// close ends it. What isn't committed by then never is.
func (c *committer) close() {
	c.cancel()
	c.wg.Wait()
}

// committed returns where the group is in a partition.
func (c *committer) committed(a *assignment) place {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.at[a]; ok {
		return p
	}
	return a.start
}

// ack sees to it that p gets committed. A failure is told by the assignment's Reader, and by the next ack.
func (c *committer) ack(a *assignment, p place) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.ended.Load() {
		return nil // somebody else has the partition
	}
	if err := a.failed(); err != nil {
		return err
	}
	c.waiting[a] = p
	c.start()
	return nil
}

// start starts the goroutine if there is something to do. c.mu is held.
func (c *committer) start() {
	if c.running || len(c.waiting) == 0 || c.ctx.Err() != nil {
		return
	}
	c.running = true
	c.wg.Go(c.run)
}

// flush waits until nothing of the assignment is waiting or out.
func (c *committer) flush(a *assignment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		_, waits := c.waiting[a]
		_, out := c.sent[a]
		if (!waits || a.ended.Load()) && !out || !c.running {
			delete(c.waiting, a)
			return
		}
		c.cond.Wait()
	}
}

// begin commits where partitions start, and waits for that.
func (c *committer) begin(ctx context.Context, as []*assignment, at map[partition]listed) error {
	first := make(map[*assignment]place, len(as))
	for _, a := range as {
		if !a.ended.Load() {
			first[a] = place{at[a.partition].offset, -1}
		}
	}
	for a, err := range c.send(ctx, first) {
		if err != nil && !a.ended.Load() {
			return classify("committing where to start in "+a.String(), err)
		}
	}
	return nil
}

// run commits until nothing waits.
func (c *committer) run() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting) > 0 && c.ctx.Err() == nil {
		now := c.waiting
		c.waiting = make(map[*assignment]place)
		for a := range now {
			if a.ended.Load() {
				delete(now, a)
			}
		}
		c.sent = now
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(c.ctx, commitTimeout)
		errs := c.send(ctx, now)
		cancel()
		c.mu.Lock()
		c.sent = nil
		if c.settle(now, errs) {
			c.mu.Unlock()
			_ = retry.Sleep(c.ctx, commitPause)
			c.mu.Lock()
		}
		c.cond.Broadcast()
	}
	c.running = false
	c.cond.Broadcast()
}

// settle notes what became of a commit. It reports whether some of it is to be sent again. c.mu is held.
func (c *committer) settle(sent map[*assignment]place, errs map[*assignment]error) (again bool) {
	for a, p := range sent {
		err := errs[a]
		switch {
		case err == nil:
			c.at[a] = p
		case isCode(err, kerr.RebalanceInProgress, kerr.StaleMemberEpoch): // the latter until the next heartbeat (KIP-848)
			if _, newer := c.waiting[a]; !newer {
				c.waiting[a] = p
			}
			again = true
		case isCode(err, kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.FencedMemberEpoch, kerr.FencedInstanceID):
			a.end(classify("the commit in "+a.String()+" comes too late, the group has gone on without this member", err))
		default:
			a.fail(classify("committing an offset of "+a.String(), err))
		}
	}
	return again
}

// send commits and returns what became of each.
func (c *committer) send(ctx context.Context, what map[*assignment]place) map[*assignment]error {
	offsets := make(map[string]map[int32]kgo.EpochOffset)
	by := make(map[partition]*assignment, len(what))
	for a, p := range what {
		by[a.partition] = a
		if offsets[a.topic] == nil {
			offsets[a.topic] = make(map[int32]kgo.EpochOffset)
		}
		offsets[a.topic][a.index] = kgo.EpochOffset{Epoch: p.epoch, Offset: p.offset}
	}
	errs := make(map[*assignment]error, len(what))
	if len(what) == 0 {
		return errs
	}
	c.cl.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err == nil && resp == nil {
			err = errors.New("a commit was not answered")
		}
		for a := range what {
			errs[a] = err
		}
		if err != nil {
			return
		}
		names := make(map[[16]byte]string)
		for _, t := range req.Topics {
			names[t.TopicID] = t.Topic
		}
		for _, t := range resp.Topics {
			topic := t.Topic
			if topic == "" {
				topic = names[t.TopicID]
			}
			for _, p := range t.Partitions {
				if a := by[partition{topic, p.Partition}]; a != nil {
					errs[a] = kerr.ErrorForCode(p.ErrorCode)
				}
			}
		}
	})
	return errs
}
