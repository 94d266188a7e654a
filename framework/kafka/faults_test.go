package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// cutter makes connections that break, each after a random number of bytes.
type cutter struct {
	mu     sync.Mutex
	random *rand.Rand
	mean   int // bytes
	off    atomic.Bool
	cuts   atomic.Int64
}

func (c *cutter) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil || c.off.Load() {
		return conn, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	cut := &cutConn{Conn: conn, cutter: c}
	cut.left.Store(int64(c.random.ExpFloat64() * float64(c.mean)))
	return cut, nil
}

type cutConn struct {
	net.Conn
	cutter *cutter
	left   atomic.Int64
}

var errCut = errors.New("cut by the test")

func (c *cutConn) spend(n int) error {
	if c.cutter.off.Load() || c.left.Add(-int64(n)) > 0 {
		return nil
	}
	c.cutter.cuts.Add(1)
	_ = c.Close()
	return errCut
}

// Read loses what has arrived.
func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil {
		if err = c.spend(n); err != nil {
			n = 0
		}
	}
	return n, err
}

// Write may have sent some of it, or all.
func (c *cutConn) Write(p []byte) (int, error) {
	if c.cutter.off.Load() || c.left.Load() > int64(len(p)) {
		n, err := c.Conn.Write(p)
		c.left.Add(-int64(n))
		return n, err
	}
	n, _ := c.Conn.Write(p[:len(p)/2])
	return n, c.spend(len(p) + int(max(c.left.Load(), 0)))
}

// TestConnectionsAreCut in the middle of requests and responses: nothing is lost, and the order of keys is kept.
func TestConnectionsAreCut(t *testing.T) {
	t.Parallel()
	addr := broker(t)
	well := connect(t, addr)
	in, out := newTopic(t, well, 3), unique(t)+"-out"
	require.NoError(t, well.CreateStream(t.Context(), weaver.Stream{Name: out, Partitions: 3}))
	const n, keys = 5000, 40
	recs := make([]weaver.Record[[]byte], n)
	for i := range recs {
		recs[i].Key, recs[i].Value = []byte(strconv.Itoa(i%keys)), fmt.Appendf(nil, "%d:%s", i, strings.Repeat("x", 100))
	}
	for chunk := range slices.Chunk(recs, 100) { // a broker sends whole batches
		put(t, well, in, chunk...)
	}

	seed := rand.Uint64()
	cuts := &cutter{random: rand.New(rand.NewPCG(seed, 0)), mean: 25 << 10}
	fw := New(addr)
	fw.Dial = cuts.dial
	c := brisk(fw.Consumer(in, unique(t)))
	c.MaxBytes = 16 << 10
	p := weaver.Copy[[]byte](c, fw.Produce(out))
	p.BatchSize = 50
	p.CheckpointInterval = 20 * time.Millisecond
	p.Retry = retry.Policy{Initial: time.Millisecond, Max: 50 * time.Millisecond}
	p.Log = quiet
	var got []weaver.Record[[]byte]
	stop := background(t, p.Run)
	eventually(t, "all is written", func() bool {
		got = readAll(t, well.Consumer(out, ""))
		seen := make(map[string]bool)
		for i := range got {
			seen[string(got[i].Value)] = true
		}
		return len(seen) == n
	})
	cuts.off.Store(true)
	require.NoError(t, stop(), "seed %d", seed)
	require.NoError(t, fw.Close())
	t.Logf("%d cuts, %d records doubled", cuts.cuts.Load(), len(got)-n)
	require.Greater(t, cuts.cuts.Load(), int64(10))
	newest := make(map[string]int)
	for i := range got {
		text, _, _ := strings.Cut(string(got[i].Value), ":")
		number, err := strconv.Atoi(text)
		require.NoError(t, err)
		key := string(got[i].Key)
		last, seen := newest[key]
		if !seen {
			last = number%keys - keys
		}
		require.LessOrEqual(t, number, last+keys, "seed %d: key %s: record %d comes after %d", seed, key, number, last)
		newest[key] = max(last, number)
	}
}

