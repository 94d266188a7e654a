package json

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math/bits"

	"github.com/bohica-labs/dataweaver/serde"
)

// check looks for what encoding/json alters without a word: names that an object has twice, halves of surrogate pairs, numbers that a float rounds, arrays
// that are too long or too short, integers as keys that are not written as an integer is. It follows the shape of what was decoded: what has no place there is
// skipped.
//
// data must have been decoded: it is valid JSON in UTF-8, and nested no deeper than encoding/json allows. One pass, and no allocations
// unless an object for a map or an interface has more than a few names, or a name is written with escapes.
func (s *shape) check(data []byte, escapes bool) error {
	if s.form == opaque || s.form == scalar {
		return nil
	}
	w := walk{data: data, escapes: escapes}
	w.space()
	return w.value(s)
}

type walk struct {
	data    []byte
	at      int
	escapes bool   // there are any in data
	names   []seen // of the objects that are open, unless they are for a struct
}

// seen is a name that an object has.
type seen struct {
	hash uint64
	name []byte
}

// seed is for this process: who writes the documents can't choose names that collide.
var seed = maphash.MakeSeed()

// value checks the value that begins here and goes on behind it.
func (w *walk) value(s *shape) error {
	switch w.data[w.at] {
	case '"':
		body := w.text()
		if s.quoted || w.escapes && (s.form == text || s.form == anything) {
			return s.checkText(body)
		}
	case '{':
		switch s.form { //nolint:exhaustive // null aside, the others are no objects
		case object:
			return w.fields(s)
		case mapping, anything:
			return w.mapping(s)
		}
		w.skip()
	case '[':
		if s.form == list || s.form == anything {
			return w.list(s)
		}
		w.skip()
	default:
		body := w.word()
		if s.form == float {
			return checkNumber(body, s.bits)
		}
	}
	return nil
}

// fields checks an object that is for a struct.
func (w *walk) fields(s *shape) error {
	var few uint64 // of the fields that were there, where there are few
	var many []uint64
	if n := len(s.fields); n > 64 {
		many = make([]uint64, (n+63)/64)
	}
	next := 0 // which field is likely to come now: most writers keep to one order
	w.at++
	for w.space(); w.data[w.at] != '}'; w.comma() {
		i, err := w.field(s, next)
		if err != nil {
			return err
		}
		plain := !w.escapes
		if i >= 0 {
			next = i + 1
			taken, bit := &few, uint64(1)<<(i&63)
			if many != nil {
				taken = &many[i>>6]
			}
			if *taken&bit != 0 {
				return twice([]byte(s.fields[i].name))
			}
			*taken |= bit
			plain = plain && s.fields[i].plain
		}
		if plain {
			if n := plainValue(w.data[w.at:]); n > 0 {
				w.at += n
				continue
			}
		}
		if i < 0 {
			w.skip()
		} else if err := w.value(s.fields[i].shape); err != nil {
			return err
		}
	}
	w.at++
	return nil
}

// field goes on behind a name and its colon, and returns which field it means; -1: none.
func (w *walk) field(s *shape, next int) (int, error) {
	if next < len(s.fields) {
		if n := s.fields[next].isNext(w.data[w.at:]); n > 0 {
			w.at += n
			return next, nil
		}
	}
	name := w.text()
	w.colon()
	if w.escapes {
		var err error
		if name, err = unescaped(name); err != nil {
			return -1, err
		}
	}
	return s.field(name), nil
}

// isNext returns the size of the name and the colon that data begins with if they are those of f, written as it is and without white space; otherwise 0.
func (f *shapeField) isNext(data []byte) int {
	if len(data) <= 16 || (binary.LittleEndian.Uint64(data)^f.head)&f.headMask|(binary.LittleEndian.Uint64(data[8:])^f.tail)&f.tailMask != 0 || data[f.size] <= ' ' {
		return 0
	}
	return f.size
}

// plainValue returns the size of the value that data begins with, for those that it sees at a glance; otherwise 0.
func plainValue(data []byte) int {
	switch data[0] {
	case '"':
		return near(data[1:], '"') + len(`""`)
	case '{', '[':
		return 0
	}
	n := near(data, ',')
	if n <= 0 {
		return 0
	}
	if c := data[n-1]; c < '0' || c == ']' || c == '}' {
		return 0
	}
	return n
}

// near is bytes.IndexByte for what is mostly less than sixteen bytes away.
func near(data []byte, c byte) int {
	if len(data) >= 16 {
		pattern := uint64(c) * ones
		x := binary.LittleEndian.Uint64(data) ^ pattern
		y := binary.LittleEndian.Uint64(data[8:]) ^ pattern
		if found := (x - ones) &^ x & highs; found != 0 {
			return bits.TrailingZeros64(found) >> 3
		}
		if found := (y - ones) &^ y & highs; found != 0 {
			return 8 + bits.TrailingZeros64(found)>>3
		}
	}
	return bytes.IndexByte(data, c)
}

