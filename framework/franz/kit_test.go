package franz

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	weaver "github.com/bohica-labs/dataweaver"
)

// fake starts a broker in this process. It is not Kafka: what a real one does is in tests that use broker.
func fake(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0", "group.min.session.timeout.ms": "100"}),
	}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// broker returns the address of a real one.
func broker(t testing.TB) string {
	t.Helper()
	addr := os.Getenv("WEAVER_TEST_KAFKA")
	if addr == "" {
		const why = "there is no Kafka broker: run internal/services/with kafka -- go test ./..., or set WEAVER_TEST_KAFKA to host:port"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	return addr
}

// brokers are those that a test runs on, by name.
func brokers(testing.TB) map[string]func(t *testing.T) string {
	return map[string]func(t *testing.T) string{
		"fake":  func(t *testing.T) string { return fake(t).ListenAddrs()[0] },
		"Kafka": func(t *testing.T) string { return broker(t) },
	}
}

func open(t *testing.T, addr string) *Framework {
	t.Helper()
	fw := New(addr)
	t.Cleanup(func() { require.NoError(t, fw.Close()) })
	return fw
}

// stream makes a stream and returns its name.
func stream(t *testing.T, fw *Framework, partitions int) string {
	t.Helper()
	name := unique("stream")
	require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: name, Partitions: partitions}))
	return name
}

func batch(values ...string) *weaver.Batch[[]byte] {
	b := weaver.NewBatch[[]byte](0, 0)
	for _, v := range values {
		b.Add().Value = []byte(v)
	}
	return b
}

func values(records []weaver.Record[[]byte]) []string {
	var out []string
	for _, r := range records {
		out = append(out, string(r.Value))
	}
	return out
}

func write(t *testing.T, s weaver.Sink[[]byte], b *weaver.Batch[[]byte]) {
	t.Helper()
	w, err := s.OpenWriter(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	defer w.Close()
	require.NoError(t, w.Write(t.Context(), b))
}

// unique makes a name new.
func unique(of string) string { return of + "-" + strconv.FormatUint(rand.Uint64(), 36) }

// quick makes rebalances quick.
func quick(c *Consumer) *Consumer {
	c.HeartbeatInterval = 100 * time.Millisecond
	c.MaxWait = 50 * time.Millisecond
	return c
}
