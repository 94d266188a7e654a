package weaver_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

// TestLeasedCrash has three processes that read twenty splits, each into a file of its own, and kills two of them on the
// way. Nothing may be lost, and the last one ends when all is read.
func TestLeasedCrash(t *testing.T) {
	t.Parallel()
	const splits, records = 20, 150
	child := crash.Child(t, func(ctx context.Context, dir string) error {
		out, err := os.OpenFile(filepath.Join(dir, "out."+strconv.Itoa(os.Getpid())), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		store := checkpoint.NewFile(filepath.Join(dir, "store"))
		src := weaver.Leased[string](shards{splits, records}, store, "shards")
		src.TTL = 1500 * time.Millisecond
		p := weaver.Copy[string](src, weaver.SinkFunc[string](func(_ context.Context, b *weaver.Batch[string]) error {
			var lines strings.Builder
			for _, r := range b.Records {
				lines.WriteString(r.Value + "\n")
			}
			_, err := out.WriteString(lines.String())
			return err
		}))
		p.Name, p.Checkpoint, p.CheckpointInterval = "shards", store, 100*time.Millisecond
		p.BatchSize = 5
		p.RateLimit.Records = splits * records / 6 // six seconds for one, two for three
		return p.Run(ctx)
	})
	processes := make([]*exec.Cmd, 3)
	printed := make([]strings.Builder, len(processes))
	for i := range processes {
		cmd := child.Command()
		stdin, err := cmd.StdinPipe()
		require.NoError(t, err)
		defer stdin.Close()
		cmd.Stderr = &printed[i]
		require.NoError(t, cmd.Start())
		processes[i] = cmd
	}
	defer func() {
		for _, cmd := range processes {
			if cmd.ProcessState == nil {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}
		}
	}()
	output := func(cmd *exec.Cmd) string { return filepath.Join(child.Dir, "out."+strconv.Itoa(cmd.Process.Pid)) }
	for i, cmd := range processes[:2] {
		require.Eventually(t, func() bool { return len(readLines(t, output(cmd))) > 100+200*i }, time.Minute, 5*time.Millisecond, "each gets some")
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait())
	}
	err := processes[2].Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 100, exit.ExitCode(), "%s", printed[2].String())

	got, by := make(map[string]int), make([]int, 3)
	for i, cmd := range processes {
		for _, line := range readLines(t, output(cmd)) {
			got[line]++
			by[i]++
		}
	}
	doubled := 0
	for s := range splits {
		for n := range records {
			v := fmt.Sprintf("shard-%d/%d", s, n)
			require.Positive(t, got[v], "%s is lost", v)
			doubled += got[v] - 1
			delete(got, v)
		}
	}
	require.Empty(t, slices.Collect(maps.Keys(got)), "nothing else is there")
	require.Positive(t, by[2])
	require.Less(t, doubled, splits*records/2, "what is read again is what wasn't saved")
	t.Logf("records by process %v, %d of them twice", by, doubled)
}

// readLines returns the whole lines of a file: a kill may leave part of one.
func readLines(t *testing.T, path string) []string {
	data, err := os.ReadFile(path)
	if err != nil {
		require.ErrorIs(t, err, os.ErrNotExist)
		return nil
	}
	lines := strings.Split(string(data), "\n")
	return lines[:len(lines)-1]
}

// shards is a source of fixed splits with so many records each.
type shards struct{ splits, records int }

func (s shards) Splits(context.Context) (weaver.Splits, error) {
	n := newSpoken()
	n.says = make(chan weaver.Change, 1)
	var c weaver.Change
	for i := range s.splits {
		c.Add = append(c.Add, weaver.Split{ID: fmt.Sprintf("shard-%d", i), Bounded: true})
	}
	n.says <- c
	close(n.says)
	return spokenSplits{n}, nil
}

func (s shards) OpenReader(ctx context.Context, at weaver.Lane) (weaver.Reader[string], error) {
	return weaver.FromSeq(func(yield func(string, error) bool) {
		for n := range s.records {
			if !yield(fmt.Sprintf("%s/%d", at.Split.ID, n), nil) {
				return
			}
		}
	}).OpenReader(ctx, at)
}
