package row

import (
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// number is a decimal number, taken apart: (-) whole.part · 10^exponent.
type number struct {
	negative    bool
	whole, part string // digits, one at least in both together
	exponent    int64  // not what is written if that is beyond 10^12: no number of any use is that large
	tail        string // the exponent as it is written, with its e
}

// parseNumber reads a number that isn't NaN or infinite.
func parseNumber(s string) (n number, ok bool) {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		n.negative = s[0] == '-'
		s = s[1:]
	}
	i := digitsOf(s)
	n.whole, s = s[:i], s[i:]
	if s != "" && s[0] == '.' {
		i = digitsOf(s[1:])
		n.part, s = s[1:1+i], s[1+i:]
	}
	if n.whole == "" && n.part == "" {
		return n, false
	}
	if s == "" {
		return n, true
	}
	n.tail = s
	if s[0]|0x20 != 'e' {
		return n, false
	}
	s = s[1:]
	negative := false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		negative = s[0] == '-'
		s = s[1:]
	}
	if i = digitsOf(s); i == 0 || i < len(s) {
		return n, false
	}
	for _, c := range []byte(s) {
		n.exponent = min(n.exponent*10+int64(c-'0'), 1e12)
	}
	if negative {
		n.exponent = -n.exponent
	}
	return n, true
}

// digitsOf returns how many digits s begins with.
func digitsOf(s string) int {
	for i := range len(s) {
		if s[i]-'0' > 9 {
			return i
		}
	}
	return len(s)
}

// significant returns a number as 0.digits · 10^exponent, where the digits neither begin nor end with a zero; they are two
// parts. Zero has none.
func (n number) significant() (first, second string, exponent int64) {
	first, second = strings.TrimLeft(n.whole, "0"), n.part
	exponent = n.exponent + int64(len(first))
	if first == "" {
		second = strings.TrimLeft(second, "0")
		exponent -= int64(len(n.part) - len(second))
	}
	if second = strings.TrimRight(second, "0"); second == "" {
		first = strings.TrimRight(first, "0")
	}
	return first, second, exponent
}

// special returns what a text says that is NaN or an infinity.
func special(s string) (float64, bool) {
	switch {
	case len(s) < 3 || len(s) > len("-infinity"):
		return 0, false
	case strings.EqualFold(s, "nan"):
		return math.NaN(), true
	}
	sign := 1
	switch s[0] {
	case '-':
		sign, s = -1, s[1:]
	case '+':
		s = s[1:]
	}
	if strings.EqualFold(s, "infinity") || strings.EqualFold(s, "inf") {
		return math.Inf(sign), true
	}
	return 0, false
}

// parseInteger reads a number that is an integer, however it is written.
func parseInteger(s string) (negative bool, size uint64, err error) {
	if plain := strings.TrimPrefix(s, "-"); plain != "" && len(plain) < 20 && digitsOf(plain) == len(plain) {
		for _, c := range []byte(plain) {
			size = size*10 + uint64(c-'0')
		}
		return len(plain) < len(s), size, nil
	}
	n, ok := parseNumber(s)
	if !ok {
		if _, is := special(s); is {
			return false, 0, errFinite
		}
		return false, 0, errSyntax
	}
	first, second, exponent := n.significant()
	digits := int64(len(first) + len(second))
	switch {
	case digits == 0:
		return false, 0, nil
	case exponent < digits:
		return false, 0, errFraction
	case exponent > 20:
		return false, 0, errTooLarge
	}
	for i := range int(exponent) {
		high, low := bits.Mul64(size, 10)
		digit := uint64(0)
		if i < len(first) {
			digit = uint64(first[i] - '0')
		} else if i -= len(first); i < len(second) {
			digit = uint64(second[i] - '0')
		}
		sum, carry := bits.Add64(low, digit, 0)
		if high+carry > 0 {
			return false, 0, errTooLarge
		}
		size = sum
	}
	return n.negative, size, nil
}

const (
	surely32   = 6  // so many characters without an exponent, and a float of 32 bits has all of its digits
	surely64   = 15 // the same for 64 bits
	mostDigits = 767
)

// parseFloat reads a float. It is an error if the float, written out to as many digits, is another number.
func parseFloat(s string, size int) (float64, error) {
	if f, ok := special(s); ok {
		return f, nil
	}
	n, ok := parseNumber(s)
	if !ok {
		return 0, errSyntax
	}
	f, err := strconv.ParseFloat(s, size)
	if err != nil {
		return 0, errTooLarge // what else there is was found before
	}
	if n.tail == "" && (len(s) <= surely64 && size == 64 || len(s) <= surely32) {
		return f, nil
	}
	first, second, exponent := n.significant()
	digits := len(first) + len(second)
	switch {
	case digits == 0:
		return f, nil
	case digits > mostDigits, f == 0:
		return 0, errDigits
	}
	var buf [mostDigits + 16]byte
	shown, _ := parseNumber(string(strconv.AppendFloat(buf[:0], math.Abs(f), 'e', digits-1, size)))
	first2, second2, exponent2 := shown.significant()
	if exponent != exponent2 || !sameDigits(first, second, first2, second2) {
		return 0, errDigits
	}
	return f, nil
}

// sameDigits reports whether two pairs of parts are the same digits.
func sameDigits(a, b, c, d string) bool {
	if len(a) > len(c) {
		a, b, c, d = c, d, a, b
	}
	rest := len(c) - len(a) // of c, which b begins with
	return len(a)+len(b) == len(c)+len(d) && c[:len(a)] == a && b[:rest] == c[len(a):] && b[rest:] == d
}

// decimalText returns a number as JSON has it, or NaN, Infinity, -Infinity.
func decimalText(s string) (string, error) {
	if isNumber(s) {
		return s, nil
	}
	if f, ok := special(s); ok {
		switch {
		case math.IsNaN(f):
			return "NaN", nil
		case f < 0:
			return "-Infinity", nil
		}
		return "Infinity", nil
	}
	n, ok := parseNumber(s)
	if !ok {
		return "", errSyntax
	}
	text := make([]byte, 0, len(s)+1)
	if n.negative {
		text = append(text, '-')
	}
	whole := strings.TrimLeft(n.whole, "0")
	if whole == "" {
		whole = "0"
	}
	text = append(text, whole...)
	if n.part != "" {
		text = append(append(text, '.'), n.part...)
	}
	return string(append(text, n.tail...)), nil
}
