package avrofile_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/linkedin/goavro/v2"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/avrofile"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/serde/avro"
	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

// row is a crash.Record, whose fields have no tags for Avro.
type row struct {
	N    int64  `avro:"n"`
	Key  string `avro:"key"`
	Data string `avro:"data"`
	Sum  int64  `avro:"sum"`
}

const rowSchema = `{"type":"record","name":"row","fields":[{"name":"n","type":"long"},{"name":"key","type":"string"},{"name":"data","type":"string"},{"name":"sum","type":"long"}]}`

func rowOf(r crash.Record) row { return row{r.N, r.Key, r.Data, int64(r.Sum)} }

// TestCrashKilled kills a pipeline again and again that copies one container to another, or to parts, and requires that in the end there is the input, in order, each record once. goavro
// reads it.
func TestCrashKilled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		sink  func(dir string, codec *avro.Codec[row]) weaver.Sink[row]
		files func(out string) ([]string, error)
		done  func(out string) (int64, error)
	}{
		{
			name: "one file",
			sink: func(dir string, codec *avro.Codec[row]) weaver.Sink[row] {
				f := avrofile.New(filepath.Join(dir, "out.avro"), codec, avrofile.Options{Compression: avrofile.Snappy})
				f.BufferBytes = 4 << 10
				return f
			},
			files: func(out string) ([]string, error) { return []string{out + ".avro"}, nil },
			done: func(out string) (int64, error) {
				var n int64
				for _, err := range rowsIn(out + ".avro") {
					if err == nil { // what is written may end within a block
						n++
					}
				}
				return n, nil
			},
		},
		{
			name: "parts",
			sink: func(dir string, codec *avro.Codec[row]) weaver.Sink[row] {
				f := avrofile.New(filepath.Join(dir, "out", "{part}.avro"), codec, avrofile.Options{Compression: avrofile.Deflate})
				f.BufferBytes = 4 << 10
				parts := file.Parts(f)
				parts.MaxRecords = 700
				return parts
			},
			files: func(out string) ([]string, error) {
				parts, err := file.ReadManifest(out)
				var paths []string
				for _, p := range parts {
					paths = append(paths, p.Path)
				}
				return paths, err
			},
			done: func(out string) (int64, error) {
				parts, err := file.ReadManifest(out)
				if errors.Is(err, fs.ErrNotExist) {
					err = nil
				}
				var n int64
				for _, p := range parts {
					n += p.Records
				}
				return n, err
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			child := crash.Child(t, func(ctx context.Context, dir string) error {
				codec, err := avro.New[row](rowSchema)
				if err != nil {
					return err
				}
				source := avrofile.New(filepath.Join(dir, "in.avro"), codec, avrofile.Options{})
				p := weaver.NewPipeline(source, weaver.Pass[row](), tt.sink(dir, codec))
				p.Name = "crash"
				p.BatchSize = 37
				p.CheckpointInterval = 2 * time.Millisecond
				p.RateLimit.Records = 5_000
				p.Require = weaver.ExactlyOnce
				return p.Run(ctx)
			})
			l := crash.Ledger{Seed: killSeed(t), Records: 8_000, Keys: 20}
			kills := 4
			if os.Getenv("WEAVER_PROOF") != "" {
				l.Records, kills = 200_000, 100
			}
			writeRows(t, filepath.Join(child.Dir, "in.avro"), l)
			out := filepath.Join(child.Dir, "out")
			check := func() error {
				paths, err := tt.files(out)
				if err != nil {
					return err
				}
				tally, err := l.Check(crash.Rules{}, l.Verified(recordsIn(paths)))
				t.Logf("%+v", tally)
				return err
			}
			plan := crash.Plan{
				Kills: kills, Seed: l.Seed, Total: l.Records, Timeout: 10 * time.Minute,
				Progress: func() (int64, error) { return tt.done(out) },
				Again: func() error {
					return errors.Join(check(), os.RemoveAll(out), remove(out+".avro"), remove(out+".avro.checkpoint"))
				},
			}
			report, err := plan.Run(t.Context(), child)
			t.Logf("%d records: %v", l.Records, report)
			require.NoError(t, err, "WEAVER_TEST_SEED=%d", l.Seed)
			require.NoError(t, check(), "WEAVER_TEST_SEED=%d", l.Seed)
		})
	}
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func killSeed(t *testing.T) uint64 {
	t.Helper()
	if s := os.Getenv("WEAVER_TEST_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		return n
	}
	return rand.Uint64()
}

// writeRows makes the input with goavro, in blocks of 100.
func writeRows(t *testing.T, path string, l crash.Ledger) {
	t.Helper()
	var all []any
	for r := range l.All() {
		x := rowOf(r)
		all = append(all, map[string]any{"n": x.N, "key": x.Key, "data": x.Data, "sum": x.Sum})
	}
	goavroFile(t, path, "deflate", rowSchema, 100, all...)
}

func recordsIn(paths []string) iter.Seq2[crash.Record, error] {
	return func(yield func(crash.Record, error) bool) {
		for _, path := range paths {
			for r, err := range rowsIn(path) {
				if !yield(r, err) {
					return
				}
			}
		}
	}
}

// rowsIn yields the records of a container as goavro reads it.
func rowsIn(path string) iter.Seq2[crash.Record, error] {
	return func(yield func(crash.Record, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(crash.Record{}, err)
			return
		}
		defer f.Close()
		r, err := goavro.NewOCFReader(bufio.NewReader(f))
		if err != nil {
			yield(crash.Record{}, err)
			return
		}
		for r.Scan() {
			v, err := r.Read()
			if err != nil {
				yield(crash.Record{}, err)
				return
			}
			m, _ := v.(map[string]any)
			text, err := json.Marshal(m)
			var one crash.Record
			err = errors.Join(err, json.Unmarshal(text, &one))
			if !yield(one, err) {
				return
			}
		}
		if err := r.Err(); err != nil && !errors.Is(err, io.EOF) {
			yield(crash.Record{}, err)
		}
	}
}
