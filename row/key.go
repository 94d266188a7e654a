package row

import (
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/bohica-labs/dataweaver/serde"
)

// AppendKey appends what the values of a primary key are as the key of a record, weaver.Record.Key: for one column its text,
// for several a JSON array of their texts, where NULL is null. Keys that differ are never the same bytes, except that NULL
// alone is the same as an empty text. What is no UTF-8 is kept as it is.
func AppendKey(dst []byte, key ...Value) []byte {
	if len(key) == 1 {
		return key[0].AppendText(dst)
	}
	dst = append(dst, '[')
	for i, v := range key {
		if i > 0 {
			dst = append(dst, ',')
		}
		switch v.kind {
		case KindNull:
			dst = append(dst, "null"...)
		case KindText, KindDecimal, KindJSON:
			dst = appendQuoted(dst, v.str)
		case KindArray:
			dst = appendQuoted(dst, v.String())
		default: // has nothing to escape but the backslash of bytes
			dst = append(dst, '"')
			if v.kind == KindBytes {
				dst = append(dst, '\\')
			}
			dst = append(v.AppendText(dst), '"')
		}
	}
	return append(dst, ']')
}

// ParseKey returns the n values of a key that AppendKey has made, as Texts and NULLs: what they are meant to be, Convert
// knows. Several may also be an array of numbers, true and false, which are Texts too.
func ParseKey(key []byte, n int) ([]Value, error) {
	switch {
	case n < 1:
		return nil, fmt.Errorf("row: a key of %d columns", n)
	case n == 1:
		return []Value{Text(string(key))}, nil
	}
	p := keyParser{data: key, values: make([]Value, 0, min(n, len(key)))}
	if err := p.parse(); err != nil {
		return nil, fmt.Errorf("row: the key %s is no JSON array of texts: %w", serde.Excerpt(key), err)
	}
	if len(p.values) != n {
		return nil, fmt.Errorf("row: the key %s has %d values instead of %d", serde.Excerpt(key), len(p.values), n)
	}
	return p.values, nil
}

var (
	errKeyEnd    = errors.New("it ends too early")
	errKeySyntax = errors.New("something is where a value, a comma or ] should be")
	errKeyBehind = errors.New("something comes behind it")
	errEscape    = errors.New("a string has an escape that means nothing")
	errSurrogate = errors.New("a string has an escape that is half of a character")
)

type keyParser struct {
	data   []byte
	at     int
	values []Value
}

// next goes on to what isn't white space and returns it; 0: there is nothing.
func (p *keyParser) next() byte {
	for ; p.at < len(p.data); p.at++ {
		switch c := p.data[p.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

func (p *keyParser) parse() error {
	if p.next() != '[' {
		return errors.New("it doesn't begin with [")
	}
	p.at++
	if p.next() == ']' {
		p.at++
		return p.end()
	}
	for {
		p.next()
		v, err := p.value()
		if err != nil {
			return err
		}
		p.values = append(p.values, v)
		c := p.next()
		p.at++
		switch c {
		case ',':
		case ']':
			return p.end()
		case 0:
			return errKeyEnd
		default:
			return errKeySyntax
		}
	}
}

func (p *keyParser) end() error {
	if p.next(); p.at < len(p.data) {
		return errKeyBehind
	}
	return nil
}

func (p *keyParser) value() (Value, error) {
	rest := p.data[p.at:]
	if len(rest) == 0 {
		return Value{}, errKeyEnd
	}
	if rest[0] == '"' {
		n, escapes := endOfString(rest)
		if n < 0 {
			return Value{}, errKeyEnd
		}
		p.at += n
		body := rest[1 : n-1]
		if !escapes {
			return Text(string(body)), nil
		}
		text, err := appendUnescaped(nil, string(body))
		return Text(string(text)), err
	}
	n := 0
	for n < len(rest) && rest[n] > ' ' && rest[n] != ',' && rest[n] != ']' {
		n++
	}
	p.at += n
	switch word := string(rest[:n]); {
	case word == "null":
		return Value{}, nil
	case word == "true", word == "false", isNumber(word):
		return Text(word), nil
	}
	return Value{}, errKeySyntax
}

// endOfString returns where the JSON string ends that data begins with, and whether it has escapes; -1: nowhere. What is in
// it isn't looked at.
func endOfString(data []byte) (n int, escapes bool) {
	for i := 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			escapes = true
			i++
		case '"':
			return i + 1, escapes
		}
	}
	return -1, escapes
}

// appendUnescaped appends what the inside of a JSON string means.
func appendUnescaped(dst []byte, body string) ([]byte, error) {
	for i := 0; i < len(body); i++ {
		c := body[i]
		if c != '\\' {
			dst = append(dst, c)
			continue
		}
		if i++; i == len(body) {
			return dst, errEscape
		}
		switch c = body[i]; c {
		case '"', '\\', '/':
			dst = append(dst, c)
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, ok := fourHex(body[i+1:])
			if !ok {
				return dst, errEscape
			}
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(0)
				if rest := body[i+1:]; len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
					low, _ = fourHex(rest[2:])
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					return dst, errSurrogate
				}
				i += 6
			}
			dst = utf8.AppendRune(dst, r)
		default:
			return dst, errEscape
		}
	}
	return dst, nil
}

// fourHex returns the number that data begins with.
func fourHex(data string) (rune, bool) {
	if len(data) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range []byte(data[:4]) {
		digit := hexValue(c)
		if digit > 15 {
			return 0, false
		}
		r = r<<4 | rune(digit)
	}
	return r, true
}

// hexValue returns what a digit means; more than 15: it is none.
func hexValue(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// appendQuoted appends a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	begin := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[begin:i]...)
		begin = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(dst, s[begin:]...), '"')
}

// isNumber reports whether s is a number as JSON has it (RFC 8259 section 6).
func isNumber(s string) bool {
	i := 0
	digits := func() bool {
		begin := i
		for i < len(s) && '0' <= s[i] && s[i] <= '9' {
			i++
		}
		return i > begin
	}
	if i < len(s) && s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
	} else if !digits() {
		return false
	}
	if i < len(s) && s[i] == '.' {
		if i++; !digits() {
			return false
		}
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		if i++; i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return false
		}
	}
	return i == len(s)
}
