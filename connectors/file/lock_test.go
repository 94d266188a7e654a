package file

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

// numbers writes and commits ascending numbers from where the file is, a few a commit, and calls after for each commit. It is what several do to one file.
func numbers(ctx context.Context, path string, upTo int, after func(n int)) error {
	f := Lines(path)
	f.BufferBytes = 16
	x, err := f.OpenWriter(ctx, weaver.Lane{})
	if err != nil {
		return err
	}
	defer x.Close()
	w := x.(*writer[[]byte])
	envelope, err := w.Restore(ctx)
	if err != nil {
		return err
	}
	n := 0
	if envelope != nil {
		n = int(binary.BigEndian.Uint32(envelope))
	}
	for n < upTo {
		b := weaver.NewBatch[[]byte](0, 0)
		for range 5 {
			b.Add().Value = fmt.Appendf(nil, "number %d", n)
			n++
		}
		if err := w.Write(ctx, b); err != nil {
			return err
		}
		if err := w.Commit(ctx, binary.BigEndian.AppendUint32(nil, uint32(n))); err != nil {
			return err
		}
		after(n)
	}
	return nil
}

// ascending requires that the file holds the numbers from 0 on, each once, and returns how many.
func ascending(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	all := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	for i, line := range all {
		require.Equal(t, fmt.Sprintf("number %d", i), line)
	}
	return len(all)
}

// Several writers take one file from each other all the time. Whatever they do, it holds each record once.
func TestWritersFightForAFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out")
	const upTo = 150
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[int]bool{}
	taken := 0
	for range 3 {
		wg.Go(func() {
			for {
				err := numbers(t.Context(), path, upTo, func(n int) {
					mu.Lock()
					defer mu.Unlock()
					if seen[n] {
						t.Errorf("%d is committed twice", n)
					}
					seen[n] = true
				})
				mu.Lock()
				done := seen[upTo]
				if errors.Is(err, weaver.ErrFenced) {
					taken++
				} else if err != nil {
					t.Error(err)
				}
				mu.Unlock()
				if done {
					return
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, upTo, ascending(t, path))
	t.Log("taken over", taken, "times")
}

const childPath = "WEAVER_FILE_TEST_CHILD"

// TestChild is the other process of the tests below.
func TestChild(t *testing.T) {
	path := os.Getenv(childPath)
	if path == "" {
		t.Skip("this is the other process of another test")
	}
	fmt.Println("child", numbers(t.Context(), path, 1<<20, func(n int) { fmt.Println("committed", n) }))
}

// child starts one and returns what it says, line by line.
func child(t *testing.T, path string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), childPath+"="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return cmd, bufio.NewScanner(out)
}

// until reads what a child says until it has committed so many times.
func until(said *bufio.Scanner, commits int) (last int) {
	for commits > 0 && said.Scan() {
		if _, err := fmt.Sscanf(said.Text(), "committed %d", &last); err == nil {
			commits--
		}
	}
	return last
}

func TestAProcessIsKilled(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("starts processes and kills them")
	}
	path := filepath.Join(t.TempDir(), "out")
	for range 5 {
		cmd, said := child(t, path)
		last := until(said, 3)
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		w, envelope := keep(t, Lines(path), weaver.Lane{})
		require.GreaterOrEqual(t, int(binary.BigEndian.Uint32(envelope)), last)
		require.Equal(t, int(binary.BigEndian.Uint32(envelope)), ascending(t, path))
		require.NoError(t, w.Close())
	}
}

func TestAnotherProcessTakesOver(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out")
	cmd, said := child(t, path)
	last := until(said, 3)
	w, envelope := keep(t, Lines(path), weaver.Lane{})
	n := int(binary.BigEndian.Uint32(envelope))
	require.GreaterOrEqual(t, n, last)
	require.Equal(t, n, ascending(t, path))
	var end string
	for said.Scan() {
		if s, ok := strings.CutPrefix(said.Text(), "child "); ok {
			end = s
		}
	}
	require.NoError(t, cmd.Wait())
	require.Contains(t, end, weaver.ErrFenced.Error())
	require.Equal(t, n, ascending(t, path), "the other one has not touched it since")
	require.NoError(t, w.Write(t.Context(), lines(fmt.Sprintf("number %d", n))))
	require.NoError(t, w.Commit(t.Context(), nil))
	require.NoError(t, w.Close())
	require.Equal(t, n+1, ascending(t, path))
}

func TestAppendersOfTwoFilesKeepOut(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out")
	a := open(t, Lines(path), weaver.Lane{})
	require.NoError(t, a.Write(t.Context(), lines("a")))
	ctx, cancel := context.WithCancel(t.Context())
	b := open(t, Lines(path), weaver.Lane{})
	failed := make(chan error)
	go func() { failed <- b.Write(ctx, lines("b")) }()
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	require.NoError(t, a.Flush(t.Context()))
	require.NoError(t, errors.Join(a.Close(), b.Close()))

	b = open(t, Lines(path), weaver.Lane{})
	require.NoError(t, b.Write(t.Context(), lines("b")))
	require.NoError(t, b.Flush(t.Context()))
	require.NoError(t, b.Close())
	items, _ := drain(t, Lines(path), nil, 0)
	require.Equal(t, []string{"a", "b"}, values(items))
}
