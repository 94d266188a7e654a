package durabletest_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
)

const seeds = 400

// create makes a file and leaves it open; what is to be synced is synced.
func create(t *testing.T, fsys durable.FS, name, data string, sync bool) durable.File {
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	_, err = f.Write([]byte(data))
	require.NoError(t, err)
	if sync {
		require.NoError(t, f.Sync())
	}
	return f
}

// outcomes returns what the file holds after crashes, and how often; "-" is no file.
func outcomes(t *testing.T, d *durabletest.Disk, name string) map[string]int {
	all := map[string]int{}
	for seed := range uint64(seeds) {
		b, err := durable.ReadFile(d.Crash(seed), name)
		if err != nil {
			require.ErrorIs(t, err, fs.ErrNotExist)
			b = []byte("-")
		}
		all[string(b)]++
	}
	return all
}

func keys(m map[string]int) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	return all
}

func TestCrashKeepsWhatIsDurable(t *testing.T) {
	t.Parallel()
	d := durabletest.New()
	create(t, d, "a", "first", true)
	require.NoError(t, d.SyncDir("/"))
	require.Equal(t, map[string]int{"first": seeds}, outcomes(t, d, "a"))
}

func TestCrashForgetsName(t *testing.T) {
	t.Parallel()
	d := durabletest.New()
	create(t, d, "a", "first", true)
	require.ElementsMatch(t, []string{"first", "-"}, keys(outcomes(t, d, "a")))
}

func TestCrashForgetsContent(t *testing.T) {
	t.Parallel()
	d := durabletest.New()
	create(t, d, "a", strings.Repeat("x", 2000), false)
	require.NoError(t, d.SyncDir("."))
	all := outcomes(t, d, "a")
	require.NotContains(t, all, "-")
	require.Contains(t, all, "", "nothing")
	require.Contains(t, all, strings.Repeat("x", 2000), "everything")
	var cut, zeros, holes bool
	for got := range all {
		cut = cut || len(got) > 0 && len(got) < 2000 && strings.Trim(got, "x") == ""
		zeros = zeros || len(got) > 0 && strings.Trim(got, "\x00") == ""
		holes = holes || strings.Contains(strings.Trim(got, "\x00"), "\x00") || strings.HasPrefix(got, "\x00") && strings.HasSuffix(got, "x")
	}
	require.True(t, cut, "a part")
	require.True(t, zeros, "zeros")
	require.True(t, holes, "torn")
}

func TestCrashMixesOverwrite(t *testing.T) {
	t.Parallel()
	d := durabletest.New()
	f := create(t, d, "a", strings.Repeat("o", 1024), true)
	require.NoError(t, d.SyncDir("/"))
	_, err := f.WriteAt([]byte(strings.Repeat("n", 1024)), 0)
	require.NoError(t, err)
	o, n := strings.Repeat("o", 512), strings.Repeat("n", 512)
	require.ElementsMatch(t, []string{o + o, o + n, n + o, n + n}, keys(outcomes(t, d, "a")))
}

func TestCrashRename(t *testing.T) {
	t.Parallel()
	d := durabletest.New()
	create(t, d, "a", "old", true)
	create(t, d, "b", "new", true)
	require.NoError(t, d.SyncDir("/"))
	require.NoError(t, d.Rename("b", "a"))
	require.ElementsMatch(t, []string{"old", "new"}, keys(outcomes(t, d, "a")))
	for seed := range uint64(seeds) {
		after := d.Crash(seed)
		a, err := durable.ReadFile(after, "a")
		require.NoError(t, err)
		_, err = after.Stat("b")
		require.Equal(t, string(a) == "new", errors.Is(err, fs.ErrNotExist), "one step")
	}
}

func TestCrashLosesFolderWithAllInIt(t *testing.T) {
	t.Parallel()
	d := durabletest.New()
	require.NoError(t, d.MkdirAll("x/y", 0o700))
	create(t, d, "x/y/a", "deep", true)
	require.NoError(t, d.SyncDir("x/y"))
	require.NoError(t, d.SyncDir("x"))
	require.ElementsMatch(t, []string{"deep", "-"}, keys(outcomes(t, d, "x/y/a")))
}

