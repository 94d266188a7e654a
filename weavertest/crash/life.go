package crash

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// life is one process, from its start to its end.
type life struct {
	program Program
	cmd     *exec.Cmd
	stdin   io.Closer // which the process may take the end of as that of its parent
	printed ending
	began   time.Time
	dead    chan struct{} // closed when the process is no more, after err is set
	err     error         // of Wait
}

// start starts a process, and a goroutine that waits for it, which end waits for.
func start(p Program) (*life, error) {
	l := &life{program: p, cmd: p.Command(), dead: make(chan struct{})}
	if l.cmd.Stdout == nil {
		l.cmd.Stdout = &l.printed
	}
	if l.cmd.Stderr == nil {
		l.cmd.Stderr = &l.printed
	}
	l.cmd.WaitDelay = 5 * time.Second // a child of its own may hold on to what it prints to
	if l.cmd.Stdin == nil {
		stdin, err := l.cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		l.stdin = stdin
	}
	l.began = time.Now()
	if err := l.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(l.dead)
		l.err = l.cmd.Wait()
	}()
	return l, nil
}

// kill kills the process, waits for its end and reports whether that was the reason for it. If it ended by itself before, and well,
// it reports false; if it failed, an error.
func (l *life) kill() (bool, error) {
	sent := l.end()
	state := l.cmd.ProcessState
	switch {
	case state.ExitCode() == l.program.success:
		return false, nil
	case state.ExitCode() == 0 && l.program.success != 0:
		return false, l.explain(errors.New("the child ended without a call of Child: call Child once in a test, first thing, and not in a test that has subtests which do"))
	case sent && (!state.Exited() || runtime.GOOS == "windows" && state.ExitCode() == 1):
		return true, nil
	}
	return false, l.explain(fmt.Errorf("the program failed by itself: %w", l.err))
}

// end makes sure that the process is no more, and reports whether it was killed for that.
func (l *life) end() bool {
	select {
	case <-l.dead:
		return false
	default:
	}
	sent := l.cmd.Process.Kill() == nil
	<-l.dead
	if l.stdin != nil {
		_ = l.stdin.Close() // which Wait did
	}
	return sent
}

// explain adds what the process printed last.
func (l *life) explain(err error) error {
	l.end()
	if text := l.printed.String(); text != "" {
		return fmt.Errorf("%w\nIt printed:\n%s", err, text)
	}
	return err
}

// ending is the end of what was written to it.
type ending struct {
	mu  sync.Mutex // two streams may be written by two goroutines
	buf []byte
	cut bool
}

var _ io.Writer = (*ending)(nil)

const endingBytes = 32 << 10

func (e *ending) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buf = append(e.buf, p...)
	if len(e.buf) > 2*endingBytes {
		e.buf = append(e.buf[:0], e.buf[len(e.buf)-endingBytes:]...)
		e.cut = true
	}
	return len(p), nil
}

func (e *ending) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	text := e.buf[max(0, len(e.buf)-endingBytes):]
	if e.cut || len(text) < len(e.buf) {
		return "…" + string(text)
	}
	return string(text)
}

// environment variables by which a child knows what it is.
const (
	envTest = "WEAVER_CRASH_TEST"
	envDir  = "WEAVER_CRASH_DIR"
)

// environ is the child's: a race that the detector finds ends it, before a kill hides that.
func environ(test, dir string) []string {
	return append(os.Environ(), envTest+"="+test, envDir+"="+dir, "GORACE=halt_on_error=1 "+os.Getenv("GORACE"))
}
