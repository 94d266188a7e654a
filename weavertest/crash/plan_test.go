package crash_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

// countTo appends the numbers up to last to the file out, from where that ends, one in about a millisecond.
func countTo(dir string, last int64) error {
	path := filepath.Join(dir, "out")
	n, err := lastNumber(dir)()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	for n++; n <= last; n++ {
		if _, err := fmt.Fprintln(f, n); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return f.Close()
}

func lastNumber(dir string) func() (int64, error) {
	return crash.LastLine(filepath.Join(dir, "out"), func(line []byte) (int64, error) {
		return strconv.ParseInt(string(line), 10, 64)
	})
}

// anew is for Plan.Again.
func anew(dir string) func() error {
	return func() error { return os.Remove(filepath.Join(dir, "out")) }
}

// requireStill wants nobody to write to the output any more.
func requireStill(t *testing.T, dir string) {
	t.Helper()
	before, err := lastNumber(dir)()
	require.NoError(t, err)
	require.NotZero(t, before)
	time.Sleep(50 * time.Millisecond)
	after, err := lastNumber(dir)()
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestPlanSpreadsKills(t *testing.T) {
	t.Parallel()
	const total = 600
	child := crash.Child(t, func(_ context.Context, dir string) error { return countTo(dir, total) })
	var kills []crash.Kill
	plan := crash.Plan{Kills: 8, Early: 3, Total: total, Seed: seed(t), Progress: lastNumber(child.Dir), AfterKill: func(k crash.Kill) error {
		kills = append(kills, k)
		at, err := lastNumber(child.Dir)()
		if err == nil && at != k.Progress {
			err = fmt.Errorf("progress is %d after a kill at %d", at, k.Progress)
		}
		return err
	}, Again: anew(child.Dir)}
	report, err := plan.Run(t.Context(), child)
	require.NoError(t, err)
	require.Equal(t, kills, report.Kills)
	require.Equal(t, 8, report.Counted())
	require.Equal(t, len(kills)+1+report.Again, report.Lives)
	require.Contains(t, report.String(), "8 kills at ")
	last, halves := int64(0), [2]int{}
	for _, k := range kills {
		if !k.Counts {
			continue
		}
		require.Greater(t, k.Progress, last)
		require.Less(t, k.Progress, int64(total))
		last = k.Progress
		halves[2*last/(total+1)]++
	}
	if report.Again == 0 { // on a machine that is too busy they may all be late
		require.NotZero(t, halves[0], report)
		require.NotZero(t, halves[1], report)
	}
	at, err := lastNumber(child.Dir)()
	require.NoError(t, err)
	require.EqualValues(t, total, at)
}

func TestPlanTellsWhatGoesWrong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		life func(dir string) error
		plan crash.Plan
		want []string
		is   error
	}{
		{
			name: "a child that fails",
			life: func(dir string) error { return errors.Join(countTo(dir, 5), errors.New("the disk is on fire")) },
			plan: crash.Plan{Early: -1},
			want: []string{"life 1, after 0 of 10 kills: the program failed by itself", "It printed:\nthe disk is on fire"},
		},
		{
			name: "a child that panics",
			life: func(string) error { panic("at the disk") },
			plan: crash.Plan{Early: -1},
			want: []string{"failed by itself: exit status 2", "panic: at the disk"},
		},
		{
			name: "a child that ends before it is killed",
			life: func(dir string) error { return countTo(dir, 20) },
			want: []string{"the program ended by itself: make it slower"},
			is:   crash.ErrTooFewKills,
		},
		{
			name: "a child that stands still",
			life: func(dir string) error { _ = countTo(dir, 20); select {} },
			plan: crash.Plan{Kills: 1, Total: 1_000_000, Early: -1, Patience: 5 * time.Second},
			want: []string{"no progress for 5s (Plan.Patience): it stands at 20 of 1000000"},
		},
		{
			name: "a child that takes too long",
			life: func(dir string) error { return countTo(dir, 1_000_000) },
			plan: crash.Plan{Kills: 1, Total: 1_000_000, Timeout: time.Second},
			want: []string{"Plan.Timeout of 1s is over"},
		},
		{
			name: "an AfterKill that has seen enough",
			life: func(dir string) error { return countTo(dir, 1_000_000) },
			plan: crash.Plan{Kills: 9, Total: 1000, AfterKill: func(crash.Kill) error { return os.ErrInvalid }},
			is:   os.ErrInvalid,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			child := crash.Child(t, func(_ context.Context, dir string) error { return tt.life(dir) })
			plan := tt.plan
			plan.Progress = lastNumber(child.Dir)
			if plan.Total == 0 {
				plan.Total = 500
			}
			_, err := plan.Run(t.Context(), child)
			require.Error(t, err)
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			}
			if at, _ := plan.Progress(); at > 0 {
				requireStill(t, child.Dir)
			}
		})
	}
}

