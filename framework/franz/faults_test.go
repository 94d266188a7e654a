package franz

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// TestCommitFaults acknowledges while the coordinator fails in its ways.
func TestCommitFaults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err   *kerr.Error
		count int
		fails string // what the reader says; empty: nothing, and the offset is committed in the end
	}{
		"not coordinator":       {kerr.NotCoordinator, 2, ""},
		"coordinator loads":     {kerr.CoordinatorLoadInProgress, 2, ""},
		"rebalance in progress": {kerr.RebalanceInProgress, 2, ""},
		"illegal generation":    {kerr.IllegalGeneration, 1, "comes too late"},
		"unknown member":        {kerr.UnknownMemberID, 1, "comes too late"},
		"fenced instance":       {kerr.FencedInstanceID, 1, "another member has the same Consumer.InstanceID"},
		"no ACL":                {kerr.GroupAuthorizationFailed, 1, "lacks the ACL Read on the group"},
		"too large":             {kerr.OffsetMetadataTooLarge, 1, "committing an offset"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := fake(t)
			fw := open(t, cluster.ListenAddrs()[0])
			topic := stream(t, fw, 1)
			group := unique("group")
			write(t, fw.Produce(topic), batch("a", "b", "c"))
			c := fw.Consumer(topic, group)
			_, splits := begin(t, c, 1)
			r := openReader(t, c, splits[topic+"/0"], nil)
			p, err := r.Read(t.Context(), weaver.NewBatch[[]byte](0, 0))
			require.NoError(t, err)
			h := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: tt.err, Count: tt.count})
			require.NoError(t, r.(weaver.Acker).Ack(t.Context(), p))
			if tt.fails == "" {
				require.NoError(t, r.Close())
				require.Equal(t, tt.count, h.Hits())
				require.Equal(t, int64(3), groupOffset(t, fw, group, topic))
				return
			}
			_, err = r.Read(t.Context(), weaver.NewBatch[[]byte](0, 0))
			require.ErrorContains(t, err, tt.fails)
			require.NoError(t, r.Close())
			require.Equal(t, int64(0), groupOffset(t, fw, group, topic))
		})
	}
}

// TestAcksGoTogether acknowledges many partitions, and counts requests.
func TestAcksGoTogether(t *testing.T) {
	t.Parallel()
	cluster := fake(t)
	fw := open(t, cluster.ListenAddrs()[0])
	topic := stream(t, fw, 20)
	group := unique("group")
	c := fw.Consumer(topic, group)
	_, splits := begin(t, c, 20)
	at := make(weaver.Position, positionBytes)
	place{0, -1}.encode(at)
	seen := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Observe: true, Count: -1})
	var readers []weaver.Reader[[]byte]
	for _, sp := range splits {
		r := openReader(t, c, sp, nil)
		readers = append(readers, r)
	}
	before := seen.Hits()
	for range 10 {
		for _, r := range readers {
			require.NoError(t, r.(weaver.Acker).Ack(t.Context(), at))
		}
	}
	for _, r := range readers {
		require.NoError(t, r.Close())
	}
	require.Less(t, seen.Hits()-before, 40, "200 acknowledgements")
}

// TestReadFaults reads through what passes, and stops at what doesn't.
func TestReadFaults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err   *kerr.Error
		count int
		fails string
		class retry.Class
	}{
		"not leader":           {kerr.NotLeaderForPartition, 3, "", 0},
		"fenced epoch":         {kerr.FencedLeaderEpoch, 2, "", 0},
		"storage error":        {kerr.KafkaStorageError, 2, "", 0},
		"unknown for a moment": {kerr.UnknownTopicOrPartition, 3, "", 0},
		"unknown for good":     {kerr.UnknownTopicOrPartition, -1, "call CreateStream", retry.ClassFatal},
		"no ACL":               {kerr.TopicAuthorizationFailed, 1, "lacks an ACL", retry.ClassFatal},
		"unknown error":        {kerr.UnknownServerError, 1, "UNKNOWN_SERVER_ERROR", retry.ClassUnmarked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := fake(t)
			fw := open(t, cluster.ListenAddrs()[0])
			topic := stream(t, fw, 1)
			write(t, fw.Produce(topic), batch("a", "b", "c"))
			c := fw.Consumer(topic, "")
			_, splits := begin(t, c, 1)
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: topic, Err: tt.err, Count: tt.count})
			r := openReader(t, c, splits[topic+"/0"], nil)
			b := weaver.NewBatch[[]byte](0, 0)
			_, err := r.Read(t.Context(), b)
			if tt.fails != "" {
				require.ErrorContains(t, err, tt.fails)
				require.Equal(t, tt.class, retry.ClassOf(err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, []string{"a", "b", "c"}, values(b.Records))
		})
	}
}

