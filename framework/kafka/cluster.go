package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/metadata"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/bohica-labs/dataweaver/retry"
)

// topicInfo is what a cluster says about a topic.
type topicInfo struct {
	name       string
	internal   bool
	partitions []partitionInfo // by number
	err        error           // why there are none
}

type partitionInfo struct {
	leader   string // its address; empty: it has none right now
	replicas int
}

// topics asks for topics, or for all where none are named, those that can't be described included.
func (c *conn) topics(ctx context.Context, names ...string) ([]topicInfo, error) {
	req := &metadata.Request{TopicNames: names}
	msg, err := c.roundTrip(ctx, req, 0)
	if err != nil {
		return nil, err
	}
	res := msg.(*metadata.Response)
	brokers := make(map[int32]string, len(res.Brokers))
	for _, b := range res.Brokers {
		brokers[b.NodeID] = hostPort(b.Host, int(b.Port))
	}
	out := make([]topicInfo, 0, len(res.Topics))
	for _, t := range res.Topics {
		info := topicInfo{name: t.Name, internal: t.IsInternal, err: codeError(t.ErrorCode, "")}
		if info.err == nil {
			info.partitions = make([]partitionInfo, len(t.Partitions))
			for _, p := range t.Partitions {
				if p.PartitionIndex < 0 || int(p.PartitionIndex) >= len(t.Partitions) {
					return nil, fmt.Errorf("kafka: broker %s describes partition %d of topic %q, which has %d", c.addr, p.PartitionIndex, t.Name, len(t.Partitions))
				}
				info.partitions[p.PartitionIndex] = partitionInfo{leader: brokers[p.LeaderID], replicas: len(p.ReplicaNodes)}
			}
		}
		out = append(out, info)
	}
	return out, nil
}

// unknownPatience is how long a topic may be unknown that was created a moment ago: brokers hear of it one after the
// other.
const unknownPatience = 2 * time.Second

// topic asks for one topic.
func (c *conn) topic(ctx context.Context, name string) (topicInfo, error) {
	deadline := time.Now().Add(unknownPatience)
	for {
		info, err := c.topicNow(ctx, name)
		if !isCode(err, kafkago.UnknownTopicOrPartition) || time.Now().After(deadline) {
			return info, err
		}
		if err := retry.Sleep(ctx, unknownPatience/20); err != nil {
			return topicInfo{}, err
		}
	}
}

// topicNow is topic without patience.
func (c *conn) topicNow(ctx context.Context, name string) (topicInfo, error) {
	infos, err := c.topics(ctx, name)
	if err != nil {
		return topicInfo{}, err
	}
	i := slices.IndexFunc(infos, func(t topicInfo) bool { return t.name == name })
	if i < 0 {
		return topicInfo{}, fmt.Errorf("kafka: broker %s says nothing about topic %q", c.addr, name)
	}
	if err := infos[i].err; err != nil {
		return topicInfo{}, fmt.Errorf("kafka: topic %q: %w", name, err)
	}
	return infos[i], nil
}

// goneOr returns an error that says that a topic is gone, if it is, or else moved: a broker that knows nothing of a
// partition may also be behind.
func (f *Framework) goneOr(ctx context.Context, topic string, moved error) error {
	c, err := f.dialAny(ctx)
	if err != nil {
		return err
	}
	_, err = c.topic(ctx, topic)
	if err := errors.Join(err, c.close()); err != nil {
		return err
	}
	return moved
}

// dialLeader connects to the broker that leads a partition.
func (f *Framework) dialLeader(ctx context.Context, topic string, partition int) (*conn, error) {
	c, err := f.dialAny(ctx)
	if err != nil {
		return nil, err
	}
	info, err := c.topic(ctx, topic)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	if partition >= len(info.partitions) {
		return nil, errors.Join(retry.Fatal(fmt.Errorf("kafka: topic %q has %d partitions and no split %q", topic, len(info.partitions), splitID(topic, partition))), c.close())
	}
	leader := info.partitions[partition].leader
	switch leader {
	case c.addr:
		return c, nil
	case "":
		return nil, errors.Join(fmt.Errorf("kafka: partition %d of topic %q has no leader now", partition, topic), c.close())
	}
	if err := c.close(); err != nil {
		return nil, err
	}
	return f.dial(ctx, leader)
}

