package kafkatest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/kafka"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// cluster starts brokers in this process.
func cluster(t testing.TB, brokers int) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(brokers), kfake.GroupMinSessionTimeout(time.Second))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestFramework(t *testing.T) {
	t.Parallel()
	c := cluster(t, 3)
	require.NoError(t, weavertest.TestFramework(t.Context(), weavertest.FrameworkCase{
		New:      func(context.Context) (weaver.Framework, error) { return kafka.New(c.ListenAddrs()...), nil },
		Patience: time.Minute,
		Idle:     func() {},
	}))
}

const (
	records    = 1500
	keys       = 30
	partitions = 3
)

// relay is a pipeline between two topics of a cluster, and what it has moved.
type relay struct {
	cluster *kfake.Cluster
	fw      *kafka.Framework
	group   string
	pipe    *weaver.Pipeline[[]byte, []byte]

	mu       sync.Mutex
	rejected []rejected
}

// rejected is what a dead letter says: its memory is the batch's.
type rejected struct{ value, err string }

// newRelay makes a pipeline of records that are in the topic "in" already.
func newRelay(t *testing.T) *relay {
	t.Helper()
	r := &relay{cluster: cluster(t, 3), group: "group"}
	for _, name := range []string{"in", "out"} {
		require.NoError(t, r.cluster.CreateTopic(name, partitions, nil))
	}
	fill := kafka.New(r.cluster.ListenAddrs()...)
	w, err := fill.Producer("in").OpenWriter(t.Context(), weaver.Lane{Log: quiet})
	require.NoError(t, err)
	b := weaver.NewBatch[[]byte](0, 0)
	for chunk := range slices.Chunk(slices.Collect(numbers(records)), 25) {
		b.Reset()
		for _, i := range chunk {
			rec := b.Add()
			rec.Key, rec.Value = []byte(strconv.Itoa(i%keys)), []byte(strconv.Itoa(i))
		}
		require.NoError(t, w.Write(t.Context(), b))
	}
	require.NoError(t, w.Close())
	require.NoError(t, fill.Close())

	r.fw = kafka.New(r.cluster.ListenAddrs()...)
	t.Cleanup(func() { require.NoError(t, r.fw.Close()) })
	src := r.fw.Consumer("in", r.group)
	src.SessionTimeout, src.HeartbeatInterval, src.MaxWait, src.Refresh = 2*time.Second, 50*time.Millisecond, 50*time.Millisecond, 200*time.Millisecond
	src.MaxBytes = 2 << 10
	r.pipe = weaver.Copy(weaver.Source[[]byte](src), r.fw.Produce("out"))
	r.pipe.BatchSize, r.pipe.CheckpointInterval, r.pipe.Log = 20, 20*time.Millisecond, quiet
	r.pipe.Retry = retry.Policy{Initial: time.Millisecond, Max: 50 * time.Millisecond}
	r.pipe.DeadLetter = weaver.SinkFunc[weaver.Rejected[[]byte]](func(_ context.Context, b *weaver.Batch[weaver.Rejected[[]byte]]) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for i := range b.Records {
			x := &b.Records[i].Value
			r.rejected = append(r.rejected, rejected{string(*x.Value), x.Error})
		}
		return nil
	})
	r.pipe.RateLimit.Records = 2000
	return r
}

