package file

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression is how a file is stored.
type Compression uint8

const (
	// Auto goes by the end of the path: Gzip for ".gz", Zstd for ".zst", None for any other.
	Auto Compression = iota
	// None stores files as they are.
	None
	// Gzip is RFC 1952. A file that is written has many members, see the package's comment.
	Gzip
	// Zstd is RFC 8878: as small as Gzip or smaller, and several times as fast. A file that is written has many frames.
	Zstd
)

// String returns the name of the constant.
func (c Compression) String() string {
	switch c {
	case Auto:
		return "Auto"
	case None:
		return "None"
	case Gzip:
		return "Gzip"
	case Zstd:
		return "Zstd"
	}
	return "Compression(" + strconv.Itoa(int(c)) + ")"
}

// of returns what c is for a path: never Auto.
func (c Compression) of(path string) Compression {
	if c != Auto {
		return c
	}
	switch path = strings.ToLower(path); {
	case strings.HasSuffix(path, ".gz"):
		return Gzip
	case strings.HasSuffix(path, ".zst"):
		return Zstd
	}
	return None
}

// starts reports whether data, the beginning of a file, may be that of a file of c, as far as it goes.
func (c Compression) starts(data []byte) bool {
	magic := "\x1f\x8b"
	if c == Zstd {
		magic = "\x28\xb5\x2f\xfd"
	}
	n := min(len(data), len(magic))
	return string(data[:n]) == magic[:n]
}

// packing returns how the File writes, or what is wrong with the fields for it.
func (f *File[T]) packing() (Compression, error) {
	top := map[Compression]int{Auto: 22, None: 0, Gzip: 9, Zstd: 22}
	most, ok := top[f.Compression]
	if !ok {
		return None, fmt.Errorf("field Compression is %v: no such choice", f.Compression)
	}
	c := f.Compression.of(f.path)
	if f.CompressionLevel != 0 {
		most = top[c]
	}
	if f.CompressionLevel < 0 || f.CompressionLevel > most {
		return None, fmt.Errorf("field CompressionLevel is %d: of %v it is at most %d, and 0 is the default", f.CompressionLevel, c, most)
	}
	if f.Sync > SyncNever {
		return None, fmt.Errorf("field Sync is %v: no such choice", f.Sync)
	}
	return c, nil
}

// packer makes whole members of gzip and frames of zstd: each can be unpacked without those before it. It is one kind's alone.
type packer struct {
	gzip *gzip.Writer
	zstd *zstd.Encoder
	out  bytes.Buffer // of gzip
	buf  []byte       // of zstd
}

func newPacker(c Compression, level int) (*packer, error) {
	p := &packer{}
	var err error
	switch c {
	case Gzip:
		if level == 0 {
			level = gzip.DefaultCompression
		}
		p.gzip, err = gzip.NewWriterLevel(nil, level)
	case Zstd:
		if level == 0 {
			level = 3
		}
		p.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(zstdWindow),
			zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)))
	default:
		err = errors.New("file: nothing to pack")
	}
	return p, err
}

// zstdWindow bounds how far back an encoder looks, and its memory.
const zstdWindow = 1 << 20

// pack returns raw as one member, which is good until the next call.
func (p *packer) pack(raw []byte) ([]byte, error) {
	if p.zstd != nil {
		p.buf = p.zstd.EncodeAll(raw, p.buf[:0])
		return p.buf, nil
	}
	p.out.Reset()
	p.gzip.Reset(&p.out)
	if _, err := p.gzip.Write(raw); err != nil {
		return nil, err
	}
	if err := p.gzip.Close(); err != nil {
		return nil, err
	}
	return p.out.Bytes(), nil
}

// packed gives use raw as it is to be stored. Packers, which are large, belong to nobody in between: a writer that has nothing to write holds none.
func (f *File[T]) packed(c Compression, raw []byte, use func(stored []byte) error) error {
	if c == None || len(raw) == 0 {
		return use(raw)
	}
	p, ok := f.sink.packers.Get().(*packer)
	if !ok {
		var err error
		if p, err = newPacker(c, f.CompressionLevel); err != nil {
			return err
		}
	}
	defer f.sink.packers.Put(p)
	stored, err := p.pack(raw)
	if err != nil {
		return err
	}
	return use(stored)
}

// bufferBytes is how much a writer collects of a file that is stored so.
func (f *File[T]) bufferBytes(stored Compression) int {
	switch {
	case f.blocks > 0:
		return min(or(f.BufferBytes, smallBufferBytes), f.blocks)
	case stored == None:
		return or(f.BufferBytes, defaultBufferBytes)
	}
	return or(f.BufferBytes, smallBufferBytes)
}
