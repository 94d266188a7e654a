package file

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
	"github.com/bohica-labs/dataweaver/retry"
)

// packedOf returns data as members, one for each.
func packedOf(t testing.TB, c Compression, members ...string) string {
	t.Helper()
	p, err := newPacker(c, 0)
	require.NoError(t, err)
	var out []byte
	for _, m := range members {
		stored, err := p.pack([]byte(m))
		require.NoError(t, err)
		out = append(out, stored...)
	}
	return string(out)
}

var compressions = map[string]Compression{".gz": Gzip, ".zst": Zstd}

func TestCompressionOf(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]Compression{"a": None, "a.csv": None, "a.csv.gz": Gzip, "a.GZ": Gzip, "a.zst": Zstd, "a.zst.csv": None, "gz": None} {
		require.Equal(t, want, Auto.of(path), path)
		require.Equal(t, Zstd, Zstd.of(path))
		require.Equal(t, None, None.of(path))
	}
	for c, want := range map[Compression]string{Auto: "Auto", None: "None", Gzip: "Gzip", Zstd: "Zstd", 9: "Compression(9)"} {
		require.Equal(t, want, c.String())
	}
	for s, want := range map[SyncPolicy]string{SyncCommits: "SyncCommits", SyncComplete: "SyncComplete", SyncNever: "SyncNever", 9: "SyncPolicy(9)"} {
		require.Equal(t, want, s.String())
	}
	for level, ok := range map[int]bool{-1: false, 0: true, 1: true, 9: true, 10: false, 22: false} {
		f := Lines("a.gz")
		f.CompressionLevel = level
		_, err := f.packing()
		require.Equal(t, ok, err == nil, level)
	}
	f := Lines("a")
	f.CompressionLevel = 1
	_, err := f.packing()
	require.ErrorContains(t, err, "field CompressionLevel is 1: of None it is at most 0")
}

func TestCompressedFile(t *testing.T) {
	t.Parallel()
	for ext := range compressions {
		for _, level := range []int{0, 1, 9} {
			disk := durabletest.New()
			sink := func() *File[order] {
				f := on(CSV[order]("out"+ext), disk)
				f.CompressionLevel, f.BufferBytes = level, 100
				return f
			}
			read := func() string { return unpack(t, "out"+ext, content(t, disk, "out"+ext)) }
			want := "id,name,price\n"
			for run := range 3 {
				w, _ := keep(t, sink(), weaver.Lane{})
				for i := range 30 {
					require.NoError(t, w.Write(t.Context(), batchOf(order{ID: int64(i), Name: "n"})))
					want += fmt.Sprintf("%d,n,0\n", i)
					if i%7 == 0 {
						require.NoError(t, w.Commit(t.Context(), []byte{byte(run)}))
						require.Equal(t, want, read(), "it can be read after each commit")
					}
				}
				require.NoError(t, w.Commit(t.Context(), []byte{byte(run)}))
				require.NoError(t, w.Write(t.Context(), batchOf(order{ID: -1, Name: strings.Repeat("lost", 100)})))
				require.NoError(t, w.Close())
				require.Equal(t, want, read())
			}
			other := on(CSV[named]("out"+ext), disk)
			_, err := open(t, other, weaver.Lane{}).Restore(t.Context())
			require.ErrorContains(t, err, "other columns")
		}
	}
}

