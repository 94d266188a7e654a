package kafka

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol/deletetopics"
	"github.com/stretchr/testify/require"

	kafkago "github.com/segmentio/kafka-go"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// brisk makes a consumer notice things soon.
func brisk(c *Consumer) *Consumer {
	c.SessionTimeout, c.HeartbeatInterval, c.MaxWait, c.Refresh = 3*time.Second, 200*time.Millisecond, 50*time.Millisecond, 200*time.Millisecond
	return c
}

// numbers are n values, from 0, or further.
func numbers(from, n int) []weaver.Record[[]byte] {
	out := make([]weaver.Record[[]byte], n)
	for i := range out {
		out[i].Value = []byte(strconv.Itoa(from + i))
		out[i].Key = out[i].Value
	}
	return out
}

// TestSlowSinkDuringARebalance has a sink that is much slower than the session: the partition moves in time, and
// nothing is lost.
func TestSlowSinkDuringARebalance(t *testing.T) {
	t.Parallel()
	fw := connect(t, broker(t))
	in, group := newTopic(t, fw, 2), unique(t)
	put(t, fw, in, numbers(0, 40)...)
	var first, second collected
	slow := weaver.SinkFunc[[]byte](func(ctx context.Context, b *weaver.Batch[[]byte]) error {
		if err := retry.Sleep(ctx, 4*time.Second); err != nil {
			return err
		}
		w, err := first.sink().OpenWriter(ctx, weaver.Lane{})
		if err != nil {
			return err
		}
		return w.Write(ctx, b)
	})
	member := func(sink weaver.Sink[[]byte]) *weaver.Pipeline[[]byte, []byte] {
		p := weaver.Copy[[]byte](brisk(fw.Consumer(in, group)), sink)
		p.BatchSize = 1
		p.Log = quiet
		return p
	}
	stopFirst := background(t, member(slow).Run)
	time.Sleep(time.Second) // its sink is busy
	begun := time.Now()
	stopSecond := background(t, member(second.sink()).Run)
	eventually(t, "the other member gets a partition", func() bool { return second.len() > 0 })
	require.Less(t, time.Since(begun), 30*time.Second)
	require.NoError(t, stopFirst())
	eventually(t, "all is written", func() bool {
		seen := make(map[string]bool)
		for _, v := range append(first.values(), second.values()...) {
			seen[v] = true
		}
		return len(seen) == 40
	})
	require.NoError(t, stopSecond())
}

// TestLateAckIsDropped acknowledges a partition that has another owner.
func TestLateAckIsDropped(t *testing.T) {
	t.Parallel()
	fw := connect(t, broker(t))
	in, group := newTopic(t, fw, 1), unique(t)
	put(t, fw, in, numbers(0, 10)...)
	ctx := t.Context()

	old := brisk(fw.Consumer(in, group))
	oldSession, err := old.Splits(ctx)
	require.NoError(t, err)
	c, err := oldSession.Next(ctx)
	require.NoError(t, err)
	require.Len(t, c.Add, 1)
	r, err := old.OpenReader(ctx, weaver.Lane{Split: c.Add[0], Log: quiet})
	require.NoError(t, err)
	b := weaver.NewBatch[[]byte](3, 0)
	p3, err := r.Read(ctx, b)
	require.NoError(t, err)
	p3 = append(weaver.Position{}, p3...)
	acker, _ := weaver.As[weaver.Acker](r)
	require.NoError(t, acker.Ack(ctx, p3))
	b.Reset()
	p6, err := r.Read(ctx, b)
	require.NoError(t, err)
	p6 = append(weaver.Position{}, p6...)

	// Another one joins; the first doesn't give its split up in time.
	next := brisk(fw.Consumer(in, group))
	nextSession, err := next.Splits(ctx)
	require.NoError(t, err)
	type told struct {
		change weaver.Change
		err    error
	}
	joined := make(chan told, 1)
	go func() {
		c, err := nextSession.Next(ctx)
		joined <- told{c, err}
	}()
	c, err = oldSession.Next(ctx)
	require.NoError(t, err)
	require.Len(t, c.Revoke, 1)
	require.Less(t, time.Until(c.By), old.SessionTimeout)
	require.Positive(t, time.Until(c.By))
	b.Reset()
	_, err = r.Read(ctx, b)
	require.NoError(t, err, "until then it may be read")
	b.Reset()
	time.Sleep(time.Until(c.By) + 200*time.Millisecond)
	require.NoError(t, acker.Ack(ctx, p6), "too late: dropped")
	_, err = r.Read(ctx, b)
	require.ErrorContains(t, err, "may belong to another member")
	require.Equal(t, retry.ClassUnmarked, retry.ClassOf(err))
	require.NoError(t, r.Close())
	require.NoError(t, oldSession.Close())

	got := <-joined
	require.NoError(t, got.err)
	for len(got.change.Add) == 0 {
		got.change, err = nextSession.Next(ctx)
		require.NoError(t, err)
	}
	r, err = next.OpenReader(ctx, weaver.Lane{Split: got.change.Add[0], Log: quiet})
	require.NoError(t, err)
	b.Reset()
	_, err = r.Read(ctx, b)
	require.NoError(t, err)
	require.Equal(t, int64(3), b.Records[0].Seq, "behind what was acknowledged in time")
	require.NoError(t, r.Close())
	require.NoError(t, nextSession.Close())
}

