package file

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
	"github.com/bohica-labs/dataweaver/retry"
)

func TestBlocksAreWrittenAndContinued(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"out", "out.gz", "out.zst"} {
		disk := newDisk(t, nil)
		f := on(tinyBlocks(name), disk)
		f.BufferBytes = 30
		w, envelope := keep(t, f, weaver.Lane{Pipeline: "p"})
		require.Nil(t, envelope)
		require.NoError(t, w.Write(t.Context(), lines("a", "b", "something longer", "another that is long", "c")))
		require.NoError(t, w.Commit(t.Context(), []byte("1")))
		require.NoError(t, w.Write(t.Context(), lines("lost")))
		require.NoError(t, w.Commit(t.Context(), []byte("2")))
		require.NoError(t, w.Write(t.Context(), lines("never", "flushed")))
		before := content(t, disk, name)

		w, envelope = keep(t, on(tinyBlocks(name), disk), weaver.Lane{Pipeline: "p"})
		require.Equal(t, "2", string(envelope))
		require.NoError(t, w.Commit(t.Context(), []byte("2")))
		require.Equal(t, before, content(t, disk, name), "nothing is no block")
		require.NoError(t, w.Write(t.Context(), lines("d")))
		require.NoError(t, w.Commit(t.Context(), []byte("3")))
		require.NoError(t, w.Close())
		all, _ := drain(t, on(tinyBlocks(name), disk), nil, 2)
		require.Equal(t, []string{"a", "b", "something longer", "another that is long", "c", "lost", "d"}, values(all))

		again, err := on(tinyVersion(name, '2'), disk).OpenWriter(t.Context(), weaver.Lane{Pipeline: "p"})
		require.NoError(t, err)
		_, err = again.(weaver.Checkpointer).Restore(t.Context())
		require.ErrorContains(t, err, name+" can't be continued: it has version 1, and version 2 is to be written")
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
		require.NoError(t, again.Close())
	}
}

func TestNothingButAHeaderIsAFileOfBlocks(t *testing.T) {
	t.Parallel()
	disk := newDisk(t, nil)
	w, _ := keep(t, on(tinyBlocks("out"), disk), weaver.Lane{})
	require.NoError(t, w.Commit(t.Context(), nil))
	require.NoError(t, w.Close())
	require.Len(t, content(t, disk, "out"), 13)
	w, _ = keep(t, on(tinyBlocks("out"), disk), weaver.Lane{Resume: true})
	require.NoError(t, w.Write(t.Context(), lines("a")))
	require.NoError(t, w.Commit(t.Context(), nil))
	require.NoError(t, w.Close())
	require.Equal(t, "a\n", tinyLines(t, content(t, disk, "out")))
}

func TestRecordsThatNoBlockTakesArePoison(t *testing.T) {
	t.Parallel()
	disk := newDisk(t, nil)
	w, _ := keep(t, on(tinyBlocks("out"), disk), weaver.Lane{})
	err := w.Write(t.Context(), lines("a", strings.Repeat("x", 1<<16), "b"))
	var bad *weaver.BatchError
	require.ErrorAs(t, err, &bad)
	require.Len(t, bad.Records, 1)
	require.Equal(t, 1, bad.Records[0].Index)
	require.NoError(t, w.Commit(t.Context(), nil))
	require.NoError(t, w.Close())
	require.Equal(t, "a\nb\n", tinyLines(t, content(t, disk, "out")))

	f := on(tinyBlocks("out"), disk)
	f.BufferBytes = tinyMax
	_, err = f.OpenWriter(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, `tiny "out": field BufferBytes is 1048576: must not be more than a quarter of what a block may have, which is 1048576`)
	_, err = Blocks("out", BlockLayout[[]byte]{Name: "none"}).OpenReader(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, "the BlockLayout lacks")
}

// Blocks that several writers append go behind what is there, with its mark, and what a crash has cut short is taken back.
func TestBlocksAreAppended(t *testing.T) {
	t.Parallel()
	whole := tinyFile(tinyMark, []string{"a", "b"})
	next := string((&tiny{mark: []byte(tinyMark)}).blockOf("torn", "torn too"))
	var contents []string
	for n := range len(next) {
		contents = append(contents, whole+next[:n])
	}
	for n := range len(whole) - 28 { // of the header; a loss of power leaves zeros
		contents = append(contents, whole[:n], whole[:n]+strings.Repeat("\x00", 13-n))
	}
	for _, was := range contents {
		disk := newDisk(t, map[string]string{"out": was})
		f := on(tinyBlocks("out"), disk)
		var writers []*writer[[]byte]
		for i := range 2 {
			w := open(t, f, weaver.Lane{})
			require.NoError(t, w.Write(t.Context(), lines(fmt.Sprint("c", i))))
			writers = append(writers, w)
		}
		for _, w := range writers {
			require.NoError(t, w.Flush(t.Context()))
		}
		require.NoError(t, writers[0].Write(t.Context(), lines("not flushed")))
		for _, w := range writers {
			require.NoError(t, w.Close())
		}
		want := "c0\nc1\n"
		if len(was) > 13 {
			want = "a\nb\n" + want
		}
		require.Equal(t, want, tinyLines(t, content(t, disk, "out")), "%q", was)
	}
	w := open(t, on(tinyBlocks("out"), newDisk(t, map[string]string{"out": "something else entirely"})), weaver.Lane{})
	err := w.Write(t.Context(), lines("x"))
	require.ErrorContains(t, err, "out can't be continued: it doesn't begin with TINY; give this one a path of its own")
	require.NoError(t, w.Close())

	disk := newDisk(t, map[string]string{"out": whole + next[:9]})
	f := on(tinyBlocks("out"), disk)
	f.IfExists = Append
	w = open(t, f, weaver.Lane{})
	_, err = w.Restore(t.Context())
	require.ErrorContains(t, err, "out ends within a record: 9 bytes behind the last whole one")
	require.NoError(t, w.Close())
}

