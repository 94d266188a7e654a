package kafka

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// Start is where a group begins in a partition for which it has no committed offset, and a reader without a group that
// has no position. What it comes to is committed at once, so that it is applied once.
type Start uint8

// The places to begin.
const (
	Earliest Start = iota // at the oldest record that is kept
	Latest                // behind the newest
	AtTime                // at the first record whose timestamp is Consumer.StartAt or later
	NoStart               // nowhere: a partition without a committed offset is a fatal error
)

// OutOfRange says what becomes of a position for which the partition has no record: retention has deleted it, or the
// topic is another one than it was.
type OutOfRange uint8

// What becomes of a position out of range.
const (
	Fail       OutOfRange = iota // a fatal error
	ToEarliest                   // go on at the oldest record that is kept; how many are missing is logged as a warning
	ToLatest                     // go on behind the newest; the same
)

const (
	defaultMaxBytes          = 1 << 20
	defaultMaxWait           = 500 * time.Millisecond
	defaultSessionTimeout    = 30 * time.Second
	defaultHeartbeatInterval = time.Second
	defaultRefresh           = 5 * time.Second
)

// Consumer reads topics as a member of a group. Its partitions are the splits, named "topic/partition". It is
// at-least-once, or exactly-once with a sink that is a weaver.Checkpointer. Set its fields before it is used.
//
// A reader without a position starts at the group's committed offset. Each partition that is read has a connection of
// its own to its leader.
type Consumer struct {
	Topics  []string       // default: the one that Consumer was called with
	Pattern *regexp.Regexp // topics whose whole name it matches, also those that appear later; internal ones never

	Start      Start      // default Earliest
	StartAt    time.Time  // of AtTime
	OutOfRange OutOfRange // default Fail

	ReadUncommitted bool // also records of transactions that are under way or were aborted; default: read_committed

	MaxBytes      int           // asked for at a time, a partition; default 1 MiB
	MaxWait       time.Duration // how long the broker waits for a record before it says there is none; default 500 ms
	MaxBatchBytes int           // of a batch as producers made it, packed or not: a larger one is rejected; default 64 MiB

	SessionTimeout    time.Duration // without a heartbeat, after which the group goes on without this member; default 30 s
	HeartbeatInterval time.Duration // also how soon a rebalance is noticed; default 1 s
	RebalanceTimeout  time.Duration // in which members have to rejoin; default SessionTimeout
	Refresh           time.Duration // how often new topics and partitions are looked for; default 5 s

	// Balancers are the ways to share partitions that this member knows, the preferred first. Members of one group must have one in common. Default:
	// range and round-robin, as Java's consumers before 3.0.
	Balancers []kafkago.GroupBalancer

	fw    *Framework
	group string
}

// Consumer returns a source that reads a topic as a member of a group. An empty group reads all partitions and remembers
// nothing.
func (f *Framework) Consumer(topic, group string) *Consumer {
	c := &Consumer{fw: f, group: group}
	if topic != "" {
		c.Topics = []string{topic}
	}
	return c
}

// String names topics and group.
func (c *Consumer) String() string {
	topics := strings.Join(c.Topics, ",")
	if c.Pattern != nil {
		topics = strings.TrimPrefix(topics+",", ",") + "/" + c.Pattern.String() + "/"
	}
	return fmt.Sprintf("kafka.Consumer(%s, %s)", topics, c.group)
}

