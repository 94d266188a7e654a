package durable_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
)

// lazy leaves out a step, to show that the checks below would notice.
type lazy struct {
	durable.FS
	noSync, noSyncDir bool
}

type lazyFile struct {
	durable.File
}

func (lazyFile) Sync() error { return nil }

func (l lazy) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := l.FS.OpenFile(name, flag, perm)
	if err == nil && l.noSync {
		return lazyFile{f}, nil
	}
	return f, err
}

func (l lazy) SyncDir(name string) error {
	if l.noSyncDir {
		return nil
	}
	return l.FS.SyncDir(name)
}

// crashWriteFile writes a file three times, with the power gone at every operation of that, and returns what is wrong afterwards.
func crashWriteFile(wrap func(durable.FS) durable.FS) error {
	contents := []string{strings.Repeat("1", 700), "", strings.Repeat("3", 1500)}
	for n, total := 0, 1; n < total; n++ {
		disk := durabletest.New()
		disk.CrashAt(n)
		acknowledged := 0
		for _, c := range contents {
			if durable.WriteFile(wrap(disk), "dir", nil, 0o700) == nil {
				return errors.New("a folder was replaced")
			}
			if durable.WriteFile(wrap(disk), "a", []byte(c), 0o600) != nil {
				break
			}
			acknowledged++
		}
		total = max(total, disk.Count())
		if acknowledged < len(contents) {
			total = max(total, n+2)
		}
		for seed := range uint64(12) {
			b, err := durable.ReadFile(disk.Crash(seed), "a")
			last := acknowledged > 0 && err == nil && string(b) == contents[acknowledged-1]
			next := acknowledged < len(contents) && err == nil && string(b) == contents[acknowledged]
			none := acknowledged == 0 && errors.Is(err, fs.ErrNotExist)
			if !last && !next && !none {
				return fmt.Errorf("crash at %d, seed %d: %d written, there is %.10q, %w", n, seed, acknowledged, b, err)
			}
		}
	}
	return nil
}

func TestWriteFileSurvivesCrash(t *testing.T) {
	t.Parallel()
	mkdir := func(fsys durable.FS) durable.FS { // so that WriteFile has something to fail on
		_ = fsys.Mkdir("dir", 0o700)
		return fsys
	}
	require.NoError(t, crashWriteFile(mkdir))
	require.Error(t, crashWriteFile(func(f durable.FS) durable.FS { return mkdir(lazy{FS: f, noSync: true}) }))
	require.Error(t, crashWriteFile(func(f durable.FS) durable.FS { return mkdir(lazy{FS: f, noSyncDir: true}) }))
}

func TestWriteFileFaults(t *testing.T) {
	t.Parallel()
	for n, done := 0, false; !done; n++ {
		for _, fault := range []error{syscall.EIO, &durabletest.ShortWrite{Keep: 2, Err: syscall.ENOSPC}} {
			disk := durabletest.New()
			require.NoError(t, durable.WriteFile(disk, "a", []byte("old"), 0o600))
			start := disk.Count()
			disk.Fail(durabletest.FailAt(start+n, fault))
			err := durable.WriteFile(disk, "a", []byte("newer"), 0o600)
			disk.Fail(nil)
			ops := disk.Ops()[start:]
			done = n >= len(ops)

			b, readErr := durable.ReadFile(disk, "a")
			require.NoError(t, readErr)
			switch {
			case done:
				require.NoError(t, err)
				require.Equal(t, "newer", string(b))
			case ops[n].Kind == durabletest.SyncDir:
				require.ErrorIs(t, err, fault)
				require.Equal(t, "newer", string(b))
			default:
				require.ErrorIs(t, err, fault)
				require.Equal(t, "old", string(b))
			}
			entries, err := disk.ReadDir("/")
			require.NoError(t, err)
			require.Len(t, entries, 1, "nothing is left over")
		}
	}
}

