package file

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/bohica-labs/dataweaver/retry"
)

// whole is what a look at all of a compressed file finds.
type whole struct {
	stored int64 // bytes of whole members, from the beginning
	size   int64 // what they hold
	quotes int64 // quotation marks in that
	last   byte  // of it
	bad    error // why the next is no whole member; nil: there is none
}

// tornLimit is how much of a compressed file is cut off at most because it can't be unpacked. What a crash leaves is what came behind the last flush; more is
// damage of another kind, which must not be made worse.
const tornLimit = 256 << 20

// members reads all members of a compressed file of a size, to find out how many are whole.
func members(ctx context.Context, r io.ReaderAt, size int64, c Compression) (w whole, err error) {
	in := &sourceError{r: r}
	defer func() {
		if in.err != nil { // of the disk: it says nothing about the file
			err = in.err
		}
	}()
	count := func(p []byte) {
		if len(p) == 0 {
			return
		}
		w.size += int64(len(p))
		w.last = p[len(p)-1]
		w.quotes += int64(bytes.Count(p, []byte{'"'}))
	}
	var next func(at int64, each func([]byte)) (int64, error)
	switch c {
	case Gzip:
		var u gzipMember
		next = func(at int64, each func([]byte)) (int64, error) { return u.read(in, at, size, each) }
	case Zstd:
		d, err := newZstdReader()
		if err != nil {
			return whole{}, err
		}
		defer d.Close()
		next = func(at int64, each func([]byte)) (int64, error) { return zstdFrame(d, in, at, size, each) }
	default:
		return whole{}, fmt.Errorf("file: no members of %v", c)
	}
	for w.stored < size {
		if err := ctx.Err(); err != nil {
			return w, err
		}
		before := w
		n, err := next(w.stored, count)
		if err != nil {
			w = before
			w.bad = err
			return w, nil
		}
		w.stored += n
	}
	return w, nil
}

// sourceError remembers an error of what is read, apart from its end.
type sourceError struct {
	r   io.ReaderAt
	err error
}

func (s *sourceError) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.r.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) && s.err == nil {
		s.err = err
	}
	return n, err
}

// gzipMember reads one member after the other.
type gzipMember struct {
	reader gzip.Reader
	buf    []byte
}

func (u *gzipMember) read(r io.ReaderAt, at, size int64, each func([]byte)) (stored int64, err error) {
	counted := &countedBytes{r: bufio.NewReader(io.NewSectionReader(r, at, size-at))}
	if err := u.reader.Reset(counted); err != nil {
		return 0, noEOF(err)
	}
	u.reader.Multistream(false)
	if u.buf == nil {
		u.buf = make([]byte, 64<<10)
	}
	for {
		n, err := u.reader.Read(u.buf)
		each(u.buf[:n])
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return counted.n, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// countedBytes is an io.ByteReader, so that a gzip.Reader takes not one byte more than its member has.
type countedBytes struct {
	r *bufio.Reader
	n int64
}

func (c *countedBytes) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

func (c *countedBytes) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// newZstdReader returns a decoder without goroutines.
func newZstdReader() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdMaxWindow))
}

// zstdMaxWindow is what the zstd command takes without being asked to.
const zstdMaxWindow = 128 << 20

// zstdFrame reads one frame. Where it ends is in the sizes of its blocks (RFC 8878 §3.1.1).
func zstdFrame(d *zstd.Decoder, r io.ReaderAt, at, size int64, each func([]byte)) (stored int64, err error) {
	n, err := zstdFrameSize(r, at, size)
	if err != nil {
		return 0, err
	}
	if err := d.Reset(bufio.NewReader(io.NewSectionReader(r, at, n))); err != nil {
		return 0, noEOF(err)
	}
	_, err = io.Copy(eachWrite(each), d)
	return n, err
}

type eachWrite func([]byte)

func (e eachWrite) Write(p []byte) (int, error) {
	e(p)
	return len(p), nil
}

func zstdFrameSize(r io.ReaderAt, at, size int64) (int64, error) {
	head := make([]byte, min(zstd.HeaderMaxSize, size-at))
	if n, err := r.ReadAt(head, at); n < len(head) {
		return 0, noEOF(err)
	}
	var h zstd.Header
	if err := h.Decode(head); err != nil {
		return 0, noEOF(err)
	}
	end := at + int64(h.HeaderSize)
	if h.Skippable {
		end += int64(h.SkippableSize)
	} else {
		for last := false; !last; {
			var b [4]byte
			if _, err := r.ReadAt(b[:3], end); err != nil {
				return 0, noEOF(err)
			}
			block := binary.LittleEndian.Uint32(b[:])
			last = block&1 == 1
			length := int64(block >> 3)
			if block>>1&3 == 1 { // one byte, repeated
				length = 1
			}
			if end += 3 + length; end > size {
				return 0, io.ErrUnexpectedEOF
			}
		}
		if h.HasCheckSum {
			end += 4
		}
	}
	if end > size {
		return 0, io.ErrUnexpectedEOF
	}
	return end - at, nil
}

// unpackedHead returns the first n bytes of what a compressed file of a size holds, or all if that is less.
func unpackedHead(r io.ReaderAt, size int64, c Compression, n int) ([]byte, error) {
	in := &sourceError{r: r}
	section := bufio.NewReader(io.NewSectionReader(in, 0, size))
	var out io.Reader
	switch c {
	case Gzip:
		z, err := gzip.NewReader(section)
		if err != nil {
			return nil, errors.Join(in.err, err)
		}
		defer z.Close()
		out = z
	case Zstd:
		d, err := newZstdReader()
		if err != nil {
			return nil, err
		}
		defer d.Close()
		if err := d.Reset(section); err != nil {
			return nil, errors.Join(in.err, err)
		}
		out = d
	default:
		return nil, fmt.Errorf("file: no members of %v", c)
	}
	head := make([]byte, n)
	n, err := io.ReadFull(out, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errors.Join(in.err, err)
	}
	return head[:n], in.err
}

// notPacked says that a file isn't stored as the fields say.
func notPacked(path string, c Compression, err error) error {
	return retry.Fatal(fmt.Errorf("%s isn't a file of %v from its beginning on (%w): give this one a path of its own, or set Compression to what that file is", path, c, err))
}
