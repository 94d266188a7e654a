package avro

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// Block is a block of a container, its records one behind the other.
type Block struct {
	Offset int64  // where it begins in the file
	End    int64  // where the next one does
	Count  int    // of records
	Data   []byte // valid until the next block is read
}

// Records calls each for the records of b in turn, beginning with the one of that index, with their index and data that begins with it. Each returns what is
// behind its record, as Codec.DecodeNext does; for those before first, skip is called, as Codec.Skip. An error ends it and is returned as it is, except for data
// behind the last record.
func (b *Block) Records(first int, skip func(data []byte) ([]byte, error), each func(index int, data []byte) ([]byte, error)) error {
	data := b.Data
	var err error
	for i := range b.Count {
		if i < first {
			data, err = skip(data)
		} else {
			data, err = each(i, data)
		}
		if err != nil {
			return err
		}
	}
	if len(data) > 0 {
		return fmt.Errorf("avro: %d bytes behind the %d records of a block", len(data), b.Count)
	}
	return nil
}

// BlockReader reads the blocks of a container, one at a time. It takes as much memory as its largest block does twice, and no goroutines. It is not safe for
// concurrent use, and needs no closing.
type BlockReader struct {
	header      *Header
	limits      Limits
	compression *Compression
	src         io.Reader
	buffer      []byte // what was read and isn't used
	unused      []byte // of buffer
	data        []byte
	offset      int64
	err         error
}

// NewBlockReader reads the header and returns a reader of the blocks behind it. An error of src is returned as it is; a container that ends within its
// header is io.ErrUnexpectedEOF.
func NewBlockReader(src io.Reader, limits Limits) (*BlockReader, error) {
	r := &BlockReader{limits: limits.withDefaults(), src: src}
	for {
		header, n, err := ParseHeader(r.unused, limits)
		if err == nil {
			r.header = header
			r.use(n)
			r.compression, err = NewCompression(header.Codec, limits)
			return r, err
		}
		if !errors.Is(err, ErrMore) {
			return nil, err
		}
		for want := 2 * len(r.unused); len(r.unused) <= want; { // so that all the looking takes time in proportion
			err := r.fill(want)
			if errors.Is(err, io.EOF) && len(r.unused) > want/2 {
				break
			}
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("avro: a container ends in its header: %w", io.ErrUnexpectedEOF)
			}
			if err != nil {
				return nil, err
			}
		}
	}
}

// NewBlockReaderAt is NewBlockReader, which goes on at an offset that Block.Offset or Block.End was, without reading what is between it and the header. 0
// is the beginning. An offset where no block begins is an error.
func NewBlockReaderAt(src io.ReaderAt, offset int64, limits Limits) (*BlockReader, error) {
	const end = 1<<63 - 1
	r, err := NewBlockReader(io.NewSectionReader(src, 0, end), limits)
	if err != nil || offset == 0 || offset == r.offset {
		return r, err
	}
	if offset < r.offset {
		return nil, fmt.Errorf("avro: the offset %d is in the header, which ends at %d", offset, r.offset)
	}
	var sync [syncSize]byte
	if _, err := src.ReadAt(sync[:], offset-syncSize); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if sync != r.header.Sync {
		return nil, fmt.Errorf("avro: no block begins at the offset %d", offset)
	}
	r.src, r.offset, r.unused = io.NewSectionReader(src, offset, end-offset), offset, nil
	return r, nil
}

// Header returns the header. It is r's.
func (r *BlockReader) Header() *Header { return r.header }

// Next returns the next block, or io.EOF behind the last one. A container that ends within a block is io.ErrUnexpectedEOF. After an error of src Next may be
// called again, and goes on where it was; after damage it returns the same error.
func (r *BlockReader) Next() (Block, error) {
	if r.err != nil {
		return Block{}, r.err
	}
	for {
		count, stored, size, err := r.header.NextBlock(r.unused, r.limits)
		if err == nil {
			return r.block(count, stored, size)
		}
		if !errors.Is(err, ErrMore) {
			return Block{}, r.damaged(err)
		}
		if err := r.fill(size - len(r.unused)); err != nil {
			if errors.Is(err, io.EOF) && len(r.unused) > 0 {
				err = fmt.Errorf("avro: the container ends in the block at %d: %w", r.offset, io.ErrUnexpectedEOF)
			}
			return Block{}, err
		}
	}
}

func (r *BlockReader) block(count int, stored []byte, size int) (Block, error) {
	data, err := r.compression.Expand(r.data, stored)
	if err != nil {
		return Block{}, r.damaged(err)
	}
	if r.compression.name == "deflate" || r.compression.name == "snappy" || r.compression.name == "zstandard" {
		r.data = data
	}
	if count > max(len(data), r.limits.MaxEmpty) {
		return Block{}, r.damaged(fmt.Errorf("avro: block of %d records in %d bytes", count, len(data)))
	}
	b := Block{Offset: r.offset, End: r.offset + int64(size), Count: count, Data: data}
	r.use(size)
	return b, nil
}

func (r *BlockReader) damaged(err error) error {
	r.err = fmt.Errorf("%w (the block at %d)", err, r.offset)
	return r.err
}

func (r *BlockReader) use(n int) {
	r.unused = r.unused[n:]
	r.offset += int64(n)
}

// fill reads, at least something and with luck as much as is wanted. What is declared is not allocated before it comes.
func (r *BlockReader) fill(want int) error {
	const least, step = 32 << 10, 1 << 20
	n := copy(r.buffer, r.unused)
	r.buffer = slices.Grow(r.buffer[:n], min(max(want, least), step+n))
	r.unused = r.buffer[:n]
	for range 100 {
		got, err := r.src.Read(r.buffer[n:cap(r.buffer)])
		r.buffer = r.buffer[:n+got]
		r.unused = r.buffer
		if got > 0 {
			return nil // an error comes again
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// BlockWriter makes the blocks of a container. It is not safe for concurrent use, and needs no closing.
type BlockWriter struct {
	header      *Header
	limits      Limits
	compression *Compression
	stored      []byte
}

// NewBlockWriter returns a writer for a container with that header, which may be there already, or be written with Header.Append.
func NewBlockWriter(header *Header, limits Limits) (*BlockWriter, error) {
	c, err := NewCompression(header.Codec, limits)
	if err != nil {
		return nil, err
	}
	return &BlockWriter{header: header, limits: limits.withDefaults(), compression: c}, nil
}

// Append appends a block of so many records, which are one behind the other in data. No records, no block. What a BlockReader with the same
// limits would refuse is an error.
func (w *BlockWriter) Append(dst []byte, count int, data []byte) ([]byte, error) {
	switch {
	case count == 0 && len(data) == 0:
		return dst, nil
	case count <= 0 || count > max(len(data), w.limits.MaxEmpty):
		return dst, fmt.Errorf("avro: a block of %d records in %d bytes", count, len(data))
	case len(data) > w.limits.MaxData:
		return dst, errData
	}
	var err error
	if w.stored, err = w.compression.Append(w.stored[:0], data); err != nil {
		return dst, err
	}
	if len(w.stored) > w.limits.MaxBlock {
		return dst, errBlockSize
	}
	return w.header.appendBlock(dst, count, w.stored), nil
}
