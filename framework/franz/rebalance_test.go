package franz

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// collector counts what members write.
type collector struct {
	mu    sync.Mutex
	count map[string]int
	by    map[string]int // members
}

func (c *collector) sink(member string, pause time.Duration) weaver.Sink[[]byte] {
	return weaver.SinkFunc[[]byte](func(ctx context.Context, b *weaver.Batch[[]byte]) error {
		if err := retry.Sleep(ctx, pause); err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for i := range b.Records {
			c.count[string(b.Records[i].Value)]++
			c.by[member]++
		}
		return nil
	})
}

func (c *collector) distinct() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.count)
}

func (c *collector) most() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	most := 0
	for _, n := range c.count {
		most = max(most, n)
	}
	return most
}

// TestRebalance has three members come and go while records flow: none is lost, and as partitions are drained before they
// move, none comes twice.
func TestRebalance(t *testing.T) {
	t.Parallel()
	for name, addr := range brokers(t) {
		for _, mode := range []string{"cooperative", "next generation", "static"} {
			t.Run(name+", "+mode, func(t *testing.T) {
				t.Parallel()
				const n = 6000
				fw := open(t, addr(t))
				topic := stream(t, fw, 6)
				group := unique("group")
				all := &collector{count: map[string]int{}, by: map[string]int{}}
				member := func(id int) (stop func()) {
					c := quick(fw.Consumer(topic, group))
					c.NextGen = mode == "next generation"
					if mode == "static" {
						c.InstanceID = strconv.Itoa(id)
						c.SessionTimeout = 2 * time.Second
					}
					p := weaver.Copy(weaver.Source[[]byte](c), all.sink(strconv.Itoa(id), time.Millisecond))
					p.BatchSize = 16
					p.CheckpointInterval = 20 * time.Millisecond
					p.Log = slog.New(slog.DiscardHandler)
					ctx, cancel := context.WithCancel(t.Context())
					done := make(chan error, 1)
					go func() { done <- p.Run(ctx) }()
					return func() {
						cancel()
						require.NoError(t, <-done)
					}
				}
				produced := make(chan error, 1)
				go func() {
					w, err := fw.Produce(topic).OpenWriter(t.Context(), weaver.Lane{})
					if err != nil {
						produced <- err
						return
					}
					defer w.Close()
					for i := 0; i < n && err == nil; {
						b := weaver.NewBatch[[]byte](0, 0)
						for range 20 {
							x := b.Add()
							x.Key, x.Value = []byte(strconv.Itoa(i%50)), []byte(strconv.Itoa(i))
							i++
						}
						err = w.Write(t.Context(), b)
						time.Sleep(5 * time.Millisecond)
					}
					produced <- err
				}()
				at := func(share float64) {
					require.Eventually(t, func() bool { return all.distinct() >= int(share*n) }, time.Minute, 5*time.Millisecond)
				}
				stop1 := member(1)
				at(0.1)
				stop2 := member(2)
				at(0.3)
				stop3 := member(3)
				at(0.5)
				stop1()
				at(0.7)
				stop1 = member(1)
				at(0.8)
				stop2()
				require.NoError(t, <-produced)
				at(1)
				stop1()
				stop3()
				require.Equal(t, n, all.distinct())
				require.Equal(t, 1, all.most(), "what a member gives up is drained and committed before another one has it")
				require.NotZero(t, all.by["1"])
				if mode != "next generation" { // a broker hears of it with the next heartbeat alone, which it wants every 5 s
					require.NotZero(t, all.by["2"])
					require.NotZero(t, all.by["3"])
				}
			})
		}
	}
}

// TestFinalAndTaken takes a partition from a member that was told that its set is final.
func TestFinalAndTaken(t *testing.T) {
	t.Parallel()
	fw := open(t, fake(t).ListenAddrs()[0])
	topic := stream(t, fw, 2)
	group := unique("group")
	c := quick(fw.Consumer(topic, group))
	s, err := c.Splits(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	change, err := s.Next(t.Context())
	require.NoError(t, err)
	require.Len(t, change.Add, 2)
	var readers []weaver.Reader[[]byte]
	for _, sp := range change.Add {
		r, err := c.OpenReader(t.Context(), weaver.Lane{Split: sp})
		require.NoError(t, err)
		t.Cleanup(func() { _ = r.Close() })
		readers = append(readers, r)
	}
	require.NoError(t, s.(weaver.Finisher).Finish(t.Context()))
	_, err = s.Next(t.Context())
	require.Equal(t, io.EOF, err)

	other, err := c.Splits(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.Close() })
	errs := make(chan error, 2)
	for _, r := range readers {
		go func() {
			_, err := r.Read(t.Context(), weaver.NewBatch[[]byte](0, 0))
			errs <- err
		}()
	}
	err = <-errs
	require.ErrorContains(t, err, "told that its set of partitions is final")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	require.NoError(t, fw.Close())
	<-errs
}

// TestLateAck drops what is acknowledged for a partition that has moved.
func TestLateAck(t *testing.T) {
	t.Parallel()
	fw := open(t, fake(t).ListenAddrs()[0])
	topic := stream(t, fw, 1)
	group := unique("group")
	write(t, fw.Produce(topic), batch("a", "b", "c"))
	c := quick(fw.Consumer(topic, group))
	s, err := c.Splits(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	change, err := s.Next(t.Context())
	require.NoError(t, err)
	r, err := c.OpenReader(t.Context(), weaver.Lane{Split: change.Add[0]})
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	p, err := r.Read(t.Context(), weaver.NewBatch[[]byte](0, 0))
	require.NoError(t, err)

	a := change.Add[0].Handle.(*assignment)
	lost := make(chan struct{})
	go func() { // as the client's callback
		s.(*session).onLost(t.Context(), nil, map[string][]int32{topic: {0}})
		close(lost)
	}()
	change, err = s.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{topic + "/0"}, change.Revoke)
	require.False(t, change.By.IsZero())
	require.False(t, change.By.After(time.Now()))
	require.NoError(t, r.(weaver.Acker).Ack(t.Context(), p), "late, and no error")
	require.True(t, a.ended.Load())
	_, err = r.Read(t.Context(), weaver.NewBatch[[]byte](0, 0))
	require.ErrorContains(t, err, "belongs to another member")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Next(ctx) // carried out
	require.ErrorIs(t, err, context.Canceled)
	<-lost
	_, err = c.OpenReader(t.Context(), weaver.Lane{Split: weaver.Split{ID: topic + "/0", Handle: a}})
	require.ErrorContains(t, err, "belongs to another member")
	require.NotEqual(t, retry.ClassFatal, retry.ClassOf(err))
	require.Equal(t, int64(0), groupOffset(t, fw, group, topic), "where it began")
}

func groupOffset(t *testing.T, fw *Framework, group, topic string) int64 {
	t.Helper()
	all := groupOffsets(t, fw, group)
	o, ok := all[topic+"/0"]
	require.True(t, ok, fmt.Sprint(all))
	return o
}