func twice(name []byte) error {
	return fmt.Errorf("an object has the name %s twice", serde.Excerpt(name))
}

// fewNames are compared one by one.
const fewNames = 32

// mapping checks an object all of whose names count.
func (w *walk) mapping(s *shape) error {
	if w.names == nil {
		w.names = make([]seen, 0, fewNames/2)
	}
	first := len(w.names)
	var index map[uint64]bool // the hashes of names, where there are many
	w.at++
	for w.space(); w.data[w.at] != '}'; w.comma() {
		raw := w.text()
		name, err := unescaped(raw)
		if err != nil {
			return err
		}
		if s.integer && !isInteger(name) {
			return fmt.Errorf("the name %s is for an integer, and is not how that is written", serde.Excerpt(name))
		}
		n := seen{maphash.Bytes(seed, name), name}
		before := w.names[first:]
		if index == nil && len(before) == fewNames {
			index = make(map[uint64]bool, 4*fewNames)
			for _, b := range before {
				index[b.hash] = true
			}
		}
		if (index == nil || index[n.hash]) && n.isIn(before) {
			return twice(name)
		}
		if index != nil {
			index[n.hash] = true
		}
		w.names = append(w.names, n)
		w.colon()
		if err := w.value(s.elem); err != nil {
			return err
		}
	}
	w.names = w.names[:first]
	w.at++
	return nil
}

func (n seen) isIn(names []seen) bool {
	for i := range names {
		if names[i].hash == n.hash && bytes.Equal(names[i].name, n.name) {
			return true
		}
	}
	return false
}

// isInteger reports whether a name that encoding/json takes for an integer is written in the one way that it would write it.
func isInteger(name []byte) bool {
	digits := bytes.TrimPrefix(name, []byte("-"))
	return len(name) == 1 || len(digits) > 0 && digits[0] != '0' && digits[0] != '+'
}

// list checks an array.
func (w *walk) list(s *shape) error {
	n := 0
	w.at++
	for w.space(); w.data[w.at] != ']'; w.comma() {
		n++
		if err := w.value(s.elem); err != nil {
			return err
		}
	}
	w.at++
	if s.length >= 0 && n != s.length {
		return fmt.Errorf("an array has %d elements, and is for %d", n, s.length)
	}
	return nil
}

// space goes on to what isn't white space.
func (w *walk) space() {
	for w.data[w.at] <= ' ' {
		w.at++
	}
}

// comma goes on from behind a value to the next one, or to the end of what both are in.
func (w *walk) comma() {
	if d := w.data[w.at:]; len(d) > 1 && d[0] == ',' && d[1] > ' ' {
		w.at++
		return
	}
	w.space()
	if w.data[w.at] == ',' {
		w.at++
		w.space()
	}
}

// colon goes on from behind a name to its value.
func (w *walk) colon() {
	w.space()
	w.at++
	w.space()
}

// text goes on behind a string and returns what is in its quotation marks, escapes as they are.
func (w *walk) text() []byte {
	start := w.at + 1
	for at := start; ; at++ {
		at += bytes.IndexByte(w.data[at:], '"')
		if !w.escapes || !isEscaped(w.data[start:at]) {
			w.at = at + 1
			return w.data[start:at]
		}
	}
}

// isEscaped reports whether what comes behind s is escaped.
func isEscaped(s []byte) bool {
	return (len(s)-len(bytes.TrimRight(s, `\`)))%2 == 1
}

// word goes on behind a number or a literal and returns it.
func (w *walk) word() []byte {
	start := w.at
	if n := bytes.IndexByte(w.data[start:], ','); n > 0 && w.data[start+n-1] >= '0' && w.data[start+n-1] != ']' && w.data[start+n-1] != '}' {
		w.at += n
		return w.data[start:w.at]
	}
	for w.at < len(w.data) {
		switch c := w.data[w.at]; {
		case c <= ' ', c == ',', c == ']', c == '}':
			return w.data[start:w.at]
		}
		w.at++
	}
	return w.data[start:]
}

// skip goes on behind the value that begins here.
func (w *walk) skip() {
	for depth := 0; ; {
		switch w.data[w.at] {
		case '"':
			w.text()
		case '{', '[':
			depth++
			w.at++
		case '}', ']':
			depth--
			w.at++
		case ',', ':', ' ', '\t', '\r', '\n':
			w.at++
			continue
		default:
			w.word()
		}
		if depth == 0 {
			return
		}
	}
}
