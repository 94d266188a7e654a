package file

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

const tinyMark = "#mark#\x00\x01"

func tinyRecords(from, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprint("record ", from+i))
	}
	return all
}

func TestBlocksAreResumedAtEachRecord(t *testing.T) {
	t.Parallel()
	content := tinyFile(tinyMark, tinyRecords(1, 3), nil, tinyRecords(4, 1), tinyRecords(5, 7), []string{"record 12", "!bad", "record 14"})
	for _, chunk := range []int{1, 7, 0} {
		for _, size := range []int{1, 2, 5, 1000} {
			disk := newDisk(t, map[string]string{"in": content})
			f := on(tinyBlocks("in"), disk)
			f.chunk = chunk
			all, at := drain(t, f, nil, size)
			all = sorted(all)
			require.Len(t, all, 14)
			for i, x := range all {
				if x.Err == "" {
					require.Equal(t, item{Seq: int64(i + 1), Value: fmt.Sprint("record ", i+1)}, x)
				}
			}
			for i, p := range at {
				rest, _ := drain(t, f, p, 3)
				require.Equal(t, sorted(all[min(len(all), (i+1)*size):]), sorted(rest), "chunk %d, size %d, position %d", chunk, size, i)
			}
		}
	}
}

// sorted brings rejects between the records, where drain, which lists them batch by batch, has them last.
func sorted(items []item) []item {
	items = append([]item{}, items...)
	slices.SortStableFunc(items, func(a, b item) int { return int(a.Seq - b.Seq) })
	return items
}

func TestBlocksThatAreDamaged(t *testing.T) {
	t.Parallel()
	x := &tiny{version: '1', mark: []byte(tinyMark)}
	head := string(x.Header())
	first, last := string(x.blockOf("a", "b")), string(x.blockOf("y", "z"))
	middle := string(x.blockOf("m", "n", "o"))
	flip := func(s string, at int) string { return s[:at] + string(s[at]^0x40) + s[at+1:] }
	for name, tt := range map[string]struct {
		content string
		want    []string // records, or the errors of rejects
	}{
		"empty":                     {"", nil},
		"a header alone":            {head, nil},
		"a header cut short":        {head[:7], []string{"1@0: the header: the file ends within its header; no record can be found behind that, so the rest of the file is rejected"}},
		"no header":                 {"tiny" + first, []string{"1@0: the header: it doesn't begin with TINY; no record can be found behind that, so the rest of the file is rejected"}},
		"whole":                     {head + first + middle + last, []string{"1 a", "2 b", "3 m", "4 n", "5 o", "6 y", "7 z"}},
		"a flipped bit in a record": {head + first + flip(middle, 15) + last, []string{"1 a", "2 b", "3@39: a block of 3 records: the checksum is wrong", "6 y", "7 z"}},
		"a flipped mark": {head + first + flip(middle, len(middle)-2) + last, []string{
			"1 a", "2 b", "3@39: no mark behind the block; reading goes on behind the next mark that ends a block, if there is one",
		}},
		"a mark that isn't all there": {head + first + middle[:len(middle)-1] + last + last, []string{
			"1 a", "2 b", "3@39: no mark behind the block; reading goes on behind the next mark that ends a block, if there is one", "4 y", "5 z",
		}},
		"garbage between blocks": {head + first + strings.Repeat("garbage ", 1000) + tinyMark + last, []string{
			"1 a", "2 b", "3@39: a block that is too large; reading goes on behind the next mark that ends a block, if there is one", "4 y", "5 z",
		}},
		"garbage at the end": {head + first + strings.Repeat("garbage ", 1000), []string{
			"1 a", "2 b", "3@39: a block that is too large; reading goes on behind the next mark that ends a block, if there is one",
		}},
		"a size beyond the end": {head + first + middle[:6] + "\x0f\xff" + middle[8:] + last, []string{
			"1 a", "2 b", "3@39: the block is said to be longer than the rest of the file, or than a block may be; reading goes on behind the next mark that ends a block, if there is one", "4 y", "5 z",
		}},
		"cut short": {head + first + middle[:len(middle)-3], []string{
			"1 a", "2 b", "3@39: the file ends within a block; no record can be found behind that, so the rest of the file is rejected",
		}},
		"a count that is too small": {head + string(x.blockOf("a", "b")[:3]) + "\x01" + first[4:] + last, []string{
			"1 a", "2@13: 3 bytes behind the 1 records of the block that begins there", "3 y", "4 z",
		}},
		"a count that is too large": {head + first[:3] + "\x05" + first[4:] + last, []string{
			"1 a", "2 b", "3@13: record 3 of the 5 in the block that begins there: the record is cut short; where it ends isn't known, so the 2 behind it are rejected with it", "6 y", "7 z",
		}},
		"a record that is bad": {head + string(x.blockOf("a", "!", "c")) + last, []string{
			"1 a", "2@13: record 2 of the 3 in the block that begins there: it can't be decoded", "3 c", "4 y", "5 z",
		}},
		"a record without an end": {head + string(x.blockOf("a", "?", "c")) + last, []string{
			"1 a", "2@13: record 2 of the 3 in the block that begins there: the record makes no sense; where it ends isn't known, so the 1 behind it are rejected with it", "4 y", "5 z",
		}},
		"a record that is too long": {head + string(x.blockOf("a", strings.Repeat("x", 200), "c")), []string{
			"1 a", "2@13: record 2 of the 3 in the block that begins there: the record is longer than MaxRecordBytes, 100", "3 c",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.want = append([]string{}, tt.want...)
			for _, chunk := range []int{1, 3, 0} {
				for _, size := range []int{1, 2, 100} {
					f := on(tinyBlocks("in"), newDisk(t, map[string]string{"in": tt.content}))
					f.chunk, f.MaxRecordBytes = chunk, 100
					all, at := drain(t, f, nil, size)
					require.Equal(t, tt.want, told(all), "chunk %d, size %d", chunk, size)
					done := 0
					for _, p := range at { // each of them, and nothing twice
						rest, _ := drain(t, f, p, 1)
						done = len(all) - len(rest)
						require.Equal(t, tt.want[done:], told(rest), "chunk %d, size %d", chunk, size)
					}
					if len(at) > 0 {
						require.Equal(t, len(all), done, "the last position is the end")
					}
				}
			}
		})
	}
}

