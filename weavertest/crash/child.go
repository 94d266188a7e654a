package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// Program is what a Plan kills and starts again.
type Program struct {
	// Command returns what to start, a new one for each life. Input and output that it leaves nil are seen to: the
	// process has an input that ends when whoever started it does, and what it prints is kept for errors. It must be set.
	Command func() *exec.Cmd

	// Dir is the folder of a Child's test, the same in each life and in the test; empty in other Programs.
	Dir string

	success int // the exit code of one that came to its end
}

// Exit codes of a child. Success is none that the testing package uses, so that a child that never came to Child isn't taken for a
// success.
const (
	exitSuccess = 100
	exitFailure = 101
	exitOrphan  = 102
)

// Child makes a Program of a function in a test. In the child process, which is the test binary with this test alone, it
// calls life with the folder Dir and ends the process: what comes after Child is for the parent. There, it returns the
// Program, whose Dir is a new t.TempDir.
//
// The child goes through TestMain and all that the test does before Child, so nothing costly belongs there; see InChild.
// A test calls Child once, and may be a subtest if none above it does.
//
// Life returns nil when the pipeline has come to its end; an error fails the Run. Its ctx never ends. Should the parent end
// first, however that happens, the child ends at once.
func Child(t testing.TB, life func(ctx context.Context, dir string) error) Program {
	t.Helper()
	switch os.Getenv(envTest) {
	case "":
	case t.Name():
		live(life)
	default:
		t.Skipf("this process is a child for %s", os.Getenv(envTest))
	}
	binary, err := os.Executable()
	if err != nil {
		t.Fatalf("crash: which binary is this: %v", err)
	}
	name, dir := t.Name(), t.TempDir()
	return Program{
		Dir:     dir,
		success: exitSuccess,
		Command: func() *exec.Cmd {
			cmd := exec.Command(binary, "-test.run="+pattern(name), "-test.count=1", "-test.timeout=0") //nolint:noctx // a Plan kills it
			cmd.Env = environ(name, dir)
			return cmd
		},
	}
}

// InChild reports whether this process is the child of a Plan: TestMain may then leave out what costs time or is there already.
func InChild() bool { return os.Getenv(envTest) != "" }

// pattern is for -test.run to select one test.
func pattern(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

// live is all that the child does. The goroutine ends with the process.
func live(life func(ctx context.Context, dir string) error) {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(exitOrphan)
	}()
	dir := os.Getenv(envDir)
	err := errors.New("crash: " + envDir + " is not set: only a Plan starts children")
	if dir != "" {
		err = life(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitFailure)
	}
	os.Exit(exitSuccess)
}
