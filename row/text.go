package row

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"
)

// String returns the value's text, see [Value.AppendText].
func (v Value) String() string {
	switch v.kind {
	case KindText, KindJSON, KindDecimal:
		return v.str
	case KindNull:
		return ""
	default:
		var buf [64]byte
		return string(v.AppendText(buf[:0]))
	}
}

// AppendText appends the one text that the value has, which [Value.Convert] reads and PostgreSQL understands:
//
//	null            nothing
//	bool            true, false
//	int, uint       -5
//	float, float32  the shortest that is this float and no other of its size: 0.1, 1e+15, NaN, Infinity, -Infinity
//	decimal, text, json  as they are
//	bytes           \x68656c6c6f
//	uuid            6ba7b810-9dad-11d1-80b4-00c04fd430c8
//	date            2006-01-02, infinity, -infinity
//	clock           15:04:05.999999999, up to 24:00:00; a fraction has no zeros at its end
//	datetime        2006-01-02T15:04:05.999999999
//	time            2006-01-02T15:04:05.999999999Z (RFC 3339), always of UTC
//	array           {1,NULL,"a b"}, as PostgreSQL has it (section 8.15.6 of its manual)
//
// A year beyond 9999 has more digits, and one before the year 1 is written as PostgreSQL does it: 0044-03-15 BC is in the
// 44th year before the year 1.
func (v Value) AppendText(dst []byte) []byte {
	switch v.kind {
	case KindBool:
		return strconv.AppendBool(dst, v.num != 0)
	case KindInt:
		return strconv.AppendInt(dst, int64(v.num), 10) //nolint:gosec // its bits
	case KindUint:
		return strconv.AppendUint(dst, v.num, 10)
	case KindFloat32:
		return appendFloat(dst, v.Float(), 32)
	case KindFloat:
		return appendFloat(dst, v.Float(), 64)
	case KindDecimal, KindText, KindJSON:
		return append(dst, v.str...)
	case KindBytes:
		return hex.AppendEncode(append(dst, `\x`...), []byte(v.str))
	case KindUUID:
		return appendUUID(dst, v.str)
	case KindClock:
		return appendClock(dst, v.num, v.nsec)
	case KindDate, KindDateTime, KindTime:
		return v.appendDay(dst)
	case KindArray:
		return appendArray(dst, v.list)
	default:
		return dst
	}
}

// appendFloat is the shortest text, which is also JSON. It has an exponent where it would look like an integer that is not
// the float exactly.
func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	format, large := byte('f'), 1e15
	if bits == 32 {
		large = 1e7
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= large) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, bits)
}

func appendUUID(dst []byte, id string) []byte {
	if len(id) != 16 {
		return dst
	}
	for i, c := range []byte(id) {
		switch i {
		case 4, 6, 8, 10:
			dst = append(dst, '-')
		}
		dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// appendDay appends a Date, a DateTime or a Time.
func (v Value) appendDay(dst []byte) []byte {
	switch v.Infinity() {
	case 1:
		return append(dst, "infinity"...)
	case -1:
		return append(dst, "-infinity"...)
	}
	days, second := int64(v.num), int64(0) //nolint:gosec // its bits
	if v.kind != KindDate {
		days, second = floorDiv(days, daySeconds)
	}
	year, month, day := civil(days)
	bc := year < 1
	if bc {
		year = 1 - year
	}
	dst = appendPadded(dst, uint64(year), 4) //nolint:gosec // not negative
	dst = appendPadded(append(dst, '-'), uint64(month), 2)
	dst = appendPadded(append(dst, '-'), uint64(day), 2)
	if v.kind != KindDate {
		dst = appendClock(append(dst, 'T'), uint64(second), v.nsec) //nolint:gosec // not negative
	}
	if v.kind == KindTime {
		dst = append(dst, 'Z')
	}
	if bc {
		dst = append(dst, " BC"...)
	}
	return dst
}

func appendClock(dst []byte, second uint64, nanos uint32) []byte {
	dst = appendPadded(dst, second/3600, 2)
	dst = appendPadded(append(dst, ':'), second/60%60, 2)
	dst = appendPadded(append(dst, ':'), second%60, 2)
	if nanos == 0 {
		return dst
	}
	dst = appendPadded(append(dst, '.'), uint64(nanos), 9)
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// appendPadded appends n with so many digits at least.
func appendPadded(dst []byte, n uint64, digits int) []byte {
	if digits == 2 && n < 100 {
		return append(dst, byte('0'+n/10), byte('0'+n%10))
	}
	var buf [20]byte
	text := strconv.AppendUint(buf[:0], n, 10)
	for i := len(text); i < digits; i++ {
		dst = append(dst, '0')
	}
	return append(dst, text...)
}

// whole returns the length of each dimension, none of them zero, and as many values as these say; nil: the array is empty.
func (a *Array) whole() []int {
	n := len(a.Values)
	if n == 0 {
		return nil
	}
	rest := n
	for _, d := range a.Dims {
		if d <= 0 || rest%d != 0 {
			return []int{n}
		}
		rest /= d
	}
	if rest != 1 || len(a.Dims) == 0 {
		return []int{n}
	}
	return a.Dims
}

func appendArray(dst []byte, a *Array) []byte {
	dims := a.whole()
	if dims == nil {
		return append(dst, "{}"...)
	}
	return appendDimension(dst, dims, a.Values)
}

// appendDimension appends the first of dims, with all that is in it.
func appendDimension(dst []byte, dims []int, values []Value) []byte {
	dst = append(dst, '{')
	each := len(values) / dims[0]
	for i := range dims[0] {
		if i > 0 {
			dst = append(dst, ',')
		}
		part := values[i*each : (i+1)*each]
		if len(dims) > 1 {
			dst = appendDimension(dst, dims[1:], part)
		} else {
			dst = appendElement(dst, part[0])
		}
	}
	return append(dst, '}')
}

func appendElement(dst []byte, v Value) []byte {
	if v.kind == KindNull {
		return append(dst, "NULL"...)
	}
	start := len(dst)
	dst = v.AppendText(dst)
	switch v.kind {
	case KindText, KindJSON, KindBytes, KindDecimal, KindArray, KindDate, KindDateTime, KindTime:
	default:
		return dst
	}
	if !quotedElement(dst[start:]) {
		return dst
	}
	text := string(dst[start:])
	dst = append(dst[:start], '"')
	for {
		i := strings.IndexAny(text, `"\`)
		if i < 0 {
			break
		}
		dst = append(append(append(dst, text[:i]...), '\\'), text[i])
		text = text[i+1:]
	}
	return append(append(dst, text...), '"')
}

// quotedElement reports whether an array's element needs quotation marks.
func quotedElement(text []byte) bool {
	if len(text) == 0 || len(text) == 4 && strings.EqualFold(string(text), "NULL") {
		return true
	}
	for _, c := range text {
		switch c {
		case '{', '}', ',', '"', '\\', ' ', '\t', '\n', '\r', '\v', '\f':
			return true
		}
	}
	return false
}
