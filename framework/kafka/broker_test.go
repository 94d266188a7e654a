//go:build linux

package kafka

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
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
	services, err := filepath.Abs("../../internal/services")
	require.NoError(t, err)
	cache := os.Getenv("WEAVER_SERVICES_CACHE")
	if cache == "" {
		cache = filepath.Join(services, ".cache")
	}
	if _, err := exec.LookPath("java"); err != nil {
		broker(t) // says what is missing
		t.Skip("there is no java to start another broker with")
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

// TestCrashBroker kills the broker under load and starts it again: the pipeline waits and goes on, nothing is lost, and
// the order of each key is kept.
func TestCrashBroker(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	l := crash.Ledger{Seed: rand.Uint64(), Records: 10_000, Keys: 100}
	kills := 1
	if os.Getenv("WEAVER_PROOF") != "" {
		l.Records, kills = 60_000, 6
	}
	fw := connect(t, b.addr)
	in, out := newTopic(t, fw, 3), unique(t)+"-out"
	require.NoError(t, fw.CreateStream(t.Context(), weaver.Stream{Name: out, Partitions: 3}))
	patient := retry.Policy{Initial: 10 * time.Millisecond, Max: 200 * time.Millisecond}
	feed := weaver.NewPipeline(weaver.FromSeq(func(yield func(crash.Record, error) bool) {
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
	feed.BatchSize, feed.Log, feed.Retry = 50, quiet, patient
	feed.RateLimit.Records = float64(l.Records) / float64(kills) / 5
	feeding := make(chan error, 1)
	go func() { feeding <- feed.Run(context.WithoutCancel(t.Context())) }()

	relay := weaver.Copy[[]byte](brisk(fw.Consumer(in, unique(t))), fw.Produce(out))
	relay.BatchSize, relay.Log, relay.Retry, relay.CheckpointInterval = 50, quiet, patient, 100*time.Millisecond
	stop := background(t, relay.Run)

	for range kills {
		time.Sleep(time.Second + rand.N(time.Second))
		b.kill(t)
		time.Sleep(rand.N(time.Second))
		b.restart(t)
	}
	require.NoError(t, <-feeding, "seed %d", l.Seed)
	var got []weaver.Record[[]byte]
	eventually(t, "all is written", func() bool {
		got = readAll(t, fw.Consumer(out, ""))
		seen := make(map[int64]bool)
		for n, err := range l.Verified(recordsIn(got)) {
			if err == nil {
				seen[n] = true
			}
		}
		return int64(len(seen)) == l.Records
	})
	require.NoError(t, stop())
	got = readAll(t, fw.Consumer(out, ""))
	tally, err := l.Check(crash.Rules{Order: crash.PerKey, Repeats: true}, l.Verified(recordsIn(got)))
	t.Logf("%d kills: %+v", kills, tally)
	require.NoError(t, err, "seed %d", l.Seed)
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
