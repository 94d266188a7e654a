package checkpoint

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
)

// filled returns a disk on which key k has n versions, each with its number as value.
func filled(t *testing.T, n int) *durabletest.Disk {
	disk := durabletest.New()
	store := on(disk, "data/positions")
	for i := range n {
		_, err := store.Save(t.Context(), "k", fmt.Append(nil, i+1), Version(i))
		require.NoError(t, err)
	}
	return disk
}

// TestFileFaults lets one operation of a save fail, or all from it on.
func TestFileFaults(t *testing.T) {
	t.Parallel()
	faults := map[string]func(int) func(durabletest.Op) error{
		"one EIO":    func(n int) func(durabletest.Op) error { return durabletest.FailAt(n, syscall.EIO) },
		"one ENOSPC": func(n int) func(durabletest.Op) error { return durabletest.FailAt(n, syscall.ENOSPC) },
		"one short": func(n int) func(durabletest.Op) error {
			return durabletest.FailAt(n, &durabletest.ShortWrite{Keep: 3, Err: syscall.ENOSPC})
		},
		"EIO from then on":    func(n int) func(durabletest.Op) error { return durabletest.FailFrom(n, syscall.EIO) },
		"ENOSPC from then on": func(n int) func(durabletest.Op) error { return durabletest.FailFrom(n, syscall.ENOSPC) },
	}
	for name, fault := range faults {
		for _, versions := range []int{0, 1, 5} {
			t.Run(fmt.Sprintf("%s after %d", name, versions), func(t *testing.T) {
				t.Parallel()
				for n, done := 0, false; !done; n++ {
					for seed := range uint64(5) {
						disk := filled(t, versions)
						start := disk.Count()
						disk.Fail(fault(start + n))
						_, err := on(disk, "data/positions").Save(t.Context(), "k", []byte("new"), Version(versions))
						done = disk.Count() <= start+n
						disk.Fail(nil)
						if err != nil && strings.HasPrefix(name, "one") {
							l, err := on(disk, "data/positions").folder("k").list()
							require.NoError(t, err)
							require.Empty(t, l.temps, "what a failed save has written is removed at once")
						}
						if seed > 0 { // and then the power goes as well
							disk = disk.Crash(seed)
						}

						value, v, loadErr := on(disk, "data/positions").Load(t.Context(), "k")
						require.NoError(t, loadErr)
						if v == Version(versions+1) {
							require.Equal(t, "new", string(value))
						} else { // the last good one
							require.Error(t, err)
							require.NotErrorIs(t, err, ErrConflict)
							require.Equal(t, Version(versions), v)
							if v > 0 {
								require.Equal(t, fmt.Sprint(versions), string(value))
							}
						}
						_, err = on(disk, "data/positions").Save(t.Context(), "k", []byte("after"), v)
						require.NoError(t, err)
						require.NoError(t, tidy(disk, "k"))
					}
				}
			})
		}
	}
}

// TestLoadIsDurable kills a save anywhere, loads what it has left and then lets the power go: what was loaded must still be there, as somebody may have acted on it.
func TestLoadIsDurable(t *testing.T) {
	t.Parallel()
	try := func(wrap func(durable.FS) durable.FS) error {
		for n := range 30 {
			disk := filled(t, 2)
			disk.Fail(durabletest.FailFrom(disk.Count()+n, errors.New("killed")))
			_, _ = on(disk, "data/positions").Save(t.Context(), "k", []byte("3"), 2)
			disk.Fail(nil)
			_, v, err := on(wrap(disk), "data/positions").Load(t.Context(), "k")
			if err != nil {
				return err
			}
			for seed := range uint64(6) {
				_, later, err := on(disk.Crash(seed), "data/positions").Load(t.Context(), "k")
				if err != nil || later < v {
					return fmt.Errorf("killed at %d, seed %d: loaded %d, then %d: %w", n, seed, v, later, err)
				}
			}
		}
		return nil
	}
	require.NoError(t, try(asIs))
	require.Error(t, try(func(fsys durable.FS) durable.FS {
		return careless{FS: fsys, noSyncDir: true, late: new([]durable.File)}
	}))
}

func TestRefusedByDisk(t *testing.T) {
	t.Parallel()
	for _, number := range []syscall.Errno{syscall.EACCES, syscall.EROFS} {
		disk := durabletest.New()
		disk.Fail(func(o durabletest.Op) error {
			if o.Changes() {
				return number
			}
			return nil
		})
		_, err := on(disk, "data").Save(t.Context(), "k", nil, 0)
		require.ErrorIs(t, err, number)
		require.EqualError(t, err, fmt.Sprintf("checkpoint: save \"k\" upon version 0: mkdir data: %v", number))
	}
}
