package franz

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

const (
	retentionConfig = "retention.ms"
	settle          = 50 * time.Millisecond // between two looks at metadata that isn't complete yet
)

// CreateStream makes the topic exist, with the broker's defaults where s doesn't say, and returns when all its partitions
// have leaders. A topic that is there with other partitions, replicas or retention is a fatal error that says how it
// differs.
func (f *Framework) CreateStream(ctx context.Context, s weaver.Stream) error {
	switch {
	case s.Name == "":
		return invalid("Stream.Name is empty")
	case s.Partitions < 0 || s.Partitions > math.MaxInt32:
		return invalid("Stream.Partitions of %q is %d: must not be negative", s.Name, s.Partitions)
	case s.Replication < 0 || s.Replication > math.MaxInt16:
		return invalid("Stream.Replication of %q is %d: must not be negative", s.Name, s.Replication)
	}
	configs := make(map[string]*string)
	if s.Retention != 0 {
		configs[retentionConfig] = kadm.StringPtr(strconv.FormatInt(retentionMillis(s.Retention), 10))
	}
	created, err := f.createTopic(ctx, s.Name, s.Partitions, s.Replication, configs)
	if err != nil || created {
		return err
	}
	return f.compare(ctx, s)
}

// retentionMillis is Kafka's word for it: -1 for ever.
func retentionMillis(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	return max(d.Milliseconds(), 1)
}

// createTopic makes a topic, and reports false if it was there. Either way it has leaders then.
func (f *Framework) createTopic(ctx context.Context, name string, partitions, replication int, configs map[string]*string) (bool, error) {
	cl, err := f.client()
	if err != nil {
		return false, err
	}
	what := fmt.Sprintf("creating topic %q", name)
	r, err := kadm.NewClient(cl).CreateTopic(ctx, int32(orDefault(partitions, -1)), int16(orDefault(replication, -1)), configs, name) //nolint:gosec // checked
	if err == nil {
		err = r.Err
	}
	exists := isCode(err, kerr.TopicAlreadyExists)
	if err != nil && !exists {
		if r.ErrMessage != "" {
			err = fmt.Errorf("%w (%s)", err, r.ErrMessage)
		}
		return false, f.isClosed(classify(what, err))
	}
	if _, err := waitForLeaders(ctx, cl, name); err != nil {
		return false, f.isClosed(err)
	}
	return !exists, nil
}

// waitForLeaders returns the topic when all its partitions have a leader.
func waitForLeaders(ctx context.Context, cl *kgo.Client, topic string) (kadm.TopicDetail, error) {
	what := fmt.Sprintf("topic %q", topic)
	for {
		t, err := describe(ctx, cl, topic)
		switch {
		case err != nil && !isCode(err, kerr.UnknownTopicOrPartition, kerr.LeaderNotAvailable):
			return t, classify(what, err)
		case err == nil && led(t):
			return t, nil
		}
		if retry.Sleep(ctx, settle) != nil {
			return t, classify(what+" has no leaders yet", errors.Join(context.Cause(ctx), err))
		}
	}
}

func led(t kadm.TopicDetail) bool {
	for _, p := range t.Partitions {
		if p.Err != nil || p.Leader < 0 {
			return false
		}
	}
	return len(t.Partitions) > 0
}

// describe returns a topic, or the raw reason why there is none.
func describe(ctx context.Context, cl *kgo.Client, topic string) (kadm.TopicDetail, error) {
	m, err := kadm.NewClient(cl).Metadata(ctx, topic)
	if err != nil {
		return kadm.TopicDetail{}, err
	}
	t, ok := m.Topics[topic]
	if !ok {
		return t, kerr.UnknownTopicOrPartition
	}
	return t, t.Err
}

// compare finds out how a topic that is there differs from what was asked for. What is zero asks for nothing.
func (f *Framework) compare(ctx context.Context, want weaver.Stream) error {
	cl, err := f.client()
	if err != nil {
		return err
	}
	what := fmt.Sprintf("topic %q", want.Name)
	t, err := describe(ctx, cl, want.Name)
	if err != nil {
		return f.isClosed(classify(what, err))
	}
	var how []string
	if n := len(t.Partitions); want.Partitions != 0 && want.Partitions != n {
		how = append(how, fmt.Sprintf("%d partitions, not %d", n, want.Partitions))
	}
	if n := t.Partitions.NumReplicas(); want.Replication != 0 && want.Replication != n {
		how = append(how, fmt.Sprintf("a replication of %d, not %d", n, want.Replication))
	}
	if want.Retention != 0 {
		is, err := config(ctx, cl, want.Name, retentionConfig)
		if err != nil {
			return f.isClosed(classify(what, err))
		}
		if asked := strconv.FormatInt(retentionMillis(want.Retention), 10); is != asked {
			how = append(how, fmt.Sprintf("%s=%s, not %s", retentionConfig, is, asked))
		}
	}
	if len(how) == 0 {
		return nil
	}
	return retry.Fatal(fmt.Errorf("franz: topic %q exists with %s", want.Name, strings.Join(how, " and ")))
}

// config returns one setting of a topic; empty if the broker doesn't tell.
func config(ctx context.Context, cl *kgo.Client, topic, key string) (string, error) {
	all, err := kadm.NewClient(cl).DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return "", err
	}
	for _, r := range all {
		if r.Err != nil {
			return "", r.Err
		}
		for _, c := range r.Configs {
			if c.Key == key {
				return c.MaybeValue(), nil
			}
		}
	}
	return "", nil
}
