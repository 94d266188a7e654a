package row

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/bohica-labs/dataweaver/serde"
)

var (
	_ json.Marshaler   = Row{}
	_ json.Unmarshaler = (*Row)(nil)
	_ json.Marshaler   = Value{}
	_ json.Unmarshaler = (*Value)(nil)
)

// AppendJSON appends the row as a JSON object (RFC 8259), its columns in their order, without a line end. After an error, dst
// up to its length is as it was.
//
// NULL is null. Numbers have all of their digits. A Decimal that JSON would write in another way (+.5) is written so. Bytes are
// a string of base64, as encoding/json has it. JSON is looked at, and loses its white space. Arrays are arrays. All others are
// strings of their text. What JSON has no words for is an error that names the column: NaN and the infinities, text that is no
// UTF-8.
func (r Row) AppendJSON(dst []byte) ([]byte, error) {
	if r.Columns.Len() != len(r.Values) {
		return dst, fmt.Errorf("row: there are %d columns, and %d values", r.Columns.Len(), len(r.Values))
	}
	out := dst
	out = append(out, '{')
	for i := range r.Values {
		name := r.Columns.list[i].Name
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = appendText(out, name); err != nil {
			return dst, fmt.Errorf("row: the name of column %d: %w", i+1, err)
		}
		if out, err = appendJSON(append(out, ':'), r.Values[i]); err != nil {
			return dst, fmt.Errorf("row: column %q: %w", name, err)
		}
	}
	return append(out, '}'), nil
}

// MarshalJSON implements json.Marshaler by AppendJSON.
func (r Row) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil) }

// UnmarshalJSON implements json.Unmarshaler by a JSONDecoder of its own, so that each row has columns of its own. null does
// nothing.
func (r *Row) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var d JSONDecoder
	return d.Decode(data, r)
}

// MarshalJSON implements json.Marshaler, see [Row.AppendJSON].
func (v Value) MarshalJSON() ([]byte, error) {
	out, err := appendJSON(nil, v)
	if err != nil {
		return nil, fmt.Errorf("row: %w", err)
	}
	return out, nil
}

// UnmarshalJSON implements json.Unmarshaler, see [JSONDecoder].
func (v *Value) UnmarshalJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errUTF8
	}
	s := scanner{text: view(data)}
	s.space()
	text, x, err := s.value(nil, 0)
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return err
	}
	if isText(x.kind) {
		x.str = string(text)
		x.num = 0
	}
	*v = x
	return nil
}

var (
	errUTF8      = errors.New("JSON with bytes that are no UTF-8")
	errNotUTF8   = errors.New("it is no UTF-8")
	errNonFinite = errors.New("JSON has no word for NaN and the infinities")
)

// appendText appends a JSON string.
func appendText(dst []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return dst, fmt.Errorf("%w: %s", errNotUTF8, excerpt(s))
	}
	return appendQuoted(dst, s), nil
}

// excerpt is serde.Excerpt of a text.
func excerpt(s string) string { return serde.Excerpt([]byte(s[:min(len(s), 1<<10)])) }

// appendJSON appends a value.
func appendJSON(dst []byte, v Value) ([]byte, error) {
	switch v.kind {
	case KindNull:
		return append(dst, "null"...), nil
	case KindBool, KindInt, KindUint:
		return v.AppendText(dst), nil
	case KindFloat, KindFloat32:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return dst, errNonFinite
		}
		return v.AppendText(dst), nil
	case KindDecimal:
		text, err := decimalText(v.str)
		switch {
		case err != nil:
			return dst, fmt.Errorf("%s is no decimal number", excerpt(v.str))
		case !isNumber(text):
			return dst, errNonFinite
		}
		return append(dst, text...), nil
	case KindText:
		return appendText(dst, v.str)
	case KindBytes:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, []byte(v.str))
		return append(dst, '"'), nil
	case KindJSON:
		if !utf8.ValidString(v.str) {
			return dst, errNotUTF8
		}
		s := scanner{text: v.str}
		s.space()
		out, err := s.compact(dst, 1)
		if err == nil {
			err = s.end()
		}
		return out, err
	case KindArray:
		return appendJSONArray(dst, v.list.whole(), v.list.Values)
	default: // what needs no escapes
		dst = append(dst, '"')
		return append(v.AppendText(dst), '"'), nil
	}
}

func appendJSONArray(dst []byte, dims []int, values []Value) ([]byte, error) {
	if dims == nil {
		return append(dst, "[]"...), nil
	}
	each := len(values) / dims[0]
	dst = append(dst, '[')
	for i := range dims[0] {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if part := values[i*each : (i+1)*each]; len(dims) > 1 {
			dst, err = appendJSONArray(dst, dims[1:], part)
		} else {
			dst, err = appendJSON(dst, part[0])
		}
		if err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

// validJSON checks that a text is one JSON value.
func validJSON(s string) error {
	if !utf8.ValidString(s) {
		return errNotUTF8
	}
	scan := scanner{text: s}
	scan.space()
	if _, err := scan.compact(nil, 0); err != nil {
		return err
	}
	return scan.end()
}

// arrayOfJSON reads a JSON array. Its elements are what a row's values are; or JSON, if elem is that.
func arrayOfJSON(text string, elem Kind) (*Array, error) {
	if err := validJSON(text); err != nil {
		return nil, err
	}
	p := arrayJSON{scanner: scanner{text: text}, out: &Array{}, elem: elem}
	p.space()
	if p.peek() != '[' {
		return nil, errors.New("it is no array")
	}
	if err := p.dimension(0); err != nil {
		return nil, err
	}
	p.out.fold(p.dims)
	return p.out, nil
}

// arrayJSON reads a JSON array that is known to be one.
type arrayJSON struct {
	scanner
	out  *Array
	elem Kind
	dims []int // -1: not known yet
}

func (p *arrayJSON) dimension(depth int) error {
	if depth == maxDims {
		return errDeep
	}
	if depth == len(p.dims) {
		if len(p.out.Values) > 0 {
			return errRagged
		}
		p.dims = append(p.dims, -1)
	}
	n := 0
	p.at++
	for p.space(); p.peek() != ']'; n++ {
		if err := p.element(depth); err != nil {
			return err
		}
		p.space()
		if p.peek() == ',' {
			p.at++
			p.space()
		}
	}
	p.at++
	return sameLength(&p.dims[depth], n)
}

func (p *arrayJSON) element(depth int) error {
	if p.peek() == '[' && p.elem != KindJSON {
		return p.dimension(depth + 1)
	}
	if depth+1 != len(p.dims) {
		return errRagged
	}
	if p.elem == KindJSON && p.peek() != 'n' {
		text, err := p.compact(nil, 0)
		p.out.Values = append(p.out.Values, JSON(string(text)))
		return err
	}
	text, v, err := p.value(nil, 0)
	if isText(v.kind) {
		v.str, v.num = string(text), 0
	}
	p.out.Values = append(p.out.Values, v)
	return err
}

// jsonInt reads an integer as JSON has it; false if it has no place in an Int.
func jsonInt(s string) (int64, bool) {
	if len(s) < 19 {
		var n int64
		for _, c := range []byte(s) {
			if c != '-' {
				n = n*10 + int64(c-'0')
			}
		}
		if s[0] == '-' {
			n = -n
		}
		return n, true
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
