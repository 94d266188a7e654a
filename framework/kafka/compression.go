package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Compression is how a batch of records is packed, as its attributes say.
type Compression uint8

// The compressions of Kafka. Gzip packs best of those that all clients know and costs most; Lz4 and Snappy cost least;
// Zstd (KIP-110, Kafka 2.1) packs like Gzip and costs little more than Snappy.
const (
	Uncompressed Compression = iota
	Gzip
	Snappy
	Lz4
	Zstd
)

// String names it as Kafka's configuration does.
func (c Compression) String() string {
	switch c {
	case Uncompressed:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case Lz4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("Compression(%d)", uint8(c))
}

// packer packs batches, with state that it uses again. It has one owner.
type packer struct {
	gzip *gzip.Writer
	lz4  *lz4.Writer
	zstd *zstd.Encoder
}

// pack appends data, packed, to dst.
func (p *packer) pack(c Compression, dst, data []byte) ([]byte, error) {
	switch c {
	case Gzip:
		out := bytes.NewBuffer(dst)
		if p.gzip == nil {
			p.gzip = gzip.NewWriter(out)
		}
		p.gzip.Reset(out)
		return writeAll(out, p.gzip, data)
	case Lz4:
		out := bytes.NewBuffer(dst)
		if p.lz4 == nil {
			p.lz4 = lz4.NewWriter(out)
		}
		p.lz4.Reset(out)
		return writeAll(out, p.lz4, data)
	case Snappy:
		n := len(dst)
		dst = slices.Grow(dst, s2.MaxEncodedLen(len(data)))
		return dst[:n+len(s2.EncodeSnappy(dst[n:cap(dst)], data))], nil
	case Zstd:
		if p.zstd == nil {
			e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
			if err != nil {
				return nil, err
			}
			p.zstd = e
		}
		return p.zstd.EncodeAll(data, dst), nil
	case Uncompressed:
		return append(dst, data...), nil
	}
	return nil, fmt.Errorf("unknown compression %d", uint8(c))
}

func writeAll(out *bytes.Buffer, w io.WriteCloser, data []byte) ([]byte, error) {
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// unpacker unpacks batches, with memory and state that it uses again. It has one owner.
type unpacker struct {
	limit int // bytes of an unpacked batch
	buf   []byte
	gzip  *gzip.Reader
	lz4   *lz4.Reader
	zstd  *zstd.Decoder
}

func (u *unpacker) tooLarge() error {
	return fmt.Errorf("a batch is larger than Consumer.MaxBatchBytes, %d, when it is unpacked", u.limit)
}

// unpack returns what data holds, in memory that is good until the next call.
func (u *unpacker) unpack(c Compression, data []byte) ([]byte, error) {
	var err error
	switch c {
	case Uncompressed:
		if len(data) > u.limit {
			return nil, u.tooLarge()
		}
		return data, nil
	case Gzip:
		if u.gzip == nil {
			u.gzip = new(gzip.Reader)
		}
		if err = u.gzip.Reset(bytes.NewReader(data)); err == nil {
			err = u.readAll(u.gzip)
		}
	case Lz4:
		if u.lz4 == nil {
			u.lz4 = lz4.NewReader(nil)
		}
		u.lz4.Reset(bytes.NewReader(data))
		err = u.readAll(u.lz4)
	case Snappy:
		err = u.snappy(data)
	case Zstd:
		err = u.unzstd(data)
	default:
		err = fmt.Errorf("compression %d is not known", uint8(c))
	}
	if err != nil {
		return nil, fmt.Errorf("unpacking %s: %w", c, err)
	}
	return u.buf, nil
}

func (u *unpacker) unzstd(data []byte) (err error) {
	if u.zstd == nil {
		u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(u.limit)))
		if err != nil {
			return err
		}
	}
	out, err := u.zstd.DecodeAll(data, u.buf[:0])
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return u.tooLarge()
	}
	if err == nil {
		u.buf = out
	}
	return err
}

// readAll reads to the end, or up to the limit.
func (u *unpacker) readAll(r io.Reader) error {
	buf := u.buf[:0]
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if len(buf) > u.limit {
			u.buf = nil
			return u.tooLarge()
		}
		if errors.Is(err, io.EOF) {
			u.buf = buf
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// xerial is how the framing begins that Java's snappy puts around blocks: a magic number and two versions of four bytes.
// Behind it each block has its length in front. Other clients send a block as it is.
var xerial = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialBytes = 16

func (u *unpacker) snappy(data []byte) error {
	u.buf = u.buf[:0]
	if !bytes.HasPrefix(data, xerial) {
		return u.block(data)
	}
	if len(data) < xerialBytes {
		return io.ErrUnexpectedEOF
	}
	for data = data[xerialBytes:]; len(data) > 0; {
		if len(data) < 4 {
			return io.ErrUnexpectedEOF
		}
		size := int(binary.BigEndian.Uint32(data))
		if data = data[4:]; size > len(data) {
			return io.ErrUnexpectedEOF
		}
		if err := u.block(data[:size]); err != nil {
			return err
		}
		data = data[size:]
	}
	return nil
}

// block appends a block of snappy, unpacked.
func (u *unpacker) block(data []byte) error {
	n, err := s2.DecodedLen(data)
	if err != nil {
		return err
	}
	if n > u.limit-len(u.buf) {
		return u.tooLarge()
	}
	if cap(u.buf)-len(u.buf) < n {
		u.buf = append(make([]byte, 0, len(u.buf)+n), u.buf...)
	}
	out, err := s2.Decode(u.buf[len(u.buf):len(u.buf)+n], data)
	if err != nil {
		return err
	}
	u.buf = u.buf[:len(u.buf)+len(out)]
	return nil
}
