package franz

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/bohica-labs/dataweaver/retry"
)

// fetcher brings the partitions that have a Reader, from their leaders into a bounded queue for each. It asks for nothing
// that has no room, so a slow Reader holds up nobody else, and nothing is fetched twice.
//
// One goroutine for each leader has one request out at a time; another one, the keeper, finds leaders. All end with close.
type fetcher struct {
	cl        *kgo.Client
	isolation int8
	maxWait   time.Duration
	maxBytes  int // a partition at a time
	maxQueued int
	patience  time.Duration // with a leader that doesn't answer

	ctx    context.Context //nolint:containedctx // ends with close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	asked  chan struct{} // room for one: the keeper has something to do

	mu     sync.Mutex
	lanes  map[*lane]struct{}      // more than one of a partition, if it has more than one Reader
	ids    map[partition][16]byte  // of the topics that were read, so that another one of the name is noticed
	nodes  map[int32]chan struct{} // room for one: there may be something to fetch
	opened time.Time               // the last lane
	closed bool
}

const (
	leastOfPartition = 16 << 10
	shortWait        = 20 * time.Millisecond // of a request that leaves out partitions, which may have room soon
	fetchPause       = 100 * time.Millisecond
	fetchPauseMost   = 2 * time.Second
	lostMost         = 20 // answers that there is no such topic, until it is believed
)

func newFetcher(cl *kgo.Client, c *Consumer) *fetcher {
	f := &fetcher{
		cl: cl, isolation: c.isolation(),
		maxWait:   min(orDefault(c.MaxWait, defaultMaxWait), orDefault(c.fw.RequestTimeout, defaultRequestTimeout)/2),
		maxBytes:  orDefault(c.MaxBytes, defaultMaxBytes),
		maxQueued: orDefault(c.MaxQueued, defaultMaxQueued),
		patience:  orDefault(c.fw.RetryTimeout, defaultRetryTimeout),
		asked:     make(chan struct{}, 1),
		lanes:     make(map[*lane]struct{}), nodes: make(map[int32]chan struct{}), ids: make(map[partition][16]byte),
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.wg.Go(f.keep)
	return f
}

// close ends all fetching and waits for the goroutines.
func (f *fetcher) close() {
	f.mu.Lock()
	f.closed = true
	for l := range f.lanes {
		l.fail(ErrClosed)
	}
	f.mu.Unlock()
	f.cancel()
	f.wg.Wait()
}

// open begins to fetch a partition at a place.
func (f *fetcher) open(l *lane) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	l.topicID = f.ids[l.partition]
	f.lanes[l] = struct{}{}
	f.opened = time.Now()
	signal(f.asked)
	return nil
}

// remove ends fetching a partition.
func (f *fetcher) remove(l *lane) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l.closed = true
	l.chunks = nil
	delete(f.lanes, l)
	f.ids[l.partition] = l.topicID
}

// forget lets the next lane of a partition read whatever topic has its name.
func (f *fetcher) forget(p partition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.ids, p)
}

// pop takes the oldest chunk. Without one it returns the reason why there will be none, if there is a reason.
func (f *fetcher) pop(l *lane) (chunk, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(l.chunks) == 0 {
		return chunk{}, false, l.err
	}
	c := l.chunks[0]
	l.chunks[0] = chunk{}
	l.chunks = l.chunks[1:]
	quota := f.quota()
	full := l.queued >= quota
	l.queued -= len(c.data)
	if full && l.queued < quota {
		if wake := f.nodes[l.leader]; wake != nil {
			signal(wake)
		}
	}
	return c, true, nil
}

// confirmed reports whether the leader has said that the lane's place is one of the log: it may be behind the end.
func (f *fetcher) confirmed(l *lane) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return l.end >= 0
}

// nudge makes the Readers of a partition look again.
func (f *fetcher) nudge(p partition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for l := range f.lanes {
		if l.partition == p {
			signal(l.wake)
		}
	}
}

// quota is the number of queued bytes from which on a lane isn't fetched. What one fetch brings comes on top. f.mu is held.
func (f *fetcher) quota() int {
	return max(f.maxQueued/(2*max(len(f.lanes), 1)), leastOfPartition)
}