// A mark may lie over two of the stretches that a file is read in from its end.
func TestTheLastBlockIsFound(t *testing.T) {
	t.Parallel()
	x := &blockRecords[[]byte]{file: &tiny{mark: []byte(tinyMark)}}
	for _, rest := range []int{0, 1, 7, readBytes - 9, readBytes - 8, readBytes - 7, readBytes - 1, readBytes, readBytes + 1, 3*readBytes - 4} {
		data := "TINY1" + tinyMark + strings.Repeat("x", 300<<10) + tinyMark + strings.Repeat("y", rest)
		n, err := x.whole(strings.NewReader(data), int64(len(data)))
		require.NoError(t, err)
		require.EqualValues(t, len(data)-rest, n)
	}
	for _, rest := range []int{0, 5, 2 * readBytes} {
		data := "TINY1" + tinyMark + strings.Repeat("y", rest)
		n, err := x.whole(strings.NewReader(data), int64(len(data)))
		require.NoError(t, err)
		require.EqualValues(t, 13, n)
	}
}

// TestCrashFlusherOfBlocks is TestCrashFlusher for blocks.
func TestCrashFlusherOfBlocks(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	t.Logf("WEAVER_TEST_SEED=%d", seed)
	for round := range uint64(rounds(100, 20_000)) {
		rng := rand.New(rand.NewPCG(seed, round))
		disk := durabletest.New()
		flushed := map[string]bool{}
		next := 0
		for range 4 {
			disk.CrashAt(rng.IntN(60))
			for appendBlocks(t, disk, rng, &next, flushed) == nil { // until the power goes
			}
			disk = disk.Crash(rng.Uint64())
		}
		require.NoError(t, appendBlocks(t, disk, rng, &next, flushed))
		items, _ := drain(t, on(tinyBlocks("out"), disk), nil, 0)
		found := map[string]bool{}
		for _, i := range items {
			found[i.Value] = true
		}
		for v := range flushed {
			require.True(t, found[v], "%s of round %d is lost", v, round)
		}
	}
}

func appendBlocks(t *testing.T, disk *durabletest.Disk, rng *rand.Rand, next *int, flushed map[string]bool) error {
	t.Helper()
	f := on(tinyBlocks("out"), disk)
	f.BufferBytes = 1 + rng.IntN(2000)
	x, err := f.OpenWriter(t.Context(), weaver.Lane{Resume: true})
	if err != nil {
		return err
	}
	defer x.Close()
	var accepted []string
	for range 10 {
		b := weaver.NewBatch[[]byte](0, 0)
		for range rng.IntN(5) {
			v := fmt.Sprint(*next, strings.Repeat("x", *next%97**next%60))
			b.Add().Value = []byte(v)
			accepted = append(accepted, v)
			*next++
		}
		if err := x.Write(t.Context(), b); err != nil {
			return err
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

func TestBlocksOfStandardInputAndOutput(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f := tinyBlocks("-")
	f.std.output = &out
	for _, v := range []string{"a", "b", "c"} { // each in a Run of its own
		w, err := f.OpenWriter(t.Context(), weaver.Lane{})
		require.NoError(t, err)
		require.NoError(t, w.Write(t.Context(), lines(v, "and", "more")))
		require.NoError(t, w.Close())
	}
	require.Equal(t, "a\nand\nmore\nb\nand\nmore\nc\nand\nmore\n", tinyLines(t, out.String()))

	in := tinyBlocks("-")
	in.std.input = &out
	r, err := in.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	var got []string
	b := weaver.NewBatch[[]byte](2, 0)
	for i := 0; err == nil; i++ {
		var p weaver.Position
		b.Reset()
		p, err = r.Read(t.Context(), b)
		for _, x := range itemsOf(b) {
			got = append(got, x.Value)
		}
		if err == nil {
			require.NoError(t, r.(weaver.Acker).Ack(t.Context(), p))
			if i == 1 { // in the middle of a block
				require.NoError(t, r.Close())
				r, err = in.OpenReader(t.Context(), weaver.Lane{})
				require.NoError(t, err)
			}
		}
	}
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, r.Close())
	require.Equal(t, []string{"a", "and", "more", "b", "and", "more", "c", "and", "more"}, got)
}
