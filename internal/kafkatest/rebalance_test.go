package kafkatest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/franz"
	"github.com/bohica-labs/dataweaver/framework/kafka"
	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

// member is what each process of a group runs.
type member struct {
	name string
	// open returns the framework, the source and the sink.
	open  func(addr, in, out, group string) (weaver.Framework, weaver.Source[[]byte], weaver.Sink[[]byte])
	rules crash.Rules
}

var members = []member{
	{
		name: "kafka",
		open: func(addr, in, out, group string) (weaver.Framework, weaver.Source[[]byte], weaver.Sink[[]byte]) {
			fw := kafka.New(addr)
			c := fw.Consumer(in, group)
			c.SessionTimeout, c.HeartbeatInterval, c.MaxWait = 2*time.Second, 200*time.Millisecond, 100*time.Millisecond
			return fw, c, fw.Produce(out)
		},
		rules: crash.Rules{Order: crash.PerKey, Repeats: true},
	},
	{
		name: "franz",
		open: func(addr, in, out, group string) (weaver.Framework, weaver.Source[[]byte], weaver.Sink[[]byte]) {
			fw := franz.New(addr)
			return fw, franzConsumer(fw, in, group), fw.Produce(out)
		},
		rules: crash.Rules{Order: crash.PerKey, Repeats: true},
	},
	{
		name: "franz, exactly once",
		open: func(addr, in, out, group string) (weaver.Framework, weaver.Source[[]byte], weaver.Sink[[]byte]) {
			fw := franz.New(addr)
			to := fw.Transactional(out)
			to.Checkpoints = out + "-checkpoints"
			return fw, franzConsumer(fw, in, group), to
		},
		rules: crash.Rules{Order: crash.PerKey},
	},
}

func franzConsumer(fw *franz.Framework, in, group string) *franz.Consumer {
	c := fw.Consumer(in, group)
	c.SessionTimeout, c.HeartbeatInterval, c.MaxWait = 2*time.Second, 200*time.Millisecond, 100*time.Millisecond
	return c
}

// live is a process of the group, until it is told to stop.
func (m member) live(ctx context.Context, _ string) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	in := os.Getenv("WEAVER_KAFKA_IN")
	fw, from, to := m.open(os.Getenv("WEAVER_TEST_KAFKA"), in, os.Getenv("WEAVER_KAFKA_OUT"), "copy-"+in)
	p := weaver.Copy(from, to)
	p.Name = "copy"
	p.BatchSize = 50
	p.CheckpointInterval = 100 * time.Millisecond
	p.StopTimeout = 10 * time.Second
	p.Log = quiet
	return errors.Join(p.Run(ctx), fw.Close())
}

// TestCrashRebalance kills, stops and pauses the members of a group, each a process, while keyed records flow from one
// topic to another: none is lost, and the order of each key is kept; exactly once, none is doubled.
func TestCrashRebalance(t *testing.T) {
	t.Parallel()
	for _, m := range members {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			disturb(t, m)
		})
	}
}

