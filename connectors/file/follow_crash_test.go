package file_test

import (
	"bytes"
	"context"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

// logWriter appends the records of a ledger to a log and rotates it.
type logWriter struct {
	path string
	kept int
	rng  *rand.Rand
	out  *os.File
}

func (w *logWriter) old(n int) string { return w.path + "." + strconv.Itoa(n) }

// shift gives all rotated files the next number.
func (w *logWriter) shift() error {
	for n := w.kept; n > 0; n-- {
		if err := os.Rename(w.old(n), w.old(n+1)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	w.kept++
	return nil
}

func (w *logWriter) rename() error {
	if err := w.shift(); err != nil {
		return err
	}
	if err := os.Rename(w.path, w.old(1)); err != nil {
		return err
	}
	if err := w.out.Close(); err != nil {
		return err
	}
	return w.open()
}

func (w *logWriter) copyTruncate() error {
	if err := w.shift(); err != nil {
		return err
	}
	data, err := os.ReadFile(w.path)
	if err != nil {
		return err
	}
	if err := os.WriteFile(w.old(1), data, 0o600); err != nil {
		return err
	}
	return os.Truncate(w.path, 0)
}

func (w *logWriter) open() (err error) {
	w.out, err = os.OpenFile(w.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return err
}

// write writes all records, in pieces that end anywhere, with so many rotations spread over them, in about so long.
func (w *logWriter) write(l crash.Ledger, rotations int64, rotate func() error, took time.Duration) error {
	if err := w.open(); err != nil {
		return err
	}
	began := time.Now()
	every := l.Records / (rotations + 1)
	var buf bytes.Buffer
	for r := range l.All() {
		buf.Write(r.AppendLine(nil))
		buf.WriteByte('\n')
		turn := r.N%every == 0 && r.N/every <= rotations
		if buf.Len() < 4096 && !turn && r.N < l.Records {
			continue
		}
		cut := w.rng.IntN(buf.Len() + 1)
		for _, part := range [][]byte{buf.Bytes()[:cut], buf.Bytes()[cut:]} {
			if _, err := w.out.Write(part); err != nil {
				return err
			}
		}
		buf.Reset()
		if turn {
			if err := rotate(); err != nil {
				return err
			}
		}
		time.Sleep(time.Duration(float64(took)*float64(r.N)/float64(l.Records)) - time.Since(began))
	}
	return w.out.Close()
}

// TestCrashFollow kills a pipeline that follows a log while it is written and rotated. Each line must be in the output once, and in order.
func TestCrashFollow(t *testing.T) {
	t.Parallel()
	records, rotations, kills, took := int64(10_000), int64(25), 4, 2*time.Second
	if os.Getenv("WEAVER_PROOF") != "" {
		records, rotations, kills, took = 200_000, 500, 50, 60*time.Second
	}
	for name, rotate := range map[string]func(*logWriter) error{"rename": (*logWriter).rename, "copytruncate": (*logWriter).copyTruncate} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := crash.Child(t, func(ctx context.Context, dir string) error {
				in := file.Lines(filepath.Join(dir, "app.log"))
				in.Follow = true
				p := weaver.NewPipeline(in, weaver.Pass[[]byte](), file.Lines(filepath.Join(dir, "out")))
				p.Name, p.BatchSize, p.CheckpointInterval, p.Require = "crash", 64, 2*time.Millisecond, weaver.ExactlyOnce
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				go func() { // it follows until the test has seen all there is
					for ctx.Err() == nil {
						if _, err := os.Stat(filepath.Join(dir, "enough")); err == nil {
							cancel()
						}
						time.Sleep(5 * time.Millisecond)
					}
				}()
				return p.Run(ctx)
			})
			l := crash.Ledger{Seed: 7, Records: records, Keys: 100}
			w := &logWriter{path: filepath.Join(child.Dir, "app.log"), rng: rand.New(rand.NewPCG(7, 0))}
			written := make(chan error, 1)
			began := time.Now()
			out := filepath.Join(child.Dir, "out")
			number := func(line []byte) (int64, error) {
				r, err := crash.ParseLine(line)
				return r.N, err
			}
			last, first := crash.LastLine(out, number), crash.LastLine(out, number)
			turn := func() error { // a log that is rotated before anybody follows it is rightly not read
				for n := int64(0); n == 0; time.Sleep(time.Millisecond) {
					var err error
					if n, err = first(); err != nil {
						return err
					}
				}
				return rotate(w)
			}
			started := false
			progress := func() (int64, error) {
				if !started {
					if _, err := os.Stat(out + ".checkpoint"); err == nil {
						started = true
						go func() { written <- w.write(l, rotations, turn, took) }()
					}
				}
				n, err := last()
				if n == records {
					if err := os.WriteFile(filepath.Join(child.Dir, "enough"), nil, 0o600); err != nil {
						return n, err
					}
				}
				return n, err
			}
			report, err := crash.Plan{Kills: kills, Seed: 7, Total: records, Progress: progress, Timeout: 8 * time.Minute}.Run(t.Context(), child)
			require.NoError(t, err)
			require.NoError(t, <-written)
			tally, err := l.Check(crash.Rules{}, l.Verified(crash.Lines(out, crash.ParseLine)))
			t.Logf("%d lines, %d rotations: %v; %+v; %v", records, rotations, report, tally, time.Since(began).Round(time.Millisecond))
			require.NoError(t, err)
			_, err = os.Stat(w.old(int(rotations) + 1))
			require.ErrorIs(t, err, fs.ErrNotExist)
			_, err = os.Stat(w.old(int(rotations)))
			require.NoError(t, err, "there were as many rotations")
		})
	}
}
