package file

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

func TestDamage(t *testing.T) {
	t.Parallel()
	g := func(parts ...string) string { return gzipped(t, parts...) }
	z := func(parts ...string) string { return zstandard(t, parts...) }
	bz, _ := bzipped(t, 0)
	bz2, _ := bzipped(t, 1)
	const here, rest = "!", "! rest"
	withWindow := func(descriptor byte) string { // a frame with a raw block, without a checksum
		return zstdMagic + "\x00" + string([]byte{descriptor}) + "\x11\x00\x00x\n"
	}
	for name, c := range map[string]struct {
		stored string
		want   []string // a record, or what a reject says
		why    string
	}{
		"gzip, checksum":      {g("a\n", "b\n", "c\nd") + flip(g("e\n"), -6) + g("f\ng\n"), []string{"a", "b", "c", "de", here, rest, "g"}, "invalid checksum"},
		"gzip, length":        {flip(g("a\nb\n"), -1) + g("\nf\ng\n"), []string{"a", "b", here, "f", "g"}, "invalid checksum"},
		"gzip, data":          {g("a\nb") + flip(g(strings.Repeat("0123456789\n", 5)), 12) + g("x", "y\nz"), []string{"a", here, rest, "z"}, "the gzip data"},
		"gzip, method":        {flip(g("a\n"), 2) + g("b\nc\n"), []string{here, rest, "c"}, "invalid header"},
		"gzip, flags":         {g("a\n")[:3] + "\xff" + g("a\n")[4:] + g("b\nc\n"), []string{here, rest, "c"}, "byte 0 of the compressed"},
		"gzip, only magic":    {gzipMagic, []string{here}, "the file is cut short"},
		"gzip, cut":           {g("a\nb\nc", "d\ne")[:len(g("a\nb\nc", "d\ne"))-1], []string{"a", "b", "cd", here}, "the file is cut short"},
		"gzip, cut header":    {g("a\nb") + g("c\n")[:5], []string{"a", here}, "the file is cut short"},
		"gzip, garbage":       {g("a\n") + "garbage" + g("b\nc\n"), []string{"a", here, rest, "c"}, "invalid header"},
		"gzip, garbage ends":  {g("a\n") + "garbage, and more of that", []string{"a", here}, "invalid header"},
		"gzip, after padding": {g("a\n") + "\x00\x00\x01" + strings.Repeat("\x00", 100) + g("b\n", "c\n"), []string{"a", here, rest, "c"}, "invalid header"},
		"gzip, several":       {g("a\n") + flip(g("b"), -6) + flip(g("c"), -6) + flip(g("d\n"), -6) + g("e\nf\n"), []string{"a", here, rest, "f"}, "invalid checksum"},
		"gzip, twice":         {g("a\n") + flip(g("b"), -6) + g("c\nd\ne") + flip(g("f"), -6) + g("g\nh\n"), []string{"a", here, rest, "d", here, rest, "h"}, "invalid checksum"},
		"gzip, false member":  {flip(g("a\n"), -6) + gzipStart + "\x00\x00\x00\x00\x00\x00\x00" + gzipStart + "\xe0" + g("b\nc\n"), []string{"a", here, rest, "c"}, "invalid checksum"},
		"gzip, all":           {flip(g("a\nb"), -6), []string{"a", here}, "invalid checksum"},
		"gzip, empty lines":   {flip(g("a"), -6) + g("\r\n\nb\n"), []string{here, "", "b"}, "invalid checksum"},

		"zstd, checksum":     {z("a\n", "b\n") + flip(z("c"), -1) + z("d\ne\n"), []string{"a", "b", here, rest, "e"}, "CRC"},
		"zstd, block":        {z("a\nb") + zstdMagic + "\x20\x02\x15\x00\x00\xff\xff" + z("d\ne\n"), []string{"a", here, rest, "e"}, "the zstd data"},
		"zstd, window":       {z("a\n") + withWindow(0xff) + z("d\ne\n"), []string{"a", here, rest, "e"}, "its window is 4123168604160 bytes, and 134217728 (128 MiB) is the limit"},
		"zstd, 128 MiB":      {z("a\n") + withWindow(17<<3) + z("d\ne\n"), []string{"a", "x", "d", "e"}, ""},
		"zstd, 144 MiB":      {z("a\n") + withWindow(17<<3|1) + z("d\ne\n"), []string{"a", here, rest, "e"}, "its window is 150994944 bytes"},
		"zstd, one segment":  {z("a\n") + zstdMagic + "\xa0\x01\x00\x00\x10\x01\x00\x00" + z("d\ne\n"), []string{"a", here, rest, "e"}, "its window is 268435457 bytes"},
		"zstd, dictionary":   {z("a\n") + zstdMagic + "\x21\x07\x02\x11\x00\x00x\n" + z("d\ne\n"), []string{"a", here, rest, "e"}, "it needs the dictionary 7"},
		"zstd, reserved":     {z("a\n") + zstdMagic + "\x20\x02\x17\x00\x00x\n" + z("d\ne\n"), []string{"a", here}, "a block is of no known type"},
		"zstd, cut":          {z("a\n") + z("b\nc\n")[:len(z("b\nc\n"))-1], []string{"a", here}, "the file is cut short"},
		"zstd, cut header":   {z("a\nb") + zstdMagic, []string{"a", here}, "the file is cut short"},
		"zstd, cut magic":    {z("a\nb") + zstdMagic[:2], []string{"a", here}, "the file is cut short"},
		"zstd, cut skipping": {z("a\n") + "\x50\x2a\x4d\x18\xff\xff\xff\xffabc", []string{"a", here}, "the file is cut short"},
		"zstd, garbage":      {z("a\n") + "garbage" + z("b\nc\n"), []string{"a", here}, "the zstd data"},
		"zstd, then gzip":    {z("a\n") + g("b\n"), []string{"a", here}, "the zstd data"},

		"bzip2, checksum": {flip(bz, 12) + bz2, []string{"alpha", "beta", here}, "the bzip2 data"},
		"bzip2, cut":      {bz + bz2[:len(bz2)-1], []string{"alpha", "beta", "gamma", "delta", here}, "the file is cut short"},
		"bzip2, garbage":  {bz + "garbage", []string{"alpha", "beta", here}, "the bzip2 data"},
	} {
		for _, chunk := range []int{1, 100, readBytes} {
			t.Run(fmt.Sprint(name, chunk), func(t *testing.T) {
				t.Parallel()
				f, _ := linesOf(c.stored, true)
				f.chunk = chunk
				all, _ := collect(t, f, nil, 1000)
				got := []string{}
				for _, s := range all {
					switch {
					case strings.Contains(s, errBehindDamage.Error()):
						s = rest
					case strings.HasPrefix(s, here):
						require.Contains(t, s, c.why)
						require.Regexp(t, `^! in:\d+ \(byte \d+\): the (gzip|zstd|bzip2) data that begins at byte \d+ of the compressed file can't be unpacked behind byte \d+ of the content: .*: (get a whole copy|compress it anew)`, s)
						s = here
					}
					got = append(got, s)
				}
				require.Equal(t, c.want, got)

				one, at := collect(t, f, nil, 1)
				require.Equal(t, all, one)
				for i, p := range at {
					rest, _ := collect(t, f, p, 1)
					seen := len(all) - len(rest) // a batch of 1 has one record, or two rejects
					require.GreaterOrEqual(t, seen, min(i+1, len(all)))
					require.Equal(t, all[seen:], rest)
					require.True(t, i < len(at)-1 || len(rest) == 0)
				}
			})
		}
	}
}