func disturb(t *testing.T, m member) {
	t.Helper()
	child := crash.Child(t, m.live)
	addr := broker(t)
	seed := rand.Uint64()
	if s := os.Getenv("WEAVER_TEST_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	l := crash.Ledger{Seed: seed, Records: 12_000, Keys: 300}
	disturbances := 6
	if os.Getenv("WEAVER_PROOF") != "" {
		l.Records, disturbances = 300_000, 60
	}
	fw := kafka.New(addr)
	defer func() { require.NoError(t, fw.Close()) }()
	in := fmt.Sprintf("rebalance-%x", seed)
	out := in + "-out"
	for _, topic := range []string{in, out} {
		require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: topic, Partitions: 6}))
	}

	start := func() *process {
		p := &process{cmd: child.Command()}
		p.cmd.Env = append(p.cmd.Env, "WEAVER_KAFKA_IN="+in, "WEAVER_KAFKA_OUT="+out)
		var err error
		p.input, err = p.cmd.StdinPipe()
		require.NoError(t, err)
		p.cmd.Stderr = os.Stderr
		require.NoError(t, p.cmd.Start())
		return p
	}
	var group [3]*process
	for i := range group {
		group[i] = start()
	}
	defer func() {
		for _, p := range group {
			_ = p.end(syscall.SIGKILL)
		}
	}()

	feed := weaver.NewPipeline(weaver.FromSeq(func(yield func(crash.Record, error) bool) {
		for r := range l.All() {
			if !yield(r, nil) {
				return
			}
		}
	}), encoded(), fw.Produce(in))
	feed.BatchSize, feed.Log = 100, quiet
	feed.RateLimit.Records = float64(l.Records) / float64(disturbances) / 3
	feeding := make(chan error, 1)
	go func() { feeding <- feed.Run(context.WithoutCancel(t.Context())) }()

	random := rand.New(rand.NewPCG(seed, 0))
	// A member that was paused may write what is old by then, after all: it must not be the last that is written. So the feed goes on
	// for some seconds after the last pause, which has four at most.
	done := 0
	for last := l.Records - int64(7*feed.RateLimit.Records); done < disturbances && feed.Stats().Read.Records < last; done++ {
		i := random.IntN(len(group))
		switch random.IntN(4) {
		case 0:
			_ = group[i].end(syscall.SIGKILL)
			group[i] = start()
		case 1:
			require.NoError(t, group[i].end(syscall.SIGTERM), "a graceful stop")
			group[i] = start()
		case 2: // longer than its session
			require.NoError(t, group[i].cmd.Process.Signal(syscall.SIGSTOP))
			time.Sleep(time.Duration(random.IntN(4000)) * time.Millisecond)
			require.NoError(t, group[i].cmd.Process.Signal(syscall.SIGCONT))
		case 3: // away for a while
			_ = group[i].end(syscall.SIGKILL)
			time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond)
			group[i] = start()
		}
		time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond)
	}
	require.NoError(t, <-feeding)
	var records []crash.Record
	require.Eventually(t, func() bool {
		seen := make(map[int64]bool)
		records = readAll(t, fw, out)
		for n, err := range l.Verified(each(records)) {
			if err == nil {
				seen[n] = true
			}
		}
		return int64(len(seen)) == l.Records
	}, 2*time.Minute, time.Second, "WEAVER_TEST_SEED=%d: records are missing", seed)
	for _, p := range group {
		require.NoError(t, p.end(syscall.SIGTERM))
	}

	records = readAll(t, fw, out)
	tally, err := l.Check(m.rules, l.Verified(each(records)))
	t.Logf("%d disturbances: %+v", done, tally)
	require.NoError(t, err, "WEAVER_TEST_SEED=%d", seed)
	require.Greater(t, done, disturbances/2, "WEAVER_TEST_SEED=%d", seed)
	require.Less(t, tally.Doubled, l.Records, "WEAVER_TEST_SEED=%d: more records again than there are", seed)
}

// encoded makes records of a ledger ready to be written.
func encoded() weaver.Processor[crash.Record, []byte] {
	return weaver.MapRecord(func(_ context.Context, in *weaver.Record[crash.Record], out *weaver.Record[[]byte]) error {
		data, err := json.Marshal(in.Value)
		out.Key, out.Value = []byte(in.Value.Key), data
		return err
	})
}

// readAll reads what is in a topic, and committed.
func readAll(t *testing.T, fw *kafka.Framework, topic string) []crash.Record {
	t.Helper()
	var all []crash.Record
	for _, r := range recordsOf(t, fw.Consume(topic, "")) {
		var one crash.Record
		require.NoError(t, json.Unmarshal(r.Value, &one))
		all = append(all, one)
	}
	return all
}

func each(records []crash.Record) iter.Seq2[crash.Record, error] {
	return func(yield func(crash.Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// process is a member.
type process struct {
	cmd   *exec.Cmd
	input io.Closer
	once  sync.Once
	err   error
}

// end ends a process by a signal and waits for it.
func (p *process) end(by syscall.Signal) error {
	p.once.Do(func() {
		_ = p.cmd.Process.Signal(by)
		err := p.cmd.Wait()
		_ = p.input.Close()
		const success = 100 // of a crash.Child
		if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == by {
			return // it had not come so far as to be told
		}
		if p.cmd.ProcessState.ExitCode() != success {
			p.err = err
		}
	})
	return p.err
}