// TestMkdirAllSurvivesCrash makes a folder as two processes would of which one is killed anywhere.
func TestMkdirAllSurvivesCrash(t *testing.T) {
	t.Parallel()
	check := func(wrap func(durable.FS) durable.FS) error {
		for n := range 12 {
			disk := durabletest.New()
			disk.Fail(durabletest.FailFrom(n, errors.New("killed")))
			_ = durable.MkdirAll(wrap(disk), "a/b/c", 0o700)
			disk.Fail(nil)
			if err := durable.MkdirAll(wrap(disk), "a/b/c", 0o700); err != nil {
				return err
			}
			for seed := range uint64(10) {
				if _, err := disk.Crash(seed).Stat("a/b/c"); err != nil {
					return fmt.Errorf("killed at %d, seed %d: %w", n, seed, err)
				}
			}
		}
		return nil
	}
	require.NoError(t, check(func(f durable.FS) durable.FS { return f }))
	require.ErrorIs(t, check(func(f durable.FS) durable.FS { return lazy{FS: f, noSyncDir: true} }), fs.ErrNotExist)
}

func TestMkdirAll(t *testing.T) {
	t.Parallel()
	for _, fsys := range []durable.FS{durable.OS(), durabletest.New()} {
		root := t.TempDir()
		require.NoError(t, fsys.MkdirAll(root, 0o700))
		require.NoError(t, durable.MkdirAll(fsys, filepath.Join(root, "a", "b"), 0o700))
		require.NoError(t, durable.MkdirAll(fsys, filepath.Join(root, "a", "b"), 0o700))
		require.NoError(t, durable.WriteFile(fsys, filepath.Join(root, "f"), nil, 0o600))
		err := durable.MkdirAll(fsys, filepath.Join(root, "f"), 0o700)
		require.ErrorIs(t, err, syscall.ENOTDIR)
		require.Error(t, durable.MkdirAll(fsys, filepath.Join(root, "f", "g"), 0o700))
		require.NoError(t, durable.MkdirAll(fsys, ".", 0o700))
		require.NoError(t, durable.MkdirAll(fsys, string(filepath.Separator), 0o700))
	}

	// A parent that may not be opened is none that this process made things in; any other failure to sync it counts.
	for fault, want := range map[error]error{syscall.EACCES: nil, syscall.EIO: syscall.EIO} {
		disk := durabletest.New()
		require.NoError(t, disk.MkdirAll("home/me", 0o700))
		disk.Fail(func(o durabletest.Op) error {
			if o.Kind == durabletest.SyncDir && o.Name == "/home" {
				return fault
			}
			return nil
		})
		require.ErrorIs(t, durable.MkdirAll(disk, "home/me/data", 0o700), want)
	}
}

func TestOS(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	fsys := durable.OS()
	_, err := fsys.OpenFile(filepath.Join(root, "none"), os.O_RDONLY, 0)
	require.ErrorIs(t, err, fs.ErrNotExist)
	f, err := fsys.OpenFile(filepath.Join(root, "f"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	name := filepath.Join(root, "a")
	require.NoError(t, fsys.Link(f.Name(), name))
	err = fsys.Link(f.Name(), name)
	require.ErrorIs(t, err, fs.ErrExist)
	require.False(t, durable.NoLinks(err))
	require.NoError(t, fsys.Remove(f.Name()))
	require.NoError(t, fsys.Mkdir(filepath.Join(root, "d"), 0o700))
	require.NoError(t, fsys.MkdirAll(filepath.Join(root, "d", "e"), 0o700))
	require.NoError(t, fsys.Rename(name, filepath.Join(root, "d", "a")))
	require.NoError(t, fsys.SyncDir(filepath.Join(root, "d")))
	entries, err := fsys.ReadDir(filepath.Join(root, "d"))
	require.NoError(t, err)
	require.Len(t, entries, 2)
}

func TestRemoveTemps(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	require.NoError(t, disk.MkdirAll("home", 0o700))
	for _, name := range []string{"a", "b"} {
		for at := range 5 { // a loss of power at each step
			d := disk
			d.CrashAt(d.Count() + at)
			_ = durable.WriteFile(d, "home/"+name, []byte("x"), 0o600)
			disk = d.Crash(1)
		}
	}
	require.NoError(t, durable.WriteFile(disk, "home/a", []byte("a"), 0o600))
	before, err := disk.ReadDir("home")
	require.NoError(t, err)
	require.NoError(t, durable.RemoveTemps(disk, "home/a"))
	after, err := disk.ReadDir("home")
	require.NoError(t, err)
	require.Less(t, len(after), len(before))
	require.NoError(t, durable.RemoveTemps(disk, "home/b"))
	after, err = disk.ReadDir("home")
	require.NoError(t, err)
	for _, e := range after {
		require.Contains(t, []string{"a", "b"}, e.Name())
	}
	require.NoError(t, durable.RemoveTemps(disk, "home/a"), "there is none")
}