// TestLatestIsAppliedOnce starts at the end, and again after a crash before anything was acknowledged: what came
// meanwhile is read.
func TestLatestIsAppliedOnce(t *testing.T) {
	t.Parallel()
	fw := connect(t, broker(t))
	in, group := newTopic(t, fw, 1), unique(t)
	put(t, fw, in, numbers(0, 5)...)
	open := func() (weaver.Reader[[]byte], weaver.Splits) {
		c := brisk(fw.Consumer(in, group))
		c.Start = Latest
		s, err := c.Splits(t.Context())
		require.NoError(t, err)
		change, err := s.Next(t.Context())
		require.NoError(t, err)
		r, err := c.OpenReader(t.Context(), weaver.Lane{Split: change.Add[0], Log: quiet})
		require.NoError(t, err)
		return r, s
	}
	r, s := open()
	require.NoError(t, r.Close())
	require.NoError(t, s.Close())
	put(t, fw, in, numbers(5, 5)...)
	r, s = open()
	b := weaver.NewBatch[[]byte](0, 0)
	_, err := r.Read(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, "5", string(b.Records[0].Value))
	require.NoError(t, r.Close())
	require.NoError(t, s.Close())
}

func TestStart(t *testing.T) {
	t.Parallel()
	fw := connect(t, broker(t))
	in := newTopic(t, fw, 1)
	base := time.UnixMilli(1_700_000_000_000)
	recs := numbers(0, 10)
	for i := range recs {
		recs[i].Time = base.Add(time.Duration(i) * time.Second)
	}
	put(t, fw, in, recs...)
	for _, group := range []string{"", "g"} {
		if group != "" {
			group = unique(t)
		}
		read := func(start Start, at time.Time) []string {
			c := brisk(fw.Consumer(in, group))
			if group != "" {
				c.group += fmt.Sprint(start, at.Unix())
			}
			c.Start, c.StartAt = start, at
			var all collected
			require.NoError(t, runToEnd(t.Context(), weaver.Copy[[]byte](c, all.sink())))
			return all.values()
		}
		require.Len(t, read(Earliest, time.Time{}), 10)
		require.Empty(t, read(Latest, time.Time{}))
		require.Equal(t, []string{"8", "9"}, read(AtTime, base.Add(7500*time.Millisecond)))
		require.Empty(t, read(AtTime, base.Add(time.Hour)), "nothing from then on")
	}
	c := brisk(fw.Consumer(in, unique(t)))
	c.Start = NoStart
	err := runToEnd(t.Context(), weaver.Copy[[]byte](c, new(collected).sink()))
	require.ErrorContains(t, err, "no committed offset for partition 0")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
}

func TestOutOfRange(t *testing.T) {
	t.Parallel()
	fw := connect(t, broker(t))
	in := newTopic(t, fw, 1)
	put(t, fw, in, numbers(0, 10)...)
	trim(t, fw, in, 6)
	for _, tt := range []struct {
		policy OutOfRange
		from   int64
		want   []string
		err    string
	}{
		{Fail, 3, nil, "it has the offsets 6 to 9"},
		{Fail, 11, nil, "set Consumer.OutOfRange"},
		{ToEarliest, 3, []string{"6", "7", "8", "9"}, ""},
		{ToEarliest, 11, []string{"6", "7", "8", "9"}, ""},
		{ToLatest, 3, nil, ""},
	} {
		c := brisk(fw.Consumer(in, ""))
		c.OutOfRange = tt.policy
		r, err := c.OpenReader(t.Context(), weaver.Lane{Split: weaver.Split{ID: in + "/0"}, Position: encodePosition(nil, tt.from, -1), Log: quiet})
		require.NoError(t, err)
		f, _ := weaver.As[weaver.Finisher](r)
		require.NoError(t, f.Finish(t.Context()))
		b := weaver.NewBatch[[]byte](0, 0)
		var p weaver.Position
		for err == nil {
			p, err = r.Read(t.Context(), b)
		}
		if tt.err != "" {
			require.ErrorContains(t, err, tt.err)
			require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
			require.NoError(t, r.Close())
			continue
		}
		var got []string
		for i := range b.Records {
			got = append(got, string(b.Records[i].Value))
		}
		require.Equal(t, tt.want, got)
		offset, _, err := decodePosition(p)
		require.NoError(t, err)
		require.Equal(t, int64(10), offset)
		require.NoError(t, r.Close())
	}
}

