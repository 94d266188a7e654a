package json

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/bohica-labs/dataweaver/serde"
)

// checkText checks what is in the quotation marks of a string.
func (s *shape) checkText(raw []byte) error {
	if !s.quoted {
		return checkEscapes(raw)
	}
	body, err := unescaped(raw)
	if err != nil || len(body) == 0 {
		return err
	}
	plain := *s
	plain.quoted = false
	return plain.check(body, bytes.IndexByte(body, '\\') >= 0)
}

// checkEscapes returns an error for an escape that is half of a surrogate pair: it stands for no character, and encoding/json puts U+FFFD in its place.
func checkEscapes(raw []byte) error {
	for i := 0; ; {
		next := bytes.IndexByte(raw[i:], '\\')
		if next < 0 {
			return nil
		}
		i += next
		r, n := escape(raw[i:])
		if utf16.IsSurrogate(r) {
			low, m := escape(raw[i+n:])
			if utf16.DecodeRune(r, low) == utf8.RuneError {
				return fmt.Errorf("a string has %s, which is half of a character: %s", raw[i:i+n], serde.Excerpt(raw))
			}
			n += m
		}
		i += n
	}
}

// unescaped returns the text of a string: raw itself, unless that has escapes.
func unescaped(raw []byte) ([]byte, error) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw, nil
	}
	if err := checkEscapes(raw); err != nil {
		return nil, err
	}
	var text string
	quoted := append(append(append(make([]byte, 0, len(raw)+len(`""`)), '"'), raw...), '"')
	err := json.Unmarshal(quoted, &text)
	return []byte(text), err
}

// escape returns the code unit of the escape that s begins with, and how long that is; 0 if it is none with \u.
func escape(s []byte) (r rune, n int) {
	if len(s) < len(`\u0000`) || s[0] != '\\' || s[1] != 'u' {
		return 0, len(`\n`)
	}
	u, _ := strconv.ParseUint(string(s[2:6]), 16, 16)
	return rune(u), len(`\u0000`)
}

// replaced is what encoding/json writes in place of bytes that are no UTF-8. It never writes that for a real U+FFFD.
var replaced = []byte(`\ufffd`)

// exactText returns an error if data, which encoding/json made of v, is not what v says: v has strings that are no UTF-8.
func exactText[T any](data []byte, v *T) error {
	if !utf8.Valid(data) {
		return errUTF8 // of a json.RawMessage or a json.Marshaler
	}
	if i := bytes.IndexByte(data, '\\'); i < 0 || !bytes.Contains(data[i:], replaced) {
		return nil
	}
	if bad, found := invalid(reflect.ValueOf(v)); found {
		return fmt.Errorf("a string is no UTF-8: %s", serde.Excerpt([]byte(bad)))
	}
	return nil // it was in a string, or a json.Marshaler wrote it
}

// invalid looks for a string in v that encoding/json has altered.
func invalid(v reflect.Value) (string, bool) {
	if !v.IsValid() {
		return "", false
	}
	if v.CanInterface() && (v.Kind() != reflect.Pointer || !v.IsNil()) {
		switch m := v.Interface().(type) {
		case json.Marshaler:
			return "", false // writes its own JSON
		case encoding.TextMarshaler:
			text, err := m.MarshalText()
			return string(text), err == nil && !utf8.Valid(text)
		}
	}
	switch v.Kind() { //nolint:exhaustive // the kinds that are strings or have others inside
	case reflect.String:
		return v.String(), !utf8.ValidString(v.String())
	case reflect.Pointer, reflect.Interface:
		return invalid(v.Elem())
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if bad, found := invalid(v.Index(i)); found {
				return bad, true
			}
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			for _, part := range []reflect.Value{entries.Key(), entries.Value()} {
				if bad, found := invalid(part); found {
					return bad, true
				}
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() && !f.Anonymous || f.Tag.Get("json") == "-" {
				continue
			}
			if bad, found := invalid(v.Field(i)); found {
				return bad, true
			}
		}
	}
	return "", false
}

// ones and highs are a byte with the lowest, or the highest, bit set, eight times. (x - ones) &^ x & highs is not 0 if a byte of x is 0, and the lowest of
// its bits is in the first of these.
const ones, highs uint64 = 0x0101010101010101, 0x8080808080808080

// look reports whether data has bytes beyond ASCII, and whether it has backslashes: in one pass without a branch for each byte.
func look(data []byte) (ascii, escapes bool) {
	const slashes = '\\' * ones
	var high, slash uint64
	for len(data) >= 8 {
		x := binary.LittleEndian.Uint64(data)
		high |= x
		x ^= slashes
		slash |= (x - ones) &^ x
		data = data[8:]
	}
	var last [8]byte
	copy(last[:], data)
	x := binary.LittleEndian.Uint64(last[:])
	high |= x
	x ^= slashes
	slash |= (x - ones) &^ x
	return high&highs == 0, slash&highs != 0
}
