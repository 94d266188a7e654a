package file_test

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

// TestCrashKilledParts kills a pipeline into parts again and again, and requires that in the end the complete parts hold the input, in order, each record once.
func TestCrashKilledParts(t *testing.T) {
	t.Parallel()
	toLines := weaver.Map(func(r crash.Record) ([]byte, error) { return r.AppendLine(nil), nil })
	for _, tt := range []struct {
		name   string
		run    func(ctx context.Context, dir string) error
		decode func(r io.Reader, yield func(crash.Record, error) bool) bool
		order  crash.Order
	}{
		{
			name: "NDJSON and zstd",
			run: func(ctx context.Context, dir string) error {
				return toParts(ctx, dir, weaver.Pass[crash.Record](), file.NDJSON[crash.Record](filepath.Join(dir, "out", "{part}.ndjson.zst")), 500)
			},
			decode: decodeNDJSON,
		},
		{
			name: "CSV and gzip, by key",
			run: func(ctx context.Context, dir string) error {
				return toParts(ctx, dir, weaver.KeyBy(func(r crash.Record) string { return r.Key }), file.CSV[crash.Record](filepath.Join(dir, "out", "{key}", "x-{part}.csv.gz")), 100)
			},
			decode: decodeCSV,
			order:  crash.PerKey,
		},
		{
			name: "lines",
			run: func(ctx context.Context, dir string) error {
				return toParts(ctx, dir, toLines, file.Lines(filepath.Join(dir, "out", "{now:2006}", "{part}.txt")), 1000)
			},
			decode: decodeLines,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			child := crash.Child(t, tt.run)
			l := crash.Ledger{Seed: killSeed(t), Records: 8_000, Keys: 20}
			kills := 4
			if os.Getenv("WEAVER_PROOF") != "" {
				l.Records, kills = 200_000, 100
			}
			writeLedger(t, filepath.Join(child.Dir, "in"), l)
			out := filepath.Join(child.Dir, "out")
			check := func() error {
				tally, err := l.Check(crash.Rules{Order: tt.order}, l.Verified(recordsOf(out, tt.decode)))
				t.Logf("%+v", tally)
				return errors.Join(err, onlyListed(out))
			}
			plan := crash.Plan{
				Kills: kills, Seed: l.Seed, Total: l.Records, Timeout: 10 * time.Minute,
				Progress: func() (int64, error) { return completeIn(out) },
				Again:    func() error { return errors.Join(check(), os.RemoveAll(out)) },
			}
			report, err := plan.Run(t.Context(), child)
			t.Logf("%d records: %v", l.Records, report)
			require.NoError(t, err, "WEAVER_TEST_SEED=%d", l.Seed)
			require.NoError(t, check(), "WEAVER_TEST_SEED=%d", l.Seed)
		})
	}
}

func toParts[T any](ctx context.Context, dir string, process weaver.Processor[crash.Record, T], each *file.File[T], records int64) error {
	each.BufferBytes = 4 << 10
	parts := file.Parts(each)
	parts.MaxRecords, parts.MaxBytes, parts.MaxOpen = records, 40<<10, 8
	p := weaver.NewPipeline(file.NDJSON[crash.Record](filepath.Join(dir, "in")), process, parts)
	p.Name = "crash"
	p.BatchSize = 64
	p.CheckpointInterval = 2 * time.Millisecond
	p.RateLimit.Records = 10_000
	p.Require = weaver.ExactlyOnce
	return p.Run(ctx)
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

func writeLedger(t *testing.T, path string, l crash.Ledger) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	w := bufio.NewWriter(f)
	for r := range l.All() {
		require.NoError(t, json.NewEncoder(w).Encode(r))
	}
	require.NoError(t, w.Flush())
	require.NoError(t, f.Close())
}

// completeIn counts the records that parts are complete of.
func completeIn(out string) (int64, error) {
	parts, err := file.ReadManifest(out)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	var n int64
	for _, p := range parts {
		n += p.Records
	}
	return n, err
}

// onlyListed finds out whether the files in the folder are those that the manifest lists.
func onlyListed(out string) error {
	parts, err := file.ReadManifest(out)
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for _, p := range parts {
		listed[p.Path] = true
	}
	own := filepath.Join(out, ".weaver")
	err = filepath.WalkDir(out, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == own:
			return fs.SkipDir
		case !e.IsDir() && !listed[path]:
			return errors.New(path + " isn't in the manifest")
		}
		delete(listed, path)
		return nil
	})
	if err == nil && len(listed) > 0 {
		err = errors.New("parts of the manifest are missing")
	}
	return err
}

// recordsOf yields the records of all complete parts, in the order of the manifest.
func recordsOf(out string, decode func(io.Reader, func(crash.Record, error) bool) bool) iter.Seq2[crash.Record, error] {
	return func(yield func(crash.Record, error) bool) {
		parts, err := file.ReadManifest(out)
		if err != nil {
			yield(crash.Record{}, err)
			return
		}
		for _, p := range parts {
			if !readPart(p.Path, decode, yield) {
				return
			}
		}
	}
}

func readPart(path string, decode func(io.Reader, func(crash.Record, error) bool) bool, yield func(crash.Record, error) bool) bool {
	f, err := os.Open(path)
	if err != nil {
		return yield(crash.Record{}, err)
	}
	defer f.Close()
	var r io.Reader = f
	switch filepath.Ext(path) {
	case ".gz":
		z, err := gzip.NewReader(f)
		if err != nil {
			return yield(crash.Record{}, err)
		}
		r = z
	case ".zst":
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return yield(crash.Record{}, err)
		}
		defer z.Close()
		r = z
	}
	return decode(r, yield)
}

func decodeNDJSON(r io.Reader, yield func(crash.Record, error) bool) bool {
	for d := json.NewDecoder(r); ; {
		var one crash.Record
		err := d.Decode(&one)
		if errors.Is(err, io.EOF) {
			return true
		}
		if !yield(one, err) || err != nil {
			return false
		}
	}
}

func decodeCSV(r io.Reader, yield func(crash.Record, error) bool) bool {
	rows, err := csv.NewReader(r).ReadAll()
	if err != nil || len(rows) == 0 || strings.Join(rows[0], ",") != "n,key,data,sum" {
		return yield(crash.Record{}, errors.Join(errors.New("no header"), err))
	}
	for _, row := range rows[1:] {
		n, err := strconv.ParseInt(row[0], 10, 64)
		sum, sumErr := strconv.ParseUint(row[3], 10, 32)
		if !yield(crash.Record{N: n, Key: row[1], Data: row[2], Sum: uint32(sum)}, errors.Join(err, sumErr)) {
			return false
		}
	}
	return true
}

func decodeLines(r io.Reader, yield func(crash.Record, error) bool) bool {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if !yield(crash.ParseLine(s.Bytes())) {
			return false
		}
	}
	return s.Err() == nil || yield(crash.Record{}, s.Err())
}