// trim deletes the records before an offset.
func trim(t testing.TB, fw *Framework, topic string, before int64) {
	t.Helper()
	c, err := fw.dialLeader(t.Context(), topic, 0)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.close()) }()
	deleteRecords(t, c, topic, before)
}

// TestTopicsThatAppear are taken up while the pipeline runs: new partitions, and new topics that match the pattern.
func TestTopicsThatAppear(t *testing.T) {
	t.Parallel()
	for _, group := range []string{"", "with a group"} {
		t.Run(group, func(t *testing.T) {
			t.Parallel()
			fw := connect(t, broker(t))
			prefix := unique(t)
			if group != "" {
				group = prefix
			}
			first := prefix + "-1"
			require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: first, Partitions: 1}))
			put(t, fw, first, numbers(0, 10)...)
			c := brisk(fw.Consumer("", group))
			c.Pattern = regexp.MustCompile(regexp.QuoteMeta(prefix) + "-[0-9]+")
			var all collected
			p := weaver.Copy[[]byte](c, all.sink())
			p.Log = quiet
			stop := background(t, p.Run)
			eventually(t, "the first topic", func() bool { return all.len() == 10 })
			require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: prefix + "-2", Partitions: 3}))
			require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: prefix + "-other", Partitions: 1}))
			put(t, fw, prefix+"-other", numbers(1000, 10)...)
			put(t, fw, prefix+"-2", numbers(10, 20)...)
			eventually(t, "the second topic", func() bool { return all.len() >= 30 })
			addPartitions(t, fw, first, 4)
			put(t, fw, first, numbers(30, 40)...)
			eventually(t, "the new partitions", func() bool { return all.len() >= 70 })
			require.NoError(t, stop())
			seen := make(map[string]int)
			for _, v := range all.values() {
				seen[v]++
			}
			require.Len(t, seen, 70)
			for v, n := range seen {
				require.Equal(t, 1, n, v)
			}
		})
	}
}

func TestSeveralTopics(t *testing.T) {
	t.Parallel()
	fw := connect(t, broker(t))
	a, b := newTopic(t, fw, 2), newTopic(t, fw, 3)
	put(t, fw, a, numbers(0, 20)...)
	put(t, fw, b, numbers(20, 30)...)
	c := brisk(fw.Consumer(a, unique(t)))
	c.Topics = append(c.Topics, b)
	require.Len(t, readAll(t, c), 50)
}

// TestTopicIsDeleted stops a pipeline, with an error that says so.
func TestTopicIsDeleted(t *testing.T) {
	t.Parallel()
	for _, group := range []string{"", "with a group"} {
		t.Run(group, func(t *testing.T) {
			t.Parallel()
			fw := connect(t, broker(t))
			in := newTopic(t, fw, 2)
			if group != "" {
				group = unique(t)
			}
			put(t, fw, in, numbers(0, 10)...)
			var all collected
			p := weaver.Copy[[]byte](brisk(fw.Consumer(in, group)), all.sink())
			p.Log = quiet
			done := make(chan error, 1)
			go func() { done <- p.Run(context.WithoutCancel(t.Context())) }()
			eventually(t, "all is read", func() bool { return all.len() == 10 })
			conn, err := fw.dialController(t.Context())
			require.NoError(t, err)
			_, err = conn.roundTrip(t.Context(), &deletetopics.Request{TopicNames: []string{in}, TimeoutMs: 10_000}, 0)
			require.NoError(t, err)
			require.NoError(t, conn.close())
			select {
			case err = <-done:
			case <-time.After(time.Minute):
				t.Fatal("the pipeline goes on")
			}
			require.ErrorContains(t, err, in)
			require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
			require.True(t, isCode(err, kafkago.UnknownTopicOrPartition), "%v", err)
		})
	}
}

