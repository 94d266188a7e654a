//go:build linux

package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/franz"
	"github.com/bohica-labs/dataweaver/framework/kafka"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

// ownBroker is one that a test may kill.
type ownBroker struct {
	addr string
	pid  int
	cmd  *exec.Cmd // nil: of the first life, which a script has started
	args []string
}

func startBroker(t *testing.T) *ownBroker {
	t.Helper()
	services, err := filepath.Abs("../services")
	require.NoError(t, err)
	cache := os.Getenv("WEAVER_SERVICES_CACHE")
	if cache == "" {
		cache = filepath.Join(services, ".cache")
	}
	if _, err := exec.LookPath("java"); err != nil {
		missing(t, "needs Java 17 to start a broker: install openjdk-17-jre-headless, maven and openssl")
	}
	dir := t.TempDir()
	script := exec.CommandContext(t.Context(), "bash", filepath.Join(services, "kafka.sh"), dir)
	script.Env = append(os.Environ(), "WEAVER_SERVICES_CACHE="+cache)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer func() { require.NoError(t, log.Close()) }()
	script.Stdout, script.Stderr = log, log
	if err := script.Run(); err != nil {
		said, _ := os.ReadFile(log.Name())
		t.Fatalf("%v: %s", err, said)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return strings.TrimSpace(string(text))
	}
	b := &ownBroker{addr: read("address")}
	b.pid, err = strconv.Atoi(read("pid"))
	require.NoError(t, err)
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", b.pid))
	require.NoError(t, err)
	for arg := range bytes.SplitSeq(bytes.TrimRight(line, "\x00"), []byte{0}) {
		b.args = append(b.args, string(arg))
	}
	t.Cleanup(func() { b.kill(t) })
	return b
}

// kill ends the broker as a crash does.
func (b *ownBroker) kill(t *testing.T) {
	t.Helper()
	if b.pid == 0 {
		return
	}
	require.NoError(t, syscall.Kill(b.pid, syscall.SIGKILL))
	if b.cmd != nil {
		_ = b.cmd.Wait()
	}
	pid := b.pid
	b.pid = 0
	require.Eventually(t, func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || bytes.Contains(stat, []byte(") Z "))
	}, 30*time.Second, 10*time.Millisecond)
}

// restart starts it again, in its folder.
func (b *ownBroker) restart(t *testing.T) {
	t.Helper()
	b.cmd = exec.Command(b.args[0], b.args[1:]...)
	require.NoError(t, b.cmd.Start())
	b.pid = b.cmd.Process.Pid
	require.Eventually(t, func() bool {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", b.addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, time.Minute, 50*time.Millisecond)
}

// impatient are members whose client gives up while the broker is away: it is the pipeline that waits, and what was sent without an answer may have
// been written or not.
var impatient = []member{
	{
		name: "franz, impatient",
		open: func(addr, in, out, group string) (weaver.Framework, weaver.Source[[]byte], weaver.Sink[[]byte]) {
			fw := franz.New(addr)
			to := fw.Producer(out)
			to.DeliveryTimeout = time.Second
			return fw, franzConsumer(fw, in, group), to
		},
		rules: crash.Rules{Order: crash.PerKey, Repeats: true},
	},
	{
		name: "franz, exactly once, impatient",
		open: func(addr, in, out, group string) (weaver.Framework, weaver.Source[[]byte], weaver.Sink[[]byte]) {
			fw := franz.New(addr)
			to := fw.Transactional(out)
			to.Checkpoints, to.DeliveryTimeout = out+"-checkpoints", time.Second
			return fw, franzConsumer(fw, in, group), to
		},
		rules: crash.Rules{Order: crash.PerKey},
	},
}

// TestCrashBroker kills the broker under load and starts it again: the pipelines of all members wait and go on, nothing is lost, the order of
// each key is kept and, exactly once, none is doubled. What they read is written by a pipeline that goes on exactly once, too: records that are
// doubled are theirs.
func TestCrashBroker(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	l := crash.Ledger{Seed: rand.Uint64(), Records: 10_000, Keys: 100}
	kills := 1
	if os.Getenv("WEAVER_PROOF") != "" {
		l.Records, kills = 60_000, 6
	}
	fw := franz.New(b.addr)
	defer func() { require.NoError(t, fw.Close()) }()
	newTopic := func() string {
		name := unique(t)
		require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: name, Partitions: 3}))
		return name
	}
	in := newTopic()
	patient := retry.Policy{Initial: 10 * time.Millisecond, Max: 200 * time.Millisecond}
	to := fw.Transactional(in)
	to.Checkpoints = in + "-checkpoints"
	feed := weaver.NewPipeline(weaver.FromSeq(func(yield func(crash.Record, error) bool) {
		for r := range l.All() {
			if !yield(r, nil) {
				return
			}
		}
	}), encoded(), weaver.Sink[[]byte](to))
	feed.Name, feed.BatchSize, feed.Log, feed.Retry = "feed", 50, quiet, patient
	feed.RateLimit.Records = float64(l.Records) / float64(kills) / 5
	feed.Require = weaver.ExactlyOnce
	feeding := make(chan error, 1)
	go func() { feeding <- feed.Run(context.WithoutCancel(t.Context())) }()

	all := slices.Concat(members, impatient)
	outs := make([]string, len(all))
	stops := make([]func() error, len(all))
	for i, m := range all {
		outs[i] = newTopic()
		own, from, to := m.open(b.addr, in, outs[i], unique(t))
		relay := weaver.Copy(from, to)
		relay.Name, relay.BatchSize, relay.Log, relay.Retry, relay.CheckpointInterval = "relay", 50, quiet, patient, 100*time.Millisecond
		stops[i] = background(t, func(ctx context.Context) error { return errors.Join(relay.Run(ctx), own.Close()) })
	}

	for i := range kills {
		// Not before what comes next is under way again, and at any point of it.
		share := l.Records / int64(kills+1)
		require.Eventually(t, func() bool { return feed.Stats().Read.Records >= share*int64(i+1) }, 2*time.Minute, 10*time.Millisecond, "the feed goes on")
		time.Sleep(rand.N(500 * time.Millisecond))
		b.kill(t)
		time.Sleep(rand.N(time.Second))
		b.restart(t)
	}
	require.NoError(t, <-feeding, "seed %d", l.Seed)
	reader := kafka.New(b.addr)
	defer func() { require.NoError(t, reader.Close()) }()
	tally, err := l.Check(crash.Rules{Order: crash.PerKey}, l.Verified(each(readAll(t, reader, in))))
	require.NoError(t, err, "seed %d: what is read is not what was to be written: %+v", l.Seed, tally)
	for i, m := range all {
		require.Eventually(t, func() bool {
			seen := make(map[int64]bool)
			for n, err := range l.Verified(each(readAll(t, reader, outs[i]))) {
				if err == nil {
					seen[n] = true
				}
			}
			return int64(len(seen)) == l.Records
		}, 2*time.Minute, 500*time.Millisecond, "%s, seed %d: records are missing", m.name, l.Seed)
		require.NoError(t, stops[i](), "%s, seed %d", m.name, l.Seed)
		tally, err := l.Check(m.rules, l.Verified(each(readAll(t, reader, outs[i]))))
		t.Logf("%s, %d kills: %+v", m.name, kills, tally)
		require.NoError(t, err, "%s, seed %d", m.name, l.Seed)
	}
}

// background runs something until the test ends it, and returns how it ended.
func background(t testing.TB, run func(context.Context) error) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return stop
}
