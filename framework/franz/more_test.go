package franz

import (
	"context"
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// TestLeadersMove reads and writes while partitions move from broker to broker.
func TestLeadersMove(t *testing.T) {
	t.Parallel()
	cluster := fake(t, kfake.NumBrokers(3))
	fw := open(t, cluster.ListenAddrs()[0])
	topic := stream(t, fw, 1)
	w, err := fw.Produce(topic).OpenWriter(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.Close() })
	c := fw.Consumer(topic, "")
	_, splits := begin(t, c, 1)
	r := openReader(t, c, splits[topic+"/0"], nil)
	next := 0
	for i := range 30 {
		if i%3 == 2 {
			require.NoError(t, cluster.MoveTopicPartition(topic, 0, (cluster.LeaderFor(topic, 0)+1)%3))
		}
		require.NoError(t, w.Write(t.Context(), batch(strconv.Itoa(i))))
		for next <= i {
			b := weaver.NewBatch[[]byte](0, 0)
			_, err := r.Read(t.Context(), b)
			require.NoError(t, err)
			for _, v := range values(b.Records) {
				require.Equal(t, strconv.Itoa(next), v)
				next++
			}
		}
	}
}

// TestTruncatedLog resumes at a position whose records an unclean election has taken away.
func TestTruncatedLog(t *testing.T) {
	t.Parallel()
	cluster := fake(t)
	fw := open(t, cluster.ListenAddrs()[0])
	topic := stream(t, fw, 1)
	write(t, fw.Produce(topic), batch("a", "b", "c", "d"))
	cluster.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
		rt := kmsg.NewOffsetForLeaderEpochResponseTopic()
		rt.Topic = topic
		rp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
		rp.EndOffset = 2 // what came behind it is other records' now
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	at := make(weaver.Position, positionBytes)
	place{3, 0}.encode(at)
	c := fw.Consumer(topic, "")
	_, splits := begin(t, c, 1)
	_, err := c.OpenReader(t.Context(), weaver.Lane{Split: splits[topic+"/0"], Position: at})
	require.ErrorContains(t, err, "records from 2 on")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	c.OutOfRange = ToEarliest
	got, _ := rest(t, openReader(t, c, splits[topic+"/0"], at))
	require.Len(t, got, 4)
}

// TestCompression writes and reads in every way there is.
func TestCompression(t *testing.T) {
	t.Parallel()
	for name, addr := range brokers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fw := open(t, addr(t))
			for c := Uncompressed; c <= Zstd; c++ {
				topic := stream(t, fw, 1)
				b := weaver.NewBatch[[]byte](0, 0)
				for i := range 500 {
					*b.Add() = sample(i)
				}
				p := fw.Producer(topic)
				p.Compression = c
				write(t, p, b)
				got, err := committed(t.Context(), fw, topic)
				require.NoError(t, err)
				require.Len(t, got, 500)
				for i, r := range got {
					want := sample(i)
					want.Seq = int64(i)
					require.Equal(t, want, r)
				}
			}
		})
	}
}

// TestMembersThatDontLetGo takes a partition from a pipeline that doesn't carry out the change.
func TestMembersThatDontLetGo(t *testing.T) {
	t.Parallel()
	fw := open(t, fake(t).ListenAddrs()[0])
	topic := stream(t, fw, 2)
	group := unique("group")
	c := quick(fw.Consumer(topic, group))
	c.RebalanceTimeout = time.Second
	_, splits := begin(t, c, 2)
	var readers []weaver.Reader[[]byte]
	for _, sp := range splits {
		readers = append(readers, openReader(t, c, sp, nil))
	}
	began := time.Now()
	_, taken := begin(t, c, 1)
	require.Greater(t, time.Since(began), 700*time.Millisecond)
	require.Less(t, time.Since(began), 15*time.Second)
	ended := 0
	for _, r := range readers {
		a := r.(groupReader).a
		_, moved := taken[a.id()]
		require.Equal(t, moved, a.ended.Load())
		if moved {
			ended++
			_, err := r.Read(t.Context(), weaver.NewBatch[[]byte](0, 0))
			require.ErrorContains(t, err, "another member")
		}
	}
	require.Equal(t, 1, ended)
}

// TestPoisonAmongGood has the pipeline find a record that a broker refuses without naming it, and write the others.
func TestPoisonAmongGood(t *testing.T) {
	t.Parallel()
	for name, addr := range brokers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fw := open(t, addr(t))
			in, out := stream(t, fw, 1), stream(t, fw, 1)
			b := weaver.NewBatch[[]byte](0, 0)
			for i := range 40 {
				x := b.Add()
				x.Value = []byte(strconv.Itoa(i))
				if i == 17 {
					x.Value = make([]byte, 900_000)
				}
			}
			write(t, fw.Produce(in), b)
			sink := fw.Producer(out)
			sink.MaxBatchBytes = 100_000
			p := weaver.NewPipeline(fw.Consume(in, unique("group")), weaver.Pass[[]byte](), weaver.Sink[[]byte](sink))
			p.Log = slog.New(slog.DiscardHandler)
			var letters atomic.Int64
			p.DeadLetter = weaver.SinkFunc[weaver.Rejected[[]byte]](func(_ context.Context, b *weaver.Batch[weaver.Rejected[[]byte]]) error {
				letters.Add(int64(len(b.Records)))
				require.Contains(t, b.Records[0].Value.Error, "900")
				return nil
			})
			p.Bounded = true
			require.NoError(t, p.Run(t.Context()))
			require.Equal(t, int64(1), letters.Load())
			got, err := committed(t.Context(), fw, out)
			require.NoError(t, err)
			require.Len(t, got, 39)
		})
	}
}

// TestGroupWithoutACL tells why a member can't join, and doesn't wait for ever.
func TestGroupWithoutACL(t *testing.T) {
	t.Parallel()
	cluster := fake(t)
	fw := open(t, cluster.ListenAddrs()[0])
	topic := stream(t, fw, 1)
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, TopLevel: true, Err: kerr.GroupAuthorizationFailed, Count: -1})
	s, err := quick(fw.Consumer(topic, "g")).Splits(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	_, err = s.Next(t.Context())
	require.ErrorContains(t, err, "lacks the ACL Read on the group")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
}

// TestValuesThatAreNone keeps what deletes apart from what is empty.
func TestValuesThatAreNone(t *testing.T) {
	t.Parallel()
	for name, addr := range brokers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fw := open(t, addr(t))
			topic := stream(t, fw, 1)
			b := weaver.NewBatch[[]byte](0, 0)
			*b.Add() = weaver.Record[[]byte]{Op: weaver.Update, Key: []byte("no value")}
			*b.Add() = weaver.Record[[]byte]{Value: []byte{}}
			*b.Add() = weaver.Record[[]byte]{Op: weaver.Delete, Key: []byte{}, Value: []byte("of what is gone")}
			write(t, fw.Produce(topic), b)
			got, err := committed(t.Context(), fw, topic)
			require.NoError(t, err)
			require.Len(t, got, 3)
			for i, want := range []weaver.Op{weaver.Upsert, weaver.Upsert, weaver.Delete} {
				require.Equal(t, want, got[i].Op)
				require.Equal(t, want == weaver.Delete, got[i].Value == nil)
				require.Empty(t, got[i].Value)
			}
			require.Nil(t, got[1].Key)
			require.NotNil(t, got[2].Key)
		})
	}
}
