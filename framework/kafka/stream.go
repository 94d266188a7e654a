package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
	"github.com/segmentio/kafka-go/protocol/metadata"

	kafkago "github.com/segmentio/kafka-go"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// CreateStream makes the topic exist and waits until all its partitions have leaders. Where s doesn't say, the broker's
// num.partitions, default.replication.factor and log.retention decide. Retention is the topic's retention.ms.
func (f *Framework) CreateStream(ctx context.Context, s weaver.Stream) error {
	switch {
	case s.Name == "":
		return retry.Fatal(errors.New("kafka: Stream.Name is empty"))
	case s.Partitions < 0:
		return retry.Fatal(fmt.Errorf("kafka: Stream.Partitions of %q is %d: must not be negative", s.Name, s.Partitions))
	case s.Replication < 0:
		return retry.Fatal(fmt.Errorf("kafka: Stream.Replication of %q is %d: must not be negative", s.Name, s.Replication))
	}
	c, err := f.dialController(ctx)
	if err != nil {
		return err
	}
	err = c.create(ctx, s)
	if isCode(err, kafkago.TopicAlreadyExists) {
		err = c.compare(ctx, s)
	}
	if err == nil {
		err = c.awaitLeaders(ctx, s.Name)
	}
	return errors.Join(err, c.close())
}

// dialController connects to the broker that creates topics.
func (f *Framework) dialController(ctx context.Context) (*conn, error) {
	c, err := f.dialAny(ctx)
	if err != nil {
		return nil, err
	}
	msg, err := c.roundTrip(ctx, &metadata.Request{TopicNames: []string{}}, 0)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	res := msg.(*metadata.Response)
	for _, b := range res.Brokers {
		addr := hostPort(b.Host, int(b.Port))
		if b.NodeID != res.ControllerID || addr == c.addr {
			continue
		}
		if err := c.close(); err != nil {
			return nil, err
		}
		return f.dial(ctx, addr)
	}
	return c, nil
}

func (c *conn) create(ctx context.Context, s weaver.Stream) error {
	t := createtopics.RequestTopic{Name: s.Name, NumPartitions: -1, ReplicationFactor: -1}
	if s.Partitions > 0 {
		t.NumPartitions = int32(s.Partitions)
	}
	if s.Replication > 0 {
		t.ReplicationFactor = int16(s.Replication)
	}
	if s.Retention != 0 {
		t.Configs = []createtopics.RequestConfig{{Name: "retention.ms", Value: strconv.FormatInt(retentionMs(s.Retention), 10)}}
	}
	wait := c.fw.requestTimeout()
	msg, err := c.roundTrip(ctx, &createtopics.Request{Topics: []createtopics.RequestTopic{t}, TimeoutMs: int32(wait.Milliseconds())}, wait)
	if err != nil {
		return err
	}
	for _, r := range msg.(*createtopics.Response).Topics {
		if err := codeError(r.ErrorCode, r.ErrorMessage); err != nil {
			return fmt.Errorf("kafka: creating topic %q: %w", s.Name, err)
		}
	}
	return nil
}

func retentionMs(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	return max(d.Milliseconds(), 1)
}

// compare says how a topic that is there differs from the one asked for. What is zero asks for nothing.
func (c *conn) compare(ctx context.Context, s weaver.Stream) error {
	info, err := c.topic(ctx, s.Name)
	if err != nil {
		return err
	}
	var how []string
	if s.Partitions != 0 && s.Partitions != len(info.partitions) {
		how = append(how, fmt.Sprintf("%d partitions, not %d", len(info.partitions), s.Partitions))
	}
	if s.Replication != 0 && len(info.partitions) > 0 && s.Replication != info.partitions[0].replicas {
		how = append(how, fmt.Sprintf("a replication of %d, not %d", info.partitions[0].replicas, s.Replication))
	}
	if s.Retention != 0 {
		is, err := c.config(ctx, s.Name, "retention.ms")
		if err != nil {
			return err
		}
		if want := strconv.FormatInt(retentionMs(s.Retention), 10); is != want {
			how = append(how, fmt.Sprintf("a retention.ms of %s, not %s", is, want))
		}
	}
	if len(how) == 0 {
		return nil
	}
	return retry.Fatal(fmt.Errorf("kafka: topic %q exists with %s", s.Name, strings.Join(how, " and ")))
}

// config asks for a setting of a topic.
func (c *conn) config(ctx context.Context, topic, name string) (string, error) {
	const topicResource = 2
	msg, err := c.roundTrip(ctx, &describeconfigs.Request{Resources: []describeconfigs.RequestResource{{
		ResourceType: topicResource, ResourceName: topic, ConfigNames: []string{name},
	}}}, 0)
	if err != nil {
		return "", err
	}
	for _, r := range msg.(*describeconfigs.Response).Resources {
		if err := codeError(r.ErrorCode, r.ErrorMessage); err != nil {
			return "", fmt.Errorf("kafka: settings of topic %q: %w", topic, err)
		}
		for _, e := range r.ConfigEntries {
			if e.ConfigName == name {
				return e.ConfigValue, nil
			}
		}
	}
	return "", fmt.Errorf("kafka: broker %s doesn't tell %s of topic %q", c.addr, name, topic)
}

// awaitLeaders waits until a topic that was created can be used: the controller answers before its brokers know.
func (c *conn) awaitLeaders(ctx context.Context, topic string) error {
	deadline := time.Now().Add(c.fw.requestTimeout())
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		info, err := c.topicNow(ctx, topic)
		if err == nil && len(info.partitions) > 0 && info.led() {
			if err = c.fw.answers(ctx, info); err == nil {
				return nil
			}
		}
		if err != nil && !isCode(err, kafkago.UnknownTopicOrPartition, kafkago.LeaderNotAvailable, kafkago.NotLeaderForPartition) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("kafka: topic %q was created, but its partitions have no leaders yet", topic)
		}
		if err := retry.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func (t topicInfo) led() bool {
	for _, p := range t.partitions {
		if p.leader == "" {
			return false
		}
	}
	return true
}

// answers returns an error if a leader doesn't know yet that it is one.
func (f *Framework) answers(ctx context.Context, info topicInfo) error {
	led := make(map[string][]int)
	for i, p := range info.partitions {
		led[p.leader] = append(led[p.leader], i)
	}
	for leader, partitions := range led {
		c, err := f.dial(ctx, leader)
		if err != nil {
			return err
		}
		_, err = c.offsets(ctx, info.name, partitions, newest, false)
		if err := errors.Join(err, c.close()); err != nil {
			return err
		}
	}
	return nil
}
