package franz

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// Start is where reading begins that has no position.
type Start uint8

// The places to begin. One is found once for each partition, and committed at once where there is a group: Latest is when the
// group began, not when a member is restarted. Partitions that appear while a session runs begin at their start.
const (
	Earliest Start = iota // at the oldest record that is kept
	Latest                // behind the newest
	AtTime                // at the first record that isn't older than StartAt
	NoStart               // nowhere: a fatal error
)

// OutOfRange says what becomes of a position that the log doesn't reach: retention has removed what is behind it, an unclean
// election has cut it off, or the topic was created anew.
type OutOfRange uint8

// What becomes of a position out of range. What is skipped or read again is logged.
const (
	Fail       OutOfRange = iota // a fatal error
	ToEarliest                   // go on at the oldest record that is kept
	ToLatest                     // go on behind the newest
)

const (
	defaultMaxBytes          = 1 << 20
	defaultMaxQueued         = 64 << 20
	defaultMaxWait           = 500 * time.Millisecond
	defaultSessionTimeout    = 45 * time.Second
	defaultHeartbeatInterval = 3 * time.Second
	defaultRebalanceTimeout  = 60 * time.Second
	defaultRefresh           = 5 * time.Second
)

// Consumer reads topics as a member of a group, or all of them without one. Its splits are the partitions, with IDs such as
// "orders/0". It is at-least-once, or exactly-once with a sink that is a weaver.Checkpointer. Set its fields before it
// is used.
//
// A reader that is given a position starts there, any other where the group has acknowledged, or at Start.
type Consumer struct {
	Topics  []string       // default: the stream that Consumer was called with
	Pattern *regexp.Regexp // besides: topics whose whole name it matches, also those that appear later; internal ones never

	Start           Start      // of a partition that the group hasn't acknowledged, and without group; default Earliest
	StartAt         time.Time  // for AtTime
	OutOfRange      OutOfRange // default Fail
	ReadUncommitted bool       // also what transactions haven't committed, or have aborted; default false

	MaxBytes  int           // asked for at a time, a partition; default 1 MiB
	MaxQueued int           // fetched and not yet read, bytes a session; default 64 MiB
	MaxWait   time.Duration // how long the broker waits for a record before it says there is none; default 500 ms
	Refresh   time.Duration // how often new topics and partitions are looked for; default 5 s

	SessionTimeout    time.Duration // in which a member without heartbeats is given up by its group; the broker's with NextGen; default 45 s
	HeartbeatInterval time.Duration // the broker's with NextGen; default 3 s
	RebalanceTimeout  time.Duration // in which members have to give up partitions; default 60 s
	InstanceID        string        // makes it a static member, which can be away for SessionTimeout without a rebalance (KIP-345); default none
	NextGen           bool          // the group is managed by the broker (KIP-848): Kafka 4.0 or newer, better 4.3; older ones: eager; default false

	fw    *Framework
	group string
}

// Consumer returns a source that reads a stream as a member of a group. An empty group reads all partitions and remembers
// nothing.
func (f *Framework) Consumer(stream, group string) *Consumer {
	c := &Consumer{fw: f, group: group}
	if stream != "" {
		c.Topics = []string{stream}
	}
	return c
}

// String names what is read and the group.
func (c *Consumer) String() string {
	return fmt.Sprintf("franz.Consumer(%s, %s)", c.name(), c.group)
}

func (c *Consumer) name() string {
	names := c.Topics
	if c.Pattern != nil {
		names = append(slices.Clone(names), "/"+c.Pattern.String()+"/")
	}
	return strings.Join(names, ",")
}

// topics are those to be read by name.
func (c *Consumer) topics() []string {
	return slices.Compact(slices.Sorted(slices.Values(c.Topics)))
}

// pattern matches all names to be read, as a whole.
func (c *Consumer) pattern() string {
	var all []string
	for _, t := range c.Topics {
		all = append(all, regexp.QuoteMeta(t))
	}
	return "^(?:" + strings.Join(append(all, c.Pattern.String()), "|") + ")$"
}

// isolation is the level at which it reads, in Kafka's numbers.
func (c *Consumer) isolation() int8 {
	if c.ReadUncommitted {
		return 0
	}
	return 1
}

func (c *Consumer) isolationLevel() kgo.IsolationLevel {
	if c.ReadUncommitted {
		return kgo.ReadUncommitted()
	}
	return kgo.ReadCommitted()
}

// OpenReader opens a partition that a session of Splits has told.
func (c *Consumer) OpenReader(ctx context.Context, at weaver.Lane) (weaver.Reader[[]byte], error) {
	a, ok := at.Split.Handle.(*assignment)
	if !ok {
		return nil, retry.Fatal(fmt.Errorf("franz: split %q was not told by a session of Splits: a partition is read within one", at.Split.ID))
	}
	return a.session.openReader(ctx, a, at)
}

var (
	_ weaver.Source[[]byte] = (*Consumer)(nil)
	_ weaver.Splitter       = (*Consumer)(nil)
	_ weaver.HealthChecker  = (*Consumer)(nil)
)
