package crash_test

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

func TestChildOfSubtest(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"plain", "with spaces, a / and (a+b)*"} {
		t.Run(name, func(t *testing.T) {
			child := crash.Child(t, func(_ context.Context, dir string) error {
				if !crash.InChild() {
					return os.ErrInvalid
				}
				return countTo(dir, 200)
			})
			require.False(t, crash.InChild())
			_, err := crash.Plan{Kills: 1, Total: 200, Progress: lastNumber(child.Dir), Again: anew(child.Dir)}.Run(t.Context(), child)
			require.NoError(t, err)
		})
	}
}

func TestChildAboveSubtest(t *testing.T) {
	t.Parallel()
	_ = crash.Child(t, func(context.Context, string) error { return os.ErrInvalid })
	t.Run("sub", func(t *testing.T) {
		child := crash.Child(t, func(context.Context, string) error { return nil })
		_, err := crash.Plan{Total: 2, Progress: lastNumber(child.Dir)}.Run(t.Context(), child)
		require.ErrorContains(t, err, "the child ended without a call of Child")
	})
}

// Who starts a child may be killed as well.
func TestChildDoesNotOutliveItsParent(t *testing.T) {
	t.Parallel()
	const variable = "CRASH_TEST_OF_ORPHANS"
	child := crash.Child(t, func(_ context.Context, dir string) error { return countTo(os.Getenv(variable), 1_000_000) })
	plan := crash.Plan{Kills: 1, Total: 1_000_000}
	if dir := os.Getenv(variable); dir != "" {
		plan.Progress = lastNumber(dir)
		_, err := plan.Run(t.Context(), child)
		require.NoError(t, err)
	}
	dir := t.TempDir()
	binary, err := os.Executable()
	require.NoError(t, err)
	parent := exec.CommandContext(t.Context(), binary, "-test.run=^"+t.Name()+"$")
	parent.Env = append(os.Environ(), variable+"="+dir)
	require.NoError(t, parent.Start())
	require.Eventually(t, func() bool {
		at, err := lastNumber(dir)()
		return err == nil && at > 5
	}, time.Minute, time.Millisecond)
	require.NoError(t, parent.Process.Kill())
	require.Error(t, parent.Wait())
	time.Sleep(200 * time.Millisecond)
	requireStill(t, dir)
}
