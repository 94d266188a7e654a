//go:build unix

package postgres

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

// TestCrashZombie stops a process in the middle of its work, lets another one take over and come to its end, and wakes the first
// up: it must find that it was overtaken, and change nothing.
func TestCrashZombie(t *testing.T) {
	t.Parallel()
	source := func(dir string) weaver.Source[crashRecord] {
		return file.NDJSON[crashRecord](filepath.Join(dir, "in.ndjson"))
	}
	child := crash.Child(t, func(_ context.Context, dir string) error {
		url, err := os.ReadFile(filepath.Join(dir, "url"))
		if err != nil {
			return err
		}
		return crashCopy(string(url), source(dir), Insert)
	})
	p := newPlace(t)
	require.NoError(t, os.WriteFile(filepath.Join(child.Dir, "url"), []byte(p.url), 0o600))
	o := &crashed{t: t, url: p.url}
	l := crash.Ledger{Seed: 1, Records: 8_000}
	o.fill(filepath.Join(child.Dir, "in.ndjson"), l)

	for range 3 {
		zombie := child.Command()
		in, err := zombie.StdinPipe() // whose end would end it
		require.NoError(t, err)
		defer in.Close()
		var said bytes.Buffer
		zombie.Stdout, zombie.Stderr = &said, &said
		before := p.count("target")
		require.NoError(t, zombie.Start())
		require.Eventually(t, func() bool { return p.count("target") > before+500 }, 30*time.Second, time.Millisecond)
		require.NoError(t, zombie.Process.Signal(syscall.SIGSTOP))

		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		err = crashRun(ctx, p.url, source(child.Dir), Insert)
		cancel()
		require.NoError(t, err)
		require.Less(t, time.Since(began), 10*time.Second, "what the zombie had locked is free soon")
		after := p.count("target")

		require.NoError(t, zombie.Process.Signal(syscall.SIGCONT))
		require.Error(t, zombie.Wait())
		require.Contains(t, said.String(), weaver.ErrFenced.Error())
		require.Equal(t, after, p.count("target"))
	}
	require.NoError(t, crashRun(t.Context(), p.url, source(child.Dir), Insert))
	tally, err := l.Check(crash.Rules{Order: crash.None}, l.Verified(o.output()))
	t.Logf("%+v", tally)
	require.NoError(t, err)
}