// check returns an error that names the first field that makes no sense.
func (c *Consumer) check() error {
	bad := func(format string, args ...any) error {
		return retry.Fatal(fmt.Errorf("kafka: Consumer."+format, args...))
	}
	switch {
	case len(c.Topics) == 0 && c.Pattern == nil:
		return bad("Topics is empty, and there is no Pattern")
	case c.Start > NoStart:
		return bad("Start is %d: want Earliest, Latest, AtTime or NoStart", c.Start)
	case (c.Start == AtTime) == c.StartAt.IsZero():
		return bad("StartAt is %v, and Start %d: AtTime needs a time, the others none", c.StartAt, c.Start)
	case c.OutOfRange > ToLatest:
		return bad("OutOfRange is %d: want Fail, ToEarliest or ToLatest", c.OutOfRange)
	case c.MaxBytes < 0 || c.MaxBytes > 1<<30:
		return bad("MaxBytes is %d: want 1 to 1 GiB", c.MaxBytes)
	case c.MaxBatchBytes < 0 || c.MaxBatchBytes > 1<<30:
		return bad("MaxBatchBytes is %d: want 1 to 1 GiB", c.MaxBatchBytes)
	}
	for name, d := range map[string]time.Duration{
		"MaxWait": c.MaxWait, "SessionTimeout": c.SessionTimeout, "HeartbeatInterval": c.HeartbeatInterval,
		"RebalanceTimeout": c.RebalanceTimeout, "Refresh": c.Refresh,
	} {
		if d < 0 || d > 24*time.Hour {
			return bad("%s is %v: want 0 to a day", name, d)
		}
	}
	if h, s, r := c.heartbeatInterval(), c.sessionTimeout(), c.rebalanceTimeout(); h*2 > min(s, r) {
		return bad("HeartbeatInterval is %v: want half of SessionTimeout, %v, and of RebalanceTimeout, %v, at most", h, s, r)
	}
	return c.fw.check()
}

func (c *Consumer) sessionTimeout() time.Duration {
	return orDefault(c.SessionTimeout, defaultSessionTimeout)
}

func (c *Consumer) heartbeatInterval() time.Duration {
	return orDefault(c.HeartbeatInterval, defaultHeartbeatInterval)
}

func (c *Consumer) rebalanceTimeout() time.Duration {
	return orDefault(c.RebalanceTimeout, c.sessionTimeout())
}

// CheckHealth reports whether the brokers answer, know the topics and let these credentials see them.
func (c *Consumer) CheckHealth(ctx context.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	found, err := c.find(ctx)
	if err != nil {
		return err
	}
	conn, err := c.fw.dialAny(ctx)
	if err != nil {
		return err
	}
	for _, t := range found {
		err = errors.Join(err, conn.allowed(ctx, t.name, mayRead))
	}
	if c.group != "" {
		err = errors.Join(err, conn.mayJoin(ctx, c.group))
	}
	return errors.Join(err, conn.close())
}

// find returns the topics there are to read, with their partitions.
func (c *Consumer) find(ctx context.Context) (found []topicInfo, err error) {
	conn, err := c.fw.dialAny(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.close()) }()
	for _, name := range c.Topics {
		info, err := conn.topic(ctx, name)
		if err != nil {
			return nil, err
		}
		found = append(found, info)
	}
	if c.Pattern == nil {
		return found, nil
	}
	whole, err := regexp.Compile("^(?:" + c.Pattern.String() + ")$")
	if err != nil {
		return nil, retry.Fatal(fmt.Errorf("kafka: Consumer.Pattern: %w", err))
	}
	all, err := conn.topics(ctx)
	if err != nil {
		return nil, err
	}
	for _, info := range all {
		if !info.internal && info.err == nil && whole.MatchString(info.name) && !slices.Contains(c.Topics, info.name) {
			found = append(found, info)
		}
	}
	return found, nil
}

// OpenReader opens a partition.
func (c *Consumer) OpenReader(ctx context.Context, at weaver.Lane) (weaver.Reader[[]byte], error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	topic, partition, ok := parseSplit(at.Split.ID)
	if !ok {
		return nil, retry.Fatal(fmt.Errorf("kafka: %q is no split of this source: want topic/partition", at.Split.ID))
	}
	mine, ok := at.Split.Handle.(*assignment)
	if !ok { // opened outside of a session, by a test or by hand
		mine = newAssignment(nil, topic, partition, none)
	}
	if err := mine.lost(); err != nil {
		return nil, err
	}
	r := newReader(c, mine, at.Log)
	if at.Position != nil {
		offset, epoch, err := decodePosition(at.Position)
		if err != nil {
			return nil, retry.Fatal(err)
		}
		r.next.Store(offset)
		r.epoch = epoch
	}
	if err := r.open(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if mine.generation == nil {
		return r, nil
	}
	return groupReader{r}, nil
}

var (
	_ weaver.Source[[]byte] = (*Consumer)(nil)
	_ weaver.Splitter       = (*Consumer)(nil)
	_ weaver.HealthChecker  = (*Consumer)(nil)
)