func TestCrashRemoveAndLinks(t *testing.T) {
	t.Parallel()
	d := durabletest.New()
	create(t, d, "a", "one", true)
	require.NoError(t, d.Link("a", "b"))
	require.NoError(t, d.SyncDir("/"))
	require.NoError(t, d.Remove("a"))
	all := outcomes(t, d, "a")
	require.ElementsMatch(t, []string{"one", "-"}, keys(all))
	require.Equal(t, map[string]int{"one": seeds}, outcomes(t, d, "b"))

	after := d.Crash(0) // where nothing happened that was not durable
	a, err := after.Stat("a")
	require.NoError(t, err)
	b, err := after.Stat("b")
	require.NoError(t, err)
	require.Same(t, a.Sys(), b.Sys(), "still two names of one file")
}

func TestCrashIsTheEnd(t *testing.T) {
	t.Parallel()
	d := durabletest.New()
	f := create(t, d, "a", "x", true)
	after := d.Crash(1)
	_, err := f.Write([]byte("y"))
	require.ErrorIs(t, err, durabletest.ErrPowerLoss)
	_, err = f.Read(make([]byte, 1))
	require.ErrorIs(t, err, durabletest.ErrPowerLoss)
	_, err = f.Seek(0, 0)
	require.ErrorIs(t, err, durabletest.ErrPowerLoss)
	require.ErrorIs(t, f.Sync(), durabletest.ErrPowerLoss)
	require.ErrorIs(t, f.Close(), durabletest.ErrPowerLoss)
	require.ErrorIs(t, d.Mkdir("d", 0o700), durabletest.ErrPowerLoss)
	b, err := durable.ReadFile(after, "a")
	require.NoError(t, err)
	require.Equal(t, "x", string(b))
}

func TestCrashSeedRepeats(t *testing.T) {
	t.Parallel()
	d := durabletest.New()
	for _, name := range []string{"a", "b", "c"} {
		create(t, d, name, strings.Repeat(name, 3000), false)
	}
	for seed := range uint64(50) {
		one, two := newSide(d.Crash(seed), "/"), newSide(d.Crash(seed), "/")
		require.Equal(t, one.tree(t, "."), two.tree(t, "."))
	}
}

func TestCrashAt(t *testing.T) {
	t.Parallel()
	d := durabletest.New()
	d.CrashAt(2)
	f, err := d.OpenFile("a", os.O_WRONLY|os.O_CREATE, 0o600)
	require.NoError(t, err)
	_, err = f.Write([]byte("x"))
	require.NoError(t, err)
	require.ErrorIs(t, f.Sync(), durabletest.ErrPowerLoss)
	require.ErrorIs(t, d.SyncDir("/"), durabletest.ErrPowerLoss)
	require.Contains(t, outcomes(t, d, "a"), "-", "neither sync happened")
}

func TestFaults(t *testing.T) {
	t.Parallel()
	d := durabletest.New()
	f := create(t, d, "a", "one", true)
	require.NoError(t, d.SyncDir("/"))

	d.Fail(durabletest.FailAt(d.Count(), &durabletest.ShortWrite{Keep: 2, Err: syscall.ENOSPC}))
	n, err := f.Write([]byte("two"))
	require.Equal(t, 2, n)
	require.ErrorIs(t, err, syscall.ENOSPC)
	var path *fs.PathError
	require.ErrorAs(t, err, &path)
	_, err = f.Write([]byte("o"))
	require.NoError(t, err, "only one operation")

	d.Fail(durabletest.FailAt(d.Count(), syscall.EIO))
	require.ErrorIs(t, f.Sync(), syscall.EIO)
	require.NoError(t, f.Sync())
	b, err := durable.ReadFile(d, "a")
	require.NoError(t, err)
	require.Equal(t, "onetwo", string(b))

	d.Fail(durabletest.FailFrom(d.Count(), syscall.EROFS))
	require.ErrorIs(t, d.Remove("a"), syscall.EROFS)
	require.ErrorIs(t, d.Rename("a", "b"), syscall.EROFS)
	require.Equal(t, map[string]int{"one": seeds}, outcomes(t, d, "a"), "what a failed Sync dropped stays lost")
}

func TestHookMayUseTheDisk(t *testing.T) {
	t.Parallel()
	d := durabletest.New()
	d.Fail(func(o durabletest.Op) error {
		if o.Kind == durabletest.Mkdir && o.Name == "/a" {
			return d.Mkdir("b", 0o700)
		}
		return nil
	})
	require.NoError(t, d.Mkdir("a", 0o700))
	ops := d.Ops()
	require.Len(t, ops, 2)
	require.Equal(t, "0 mkdir /a", ops[0].String())
	require.Equal(t, "1 mkdir /b", ops[1].String())
	require.True(t, ops[0].Changes())
}