// A file that is there already is continued with members of its own, once it is known to be what it should be.
func TestAppendToACompressedFile(t *testing.T) {
	t.Parallel()
	for ext, c := range compressions {
		good := packedOf(t, c, "id,name,price\n", "1,a,1\n", "2,b,2\n")
		cut := packedOf(t, c, "3,c,3\n")
		for name, x := range map[string]struct {
			before string
			want   string
			fatal  string
		}{
			"empty":              {"", "id,name,price\n", ""},
			"whole":              {good, "id,name,price\n1,a,1\n2,b,2\n", ""},
			"without a line end": {packedOf(t, c, "id,name,price\n1,\"a\nb"), "id,name,price\n1,\"a\nb\"\n", ""},
			"cut":                {good + cut[:len(cut)-3], "id,name,price\n1,a,1\n2,b,2\n", ""},
			"zeros":              {good + cut[:4] + strings.Repeat("\x00", 600), "id,name,price\n1,a,1\n2,b,2\n", ""},
			"only zeros":         {strings.Repeat("\x00", 600), "id,name,price\n", ""},
			"cut in the first":   {good[:10], "id,name,price\n", ""},
			"cut in the magic":   {good[:2], "id,name,price\n", ""},
			"an empty member":    {packedOf(t, c, "id,name,price\n", "", "1,a,1\n", ""), "id,name,price\n1,a,1\n", ""},
			"not compressed":     {"id,name,price\n1,a,1\n", "", "isn't a file of " + c.String()},
			"other columns":      {packedOf(t, c, "id,x\n1,a\n"), "", "other columns"},
		} {
			for _, keeps := range []bool{false, true} {
				disk := newDisk(t, map[string]string{"out" + ext: x.before})
				f := on(CSV[order]("out"+ext), disk)
				f.IfExists = Append
				w := open(t, f, weaver.Lane{})
				var err error
				if keeps {
					_, err = w.Restore(t.Context())
				}
				if err == nil {
					err = w.Write(t.Context(), batchOf(order{ID: 9, Name: "new"}))
				}
				if x.fatal != "" {
					require.ErrorContains(t, err, x.fatal, name)
					require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
					require.NoError(t, w.Close())
					require.Equal(t, x.before, content(t, disk, "out"+ext))
					continue
				}
				require.NoError(t, err, "%s, %s", name, ext)
				if keeps {
					require.NoError(t, w.Commit(t.Context(), []byte("1")))
				} else {
					require.NoError(t, w.Flush(t.Context()))
				}
				require.NoError(t, w.Close())
				require.Equal(t, x.want+"9,new,0\n", unpack(t, "out"+ext, content(t, disk, "out"+ext)), "%s, %s", name, ext)
			}
		}
	}
}

// What a disk that can't be read says is no reason to cut a file.
func TestUnreadableIsNotTorn(t *testing.T) {
	t.Parallel()
	for ext, c := range compressions {
		before := packedOf(t, c, "a\n", "b\n")
		for n := range 60 {
			disk := newDisk(t, map[string]string{"out" + ext: before})
			start := disk.Count()
			disk.Fail(func(o durabletest.Op) error {
				if o.N == start+n && o.Kind == durabletest.Read {
					return syscall.EIO
				}
				return nil
			})
			w := open(t, on(Lines("out"+ext), disk), weaver.Lane{})
			if err := w.Write(t.Context(), lines("c")); err != nil {
				require.ErrorIs(t, err, syscall.EIO)
				require.Equal(t, retry.ClassUnmarked, retry.ClassOf(err))
			}
			require.NoError(t, w.Close())
			disk.Fail(nil)
			require.True(t, strings.HasPrefix(content(t, disk, "out"+ext), before))
		}
	}
}