// run fetches from one leader.
func (f *fetcher) run(node int32, wake chan struct{}) {
	pause := fetchPause
	var since time.Time // it has not answered
	for f.ctx.Err() == nil {
		req, lanes := f.request(node)
		if len(lanes) == 0 {
			select {
			case <-wake:
			case <-f.ctx.Done():
			}
			continue
		}
		kresp, err := f.cl.Broker(int(node)).Request(f.ctx, req)
		resp, ok := kresp.(*kmsg.FetchResponse)
		if err == nil && !ok {
			err = fmt.Errorf("a fetch is answered by a %T", kresp)
		}
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err != nil {
			if since.IsZero() {
				since = time.Now()
			}
			f.failed(lanes, err, time.Since(since) >= f.patience)
			_ = retry.Sleep(f.ctx, pause)
			pause = min(2*pause, fetchPauseMost)
			continue
		}
		pause, since = fetchPause, time.Time{}
		if f.answered(lanes, resp) {
			_ = retry.Sleep(f.ctx, fetchPause) // the same would be said again at once
		}
	}
}

// request returns what to ask a leader for, and the lanes that it is for: none if there is nothing to ask for.
func (f *fetcher) request(node int32) (*kmsg.FetchRequest, []*lane) {
	f.mu.Lock()
	defer f.mu.Unlock()
	quota := f.quota()
	wait := f.maxWait
	if time.Since(f.opened) < time.Second {
		wait = min(wait, 2*shortWait) // others are about to be opened
	}
	req := kmsg.NewPtrFetchRequest()
	var lanes []*lane
	topics := make(map[string]int)
	asked := make(map[partition]bool)
	most := 0
	for l := range f.lanes {
		switch {
		case l.leader != node || l.err != nil:
			continue
		case l.queued >= quota, asked[l.partition]:
			wait = min(wait, shortWait)
			continue
		}
		asked[l.partition] = true
		i, ok := topics[l.topic]
		if !ok {
			i = len(req.Topics)
			topics[l.topic] = i
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = l.topic, l.topicID
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.CurrentLeaderEpoch = l.index, l.next.offset, l.leaderEpoch
		p.PartitionMaxBytes = int32(min(quota, f.maxBytes)) //nolint:gosec // small
		most += int(p.PartitionMaxBytes)
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
		lanes = append(lanes, l)
	}
	req.MaxWaitMillis = int32(max(wait.Milliseconds(), 1)) //nolint:gosec // checked
	req.MinBytes, req.MaxBytes, req.IsolationLevel = 1, int32(min(most, 50<<20)), f.isolation
	req.SessionEpoch = -1 // without a fetch session (KIP-227): each request says it all
	return req, lanes
}

// failed gives lanes whose leader didn't answer to the keeper: it may be another one by now. At last it is an outage.
func (f *fetcher) failed(lanes []*lane, err error, last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range lanes {
		if last {
			l.fail(classify("reading "+l.String()+" from its leader", err))
		}
		l.leader = noLeader
	}
	signal(f.asked)
}

// answered hands out what came. It reports whether there were errors that ask for a pause.
func (f *fetcher) answered(lanes []*lane, resp *kmsg.FetchResponse) (pause bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	by := make(map[partition]*lane, len(lanes))
	ids := make(map[[16]byte]string)
	for _, l := range lanes {
		by[l.partition] = l
		ids[l.topicID] = l.topic
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		topic := t.Topic
		if topic == "" {
			topic = ids[t.TopicID]
		}
		for j := range t.Partitions {
			l := by[partition{topic, t.Partitions[j].Partition}]
			if l == nil {
				continue
			}
			if !l.closed && f.laneAnswered(l, &t.Partitions[j]) {
				pause = true
			}
		}
	}
	return pause
}

// laneAnswered takes the answer for one partition.
func (f *fetcher) laneAnswered(l *lane, rp *kmsg.FetchResponseTopicPartition) (pause bool) {
	err := kerr.ErrorForCode(rp.ErrorCode)
	switch {
	case err == nil:
		l.take(rp)
		return false
	case isCode(err, kerr.OffsetOutOfRange):
		l.fail(&outOfRange{partition: l.partition, at: l.next.offset})
		return false
	case isCode(err, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.InconsistentTopicID):
		if l.lost++; l.lost >= lostMost {
			l.fail(classify("reading "+l.String(), err))
			return false
		}
	case !kerr.IsRetriable(err):
		l.fail(classify("reading "+l.String(), err))
		return false
	}
	l.leader = noLeader
	signal(f.asked)
	return true
}

// keep is the keeper: it finds leaders for lanes that have none.
func (f *fetcher) keep() {
	for {
		select {
		case <-f.asked:
		case <-f.ctx.Done():
			return
		}
		for f.leaderless() {
			if f.findLeaders() {
				break
			}
			if retry.Sleep(f.ctx, fetchPause) != nil {
				return
			}
		}
	}
}

// topics returns the topics of lanes without a leader.
func (f *fetcher) topics() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := make(map[string]bool)
	var topics []string
	for l := range f.lanes {
		if l.leader == noLeader && l.err == nil && !seen[l.topic] {
			seen[l.topic] = true
			topics = append(topics, l.topic)
		}
	}
	return topics
}