func told(items []item) []string {
	out := []string{}
	for _, x := range sorted(items) {
		if x.Err != "" {
			out = append(out, fmt.Sprintf("%d@%d: %s", x.Seq, x.Offset, x.Err))
		} else {
			out = append(out, fmt.Sprint(x.Seq, " ", x.Value))
		}
	}
	return out
}

func TestBlocksCompletedLaterAreReadOn(t *testing.T) {
	t.Parallel()
	whole := tinyFile(tinyMark, tinyRecords(1, 2), tinyRecords(3, 3))
	for cut := range len(whole) - 13 {
		disk := newDisk(t, map[string]string{"in": whole[:len(whole)-1-cut]})
		f := on(tinyBlocks("in"), disk)
		before, at := drain(t, f, nil, 1)
		put(t, disk, "in", whole)
		after, _ := drain(t, f, at[len(at)-1], 1)
		before = slices.DeleteFunc(before, func(x item) bool { return x.Err != "" })
		require.Equal(t, tinyRecords(1, 5), values(append(before, after...)), "%d bytes were missing", cut+1)
	}
}

// Where no mark comes behind damage, the position stays before it: a file that is mended or completed later is read on from there, and the damage isn't rejected again.
func TestDamageWithoutAnEndIsReadAgain(t *testing.T) {
	t.Parallel()
	whole := tinyFile(tinyMark, tinyRecords(1, 2), tinyRecords(3, 3))
	first := len(tinyFile(tinyMark, tinyRecords(1, 2)))
	garbage := whole[:first] + strings.Repeat("garbage ", 20)
	disk := newDisk(t, map[string]string{"in": garbage})
	f := on(tinyBlocks("in"), disk)
	all, at := drain(t, f, nil, 1)
	require.Len(t, all, 3)
	require.NotEmpty(t, all[2].Err)
	last := at[len(at)-1]
	rest, _ := drain(t, f, last, 1)
	require.Empty(t, rest, "it was said")
	put(t, disk, "in", whole)
	rest, _ = drain(t, f, last, 1)
	require.Equal(t, tinyRecords(3, 3), values(rest), "mended")
	put(t, disk, "in", garbage+tinyMark+string((&tiny{mark: []byte(tinyMark)}).blockOf("behind")))
	rest, _ = drain(t, f, last, 1)
	require.Equal(t, []item{{Seq: 4, Value: "behind"}}, rest)
}