func numbers(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// out reads the topic "out" by partition.
func (r *relay) out(t *testing.T) map[string][]int {
	t.Helper()
	fw := kafka.New(r.cluster.ListenAddrs()...)
	got := make(map[string][]int)
	var mu sync.Mutex
	p := weaver.Copy(fw.Consume("out", ""), weaver.SinkFunc[[]byte](func(_ context.Context, b *weaver.Batch[[]byte]) error {
		mu.Lock()
		defer mu.Unlock()
		for i := range b.Records {
			n, err := strconv.Atoi(string(b.Records[i].Value))
			if err != nil {
				return err
			}
			got[string(b.Records[i].Key)] = append(got[string(b.Records[i].Key)], n)
		}
		return nil
	}))
	p.Log = quiet
	p.Bounded = true
	require.NoError(t, p.Run(t.Context()))
	require.NoError(t, fw.Close())
	return got
}

// missing tells how many records have not come out yet, beside the rejected ones.
func (r *relay) missing(t *testing.T) int {
	t.Helper()
	seen := make(map[int]bool)
	for _, list := range r.out(t) {
		for _, n := range list {
			seen[n] = true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return records - len(seen) - len(r.rejected)
}

// inOrder checks that each key's records come first in their order.
func inOrder(t *testing.T, got map[string][]int) (doubled int) {
	t.Helper()
	for key, list := range got {
		newest := -1
		for _, n := range list {
			if n <= newest {
				doubled++
				continue
			}
			if newest >= 0 {
				require.Equal(t, newest+keys, n, "key %s: one is missing before", key)
			}
			newest = n
		}
	}
	return doubled
}

// TestFaultsPass injects what passes by itself: the pipeline goes on, nothing is lost and no order is broken.
func TestFaultsPass(t *testing.T) {
	t.Parallel()
	for key, errs := range map[kmsg.Key][]*kerr.Error{
		kmsg.Fetch: {
			kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.ReplicaNotAvailable, kerr.KafkaStorageError,
			kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch, kerr.UnknownTopicOrPartition, kerr.UnknownServerError, kerr.OffsetNotAvailable,
		},
		kmsg.Produce: {
			kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend,
			kerr.RequestTimedOut, kerr.KafkaStorageError, kerr.CorruptMessage, kerr.UnknownServerError,
		},
		kmsg.OffsetCommit: {
			kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.RebalanceInProgress,
			kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.RequestTimedOut,
		},
		kmsg.OffsetFetch:     {kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.UnstableOffsetCommit},
		kmsg.JoinGroup:       {kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.UnknownMemberID},
		kmsg.SyncGroup:       {kerr.NotCoordinator, kerr.RebalanceInProgress, kerr.IllegalGeneration},
		kmsg.Heartbeat:       {kerr.NotCoordinator, kerr.RebalanceInProgress, kerr.IllegalGeneration, kerr.UnknownMemberID},
		kmsg.FindCoordinator: {kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress},
		kmsg.ListOffsets:     {kerr.NotLeaderForPartition, kerr.LeaderNotAvailable},
		kmsg.Metadata:        {kerr.LeaderNotAvailable},
	} {
		for _, fault := range errs {
			t.Run(fmt.Sprintf("%s %s", key.Name(), fault.Message), func(t *testing.T) {
				t.Parallel()
				r := newRelay(t)
				f := kfake.Fault{Keys: []kmsg.Key{key}, Err: fault, Count: 3}
				if key == kmsg.Heartbeat || key == kmsg.FindCoordinator {
					f.TopLevel = true
				}
				// JoinGroup and its like happen at the start; the others under way as well.
				handle := r.cluster.Fault(f)
				ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- r.pipe.Run(ctx) }()
				if key == kmsg.Fetch || key == kmsg.Produce || key == kmsg.OffsetCommit || key == kmsg.Heartbeat {
					time.Sleep(200 * time.Millisecond)
					again := r.cluster.Fault(f)
					defer again.Remove()
				}
				require.Eventually(t, func() bool { return r.missing(t) == 0 }, time.Minute, 200*time.Millisecond)
				require.Positive(t, handle.Hits(), "the fault never hit")
				cancel()
				require.NoError(t, <-done)
				t.Logf("%d hits, %d records doubled", handle.Hits(), inOrder(t, r.out(t)))
				require.Empty(t, r.rejected)
			})
		}
	}
}

// TestFaultsThatStop injects what waiting doesn't help: the pipeline stops, and says why.
func TestFaultsThatStop(t *testing.T) {
	t.Parallel()
	for key, errs := range map[kmsg.Key][]*kerr.Error{
		kmsg.Fetch:     {kerr.TopicAuthorizationFailed},
		kmsg.Produce:   {kerr.TopicAuthorizationFailed, kerr.InvalidTopicException, kerr.PolicyViolation},
		kmsg.JoinGroup: {kerr.GroupAuthorizationFailed, kerr.InvalidSessionTimeout, kerr.InconsistentGroupProtocol},
		kmsg.Metadata:  {kerr.TopicAuthorizationFailed},
	} {
		for _, fault := range errs {
			t.Run(fmt.Sprintf("%s %s", key.Name(), fault.Message), func(t *testing.T) {
				t.Parallel()
				r := newRelay(t)
				handle := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: fault, Count: -1})
				defer handle.Remove()
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				err := r.pipe.Run(ctx)
				require.Error(t, err)
				require.NoError(t, ctx.Err(), "it waited")
				require.Equal(t, retry.ClassFatal, retry.ClassOf(err), "%v", err)
				require.ErrorContains(t, err, strconv.Itoa(int(fault.Code)))
				require.Empty(t, r.rejected)
			})
		}
	}
}