func (f *fetcher) leaderless() bool { return len(f.topics()) > 0 }

// findLeaders asks for metadata. It reports whether all leaders are known now.
func (f *fetcher) findLeaders() bool {
	m, err := kadm.NewClient(f.cl).Metadata(f.ctx, f.topics()...)
	f.mu.Lock()
	moved := make(map[*lane]int32)
	known := true
	for l := range f.lanes {
		if l.leader != noLeader || l.err != nil {
			continue
		}
		if err != nil {
			l.fail(classify("finding the leader of "+l.String(), err))
			continue
		}
		change, ok := l.led(m.Topics[l.topic])
		known = known && ok
		if change && l.next.epoch >= 0 && l.next.epoch < l.leaderEpoch {
			moved[l] = l.leader
			l.leader = noLeader // until it is known that its log is the same
		}
	}
	f.mu.Unlock()
	for l, leader := range moved {
		known = f.verify(l, leader) && known
	}
	f.start()
	return known
}

// led takes what metadata says of the leader. It reports whether the leader is another one, and whether there is one.
func (l *lane) led(t kadm.TopicDetail) (change, ok bool) {
	p, there := t.Partitions[l.index]
	switch {
	case t.Err != nil && !kerr.IsRetriable(t.Err):
		l.fail(classify("reading "+l.String(), t.Err))
		return false, true
	case t.Err != nil || !there:
		if l.lost++; l.lost >= lostMost {
			l.fail(classify("reading "+l.String(), kerr.UnknownTopicOrPartition))
			return false, true
		}
		return false, false
	case l.topicID != [16]byte{} && t.ID != kadm.TopicID{} && l.topicID != [16]byte(t.ID):
		l.fail(&outOfRange{partition: l.partition, at: l.next.offset, why: "the topic was deleted and created anew"})
		return false, true
	case p.Leader < 0:
		return false, false
	}
	change = p.LeaderEpoch != l.leaderEpoch
	l.topicID = t.ID
	l.leader, l.leaderEpoch = p.Leader, p.LeaderEpoch
	return change, true
}

// verify makes a broker the leader of a lane if its log holds what was read from the one before it (KIP-320). It reports
// false if that could not be found out.
func (f *fetcher) verify(l *lane, leader int32) bool {
	f.mu.Lock()
	at := l.next
	f.mu.Unlock()
	end, err := endOfEpoch(f.ctx, f.cl, l.partition, at.epoch)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		l.leaderEpoch = -1 // so that it is asked again
		return false
	case end >= 0 && end < at.offset:
		l.fail(truncated(l.partition, at, end))
	default:
		l.leader = leader
	}
	return true
}

// start sees to it that each leader has its goroutine, and that it looks.
func (f *fetcher) start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	for l := range f.lanes {
		if l.leader == noLeader {
			continue
		}
		wake := f.nodes[l.leader]
		if wake == nil {
			wake = make(chan struct{}, 1)
			f.nodes[l.leader] = wake
			node := l.leader
			f.wg.Go(func() { f.run(node, wake) })
		}
		signal(wake)
	}
}
