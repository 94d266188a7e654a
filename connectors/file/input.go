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
	start, end int    // what of buf is there
	offset     int64  // of buf[start] in the stream
	eof        bool   // nothing comes behind buf[end]
	growing    bool   // the end of the stream is not its end for good: see errPending
	before     []byte // what past is of buf[:known] and of what was there earlier
	known      int
	torn       error // where eof: what comes there is damaged. More goes on behind that after mend
}

// errPending says that nothing more is there yet of a stream that grows.
var errPending = errors.New("nothing more is there yet")

// pastBytes is how much past remembers.
const pastBytes = 256

// reset makes in the stream r, from offset on. The memory stays.
func (in *input) reset(r io.Reader, offset int64) {
	*in = input{r: r, chunk: in.chunk, buf: in.buf, offset: offset, growing: in.growing, before: in.before[:0]}
}

// past returns what came right before data, pastBytes at most, as far as it was read since reset. It is good until the next call of more.
func (in *input) past() []byte {
	if in.start >= pastBytes {
		return in.buf[in.start-pastBytes : in.start]
	}
	in.remember()
	return in.before
}

// remember brings before up to start.
func (in *input) remember() {
	in.pass(in.buf[in.known:in.start])
	in.known = in.start
}

// pass appends what came to before.
func (in *input) pass(fresh []byte) {
	if len(fresh) >= pastBytes {
		in.before = append(in.before[:0], fresh[len(fresh)-pastBytes:]...)
		return
	}
	if over := len(in.before) + len(fresh) - pastBytes; over > 0 {
		in.before = in.before[:copy(in.before, in.before[over:])]
	}
	in.before = append(in.before, fresh...)
}

// lend is more into somebody else's memory, which is longer than data: it returns how much of that is data and what came behind it, and data is then empty
// until giveBack. Where it returns 0, which is also at the end of the stream, nothing has changed.
func (in *input) lend(mem []byte) (int, error) {
	n, err := in.r.Read(mem[copy(mem, in.data()):])
	if n == 0 {
		if errors.Is(err, io.EOF) {
			err = nil // more finds it out
		}
		return 0, err
	}
	n += len(in.data()) // an error comes again
	in.remember()
	in.start, in.end, in.known = 0, 0, 0
	return n, nil
}

// giveBack drops so many bytes of what lend has returned, and makes the rest data.
func (in *input) giveBack(mem []byte, dropped int) {
	in.pass(mem[:dropped])
	in.offset += int64(dropped)
	if rest := len(mem) - dropped; rest > len(in.buf) {
		in.buf = make([]byte, rest)
	}
	in.end = copy(in.buf, mem[dropped:])
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
		in.remember()
		in.start, in.end, in.known = 0, 0, 0
	}
	if in.end == len(in.buf) {
		switch {
		case in.buf == nil:
			in.buf = make([]byte, in.chunk)
		case in.start > 0:
			in.remember()
			in.end = copy(in.buf, in.data())
			in.start, in.known = 0, 0
		default:
			grown := make([]byte, 2*len(in.buf))
			copy(grown, in.buf)
			in.buf = grown
		}
	}
	if c, ok := in.r.(grower); ok {
		c.grow(in.growing)
	}
	n, err := in.r.Read(in.buf[in.end:])
	in.end += n
	if torn, ok := err.(*damage); ok { //nolint:errorlint // one that is wrapped in another error is part of that
		in.eof, in.torn = true, torn
		return nil
	}
	if errors.Is(err, io.EOF) {
		if in.growing && n == 0 {
			return errPending
		}
		in.eof = !in.growing
		return nil
	}
	return err
}

// mend makes more go on behind damage.
func (in *input) mend() { in.eof, in.torn = false, nil }
