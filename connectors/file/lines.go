package file

import (
	"bytes"
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/row"
	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/json"
)

// lineFraming makes a record of each line. A last line without an end is one too.
type lineFraming struct {
	skipBlank bool
}

func (l lineFraming) next(data []byte, eof bool, s *scan) (frame, bool) {
	f, ok := line(data, eof, s)
	if !ok {
		return frame{}, false
	}
	if l.skipBlank {
		f.blank = isBlank(data[:f.body])
	}
	if !f.blank && s.first && f.lines == 0 && bytes.IndexByte(data[:f.body], '\r') >= 0 {
		f.bad, f.rest = errCarriageReturns, true
	}
	return f, true
}

// errCarriageReturns is of a file that has no other line ends than classic Mac OS had. Taken for one line it would be one wrong record.
var errCarriageReturns = errors.New(`the file has carriage returns and no line feed: convert its line ends to LF or CRLF, with "tr '\r' '\n'" for instance`)

// line returns the first line of data.
func line(data []byte, eof bool, s *scan) (frame, bool) {
	n := bytes.IndexByte(data[s.at:], '\n')
	if n < 0 {
		s.at = len(data)
		if !eof || len(data) == 0 {
			return frame{}, false
		}
		return endOfLine(data, len(data), 0), true
	}
	return endOfLine(data, s.at+n+1, 1), true
}

// endOfLine is the frame of a record that has so many bytes and line ends.
func endOfLine(data []byte, size, lines int) frame {
	f := frame{size: size, body: size, lines: lines}
	if f.body > 0 && data[f.body-1] == '\n' {
		f.body--
	}
	if f.body > 0 && data[f.body-1] == '\r' {
		f.body--
	}
	return f
}

// isBlank is quick about what isn't: JSON seldom begins with a space.
func isBlank(line []byte) bool {
	return len(line) == 0 || line[0] <= ' ' && len(bytes.Trim(line, " \t\r")) == 0
}

func newLines(*File[[]byte]) (format[[]byte], error) {
	return format[[]byte]{framing: lineFraming{}, decoder: rawLines{}, many: &cutLines{}, encoder: rawLines{}, lines: true}, nil
}

// cutLines copies many lines at once.
type cutLines struct{ ends []int } // behind each line end

func (c *cutLines) decodeMany(b *weaver.Batch[[]byte], data []byte, owned bool, line int64, longest int) (size, lines int) {
	c.ends = c.ends[:0]
	records, room := b.Room()
	if owned {
		room = len(data)
	}
	for len(c.ends) < records && size < room {
		n := bytes.IndexByte(data[size:], '\n')
		if n <= 0 || n > longest || data[size] <= ' ' {
			break
		}
		size += n + 1
		c.ends = append(c.ends, size)
	}
	text := data
	if !owned {
		text = b.Bytes(size)
		copy(text, data)
	}
	begin := 0
	for i, end := range c.ends {
		n := end - 1
		if text[n-1] == '\r' {
			n--
		}
		r := b.Add()
		r.Value = text[begin:n:n]
		r.Seq = line + int64(i)
		begin = end
	}
	return size, len(c.ends)
}

