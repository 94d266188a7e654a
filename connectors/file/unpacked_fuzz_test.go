package file

import (
	"bytes"
	"compress/bzip2"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// Files that were made from parts of anything read like what they were made from, and those with something wrong as far as the plain decoder comes.

func FuzzGzip(f *testing.F) {
	seedUnpacked(f)
	reader := func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }
	f.Fuzz(func(t *testing.T, content string, sizes []byte, wrong uint8, at uint16, chunk uint8) {
		fuzzUnpacked(t, content, gzipped(t, pieces(t, content, sizes)...), wrong, at, chunk, reader)
	})
}

func FuzzZstd(f *testing.F) {
	seedUnpacked(f)
	reader := func(r io.Reader) (io.Reader, error) {
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdMaxWindow))
	}
	f.Fuzz(func(t *testing.T, content string, sizes []byte, wrong uint8, at uint16, chunk uint8) {
		fuzzUnpacked(t, content, zstandard(t, pieces(t, content, sizes)...), wrong, at, chunk, reader)
	})
}

func FuzzBzip2(f *testing.F) {
	f.Add([]byte{0, 1}, uint8(0), uint16(0), uint8(10))
	f.Add([]byte{1, 2, 0, 0}, uint8(1), uint16(50), uint8(10))
	f.Add([]byte{2}, uint8(2), uint16(13), uint8(255))
	reader := func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }
	f.Fuzz(func(t *testing.T, parts []byte, wrong uint8, at uint16, chunk uint8) {
		if len(parts) == 0 || len(parts) > 10 {
			t.Skip()
		}
		which := make([]int, len(parts))
		for i, p := range parts {
			which[i] = int(p) % 3
		}
		stored, content := bzipped(t, which...)
		fuzzUnpacked(t, content, stored, wrong, at, chunk, reader)
	})
}

// FuzzUnpacked reads anything that begins as a compressed file does.
func FuzzUnpacked(f *testing.F) {
	for _, s := range []string{gzipped(f, "a\nb", "c\n"), zstandard(f, "a\nb", "c\n", "d\n"), skippable + zstandard(f, "a\n")} {
		f.Add(s, uint8(7))
		f.Add(s[:len(s)-1], uint8(0))
		f.Add(s+"x"+s, uint8(100))
	}
	f.Fuzz(func(t *testing.T, data string, chunk uint8) {
		for _, head := range []string{"", gzipStart + "\x00", zstdMagic, bzip2Magic + "1" + bzip2Block} {
			rereadable(t, head+data, chunk)
		}
	})
}

func seedUnpacked(f *testing.F) {
	f.Helper()
	text := "alpha\nbeta\n\ngamma\r\n" + strings.Repeat("0123456789\n", 20) + "end"
	for wrong := range uint8(5) {
		f.Add(text, []byte{10, 0, 200}, wrong, uint16(77), uint8(3))
		f.Add(text, []byte{1}, wrong, uint16(1000), uint8(255))
		f.Add("", []byte{}, wrong, uint16(3), uint8(0))
	}
}

// pieces cuts content, and limits how much there is.
func pieces(t *testing.T, content string, sizes []byte) []string {
	t.Helper()
	if len(content) > 8<<10 || strings.Count(content, "\n") > 50 || len(sizes) > 100 {
		t.Skip()
	}
	var parts []string
	for i := 0; len(content) > 0 && i < len(sizes); i++ {
		n := min(int(sizes[i]), len(content))
		parts = append(parts, content[:n])
		content = content[n:]
	}
	return append(parts, content)
}

func fuzzUnpacked(t *testing.T, content, stored string, wrong uint8, at uint16, chunk uint8, reader func(io.Reader) (io.Reader, error)) {
	t.Helper()
	if strings.HasPrefix(content, "\xff\xfe") || strings.HasPrefix(content, "\xfe\xff") || !strings.Contains(content, "\n") && strings.Contains(content, "\r") {
		t.Skip("it is given up as a whole")
	}
	if int(at) >= len(stored) {
		at %= uint16(len(stored))
	}
	switch wrong {
	case 0:
		f, _ := linesOf(stored, chunk%2 == 0)
		f.chunk, f.MaxRecordBytes = int(chunk)+1, 9<<10
		compare(t, f, plainLines(content, f.MaxRecordBytes), int64(len(content)), func(v []byte) []byte { return v })
		return
	case 1:
		stored = flip(stored, int(at))
	case 2:
		stored = stored[:at]
	case 3:
		stored = stored[:at] + "garbage" + stored[at:]
	default:
		stored = stored[:at] + stored[min(int(at)+int(wrong), len(stored)):]
	}
	all := rereadable(t, stored, chunk)
	u := unpackersOf(nil)
	if c, _ := u.choose(nil, u.head[:copy(u.head[:], stored)]); c == &u.plain {
		return
	}
	var before []string
	for _, s := range all {
		if strings.HasPrefix(s, "! ") {
			break
		}
		before = append(before, s)
	}
	got, err := readUntilWrong(stored, reader)
	want := plainLines(got, defaultRecordBytes)
	if n := len(want); n > 0 && len(before) < len(all) && !strings.HasSuffix(got, "\n") {
		want = want[:n-1] // it goes on into what is wrong
	}
	if len(before) == len(all) && err != nil {
		require.Equal(t, byte(padding), stored[len(stored)-1], "an error other than padding: %v", err)
	}
	if strings.HasPrefix(got, "\xff\xfe") || strings.HasPrefix(got, "\xfe\xff") || !strings.Contains(got, "\n") && strings.Contains(got, "\r") {
		return // as above
	}
	require.Len(t, before, len(want))
	for i := range want {
		require.Equal(t, want[i].value, before[i])
	}
	if wrong == 2 { // all members but the last one are whole
		require.Equal(t, strings.Split(strings.ReplaceAll(content, "\r\n", "\n"), "\n")[:len(before)], append([]string{}, before...))
	}
}

// readUntilWrong reads all that a plain decoder gives.
func readUntilWrong(stored string, reader func(io.Reader) (io.Reader, error)) (string, error) {
	r, err := reader(strings.NewReader(stored))
	if err != nil {
		return "", err
	}
	if z, ok := r.(*zstd.Decoder); ok {
		defer z.Close()
	}
	var out bytes.Buffer
	_, err = out.ReadFrom(struct{ io.Reader }{r})
	return out.String(), err
}

// rereadable reads a file at once, record by record, and from each position on, which must be the same.
func rereadable(t *testing.T, stored string, chunk uint8) []string {
	t.Helper()
	f, _ := linesOf(stored, true)
	f.chunk = int(chunk) + 1
	all, _ := collect(t, f, nil, 1000)
	one, at := collect(t, f, nil, 1)
	require.Equal(t, all, one)
	if len(at) > 40 {
		at = append(at[:20], at[len(at)-20:]...)
	}
	left := len(all)
	for _, p := range at {
		rest, _ := collect(t, f, p, 1000)
		require.LessOrEqual(t, len(rest), max(left-1, 0))
		left = len(rest)
		require.Equal(t, all[len(all)-len(rest):], rest)
	}
	require.Zero(t, left)
	return all
}