// However a file of members is cut or damaged, what is found whole is whole, and is all that comes before the damage.
func TestMembers(t *testing.T) {
	t.Parallel()
	for _, c := range []Compression{Gzip, Zstd} {
		var parts []string
		for i := range 5 {
			parts = append(parts, strings.Repeat(fmt.Sprintf("member %d, \"\n", i), i*100))
		}
		data := ""
		ends := []int{0}
		for _, m := range parts {
			data += packedOf(t, c, m)
			ends = append(ends, len(data))
		}
		look := func(data []byte) whole {
			w, err := members(t.Context(), bytes.NewReader(data), int64(len(data)), c)
			require.NoError(t, err)
			return w
		}
		wholeAt := func(n int) (stored, size int64) {
			for i, end := range ends {
				if end <= n {
					stored = int64(end)
					size = int64(len(strings.Join(parts[:i], "")))
				}
			}
			return stored, size
		}
		for n := range len(data) + 1 {
			w := look([]byte(data[:n]))
			stored, size := wholeAt(n)
			require.Equal(t, stored, w.stored, "%v cut to %d", c, n)
			require.Equal(t, size, w.size)
			require.Equal(t, stored == int64(n), w.bad == nil)
			require.Equal(t, int64(strings.Count(strings.Join(parts, "")[:size], `"`)), w.quotes)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for range rounds(300, 20_000) {
			n := rng.IntN(len(data))
			stored, _ := wholeAt(n)
			bad := []byte(data)
			clear(bad[n:]) // as when the length was written and what belongs there was not
			differs := n
			for differs < len(data) && data[differs] == 0 {
				differs++
			}
			kept, _ := wholeAt(differs)
			require.Equal(t, kept, look(bad).stored, "zeros from byte %d on", n)
			bad = []byte(data)
			bad[n] ^= 1 << rng.IntN(8)
			require.GreaterOrEqual(t, look(bad).stored, stored, "byte %d", n)
		}
	}
}

func FuzzMembers(f *testing.F) {
	for _, c := range []Compression{Gzip, Zstd} {
		f.Add([]byte(packedOf(f, c, "a\n", "b\n")))
	}
	f.Add([]byte("\x50\x2a\x4d\x18\x02\x00\x00\x00ab"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, c := range []Compression{Gzip, Zstd} {
			w, err := members(t.Context(), strings.NewReader(string(data)), int64(len(data)), c)
			require.NoError(t, err)
			if w.stored < 0 || w.stored > int64(len(data)) || (w.bad == nil) != (w.stored == int64(len(data))) {
				t.Fatalf("%+v of %d bytes", w, len(data))
			}
		}
	})
}

// A file that is damaged far from its end isn't cut there.
func TestDamageInTheMiddleIsLeftAlone(t *testing.T) {
	t.Parallel()
	data := packedOf(t, Gzip, "a\n", "b\n")
	disk := newDisk(t, map[string]string{"out.gz": data})
	tl, err := on(Lines("out.gz"), disk).openTail(Gzip)
	require.NoError(t, err)
	tl.size = tornLimit + 1000 // as if so much came behind
	tl.file = farFile{tl.file, len(data)}
	_, err = tl.untorn(t.Context())
	require.ErrorContains(t, err, "more than a crash leaves")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	require.Equal(t, data, content(t, disk, "out.gz"))
}

// farFile has garbage behind what it holds.
type farFile struct {
	durable.File
	size int
}

func (f farFile) ReadAt(p []byte, off int64) (int, error) {
	if off < int64(f.size) {
		n, err := f.File.ReadAt(p, off)
		if n > 0 {
			err = nil
		}
		return n, err
	}
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// packedHistory is as TestCrashCheckpointer, for compressed files.
func TestCrashCompressed(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	t.Logf("WEAVER_TEST_SEED=%d", seed)
	for ext := range compressions {
		for round := range uint64(rounds(40, 4000)) {
			rng := rand.New(rand.NewPCG(seed, round))
			disk := durabletest.New()
			acked := 0
			for life := range 6 {
				if life < 5 {
					disk.CrashAt(rng.IntN(120))
				}
				for {
					if err := packedLife(t, disk, "out"+ext, rng, &acked); err != nil || life == 5 {
						require.True(t, life < 5 || err == nil, "%v", err)
						break
					}
				}
				disk = disk.Crash(rng.Uint64())
			}
		}
	}
}

func packedLife(t *testing.T, disk *durabletest.Disk, path string, rng *rand.Rand, acked *int) error {
	t.Helper()
	f := on(Lines(path), disk)
	f.BufferBytes = 1 + rng.IntN(500)
	x, err := f.OpenWriter(t.Context(), weaver.Lane{})
	if err != nil {
		return err
	}
	defer x.Close()
	w := x.(*writer[[]byte])
	envelope, err := w.Restore(t.Context())
	if err != nil {
		return err
	}
	n := 0
	if envelope != nil {
		n = int(binary.BigEndian.Uint32(envelope))
	}
	require.GreaterOrEqual(t, n, *acked)
	data, err := durable.ReadFile(disk, path)
	if err != nil {
		return err
	}
	want := ""
	for i := range n {
		want += fmt.Sprintf("record %d\n", i)
	}
	if len(data) == 0 {
		require.Empty(t, want)
	} else {
		require.Equal(t, want, unpack(t, path, string(data)))
	}
	for range 20 {
		if rng.IntN(4) == 0 {
			if err := w.Commit(t.Context(), binary.BigEndian.AppendUint32(nil, uint32(n))); err != nil {
				return err
			}
			*acked = n
			continue
		}
		for range rng.IntN(8) {
			if err := w.Write(t.Context(), lines(fmt.Sprintf("record %d", n))); err != nil {
				return err
			}
			n++
		}
	}
	return nil
}

// The same where files are appended to: all that was flushed is there, and the file can be unpacked.
func TestCrashCompressedFlusher(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	t.Logf("WEAVER_TEST_SEED=%d", seed)
	for ext := range compressions {
		for round := range uint64(rounds(60, 6000)) {
			rng := rand.New(rand.NewPCG(seed, round))
			disk := durabletest.New()
			flushed, next := map[string]bool{}, 0
			life := func() error {
				f := on(Lines("out"+ext), disk)
				f.BufferBytes = 1 + rng.IntN(500)
				x, err := f.OpenWriter(t.Context(), weaver.Lane{Resume: true})
				if err != nil {
					return err
				}
				defer x.Close()
				var accepted []string
				for range 10 {
					for range rng.IntN(5) {
						v := fmt.Sprintf("record %d of %d", next, round)
						next++
						if err := x.Write(t.Context(), lines(v)); err != nil {
							return err
						}
						accepted = append(accepted, v)
					}
					if rng.IntN(3) == 0 {
						if err := x.(weaver.Flusher).Flush(t.Context()); err != nil {
							return err
						}
						for _, v := range accepted {
							flushed[v] = true
						}
					}
				}
				return nil
			}
			for range 4 {
				disk.CrashAt(rng.IntN(80))
				for life() == nil { // until the power goes
				}
				disk = disk.Crash(rng.Uint64())
			}
			require.NoError(t, life())
			data := content(t, disk, "out"+ext)
			if data == "" {
				require.Empty(t, flushed)
				continue
			}
			found := map[string]bool{}
			for line := range strings.SplitSeq(unpack(t, "out"+ext, data), "\n") {
				found[line] = true
			}
			for v := range flushed {
				require.True(t, found[v], "%s is lost", v)
			}
		}
	}
}

// What a policy makes durable and when, counted in syncs, and what of it a loss of power leaves.
func TestSyncPolicies(t *testing.T) {
	t.Parallel()
	syncs := func(disk *durabletest.Disk, do func() error) int {
		start := disk.Count()
		require.NoError(t, do())
		n := 0
		for _, o := range disk.Ops()[start:] {
			if o.Kind == durabletest.Sync || o.Kind == durabletest.SyncDir {
				n++
			}
		}
		return n
	}
	for policy, want := range map[SyncPolicy]struct{ commit, end int }{
		SyncCommits:  {commit: 3, end: 0},
		SyncComplete: {commit: 0, end: 3},
		SyncNever:    {commit: 0, end: 0},
	} {
		disk := durabletest.New()
		f := on(Lines("out"), disk)
		f.Sync = policy
		w, _ := keep(t, f, weaver.Lane{})
		require.NoError(t, w.Write(t.Context(), lines("a")))
		require.Equal(t, want.commit, syncs(disk, func() error { return w.Commit(t.Context(), []byte("1")) }), "%v", policy)
		require.Equal(t, want.end, syncs(disk, w.Close), "%v", policy)
		w, envelope := keep(t, f, weaver.Lane{})
		require.Equal(t, "1", string(envelope), "the end of a process costs nothing")
		require.NoError(t, w.Close())
		if policy != SyncNever {
			w, envelope := keep(t, on(Lines("out"), disk.Crash(0)), weaver.Lane{})
			require.Equal(t, "1", string(envelope))
			require.NoError(t, w.Close())
		}

		disk = durabletest.New()
		g := on(Lines("out"), disk)
		g.Sync = policy
		shared := open(t, g, weaver.Lane{})
		require.NoError(t, shared.Write(t.Context(), lines("a")))
		require.Equal(t, min(want.commit, 1), syncs(disk, func() error { return shared.Flush(t.Context()) }), "%v", policy)
		require.Equal(t, min(want.end, 1), syncs(disk, shared.Close), "%v", policy)
	}
	for policy, want := range map[SyncPolicy]struct{ commit, part int }{
		SyncCommits:  {commit: 4, part: 8},
		SyncComplete: {commit: 0, part: 7},
		SyncNever:    {commit: 0, part: 0},
	} {
		disk := durabletest.New()
		p := Parts(on(Lines("out/{part}"), disk))
		p.MaxRecords = 2
		p.each.Sync = policy
		w, _ := keepParts(t, p, weaver.Lane{})
		require.NoError(t, w.Write(t.Context(), lines("a")))
		require.Equal(t, want.commit, syncs(disk, func() error { return w.Commit(t.Context(), []byte("1")) }), "%v", policy)
		require.NoError(t, w.Write(t.Context(), lines("b", "c")))
		require.Equal(t, want.part, syncs(disk, func() error { return w.Commit(t.Context(), []byte("2")) }), "%v", policy)
		require.NoError(t, w.Close())
		if policy != SyncNever {
			after := disk.Crash(0)
			_, data := complete(t, after, "out")
			require.Equal(t, map[string]string{"000001": "a\nb\n", "000002": "c\n"}, data)
			require.Len(t, partsOf(t, after, "out"), 2)
		}
	}
}
