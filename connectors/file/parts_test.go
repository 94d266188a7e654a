package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
	"github.com/bohica-labs/dataweaver/retry"
)

// openPart returns a writer of parts.
func openParts[T any](t testing.TB, p *PartSink[T], at weaver.Lane) *partWriter[T] {
	t.Helper()
	w, err := p.OpenWriter(t.Context(), at)
	require.NoError(t, err)
	return w.(*partWriter[T])
}

// keepParts returns a writer of parts that keeps the checkpoint.
func keepParts[T any](t testing.TB, p *PartSink[T], at weaver.Lane) (*partWriter[T], []byte) {
	t.Helper()
	w := openParts(t, p, at)
	envelope, err := w.Restore(t.Context())
	require.NoError(t, err)
	return w, envelope
}

// unpack returns what a file holds, by the end of its name.
func unpack(t testing.TB, name, data string) string {
	t.Helper()
	var r io.Reader = strings.NewReader(data)
	switch path.Ext(name) {
	case ".gz":
		z, err := gzip.NewReader(r)
		require.NoError(t, err, name)
		r = z
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		require.NoError(t, err, name)
		defer z.Close()
		r = z
	}
	all, err := io.ReadAll(r)
	require.NoError(t, err, name)
	return string(all)
}

// complete returns the complete parts in a folder in the order of their names, unpacked, and that without the folder. It finds them as a reader would who knows nothing of manifests.
func complete(t testing.TB, disk durable.FS, dir string) (names []string, contents map[string]string) {
	t.Helper()
	contents = map[string]string{}
	var walk func(dir, under string)
	walk = func(dir, under string) {
		entries, err := disk.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		require.NoError(t, err)
		for _, e := range entries {
			name := path.Join(under, e.Name())
			switch {
			case e.Name() == ownFolder:
			case e.IsDir():
				walk(filepath.Join(dir, e.Name()), name)
			default:
				names = append(names, name)
				contents[name] = unpack(t, name, content(t, disk, filepath.Join(dir, e.Name())))
			}
		}
	}
	walk(dir, "")
	return names, contents
}

