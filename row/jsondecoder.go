package row

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"unicode/utf8"

	"github.com/bohica-labs/dataweaver/serde"
)

// JSONDecoder reads rows that are JSON objects. Rows with the same names in the same order have the same Columns, as long as there
// are not more than a few such orders. It has one owner. The zero value is ready for use.
//
// A name is a column; which kind its values have is not known. A number is an Int if it is written as an integer and fits, else a
// Decimal with its digits as they are. A string is a Text; true and false a Bool; null NULL. An object or an array is JSON,
// without its white space and otherwise as it is.
//
// It is an error if a name comes twice or is empty, if a string has half of a character as an escape, if anything comes behind
// the object, if anything is no UTF-8, and if it is nested deeper than 10,000 levels. What is inside of an object or an array
// that is a value is checked to be JSON, and not for names that come twice.
//
// A row takes two allocations, one of them for all of its texts.
type JSONDecoder struct {
	last   *shared   // whose names the next row probably has
	shared []*shared // the latest ones, without any order
	oldest int       // of shared, when they are all in use

	scan   scanner
	seed   maphash.Seed
	text   []byte  // of the row's values, one behind the other
	values []Value // of the row; num is where the text ends of one that has some
	names  []byte  // of the row, one behind the other, where they are not those of last
	ends   []int   // of each of names
}

// shared are columns that rows have in common.
type shared struct {
	columns *Columns
	hash    uint64
	plain   bool // no name has anything to escape
}

const (
	maxShared        = 32
	maxSharedColumns = 4096    // more are not kept
	maxScratch       = 1 << 20 // the same for bytes
)

// Decode sets *r to the row that data is, all of data. It keeps nothing of data. After an error *r is zero.
func (d *JSONDecoder) Decode(data []byte, r *Row) error {
	*r = Row{}
	if !utf8.Valid(data) {
		return errUTF8
	}
	d.scan.text, d.scan.at = view(data), 0
	columns, err := d.object()
	d.scan.text = "" // is the caller's
	if err == nil {
		*r = Row{Columns: columns, Values: d.take()}
	}
	d.forget()
	return err
}

// forget gives back what a huge row has needed.
func (d *JSONDecoder) forget() {
	if cap(d.text) > maxScratch {
		d.text = nil
	}
	if cap(d.names) > maxScratch {
		d.names = nil
	}
	if cap(d.values) > maxSharedColumns {
		d.values, d.ends = nil, nil
	}
}

// take returns the values, with their texts in one piece.
func (d *JSONDecoder) take() []Value {
	values := slices.Clone(d.values)
	if len(d.text) == 0 {
		for i := range values {
			if isText(values[i].kind) {
				values[i].num = 0
			}
		}
		return values
	}
	text, begin := string(d.text), 0
	for i := range values {
		if v := &values[i]; isText(v.kind) {
			end := int(v.num) //nolint:gosec // of d.text
			v.str, v.num = text[begin:end], 0
			begin = end
		}
	}
	return values
}

var errNoObject = errors.New("a row is a JSON object")

// object reads all of the text, and returns the columns.
func (d *JSONDecoder) object() (*Columns, error) {
	s := &d.scan
	d.text, d.values, d.names, d.ends = d.text[:0], d.values[:0], d.names[:0], d.ends[:0]
	s.space()
	if s.peek() != '{' {
		if s.at == len(s.text) {
			return nil, errJSONEnd
		}
		return nil, errNoObject
	}
	s.at++
	following := d.last
	s.space()
	if s.peek() == '}' {
		s.at++
	} else {
		for more := true; more; {
			if following == nil || !d.isNext(following) {
				if following != nil {
					d.listNames(following)
					following = nil
				}
				if err := d.name(); err != nil {
					return nil, err
				}
			}
			if err := s.colon(); err != nil {
				return nil, err
			}
			if err := d.member(); err != nil {
				return nil, err
			}
			s.space()
			switch s.peek() {
			case ',':
				s.at++
				s.space()
			case '}':
				s.at++
				more = false
			default:
				return nil, s.unexpected("behind a value")
			}
		}
	}
	if err := s.end(); err != nil {
		return nil, err
	}
	if following != nil {
		if len(d.values) == len(following.columns.list) {
			return following.columns, nil
		}
		d.listNames(following)
	}
	return d.find()
}

