package avro

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
)

// Compression is one of the codecs of a container. It keeps what it needs from block to block, so it is not safe for concurrent use. It has no goroutines and
// nothing to close.
type Compression struct {
	name    string
	maxData int

	source  bytes.Reader
	sink    bytes.Buffer
	inflate io.ReadCloser
	deflate *flate.Writer
	decoder *zstd.Decoder
	encoder *zstd.Encoder
}

// NewCompression returns the codec of that name: null, deflate, snappy or zstandard. Of limits MaxData counts.
func NewCompression(name string, limits Limits) (*Compression, error) {
	switch name {
	case "", "null", "deflate", "snappy", "zstandard":
		return &Compression{name: name, maxData: limits.withDefaults().MaxData}, nil
	}
	return nil, fmt.Errorf("avro: codec %q: only null, deflate, snappy and zstandard are supported", name)
}

var errData = errors.New("avro: block with more data than MaxData")

// Expand returns the records of a block of what is stored of it: in dst, from its beginning, if it is large enough, and for null stored itself. An error is
// damage, or data larger than MaxData, which never takes more memory than that.
func (c *Compression) Expand(dst, stored []byte) ([]byte, error) {
	switch c.name {
	case "deflate":
		return c.expandDeflate(dst[:0], stored)
	case "snappy":
		return c.expandSnappy(dst, stored)
	case "zstandard":
		return c.expandZstandard(dst[:0], stored)
	}
	if len(stored) > c.maxData {
		return nil, errData
	}
	return stored, nil
}

// Append appends what is to be stored of a block's records.
func (c *Compression) Append(dst, records []byte) ([]byte, error) {
	switch c.name {
	case "deflate":
		return c.appendDeflate(dst, records)
	case "snappy":
		at := len(dst)
		dst = append(dst, make([]byte, snappy.MaxEncodedLen(len(records)))...)
		n := len(snappy.Encode(dst[at:], records))
		return binary.BigEndian.AppendUint32(dst[:at+n], crc32.ChecksumIEEE(records)), nil
	case "zstandard":
		if c.encoder == nil {
			var err error
			if c.encoder, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true)); err != nil {
				return dst, err
			}
		}
		return c.encoder.EncodeAll(records, dst), nil
	}
	return append(dst, records...), nil
}

func (c *Compression) appendDeflate(dst, records []byte) ([]byte, error) {
	c.sink.Reset()
	if c.deflate == nil {
		var err error
		if c.deflate, err = flate.NewWriter(&c.sink, flate.DefaultCompression); err != nil {
			return dst, err
		}
	} else {
		c.deflate.Reset(&c.sink)
	}
	if _, err := c.deflate.Write(records); err != nil {
		return dst, err
	}
	if err := c.deflate.Close(); err != nil {
		return dst, err
	}
	return append(dst, c.sink.Bytes()...), nil
}

func (c *Compression) expandDeflate(dst, stored []byte) ([]byte, error) {
	c.source.Reset(stored)
	if c.inflate == nil {
		c.inflate = flate.NewReader(&c.source)
	} else if err := c.inflate.(flate.Resetter).Reset(&c.source, nil); err != nil {
		return nil, err
	}
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := c.inflate.Read(dst[len(dst):min(cap(dst), c.maxData+1)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > c.maxData:
			return nil, errData
		case errors.Is(err, io.EOF):
			if c.source.Len() > 0 {
				return nil, fmt.Errorf("avro: deflate: %d bytes behind the data", c.source.Len())
			}
			return dst, nil
		case err != nil:
			return nil, fmt.Errorf("avro: deflate: %w", err)
		}
	}
}

func (c *Compression) expandSnappy(dst, stored []byte) ([]byte, error) {
	if len(stored) < 4 {
		return nil, errors.New("avro: snappy: a block without its checksum")
	}
	stored, sum := stored[:len(stored)-4], binary.BigEndian.Uint32(stored[len(stored)-4:])
	n, err := snappy.DecodedLen(stored)
	if err != nil {
		return nil, fmt.Errorf("avro: %w", err)
	}
	if n > c.maxData {
		return nil, errData
	}
	out, err := snappy.Decode(dst[:cap(dst)], stored)
	if err != nil {
		return nil, fmt.Errorf("avro: %w", err)
	}
	if crc32.ChecksumIEEE(out) != sum {
		return nil, errors.New("avro: snappy: the checksum is another: the block is damaged")
	}
	return out, nil
}

func (c *Compression) expandZstandard(dst, stored []byte) ([]byte, error) {
	if c.decoder == nil {
		var err error
		c.decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(uint64(c.maxData)))
		if err != nil {
			return nil, err
		}
	}
	out, err := c.decoder.DecodeAll(stored, dst)
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded), err == nil && len(out) > c.maxData:
		return nil, errData
	case err != nil:
		return nil, fmt.Errorf("avro: zstandard: %w", err)
	}
	return out, nil
}
