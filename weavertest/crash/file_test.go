package crash_test

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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

// measured is what the pipelines here make of a record.
type measured struct {
	crash.Record
	Length int `json:"length"`
}

func measure(r crash.Record) (measured, error) { return measured{r, len(r.Data)}, nil }

func decodeMeasured(line []byte) (crash.Record, error) {
	var m measured
	if err := json.Unmarshal(line, &m); err != nil {
		return crash.Record{}, err
	}
	if m.Length != len(m.Data) {
		return crash.Record{}, fmt.Errorf("length %d of %d bytes", m.Length, len(m.Data))
	}
	return m.Record, nil
}

func number(decode func([]byte) (crash.Record, error)) func(line []byte) (int64, error) {
	return func(line []byte) (int64, error) {
		r, err := decode(line)
		return r.N, err
	}
}

// writeInput writes the records of a ledger to the file in of a folder.
func writeInput(t *testing.T, dir string, l crash.Ledger, write func(w *bufio.Writer, r crash.Record) error) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "in"))
	require.NoError(t, err)
	w := bufio.NewWriter(f)
	for r := range l.All() {
		require.NoError(t, write(w, r))
	}
	require.NoError(t, w.Flush())
	require.NoError(t, f.Close())
}

func asNDJSON(w *bufio.Writer, r crash.Record) error { return json.NewEncoder(w).Encode(r) }

func asLine(w *bufio.Writer, r crash.Record) error {
	_, err := w.Write(append(r.AppendLine(w.AvailableBuffer()), '\n'))
	return err
}

func asCSV(w *bufio.Writer, r crash.Record) error {
	rows := csv.NewWriter(w)
	if r.N == 1 {
		_ = rows.Write([]string{"n", "key", "data", "sum"})
	}
	_ = rows.Write([]string{strconv.FormatInt(r.N, 10), r.Key, r.Data, strconv.FormatUint(uint64(r.Sum), 10)})
	rows.Flush()
	return rows.Error()
}

// steady sets what makes a pipeline's output grow in small steps.
func steady[In, Out any](p *weaver.Pipeline[In, Out]) *weaver.Pipeline[In, Out] {
	p.Name = "crash"
	p.BatchSize = 64
	p.CheckpointInterval = 2 * time.Millisecond
	p.RateLimit.Records = 10_000
	return p
}

// toNDJSON reads the file in, whatever it is, and writes out.
func toNDJSON(in *file.File[crash.Record], dir string) *weaver.Pipeline[crash.Record, measured] {
	return steady(weaver.NewPipeline(in, weaver.Map(measure), file.NDJSON[measured](filepath.Join(dir, "out"))))
}

// run kills a pipeline from the file in to the file out, and checks that.
func run(t *testing.T, child crash.Program, plan crash.Plan, l crash.Ledger, rules crash.Rules, decode func([]byte) (crash.Record, error)) {
	t.Helper()
	out := filepath.Join(child.Dir, "out")
	plan.Seed, plan.Total, plan.Progress = l.Seed, l.Records, crash.LastLine(out, number(decode))
	check := func() error {
		tally, err := l.Check(rules, l.Verified(crash.Lines(out, decode)))
		t.Logf("%+v", tally)
		return err
	}
	plan.Again = func() error { return errors.Join(check(), clean(child.Dir)) }
	report, err := plan.Run(t.Context(), child)
	t.Logf("%d records: %v", l.Records, report)
	require.NoError(t, err, "WEAVER_TEST_SEED=%d", l.Seed)
	require.NoError(t, check(), "WEAVER_TEST_SEED=%d", l.Seed)
}

// clean removes all but the input.
func clean(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		if entry.Name() != "in" {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, entry.Name())))
		}
	}
	return err
}

// remains counts what kills leave behind.
type remains struct {
	uncommitted int // the output is longer than the last commit says
	temporary   int // how many files there are at last that nobody knows any more
}

