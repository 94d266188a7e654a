package franz

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

func groupOffsets(t *testing.T, fw *Framework, group string) map[string]int64 {
	t.Helper()
	cl, err := fw.client()
	require.NoError(t, err)
	all, err := kadm.NewClient(cl).FetchOffsets(t.Context(), group)
	require.NoError(t, err)
	out := map[string]int64{}
	all.Each(func(o kadm.OffsetResponse) { out[partition{o.Topic, o.Partition}.id()] = o.At })
	return out
}

// begin opens a session and waits for n splits.
func begin(t *testing.T, c *Consumer, n int) (weaver.Splits, map[string]weaver.Split) {
	t.Helper()
	s, err := quick(c).Splits(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	splits := map[string]weaver.Split{}
	for len(splits) < n {
		change, err := s.Next(t.Context())
		require.NoError(t, err)
		for _, sp := range change.Add {
			splits[sp.ID] = sp
		}
	}
	return s, splits
}

func openReader(t *testing.T, c *Consumer, sp weaver.Split, at weaver.Position) weaver.Reader[[]byte] {
	t.Helper()
	r, err := c.OpenReader(t.Context(), weaver.Lane{Split: sp, Position: at, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// rest reads what is there now.
func rest(t *testing.T, r weaver.Reader[[]byte]) ([]weaver.Record[[]byte], weaver.Position) {
	t.Helper()
	require.NoError(t, r.(weaver.Finisher).Finish(t.Context()))
	var out []weaver.Record[[]byte]
	for {
		b := weaver.NewBatch[[]byte](2, 0)
		p, err := r.Read(t.Context(), b)
		out = append(out, b.Records...)
		if err != nil {
			require.Equal(t, io.EOF, err)
			return out, append(weaver.Position(nil), p...)
		}
	}
}

func TestStart(t *testing.T) {
	t.Parallel()
	for name, addr := range brokers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fw := open(t, addr(t))
			topic := stream(t, fw, 1)
			b := batch("old", "new")
			b.Records[0].Time = time.Now().Add(-2 * time.Hour)
			write(t, fw.Produce(topic), b)
			for start, want := range map[Start][]string{Earliest: {"old", "new"}, Latest: nil, AtTime: {"new"}} {
				for _, group := range []string{"", unique("group")} {
					c := fw.Consumer(topic, group)
					c.Start = start
					if start == AtTime {
						c.StartAt = time.Now().Add(-time.Hour)
					}
					_, splits := begin(t, c, 1)
					got, _ := rest(t, openReader(t, c, splits[topic+"/0"], nil))
					require.Equal(t, want, values(got), "start %d of group %q", start, group)
				}
			}
			c := fw.Consumer(topic, unique("group"))
			c.Start = NoStart
			_, splits := begin(t, c, 1)
			_, err := c.OpenReader(t.Context(), weaver.Lane{Split: splits[topic+"/0"]})
			require.ErrorContains(t, err, "NoStart")
			require.Equal(t, retry.ClassFatal, retry.ClassOf(err))

			group := unique("group") // Latest is when the group began, not when it is opened again
			c = fw.Consumer(topic, group)
			c.Start = Latest
			s, _ := begin(t, c, 1)
			require.Equal(t, map[string]int64{topic + "/0": 2}, groupOffsets(t, fw, group))
			require.NoError(t, s.Close())
			write(t, fw.Produce(topic), batch("between"))
			_, splits = begin(t, c, 1)
			got, _ := rest(t, openReader(t, c, splits[topic+"/0"], nil))
			require.Equal(t, []string{"between"}, values(got))
		})
	}
}

func TestOutOfRange(t *testing.T) {
	t.Parallel()
	for name, addr := range brokers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fw := open(t, addr(t))
			topic := stream(t, fw, 1)
			write(t, fw.Produce(topic), batch("a", "b", "c", "d", "e"))
			cl, err := fw.client()
			require.NoError(t, err)
			_, err = kadm.NewClient(cl).DeleteRecords(t.Context(), kadm.Offsets{topic: {0: {Topic: topic, At: 3}}})
			require.NoError(t, err)
			early, late := make(weaver.Position, positionBytes), make(weaver.Position, positionBytes)
			place{1, -1}.encode(early)
			place{99, -1}.encode(late)
			for policy, want := range map[OutOfRange]string{ToEarliest: "d,e", ToLatest: ""} {
				for _, at := range []weaver.Position{early, late} {
					c := fw.Consumer(topic, "")
					c.OutOfRange = policy
					_, splits := begin(t, c, 1)
					var log strings.Builder
					r, err := c.OpenReader(t.Context(), weaver.Lane{Split: splits[topic+"/0"], Position: at, Log: slog.New(slog.NewTextHandler(&log, nil))})
					require.NoError(t, err)
					got, _ := rest(t, r)
					require.NoError(t, r.Close())
					require.Equal(t, want, strings.Join(values(got), ","))
					require.Contains(t, log.String(), "out of range")
					if policy == ToEarliest && at[8] == 1 {
						require.Contains(t, log.String(), "skipped=2")
					}
				}
			}
			c := fw.Consumer(topic, "")
			_, splits := begin(t, c, 1)
			for _, at := range []weaver.Position{early, late} {
				r := openReader(t, c, splits[topic+"/0"], at)
				_, err := r.Read(t.Context(), weaver.NewBatch[[]byte](0, 0))
				require.ErrorContains(t, err, "kept from 3 to 5")
				require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
				require.NoError(t, r.Close())
			}
		})
	}
}

