package row

import (
	"errors"
	"fmt"
)

// maxDepth is how deep JSON may be nested, as in encoding/json.
const maxDepth = 10_000

var (
	errJSONEnd  = errors.New("unexpected end of JSON input")
	errJSONDeep = errors.New("JSON is nested too deep")
)

// scanner reads JSON (RFC 8259) that is UTF-8. It checks everything else.
type scanner struct {
	text  string
	at    int
	stack []byte // the brackets that are open
}

// peek returns the byte that comes next; 0: none does.
func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

// space goes on to what isn't white space.
func (s *scanner) space() {
	for ; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case ' ', '\t', '\r', '\n':
		default:
			return
		}
	}
}

// end checks that nothing but white space is left.
func (s *scanner) end() error {
	if s.space(); s.at < len(s.text) {
		return s.unexpected("after the value")
	}
	return nil
}

// unexpected is the error of what comes next.
func (s *scanner) unexpected(where string) error {
	if s.at >= len(s.text) {
		return errJSONEnd
	}
	return fmt.Errorf("invalid character %q %s, at byte %d of JSON", s.text[s.at], where, s.at)
}

// value reads a value that begins here. What is text of it is appended to dst: of a string what it says, of a number that is no
// Int the digits, of an object and an array all of it, without white space. Depth is how deep it is in others.
func (s *scanner) value(dst []byte, depth int) ([]byte, Value, error) {
	switch s.peek() {
	case '"':
		dst, err := s.string(dst)
		return dst, Value{kind: KindText}, err
	case '{', '[':
		dst, err := s.compact(dst, depth)
		return dst, Value{kind: KindJSON}, err
	case 't':
		return dst, Bool(true), s.literal("true")
	case 'f':
		return dst, Bool(false), s.literal("false")
	case 'n':
		return dst, Value{}, s.literal("null")
	}
	begin := s.at
	integer, err := s.number()
	if err != nil {
		return dst, Value{}, err
	}
	text := s.text[begin:s.at]
	if integer {
		if n, ok := jsonInt(text); ok {
			return dst, Int(n), nil
		}
	}
	return append(dst, text...), Value{kind: KindDecimal}, nil
}

// isText reports whether scanner.value appends a value of such a kind.
func isText(k Kind) bool { return k == KindText || k == KindJSON || k == KindDecimal }

func (s *scanner) literal(word string) error {
	if rest := s.text[s.at:]; len(rest) < len(word) || rest[:len(word)] != word {
		for i := 0; i < len(word) && s.peek() == word[i]; i++ {
			s.at++
		}
		return s.unexpected("in the literal " + word)
	}
	s.at += len(word)
	return nil
}

// number goes past a number, and reports whether it has neither a fraction nor an exponent.
func (s *scanner) number() (integer bool, err error) {
	if s.peek() == '-' {
		s.at++
	}
	switch c := s.peek(); {
	case c == '0':
		s.at++
	case '1' <= c && c <= '9':
		s.digits()
	default:
		return false, s.unexpected("where a value must be")
	}
	integer = true
	if s.peek() == '.' {
		s.at++
		integer = false
		if s.digits() == 0 {
			return false, s.unexpected("in a number")
		}
	}
	if s.peek()|0x20 == 'e' {
		s.at++
		integer = false
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		if s.digits() == 0 {
			return false, s.unexpected("in a number")
		}
	}
	return integer, nil
}

func (s *scanner) digits() int {
	n := 0
	for s.at < len(s.text) && s.text[s.at]-'0' <= 9 {
		s.at++
		n++
	}
	return n
}

// plain goes past characters of a string that stand for themselves.
func (s *scanner) plain() {
	text, i := s.text, s.at
	for i < len(text) && text[i] != '"' && text[i] != '\\' && text[i] >= ' ' {
		i++
	}
	s.at = i
}

// string appends what a string says.
func (s *scanner) string(dst []byte) ([]byte, error) {
	s.at++
	begin := s.at
	s.plain()
	if s.peek() == '"' {
		dst = append(dst, s.text[begin:s.at]...)
		s.at++
		return dst, nil
	}
	s.at = begin
	if err := s.skipString(); err != nil {
		return dst, err
	}
	return appendUnescaped(dst, s.text[begin:s.at-1])
}

// skipString goes past the closing quotation mark of a string, and checks its escapes but for halves of characters.
func (s *scanner) skipString() error {
	for {
		s.plain()
		switch s.peek() {
		case '"':
			s.at++
			return nil
		case '\\':
			s.at++
			switch s.peek() {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				s.at++
				continue
			case 'u':
				s.at++
				for range 4 {
					if hexValue(s.peek()) > 15 {
						return s.unexpected("in an escape")
					}
					s.at++
				}
				continue
			}
			return s.unexpected("in an escape")
		}
		return s.unexpected("in a string")
	}
}

// compact appends the value that begins here without its white space. Depth is how deep it is in others.
func (s *scanner) compact(dst []byte, depth int) ([]byte, error) {
	s.stack = s.stack[:0]
	for {
		begin := s.at
		var err error
		switch c := s.peek(); c {
		case '{', '[':
			if depth+len(s.stack) >= maxDepth {
				return dst, errJSONDeep
			}
			dst = append(dst, c)
			s.at++
			s.space()
			if s.peek() != c+2 { // ] and } are two behind [ and {
				s.stack = append(s.stack, c)
				if c == '{' {
					dst, err = s.name(dst)
				}
				if err != nil {
					return dst, err
				}
				continue
			}
			s.at++
			dst = append(dst, c+2)
			begin = s.at
		case '"':
			s.at++
			err = s.skipString()
		case 't':
			err = s.literal("true")
		case 'f':
			err = s.literal("false")
		case 'n':
			err = s.literal("null")
		default:
			_, err = s.number()
		}
		if err != nil {
			return dst, err
		}
		dst = append(dst, s.text[begin:s.at]...)
		var done bool
		if dst, done, err = s.follow(dst); done || err != nil {
			return dst, err
		}
	}
}

// follow goes on from behind a value to where the next one begins, or reports that there is none.
func (s *scanner) follow(dst []byte) (_ []byte, done bool, err error) {
	for {
		n := len(s.stack)
		if n == 0 {
			return dst, true, nil
		}
		s.space()
		open := s.stack[n-1]
		switch s.peek() {
		case ',':
			s.at++
			dst = append(dst, ',')
			s.space()
			if open == '{' {
				dst, err = s.name(dst)
			}
			return dst, false, err
		case open + 2:
			s.at++
			dst = append(dst, open+2)
			s.stack = s.stack[:n-1]
		default:
			return dst, false, s.unexpected("behind a value")
		}
	}
}

// name appends the name of an object's member and the colon.
func (s *scanner) name(dst []byte) ([]byte, error) {
	begin := s.at
	if s.peek() != '"' {
		return dst, s.unexpected("where a name must be")
	}
	s.at++
	if err := s.skipString(); err != nil {
		return dst, err
	}
	dst = append(append(dst, s.text[begin:s.at]...), ':')
	return dst, s.colon()
}

// colon goes on to the value behind a name.
func (s *scanner) colon() error {
	if s.space(); s.peek() != ':' {
		return s.unexpected("behind a name")
	}
	s.at++
	s.space()
	return nil
}
