package file_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/weavertest"
)

type row struct {
	ID   int64   `csv:"id" json:"id"`
	Text string  `csv:"text" json:"text"`
	X    float64 `csv:"x" json:"x"`
}

func rowOf(i int) row {
	return row{ID: int64(i), Text: fmt.Sprintf("%d \"ü\"\n,", i), X: float64(i) / 3}
}

func lineOf(i int) []byte { return fmt.Appendf(nil, "line %d", i) }

func wordOf(i int) []byte { return fmt.Appendf(nil, "%04d", i) }

func wanted[T any](n int, value func(int) T) []weaver.Record[T] {
	var all []weaver.Record[T]
	for i := range n {
		all = append(all, weaver.Record[T]{Value: value(i)})
	}
	return all
}

func TestSourceContract(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var csv, ndjson, lines, array, fixed, prefixed strings.Builder
	csv.WriteString("x,id,text\n")
	for i := range 20 {
		r := rowOf(i)
		fmt.Fprintf(&csv, "%v,%d,\"%s\"\n", r.X, r.ID, strings.ReplaceAll(r.Text, `"`, `""`))
		fmt.Fprintf(&ndjson, "{\"id\":%d,\"text\":%q,\"x\":%v}\r\n", r.ID, r.Text, r.X)
		fmt.Fprintf(&lines, "%s\n", lineOf(i))
		fmt.Fprintf(&array, "%c{\"id\":%d,\"text\":%q,\"x\":%v}\n", "[,"[min(i, 1)], r.ID, r.Text, r.X)
		fixed.Write(wordOf(i))
		prefixed.WriteString("\x04" + string(wordOf(i)))
	}
	array.WriteString("]\n")
	for name, data := range map[string]string{"csv": csv.String(), "ndjson": ndjson.String(), "lines": lines.String(), "array": array.String(), "fixed": fixed.String(), "prefixed": prefixed.String(), "a.txt": "line 0\nline 1\n", "b.txt": "line 2"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600))
	}
	sourceContract(t, "CSV", map[string][]weaver.Record[row]{"": wanted(20, rowOf)}, func() weaver.Source[row] { return file.CSV[row](filepath.Join(dir, "csv")) })
	sourceContract(t, "NDJSON", map[string][]weaver.Record[row]{"": wanted(20, rowOf)}, func() weaver.Source[row] { return file.NDJSON[row](filepath.Join(dir, "ndjson")) })
	sourceContract(t, "Lines", map[string][]weaver.Record[[]byte]{"": wanted(20, lineOf)}, func() weaver.Source[[]byte] { return file.Lines(filepath.Join(dir, "lines")) })
	sourceContract(t, "JSONArray", map[string][]weaver.Record[row]{"": wanted(20, rowOf)}, func() weaver.Source[row] { return file.JSONArray[row](filepath.Join(dir, "array")) })
	sourceContract(t, "Fixed", map[string][]weaver.Record[[]byte]{"": wanted(20, wordOf)}, func() weaver.Source[[]byte] { return file.Fixed[[]byte](filepath.Join(dir, "fixed"), 4) })
	sourceContract(t, "Prefixed", map[string][]weaver.Record[[]byte]{"": wanted(20, wordOf)}, func() weaver.Source[[]byte] {
		return file.Prefixed[[]byte](filepath.Join(dir, "prefixed"), file.Uvarint)
	})
	sourceContract(t, "pattern", map[string][]weaver.Record[[]byte]{"": wanted(3, lineOf)}, func() weaver.Source[[]byte] { return file.Lines(filepath.Join(dir, "*.txt")) })
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.txt"), []byte("line 0\nline 1\nline 2"), 0o600))
	sourceContract(t, "Parallel", map[string][]weaver.Record[[]byte]{
		filepath.ToSlash(filepath.Join(dir, "a.txt")): wanted(3, lineOf),
		filepath.ToSlash(filepath.Join(dir, "b.txt")): wanted(3, lineOf)[2:],
	}, func() weaver.Source[[]byte] {
		f := file.Lines(filepath.Join(dir, "*.txt"))
		f.Parallel = true
		return f
	})
}

func sourceContract[T any](t *testing.T, name string, want map[string][]weaver.Record[T], source func() weaver.Source[T]) {
	t.Helper()
	require.NoError(t, weavertest.TestSource(t.Context(), weavertest.SourceCase[T]{
		New:  func(context.Context) (weaver.Source[T], error) { return source(), nil },
		Want: want,
	}), name)
}

func TestSinkContract(t *testing.T) {
	t.Parallel()
	nan := func() weaver.Record[row] { return weaver.Record[row]{Value: row{X: math.NaN()}} }
	sinkContract(t, "CSV", file.CSV[row], rowOf, nil)
	sinkContract(t, "NDJSON", file.NDJSON[row], rowOf, nan)
	sinkContract(t, "Lines", file.Lines, lineOf, func() weaver.Record[[]byte] { return weaver.Record[[]byte]{Value: []byte("a\nb")} })
	fixed := func(path string) *file.File[[]byte] { return file.Fixed[[]byte](path, 4) }
	sinkContract(t, "Fixed", fixed, wordOf, func() weaver.Record[[]byte] { return weaver.Record[[]byte]{Value: []byte("abc")} })
	prefixed := func(path string) *file.File[[]byte] { return file.Prefixed[[]byte](path, file.Uint16LE) }
	sinkContract(t, "Prefixed", prefixed, wordOf, func() weaver.Record[[]byte] { return weaver.Record[[]byte]{Value: make([]byte, 1<<16)} })
}

func sinkContract[T any](t *testing.T, name string, open func(string) *file.File[T], value func(int) T, poison func() weaver.Record[T]) {
	t.Helper()
	dir := t.TempDir()
	n := 0
	require.NoError(t, weavertest.TestSink(t.Context(), weavertest.SinkCase[T]{
		New: func(context.Context) (weaver.Sink[T], func(context.Context) ([]weaver.Record[T], error), error) {
			n++
			path := filepath.Join(dir, fmt.Sprint(n))
			return open(path), func(ctx context.Context) ([]weaver.Record[T], error) { return durable(ctx, open, path) }, nil
		},
		Record: func(i int) weaver.Record[T] { return weaver.Record[T]{Value: value(i)} },
		Poison: poison,
		Skip:   []string{"splits", "concurrent"}, // one file takes one split
	}), name)
}

// durable reads the part of a file that counts.
func durable[T any](ctx context.Context, open func(string) *file.File[T], path string) ([]weaver.Record[T], error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if c, err := file.ReadCheckpoint(path); err == nil {
		data = data[:c.Length]
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	part := path + ".part"
	if err := os.WriteFile(part, data, 0o600); err != nil {
		return nil, err
	}
	r, err := open(part).OpenReader(ctx, weaver.Lane{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := weaver.NewBatch[T](0, 0)
	if _, err := r.Read(ctx, b); !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b.Records, nil
}
