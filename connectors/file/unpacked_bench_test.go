package file

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	weaver "github.com/bohica-labs/dataweaver"
)

// BenchmarkReadCompressed compares lines of a compressed file with what the plain decoder needs for all its members, alone and with its lines copied into batches.
func BenchmarkReadCompressed(b *testing.B) {
	var text strings.Builder
	for i := range 10 * benchRecords {
		text.WriteString(jsonLine(i))
	}
	const all = 1 << 30
	for _, c := range []struct {
		name   string
		size   int // of members
		packed func(testing.TB, ...string) string
		plain  func(io.Reader) (io.Reader, error)
	}{
		{"gzip", all, gzipped, plainGzip},
		{"gzip of 1 MiB", 1 << 20, gzipped, plainGzip},
		{"gzip of 1 KiB", 1 << 10, gzipped, plainGzip},
		{"zstd", all, zstandard, plainZstd},
		{"zstd of 1 MiB", 1 << 20, zstandard, plainZstd},
		{"zstd of 1 KiB", 1 << 10, zstandard, plainZstd},
	} {
		path := filepath.Join(b.TempDir(), "lines")
		if err := os.WriteFile(path, []byte(c.packed(b, sliced(text.String(), c.size)...)), 0o600); err != nil {
			b.Fatal(err)
		}
		decode := func(b *testing.B, use func(io.Reader, []byte) (int, error), want int) {
			b.Helper()
			b.SetBytes(int64(text.Len()))
			buf := make([]byte, readBytes)
			for b.Loop() {
				file, err := os.Open(path)
				if err != nil {
					b.Fatal(err)
				}
				r, err := c.plain(file)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := use(r, buf); n != want || err != nil {
					b.Fatal(n, err)
				}
				_ = file.Close()
			}
		}
		b.Run(c.name+"/decoder", func(b *testing.B) {
			decode(b, func(r io.Reader, buf []byte) (int, error) {
				n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, buf)
				return int(n), err
			}, text.Len())
		})
		b.Run(c.name+"/hand", func(b *testing.B) { decode(b, copyLines, 10*benchRecords) })
		b.Run(c.name+"/weaver", func(b *testing.B) {
			b.SetBytes(int64(text.Len()))
			batch := weaver.NewBatch[[]byte](512, 1<<20)
			for b.Loop() {
				r, err := Lines(path).OpenReader(b.Context(), weaver.Lane{})
				n := 0
				for err == nil {
					batch.Reset()
					_, err = r.Read(b.Context(), batch)
					n += len(batch.Records)
				}
				if err != io.EOF || n != 10*benchRecords { //nolint:errorlint // as it is
					b.Fatal(n, err)
				}
				_ = r.Close()
			}
		})
	}
}

func plainGzip(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }

func plainZstd(r io.Reader) (io.Reader, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
}

// copyLines copies the lines of r into batches of 512, and counts them.
func copyLines(r io.Reader, buf []byte) (n int, err error) {
	var arena []byte
	for rest := 0; ; {
		k, err := r.Read(buf[rest:])
		data := buf[:rest+k]
		for {
			i := bytes.IndexByte(data, '\n')
			if i < 0 {
				break
			}
			if n++; n%512 == 0 {
				arena = arena[:0]
			}
			arena = append(arena, data[:i]...)
			data = data[i+1:]
		}
		rest = copy(buf, data)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