func (r *remains) look(dir string) func(crash.Kill) error {
	return func(crash.Kill) error {
		info, err := os.Stat(filepath.Join(dir, "out"))
		if err != nil {
			return ignoreMissing(err)
		}
		checkpoint, err := file.ReadCheckpoint(filepath.Join(dir, "out"))
		if err != nil {
			return ignoreMissing(err)
		}
		if info.Size() < checkpoint.Length {
			return fmt.Errorf("the output has %d bytes, and %d are committed", info.Size(), checkpoint.Length)
		}
		if info.Size() > checkpoint.Length {
			r.uncommitted++
		}
		names, err := filepath.Glob(filepath.Join(dir, ".weaver-*.tmp"))
		r.temporary = len(names)
		return err
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func TestCrashFileToFile(t *testing.T) {
	t.Parallel()
	child := crash.Child(t, func(ctx context.Context, dir string) error {
		return toNDJSON(file.NDJSON[crash.Record](filepath.Join(dir, "in")), dir).Run(ctx)
	})
	l := crash.Ledger{Seed: seed(t), Records: scale[int64](20_000, 200_000), Keys: 100}
	writeInput(t, child.Dir, l, asNDJSON)
	var found remains
	run(t, child, crash.Plan{Kills: scale(10, 100), AfterKill: found.look(child.Dir)}, l, crash.Rules{}, decodeMeasured)
	t.Logf("after a kill there was %+v", found)
}

func TestCrashOtherFormats(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		write  func(*bufio.Writer, crash.Record) error
		run    func(ctx context.Context, dir string) error
		decode func([]byte) (crash.Record, error)
	}{
		{
			"CSV to NDJSON", asCSV,
			func(ctx context.Context, dir string) error {
				return toNDJSON(file.CSV[crash.Record](filepath.Join(dir, "in")), dir).Run(ctx)
			},
			decodeMeasured,
		},
		{
			"lines to lines", asLine,
			func(ctx context.Context, dir string) error {
				return steady(weaver.Copy(file.Lines(filepath.Join(dir, "in")), file.Lines(filepath.Join(dir, "out")))).Run(ctx)
			},
			crash.ParseLine,
		},
		{
			"parallel processing", asNDJSON,
			func(ctx context.Context, dir string) error {
				p := toNDJSON(file.NDJSON[crash.Record](filepath.Join(dir, "in")), dir)
				p.Parallelism, p.Writers = 4, 4
				return p.Run(ctx)
			},
			decodeMeasured,
		},
		{
			"small buffers", asNDJSON,
			func(ctx context.Context, dir string) error {
				out := file.NDJSON[measured](filepath.Join(dir, "out"))
				out.BufferBytes = 1000
				p := steady(weaver.NewPipeline(file.NDJSON[crash.Record](filepath.Join(dir, "in")), weaver.Map(measure), out))
				p.CheckpointInterval = 20 * time.Millisecond
				return p.Run(ctx)
			},
			decodeMeasured,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			child := crash.Child(t, tt.run)
			l := crash.Ledger{Seed: seed(t), Records: scale[int64](8_000, 100_000), Keys: 100}
			writeInput(t, child.Dir, l, tt.write)
			run(t, child, crash.Plan{Kills: scale(4, 50)}, l, crash.Rules{}, tt.decode)
		})
	}
}

// Every thousandth record is poison, in a short test more.
func TestCrashDeadLetters(t *testing.T) {
	t.Parallel()
	every := scale[int64](250, 1000)
	child := crash.Child(t, func(ctx context.Context, dir string) error {
		p := toNDJSON(file.NDJSON[crash.Record](filepath.Join(dir, "in")), dir)
		p.Process = weaver.Map(func(r crash.Record) (measured, error) {
			if r.N%every == 0 {
				return measured{}, errors.New("poison")
			}
			return measure(r)
		})
		p.DeadLetter = file.NDJSON[weaver.Rejected[crash.Record]](filepath.Join(dir, "dead"))
		return p.Run(ctx)
	})
	l := crash.Ledger{Seed: seed(t), Records: scale[int64](10_000, 100_000), Keys: 100}
	writeInput(t, child.Dir, l, asNDJSON)
	run(t, child, crash.Plan{Kills: scale(4, 50)}, l, crash.Rules{Only: func(n int64) bool { return n%every != 0 }}, decodeMeasured)

	letter := func(line []byte) (crash.Record, error) {
		var r weaver.Rejected[crash.Record]
		if err := json.Unmarshal(line, &r); err != nil {
			return crash.Record{}, err
		}
		if r.Value == nil || r.Error == "" {
			return crash.Record{}, errors.New("no letter")
		}
		return *r.Value, nil
	}
	rules := crash.Rules{Only: func(n int64) bool { return n%every == 0 }, Repeats: true, Torn: true}
	tally, err := l.Check(rules, l.Verified(crash.Lines(filepath.Join(child.Dir, "dead"), letter)))
	t.Logf("dead letters: %+v", tally)
	require.NoError(t, err)
}