// TestRecordsThatAreTooLarge are poison, by their index and with the limit; the others are written.
func TestRecordsThatAreTooLarge(t *testing.T) {
	t.Parallel()
	fw := connect(t, broker(t))
	topic := newTopic(t, fw, 2)
	noise := make([]byte, 10<<20)
	random := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	for _, c := range compressions {
		k := fw.Producer(topic)
		k.Compression = c
		w, err := k.OpenWriter(t.Context(), weaver.Lane{Log: quiet})
		require.NoError(t, err)
		b := weaver.NewBatch[[]byte](0, 0)
		for _, v := range [][]byte{[]byte("a"), noise, []byte("b"), noise[:3<<20], []byte("c"), make([]byte, 2<<20), noise[:1<<20-1000]} {
			b.Add().Value = v
		}
		err = w.Write(t.Context(), b)
		var partial *weaver.BatchError
		require.ErrorAs(t, err, &partial)
		bad := map[int]bool{1: true, 3: true, 5: c == Uncompressed} // zeros are small when they are packed
		for _, r := range partial.Records {
			require.True(t, bad[r.Index], "%s: record %d: %v", c, r.Index, r.Err)
			delete(bad, r.Index)
			require.Equal(t, retry.ClassPoison, retry.ClassOf(r.Err))
			require.ErrorContains(t, r.Err, "1048588 at most")
			require.NotContains(t, r.Err.Error(), string(noise[:50]))
		}
		delete(bad, 5)
		require.Empty(t, bad, "%s: not named", c)
		require.NoError(t, w.Close())
	}
	counts := make(map[string]int)
	for _, r := range readAll(t, fw.Consumer(topic, "")) {
		counts[fmt.Sprintf("%d %q", len(r.Value), r.Value[:min(len(r.Value), 1)])]++
	}
	require.Equal(t, 5, counts[`1 "a"`])
	require.Equal(t, 5, counts[`1 "b"`])
	require.Equal(t, 5, counts[`1 "c"`])
	require.Equal(t, 4, counts[fmt.Sprintf("%d %q", 2<<20, "\x00")])
}

// TestRecordsThatTheBrokerRefuses are found though it names none: the topic takes no timestamps from before now.
func TestRecordsThatTheBrokerRefuses(t *testing.T) {
	t.Parallel()
	fw := connect(t, broker(t))
	topic := newTopic(t, fw, 1)
	configure(t, fw, topic, "message.timestamp.before.max.ms", "3600000")
	w, err := fw.Producer(topic).OpenWriter(t.Context(), weaver.Lane{Log: quiet})
	require.NoError(t, err)
	b := weaver.NewBatch[[]byte](0, 0)
	for i := range 10 {
		r := b.Add()
		r.Value = []byte(strconv.Itoa(i))
		if i == 3 || i == 7 {
			r.Time = time.Now().Add(-48 * time.Hour)
		}
	}
	err = w.Write(t.Context(), b)
	var partial *weaver.BatchError
	require.ErrorAs(t, err, &partial)
	var bad []int
	for _, r := range partial.Records {
		bad = append(bad, r.Index)
		require.Equal(t, retry.ClassPoison, retry.ClassOf(r.Err))
	}
	require.Equal(t, []int{3, 7}, bad)
	require.NoError(t, w.Close())
	var got []string
	for _, r := range readAll(t, fw.Consumer(topic, "")) {
		got = append(got, string(r.Value))
	}
	require.Equal(t, []string{"0", "1", "2", "4", "5", "6", "8", "9"}, got)
}

// TestLargeWrites are more than one batch of a partition.
func TestLargeWrites(t *testing.T) {
	t.Parallel()
	fw := connect(t, broker(t))
	topic := newTopic(t, fw, 1)
	recs := make([]weaver.Record[[]byte], 500)
	for i := range recs {
		recs[i].Value = append(make([]byte, 10_000), strconv.Itoa(i)...)
	}
	put(t, fw, topic, recs...)
	got := readAll(t, fw.Consumer(topic, ""))
	require.Len(t, got, len(recs))
	for i := range got {
		require.Equal(t, recs[i].Value, got[i].Value)
	}
}

// TestABrokerThatIsAway is waited for.
func TestABrokerThatIsAway(t *testing.T) {
	t.Parallel()
	addr := broker(t)
	fw := connect(t, addr)
	in := newTopic(t, fw, 1)
	put(t, fw, in, numbers(0, 10)...)
	away := New(addr)
	var down atomic.Bool
	down.Store(true)
	var tries atomic.Int64
	away.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if down.Load() {
			tries.Add(1)
			return nil, errors.New("connection refused by the test")
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	var all collected
	p := weaver.Copy[[]byte](brisk(away.Consumer(in, unique(t))), all.sink())
	p.Retry = retry.Policy{Initial: time.Millisecond, Max: 20 * time.Millisecond}
	p.Log = quiet
	stop := background(t, p.Run)
	eventually(t, "it tries again", func() bool { return tries.Load() > 5 })
	down.Store(false)
	eventually(t, "it goes on", func() bool { return all.len() == 10 })
	require.NoError(t, stop())
	require.NoError(t, away.Close())
}
