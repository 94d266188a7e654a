package crash_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

// appendTo opens a file to append to. What a kill left of a line gets an end, so that nothing is glued to it.
func appendTo(path string) (*os.File, error) {
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err == nil && len(data) > 0 && data[len(data)-1] != '\n' {
		_, err = f.WriteString("\n")
	}
	return f, err
}

func appendLines(dst []byte, b *weaver.Batch[measured]) ([]byte, error) {
	for i := range b.Records {
		line, err := json.Marshal(b.Records[i].Value)
		if err != nil {
			return nil, err
		}
		dst = append(append(dst, line...), '\n')
	}
	return dst, nil
}

// inHalves is not what a sink would do, but it makes kills that leave half a batch likely.
func inHalves(f io.Writer, data []byte) error {
	half := len(data) / 2
	if _, err := f.Write(data[:half]); err != nil {
		return err
	}
	_, err := f.Write(data[half:])
	return err
}

// appending is a plain sink: what it has written can't be taken back, and it keeps no position.
func appending(path string) (weaver.Sink[measured], error) {
	f, err := appendTo(path)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	return weaver.SinkFunc[measured](func(_ context.Context, b *weaver.Batch[measured]) error {
		data, err := appendLines(nil, b)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		return inHalves(f, data)
	}), nil
}

// stored has its position in a store of its own.
func stored(dir string, sink weaver.Sink[measured]) *weaver.Pipeline[crash.Record, measured] {
	p := steady(weaver.NewPipeline(file.NDJSON[crash.Record](filepath.Join(dir, "in")), weaver.Map(measure), sink))
	p.Checkpoint = checkpoint.NewFile(filepath.Join(dir, "positions"))
	return p
}

func TestCrashAtLeastOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		rules crash.Rules
		set   func(p *weaver.Pipeline[crash.Record, measured])
	}{
		{"one writer", crash.Rules{Repeats: true, Torn: true}, func(*weaver.Pipeline[crash.Record, measured]) {}},
		{
			"four writers",
			crash.Rules{Order: crash.PerKey, Repeats: true, Torn: true},
			func(p *weaver.Pipeline[crash.Record, measured]) {
				p.Process = weaver.Then(weaver.KeyBy(func(r crash.Record) string { return r.Key }), p.Process)
				p.Parallelism, p.Writers = 3, 4
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			child := crash.Child(t, func(ctx context.Context, dir string) error {
				sink, err := appending(filepath.Join(dir, "out"))
				if err != nil {
					return err
				}
				p := stored(dir, sink)
				tt.set(p)
				return p.Run(ctx)
			})
			l := crash.Ledger{Seed: seed(t), Records: scale[int64](8_000, 100_000), Keys: 100}
			writeInput(t, child.Dir, l, asNDJSON)
			run(t, child, crash.Plan{Kills: scale(4, 50)}, l, tt.rules, decodeMeasured)
		})
	}
}

// The same with a sink that takes records for written before they are: the kit must catch it.
func TestCrashCatches(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		sink func(dir string) weaver.Sink[measured]
		want error
	}{
		{"a sink that acknowledges before it writes", func(dir string) weaver.Sink[measured] { return &hasty{path: filepath.Join(dir, "out")} }, crash.ErrLost},
		{"a position that is saved before the records", func(dir string) weaver.Sink[measured] { return broken{dir: dir, positionFirst: true, cuts: true} }, crash.ErrLost},
		{"a sink that doesn't take back what counts for nothing", func(dir string) weaver.Sink[measured] { return broken{dir: dir} }, crash.ErrDoubled},
		{"a sink that takes back too much", func(dir string) weaver.Sink[measured] { return broken{dir: dir, cuts: true, tooFar: 10} }, crash.ErrTorn},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			child := crash.Child(t, func(ctx context.Context, dir string) error {
				return stored(dir, tt.sink(dir)).Run(ctx)
			})
			l := crash.Ledger{Seed: seed(t), Records: 6_000, Keys: 100}
			writeInput(t, child.Dir, l, asNDJSON)
			out := filepath.Join(child.Dir, "out")
			check := func() error {
				_, err := l.Check(crash.Rules{}, l.Verified(crash.Lines(out, decodeMeasured)))
				return err
			}
			var before error
			plan := crash.Plan{Kills: 5, Early: -1, Seed: l.Seed, Total: l.Records, Progress: crash.LastLine(out, number(decodeMeasured)), Again: func() error {
				before = errors.Join(before, check())
				return clean(child.Dir)
			}}
			report, err := plan.Run(t.Context(), child)
			require.NoError(t, err)
			err = errors.Join(before, check())
			t.Logf("%v: %v", report, err)
			require.ErrorIs(t, err, tt.want)
		})
	}
}
