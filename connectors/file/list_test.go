package file

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/weavertest"
)

func TestPatternsOfTrees(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"a.log": "1\n", "x/a.log": "2\n", "x/b.txt": "3\n", "x/y/a.log": "4\n", "x/y/z/c.log": "5\n", ".weaver/part": "no\n", "x/.weaver/p.log": "no\n", "w/.h.log": "6\n",
	}
	dir := folder(t, files)
	tree := fstest.MapFS{}
	for name, data := range files {
		tree[name] = &fstest.MapFile{Data: []byte(data), Mode: 0o600}
	}
	for pattern, want := range map[string]string{
		"**/*.log":     "1 6 2 4 5",
		"**":           "1 6 2 3 4 5",
		"**/y/**":      "4 5",
		"*/**/a.log":   "2 4",
		"x/**/*.log":   "2 4 5",
		"**/**/a.log":  "1 2 4",
		"x/*/[a-b]*":   "4",
		"x/?/a.log":    "4",
		"./x//b.*":     "3",
		"**/z/../a.l*": "4",
	} {
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			items, positions := drain(t, Lines(dir+string(filepath.Separator)+filepath.FromSlash(pattern)), nil, 1)
			require.Equal(t, want, strings.Join(values(items), " "))
			rest, _ := drain(t, Lines(dir+string(filepath.Separator)+filepath.FromSlash(pattern)), positions[0], 1)
			require.Equal(t, items[1:], append([]item{}, rest...))
			if strings.Contains(pattern, "..") || strings.HasPrefix(pattern, ".") {
				return // fs.FS knows no such paths
			}
			f := Lines(pattern)
			f.FS = tree
			items, positions = drain(t, f, nil, 1)
			require.Equal(t, want, strings.Join(values(items), " "))
			rest, _ = drain(t, f, positions[0], 1)
			require.Equal(t, items[1:], append([]item{}, rest...))
		})
	}
	_, err := Lines(filepath.Join(dir, "**", "[")).OpenReader(t.Context(), weaver.Lane{})
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	require.ErrorContains(t, err, "syntax error in pattern")
}

func TestLoopsOfLinks(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"a/b/x": "1\n", "y": "2\n"})
	require.NoError(t, os.Symlink(dir, filepath.Join(dir, "a", "b", "up")))
	require.NoError(t, os.Symlink("self", filepath.Join(dir, "self")))
	require.NoError(t, os.Symlink(filepath.Join(dir, "y"), filepath.Join(dir, "a", "link")))
	items, _ := drain(t, Lines(filepath.Join(dir, "**")), nil, 10)
	require.Equal(t, []string{"1", "2", "2"}, values(items), "a link to a file is one")
}

// withoutRight refuses to look into one folder.
type withoutRight struct {
	durable.FS
	folder string
}

func (w withoutRight) ReadDir(name string) ([]fs.DirEntry, error) {
	if filepath.Base(name) == w.folder {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
	}
	return w.FS.ReadDir(name)
}

func TestAFolderThatMayNotBeRead(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"a/x": "1\n", "b/x": "2\n"})
	_, err := on(Lines(filepath.Join(dir, "**")), withoutRight{durable.OS(), "b"}).OpenReader(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, filepath.Join(dir, "b"))
	require.ErrorIs(t, err, fs.ErrPermission)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err), "what it has would be left out silently")
}

// Very many files are few splits, with a checkpoint that stays small.
func TestBuckets(t *testing.T) {
	t.Parallel()
	const files, buckets = 500, 7
	dir := t.TempDir()
	var want []string
	for i := range files {
		name := fmt.Sprintf("%d/f%03d", i%10, i)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700))
		realFile(t, filepath.Join(dir, name), fmt.Sprintf("%s a\n%s b\n", name, name))
		want = append(want, name+" a", name+" b")
	}
	store := checkpoint.NewMemory()
	sink := weavertest.NewSink[[]byte]()
	progress := make(map[string]weaver.Progress)
	var mu sync.Mutex
	run := func() {
		f := Lines(filepath.Join(dir, "**"))
		f.Buckets = buckets
		p := weaver.NewPipeline(f, weaver.Pass[[]byte](), sink)
		p.Checkpoint, p.Name = store, "p"
		p.Observer = &weaver.Observer{Progress: func(i weaver.ProgressInfo) {
			mu.Lock()
			defer mu.Unlock()
			progress[i.Split] = i.Progress
		}}
		require.NoError(t, p.Run(t.Context()))
	}
	run()
	got := make(map[string]int)
	for _, r := range sink.Durable() {
		got[string(r.Value)]++
	}
	for _, line := range want {
		require.Equal(t, 1, got[line], line)
	}
	require.Len(t, got, len(want))
	var bytes int64
	for _, x := range progress {
		require.Equal(t, x.TotalBytes, x.Bytes)
		bytes += x.Bytes
	}
	require.EqualValues(t, files*2*len("0/f000 a\n"), bytes)
	for i := range buckets {
		id := bucketOfSplit(i, buckets)
		value, _, err := store.Load(t.Context(), "p/"+id)
		require.NoError(t, err)
		require.NotEmpty(t, value, id)
		require.Less(t, len(value), 200)
	}
	run()
	require.Len(t, sink.Durable(), len(want), "a second run has nothing to do")

	f := Lines(filepath.Join(dir, "**"))
	f.Buckets, f.Parallel = 2, true
	_, err := f.Splits(t.Context())
	require.ErrorContains(t, err, "Parallel and Buckets")
	f.Buckets, f.Parallel = -1, false
	_, err = f.Splits(t.Context())
	require.ErrorContains(t, err, "field Buckets is -1")
}