// isNext goes past the next name if it is the next of some columns.
func (d *JSONDecoder) isNext(of *shared) bool {
	i := len(d.values)
	if i == len(of.columns.list) || !of.plain {
		return false
	}
	name, rest := of.columns.list[i].Name, d.scan.text[d.scan.at:]
	if n := len(name); len(rest) < n+2 || rest[n+1] != '"' || rest[0] != '"' || rest[1:n+1] != name {
		return false
	}
	d.scan.at += len(name) + 2
	return true
}

// listNames adds the names that were read so far to d.names: they were those of some columns.
func (d *JSONDecoder) listNames(of *shared) {
	for _, c := range of.columns.list[:len(d.values)] {
		d.names = append(d.names, c.Name...)
		d.ends = append(d.ends, len(d.names))
	}
}

// name adds the next name to d.names.
func (d *JSONDecoder) name() error {
	if d.scan.peek() != '"' {
		return d.scan.unexpected("where a name must be")
	}
	var err error
	d.names, err = d.scan.string(d.names)
	d.ends = append(d.ends, len(d.names))
	return err
}

// member adds the value that begins here.
func (d *JSONDecoder) member() error {
	var v Value
	var err error
	if d.text, v, err = d.scan.value(d.text, 1); err != nil {
		return err
	}
	if isText(v.kind) {
		v.num = uint64(len(d.text))
	}
	d.values = append(d.values, v)
	return nil
}

// find returns the columns that have d.names.
func (d *JSONDecoder) find() (*Columns, error) {
	if d.shared == nil {
		d.seed = maphash.MakeSeed()
		d.shared = make([]*shared, 0, maxShared)
	}
	hash := d.hash()
	for _, known := range d.shared {
		if known.hash == hash && d.areNames(known.columns) {
			d.last = known
			return known.columns, nil
		}
	}
	list := make([]Column, 0, len(d.ends))
	names, begin := string(d.names), 0
	for _, end := range d.ends {
		list = append(list, Column{Name: names[begin:end], Nullable: true})
		begin = end
	}
	columns, err := NewColumns(list...)
	if err != nil {
		return nil, d.badName(list, err)
	}
	made := &shared{columns: columns, hash: hash, plain: isPlain(names)}
	switch {
	case len(list) > maxSharedColumns || len(names) > maxScratch:
		return columns, nil
	case len(d.shared) < maxShared:
		d.shared = append(d.shared, made)
	default:
		d.shared[d.oldest] = made
		d.oldest = (d.oldest + 1) % maxShared
	}
	d.last = made
	return columns, nil
}

// badName says which of the names comes twice.
func (d *JSONDecoder) badName(list []Column, otherwise error) error {
	seen := make(map[string]bool, len(list))
	for _, c := range list {
		if seen[c.Name] {
			return fmt.Errorf("an object has the name %s twice", serde.Excerpt([]byte(c.Name)))
		}
		seen[c.Name] = true
	}
	return otherwise
}

func (d *JSONDecoder) hash() uint64 {
	hash, begin := uint64(0), 0
	for _, end := range d.ends {
		hash = hash*31 + maphash.Bytes(d.seed, d.names[begin:end])
		begin = end
	}
	return hash
}

func (d *JSONDecoder) areNames(c *Columns) bool {
	if len(c.list) != len(d.ends) {
		return false
	}
	begin := 0
	for i, end := range d.ends {
		if c.list[i].Name != string(d.names[begin:end]) {
			return false
		}
		begin = end
	}
	return true
}

// isPlain reports whether a text has nothing that JSON has to escape.
func isPlain(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