func TestBlocksOfAnotherFileAreNotGoneOnWith(t *testing.T) {
	t.Parallel()
	long := tinyRecords(1, 200)
	disk := newDisk(t, map[string]string{"in": tinyFile(tinyMark, long, long, long)})
	f := on(tinyBlocks("in"), disk)
	_, at := drain(t, f, nil, 250)
	put(t, disk, "in", tinyFile(tinyMark, long, long[:100], long, long))
	_, err := tryRead(t, f, at[1])
	require.ErrorContains(t, err, "no block ends at byte", "beyond what the fingerprint is of")

	put(t, disk, "in", tinyFile(tinyMark, long, long, nil))
	_, err = tryRead(t, f, at[2])
	require.ErrorContains(t, err, "ends before byte")
	put(t, disk, "in", tinyFile(tinyMark, long, long[:2], long))
	inside := at[0]
	_, err = tryRead(t, f, inside)
	require.ErrorContains(t, err, "has 2 records that can be read, and 50 were read before")
	put(t, disk, "in", tinyFile("#another", long, long, long))
	_, err = tryRead(t, f, at[0])
	require.ErrorContains(t, err, "doesn't begin as the file did")
	put(t, disk, "in", "TINYx"+tinyMark)
	_, err = tryRead(t, f, nil)
	require.ErrorContains(t, err, "in: version x can't be read")
}

func tryRead(t *testing.T, f *File[[]byte], from weaver.Position) ([]item, error) {
	t.Helper()
	r, err := f.OpenReader(t.Context(), weaver.Lane{Position: from})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := weaver.NewBatch[[]byte](math.MaxInt, 0)
	if _, err := r.Read(t.Context(), b); err != nil {
		return itemsOf(b), err
	}
	return itemsOf(b), nil
}

func TestBlocksCompressedAgain(t *testing.T) {
	t.Parallel()
	content := tinyFile(tinyMark, tinyRecords(1, 3), tinyRecords(4, 10), tinyRecords(14, 1))
	disk := newDisk(t, map[string]string{"in": gzipped(t, content[:40], content[40:90], content[90:])})
	f := on(tinyBlocks("in"), disk)
	all, at := drain(t, f, nil, 1)
	require.Equal(t, tinyRecords(1, 14), values(all))
	for i, p := range at {
		rest, _ := drain(t, f, p, 4)
		require.Equal(t, values(all[min(len(all), i+1):]), values(rest))
	}
}

func TestPositionsOfBlocks(t *testing.T) {
	t.Parallel()
	old := position{mark: mark{offset: 70, line: 3, print: fingerprint{size: 60, sum: 1}}, name: "x"}.append(nil)
	p, err := parsePosition(old)
	require.NoError(t, err)
	require.Zero(t, p.inside)
	p.inside = 1 << 40
	got, err := parsePosition(p.append(nil))
	require.NoError(t, err)
	require.Equal(t, p, got)

	e := entry{mark: p.mark, name: 1, size: 70}
	_, all, err := parseEntries(append([]byte{entriesVersion, 0, 1}, e.append(nil)...))
	require.NoError(t, err)
	require.Equal(t, p.inside, all[0].inside)

	flagged := []byte{positionVersion, 0, 70, 3, 0, 0}
	flagged = binary.AppendUvarint(flagged, insideFlag)
	_, err = parsePosition(append(append(flagged, 0), make([]byte, 9)...))
	require.Error(t, err, "a flag for nothing")
}

// FuzzBlocks reads whatever comes in pieces of any size, from the beginning and from each position, with the same result; and doesn't take blocks that are whole for damaged.
func FuzzBlocks(f *testing.F) {
	whole := tinyFile(tinyMark, []string{"a", "b"}, []string{"!", "?", "c"}, nil, tinyRecords(1, 2))
	f.Add([]byte(whole), uint8(1), uint8(0))
	f.Add([]byte(whole[:len(whole)-3]), uint8(2), uint8(1))
	f.Add([]byte(whole[:40]+tinyMark+whole[40:]), uint8(1), uint8(7))
	f.Fuzz(func(t *testing.T, data []byte, size, chunk uint8) {
		open := func(seeks bool) *File[[]byte] {
			x := tinyBlocks("in")
			x.FS, x.chunk, x.MaxRecordBytes = fstest.MapFS{"in": &fstest.MapFile{Data: data}}, int(chunk), 50
			if !seeks {
				x.FS = onwardsFS{x.FS}
			}
			return x
		}
		if len(data) > 4 && strings.HasPrefix(string(data), "TINY") && data[4] > '9' {
			return // which is an error
		}
		all, at := drain(t, open(true), nil, int(size%8)+1)
		all = sorted(all)
		again, _ := drain(t, open(false), nil, 100)
		require.Equal(t, told(all), told(again))
		for i, p := range at {
			rest, _ := drain(t, open(i%2 == 0), p, 3)
			require.LessOrEqual(t, len(rest), len(all))
			require.ElementsMatch(t, all[len(all)-len(rest):], rest, "position %d", i)
		}
	})
}

// onwardsFS has files that can't seek.
type onwardsFS struct{ fs.FS }

func (o onwardsFS) Open(name string) (fs.File, error) {
	f, err := o.FS.Open(name)
	return struct{ fs.File }{f}, err
}
