package file

import (
	"bytes"
	"encoding/base64"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

// gzipped returns a file with a member for each part.
func gzipped(t testing.TB, parts ...string) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	for _, part := range parts {
		w.Reset(&out)
		_, err := io.WriteString(w, part)
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	return out.String()
}

// zstandard returns a file with a frame for each part, every third of them without a checksum.
func zstandard(t testing.TB, parts ...string) string {
	t.Helper()
	var out []byte
	var writers [2]*zstd.Encoder
	for i := range writers {
		w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(i == 0), zstd.WithWindowSize(64<<10), zstd.WithZeroFrames(true))
		require.NoError(t, err)
		writers[i] = w
	}
	for i, part := range parts {
		out = writers[i%3/2].EncodeAll([]byte(part), out)
	}
	for _, w := range writers {
		require.NoError(t, w.Close())
	}
	return string(out)
}

// skippable is a frame of zstd without content.
const skippable = "\x5a\x2a\x4d\x18\x03\x00\x00\x00abc"

// Files of bzip2, which nothing here can write, and what they hold.
var bzip2Parts = []struct{ stored, content string }{
	{"QlpoOTFBWSZTWZIxuVsAAAJBgAAQMsZEACAAIhoaaaEAMBBfI6Gob8XckU4UJCSMblbA", "alpha\nbeta\ngam"},
	{"QlpoMTFBWSZTWQdnoiUAAAPBgAAQJgYEACAAMQwAyaYcJfcVwu5IpwoSAOz0RKA=", "ma\ndelta\n"},
	{"QlpoORdyRThQkAAAAAA=", ""},
	{"QlpoMTFBWSZTWTImB94AAepBAMAAQAAACCAAMMwJqmmpIbUkh4u5IpwoSBkTA+8A", strings.Repeat("\x00", 250_000)},
}

// bzipped returns the file of these parts.
func bzipped(t testing.TB, parts ...int) (stored, content string) {
	t.Helper()
	for _, i := range parts {
		data, err := base64.StdEncoding.DecodeString(bzip2Parts[i].stored)
		require.NoError(t, err)
		stored += string(data)
		content += bzip2Parts[i].content
	}
	return stored, content
}

// sliced cuts s into parts of sizes, one after the other and again from the first on.
func sliced(s string, sizes ...int) []string {
	var parts []string
	for i := 0; len(s) > 0; i++ {
		n := min(sizes[i%len(sizes)], len(s))
		parts = append(parts, s[:n])
		s = s[n:]
	}
	return parts
}

// flip returns s with one bit of byte i changed; negative: counted from the end.
func flip(s string, i int) string {
	b := []byte(s)
	b[(len(b)+i)%len(b)] ^= 0x10
	return string(b)
}

// forwardFS has files that can't seek, and counts what is read.
type forwardFS struct {
	fstest.MapFS
	read *int
}

func (f forwardFS) Open(name string) (fs.File, error) {
	file, err := f.MapFS.Open(name)
	if err != nil {
		return nil, err
	}
	return &forwardFile{file, f.read}, nil
}

type forwardFile struct {
	fs.File
	read *int
}

func (f *forwardFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	*f.read += n
	return n, err
}

// seekFS has files that can seek.
type seekFS struct{ forwardFS }

func (f seekFS) Open(name string) (fs.File, error) {
	file, err := f.forwardFS.Open(name)
	if err != nil {
		return nil, err
	}
	return &seekFile{file.(*forwardFile)}, nil
}

type seekFile struct{ *forwardFile }

func (f *seekFile) Seek(offset int64, whence int) (int64, error) {
	return f.File.(io.Seeker).Seek(offset, whence)
}

// linesOf returns a File whose only file holds data, and how much of it was read.
func linesOf(data string, seeks bool) (f *File[[]byte], read *int) {
	f, read = Lines("in"), new(int)
	forward := forwardFS{fstest.MapFS{"in": {Data: []byte(data)}}, read}
	if f.FS = forward; seeks {
		f.FS = seekFS{forward}
	}
	return f, read
}

// collect reads up to the end, in batches of a size, and returns the records and rejects in their order, and the position after each batch.
func collect(t testing.TB, f *File[[]byte], from weaver.Position, size int) (all []string, at []weaver.Position) {
	t.Helper()
	r, err := f.OpenReader(t.Context(), weaver.Lane{Position: from})
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	b := weaver.NewBatch[[]byte](size, 0)
	all = []string{}
	for {
		b.Reset()
		p, err := r.Read(t.Context(), b)
		if err != nil {
			require.Equal(t, io.EOF, err)
		}
		all = append(all, inOrder(b)...)
		at = append(at, bytes.Clone(p))
		if err != nil {
			return all, at
		}
	}
}

// inOrder returns the records of a batch, with the rejects in their places.
func inOrder(b *weaver.Batch[[]byte]) []string {
	var all []string
	rejects := b.Rejects()
	for i := 0; i <= len(b.Records); i++ {
		for len(rejects) > 0 && rejects[0].Before == i {
			all = append(all, "! "+rejects[0].Err.Error())
			rejects = rejects[1:]
		}
		if i < len(b.Records) {
			all = append(all, string(b.Records[i].Value))
		}
	}
	return all
}
