package kafka

import (
	"context"
	"encoding/json"
	"errors"
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
	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

// TestCrashRebalance kills, stops and pauses the members of a group, each a process, while keyed records flow from one
// topic to another: none is lost, and the order of each key is kept.
func TestCrashRebalance(t *testing.T) {
	t.Parallel()
	const members = 3
	child := crash.Child(t, copyTopic)
	addr := broker(t)
	seed := rand.Uint64()
	if s := os.Getenv("WEAVER_TEST_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	l := crash.Ledger{Seed: seed, Records: 20_000, Keys: 300}
	disturbances := 8
	if os.Getenv("WEAVER_PROOF") != "" {
		l.Records, disturbances = 300_000, 60
	}
	fw := connect(t, addr)
	in, out := newTopic(t, fw, 6), unique(t)+"-out"
	require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: out, Partitions: 6}))

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
	var group [members]*process
	for i := range group {
		group[i] = start()
	}
	defer func() {
		for _, p := range group {
			_ = p.end(syscall.SIGKILL)
		}
	}()

	feeding := background(t, func(ctx context.Context) error {
		p := weaver.NewPipeline(weaver.FromSeq(func(yield func(crash.Record, error) bool) {
			for r := range l.All() {
				if !yield(r, nil) {
					return
				}
			}
		}), weaver.MapRecord(func(_ context.Context, in *weaver.Record[crash.Record], out *weaver.Record[[]byte]) error {
			data, err := json.Marshal(in.Value)
			out.Key, out.Value = []byte(in.Value.Key), data
			return err
		}), fw.Produce(in))
		p.BatchSize = 100
		p.Log = quiet
		p.RateLimit.Records = float64(l.Records) / float64(disturbances) / 1.2
		return p.Run(ctx)
	})

	random := rand.New(rand.NewPCG(seed, 0))
	for range disturbances {
		i := random.IntN(members)
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
	var records []weaver.Record[[]byte]
	require.Eventually(t, func() bool {
		seen := make(map[int64]bool)
		records = readAll(t, fw.Consumer(out, ""))
		for n, err := range l.Verified(recordsIn(records)) {
			if err == nil {
				seen[n] = true
			}
		}
		return int64(len(seen)) == l.Records
	}, 2*time.Minute, time.Second, "WEAVER_TEST_SEED=%d: records are missing", seed)
	for _, p := range group {
		require.NoError(t, p.end(syscall.SIGTERM))
	}
	require.NoError(t, feeding())
	records = readAll(t, fw.Consumer(out, ""))
	tally, err := l.Check(crash.Rules{Order: crash.PerKey, Repeats: true}, l.Verified(recordsIn(records)))
	t.Logf("%d disturbances: %+v", disturbances, tally)
	require.NoError(t, err, "WEAVER_TEST_SEED=%d", seed)
	require.Less(t, tally.Doubled, l.Records, "WEAVER_TEST_SEED=%d: more records again than there are", seed)
}

// recordsIn are the records that a topic holds.
func recordsIn(records []weaver.Record[[]byte]) iter.Seq2[crash.Record, error] {
	return func(yield func(crash.Record, error) bool) {
		for i := range records {
			var r crash.Record
			err := json.Unmarshal(records[i].Value, &r)
			if err != nil {
				err = errors.Join(crash.ErrAltered, err)
			}
			if !yield(r, err) {
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

// copyTopic is what a member does.
func copyTopic(ctx context.Context, _ string) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	fw := New(os.Getenv("WEAVER_TEST_KAFKA"))
	src := fw.Consumer(os.Getenv("WEAVER_KAFKA_IN"), "copy-"+os.Getenv("WEAVER_KAFKA_IN"))
	src.SessionTimeout, src.HeartbeatInterval, src.MaxWait = 2*time.Second, 200*time.Millisecond, 100*time.Millisecond
	p := weaver.Copy[[]byte](src, fw.Produce(os.Getenv("WEAVER_KAFKA_OUT")))
	p.Name = "copy"
	p.BatchSize = 50
	p.CheckpointInterval = 100 * time.Millisecond
	p.StopTimeout = 10 * time.Second
	p.Log = quiet
	return errors.Join(p.Run(ctx), fw.Close())
}