func temps(t testing.TB, disk durable.FS, dir string) []string {
	t.Helper()
	entries, err := disk.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), partSuffix) {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestPartsCommitAndRestore(t *testing.T) {
	t.Parallel()
	for _, ext := range []string{"", ".gz", ".zst"} {
		disk := durabletest.New()
		sink := func() *PartSink[[]byte] {
			p := Parts(on(Lines("out/a-{part}"+ext), disk))
			p.MaxRecords = 3
			return p
		}
		w, envelope := keepParts(t, sink(), weaver.Lane{Pipeline: "p"})
		require.Nil(t, envelope)
		require.NoError(t, w.Write(t.Context(), lines("1", "2")))
		require.False(t, w.Due())
		require.NoError(t, w.Commit(t.Context(), []byte("2")))
		names, _ := complete(t, disk, "out")
		require.Empty(t, names, "nothing is complete")
		require.NoError(t, w.Write(t.Context(), lines("3", "4")))
		require.True(t, w.Due())
		names, _ = complete(t, disk, "out")
		require.Empty(t, names, "the part isn't committed")
		require.NoError(t, w.Commit(t.Context(), []byte("4")))
		require.False(t, w.Due())
		names, data := complete(t, disk, "out")
		require.Equal(t, []string{"a-000001" + ext}, names)
		require.Equal(t, "1\n2\n3\n", data[names[0]])
		require.NoError(t, w.Write(t.Context(), lines("5", "6", "7", "lost")))
		require.Len(t, temps(t, disk, "out/.weaver/parts"), 1)

		disk = disk.Crash(1) // everything that was written is there
		require.Empty(t, partsOf(t, disk, "out")[1:])
		w, envelope = keepParts(t, sink(), weaver.Lane{Pipeline: "p"})
		require.Equal(t, "4", string(envelope))
		require.NoError(t, w.Write(t.Context(), lines("5")))
		require.NoError(t, w.Commit(t.Context(), []byte("5")))
		require.NoError(t, w.Close())
		names, data = complete(t, disk, "out")
		require.Equal(t, []string{"a-000001" + ext, "a-000002" + ext}, names)
		require.Equal(t, "4\n5\n", data[names[1]])
		require.Empty(t, temps(t, disk, "out/.weaver/parts"))

		w, envelope = keepParts(t, sink(), weaver.Lane{Pipeline: "p"})
		require.Equal(t, "5", string(envelope))
		require.NoError(t, w.Write(t.Context(), lines("6")))
		require.NoError(t, w.Commit(t.Context(), []byte{}))
		require.NoError(t, w.Write(t.Context(), lines("7"))) // something fails: it isn't committed
		require.NoError(t, w.Close())
		require.Error(t, w.Write(t.Context(), lines("8")))
		names, _ = complete(t, disk, "out")
		require.Len(t, names, 2, "what is left is for the next writer")
		w, envelope = keepParts(t, sink(), weaver.Lane{Pipeline: "p"})
		require.Equal(t, []byte{}, envelope)
		require.NoError(t, w.Close())
		names, data = complete(t, disk, "out")
		require.Equal(t, "6\n", data[names[2]])

		parts := partsOf(t, disk, "out")
		require.Len(t, parts, 3)
		for i, p := range parts {
			require.Equal(t, filepath.Join("out", names[i]), p.Path)
			require.Equal(t, int64(strings.Count(data[names[i]], "\n")), p.Records)
			require.Equal(t, int64(len(data[names[i]])), p.RawBytes)
			stored := content(t, disk, p.Path)
			require.Equal(t, int64(len(stored)), p.Bytes)
			require.Equal(t, crcOf(stored), p.CRC32C)
			require.False(t, p.End.Before(p.Begin))
		}
	}
}

func partsOf(t testing.TB, disk durable.FS, root string) []Part {
	t.Helper()
	parts, err := readManifests(disk, root)
	require.NoError(t, err)
	return parts
}

func crcOf(s string) uint32 {
	sum := sealed([]byte(s))
	return binary.BigEndian.Uint32(sum[len(s):])
}

type visit struct {
	Country string            `json:"country"`
	Page    string            `json:"page"`
	User    *user             `json:"user,omitempty"`
	Tags    map[string]string `json:"tags,omitempty"`
	N       int               `json:"n"`
}

type user struct {
	ID   int64     `json:"id"`
	Seen time.Time `json:"seen"`
}

func TestPartsSplitRecords(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	p := Parts(on(NDJSON[visit]("out/{time:2006/01-02}/{country}-{part}.ndjson"), disk))
	w, _ := keepParts(t, p, weaver.Lane{})
	b := weaver.NewBatch[visit](0, 0)
	day := time.Date(2026, 5, 1, 23, 59, 59, 0, time.FixedZone("", -3600))
	for i := range 40 {
		r := b.Add()
		r.Value = visit{Country: []string{"DE", "..", "", "a/b"}[i%4], N: i}
		r.Time = day.Add(time.Duration(i/20) * 24 * time.Hour)
	}
	b.Add().Value.N = -1 // without a time
	err := w.Write(t.Context(), b)
	var partial *weaver.BatchError
	require.ErrorAs(t, err, &partial)
	require.Len(t, partial.Records, 1)
	require.Equal(t, 40, partial.Records[0].Index)
	require.ErrorContains(t, partial.Records[0].Err, "take {now:...}")
	require.Equal(t, retry.ClassPoison, retry.ClassOf(partial.Records[0].Err))
	require.NoError(t, w.Commit(t.Context(), nil))
	require.NoError(t, w.Close())
	names, data := complete(t, disk, "out")
	require.Equal(t, []string{
		"2026/05-02/%2E%2E-000002.ndjson", "2026/05-02/%empty-000003.ndjson", "2026/05-02/DE-000001.ndjson", "2026/05-02/a%2Fb-000004.ndjson",
		"2026/05-03/%2E%2E-000006.ndjson", "2026/05-03/%empty-000007.ndjson", "2026/05-03/DE-000005.ndjson", "2026/05-03/a%2Fb-000008.ndjson",
	}, names)
	require.Equal(t, `{"country":"DE","page":"","n":0}`+"\n", data["2026/05-02/DE-000001.ndjson"][:33])
	for _, name := range names {
		require.Equal(t, 5, strings.Count(data[name], "\n"), name)
	}
}

// A part that nobody writes to grows old and is published, without any call.
func TestPartsGrowOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := durabletest.New()
		p := Parts(on(Lines("out/{part}"), disk))
		p.MaxAge = time.Minute
		w, _ := keepParts(t, p, weaver.Lane{})
		require.NoError(t, w.Write(t.Context(), lines("a")))
		require.NoError(t, w.Commit(t.Context(), []byte("1")))
		time.Sleep(30 * time.Second)
		require.NoError(t, w.Write(t.Context(), lines("b")))
		require.NoError(t, w.Commit(t.Context(), []byte("2")))
		time.Sleep(29 * time.Second)
		synctest.Wait()
		names, _ := complete(t, disk, "out")
		require.Empty(t, names)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		names, data := complete(t, disk, "out")
		require.Equal(t, []string{"000001"}, names)
		require.Equal(t, "a\nb\n", data["000001"])
		require.Len(t, partsOf(t, disk, "out"), 1)

		// What isn't committed waits for the commit, which Due asks for.
		require.NoError(t, w.Write(t.Context(), lines("c")))
		require.False(t, w.Due())
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		names, _ = complete(t, disk, "out")
		require.Len(t, names, 1)
		require.True(t, w.Due())
		require.NoError(t, w.Commit(t.Context(), []byte("3")))
		names, _ = complete(t, disk, "out")
		require.Len(t, names, 2)

		// A committed part that has got more meanwhile: the timer leaves it alone, and nothing else counts.
		require.NoError(t, w.Write(t.Context(), lines("d")))
		require.NoError(t, w.Commit(t.Context(), []byte("4")))
		require.NoError(t, w.Write(t.Context(), lines("e")))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		names, _ = complete(t, disk, "out")
		require.Len(t, names, 2)
		require.NoError(t, w.Close())

		// Age goes on over restarts, by the clock of the wall.
		w, envelope := keepParts(t, p, weaver.Lane{})
		require.Equal(t, "4", string(envelope))
		time.Sleep(time.Second)
		synctest.Wait()
		names, data = complete(t, disk, "out")
		require.Equal(t, []string{"000001", "000002", "000003"}, names)
		require.Equal(t, "d\n", data["000003"])
		require.NoError(t, w.Close())
	})
}

