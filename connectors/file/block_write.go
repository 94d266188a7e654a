package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxBlockRecords is how many records a block has at most that is written: there are some that take no bytes.
const maxBlockRecords = 1 << 18

// blockMaker is an encoder whose records are not yet what a file has: the blocks are that are made of them. It makes those of one file, which begins in one way.
type blockMaker interface {
	cutter
	// adopt makes the blocks those of a file that begins as head says, which returns the first n bytes, or less if there aren't so many.
	adopt(head func(n int) ([]byte, error)) error
	// another returns one for another file of the same kind, to be adopted.
	another() blockMaker
	// begins returns what the file begins with, and mark what its blocks end with.
	begins() []byte
	mark() []byte
	// block appends a block of so many records.
	block(dst, records []byte, count int) ([]byte, error)
}

// bytesOf is for adopt.
func bytesOf(head []byte) func(n int) ([]byte, error) {
	return func(n int) ([]byte, error) { return head[:min(n, len(head))], nil }
}

// blockRecords appends records, and makes blocks of them.
type blockRecords[T any] struct {
	layout *BlockLayout[T]
	file   BlockEncoder[T]
}

var errNoBlocks = errors.New("files of this kind can't be written")

// header is that of a new file, whose blocks are made from then on.
func (x *blockRecords[T]) header() ([]byte, error) {
	if x.layout.Encoder == nil {
		return nil, errNoBlocks
	}
	var err error
	if x.file, err = x.layout.Encoder(nil); err != nil {
		return nil, err
	}
	if len(x.file.Header()) == 0 || len(x.file.Mark()) == 0 {
		return nil, errors.New("the BlockLayout's Encoder has no header, or no mark")
	}
	return x.file.Header(), nil
}

func (x *blockRecords[T]) append(dst []byte, v *T) ([]byte, error) {
	out, err := x.file.Append(dst, v)
	if err != nil {
		return dst, err
	}
	if n, most := len(out)-len(dst), max(1, x.layout.MaxBlock/4); n > most {
		return dst, fmt.Errorf("the record has %d bytes, and in a block of %d at most it may have %d", n, x.layout.MaxBlock, most)
	}
	return out, nil
}

func (x *blockRecords[T]) adopt(head func(n int) ([]byte, error)) error {
	for n := readBytes; ; n *= 2 {
		got, err := head(n)
		if err != nil {
			return err
		}
		if len(got) == 0 {
			return errHeaderTorn
		}
		file, err := x.layout.Encoder(got)
		switch {
		case err == nil:
			x.file = file
			return nil
		case !errors.Is(err, ErrMore):
			return err
		case len(got) < n:
			return errHeaderTorn
		case n > x.layout.MaxHeader:
			return fmt.Errorf("its header is longer than %d bytes", x.layout.MaxHeader)
		}
	}
}

func (x *blockRecords[T]) another() blockMaker { return &blockRecords[T]{layout: x.layout} }
func (x *blockRecords[T]) begins() []byte      { return x.file.Header() }
func (x *blockRecords[T]) mark() []byte        { return x.file.Mark() }

func (x *blockRecords[T]) block(dst, records []byte, count int) ([]byte, error) {
	return x.file.Block(dst, records, count)
}

// mend is for files of lines. See cutter.
func (*blockRecords[T]) mend(byte, func() (int64, error)) (string, error) { return "", nil }

// whole finds the last mark: what is behind it is a block that a crash has cut short.
func (x *blockRecords[T]) whole(r io.ReaderAt, size int64) (int64, error) {
	mark := x.mark()
	first := int64(len(x.begins()))
	buf := make([]byte, readBytes+len(mark)-1)
	for to := size; to > first; {
		from := max(to-readBytes, first)
		part := buf[:min(size, to+int64(len(mark))-1)-from] // and what a mark may need that begins in it
		if _, err := r.ReadAt(part, from); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if i := bytes.LastIndex(part, mark); i >= 0 {
			return from + int64(i+len(mark)), nil
		}
		to = from
	}
	return min(first, size), nil
}

// unblocked is what there is to know of records that are not in a block yet.
type unblocked struct {
	maker blockMaker
	count int
	begun []byte // the file begins with that, and has not got it yet
	out   []byte
}

// unblockedOf returns nil for an encoder that makes no blocks.
func unblockedOf(encoder any) *unblocked {
	if m, ok := encoder.(blockMaker); ok {
		return &unblocked{maker: m}
	}
	return nil
}

// full reports whether a block can't have more. A nil receiver is of files that have none.
func (u *unblocked) full() bool { return u != nil && u.count >= maxBlockRecords }

// end makes a block of the records, behind the header where the file has none. It is good until the next call.
func (u *unblocked) end(records []byte) ([]byte, error) {
	if cap(u.out) > 2*len(records)+4*smallBufferBytes { // of one huge record
		u.out = nil
	}
	u.out = append(u.out[:0], u.begun...)
	if u.count > 0 {
		var err error
		if u.out, err = u.maker.block(u.out, records, u.count); err != nil {
			return nil, err
		}
	}
	u.count, u.begun = 0, nil
	return u.out, nil
}

// blocked returns what is in the buffer of a part as its file is to have it. The caller has the lock.
func (s *partSet) blocked(p *part) ([]byte, error) {
	if s.blocks == nil {
		return p.buf, nil
	}
	if p.blocks == nil {
		p.blocks = &unblocked{maker: s.blocks, begun: s.header}
		if p.Bytes > 0 { // an earlier run began it, with a mark of its own
			if err := s.takeUp(p); err != nil {
				return nil, err
			}
		}
	}
	p.blocks.count = p.fresh
	out, err := p.blocks.end(p.buf)
	p.blocks.out = nil // there may be many parts
	return out, err
}

// takeUp makes the blocks of a part go on as it begins.
func (s *partSet) takeUp(p *part) error {
	if err := s.openPart(p); err != nil {
		return err
	}
	p.blocks = &unblocked{maker: s.blocks.another()}
	err := p.blocks.maker.adopt(func(n int) ([]byte, error) {
		if s.stored != None {
			return unpackedHead(p.file, p.Bytes, s.stored, n)
		}
		got := make([]byte, min(int64(n), p.Bytes))
		n, err := p.file.ReadAt(got, 0)
		if n < len(got) && err != nil {
			return nil, err
		}
		return got, nil
	})
	if err != nil {
		return s.changed(p, err.Error())
	}
	return nil
}
