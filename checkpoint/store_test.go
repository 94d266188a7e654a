package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
)

// on returns a File on another file system.
func on(fsys durable.FS, dir string) *File { return &File{dir: dir, fsys: fsys} }

// noLinks is a file system without hard links.
func noLinks(disk *durabletest.Disk) *durabletest.Disk {
	disk.Fail(func(o durabletest.Op) error {
		switch o.Kind {
		case durabletest.Link:
			return errors.ErrUnsupported
		case durabletest.Rename:
			time.Sleep(10 * time.Microsecond) // for others to come in between
		}
		return nil
	})
	return disk
}

// stores are all kinds of Store; each returns a new one on the same values.
func stores(t *testing.T) map[string]func() Store {
	memory, dir, disk, fat := NewMemory(), t.TempDir(), durabletest.New(), noLinks(durabletest.New())
	only := on(fat, "fat") // one process alone
	return map[string]func() Store{
		"memory":  func() Store { return memory },
		"file":    func() Store { return NewFile(dir) },
		"disk":    func() Store { return on(disk, "a/b") },
		"nolinks": func() Store { return only },
	}
}

func TestStores(t *testing.T) {
	t.Parallel()
	for name, open := range stores(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			value, v, err := open().Load(ctx, "k")
			require.NoError(t, err)
			require.Nil(t, value)
			require.Zero(t, v)

			_, err = open().Save(ctx, "k", []byte("x"), 1)
			require.ErrorIs(t, err, ErrConflict)
			_, err = open().Save(ctx, "k", []byte("x"), -1)
			require.ErrorIs(t, err, ErrConflict)

			for i, want := range []string{"one", "", strings.Repeat("three", 100_000), "four", "five"} {
				given := []byte(want)
				v, err = open().Save(ctx, "k", given, Version(i))
				require.NoError(t, err)
				require.Equal(t, Version(i+1), v)
				clear(given) // nobody kept it

				_, err = open().Save(ctx, "k", []byte("late"), Version(i))
				require.ErrorIs(t, err, ErrConflict)

				for range 2 {
					value, v, err = open().Load(ctx, "k")
					require.NoError(t, err)
					require.NotNil(t, value)
					require.Equal(t, want, string(value))
					require.Equal(t, Version(i+1), v)
					clear(value) // it is the caller's
				}
			}

			value, v, err = open().Load(ctx, "other")
			require.NoError(t, err)
			require.Nil(t, value)
			require.Zero(t, v)
		})
	}
}

func TestStoresRefuse(t *testing.T) {
	t.Parallel()
	for name, open := range stores(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			why := errors.New("why")
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(why)
			_, err := open().Save(ctx, "k", nil, 0)
			require.ErrorIs(t, err, why)
			_, _, err = open().Load(ctx, "k")
			require.ErrorIs(t, err, why)

			long := strings.Repeat("k", MaxKeyBytes+1)
			_, err = open().Save(t.Context(), long, nil, 0)
			require.ErrorContains(t, err, "65537 bytes, 65536 are allowed")
			require.Less(t, len(err.Error()), 300)
			_, _, err = open().Load(t.Context(), long)
			require.ErrorContains(t, err, "65537 bytes")
			_, err = open().Save(t.Context(), long[1:], nil, 0)
			require.NoError(t, err)
		})
	}
}

// TestStoresRace lets many add to one list: whatever was acknowledged is in it, in the order of the versions, and nothing else.
func TestStoresRace(t *testing.T) {
	t.Parallel()
	for name, open := range stores(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const writers, each = 8, 6
			won := make([][]string, writers) // by writer, as "version:text"
			var group sync.WaitGroup
			for w := range writers {
				group.Go(func() {
					store := open() // as if in processes of their own
					for i := 0; len(won[w]) < each; i++ {
						value, v, err := store.Load(t.Context(), "list")
						if err != nil {
							t.Error(err)
							return
						}
						entry := fmt.Sprintf("%d:%d-%d", v+1, w, i)
						_, err = store.Save(t.Context(), "list", append(value, entry+" "...), v)
						if errors.Is(err, ErrConflict) {
							continue
						}
						if err != nil {
							t.Error(err)
							return
						}
						won[w] = append(won[w], entry)
					}
				})
			}
			group.Wait()

			value, v, err := open().Load(t.Context(), "list")
			require.NoError(t, err)
			entries := bytes.Fields(value)
			require.Len(t, entries, int(v))
			in := map[string]bool{}
			for i, e := range entries {
				require.True(t, bytes.HasPrefix(e, fmt.Appendf(nil, "%d:", i+1)), "entry %d is %s", i, e)
				in[string(e)] = true
			}
			for _, entries := range won {
				for _, e := range entries {
					require.True(t, in[e], "%s was acknowledged and is lost", e)
				}
			}
			// A save that two others overtook before it returned may be told of a conflict, see File.Save: so there may be more, but hardly.
			require.GreaterOrEqual(t, int(v), writers*each)
		})
	}
}
