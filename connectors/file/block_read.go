package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// blockState is what a stream knows of a file of blocks. While a block is open, in.data begins with it: in.offset, and so the position, is where it begins.
type blockState[T any] struct {
	decoder BlockDecoder[T] // nil: the file has no header, or
	bad     error           // a damaged one
	mark    []byte

	records []byte // of the open block, those that were not read
	size    int    // of the open block as it is stored; 0: none is open
	count   int    // of its records
	done    int    // of those that were read

	skip int64 // how many records of the block that comes were read before the file was opened

	lost   mark // where damage begins behind which no mark was found yet; the position stays there
	isLost bool
}

// inside returns how many records of the block at in.offset were read.
func (x *blockState[T]) inside() int64 {
	if x.size > 0 {
		return int64(x.done)
	}
	return x.skip
}

var (
	errHeaderTorn = errors.New("the file ends within its header")
	errBlockTorn  = errors.New("the file ends within a block")
	errBlockLong  = errors.New("the block is said to be longer than the rest of the file, or than a block may be")
)

// beginBlocks reads the header, and goes to m.
func (s *stream[T]) beginBlocks(ctx context.Context, m mark) error {
	x := &s.blocks
	*x = blockState[T]{}
	s.refused = m.refused
	if err := s.readHeader(ctx); err != nil {
		return err
	}
	s.line = m.line
	x.skip = m.inside
	switch {
	case m.offset <= s.in.offset && m.member.stored == 0: // it is new, or nothing behind the header was read
		return nil
	case x.decoder == nil && x.bad == nil:
		return cutShort(s.path, m)
	case x.decoder == nil:
		return replaced(fmt.Errorf("%s was read up to byte %d, and its header is damaged since: %w: put it back, or remove the checkpoint to read what is there", s.path, m.offset, x.bad))
	}
	return s.resumeBlocks(ctx, m)
}

// readHeader reads what comes before the blocks.
func (s *stream[T]) readHeader(ctx context.Context) error {
	x, l := &s.blocks, s.format.layout
	for {
		data := s.in.data()
		d, n, err := l.Decoder(data)
		switch {
		case err == nil:
			s.in.drop(n)
			x.decoder, x.mark = d, d.Mark()
			return nil
		case errors.Is(err, ErrMore) && len(data) > l.MaxHeader:
			x.bad = fmt.Errorf("the header is longer than %d bytes", l.MaxHeader)
			return nil
		case errors.Is(err, ErrMore) && s.in.torn != nil:
			x.bad = s.in.torn
			return nil
		case errors.Is(err, ErrMore) && s.in.eof && len(data) == 0:
			return nil
		case errors.Is(err, ErrMore) && s.in.eof:
			x.bad = errHeaderTorn
			return nil
		case errors.Is(err, ErrMore):
			if err := s.atLeast(ctx, 2*len(data)+1); err == errPending && len(s.in.data()) > len(data) { //nolint:errorlint // made here
				continue
			} else if err != nil {
				return err
			}
		case retry.ClassOf(err) == retry.ClassPoison:
			x.bad = err
			return nil
		default:
			return retry.Fatal(fmt.Errorf("%s: %w", s.path, err))
		}
	}
}

// atLeast reads until there are so many bytes of data, or the file ends.
func (s *stream[T]) atLeast(ctx context.Context, size int) error {
	for len(s.in.data()) < size && !s.in.eof {
		if err := s.more(ctx); err != nil {
			return err
		}
	}
	return nil
}

// resumeBlocks goes to m, which lies behind the header. The mark in front of it tells that the file is the one that m is about.
func (s *stream[T]) resumeBlocks(ctx context.Context, m mark) error {
	back := min(int64(len(s.blocks.mark)), m.offset-max(s.in.offset, m.member.offset))
	if m.print.size == 0 { // standard input, of which there is no more than a byte
		back = min(back, 1)
	}
	if m.beginsMember() {
		back = 0
	}
	before := m
	before.offset -= back
	if err := s.seek(before); err != nil {
		return err
	}
	if err := s.atLeast(ctx, int(back)); err != nil {
		return err
	}
	data := s.in.data()
	if len(data) < int(back) {
		return cutShort(s.path, m)
	}
	if back == int64(len(s.blocks.mark)) && !bytes.HasPrefix(data, s.blocks.mark) {
		if isPlain(s.contents) && !m.refused {
			return replaced(fmt.Errorf("no block ends at byte %d of %s, up to which it was read: it was replaced; put the other back, or remove the checkpoint to read this one", m.offset, s.path))
		}
		s.skipping = true
	}
	s.in.drop(int(back))
	return nil
}

