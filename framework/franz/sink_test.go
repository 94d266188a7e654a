package franz

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// committed reads what is in a topic of one partition and committed, by a way of its own.
func committed(ctx context.Context, fw *Framework, topic string) ([]weaver.Record[[]byte], error) {
	c := fw.Consumer(topic, "")
	c.MaxWait = 50 * time.Millisecond
	s, err := c.Splits(ctx)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	change, err := s.Next(ctx)
	if err != nil {
		return nil, err
	}
	var out []weaver.Record[[]byte]
	for _, sp := range change.Add {
		r, err := c.OpenReader(ctx, weaver.Lane{Split: sp})
		if err != nil {
			return nil, err
		}
		defer r.Close()
		settled(ctx, s.(*session).cl, sp.Handle.(*assignment).partition)
		if err := r.(weaver.Finisher).Finish(ctx); err != nil {
			return nil, err
		}
		for err == nil {
			b := weaver.NewBatch[[]byte](100, 0)
			_, err = r.Read(ctx, b)
			out = append(out, b.Records...)
		}
		if err.Error() != "EOF" {
			return nil, err
		}
	}
	return out, nil
}

// settled waits for the markers of transactions that are committed, which the coordinator writes behind its answer. A
// transaction that is open leaves it waiting in vain.
func settled(ctx context.Context, cl *kgo.Client, p partition) {
	for range 100 {
		stable, err := listOffset(ctx, cl, 1, p, listEnd)
		end, endErr := listOffset(ctx, cl, 0, p, listEnd)
		if err != nil || endErr != nil || stable == end {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func sample(i int) weaver.Record[[]byte] {
	return weaver.Record[[]byte]{
		Value: []byte("value " + strconv.Itoa(i)), Key: []byte("key " + strconv.Itoa(i)), Time: time.UnixMilli(int64(1_700_000_000_000 + i)).UTC(),
		Headers: weaver.Headers{{Key: "h", Value: []byte{byte(i)}}},
	}
}

func sinkCase(fw *Framework, open func(stream string) weaver.Sink[[]byte]) weavertest.SinkCase[[]byte] {
	return weavertest.SinkCase[[]byte]{
		New: func(ctx context.Context) (weaver.Sink[[]byte], func(context.Context) ([]weaver.Record[[]byte], error), error) {
			name := unique("sink")
			err := fw.CreateStream(ctx, weaver.Stream{Name: name, Partitions: 1})
			return open(name), func(ctx context.Context) ([]weaver.Record[[]byte], error) { return committed(ctx, fw, name) }, err
		},
		Record: sample,
		Poison: func() weaver.Record[[]byte] {
			return weaver.Record[[]byte]{Key: []byte("large"), Value: make([]byte, 2<<20)}
		},
		Patience: 40 * time.Second,
	}
}

func testSinks(t *testing.T, addrs ...string) {
	t.Helper()
	fw := New(addrs...)
	t.Cleanup(func() { require.NoError(t, fw.Close()) })
	_, err := fw.client() // so that it is none that a rule leaves behind
	require.NoError(t, err)
	require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: unique("warm")}))
	t.Run("plain", func(t *testing.T) {
		require.NoError(t, weavertest.TestSink(t.Context(), sinkCase(fw, func(stream string) weaver.Sink[[]byte] { return fw.Producer(stream) })))
	})
	t.Run("transactional", func(t *testing.T) {
		checkpoints := unique("checkpoints")
		require.NoError(t, weavertest.TestSink(t.Context(), sinkCase(fw, func(stream string) weaver.Sink[[]byte] {
			s := fw.Transactional(stream)
			s.Checkpoints = checkpoints
			return s
		})))
	})
}

func TestSinksOnFake(t *testing.T) {
	t.Parallel()
	testSinks(t, fake(t).ListenAddrs()...)
}

func TestSinksOnKafka(t *testing.T) {
	t.Parallel()
	testSinks(t, broker(t))
}