// A state from the future, as the clock was set back since: the part is as old as if it had begun now.
func TestPartsFromTheFuture(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := durabletest.New()
		p := Parts(on(Lines("out/{part}"), disk))
		p.MaxAge = time.Minute
		w, _ := keepParts(t, p, weaver.Lane{})
		require.NoError(t, w.Write(t.Context(), lines("a")))
		require.NoError(t, w.Commit(t.Context(), []byte("1")))
		require.NoError(t, w.Write(t.Context(), lines("b")))
		require.NoError(t, w.Close())
		s, _, err := readState(disk, "out/.weaver/parts/state")
		require.NoError(t, err)
		s.Open[0].Begin = time.Now().Add(1000 * time.Hour).UnixNano()
		data, err := s.encode()
		require.NoError(t, err)
		put(t, disk, "out/.weaver/parts/state", string(data))

		w, _ = keepParts(t, p, weaver.Lane{})
		time.Sleep(59 * time.Second)
		synctest.Wait()
		names, _ := complete(t, disk, "out")
		require.Empty(t, names)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		names, _ = complete(t, disk, "out")
		require.Len(t, names, 1)
		require.NoError(t, w.Close())
	})
}

func TestPartsAreBounded(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	p := Parts(on(NDJSON[visit]("out/{page}/{part}"), disk))
	p.MaxOpen, p.MaxParts = 3, 10
	p.each.BufferBytes = 100
	w, _ := keepParts(t, p, weaver.Lane{})
	const n = 400
	for i := range n {
		require.NoError(t, w.Write(t.Context(), batchOf(visit{Page: fmt.Sprint(i % 40), N: i})))
		require.LessOrEqual(t, len(w.set.opened), 3)
		require.LessOrEqual(t, len(w.set.parts), 10)
		held := 0
		for _, q := range w.set.all {
			require.Equal(t, q.file != nil, slices.Contains(w.set.opened, q))
			held += cap(q.buf)
		}
		require.Equal(t, held, w.set.held)
		require.LessOrEqual(t, held, 3*100)
		if w.Due() {
			require.NoError(t, w.Commit(t.Context(), []byte{1}))
			require.LessOrEqual(t, len(w.set.last.Open), 10)
		}
	}
	require.NoError(t, w.Commit(t.Context(), []byte{2}))
	require.NoError(t, w.Close())
	names, data := complete(t, disk, "out")
	records := 0
	for _, name := range names {
		records += strings.Count(data[name], "\n")
	}
	require.Equal(t, n, records)

	// By size: uncompressed to the record.
	q := Parts(on(Lines("size/{part}"), disk))
	q.MaxBytes = 10
	w2, _ := keepParts(t, q, weaver.Lane{})
	require.NoError(t, w2.Write(t.Context(), lines("1234", "12345", "x", "a line that is longer than all of it", "y")))
	require.NoError(t, w2.Commit(t.Context(), nil))
	require.NoError(t, w2.Close())
	_, data = complete(t, disk, "size")
	require.Equal(t, map[string]string{
		"000001": "1234\n12345\n", "000002": "x\na line that is longer than all of it\n", "000003": "y\n",
	}, data)
}

