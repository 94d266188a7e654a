package main

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/connectors/file"
)

// smallFiles is for folders in which something drops a file every few seconds: opening costs more than reading.
func smallFiles(d *folder) scenario {
	return scenario{
		name:     "small-files",
		what:     "20,000 files of 10 lines with a checkpoint, against WalkDir and ReadFile without one",
		records:  200_000,
		bars:     []bar{speedAtLeast(0.7), checkpointAtMost(1 << 20)},
		pairs:    2 * bigPairs,
		ours:     func(n int) (outcome, error) { return runSmallFiles(d, n) },
		baseline: func(n int) (outcome, error) { return runWalk(d, n) },
	}
}

const linesPerFile = 10

// bag is what is known of lines in any order.
type bag struct {
	lines int
	sum   uint64 // of their checksums
}

func (b *bag) add(line []byte) {
	b.lines++
	b.sum += uint64(crc32.Checksum(line, castagnoli))
}

func (b bag) check(who string, want bag) error {
	if b != want {
		return fmt.Errorf("%s: %d lines came, with checksum %x, instead of %d with %x", who, b.lines, b.sum, want.lines, want.sum)
	}
	return nil
}

// manyFiles makes n lines in files of ten, unless they are there. Counting goes by the lines as they are made.
func manyFiles(d *folder, n int) (dir string, want bag, err error) {
	dir = d.file(fmt.Sprintf("%d-small", n))
	if want, ok := d.bags[n]; ok {
		return dir, want, nil
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", bag{}, err
	}
	var content []byte
	for people := newPeople(); people.made < int64(n); {
		content = content[:0]
		for range linesPerFile {
			if people.made == int64(n) {
				break
			}
			people.next()
			start := len(content)
			content = people.appendNDJSON(content)
			want.add(content[start : len(content)-1])
		}
		path := filepath.Join(dir, fmt.Sprintf("part-%06d.ndjson", people.made))
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return "", bag{}, err
		}
	}
	d.bags[n] = want
	return dir, want, nil
}

func runSmallFiles(d *folder, n int) (outcome, error) {
	dir, want, err := manyFiles(d, n)
	if err != nil {
		return outcome{}, err
	}
	var got bag
	in := file.Lines(filepath.Join(dir, "*.ndjson"))
	in.Buckets = 16
	p := weaver.Copy(in, weaver.SinkFunc[[]byte](func(_ context.Context, b *weaver.Batch[[]byte]) error {
		for i := range b.Records {
			got.add(b.Records[i].Value)
		}
		return nil
	}))
	store := &sizes{Store: checkpoint.NewMemory(), of: map[string]int{}}
	p.Name, p.Checkpoint = "small-files", store
	err = p.Run(context.Background())
	return outcome{verify: func() error { return got.check("weaver", want) }, checkpoint: store.most}, err
}

// sizes is a Store that knows how much it holds.
type sizes struct {
	checkpoint.Store
	mu    sync.Mutex
	of    map[string]int // values, by key
	total int
	most  int
}

func (s *sizes) Save(ctx context.Context, key string, value []byte, v checkpoint.Version) (checkpoint.Version, error) {
	next, err := s.Store.Save(ctx, key, value, v)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.total += len(value) - s.of[key]
		s.of[key] = len(value)
		s.most = max(s.most, s.total)
	}
	return next, err
}

func runWalk(d *folder, n int) (outcome, error) {
	dir, want, err := manyFiles(d, n)
	if err != nil {
		return outcome{}, err
	}
	var got bag
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for len(content) > 0 {
			line, rest, _ := bytes.Cut(content, []byte("\n"))
			got.add(line)
			content = rest
		}
		return nil
	})
	return outcome{verify: func() error { return got.check("by hand", want) }}, err
}
