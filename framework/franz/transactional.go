package franz

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	weaver "github.com/bohica-labs/dataweaver"
)

const (
	defaultInterval             = 100 * time.Millisecond
	defaultTransactionBytes     = 16 << 20
	defaultTransactionTimeout   = 60 * time.Second
	defaultCheckpoints          = "dataweaver-checkpoints"
	defaultCheckpointPartitions = 16
	mostTransactionalID         = 32 << 10 // Kafka's strings have 16 bits of length
)

// Transactional writes to a stream exactly once, whatever the source is, as long as it can be read again: its writers are
// weaver.Checkpointers. Records, and the position behind them as a record of a compacted topic, are committed in one of
// Kafka's transactions. Consumers have to read committed records alone, as Consumer does by default.
//
// Each split has a producer of its own, with a transactional id made of the pipeline's name, the stream and the split. A
// writer that is restored fences any earlier one of its id, in whatever process: what that had open is aborted, and its
// Commit returns weaver.ErrFenced. So pipelines that may run at the same time need different names, or Prefixes.
//
// Where there is no position to keep (dead letters, inside Tee or Route) it writes without transactions, at-least-once.
//
// # Costs
//
// A commit takes two requests to the coordinator and one to each leader, and nothing is written meanwhile. Measured with
// a broker on the same machine of 2 cores, transactions of 10 records each 100 ms: 4 ms at the median with 4 splits, 6 ms
// with 50, and 60 ms with 200, where the broker is at its limit of 1600 commits a second. Each split took 60 KiB of memory
// and two goroutines, each commit 0.2 ms of this process's time. So for hundreds of splits raise Interval: producers
// aren't shared, because a transaction is of one producer and fencing is by split. Restore reads the checkpoint topic backwards from its end until it finds the split's: for a split
// that was active lately that is one fetch, for one that has no checkpoint at all the one partition that it would
// be in, which compaction keeps short. Set its fields before it is used.
type Transactional struct {
	Prefix             string        // of transactional ids and keys of checkpoints: tells apart pipelines of one name; default none
	Interval           time.Duration // of a transaction; default 100 ms
	MaxBytes           int           // of records in a transaction, after which it is committed sooner; at most as much waits to be sent; default 16 MiB
	TransactionTimeout time.Duration // after which the broker aborts a transaction; default 60 s

	Checkpoints           string // the topic of checkpoints, created if it isn't there; default "dataweaver-checkpoints"
	CheckpointPartitions  int    // of the topic, if it is created; they must never be changed; default 16
	CheckpointReplication int    // of the topic, if it is created; default the broker's

	Compression     Compression   // default none
	MaxBatchBytes   int           // as in Producer
	DeliveryTimeout time.Duration // as in Producer; default 30 s

	fw     *Framework
	stream string
}

// Transactional returns a sink that writes to a stream exactly once.
func (f *Framework) Transactional(stream string) *Transactional {
	return &Transactional{fw: f, stream: stream}
}

// String names the stream.
func (t *Transactional) String() string { return fmt.Sprintf("franz.Transactional(%s)", t.stream) }

func (t *Transactional) validate() error {
	switch {
	case t.stream == "":
		return invalid("the stream's name is empty")
	case t.stream == t.checkpoints():
		return invalid("Transactional.Checkpoints is the stream itself, %q", t.stream)
	case t.MaxBatchBytes < 0 || t.MaxBatchBytes > mostBatchBytes:
		return invalid("Transactional.MaxBatchBytes is %d: want 0 (the default) to %d", t.MaxBatchBytes, mostBatchBytes)
	case t.MaxBytes < 0:
		return invalid("Transactional.MaxBytes is %d: must not be negative", t.MaxBytes)
	case t.CheckpointPartitions < 0 || t.CheckpointReplication < 0:
		return invalid("Transactional.CheckpointPartitions is %d and CheckpointReplication %d: must not be negative", t.CheckpointPartitions, t.CheckpointReplication)
	}
	if _, err := t.Compression.codec(); err != nil {
		return err
	}
	if err := notNegative(
		durationField{"Transactional.Interval", t.Interval},
		durationField{"Transactional.TransactionTimeout", t.TransactionTimeout},
		durationField{"Transactional.DeliveryTimeout", t.DeliveryTimeout},
	); err != nil {
		return err
	}
	interval, timeout := orDefault(t.Interval, defaultInterval), orDefault(t.TransactionTimeout, defaultTransactionTimeout)
	if interval >= timeout {
		return invalid("Transactional.Interval is %v: must be below TransactionTimeout, %v", interval, timeout)
	}
	return nil
}