func TestNewTopicsAndPartitions(t *testing.T) {
	t.Parallel()
	for name, addr := range brokers(t) {
		for _, group := range []string{"", "group"} {
			t.Run(fmt.Sprintf("%s, group %q", name, group), func(t *testing.T) {
				t.Parallel()
				fw := open(t, addr(t))
				prefix := unique("pattern")
				require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: prefix + ".a", Partitions: 1}))
				require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: "not." + prefix + ".a", Partitions: 1}))
				if group != "" {
					group = unique(group)
				}
				c := quick(fw.Consumer("", group))
				c.Pattern = regexp.MustCompile(prefix + `\..`)
				c.Refresh = 100 * time.Millisecond
				c.Start = Latest
				s, splits := begin(t, c, 1)
				require.Contains(t, splits, prefix+".a/0")
				require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: prefix + ".b", Partitions: 1}))
				write(t, fw.Produce(prefix+".b"), batch("before it was found"))
				cl, err := fw.client()
				require.NoError(t, err)
				_, err = kadm.NewClient(cl).CreatePartitions(t.Context(), 1, prefix+".a")
				require.NoError(t, err)
				for len(splits) < 3 {
					change, err := s.Next(t.Context())
					require.NoError(t, err)
					require.Empty(t, change.Revoke)
					for _, sp := range change.Add {
						splits[sp.ID] = sp
					}
				}
				require.Contains(t, splits, prefix+".a/1")
				got, _ := rest(t, openReader(t, c, splits[prefix+".b/0"], nil))
				require.Equal(t, []string{"before it was found"}, values(got), "Latest is when the session began")
			})
		}
	}
}

// TestTransactionsOfOthers reads a log with aborted transactions, open ones, and markers.
func TestTransactionsOfOthers(t *testing.T) {
	t.Parallel()
	for name, addr := range brokers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fw := open(t, addr(t))
			topic := stream(t, fw, 1)
			sink := fw.Transactional(topic)
			sink.Checkpoints = unique("checkpoints")
			begin1 := func(split string) weaver.Writer[[]byte] {
				w, err := sink.OpenWriter(t.Context(), weaver.Lane{Pipeline: "p", Split: weaver.Split{ID: split}})
				require.NoError(t, err)
				t.Cleanup(func() { _ = w.Close() })
				_, err = w.(weaver.Checkpointer).Restore(t.Context())
				require.NoError(t, err)
				return w
			}
			w := begin1("a")
			for i := range 3 {
				require.NoError(t, w.Write(t.Context(), batch(fmt.Sprint("committed ", i))))
				require.NoError(t, w.(weaver.Checkpointer).Commit(t.Context(), nil))
			}
			require.NoError(t, w.Write(t.Context(), batch("aborted")))
			require.NoError(t, w.(*txWriter).cl.Flush(t.Context()))
			require.NoError(t, w.Close())
			w = begin1("a")
			require.NoError(t, w.Write(t.Context(), batch("committed 3")))
			require.NoError(t, w.(weaver.Checkpointer).Commit(t.Context(), nil))
			cl, err := fw.client()
			require.NoError(t, err)
			settled(t.Context(), cl, partition{topic, 0})

			c := fw.Consumer(topic, "")
			_, splits := begin(t, c, 1)
			r := openReader(t, c, splits[topic+"/0"], nil)
			got, p := rest(t, r)
			require.Equal(t, []string{"committed 0", "committed 1", "committed 2", "committed 3"}, values(got))
			require.Equal(t, int64(0), r.(weaver.LagReporter).Lag().Records, "markers behind the last record don't count")
			at, err := decodePosition(p)
			require.NoError(t, err)
			require.Equal(t, int64(10), at.offset)
			require.NoError(t, r.Close())

			dirty := fw.Consumer(topic, "")
			dirty.ReadUncommitted = true
			_, splits = begin(t, dirty, 1)
			got, _ = rest(t, openReader(t, dirty, splits[topic+"/0"], nil))
			require.Len(t, got, 5)
		})
	}
}

// TestSlowLane reads one partition while nobody reads the other, which holds a hundred times what may be queued.
func TestSlowLane(t *testing.T) {
	t.Parallel()
	for name, addr := range brokers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fw := open(t, addr(t))
			topics := []string{stream(t, fw, 1), stream(t, fw, 1)}
			for _, topic := range topics {
				b := weaver.NewBatch[[]byte](0, 0)
				for range 3000 {
					b.Add().Value = make([]byte, 1000)
				}
				write(t, fw.Produce(topic), b)
			}
			c := fw.Consumer("", "")
			c.Topics = topics
			c.MaxBytes, c.MaxQueued = 1<<10, 64<<10
			s, splits := begin(t, c, 2)
			stuck := openReader(t, c, splits[topics[0]+"/0"], nil)
			got, _ := rest(t, openReader(t, c, splits[topics[1]+"/0"], nil))
			require.Len(t, got, 3000)
			f := s.(*session).fetch
			f.mu.Lock()
			queued := stuck.(*reader).l.queued
			f.mu.Unlock()
			require.Positive(t, queued)
			require.Less(t, queued, 1200<<10, "the quota, and one batch")
			got, _ = rest(t, stuck)
			require.Len(t, got, 3000)
		})
	}
}

func TestReadWaitsForCtx(t *testing.T) {
	t.Parallel()
	fw := open(t, fake(t).ListenAddrs()[0])
	topic := stream(t, fw, 1)
	c := fw.Consumer(topic, "")
	_, splits := begin(t, c, 1)
	r := openReader(t, c, splits[topic+"/0"], nil)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err := r.Read(ctx, weaver.NewBatch[[]byte](0, 0))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = c.OpenReader(t.Context(), weaver.Lane{Split: weaver.Split{ID: topic + "/0"}})
	require.ErrorContains(t, err, "session of Splits")
}
