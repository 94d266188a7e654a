package franz

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

func TestFieldsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	fw := New("localhost:1")
	for want, set := range map[string]func(c *Consumer){
		"Consumer.Topics is empty":           func(c *Consumer) { c.Topics = nil },
		"Consumer.Topics has an empty name":  func(c *Consumer) { c.Topics = []string{"a", ""} },
		"Consumer.Start is 7":                func(c *Consumer) { c.Start = 7 },
		"Consumer.StartAt is not set":        func(c *Consumer) { c.Start = AtTime },
		"Consumer.OutOfRange is 7":           func(c *Consumer) { c.OutOfRange = 7 },
		"Consumer.MaxBytes is -1":            func(c *Consumer) { c.MaxBytes = -1 },
		"Consumer.MaxQueued is -1":           func(c *Consumer) { c.MaxQueued = -1 },
		"Consumer.MaxWait is -1ns":           func(c *Consumer) { c.MaxWait = -1 },
		"Consumer.SessionTimeout is -1ns":    func(c *Consumer) { c.SessionTimeout = -1 },
		"Consumer.HeartbeatInterval is 1m0s": func(c *Consumer) { c.HeartbeatInterval = time.Minute },
		"Consumer.RebalanceTimeout is -1ns":  func(c *Consumer) { c.RebalanceTimeout = -1 },
		"Consumer.Refresh is -1ns":           func(c *Consumer) { c.Refresh = -1 },
		"and there is no group":              func(c *Consumer) { c.group, c.NextGen = "", true },
	} {
		c := fw.Consumer("s", "g")
		set(c)
		_, err := c.Splits(t.Context())
		require.ErrorContains(t, err, want)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
		require.ErrorContains(t, c.CheckHealth(t.Context()), want)
	}
	for want, set := range map[string]func(p *Producer){
		"Compression is 9":                    func(p *Producer) { p.Compression = 9 },
		"Producer.MaxBatchBytes is -1":        func(p *Producer) { p.MaxBatchBytes = -1 },
		"Producer.DeliveryTimeout is -1ns":    func(p *Producer) { p.DeliveryTimeout = -1 },
		"the stream's name is empty":          func(p *Producer) { p.stream = "" },
		"Framework.DialTimeout is -1ns":       func(p *Producer) { p.fw = New("x"); p.fw.DialTimeout = -1 },
		"New was called without a broker's":   func(p *Producer) { p.fw = New() },
		"the client refuses its configuratio": func(p *Producer) { p.fw = New("[::"); p.fw.RequestTimeout = 1 },
	} {
		p := fw.Producer("s")
		set(p)
		_, err := p.OpenWriter(t.Context(), weaver.Lane{})
		require.ErrorContains(t, err, want)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
	for want, set := range map[string]func(s *Transactional){
		"the stream's name is empty":             func(s *Transactional) { s.stream = "" },
		"Transactional.Checkpoints is the":       func(s *Transactional) { s.Checkpoints = "s" },
		"Transactional.MaxBytes is -1":           func(s *Transactional) { s.MaxBytes = -1 },
		"Transactional.MaxBatchBytes is -1":      func(s *Transactional) { s.MaxBatchBytes = -1 },
		"Transactional.Interval is 1h0m0s":       func(s *Transactional) { s.Interval = time.Hour },
		"Transactional.TransactionTimeout is -1": func(s *Transactional) { s.TransactionTimeout = -1 },
		"CheckpointPartitions is -1":             func(s *Transactional) { s.CheckpointPartitions = -1 },
		"is 40003 bytes long":                    func(s *Transactional) { s.Prefix = string(make([]byte, 40000)) },
	} {
		s := fw.Transactional("s")
		set(s)
		_, err := s.OpenWriter(t.Context(), weaver.Lane{})
		require.ErrorContains(t, err, want)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
}

func TestTransactionalIDsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, pipeline := range []string{"", "a", "a/b", "ü", "a%2Fb"} {
		for _, split := range []string{"", "a", "b/a", "\xff", "\x00", "?"} {
			id, err := (&Transactional{stream: "s"}).id(weaver.Lane{Pipeline: pipeline, Split: weaver.Split{ID: split}})
			require.NoError(t, err)
			require.False(t, seen[id], id)
			seen[id] = true
			require.Regexp(t, `^[ -~]*$`, id)
		}
	}
}

func TestCreateStreamDiffers(t *testing.T) {
	t.Parallel()
	for name, addr := range brokers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fw := open(t, addr(t))
			s := unique("stream")
			require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: s, Partitions: 2, Retention: time.Hour}))
			require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: s, Partitions: 2, Retention: time.Hour, Replication: 1}))
			require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: s}))
			err := fw.CreateStream(t.Context(), weaver.Stream{Name: s, Partitions: 3, Replication: 2, Retention: -1})
			require.EqualError(t, err, `franz: topic "`+s+`" exists with 2 partitions, not 3 and a replication of 1, not 2 and retention.ms=3600000, not -1`)
			require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
			for _, bad := range []weaver.Stream{{}, {Name: s, Partitions: -1}, {Name: s, Replication: -1}} {
				require.Equal(t, retry.ClassFatal, retry.ClassOf(fw.CreateStream(t.Context(), bad)))
			}
			if name == "Kafka" {
				err = fw.CreateStream(t.Context(), weaver.Stream{Name: "no/such/name"})
				require.Equal(t, retry.ClassFatal, retry.ClassOf(err), err)
			}
		})
	}
}

// TestPartitionsAsJava compares with what org.apache.kafka.common.utils.Utils.murmur2 gives (from the tests of Kafka's own clients), which
// decides about the partition once its sign is cleared.
func TestPartitionsAsJava(t *testing.T) {
	t.Parallel()
	fw := open(t, fake(t).ListenAddrs()[0])
	const partitions = 7
	topic := stream(t, fw, partitions)
	hashes := map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	}
	b := weaver.NewBatch[[]byte](0, 0)
	for key := range hashes {
		x := b.Add()
		x.Key, x.Value = []byte(key), []byte(key)
	}
	write(t, fw.Produce(topic), b)
	c := fw.Consumer(topic, "")
	_, splits := begin(t, c, partitions)
	found := 0
	for id, sp := range splits {
		got, _ := rest(t, openReader(t, c, sp, nil))
		for _, r := range got {
			found++
			want := partition{topic, (hashes[string(r.Key)] & 0x7fffffff) % partitions}
			require.Equal(t, want.id(), id, string(r.Key))
		}
	}
	require.Equal(t, len(hashes), found)
}

func TestPosition(t *testing.T) {
	t.Parallel()
	p := make(weaver.Position, positionBytes)
	for _, at := range []place{{0, -1}, {1 << 62, 0}, {5, 1<<31 - 1}} {
		at.encode(p)
		got, err := decodePosition(p)
		require.NoError(t, err)
		require.Equal(t, at, got)
	}
	place{258, 3}.encode(p)
	require.Equal(t, "01000000000000010200000003", hex.EncodeToString(p), "stored by earlier releases")
	for _, bad := range []weaver.Position{nil, {}, {1}, append(weaver.Position{2}, p[1:]...), append(p[:positionBytes:positionBytes], 0), {1, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}} {
		_, err := decodePosition(bad)
		require.Error(t, err)
	}
}

func FuzzWholeBatches(f *testing.F) {
	f.Add(make([]byte, 100), int64(0))
	f.Fuzz(func(t *testing.T, in []byte, at int64) {
		data, next := wholeBatches(in, place{at, -1})
		require.LessOrEqual(t, len(data), len(in))
		require.GreaterOrEqual(t, next.offset, min(at, next.offset))
	})
}