// Timestamps that ask for the ends of a partition.
const (
	newest = -1
	oldest = -2
)

// offset asks the leader, which c is connected to, for the first offset of a partition at a time in milliseconds, or
// for newest or oldest. With nothing from that time on it returns the newest.
func (c *conn) offset(ctx context.Context, topic string, partition int, timestamp int64, committed bool) (int64, error) {
	o, err := c.offsets(ctx, topic, []int{partition}, timestamp, committed)
	if err == nil && o[0] < 0 && timestamp >= 0 {
		o, err = c.offsets(ctx, topic, []int{partition}, newest, committed)
	}
	if err != nil {
		return 0, err
	}
	return o[0], nil
}

// offsets asks for several partitions of one leader; -1: none at that time.
func (c *conn) offsets(ctx context.Context, topic string, partitions []int, timestamp int64, committed bool) ([]int64, error) {
	asked := listoffsets.RequestTopic{Topic: topic}
	for _, p := range partitions {
		asked.Partitions = append(asked.Partitions, listoffsets.RequestPartition{Partition: int32(p), CurrentLeaderEpoch: -1, Timestamp: timestamp})
	}
	req := &listoffsets.Request{ReplicaID: -1, Topics: []listoffsets.RequestTopic{asked}}
	if committed {
		req.IsolationLevel = int8(kafkago.ReadCommitted)
	}
	msg, err := c.roundTrip(ctx, req, 0)
	if err != nil {
		return nil, err
	}
	out := make([]int64, len(partitions))
	answered := 0
	for _, t := range msg.(*listoffsets.Response).Topics {
		for _, p := range t.Partitions {
			i := slices.Index(partitions, int(p.Partition))
			if t.Topic != topic || i < 0 {
				continue
			}
			if err := codeError(p.ErrorCode, ""); err != nil {
				return nil, fmt.Errorf("kafka: offsets of topic %q, partition %d: %w", topic, p.Partition, err)
			}
			out[i] = p.Offset
			answered++
		}
	}
	if answered != len(partitions) {
		return nil, fmt.Errorf("kafka: broker %s tells offsets of %d partitions when asked for %d", c.addr, answered, len(partitions))
	}
	return out, nil
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// What a client may be allowed to do with a topic, as bits (KIP-430).
const (
	mayRead  = 1 << 3
	mayWrite = 1 << 4
)

// allowed returns an error where the broker says that these credentials may not do something with a topic.
func (c *conn) allowed(ctx context.Context, topic string, what int32) error {
	msg, err := c.roundTrip(ctx, &metadata.Request{TopicNames: []string{topic}, IncludeTopicAuthorizedOperations: true}, 0)
	if err != nil {
		return err
	}
	for _, t := range msg.(*metadata.Response).Topics {
		if t.Name == topic && t.TopicAuthorizedOperations >= 0 && t.TopicAuthorizedOperations&what == 0 {
			return fmt.Errorf("kafka: topic %q: %w", topic, codeError(int16(kafkago.TopicAuthorizationFailed), ""))
		}
	}
	return nil
}

// mayJoin returns an error where the broker says that these credentials may not join a group.
func (c *conn) mayJoin(ctx context.Context, group string) error {
	msg, err := c.roundTrip(ctx, &findcoordinator.Request{Key: group}, 0)
	if err != nil {
		return err
	}
	res := msg.(*findcoordinator.Response)
	if kafkago.Error(res.ErrorCode) == kafkago.GroupAuthorizationFailed {
		return fmt.Errorf("kafka: group %q: %w", group, codeError(res.ErrorCode, ""))
	}
	if res.ErrorCode == 0 {
		return c.fw.mayFetchGroup(ctx, hostPort(res.Host, int(res.Port)), group)
	}
	return nil // a coordinator that isn't there yet comes with the group
}
