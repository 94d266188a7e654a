// Command mutants proves that the engine's tests can fail: it breaks the engine in one way after the other, runs the
// test that is named for it, and expects it to fail. It is run from the module's root:
//
//	go run ./internal/mutants [part of a name]
//
// No file is changed: the broken one is given to the go command as an overlay. It ends with 1 if a mutant survives,
// doesn't compile, or can't be made because the code it changes has changed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	buildTimeout = 5 * time.Minute
	testTimeout  = "60s"
)

func main() {
	only := strings.Join(os.Args[1:], " ")
	survivors := 0
	for _, m := range mutants {
		if !strings.Contains(m.name, only) {
			continue
		}
		start := time.Now()
		verdict, err := try(context.Background(), m)
		if err != nil {
			survivors++
			verdict = "NOT CAUGHT: " + err.Error()
		}
		fmt.Printf("%-62s %-50s %5.1fs %s\n", m.name, m.test, time.Since(start).Seconds(), verdict)
	}
	if survivors > 0 {
		fmt.Printf("%d of %d mutants were not caught\n", survivors, len(mutants))
		os.Exit(1)
	}
}

// try makes the mutant and returns how it was caught.
func try(ctx context.Context, m mutant) (string, error) {
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	overlay, err := write(dir, m)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	binary := filepath.Join(dir, "mutant.test")
	build := exec.CommandContext(ctx, "go", "test", "-overlay", overlay, "-c", "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("it doesn't compile: %w\n%s", err, out)
	}
	list, err := exec.CommandContext(ctx, binary, "-test.list", pattern(m.test)).Output()
	if err != nil || len(list) == 0 {
		return "", fmt.Errorf("there is no test %s (%w)", m.test, err)
	}
	// One that hangs is ended by the test's own timeout.
	out, err := exec.CommandContext(ctx, binary, "-test.run", pattern(m.test), "-test.timeout", testTimeout).CombinedOutput()
	exit := (*exec.ExitError)(nil)
	switch {
	case err == nil:
		return "", errors.New("the test passes")
	case !errors.As(err, &exit):
		return "", err
	case strings.Contains(string(out), "panic: test timed out"):
		return "caught: the test hangs", nil
	}
	return "caught", nil
}

func pattern(test string) string { return "^(" + test + ")$" }

// write writes the changed files to dir and returns the name of the overlay that puts them in place.
func write(dir string, m mutant) (string, error) {
	replace := map[string]string{}
	for i, e := range m.edits {
		path, err := filepath.Abs(e.file)
		if err != nil {
			return "", err
		}
		from := path
		if changed, again := replace[path]; again {
			from = changed
		}
		src, err := os.ReadFile(from)
		if err != nil {
			return "", err
		}
		if n := strings.Count(string(src), e.from); n != 1 {
			return "", fmt.Errorf("what it changes in %s occurs %d times", e.file, n)
		}
		to := filepath.Join(dir, fmt.Sprintf("%d_%s", i, filepath.Base(e.file)))
		if err := os.WriteFile(to, []byte(strings.Replace(string(src), e.from, e.to, 1)), 0o600); err != nil {
			return "", err
		}
		replace[path] = to
	}
	p, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, p, 0o600)
}
