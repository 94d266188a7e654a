package file

import (
	"bytes"
	"errors"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/serde/json"
)

func newJSONArray[T any](f *File[T]) (format[T], error) {
	c := f.Codec
	if c == nil {
		c = json.Codec[T]{}
	}
	elements := arrayElements[T]{codecLines[T]{codec: c}}
	return format[T]{framing: arrayFraming{}, decoder: elements, encoder: elements, number: true, bom: true}, nil
}

// arrayElements are the elements of a JSON array, which can only be read.
type arrayElements[T any] struct{ codecLines[T] }

var errAppendArray = errors.New("a JSON array can't be appended to, as its ] is in the way: write file.NDJSON")

func (arrayElements[T]) header() ([]byte, error) { return nil, errAppendArray }

func (arrayElements[T]) append(dst []byte, _ *T) ([]byte, error) { return dst, errAppendArray }

func (arrayElements[T]) mend(byte, func() (int64, error)) (string, error) { return "", errAppendArray }

func (a arrayElements[T]) decode(b *weaver.Batch[T], body []byte, v *T) error {
	return a.codecLines.decode(b, body, v)
}

// arrayFraming makes a record of each element of a JSON array (RFC 8259). A record begins where the element before ends, so the [ belongs to the first one,
// and each comma to the one behind it.
//
// An element is as long as its brackets say, of whatever kind they are: whether it is JSON is for the codec to find out. What comes between elements is looked at here,
// and where that is wrong nothing behind it can be relied on.
type arrayFraming struct{}

// What a scan's phase means to arrayFraming: what comes next.
const (
	arraySeparator uint8 = iota // the [ of the first record, or a comma or the ] of any other
	arrayFirst                  // an element, or the ] of an empty array
	arrayElement                // an element
	arrayEnd                    // nothing
)

var (
	errNoArray   = errors.New("no JSON array: it doesn't begin with [ (for one value a line there is file.NDJSON)")
	errNoComma   = errors.New("neither a comma nor ] behind an element of the array")
	errNoElement = errors.New("no element of the array where one must be")
	errBehind    = errors.New("something comes behind the ] of the array")
	errNoEnd     = errors.New("the file ends before the ] of the array")
)

func (arrayFraming) next(data []byte, eof bool, s *scan) (frame, bool) {
	if s.body == 0 {
		found, err := s.findElement(data, eof)
		switch {
		case err != nil:
			return frame{lead: s.at, bad: err, rest: true}, true
		case !found:
			return frame{}, false
		}
	}
	var ended bool
	switch data[s.body] {
	case '{', '[':
		ended = s.endOfNested(data)
	case '"':
		ended = s.endOfString(data)
	default:
		ended = s.endOfScalar(data)
	}
	switch {
	case ended:
		return frame{lead: s.body, body: s.at - s.body, size: s.at, lines: 1}, true
	case eof:
		return frame{lead: s.body, bad: errNoEnd, rest: true}, true
	}
	return frame{}, false
}

// findElement goes past what comes before an element, and reports whether it is there. At the end of a file it isn't, if all is well.
func (s *scan) findElement(data []byte, eof bool) (bool, error) {
	for ; s.at < len(data); s.at++ {
		c := data[s.at]
		switch {
		case isSpace(c):
		case s.phase == arraySeparator && s.first:
			if c != '[' {
				return false, errNoArray
			}
			s.phase = arrayFirst
		case s.phase == arraySeparator && c == ',':
			s.phase = arrayElement
		case c == ']' && s.phase < arrayElement:
			s.phase = arrayEnd
		case s.phase == arraySeparator:
			return false, errNoComma
		case s.phase == arrayEnd:
			return false, errBehind
		case c == ',' || c == ']' || c == '}' || c == ':':
			return false, errNoElement
		default:
			s.body = s.at
			return true, nil
		}
	}
	if !eof || s.phase == arrayEnd || s.phase == arraySeparator && s.first {
		s.ended = eof
		return false, nil
	}
	return false, errNoEnd
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// endOfNested goes to the end of an object or an array.
func (s *scan) endOfNested(data []byte) bool {
	for s.at < len(data) {
		if s.quoted {
			if !s.endOfQuotes(data) {
				return false
			}
			continue
		}
		rest := data[s.at:]
		n := 0
		for n < len(rest) && !structural[rest[n]] {
			n++
		}
		s.at += n
		if n == len(rest) {
			return false
		}
		s.at++
		switch rest[n] {
		case '"':
			s.quoted = true
		case '{', '[':
			s.depth++
		default:
			if s.depth--; s.depth == 0 {
				return true
			}
		}
	}
	return false
}

// structural are the characters that matter to where an object or an array ends.
var structural = [256]bool{'"': true, '{': true, '[': true, '}': true, ']': true}

// endOfString goes to the end of a string.
func (s *scan) endOfString(data []byte) bool {
	if s.at == s.body {
		s.at++
		s.quoted = true
	}
	return s.endOfQuotes(data)
}

// endOfQuotes goes past the closing quotation mark of a string, from anywhere inside it but behind a backslash.
func (s *scan) endOfQuotes(data []byte) bool {
	for {
		end := len(data)
		n := bytes.IndexByte(data[s.at:], '"')
		if n >= 0 {
			end = s.at + n
		}
		for s.at < end {
			k := bytes.IndexByte(data[s.at:end], '\\')
			if k < 0 {
				s.at = end
				break
			}
			if s.at += k; s.at+1 == len(data) {
				return false // what it escapes is not there yet
			}
			s.at += 2
		}
		switch {
		case s.at > end: // that mark was escaped
			continue
		case n < 0:
			return false
		}
		s.at++
		s.quoted = false
		return true
	}
}

// endOfScalar goes to what comes behind a number, true, false or null.
func (s *scan) endOfScalar(data []byte) bool {
	for ; s.at < len(data); s.at++ {
		if c := data[s.at]; c == ',' || c == ']' || isSpace(c) {
			return true
		}
	}
	return false
}
