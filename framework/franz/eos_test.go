package franz

import (
	"bufio"
	"context"
	"encoding/json"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

// world is what a pipeline that is killed again and again works on.
type world struct {
	Brokers, In, Out, Checkpoints, Group string
}

func (w world) save(t *testing.T, dir string) {
	t.Helper()
	text, err := json.Marshal(w)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "world"), text, 0o600))
}

func loadWorld(dir string) (w world, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "world"))
	if err == nil {
		err = json.Unmarshal(text, &w)
	}
	return w, err
}

func runCrash[In any](fw *Framework, w world, source weaver.Source[In], process weaver.Processor[In, []byte]) error {
	sink := fw.Transactional(w.Out)
	sink.Checkpoints, sink.Interval, sink.CheckpointPartitions = w.Checkpoints, 20*time.Millisecond, 2
	p := weaver.NewPipeline(source, process, weaver.Sink[[]byte](sink))
	p.Name = "crash"
	p.BatchSize = 64
	p.RateLimit.Records = 5_000
	p.Require = weaver.ExactlyOnce
	p.Bounded = true
	return p.Run(context.Background())
}

// TestCrashExactlyOnce kills a pipeline with SIGKILL, and requires that in the end each record is committed once, in the
// order of its key.
func TestCrashExactlyOnce(t *testing.T) {
	t.Parallel()
	for name, life := range map[string]func(fw *Framework, w world, dir string) error{
		"Kafka to Kafka": func(fw *Framework, w world, _ string) error {
			c := quick(fw.Consumer(w.In, w.Group))
			c.InstanceID = "one" // so that its partitions needn't wait for the end of a killed one's session
			return runCrash(fw, w, c, weaver.Pass[[]byte]())
		},
		"file to Kafka": func(fw *Framework, w world, dir string) error {
			// A line that is its own key, so that it is not by chance that order is kept.
			lines := file.Lines(filepath.Join(dir, "in.txt"))
			return runCrash(fw, w, lines, weaver.KeyBy(func(line []byte) string {
				r, err := crash.ParseLine(line)
				if err != nil {
					return ""
				}
				return r.Key
			}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := crash.Child(t, func(_ context.Context, dir string) error {
				w, err := loadWorld(dir)
				if err != nil {
					return err
				}
				fw := New(w.Brokers)
				defer fw.Close()
				return life(fw, w, dir)
			})
			w := world{Brokers: broker(t), In: unique("in"), Out: unique("out"), Checkpoints: unique("checkpoints"), Group: unique("group")}
			w.save(t, child.Dir)
			l := crash.Ledger{Seed: rand.Uint64(), Records: 20_000, Keys: 20}
			kills := 5
			if os.Getenv("WEAVER_PROOF") != "" {
				l.Records, kills = 100_000, 50
			}
			fw := New(w.Brokers)
			t.Cleanup(func() { require.NoError(t, fw.Close()) })
			for _, name := range []string{w.In, w.Out} {
				require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: name, Partitions: 3}))
			}
			writeCrashInput(t, fw, w.In, filepath.Join(child.Dir, "in.txt"), l)
			cl, err := fw.client()
			require.NoError(t, err)
			plan := crash.Plan{
				Kills: kills, Seed: l.Seed, Total: l.Records, Timeout: 10 * time.Minute,
				Progress: func() (int64, error) { // counts the markers of transactions, too
					var n int64
					for i := range 3 {
						end, err := listOffset(t.Context(), cl, 1, partition{w.Out, int32(i)}, listEnd)
						if err != nil {
							return 0, err
						}
						n += end
					}
					return min(n, l.Records-1), nil
				},
			}
			report, err := plan.Run(t.Context(), child)
			t.Logf("%v", report)
			require.NoError(t, err)
			tally, err := l.Check(crash.Rules{Order: crash.PerKey}, l.Verified(crashOutput(t, fw, w.Out)))
			t.Logf("%+v", tally)
			require.NoError(t, err, "seed %d", l.Seed)
		})
	}
}

// writeCrashInput writes a ledger to a topic and to a file of lines.
func writeCrashInput(t *testing.T, fw *Framework, topic, path string, l crash.Ledger) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	lines := bufio.NewWriter(f)
	b := weaver.NewBatch[[]byte](0, 0)
	for r := range l.All() {
		x := b.Add()
		x.Key, x.Value = []byte(r.Key), r.AppendLine(nil)
		_, err := lines.Write(append(r.AppendLine(nil), '\n'))
		require.NoError(t, err)
	}
	require.NoError(t, lines.Flush())
	write(t, fw.Produce(topic), b)
}

// crashOutput yields what is committed.
func crashOutput(t *testing.T, fw *Framework, topic string) iter.Seq2[crash.Record, error] {
	return func(yield func(crash.Record, error) bool) {
		records, err := committed(t.Context(), fw, topic)
		if err != nil {
			yield(crash.Record{}, err)
			return
		}
		for _, r := range records {
			if !yield(crash.ParseLine(r.Value)) {
				return
			}
		}
	}
}

