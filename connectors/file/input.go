package file

import (
	"errors"
	"io"
)

// readBytes is how much is read at once.
const readBytes = 256 << 10

// input is a stretch of a stream in memory, and where in the stream it is.
type input struct {
	r          io.Reader
	chunk      int // how much is read at once
	buf        []byte
	start, end int   // what of buf is there
	offset     int64 // of buf[start] in the stream
	eof        bool  // nothing comes behind buf[end]
}

// reset makes in the stream r, from offset on. The memory stays.
func (in *input) reset(r io.Reader, offset int64) {
	*in = input{r: r, chunk: in.chunk, buf: in.buf, offset: offset}
}

func (in *input) data() []byte { return in.buf[in.start:in.end] }

// drop goes on by n bytes of data.
func (in *input) drop(n int) {
	in.start += n
	in.offset += int64(n)
}

// more reads once, and makes room before if there is none.
func (in *input) more() error {
	if in.start > 0 && in.start == in.end {
		in.start, in.end = 0, 0
	}
	if in.end == len(in.buf) {
		switch {
		case in.buf == nil:
			in.buf = make([]byte, in.chunk)
		case in.start > 0:
			in.end = copy(in.buf, in.data())
			in.start = 0
		default:
			grown := make([]byte, 2*len(in.buf))
			copy(grown, in.buf)
			in.buf = grown
		}
	}
	n, err := in.r.Read(in.buf[in.end:])
	in.end += n
	if errors.Is(err, io.EOF) {
		in.eof = true
		return nil
	}
	return err
}