// Where nothing can be searched, as the file can't seek, what is behind damage is given up.
func TestDamageInAFileThatCantSeek(t *testing.T) {
	t.Parallel()
	data := gzipped(t, "a\n") + flip(gzipped(t, "b\n"), -6) + gzipped(t, "c\nd\n")
	f, _ := linesOf(data, false)
	all, at := collect(t, f, nil, 1)
	require.Len(t, all, 3)
	require.Equal(t, []string{"a", "b"}, all[:2])
	require.Contains(t, all[2], "invalid checksum")
	for i, p := range at {
		rest, _ := collect(t, f, p, 100)
		require.Equal(t, all[min(i+1, len(all)):], rest)
	}
	data = zstandard(t, "a\n") + flip(zstandard(t, "b\n"), -1) + zstandard(t, "c\nd\n")
	f, _ = linesOf(data, false)
	all, at = collect(t, f, nil, 1)
	require.Equal(t, "d", all[len(all)-1])
	rest, _ := collect(t, f, at[1], 100)
	require.Equal(t, []string{"d"}, rest)
}

// What was begun before the damage and what may be the rest of it are in the rejects, whose places are told.
func TestWhatADamagedFileRejects(t *testing.T) {
	t.Parallel()
	first, second := gzipped(t, "one\ntwo\nbeg"), flip(gzipped(t, "un\nand\nmore"), -6)
	f, _ := linesOf(first+second+gzipped(t, "rest of it\nthree\n"), true)
	r, err := f.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	defer r.Close()
	b := weaver.NewBatch[[]byte](100, 0)
	_, err = r.Read(t.Context(), b)
	require.Error(t, err)
	x := b.Rejects()
	require.Len(t, x, 2)
	require.Equal(t, "more", string(x[0].Raw))
	require.Equal(t, "rest of it", string(x[1].Raw))
	require.Equal(t, []int{4, 4}, []int{x[0].Before, x[1].Before})
	require.Equal(t, []int64{5, 5}, []int64{x[0].Seq, x[1].Seq})
	var at *RecordError
	require.ErrorAs(t, x[0].Err, &at)
	require.Equal(t, int64(18), at.Offset)
	require.ErrorContains(t, x[0].Err, fmt.Sprintf("begins at byte %d of the compressed file can't be unpacked behind byte 22 of the content", len(first)))
	require.NotEqual(t, retry.ClassFatal, retry.ClassOf(x[0].Err))
	require.ErrorAs(t, x[1].Err, &at)
	require.Equal(t, int64(22), at.Offset)
	require.Equal(t, int64(6), b.Records[4].Seq)
}