// readInto reads about as much as b has room for into b's memory, and adds the lines that are whole. It reports whether there were any; otherwise what was read
// is data now. It leaves alone what isn't just a piece of a file that has more.
func (s *stream[T]) readInto(ctx context.Context, b *weaver.Batch[T]) (bool, error) {
	records, room := b.Room()
	size := min(records*s.average, room, readBytes)
	if _, stored := s.contents.(*plain); !stored || size < minReadInto || size <= 2*len(s.in.data()) || s.left() < int64(size) || len(s.head) < fingerprintBytes {
		return false, nil
	}
	if bytes.IndexByte(s.in.data(), '\n') >= 0 { // which isn't a plain one
		return false, nil
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	mem := b.Bytes(size)
	n, err := s.in.lend(mem)
	if n == 0 {
		return false, err
	}
	mem = mem[:n]
	used, lines := s.format.many.decodeMany(b, mem, true, s.line, s.maxBytes)
	s.in.giveBack(mem, used)
	s.line += int64(lines)
	s.scan = scan{}
	s.average = 0 // isn't worth it, or
	if used > size/2 {
		s.average = used / lines
	}
	return lines > 0, nil
}

// minReadInto is from where on reading into a batch's own memory is worth it.
const minReadInto = 16 << 10

// rawLines has lines as values.
type rawLines struct{ lineByLine }

func (rawLines) decode(b *weaver.Batch[[]byte], body []byte, v *[]byte) error {
	*v = []byte{} // an empty line is not nil
	if len(body) > 0 {
		*v = b.Copy(body)
	}
	return nil
}

func (rawLines) append(dst []byte, v *[]byte) ([]byte, error) {
	line := *v
	if bytes.IndexByte(line, '\n') >= 0 || len(line) > 0 && line[len(line)-1] == '\r' {
		return dst, fmt.Errorf("a line cannot contain a line end: %s", serde.Excerpt(line))
	}
	return append(append(dst, line...), '\n'), nil
}

func (r rawLines) appendMany(dst []byte, records []weaver.Record[[]byte], limit int) ([]byte, int) {
	for i := range records {
		if len(dst) >= limit || records[i].Op == weaver.Delete {
			return dst, i
		}
		out, err := r.append(dst, &records[i].Value)
		if err != nil {
			return dst, i
		}
		dst = out
	}
	return dst, len(records)
}

func newNDJSON[T any](f *File[T]) (format[T], error) {
	c := f.Codec
	if c == nil {
		c = json.Codec[T]{}
	}
	lines := codecLines[T]{codec: c}
	made := format[T]{framing: lineFraming{skipBlank: true}, decoder: lines, encoder: lines, lines: true, bom: true}
	if _, rows := any(f).(*File[row.Row]); f.Codec == nil && !rows { // the codec is quick about these
		made.encoder = newJSONLines[T]()
	}
	return made, nil
}

// jsonLines writes what the default codec does, without an allocation for each record.
type jsonLines[T any] struct {
	lineByLine
	enc *stdjson.Encoder
	dst []byte
}

func newJSONLines[T any]() *jsonLines[T] {
	j := &jsonLines[T]{}
	j.enc = stdjson.NewEncoder(j)
	j.enc.SetEscapeHTML(false)
	return j
}

// Write implements io.Writer for the Encoder, which calls it once a value, with the line end.
func (j *jsonLines[T]) Write(p []byte) (int, error) {
	j.dst = append(j.dst, p...)
	return len(p), nil
}

func (j *jsonLines[T]) append(dst []byte, v *T) ([]byte, error) {
	j.dst = dst
	err := j.enc.Encode(v)
	out := j.dst
	j.dst = nil
	if err != nil {
		return dst, err
	}
	// Text that isn't UTF-8 is written as something else, and the codec refuses it.
	if line := out[len(dst):]; !utf8.Valid(line) || bytes.Contains(line, replacement) {
		if _, err := (json.Codec[T]{}).Append(nil, *v); err != nil {
			return dst, err
		}
	}
	return out, nil
}

// replacement is what encoding/json writes for what isn't UTF-8.
var replacement = []byte(`\ufffd`)

// codecLines has lines that a codec reads and writes.
type codecLines[T any] struct {
	lineByLine
	codec serde.Codec[T]
}

func (c codecLines[T]) decode(b *weaver.Batch[T], body []byte, v *T) error {
	b.Weigh(len(body))
	return c.codec.Decode(body, v)
}

func (c codecLines[T]) append(dst []byte, v *T) ([]byte, error) {
	start := len(dst)
	out, err := c.codec.Append(dst, *v)
	if err != nil {
		return dst, err
	}
	if bytes.IndexByte(out[start:], '\n') >= 0 {
		var compact bytes.Buffer
		if err := stdjson.Compact(&compact, out[start:]); err != nil {
			return dst, fmt.Errorf("a line cannot contain a line end: %s", serde.Excerpt(out[start:]))
		}
		out = append(out[:start], compact.Bytes()...)
	}
	return append(out, '\n'), nil
}

// lineByLine is what formats have in common whose records are lines and nothing else.
type lineByLine struct{}

func (lineByLine) headed() headerUse       { return noHeader }
func (lineByLine) begin([]byte) error      { return nil }
func (lineByLine) header() ([]byte, error) { return nil, nil }

func (lineByLine) mend(last byte, _ func() (int64, error)) (string, error) {
	if last == '\n' {
		return "", nil
	}
	return "\n", nil
}
