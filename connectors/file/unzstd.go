package file

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// unzstd unpacks frames of zstd (RFC 8878), also skippable ones, which hold no content.
type unzstd struct {
	decoder *zstd.Decoder
	frame   zstdWalk
	header  zstd.Header
	skips   bool // the frame is a skippable one
}

const (
	zstdMagic     = "\x28\xb5\x2f\xfd"
	zstdSkippable = "\x2a\x4d\x18" // behind a byte from 0x50 to 0x5f
)

func (*unzstd) name() string { return "zstd" }

func (*unzstd) begins(head []byte) (yes, open bool) {
	if len(head) > 0 && head[0]&0xf0 == 0x50 {
		return hasMagic(head[1:], zstdSkippable)
	}
	return hasMagic(head, zstdMagic)
}

func (z *unzstd) begin(in *storedBuffer) error {
	z.frame = zstdWalk{in: in, bad: errGarbage}
	head, _ := in.Peek(zstd.HeaderMaxSize)
	if err := z.header.Decode(head); err != nil {
		return err // io.ErrUnexpectedEOF: Peek ended where the file does
	}
	h := &z.header
	z.frame = zstdWalk{in: in, left: int64(h.HeaderSize), checksum: h.HasCheckSum}
	if z.skips = h.Skippable; z.skips {
		z.frame.left += int64(h.SkippableSize)
		z.frame.last = true
		return nil
	}
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	switch {
	case window > zstdMaxWindow:
		return tooMuch(fmt.Sprintf("its window is %d bytes, and %d (128 MiB) is the limit: compress it anew, with --long=27 at most", window, zstdMaxWindow))
	case h.DictionaryID != 0:
		return tooMuch(fmt.Sprintf("it needs the dictionary %d: compress it anew without one", h.DictionaryID))
	}
	if z.decoder == nil {
		var err error
		if z.decoder, err = newZstdReader(); err != nil {
			return err
		}
	}
	return z.decoder.Reset(&z.frame)
}

func (z *unzstd) Read(p []byte) (int, error) {
	if z.skips {
		return 0, z.frame.discard()
	}
	n, err := z.decoder.Read(p)
	switch {
	case err == nil:
		return n, nil
	case z.frame.cut:
		return n, io.ErrUnexpectedEOF
	case z.frame.bad != nil:
		return n, z.frame.bad
	case err != io.EOF: //nolint:errorlint // as it is
		return n, errors.New(err.Error()) // it may be io.ErrUnexpectedEOF of a block, which is not the file's
	}
	if !z.frame.ended() {
		return n, errGarbage
	}
	return n, io.EOF
}

// pass walks to the end of the frame. Its blocks say how long they are, also where what is in them is wrong; if these lengths lead to another frame, they are right.
func (z *unzstd) pass(int64, bool) (bool, error) {
	switch err := z.frame.discard(); {
	case err == nil:
		return false, nil
	case err != io.EOF: //nolint:errorlint // as it is
		return false, io.EOF
	}
	head, _ := z.frame.in.Peek(len(zstdMagic))
	if yes, _ := z.begins(head); !yes && len(head) > 0 {
		return false, io.EOF
	}
	return true, nil
}

func (z *unzstd) rest() {
	z.frame = zstdWalk{}
	if z.decoder != nil {
		_ = z.decoder.Reset(nil) // which lets go of the frame, and can't fail
	}
}

func (z *unzstd) release() {
	if z.decoder != nil {
		z.decoder.Close()
	}
	*z = unzstd{}
}

// zstdWalk reads one frame, and not a byte more. It knows where the frame ends from its headers alone (RFC 8878 §3.1.1).
type zstdWalk struct {
	in       *storedBuffer
	left     int64 // bytes up to the next block header, or the checksum
	last     bool  // there is no other block
	checksum bool  // comes at the end
	cut      bool  // the file ended before
	bad      error // why the end can't be found
}

func (w *zstdWalk) ended() bool { return w.left == 0 && w.last && !w.checksum && w.bad == nil }

// Read implements io.Reader.
func (w *zstdWalk) Read(p []byte) (int, error) {
	if w.left == 0 {
		if err := w.next(); err != nil {
			return 0, err
		}
	}
	n, err := w.in.Read(p[:min(int64(len(p)), w.left)])
	return n, w.passed(n, err)
}

// discard goes on by stepBytes at most.
func (w *zstdWalk) discard() error {
	if w.left == 0 {
		if err := w.next(); err != nil {
			return err
		}
	}
	n, err := w.in.Discard(int(min(stepBytes, w.left)))
	return w.passed(n, err)
}

func (w *zstdWalk) passed(n int, err error) error {
	w.left -= int64(n)
	if errors.Is(err, io.EOF) {
		w.cut = true
		return io.ErrUnexpectedEOF
	}
	return err
}

// next reads the header of the next block. io.EOF: there is none.
func (w *zstdWalk) next() error {
	const rle, reserved = 1, 3
	switch {
	case w.bad != nil:
		return w.bad
	case w.last && w.checksum:
		w.left, w.checksum = 4, false
		return nil
	case w.last:
		return io.EOF
	}
	b, err := w.in.Peek(3)
	if err != nil {
		return w.passed(0, err)
	}
	header := int64(b[0]) | int64(b[1])<<8 | int64(b[2])<<16
	w.last, w.left = header&1 == 1, 3+header>>3
	switch header >> 1 & 3 {
	case rle:
		w.left = 3 + 1
	case reserved:
		w.left = 0
		w.bad = errors.New("a block is of no known type")
		return w.bad
	}
	return nil
}
