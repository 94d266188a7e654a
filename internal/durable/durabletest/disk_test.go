package durabletest_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
)

// TestLikeOS does the same random operations on a Disk and on the real file system and compares what comes of each.
func TestLikeOS(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 1))
			onOS, disk := newSide(durable.OS(), t.TempDir()), newSide(durabletest.New(), "/")
			for range 300 {
				op, what := randomOp(rng)
				want, got := op(onOS), op(disk)
				require.Equal(t, want, got, what)
			}
			require.Equal(t, onOS.tree(t, "."), disk.tree(t, "."))
		})
	}
}

// side is one of the two file systems.
type side struct {
	fsys  durable.FS
	root  string
	files []durable.File // up to 3 open ones
}

func newSide(fsys durable.FS, root string) *side {
	return &side{fsys: fsys, root: root, files: make([]durable.File, 3)}
}

// randomOp returns an operation for both sides, which returns what can be seen of it.
func randomOp(rng *rand.Rand) (op func(*side) string, what string) {
	names := []string{"a", "b", "c", "d/a", "d/b", "d/e/a", "d", "d/e"}
	one, two := names[rng.IntN(len(names))], names[rng.IntN(len(names))]
	slot, off, size := rng.IntN(3), rng.Int64N(1500), rng.IntN(1500)
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	flags := []int{
		os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_CREATE, os.O_RDWR | os.O_CREATE | os.O_EXCL,
		os.O_RDWR | os.O_CREATE | os.O_TRUNC, os.O_WRONLY | os.O_CREATE | os.O_APPEND,
	}
	flag := flags[rng.IntN(len(flags))]
	withFile := func(f func(durable.File) string) func(*side) string {
		return func(s *side) string {
			if s.files[slot] == nil {
				return "none"
			}
			return f(s.files[slot])
		}
	}
	switch kind := rng.IntN(14); kind {
	case 0, 1, 2:
		return func(s *side) string {
			if s.files[slot] != nil {
				_ = s.files[slot].Close()
			}
			f, err := s.fsys.OpenFile(filepath.Join(s.root, one), flag, 0o600)
			s.files[slot] = f
			if err != nil {
				s.files[slot] = nil
			}
			return number(err)
		}, fmt.Sprintf("open %s %x in %d", one, flag, slot)
	case 3:
		return withFile(func(f durable.File) string {
			n, err := f.Write(data)
			return fmt.Sprint(n, number(err))
		}), fmt.Sprintf("write %d to %d", size, slot)
	case 4:
		return withFile(func(f durable.File) string {
			n, err := f.WriteAt(data, off)
			return fmt.Sprint(n, number(err))
		}), fmt.Sprintf("write %d at %d to %d", size, off, slot)
	case 5:
		return withFile(func(f durable.File) string {
			p := make([]byte, size)
			n, err := f.Read(p)
			return fmt.Sprintf("%x %s", p[:n], number(err))
		}), fmt.Sprintf("read %d of %d", size, slot)
	case 6:
		return withFile(func(f durable.File) string {
			p := make([]byte, size)
			n, err := f.ReadAt(p, off)
			return fmt.Sprintf("%x %s", p[:n], number(err))
		}), fmt.Sprintf("read %d at %d of %d", size, off, slot)
	case 7:
		return withFile(func(f durable.File) string { return number(f.Truncate(off)) }), fmt.Sprintf("truncate %d to %d", slot, off)
	case 8:
		return withFile(func(f durable.File) string {
			if info, err := f.Stat(); err != nil || info.IsDir() {
				return number(err)
			}
			n, err := f.Seek(off, int(off)%3)
			return fmt.Sprint(n, number(err))
		}), fmt.Sprintf("seek %d to %d", slot, off)
	case 9:
		return func(s *side) string {
			return number(s.fsys.Mkdir(filepath.Join(s.root, one), 0o700))
		}, "mkdir " + one
	case 10:
		return func(s *side) string {
			return number(s.fsys.Link(filepath.Join(s.root, one), filepath.Join(s.root, two)))
		}, "link " + one + " " + two
	case 11:
		return func(s *side) string {
			return number(s.fsys.Rename(filepath.Join(s.root, one), filepath.Join(s.root, two)))
		}, "rename " + one + " " + two
	case 12:
		return func(s *side) string { return number(s.fsys.Remove(filepath.Join(s.root, one))) }, "remove " + one
	default:
		return func(s *side) string {
			info, err := s.fsys.Stat(filepath.Join(s.root, one))
			if err != nil {
				return number(err)
			}
			if info.IsDir() {
				return fmt.Sprint(info.Name(), info.Mode(), number(s.fsys.SyncDir(filepath.Join(s.root, one))))
			}
			return fmt.Sprint(info.Name(), info.Size(), info.Mode())
		}, "stat " + one
	}
}

// number is what both sides agree upon in an error.
func number(err error) string {
	var n syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, io.EOF):
		return "EOF"
	case runtime.GOOS != "linux": // other numbers for the same things
		return fmt.Sprint("failed", errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist))
	case errors.As(err, &n):
		return n.Error()
	}
	if inner := errors.Unwrap(err); inner != nil {
		err = inner
	}
	return err.Error()
}

// tree returns all that there is below a folder, by name.
func (s *side) tree(t *testing.T, dir string) map[string]string {
	all := map[string]string{}
	entries, err := s.fsys.ReadDir(filepath.Join(s.root, dir))
	require.NoError(t, err)
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if e.IsDir() {
			all[name] = "dir"
			for k, v := range s.tree(t, name) {
				all[k] = v
			}
			continue
		}
		b, err := durable.ReadFile(s.fsys, filepath.Join(s.root, name))
		require.NoError(t, err)
		all[name] = string(b)
	}
	return all
}