// TestDamageOnTheWay changes a byte of what is fetched, once.
func TestDamageOnTheWay(t *testing.T) {
	t.Parallel()
	cluster := fake(t)
	fw := open(t, cluster.ListenAddrs()[0])
	topic := stream(t, fw, 1)
	write(t, fw.Produce(topic), batch("a", "b", "c"))
	c := fw.Consumer(topic, "")
	s, splits := begin(t, c, 1)
	r := openReader(t, c, splits[topic+"/0"], nil)
	f := s.(*session).fetch
	require.Eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		l := r.(*reader).l
		if len(l.chunks) == 0 {
			return false
		}
		l.chunks[0].data[60] ^= 1 // in the first record batch, of which there may be several: how many records it has
		return true
	}, time.Minute, time.Millisecond)
	b := weaver.NewBatch[[]byte](0, 0)
	_, err := r.Read(t.Context(), b)
	require.ErrorContains(t, err, "crc")
	require.Empty(t, b.Records)
	require.NotContains(t, []retry.Class{retry.ClassFatal, retry.ClassPoison}, retry.ClassOf(err), "what is on disk may be whole")
	require.NoError(t, r.Close())
	got, _ := rest(t, openReader(t, c, splits[topic+"/0"], nil))
	require.Equal(t, []string{"a", "b", "c"}, values(got))
}

// TestRecreatedTopic doesn't go on in another topic of the same name.
func TestRecreatedTopic(t *testing.T) {
	t.Parallel()
	cluster := fake(t)
	fw := open(t, cluster.ListenAddrs()[0])
	topic := stream(t, fw, 1)
	write(t, fw.Produce(topic), batch("a", "b", "c"))
	c := fw.Consumer(topic, "")
	_, splits := begin(t, c, 1)
	r := openReader(t, c, splits[topic+"/0"], nil)
	_, err := r.Read(t.Context(), weaver.NewBatch[[]byte](1, 0))
	require.NoError(t, err)
	require.NoError(t, cluster.DeleteTopic(topic))
	require.NoError(t, cluster.CreateTopic(topic, 1, nil))
	write(t, fw.Produce(topic), batch("x", "x", "x", "not behind c"))
	for err == nil {
		b := weaver.NewBatch[[]byte](0, 0)
		_, err = r.Read(t.Context(), b)
		require.NotContains(t, values(b.Records), "not behind c")
	}
	require.ErrorContains(t, err, "created anew")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
}

// TestWriteFaults has a broker refuse a batch.
func TestWriteFaults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err     *kerr.Error
		records int
		class   retry.Class
		named   []int
	}{
		"not leader":     {kerr.NotLeaderForPartition, 3, 0, nil},
		"no ACL":         {kerr.TopicAuthorizationFailed, 3, retry.ClassFatal, nil},
		"invalid, alone": {kerr.InvalidRecord, 1, retry.ClassPoison, []int{0}},
		"invalid, among": {kerr.InvalidRecord, 3, retry.ClassPoison, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := fake(t)
			fw := open(t, cluster.ListenAddrs()[0])
			topic := stream(t, fw, 1)
			w, err := fw.Produce(topic).OpenWriter(t.Context(), weaver.Lane{})
			require.NoError(t, err)
			t.Cleanup(func() { _ = w.Close() })
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: tt.err})
			err = w.Write(t.Context(), batch([]string{"a", "b", "c"}[:tt.records]...))
			if tt.class == 0 {
				require.NoError(t, err)
				got, err := committed(t.Context(), fw, topic)
				require.NoError(t, err)
				require.Equal(t, []string{"a", "b", "c"}, values(got))
				return
			}
			if e := (*weaver.BatchError)(nil); errors.As(err, &e) {
				var named []int
				for _, r := range e.Records {
					named = append(named, r.Index)
					require.Equal(t, tt.class, retry.ClassOf(r.Err))
				}
				require.Equal(t, tt.named, named)
				return
			}
			require.Nil(t, tt.named)
			require.Equal(t, tt.class, retry.ClassOf(err), err)
		})
	}
}

