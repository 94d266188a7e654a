package file

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
	"github.com/bohica-labs/dataweaver/retry"
)

func TestFlush(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	f := on(Lines("out"), disk)
	w := open(t, f, weaver.Lane{})
	require.NoError(t, w.Flush(t.Context()))
	_, err := disk.Stat("out")
	require.Error(t, err, "no file where nothing is written")
	require.NoError(t, w.Write(t.Context(), lines("a", "b")))
	require.NoError(t, w.Flush(t.Context()))
	require.NoError(t, w.Write(t.Context(), lines("never flushed")))
	require.NoError(t, w.spill(t.Context()))
	require.NoError(t, w.Close())
	require.Equal(t, "a\nb\n", content(t, disk, "out"), "Close makes nothing durable")
	for seed := range uint64(20) {
		require.True(t, strings.HasPrefix(content(t, disk.Crash(seed), "out"), "a\nb\n"))
	}
}

func TestAppendingToWhatIsThere(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, before string
		exists       IfExists
		resume       bool
		want         string
	}{
		{"Refuse is Append here", "id,name,price\n1,a,2\n", Refuse, false, "id,name,price\n1,a,2\n7,,0\n"},
		{"Append", "id,name,price\r\n1,a,2\r\n", Append, false, "id,name,price\r\n1,a,2\r\n7,,0\n"},
		{"Overwrite", "anything", Overwrite, false, "id,name,price\n7,,0\n"},
		{"Overwrite that resumes", "id,name,price\n1,a,2\n", Overwrite, true, "id,name,price\n1,a,2\n7,,0\n"},
		{"a torn row", "id,name,price\n1,a", Refuse, true, "id,name,price\n1,a\n7,,0\n"},
		{"a torn quotation", "id,name,price\n1,\"a\n", Refuse, true, "id,name,price\n1,\"a\n\"\n7,,0\n"},
		{"a torn header", "id,na", Refuse, true, "id,name,price\n7,,0\n"},
		{"a header of zeros", "id\x00\x00\x00\x00", Refuse, true, "id,name,price\n7,,0\n"},
		{"a byte order mark", "\ufeffid,name,price\n", Refuse, true, "\ufeffid,name,price\n7,,0\n"},
		{"a header alone", "id,name,price", Refuse, true, "id,name,price\n7,,0\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			disk := newDisk(t, map[string]string{"out": c.before})
			f := on(CSV[order]("out"), disk)
			f.IfExists = c.exists
			for i := range 2 { // the second is a writer that is opened again
				w := open(t, f, weaver.Lane{Resume: c.resume || i > 0})
				if i == 0 {
					require.NoError(t, w.Write(t.Context(), batchOf(order{ID: 7})))
				}
				require.NoError(t, w.Flush(t.Context()))
				require.NoError(t, w.Close())
			}
			require.Equal(t, c.want, content(t, disk, "out"))
		})
	}

	disk := newDisk(t, map[string]string{"out": "id,price,name\n"})
	w := open(t, on(CSV[order]("out"), disk), weaver.Lane{})
	err := w.Write(t.Context(), batchOf(order{}))
	require.ErrorContains(t, err, "other columns")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	require.NoError(t, w.Close())
}

func TestWritersShareAFile(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]*File[order]{
		"disk": on(CSV[order]("out"), durabletest.New()),
		"real": CSV[order](filepath.Join(t.TempDir(), "out")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f.BufferBytes = 100
			var wg sync.WaitGroup
			for i := range 4 {
				w := open(t, f, weaver.Lane{})
				wg.Go(func() {
					for j := range 50 {
						if w.Write(t.Context(), batchOf(order{ID: int64(i), Price: float64(j)})) != nil || j%7 == 0 && w.Flush(t.Context()) != nil {
							t.Error("failed")
						}
					}
					if errors.Join(w.Flush(t.Context()), w.Close()) != nil {
						t.Error("failed")
					}
				})
			}
			wg.Wait()
			items, _ := drain(t, f, nil, 0)
			require.Len(t, items, 200)
			next := map[int64]int{}
			for _, i := range items {
				var id int64
				var n int
				_, err := fmt.Sscanf(i.Value, "{ID:%d Name: Price:%d}", &id, &n)
				require.NoError(t, err, i)
				require.Equal(t, next[id], n)
				next[id]++
			}
		})
	}
}

// After a failed sync nobody knows what of the file is durable: no writer that shares it may say that its records are.
func TestAFailedSyncConcernsAllWhoShare(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	f := on(Lines("out"), disk)
	a, b := open(t, f, weaver.Lane{}), open(t, f, weaver.Lane{})
	require.NoError(t, a.Write(t.Context(), lines("kept")))
	require.NoError(t, a.Flush(t.Context()))
	require.NoError(t, a.Write(t.Context(), lines("a")))
	require.NoError(t, b.Write(t.Context(), lines("b")))
	require.NoError(t, b.spill(t.Context()))
	disk.Fail(func(o durabletest.Op) error {
		if o.Kind == durabletest.Sync {
			return syscall.EIO
		}
		return nil
	})
	require.ErrorIs(t, a.Flush(t.Context()), syscall.EIO)
	disk.Fail(nil)
	require.ErrorIs(t, b.Flush(t.Context()), syscall.EIO)
	require.NoError(t, errors.Join(a.Close(), b.Close()))
	require.Equal(t, "kept\n", content(t, disk, "out"))

	c := open(t, f, weaver.Lane{Resume: true})
	require.NoError(t, c.Write(t.Context(), lines("a", "b")))
	require.NoError(t, c.Flush(t.Context()))
	require.NoError(t, c.Close())
	require.Equal(t, "kept\na\nb\n", content(t, disk.Crash(0), "out"))
}

func TestAFileIsForOneOfBoth(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	f := on(Lines("out"), disk)
	keeper, _ := keep(t, f, weaver.Lane{})
	require.NoError(t, keeper.Write(t.Context(), lines("a")))
	require.NoError(t, keeper.Commit(t.Context(), []byte("1")))
	require.Equal(t, retry.ClassFatal, retry.ClassOf(keeper.Flush(t.Context())))

	w := open(t, f, weaver.Lane{})
	err := w.Write(t.Context(), lines("x"))
	require.ErrorContains(t, err, "give them files of their own")
	require.NoError(t, errors.Join(w.Close(), keeper.Close()))

	w = open(t, f, weaver.Lane{})
	err = w.Write(t.Context(), lines("x"))
	require.ErrorContains(t, err, "out.checkpoint keeps the checkpoint of a pipeline")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	require.NoError(t, w.Close())
	require.Equal(t, "a\n", content(t, disk, "out"))

	f.IfExists = Overwrite
	w = open(t, f, weaver.Lane{})
	require.NoError(t, w.Write(t.Context(), lines("x")))
	require.NoError(t, w.Flush(t.Context()))
	keeper = open(t, f, weaver.Lane{})
	_, err = keeper.Restore(t.Context())
	require.ErrorContains(t, err, "give them a file of their own")
	require.NoError(t, errors.Join(w.Close(), keeper.Close()))
	require.Equal(t, "x\n", content(t, disk, "out"))

	keeper = open(t, f, weaver.Lane{})
	require.Equal(t, retry.ClassFatal, retry.ClassOf(keeper.Commit(t.Context(), nil)), "Commit without Restore")
	require.NoError(t, keeper.Close())
	keeper, _ = keep(t, f, weaver.Lane{})
	_, err = keeper.Restore(t.Context())
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err), "Restore twice")
	require.NoError(t, keeper.Close())
}