// fillBlocks is fill for files of blocks.
func (s *stream[T]) fillBlocks(ctx context.Context, b *weaver.Batch[T]) (ended bool, err error) {
	x := &s.blocks
	if x.decoder == nil {
		if x.bad != nil {
			s.refuse(b, 0, fmt.Errorf("the header: %w", x.bad))
		}
		return true, nil
	}
	if s.skipping {
		if err := s.toMark(ctx); err != nil {
			return false, err
		}
	}
	for !b.Full() {
		if x.size > 0 {
			s.addRecords(b)
			continue
		}
		data := s.in.data()
		if len(data) == 0 && s.in.eof && s.in.torn == nil {
			return true, nil
		}
		block, err := x.decoder.Find(data)
		short := errors.Is(err, ErrMore)
		switch {
		case err == nil:
			err = s.openBlock(b, block)
		case !short:
			err = s.lose(ctx, b, err)
		case len(data) > 2*s.format.layout.MaxBlock, s.in.eof && bytes.Contains(data, x.mark):
			err = s.lose(ctx, b, errBlockLong)
		case s.in.torn != nil:
			return s.rejectDamage(ctx, b)
		case s.in.eof:
			s.refuse(b, 0, errBlockTorn)
			return true, nil
		default:
			err = s.atLeast(ctx, max(block.Size, len(data)+1))
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// lose rejects what data begins with, which is no block, and goes on behind the next mark. If there is none, it comes to the end of the file.
func (s *stream[T]) lose(ctx context.Context, b *weaver.Batch[T], why error) error {
	if x := &s.blocks; !x.isLost {
		s.blocks.lost = s.mark()
		x.isLost, x.lost.refused, x.skip = true, true, 0
	}
	if !s.refused {
		if err := s.atLeast(ctx, rejectedBytes); err != nil && err != errPending { //nolint:errorlint // made here
			return err
		}
		raw := s.in.data()
		raw = raw[:min(len(raw), rejectedBytes)]
		why = fmt.Errorf("%w; reading goes on behind the next mark that ends a block, if there is one", why)
		b.Reject(s.line, raw, s.recordError(s.in.offset, raw, why))
	}
	s.line++
	s.refused, s.skipping = true, true
	return s.toMark(ctx)
}

// toMark goes on behind the next mark, in the memory that is there.
func (s *stream[T]) toMark(ctx context.Context) error {
	mark := s.blocks.mark
	for {
		data := s.in.data()
		if n := bytes.Index(data, mark); n >= 0 {
			s.in.drop(n + len(mark))
			s.skipping, s.refused, s.blocks.isLost = false, false, false
			return nil
		}
		if s.in.eof {
			s.in.drop(len(data))
			s.skipping = false
			return nil
		}
		s.in.drop(max(0, len(data)-len(mark)+1))
		if err := s.more(ctx); err != nil {
			return err
		}
	}
}

// openBlock makes the records ready of the block that data begins with. One that can't be unpacked is rejected.
func (s *stream[T]) openBlock(b *weaver.Batch[T], block Block) error {
	x := &s.blocks
	records, err := x.decoder.Unpack(block)
	if err != nil {
		raw := s.in.data()[:min(block.Size, rejectedBytes)]
		s.reject(b, raw, fmt.Errorf("a block of %d records: %w", block.Count, err))
		s.line += max(1, int64(block.Count)-x.skip)
		s.closeBlock(block.Size)
		return nil
	}
	x.records, x.size, x.count, x.done = records, block.Size, block.Count, 0
	for ; x.skip > 0; x.skip-- {
		n, err := x.sizeOf(x.records)
		if err != nil || x.done == x.count {
			return replaced(fmt.Errorf("the block at byte %d of %s has %d records that can be read, and %d were read before: it was replaced; put the other back, or remove the checkpoint to read this one",
				s.in.offset, s.path, x.done, int64(x.done)+x.skip))
		}
		x.records = x.records[n:]
		x.done++
	}
	if x.done == x.count {
		s.endBlock(b)
	}
	return nil
}

func (x *blockState[T]) sizeOf(data []byte) (int, error) {
	n, err := x.decoder.Skip(data)
	if err == nil && (n < 0 || n > len(data)) {
		err = errRecordSize
	}
	return n, err
}

var errRecordSize = errors.New("the record is longer than the rest of its block")

// addRecords adds those of the open block until b is full.
func (s *stream[T]) addRecords(b *weaver.Batch[T]) {
	x := &s.blocks
	for x.done < x.count {
		if b.Full() {
			return
		}
		rec := b.Add()
		rec.Seq = s.line
		n, err := x.decoder.Decode(x.records, &rec.Value)
		if err != nil || uint(n) > uint(min(s.maxBytes, len(x.records))) { //nolint:gosec // one that is negative is too large
			last := len(b.Records) - 1
			clear(b.Records[last:])
			b.Records = b.Records[:last]
			n = s.rejectInside(b, err)
		} else {
			s.refused = false
			b.Weigh(n)
		}
		x.records = x.records[n:]
		x.done++
		s.line++
	}
	s.endBlock(b)
}

// rejectInside rejects the next record of the open block, or all that are left of it where nothing says how long that one is, and returns how long it is.
func (s *stream[T]) rejectInside(b *weaver.Batch[T], why error) int {
	x := &s.blocks
	n, err := x.sizeOf(x.records)
	if err != nil {
		if why == nil {
			why = err
		}
		left := x.count - x.done - 1
		raw := x.records[:min(len(x.records), rejectedBytes)]
		s.reject(b, raw, fmt.Errorf("record %d of the %d in the block that begins there: %w; where it ends isn't known, so the %d behind it are rejected with it", x.done+1, x.count, why, left))
		x.done += left
		s.line += int64(left)
		return len(x.records)
	}
	raw := x.records[:n]
	if n > s.maxBytes {
		why = s.tooLong(raw)
		raw = raw[:min(n, rejectedBytes)]
	}
	s.reject(b, raw, fmt.Errorf("record %d of the %d in the block that begins there: %w", x.done+1, x.count, why))
	return n
}

// endBlock leaves the open block, of which all records were read.
func (s *stream[T]) endBlock(b *weaver.Batch[T]) {
	x := &s.blocks
	if n := len(x.records); n > 0 {
		s.reject(b, x.records[:min(n, rejectedBytes)], fmt.Errorf("%d bytes behind the %d records of the block that begins there", n, x.count))
		s.line++
	}
	s.closeBlock(x.size)
}

// closeBlock goes on behind a block of a size.
func (s *stream[T]) closeBlock(size int) {
	x := &s.blocks
	s.in.drop(size)
	x.records, x.size, x.count, x.done, x.skip = nil, 0, 0, 0, 0
	s.refused = false
}