// TestManyAcksGoTogether counts the requests that commits of many partitions take.
func TestManyAcksGoTogether(t *testing.T) {
	t.Parallel()
	fw := connect(t, broker(t))
	const partitions = 50
	in, group := newTopic(t, fw, partitions), unique(t)
	put(t, fw, in, numbers(0, 1000)...)
	var all collected
	p := weaver.Copy[[]byte](brisk(fw.Consumer(in, group)), all.sink())
	require.NoError(t, runToEnd(t.Context(), p))
	require.Equal(t, 1000, all.len())
	again := readAll(t, brisk(fw.Consumer(in, group)))
	require.Empty(t, again, "all is committed")
}

// TestLagIsTold through Pipeline.Stats.
func TestLagIsTold(t *testing.T) {
	t.Parallel()
	fw := connect(t, broker(t))
	in := newTopic(t, fw, 1)
	put(t, fw, in, numbers(0, 100)...)
	r, err := fw.Consumer(in, "").OpenReader(t.Context(), weaver.Lane{Split: weaver.Split{ID: in + "/0"}, Log: quiet})
	require.NoError(t, err)
	lag, _ := weaver.As[weaver.LagReporter](r)
	require.Equal(t, weaver.UnknownLag, lag.Lag())
	b := weaver.NewBatch[[]byte](30, 0)
	_, err = r.Read(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, int64(70), lag.Lag().Records)
	require.NoError(t, r.Close())
}

// TestReadCanGoOnAfterItsCtx has ended.
func TestReadCanGoOnAfterItsCtx(t *testing.T) {
	t.Parallel()
	fw := connect(t, broker(t))
	in := newTopic(t, fw, 1)
	c := fw.Consumer(in, "")
	c.MaxWait = time.Hour / 2
	r, err := c.OpenReader(t.Context(), weaver.Lane{Split: weaver.Split{ID: in + "/0"}, Log: quiet})
	require.NoError(t, err)
	b := weaver.NewBatch[[]byte](0, 0)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		begun := time.Now()
		_, err = r.Read(ctx, b)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Less(t, time.Since(begun), 5*time.Second)
		cancel()
	}
	put(t, fw, in, numbers(0, 3)...)
	_, err = r.Read(t.Context(), b)
	require.NoError(t, err)
	require.Len(t, b.Records, 3)
	require.NoError(t, r.Close())
}

// TestBadFields are named.
func TestBadFields(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Consumer){
		"Topics":            func(c *Consumer) { c.Topics = nil },
		"Start":             func(c *Consumer) { c.Start = 9 },
		"StartAt":           func(c *Consumer) { c.Start = AtTime },
		"OutOfRange":        func(c *Consumer) { c.OutOfRange = 9 },
		"MaxBytes":          func(c *Consumer) { c.MaxBytes = -1 },
		"MaxBatchBytes":     func(c *Consumer) { c.MaxBatchBytes = -1 },
		"MaxWait":           func(c *Consumer) { c.MaxWait = -1 },
		"SessionTimeout":    func(c *Consumer) { c.SessionTimeout = -1 },
		"HeartbeatInterval": func(c *Consumer) { c.HeartbeatInterval = time.Minute },
		"Refresh":           func(c *Consumer) { c.Refresh = -1 },
		"RebalanceTimeout":  func(c *Consumer) { c.RebalanceTimeout = -1 },
		"host:port":         func(c *Consumer) { c.fw = New("nowhere") },
		"no broker":         func(c *Consumer) { c.fw = New() },
		"DialTimeout":       func(c *Consumer) { c.fw = New("a:1"); c.fw.DialTimeout = -1 },
		"RequestTimeout":    func(c *Consumer) { c.fw = New("a:1"); c.fw.RequestTimeout = -1 },
	} {
		c := New("127.0.0.1:1").Consumer("t", "g")
		change(c)
		_, err := c.Splits(t.Context())
		require.ErrorContains(t, err, want)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err), want)
		_, err = c.OpenReader(t.Context(), weaver.Lane{Split: weaver.Split{ID: "t/0"}, Log: quiet})
		require.ErrorContains(t, err, want)
	}
	for want, change := range map[string]func(*Producer){
		"no topic":      func(p *Producer) { p.topic = "" },
		"Compression":   func(p *Producer) { p.Compression = 9 },
		"MaxBatchBytes": func(p *Producer) { p.MaxBatchBytes = -1 },
	} {
		p := New("127.0.0.1:1").Producer("t")
		change(p)
		_, err := p.OpenWriter(t.Context(), weaver.Lane{Log: quiet})
		require.ErrorContains(t, err, want)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err), want)
	}
}