// Rows mean nothing without their header.
func TestADamagedHeader(t *testing.T) {
	t.Parallel()
	head := gzipped(t, "id,name,price\n")
	rows := gzipped(t, "1,a,2\n2,b,3\n")
	for name, data := range map[string]string{"header": flip(gzipped(t, "id,na"), -6) + rows, "nothing": flip(head, 2) + rows} {
		f := on(CSV[order]("in*"), newDisk(t, map[string]string{"in1": data, "in2": head + rows}))
		items, at := drain(t, f, nil, 1)
		require.Len(t, items, 3, name)
		require.Contains(t, items[0].Err, "can't be unpacked")
		require.Equal(t, []string{"", "{ID:1 Name:a Price:2}", "{ID:2 Name:b Price:3}"}, values(items))
		for i, p := range at {
			rest, _ := drain(t, f, p, 1)
			require.Len(t, rest, max(0, 2-i))
		}
		untyped := on(CSV[[]string]("in1"), f.fsys)
		raw, at := drain(t, untyped, nil, 1)
		require.Len(t, raw, 1)
		require.Contains(t, raw[0].Err, "can't be unpacked")
		rest, _ := drain(t, untyped, at[0], 1)
		require.Empty(t, rest)
	}
	// Behind the header the rows go on.
	f := on(CSV[order]("in"), newDisk(t, map[string]string{"in": head + flip(gzipped(t, "1,\"a\n"), -6) + rows}))
	items, _ := drain(t, f, nil, 1)
	require.Equal(t, []string{"{ID:2 Name:b Price:3}"}, values(items)[len(items)-1:])
	require.Len(t, items, 3)
}

// Where an element of an array begins shows only from what is before: the rest is one reject, and is not said again.
func TestADamagedArray(t *testing.T) {
	t.Parallel()
	f := on(JSONArray[order]("in"), newDisk(t, map[string]string{"in": gzipped(t, `[{"id":1},{"id":2},{"i`) + flip(gzipped(t, "d"), -6) + gzipped(t, `":3},{"id":4}]`)}))
	items, at := drain(t, f, nil, 1)
	require.Equal(t, []string{"{ID:1 Name: Price:0}", "{ID:2 Name: Price:0}", ""}, values(items))
	require.Contains(t, items[2].Err, "invalid checksum")
	for i, p := range at {
		rest, _ := drain(t, f, p, 1)
		require.Equal(t, values(items)[min(i+1, len(items)):], values(rest))
	}
}

// A search for the next member comes to an end, whatever is in the file.
func TestASearchIsBounded(t *testing.T) {
	t.Parallel()
	damaged := flip(gzipped(t, "a\n"), -6)
	false1 := gzipStart + "\x00\x00\x00\x00\x00\x00\x00\xff"
	for name, c := range map[string]struct {
		between string
		found   bool
	}{
		"long":            {strings.Repeat("x", 5<<20), true},
		"many beginnings": {strings.Repeat(false1, gzipTries), false},
		"some beginnings": {strings.Repeat(false1, gzipTries/2), true},
		"no such flags":   {strings.Repeat(gzipStart+"\xff", 1<<20), true},
		"across 1":        {strings.Repeat("x", storedBytes-len(damaged)), true},
		"across 2":        {strings.Repeat("x", storedBytes-len(damaged)-1), true},
		"across 3":        {strings.Repeat("x", storedBytes-len(damaged)-2), true},
	} {
		f, _ := linesOf(damaged+c.between+gzipped(t, "\nb\n"), true)
		all, _ := collect(t, f, nil, 100)
		require.Equal(t, c.found, all[len(all)-1] == "b", name)
		require.Contains(t, all[1], "invalid checksum")
	}
}

// Blocks of a frame that claim to be of another length lead past the end, or not to a frame: nothing behind is taken for one.
func TestAFrameThatLies(t *testing.T) {
	t.Parallel()
	frame := zstandard(t, strings.Repeat("0123456789", 100)+"\n")
	var h zstd.Header
	require.NoError(t, h.Decode([]byte(frame)))
	for size := range uint32(1 << 10) {
		data := []byte(frame)
		block := data[h.HeaderSize:]
		old := uint32(block[0]) | uint32(block[1])<<8 | uint32(block[2])<<16
		if size == old>>3 {
			continue
		}
		var header [4]byte
		binary.LittleEndian.PutUint32(header[:], old&7|size<<3)
		copy(block, header[:3])
		f, _ := linesOf(string(data)+zstandard(t, "a\nb\n"), true)
		all, _ := collect(t, f, nil, 100)
		require.Contains(t, all[0], "! in:1")
		for _, s := range all[1:] {
			require.True(t, s == "b" || strings.Contains(s, errBehindDamage.Error()), s)
		}
	}
}