// TestZombie lets a second writer take over a split, and requires that nothing of the first one shows any more.
func TestZombie(t *testing.T) {
	t.Parallel()
	for name, addr := range brokers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fw := open(t, addr(t))
			out := stream(t, fw, 1)
			sink := fw.Transactional(out)
			sink.Checkpoints = unique("checkpoints")
			lane := weaver.Lane{Pipeline: "p", Split: weaver.Split{ID: "s"}}
			begin := func() (weaver.Writer[[]byte], []byte) {
				w, err := sink.OpenWriter(t.Context(), lane)
				require.NoError(t, err)
				t.Cleanup(func() { _ = w.Close() })
				env, err := w.(weaver.Checkpointer).Restore(t.Context())
				require.NoError(t, err)
				return w, env
			}
			old, env := begin()
			require.Nil(t, env)
			require.NoError(t, old.Write(t.Context(), batch("a", "b")))
			require.NoError(t, old.(weaver.Checkpointer).Commit(t.Context(), []byte("two")))
			require.NoError(t, old.Write(t.Context(), batch("zombie", "zombie")))
			time.Sleep(50 * time.Millisecond) // so that the records are there, and not just about to be sent

			later, env := begin()
			require.Equal(t, "two", string(env))
			require.ErrorIs(t, old.(weaver.Checkpointer).Commit(t.Context(), []byte("four")), weaver.ErrFenced)
			require.ErrorIs(t, old.Write(t.Context(), batch("zombie")), weaver.ErrFenced, "it doesn't come back")
			require.NoError(t, later.Write(t.Context(), batch("c")))
			require.NoError(t, later.(weaver.Checkpointer).Commit(t.Context(), []byte("three")))
			got, err := committed(t.Context(), fw, out)
			require.NoError(t, err)
			require.Equal(t, []string{"a", "b", "c"}, values(got))
			_, env = begin()
			require.Equal(t, "three", string(env))
		})
	}
}

// TestRestoreBehindAnOpenTransaction finds a checkpoint that lies behind a transaction of somebody else which is still open:
// who reads no further than the last stable offset would resume at an older one, and write twice.
func TestRestoreBehindAnOpenTransaction(t *testing.T) {
	t.Parallel()
	for name, addr := range brokers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fw := open(t, addr(t))
			sink := fw.Transactional(stream(t, fw, 1))
			sink.Checkpoints, sink.CheckpointPartitions = unique("checkpoints"), 1
			begin := func(split string) (*txWriter, []byte) {
				w, err := sink.OpenWriter(t.Context(), weaver.Lane{Pipeline: "p", Split: weaver.Split{ID: split}})
				require.NoError(t, err)
				t.Cleanup(func() { _ = w.Close() })
				env, err := w.(weaver.Checkpointer).Restore(t.Context())
				require.NoError(t, err)
				return w.(*txWriter), env
			}
			hangs, _ := begin("hangs")
			require.NoError(t, hangs.begin())
			p := hangs.parcels.envelope(&hangs.checkpoint, hangs.limit, []byte("never"))
			hangs.cl.Produce(t.Context(), &p.records[0], p.done)
			require.NoError(t, hangs.cl.Flush(t.Context()))

			last := ""
			for i := range 700 { // more than one look backwards takes
				w, env := begin("mine")
				require.Equal(t, last, string(env))
				last = strconv.Itoa(i)
				n := 1
				if i == 3 {
					n = 300
				}
				for range n {
					require.NoError(t, w.Commit(t.Context(), []byte(last)))
				}
				require.NoError(t, w.Close())
				if i == 5 {
					break
				}
			}
			other, _ := begin("other")
			for range 400 {
				require.NoError(t, other.Commit(t.Context(), []byte("of another")))
			}
			_, env := begin("mine")
			require.Equal(t, last, string(env))
			_, env = begin("new")
			require.Nil(t, env)
		})
	}
}

// TestEnvelopeOfManyRecords keeps a state that is larger than a record can be, also where a look backwards begins in the middle.
func TestEnvelopeOfManyRecords(t *testing.T) {
	t.Parallel()
	fw := open(t, fake(t).ListenAddrs()[0])
	sink := fw.Transactional(stream(t, fw, 1))
	sink.MaxBatchBytes = 2 << 10 // pieces of 1 KiB: more than the first look takes
	for _, size := range []int{0, 1, 900, 700 << 10, 5} {
		w, err := sink.OpenWriter(t.Context(), weaver.Lane{Pipeline: "p"})
		require.NoError(t, err)
		_, err = w.(weaver.Checkpointer).Restore(t.Context())
		require.NoError(t, err)
		want := make([]byte, size)
		for i := range want {
			want[i] = byte(rand.Uint32())
		}
		require.NoError(t, w.(weaver.Checkpointer).Commit(t.Context(), want))
		require.NoError(t, w.Close())
		w, err = sink.OpenWriter(t.Context(), weaver.Lane{Pipeline: "p"})
		require.NoError(t, err)
		got, err := w.(weaver.Checkpointer).Restore(t.Context())
		require.NoError(t, err)
		require.NotNil(t, got)
		require.Equal(t, want, got)
		require.NoError(t, w.Close())
	}
}