func TestPartsEarlierWritersAreFenced(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	sink := func() *PartSink[[]byte] {
		p := Parts(on(Lines("out/{part}"), disk))
		p.each.BufferBytes = 4
		return p
	}
	first, _ := keepParts(t, sink(), weaver.Lane{Pipeline: "p"})
	require.NoError(t, first.Write(t.Context(), lines("aaaa")))
	require.NoError(t, first.Commit(t.Context(), []byte("1")))
	require.NoError(t, first.Write(t.Context(), lines("b")))
	second, envelope := keepParts(t, sink(), weaver.Lane{Pipeline: "p"})
	require.Equal(t, "1", string(envelope))
	require.ErrorIs(t, first.Write(t.Context(), lines("ccccc")), weaver.ErrFenced)
	require.ErrorIs(t, first.Commit(t.Context(), []byte("2")), weaver.ErrFenced)
	require.NoError(t, first.Close())

	third, _ := keepParts(t, sink(), weaver.Lane{Pipeline: "p"})
	require.NoError(t, second.Close(), "it would publish the part, which is another's now")
	names, _ := complete(t, disk, "out")
	require.Empty(t, names)
	require.NoError(t, third.Write(t.Context(), lines("d")))
	require.NoError(t, third.Commit(t.Context(), []byte("2")))
	require.NoError(t, third.Close())
	_, data := complete(t, disk, "out")
	require.Equal(t, map[string]string{"000001": "aaaa\nd\n"}, data)
}

