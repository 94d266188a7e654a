//go:build unix

package file

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

// proof reports whether tests run at full length, with the machine to themselves.
func proof() bool { return os.Getenv("WEAVER_PROOF") != "" }

// TestProofFollowLatency measures how long it takes from a line being written to Read returning it.
func TestProofFollowLatency(t *testing.T) {
	t.Parallel()
	for name, quiet := range map[string]bool{"told": false, "deaf": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLog(t, "app.log")
			f := Lines(l.path)
			f.Follow, f.following.hub.deaf = true, quiet
			x := read(t, f, weaver.Split{}, nil)
			n := 30
			if proof() {
				n = 300
			}
			var took []time.Duration
			for i := range n {
				time.Sleep(time.Duration(i*7%40) * time.Millisecond)
				began := time.Now()
				l.write(fmt.Sprintln("line", i))
				x.lines(i + 1)
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			median, p99 := took[n/2], took[n*99/100]
			t.Logf("median %v, p99 %v, longest %v", median, p99, took[n-1])
			require.LessOrEqual(t, median, time.Second)
			if proof() {
				require.LessOrEqual(t, median, 50*time.Millisecond)
				most := 50 * time.Millisecond
				if quiet {
					most *= 2 // 25 of them between two looks, and what else the machine has to do
				}
				require.LessOrEqual(t, p99, most)
			}
		})
	}
}

// TestProofFollowIdle measures what it costs to follow files to which nothing is written, and how soon a line is seen then.
func TestProofFollowIdle(t *testing.T) {
	if !proof() {
		t.Skip("it takes half a minute: WEAVER_PROOF=1")
	}
	for name, quiet := range map[string]bool{"told": false, "deaf": true} {
		t.Run(name, func(t *testing.T) {
			const files = 1000
			dir := t.TempDir()
			f := Lines(filepath.Join(dir, "*.log"))
			f.Follow, f.following.hub.deaf, f.MaxOpen = true, quiet, files
			var xs []*reading
			for i := range files {
				path := realFile(t, filepath.Join(dir, fmt.Sprintf("%04d.log", i)), "a line\n")
				xs = append(xs, read(t, f, weaver.Split{ID: splitOfPath(path), Handle: &tracked{}}, nil))
			}
			for _, x := range xs {
				x.lines(1)
			}
			usage := func() time.Duration {
				var u syscall.Rusage
				require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
				return time.Duration(u.Utime.Nano() + u.Stime.Nano())
			}
			time.Sleep(26 * time.Second)
			before := usage()
			time.Sleep(5 * time.Second)
			share := float64(usage()-before) / float64(5*time.Second)
			began := time.Now()
			appendTo(t, filepath.Join(dir, "0500.log"), "one more\n")
			xs[500].lines(2)
			t.Logf("%d idle files take %.2f %% of a core; the next line is seen after %v", files, 100*share, time.Since(began))
			require.Less(t, share, 0.05)
		})
	}
}