// TestRecordTooLarge has a broker that refuses whatever has a certain record in it, without saying which.
func TestRecordTooLarge(t *testing.T) {
	t.Parallel()
	r := newRelay(t)
	const bad = 777
	handle := r.cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.MessageTooLarge, Count: -1,
		When: func(req kmsg.Request) bool {
			for _, topic := range req.(*kmsg.ProduceRequest).Topics {
				for _, p := range topic.Partitions {
					if slices.Contains(valuesOf(p.Records), strconv.Itoa(bad)) {
						return true
					}
				}
			}
			return false
		},
		Partitions: []int32{partitionOf(t, r, bad)},
	})
	defer handle.Remove()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.pipe.Run(ctx) }()
	require.Eventually(t, func() bool { return r.missing(t) == 0 }, time.Minute, 200*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	require.Len(t, r.rejected, 1)
	require.Equal(t, strconv.Itoa(bad), r.rejected[0].value)
	require.Contains(t, r.rejected[0].err, "[10]")
}

// partitionOf is where a record is in "in", and will be in "out".
func partitionOf(t *testing.T, r *relay, n int) int32 {
	t.Helper()
	for i := range int32(partitions) {
		c := r.fw.Consumer("in", "")
		rd, err := c.OpenReader(t.Context(), weaver.Lane{Split: weaver.Split{ID: fmt.Sprintf("in/%d", i)}, Log: quiet})
		require.NoError(t, err)
		f, _ := weaver.As[weaver.Finisher](rd)
		require.NoError(t, f.Finish(t.Context()))
		b := weaver.NewBatch[[]byte](0, 0)
		for err == nil {
			_, err = rd.Read(t.Context(), b)
		}
		require.NoError(t, rd.Close())
		for j := range b.Records {
			if string(b.Records[j].Value) == strconv.Itoa(n) {
				return i
			}
		}
	}
	t.Fatal("it isn't there")
	return 0
}

// valuesOf are the values in a record batch that isn't compressed.
func valuesOf(raw []byte) []string {
	var batch kmsg.RecordBatch
	if err := batch.ReadFrom(raw); err != nil {
		return nil
	}
	var out []string
	in := batch.Records
	for range batch.NumRecords {
		var rec kmsg.Record
		length, n := kmsgVarint(in)
		if err := rec.ReadFrom(in[:n+length]); err != nil {
			return nil
		}
		out = append(out, string(rec.Value))
		in = in[n+length:]
	}
	return out
}

func kmsgVarint(in []byte) (value, size int) {
	var u uint64
	for i, b := range in {
		u |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			return int(int64(u>>1) ^ -int64(u&1)), i + 1
		}
	}
	return 0, 0
}

// TestClusterMoves moves leaders and coordinators all the time.
func TestClusterMoves(t *testing.T) {
	t.Parallel()
	r := newRelay(t)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.pipe.Run(ctx) }()
	for range 8 {
		time.Sleep(150 * time.Millisecond)
		r.cluster.ShufflePartitionLeaders()
		time.Sleep(100 * time.Millisecond)
		r.cluster.RehashCoordinators()
	}
	require.Eventually(t, func() bool { return r.missing(t) == 0 }, time.Minute, 200*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	t.Logf("%d records doubled", inOrder(t, r.out(t)))
	require.Empty(t, r.rejected)
}