func TestPartsSplits(t *testing.T) {
	t.Parallel()
	at := func(id string) weaver.Lane { return weaver.Lane{Pipeline: "p", Split: weaver.Split{ID: id}} }
	disk := durabletest.New()
	one := Parts(on(Lines("out/{part}"), disk))
	w, _ := keepParts(t, one, at("a"))
	_, err := openParts(t, one, at("b")).Restore(t.Context())
	require.ErrorContains(t, err, "put {split} into the path")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	require.NoError(t, w.Close())

	all := Parts(on(Lines("all/{split}-{part}"), disk))
	ids := []string{"a", "../b", "", "A%", "c d"}
	var writers []*partWriter[[]byte]
	for _, id := range ids {
		w, _ := keepParts(t, all, at(id))
		require.NoError(t, w.Write(t.Context(), lines(id)))
		writers = append(writers, w)
	}
	for _, w := range writers {
		require.NoError(t, w.Commit(t.Context(), []byte{1}))
		require.NoError(t, w.Close())
	}
	_, data := complete(t, disk, "all")
	require.Equal(t, map[string]string{
		"a-000001": "a\n", "%2E.%2Fb-000001": "../b\n", "%empty-000001": "\n", "A%25-000001": "A%\n", "c%20d-000001": "c d\n",
	}, data)
	require.Len(t, partsOf(t, disk, "all"), len(ids))

	for path, want := range map[string]string{"all/{part}": "with {split} in the path", "out/{split}-{part}": "without {split} in the path"} {
		_, err := openParts(t, Parts(on(Lines(path), disk)), at("a")).Restore(t.Context())
		require.ErrorContains(t, err, want)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
	_, err = openParts(t, one, weaver.Lane{Pipeline: "q", Split: weaver.Split{ID: "a"}}).Restore(t.Context())
	require.ErrorContains(t, err, `the parts of pipeline "p"`)
}

func TestPartsTakeNoNameTwice(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	require.NoError(t, disk.Mkdir("out", 0o700))
	put(t, disk, "out/000001", "foreign")
	p := Parts(on(Lines("out/{part}"), disk))
	w, _ := keepParts(t, p, weaver.Lane{})
	err := w.Write(t.Context(), lines("a"))
	require.ErrorContains(t, err, "set IfExists to file.Append")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	require.NoError(t, w.Close())

	p.each.IfExists = Append
	p.MaxRecords = 1
	w, _ = keepParts(t, p, weaver.Lane{})
	require.NoError(t, w.Write(t.Context(), lines("a")))
	put(t, disk, "out/000002", "foreign too") // in the middle of it
	err = w.Commit(t.Context(), []byte("1"))
	require.ErrorContains(t, err, "is there already")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	require.NoError(t, w.Close())
	_, err = openParts(t, p, weaver.Lane{}).Restore(t.Context())
	require.ErrorContains(t, err, "is there already")
	_, data := complete(t, disk, "out")
	require.Equal(t, map[string]string{"000001": "foreign", "000002": "foreign too"}, data)

	require.NoError(t, disk.Rename("out/000002", "out/elsewhere"))
	w, envelope := keepParts(t, p, weaver.Lane{})
	require.Equal(t, "1", string(envelope), "it had come through")
	require.NoError(t, w.Close())
	_, data = complete(t, disk, "out")
	require.Equal(t, map[string]string{"000001": "foreign", "elsewhere": "foreign too", "000002": "a\n"}, data)
}

func TestPartsSharedByWriters(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	p := Parts(on(Lines("out/{part}"), disk))
	p.MaxRecords = 5
	a, b := openParts(t, p, weaver.Lane{Split: weaver.Split{ID: "a"}}), openParts(t, p, weaver.Lane{Split: weaver.Split{ID: "b"}})
	require.NoError(t, a.Flush(t.Context()))
	require.NoError(t, a.Write(t.Context(), lines("1", "2")))
	require.NoError(t, b.Write(t.Context(), lines("3", "4")))
	_, err := openParts(t, p, weaver.Lane{}).Restore(t.Context())
	require.ErrorContains(t, err, "give them a folder of their own")
	require.False(t, a.Due())
	require.NoError(t, b.Flush(t.Context()))
	require.NoError(t, a.Write(t.Context(), lines("5")))
	require.True(t, b.Due())
	require.NoError(t, b.Flush(t.Context()))
	require.Len(t, partsOf(t, disk, "out"), 1)
	require.NoError(t, b.Write(t.Context(), lines("6")))
	require.NoError(t, a.Flush(t.Context()))
	require.NoError(t, a.Write(t.Context(), lines("unflushed")))
	require.NoError(t, a.Close())
	names, _ := complete(t, disk, "out")
	require.Len(t, names, 1)
	crashed := disk.Crash(1)
	require.Error(t, b.Close())

	// Whoever opens it next publishes what a crash has left, and cuts off what was not flushed.
	p = Parts(on(Lines("out/{part}"), crashed))
	c := openParts(t, p, weaver.Lane{})
	require.NoError(t, c.Write(t.Context(), lines("7")))
	_, data := complete(t, crashed, "out")
	require.Equal(t, map[string]string{"000001": "1\n2\n3\n4\n5\n", "000002": "6\n"}, data)
	require.NoError(t, c.Flush(t.Context()))
	require.NoError(t, c.Write(t.Context(), lines("8")))
	require.NoError(t, c.Close())
	_, data = complete(t, crashed, "out")
	require.Equal(t, "7\n", data["000003"])
	require.Len(t, data, 3)

	_, err = openParts(t, Parts(on(Lines("out/{part}"), crashed)), weaver.Lane{}).Restore(t.Context())
	require.NoError(t, err)
	w := openParts(t, Parts(on(Lines("other/{split}{part}"), crashed)), weaver.Lane{})
	require.ErrorContains(t, w.Write(t.Context(), lines("a")), "{split} in the path means nothing here")
}

// The path may change from one run to the next: what was begun is finished as it was.
func TestPartsOfAnotherShape(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	for i, path := range []string{"out/a-{part}.gz", "out/b-{part}.zst", "out/b-{part}.zst"} {
		w, envelope := keepParts(t, Parts(on(Lines(path), disk)), weaver.Lane{})
		if i > 0 {
			require.Equal(t, []byte{byte(i - 1)}, envelope)
		}
		require.NoError(t, w.Write(t.Context(), lines(fmt.Sprint(i))))
		require.NoError(t, w.Commit(t.Context(), []byte{byte(i)}))
		require.NoError(t, w.Write(t.Context(), lines("lost")))
		require.NoError(t, w.Close())
	}
	w, _ := keepParts(t, Parts(on(Lines("out/b-{part}.zst"), disk)), weaver.Lane{})
	require.NoError(t, w.Close())
	_, data := complete(t, disk, "out")
	require.Equal(t, map[string]string{"a-000001.gz": "0\n", "b-000002.zst": "1\n2\n"}, data)
}

func TestPartsOnARealDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	outside := t.TempDir()
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "b")))
	p := Parts(NDJSON[visit](filepath.Join(dir, "{country}", "{part}.ndjson.gz")))
	w, _ := keepParts(t, p, weaver.Lane{})
	require.NoError(t, w.Write(t.Context(), batchOf(visit{Country: "a"}, visit{Country: "a"})))
	require.NoError(t, w.Commit(t.Context(), []byte("1")))
	err := w.Write(t.Context(), batchOf(visit{Country: "b"}))
	require.ErrorContains(t, err, "symbolic link")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	require.NoError(t, w.Close())
	w, _ = keepParts(t, p, weaver.Lane{})
	require.NoError(t, w.Close())
	parts, err := ReadManifest(dir)
	require.NoError(t, err)
	require.Len(t, parts, 1)
	require.Equal(t, filepath.Join(dir, "a", "000001.ndjson.gz"), parts[0].Path)
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Empty(t, entries)

	require.NoError(t, os.Symlink(outside, filepath.Join(outside, ownFolder)))
	other := t.TempDir()
	require.NoError(t, os.Symlink(outside, filepath.Join(other, ownFolder)))
	_, err = openParts(t, Parts(Lines(filepath.Join(other, "{part}"))), weaver.Lane{}).Restore(t.Context())
	require.ErrorContains(t, err, "symbolic link")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
}