func (t *Transactional) checkpoints() string { return orDefault(t.Checkpoints, defaultCheckpoints) }

// id is a split's transactional id, and the key of its checkpoints. No two of different parts are equal, whatever is in them.
func (t *Transactional) id(at weaver.Lane) (string, error) {
	id := strings.Join([]string{t.Prefix + url.QueryEscape(at.Pipeline), url.QueryEscape(t.stream), url.QueryEscape(at.Split.ID)}, "/")
	if len(id) > mostTransactionalID {
		return "", invalid("the transactional id of pipeline, stream and split is %d bytes long: want at most %d", len(id), mostTransactionalID)
	}
	return id, nil
}

// OpenWriter opens a writer for a split. A stream that isn't there is a fatal error.
func (t *Transactional) OpenWriter(ctx context.Context, at weaver.Lane) (weaver.Writer[[]byte], error) {
	if err := t.validate(); err != nil {
		return nil, err
	}
	id, err := t.id(at)
	if err != nil {
		return nil, err
	}
	limit, err := t.fw.recordLimit(ctx, t.stream, t.MaxBatchBytes)
	if err != nil {
		return nil, err
	}
	w := &txWriter{t: t, id: id, limit: limit}
	if err := t.fw.own(&w.conn); err != nil {
		return nil, err
	}
	return w, nil
}

// client makes a writer's client; an empty id is one without transactions.
func (t *Transactional) client(id string, limit int) (*kgo.Client, error) {
	opts, err := produceOptions(t.stream, t.Compression)
	if err != nil {
		return nil, err
	}
	opts = append(opts,
		kgo.ProducerLinger(2*time.Millisecond),
		kgo.MaxBufferedRecords(1<<30),
		kgo.ProducerBatchMaxBytesFn(func(topic string) int32 {
			if topic == t.checkpoints() {
				return defaultBatchBytes
			}
			return int32(limit) //nolint:gosec // bounded
		}),
		kgo.RecordPartitioner(partitioner{t.checkpoints(), kgo.StickyKeyPartitioner(nil)}),
	)
	if id != "" {
		opts = append(opts, kgo.TransactionalID(id), kgo.TransactionTimeout(orDefault(t.TransactionTimeout, defaultTransactionTimeout)))
	}
	return t.fw.newClient(opts...)
}

// partitioner chooses partitions of the stream, and leaves those of checkpoints as they are.
type partitioner struct {
	checkpoints string
	stream      kgo.Partitioner
}

// ForTopic is what the client asks.
func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	if topic == p.checkpoints {
		return kgo.ManualPartitioner().ForTopic(topic)
	}
	return p.stream.ForTopic(topic)
}

// prepare makes the topic of checkpoints exist, and returns it.
func (t *Transactional) prepare(ctx context.Context) (kadm.TopicDetail, error) {
	cl, err := t.fw.client()
	if err != nil {
		return kadm.TopicDetail{}, err
	}
	name := t.checkpoints()
	if topic, err := describe(ctx, cl, name); err == nil && led(topic) {
		return topic, nil
	}
	_, err = t.fw.createTopic(ctx, name, orDefault(t.CheckpointPartitions, defaultCheckpointPartitions), t.CheckpointReplication, map[string]*string{
		"cleanup.policy":            kadm.StringPtr("compact"),
		"segment.bytes":             kadm.StringPtr("16777216"),
		"min.cleanable.dirty.ratio": kadm.StringPtr("0.1"),
	})
	if err != nil {
		return kadm.TopicDetail{}, err
	}
	return waitForLeaders(ctx, cl, name)
}

// CheckHealth reports whether the stream can be written to.
func (t *Transactional) CheckHealth(ctx context.Context) error {
	if err := t.validate(); err != nil {
		return err
	}
	return t.fw.checkHealth(ctx, check{topics: []string{t.stream}, write: true})
}

var (
	_ weaver.Sink[[]byte]  = (*Transactional)(nil)
	_ weaver.HealthChecker = (*Transactional)(nil)
)