func TestPlanEndsWithContext(t *testing.T) {
	t.Parallel()
	child := crash.Child(t, func(_ context.Context, dir string) error { return countTo(dir, 1_000_000) })
	ctx, cancel := context.WithCancelCause(t.Context())
	progress := lastNumber(child.Dir)
	plan := crash.Plan{Kills: 1, Total: 1_000_000, Early: -1, Progress: func() (int64, error) {
		at, err := progress()
		if at > 10 {
			cancel(os.ErrDeadlineExceeded)
		}
		return at, err
	}}
	_, err := plan.Run(ctx, child)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	requireStill(t, child.Dir)
	_, err = plan.Run(ctx, child)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// Any program can be run, not only a Child.
func TestPlanOfAnyProgram(t *testing.T) {
	t.Parallel()
	child := crash.Child(t, func(_ context.Context, dir string) error {
		if err := countTo(dir, 200); err != nil {
			return err
		}
		os.Exit(0)
		return nil
	})
	plan := crash.Plan{Kills: 2, Total: 200, Progress: lastNumber(child.Dir), Again: anew(child.Dir)}
	report, err := plan.Run(t.Context(), crash.Program{Command: child.Command})
	require.NoError(t, err)
	require.Equal(t, 2, report.Counted())

	_, err = plan.Run(t.Context(), crash.Program{Command: func() *exec.Cmd { return exec.Command(filepath.Join(child.Dir, "none")) }})
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A program that ends too soon may begin anew.
func TestPlanAgain(t *testing.T) {
	t.Parallel()
	child := crash.Child(t, func(_ context.Context, dir string) error { return countTo(dir, 40) })
	plan := crash.Plan{Kills: 30, Early: -1, Total: 40, Seed: seed(t), Progress: lastNumber(child.Dir)}
	again := 0
	plan.Again = func() error {
		again++
		at, err := plan.Progress()
		if at != 40 {
			return fmt.Errorf("the output ends with %d", at)
		}
		return errors.Join(err, anew(child.Dir)())
	}
	report, err := plan.Run(t.Context(), child)
	if err != nil { // it was not to be
		require.ErrorIs(t, err, crash.ErrTooFewKills)
		require.Equal(t, 10, again)
	} else {
		require.Equal(t, 30, report.Counted())
	}
	require.Equal(t, again, report.Again)
	require.NotZero(t, again)

	plan.Again = func() error { return os.ErrExist }
	require.NoError(t, anew(child.Dir)())
	_, err = plan.Run(t.Context(), child)
	require.ErrorIs(t, err, os.ErrExist)
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	ok := func() (int64, error) { return 0, nil }
	for _, tt := range []struct {
		plan crash.Plan
		want string
	}{
		{crash.Plan{Total: 5}, "Plan.Progress is nil"},
		{crash.Plan{Progress: ok}, "Plan.Total is 0"},
		{crash.Plan{Progress: ok, Total: 5, Kills: -1}, "Plan.Kills is -1"},
		{crash.Plan{Progress: ok, Total: 5, Patience: -1}, "Plan.Patience is -1ns"},
		{crash.Plan{Progress: ok, Total: 5, Timeout: -1}, "Plan.Timeout is -1ns"},
		{crash.Plan{Progress: ok, Total: 5}, "Program.Command is nil"},
	} {
		_, err := tt.plan.Run(t.Context(), crash.Program{})
		require.ErrorContains(t, err, tt.want)
	}
	plan := crash.Plan{Total: 5, Progress: func() (int64, error) { return 0, os.ErrPermission }}
	_, err := plan.Run(t.Context(), crash.Program{Command: func() *exec.Cmd { return exec.Command("none") }})
	require.ErrorIs(t, err, os.ErrPermission)
}
