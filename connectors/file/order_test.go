package file

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
)

// agedFile is a file of a tree, last modified so many minutes after the others' beginning.
type agedFile struct {
	name    string
	minutes int
}

// plant makes files of three lines each, and returns these in the order of the files given.
func plant(t testing.TB, root string, files ...agedFile) (lines []string) {
	t.Helper()
	begin := time.Now().Add(-100 * time.Hour).Truncate(time.Second)
	for _, f := range files {
		path := filepath.Join(root, filepath.FromSlash(f.name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		text := ""
		for i := range 3 {
			line := fmt.Sprintf("%s: line %d of a file that begins like no other", f.name, i)
			lines, text = append(lines, line), text+line+"\n"
		}
		realFile(t, path, text)
		at := begin.Add(time.Duration(f.minutes) * time.Minute)
		require.NoError(t, os.Chtimes(path, at, at))
	}
	return lines
}

// The files of a tree come in the order of their times through a pipeline that fails over and over, and of their names where those are the same, whatever their folders are called.
func TestOrderByTimeThroughAPipeline(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	want := plant(t, root,
		agedFile{"z/9/x.log", 0}, agedFile{"m/b.log", 1},
		agedFile{"a/b/c.log", 2}, agedFile{"a/d.log", 2}, agedFile{"b/a.log", 2}, // by name
		agedFile{"z/1.log", 3}, agedFile{"y.log", 4}, agedFile{"a/a.log", 5})
	store := checkpoint.NewMemory()
	var got []string
	run := func(until int) error {
		f := Lines(filepath.Join(root, "**", "*.log"))
		f.Order = ByTime
		p := weaver.Copy(f, weaver.SinkFunc[[]byte](func(_ context.Context, b *weaver.Batch[[]byte]) error {
			if len(got) >= until {
				return retry.Fatal(errors.New("the end of this life"))
			}
			for _, r := range b.Records {
				got = append(got, string(r.Value))
			}
			return nil
		}))
		p.Name, p.Checkpoint, p.BatchSize, p.CheckpointInterval = "p", store, 2, time.Nanosecond
		p.Log = slog.New(slog.DiscardHandler)
		return p.Run(t.Context())
	}
	for until := 3; until < len(want)-2; until += 5 { // in the middle of files, too
		require.Error(t, run(until))
		require.Equal(t, want[:len(got)], got)
	}
	require.NoError(t, run(len(want)+1))
	require.Equal(t, want, got)

	// What is new comes by its time as well, also if that lies before all that was read.
	want = append(want, plant(t, root, agedFile{"y/late.log", -1}, agedFile{"b/new.log", 6}, agedFile{"a/new.log", 7})...)
	require.NoError(t, run(len(want)+1))
	require.Equal(t, want, got)
	require.NoError(t, run(0), "nothing is left")
}

// The same with files that come while the pipeline runs.
func TestOrderByTimeOfWhatComes(t *testing.T) {
	t.Parallel()
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, aside := t.TempDir(), t.TempDir()
			want := plant(t, root, agedFile{"z/1.log", 0}, agedFile{"b.log", 1}, agedFile{"c.log", 1}, agedFile{"a/a.log", 2})
			f := kind(Lines(filepath.Join(root, "**", "*.log")))
			f.Buckets, f.Order = 1, ByTime
			store := checkpoint.NewMemory()
			c := &collected{}
			_, stop := running(t, f, c, store)
			wants := func() {
				t.Helper()
				require.Eventually(t, func() bool { return len(c.all()) >= len(want) }, time.Minute, time.Millisecond)
				require.Equal(t, want, c.all())
			}
			wants()
			for i := range 3 { // folders that come with all that they have, so that one look finds it
				folder := fmt.Sprintf("%d", 9-i)
				lines := plant(t, aside, agedFile{folder + "/z/y.log", -1 - i}, agedFile{folder + "/x.log", 10}, agedFile{folder + "/y.log", 10}, agedFile{folder + "/b.log", 11}, agedFile{folder + "/a/z.log", 12})
				if i == 2 {
					require.NoError(t, stop()) // the last while it doesn't run
				}
				require.NoError(t, os.Rename(filepath.Join(aside, folder), filepath.Join(root, folder)))
				want = append(want, lines...)
				if i == 2 {
					_, stop = running(t, f, c, store)
				}
				wants()
			}
			require.NoError(t, stop())
			require.Equal(t, want, c.all())
		})
	}
}
