package durable_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
)

func TestRoot(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	require.NoError(t, disk.MkdirAll("base/root", 0o700))
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "base", "root"), 0o700))
	for name, c := range map[string]struct {
		fsys durable.FS
		dir  string
	}{
		"disk":          {disk, "base/root"},
		"system":        {durable.OS(), filepath.Join(dir, "base", "root")},
		"disk, lazy":    {durable.Unsynced(disk), "base/root"},
		"system, lazy":  {durable.Unsynced(durable.OS()), filepath.Join(dir, "base", "root")},
		"root, of root": {sub(t, disk, "base"), "root"},
	} {
		r, err := durable.OpenRoot(c.fsys, c.dir)
		require.NoError(t, err, name)
		require.NoError(t, durable.MkdirAll(r, "a/b", 0o700))
		require.NoError(t, durable.WriteFile(r, "a/b/f", []byte("x"), 0o600))
		require.NoError(t, durable.WriteFile(r, "a/b/f", []byte("y"), 0o600))
		data, err := durable.ReadFile(c.fsys, filepath.Join(c.dir, "a", "b", "f"))
		require.NoError(t, err)
		require.Equal(t, "y", string(data))
		require.NoError(t, r.Link("a/b/f", "a/g"))
		require.ErrorIs(t, r.Link("a/b/f", "a/g"), fs.ErrExist)
		one, err := r.Stat("a/b/f")
		require.NoError(t, err)
		two, err := r.Stat("a/g")
		require.NoError(t, err)
		require.True(t, durable.SameFile(one, two))
		folder, err := r.Stat("a")
		require.NoError(t, err)
		require.False(t, durable.SameFile(one, folder))
		require.NoError(t, r.Rename("a/g", "h"))
		require.NoError(t, r.MkdirAll("c/d", 0o700))
		require.NoError(t, r.SyncDir("a/b"))
		require.NoError(t, r.SyncDir("."))
		entries, err := r.ReadDir(".")
		require.NoError(t, err)
		require.Len(t, entries, 3)
		require.NoError(t, durable.RemoveTemps(r, "a/b/f"))

		for _, out := range []string{"..", "../x", "a/../../x", "/x", filepath.Join(dir, "x")} {
			_, err := r.OpenFile(out, os.O_RDWR|os.O_CREATE, 0o600)
			require.Error(t, err, "%s, %s", name, out)
			require.Error(t, r.Mkdir(out, 0o700))
			require.Error(t, r.MkdirAll(out, 0o700))
			require.Error(t, r.Link("h", out))
			require.Error(t, r.Rename("h", out))
			require.Error(t, r.Link(out, "new"))
			require.Error(t, r.Remove(out))
			_, err = r.Stat(out)
			require.Error(t, err)
			_, err = r.ReadDir(out)
			require.Error(t, err)
		}
		require.NoError(t, r.Remove("h"))
		require.NoError(t, r.Remove("a/b/f"))
		require.NoError(t, r.Remove("a/b"))
		require.NoError(t, r.Remove("a"))
		require.NoError(t, r.Remove("c/d"))
		require.NoError(t, r.Remove("c"))
		require.NoError(t, r.Close())
	}
	_, err := durable.OpenRoot(disk, "missing")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, durable.WriteFile(disk, "file", nil, 0o600))
	_, err = durable.OpenRoot(disk, "file")
	require.Error(t, err)
	_, err = durable.OpenRoot(durable.OS(), filepath.Join(dir, "missing"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func sub(t *testing.T, fsys durable.FS, name string) durable.FS {
	t.Helper()
	r, err := durable.OpenRoot(fsys, name)
	require.NoError(t, err)
	return r
}

// A symbolic link may lead elsewhere in the root, and not out of it.
func TestRootLinks(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("making links takes a privilege there")
	}
	dir, outside := t.TempDir(), t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "in"), 0o700))
	require.NoError(t, os.Symlink("in", filepath.Join(dir, "inner")))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "outer")))
	r, err := durable.OpenRoot(durable.OS(), dir)
	require.NoError(t, err)
	require.NoError(t, durable.WriteFile(r, "inner/f", nil, 0o600))
	require.Error(t, durable.WriteFile(r, "outer/f", nil, 0o600))
	require.Error(t, r.Rename("in/f", "outer/f"))
	require.Error(t, r.Link("in/f", "outer/f"))
	require.Error(t, r.SyncDir("outer"))
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Empty(t, entries)
	require.NoError(t, r.Close())
}

func TestUnsynced(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	require.NoError(t, durable.WriteFile(durable.Unsynced(disk), "a", []byte("x"), 0o600))
	for _, o := range disk.Ops() {
		require.NotContains(t, []string{durabletest.Sync, durabletest.SyncDir}, o.Kind)
	}
	_, err := disk.Crash(0).Stat("a")
	require.ErrorIs(t, err, fs.ErrNotExist)

	// Of the system's files it is the system's own, which can be locked.
	f, err := durable.Unsynced(durable.OS()).OpenFile(filepath.Join(t.TempDir(), "a"), os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	require.Implements(t, (*interface{ Fd() uintptr })(nil), f)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	_, err = durable.Unsynced(durabletest.New()).OpenFile("missing", os.O_RDWR, 0)
	require.ErrorIs(t, err, fs.ErrNotExist)
}