// TestTransactionFaults has the coordinator fail at the end of a transaction.
func TestTransactionFaults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		key    kmsg.Key
		err    *kerr.Error
		fenced bool
		passes bool
	}{
		"commit, not coordinator":     {kmsg.EndTxn, kerr.NotCoordinator, false, true},
		"commit, fenced":              {kmsg.EndTxn, kerr.ProducerFenced, true, false},
		"commit, epoch":               {kmsg.EndTxn, kerr.InvalidProducerEpoch, true, false},
		"commit, unknown":             {kmsg.EndTxn, kerr.UnknownServerError, false, false},
		"produce, fenced":             {kmsg.Produce, kerr.InvalidProducerEpoch, true, false},
		"produce, not leader":         {kmsg.Produce, kerr.NotLeaderForPartition, false, true},
		"produce, record":             {kmsg.Produce, kerr.InvalidRecord, false, false},
		"take over, busy for a while": {kmsg.InitProducerID, kerr.ConcurrentTransactions, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := fake(t)
			fw := open(t, cluster.ListenAddrs()[0])
			topic := stream(t, fw, 1)
			sink := fw.Transactional(topic)
			lane := weaver.Lane{Pipeline: "p"}
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{tt.key}, TopLevel: tt.key != kmsg.Produce, Err: tt.err, Count: 1})
			w, err := sink.OpenWriter(t.Context(), lane)
			require.NoError(t, err)
			_, err = w.(weaver.Checkpointer).Restore(t.Context())
			require.NoError(t, err)
			err = w.Write(t.Context(), batch("a"))
			if err == nil {
				err = w.(weaver.Checkpointer).Commit(t.Context(), []byte("one"))
			}
			require.Equal(t, tt.fenced, errors.Is(err, weaver.ErrFenced), err)
			if tt.passes {
				require.NoError(t, err)
			} else {
				require.Error(t, err)
			}
			require.NoError(t, w.Close())
			if tt.fenced {
				return
			}
			w, err = sink.OpenWriter(t.Context(), lane) // which tells what came of it
			require.NoError(t, err)
			t.Cleanup(func() { _ = w.Close() })
			env, err := w.(weaver.Checkpointer).Restore(t.Context())
			require.NoError(t, err)
			got, err := committed(t.Context(), fw, topic)
			require.NoError(t, err)
			require.Equal(t, string(env) == "one", len(got) == 1, "the record and the envelope, or neither")
			require.Equal(t, tt.passes, string(env) == "one")
		})
	}
}

// TestTransactionTimeout is stopped by an error that names what has to be changed.
func TestTransactionTimeout(t *testing.T) {
	t.Parallel()
	fw := open(t, fake(t).ListenAddrs()[0])
	sink := fw.Transactional(stream(t, fw, 1))
	sink.TransactionTimeout = 200 * time.Millisecond
	w, err := sink.OpenWriter(t.Context(), weaver.Lane{Pipeline: "p"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.Close() })
	_, err = w.(weaver.Checkpointer).Restore(t.Context())
	require.NoError(t, err)
	for end := time.Now().Add(time.Minute); err == nil && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		err = w.Write(t.Context(), batch("of a source's transaction without end"))
	}
	require.ErrorContains(t, err, "TransactionTimeout, 200ms")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
}

// TestCancelledWrite gives the batch's memory back when Write returns, whatever brokers do.
func TestCancelledWrite(t *testing.T) {
	t.Parallel()
	cluster := fake(t)
	fw := open(t, cluster.ListenAddrs()[0])
	topic := stream(t, fw, 1)
	var stuck atomic.Bool
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if stuck.Load() {
			cluster.SleepControl(func() { <-release })
		}
		return nil, nil, false
	})
	w, err := fw.Produce(topic).OpenWriter(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.Close() })
	require.NoError(t, w.Write(t.Context(), batch("a")))
	stuck.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	b := batch("b")
	require.ErrorIs(t, w.Write(ctx, b), context.DeadlineExceeded)
	copy(b.Records[0].Value, "!")
	require.Error(t, w.Write(t.Context(), batch("c")), "it is of no more use")
}

func TestClassify(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err   error
		class retry.Class
		says  string
	}{
		{kerr.NotLeaderForPartition, retry.ClassTransient, "NOT_LEADER"},
		{kerr.ThrottlingQuotaExceeded, retry.ClassThrottled, "QUOTA"},
		{kerr.MessageTooLarge, retry.ClassPoison, "MESSAGE_TOO_LARGE"},
		{kerr.UnknownTopicOrPartition, retry.ClassFatal, "call CreateStream before"},
		{kerr.SaslAuthenticationFailed, retry.ClassFatal, "Framework.SASL"},
		{kerr.UnknownServerError, retry.ClassUnmarked, "UNKNOWN_SERVER_ERROR"},
		{kgo.ErrClientClosed, retry.ClassUnmarked, "client closed"},
		{context.Canceled, retry.ClassUnmarked, "canceled"},
	} {
		err := classify("doing it", tt.err)
		require.Equal(t, tt.class, retry.ClassOf(err), tt.err)
		require.ErrorIs(t, err, tt.err)
		require.ErrorContains(t, err, tt.says)
		require.True(t, strings.HasPrefix(err.Error(), "franz: doing it: "), err.Error())
	}
	require.NoError(t, classify("doing it", nil))
	d, ok := retry.Delay(classify("doing it", kerr.ThrottlingQuotaExceeded))
	require.True(t, ok)
	require.Equal(t, throttle, d)
}