func TestPartsValidate(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(p *PartSink[visit]){
		"field MaxBytes is -1":                  func(p *PartSink[visit]) { p.MaxBytes = -1 },
		"field MaxAge is -1":                    func(p *PartSink[visit]) { p.MaxAge = -1 },
		"field IfExists is Overwrite":           func(p *PartSink[visit]) { p.each.IfExists = Overwrite },
		"field Compression is Compression(9)":   func(p *PartSink[visit]) { p.each.Compression = 9 },
		"field CompressionLevel is 10: of":      func(p *PartSink[visit]) { p.each.Compression, p.each.CompressionLevel = Gzip, 10 },
		"field Sync is SyncPolicy(9)":           func(p *PartSink[visit]) { p.each.Sync = 9 },
		"{part} is missing":                     func(p *PartSink[visit]) { p.each.path = "out/{page}" },
		"without a } behind it":                 func(p *PartSink[visit]) { p.each.path = "out/{part" },
		"without a { before it":                 func(p *PartSink[visit]) { p.each.path = "out/part}" },
		`must not have ".." behind`:             func(p *PartSink[visit]) { p.each.path = "out/{page}/../{part}" },
		`no field is called "pages", but there`: func(p *PartSink[visit]) { p.each.path = "{pages}{part}" },
		`"country" "page" "user" "tags" "n"`:    func(p *PartSink[visit]) { p.each.path = "{pages}{part}" },
		"a *file.user can't be a part":          func(p *PartSink[visit]) { p.each.path = "{user}{part}" },
		"needs a layout":                        func(p *PartSink[visit]) { p.each.path = "{time}{part}" },
		"behind a colon":                        func(p *PartSink[visit]) { p.each.path = "{page:5}{part}" },
		"the path isn't text":                   func(p *PartSink[visit]) { p.each.path = "\xff{part}" },
		"in the path is too long":               func(p *PartSink[visit]) { p.each.path = strings.Repeat("x", 150) + "{page}{part}" },
		"a string has no fields":                func(p *PartSink[visit]) { p.each.path = "{page.x}{part}" },
	} {
		p := Parts(on(NDJSON[visit]("out/{part}"), durabletest.New()))
		change(p)
		_, err := p.OpenWriter(t.Context(), weaver.Lane{})
		require.ErrorContains(t, err, want)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
	_, err := (&PartSink[int]{}).OpenWriter(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, "there is no File")
}
