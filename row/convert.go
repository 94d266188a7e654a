package row

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/bohica-labs/dataweaver/serde"
)

// Convert returns what the value is as one of another kind, if that says the same; otherwise an error that shows the value and
// says why. NULL stays NULL, and KindNull, which is no particular kind, leaves any value as it is. What it returns may share
// memory with v.
//
//   - Anything becomes a Text, see [Value.AppendText].
//   - Numbers become each other where they are the same number: the Decimal 5.00 is the Int 5, and 5.5 isn't any. A Decimal
//     becomes a float that, written out to as many digits, is that Decimal (0.1, but not 9007199254740993); a float the Decimal
//     that is its text. The Int 1 is true, 0 is false, and the other way around.
//   - Date, DateTime and Time become each other by UTC, a Date as its midnight; only midnight becomes a Date.
//   - 16 Bytes are a UUID, and the other way around.
//   - Numbers, booleans and arrays become the JSON that they are. A JSON array becomes an array by [Value.ConvertArray] alone.
//
// A Text becomes what it says, without anything around it:
//
//   - bool: true, t, yes, y, on, 1 and false, f, no, n, off, 0, in upper or lower case
//   - int, uint, decimal, float, float32: digits with a point, an exponent and a sign, or without; except for integers also NaN,
//     Infinity and Inf. A Decimal so made is a number as JSON has it, or NaN, Infinity, -Infinity
//   - date, datetime, time: 2006-01-02, then T or a blank and 15:04[:05[.999999999]], then Z, UTC, +02, +02:00 or +0200. Without
//     a zone a time is of UTC, and a datetime has no zone other than UTC. A year has four digits or more, is signed as in
//     ISO 8601 (-0043 is 44 BC) or has BC behind it all. Also infinity and -infinity
//   - clock: 15:04[:05[.999999999]], up to 24:00
//   - bytes: \x and hexadecimal digits, or else standard base64
//   - uuid: 32 hexadecimal digits with any hyphens between them, in braces or not
//   - json: JSON in UTF-8 (RFC 8259)
//   - an array needs the kind of its elements, see [Value.ConvertArray]
func (v Value) Convert(to Kind) (Value, error) {
	if v.kind == to || v.kind == KindNull || to == KindNull {
		return v, nil
	}
	out, err := v.convert(to)
	if err != nil {
		return Value{}, v.cannot(to, err)
	}
	return out, nil
}

// cannot is the error of a conversion.
func (v Value) cannot(to Kind, err error) error {
	return fmt.Errorf("row: %s %s can't be converted to %s: %w", v.kind, serde.Excerpt(v.AppendText(nil)), to, err)
}

var (
	errNoWay    = errors.New("there is no conversion from the one to the other")
	errFraction = errors.New("it has a fraction")
	errTooLarge = errors.New("it is too large, or too small")
	errNegative = errors.New("it is negative")
	errFinite   = errors.New("it isn't finite")
	errDigits   = errors.New("a float of that size has not all of its digits")
	errMidnight = errors.New("its time of day isn't midnight")
	errSyntax   = errors.New("it isn't written as one")
	errElements = errors.New("the kind of its elements is not known")
)

func (v Value) convert(to Kind) (Value, error) {
	switch to {
	case KindText:
		return Text(v.String()), nil
	case KindBool:
		return v.toBool()
	case KindInt:
		return v.toInt()
	case KindUint:
		return v.toUint()
	case KindFloat, KindFloat32:
		return v.toFloat(to)
	case KindDecimal:
		return v.toDecimal()
	case KindBytes:
		return v.toBytes()
	case KindUUID:
		return v.toUUID()
	case KindJSON:
		return v.toJSON()
	case KindDate, KindDateTime, KindTime:
		return v.toDay(to)
	case KindClock:
		if v.kind == KindText {
			return parseClock(v.str)
		}
	case KindArray:
		if v.kind == KindText || v.kind == KindJSON {
			return Value{}, errElements
		}
	default:
	}
	return Value{}, errNoWay
}

func (v Value) toBool() (Value, error) {
	switch v.kind {
	case KindInt, KindUint:
		if v.num <= 1 {
			return Bool(v.num == 1), nil
		}
		return Value{}, errors.New("it is neither 0 nor 1")
	case KindText:
		for _, word := range [...]string{"true", "t", "1", "yes", "y", "on"} {
			if strings.EqualFold(v.str, word) {
				return Bool(true), nil
			}
		}
		for _, word := range [...]string{"false", "f", "0", "no", "n", "off"} {
			if strings.EqualFold(v.str, word) {
				return Bool(false), nil
			}
		}
		return Value{}, errSyntax
	default:
		return Value{}, errNoWay
	}
}

// integer returns a number as its sign and size.
func (v Value) integer() (negative bool, size uint64, err error) {
	switch v.kind {
	case KindBool, KindUint:
		return false, v.num, nil
	case KindInt:
		if n := int64(v.num); n < 0 { //nolint:gosec // its bits
			return true, -v.num, nil
		}
		return false, v.num, nil
	case KindFloat, KindFloat32:
		f := v.Float()
		switch {
		case math.IsNaN(f), math.IsInf(f, 0):
			return false, 0, errFinite
		case f != math.Trunc(f):
			return false, 0, errFraction
		case math.Abs(f) >= 1<<64:
			return false, 0, errTooLarge
		}
		return f < 0, uint64(math.Abs(f)), nil
	case KindDecimal, KindText:
		return parseInteger(v.str)
	default:
		return false, 0, errNoWay
	}
}

func (v Value) toInt() (Value, error) {
	negative, size, err := v.integer()
	switch {
	case err != nil:
		return Value{}, err
	case negative && size <= 1<<63:
		return Int(int64(-size)), nil //nolint:gosec // its bits
	case negative || size > math.MaxInt64:
		return Value{}, errTooLarge
	}
	return Int(int64(size)), nil
}

func (v Value) toUint() (Value, error) {
	negative, size, err := v.integer()
	switch {
	case err != nil:
		return Value{}, err
	case negative && size > 0:
		return Value{}, errNegative
	}
	return Uint(size), nil
}

func (v Value) toFloat(to Kind) (Value, error) {
	var f float64
	switch v.kind {
	case KindInt, KindUint:
		negative, size, _ := v.integer()
		f = float64(size)
		if f >= 1<<64 || uint64(f) != size {
			return Value{}, errDigits
		}
		if negative {
			f = -f
		}
	case KindFloat, KindFloat32:
		f = v.Float()
	case KindDecimal, KindText:
		bits := 64
		if to == KindFloat32 {
			bits = 32
		}
		var err error
		if f, err = parseFloat(v.str, bits); err != nil {
			return Value{}, err
		}
	default:
		return Value{}, errNoWay
	}
	if to == KindFloat {
		return Float(f), nil
	}
	if short := float32(f); float64(short) == f || math.IsNaN(f) {
		return Float32(short), nil
	}
	return Value{}, errDigits
}

func (v Value) toDecimal() (Value, error) {
	switch v.kind {
	case KindInt, KindUint, KindFloat, KindFloat32:
		return Decimal(v.String()), nil
	case KindText:
		text, err := decimalText(v.str)
		return Decimal(text), err
	default:
		return Value{}, errNoWay
	}
}

func (v Value) toBytes() (Value, error) {
	switch v.kind {
	case KindUUID:
		return Bytes(v.str), nil
	case KindText:
		if digits, ok := strings.CutPrefix(v.str, `\x`); ok {
			p, err := hex.DecodeString(digits)
			if err != nil {
				return Value{}, errors.New(`it begins with \x and has something other than pairs of hexadecimal digits`)
			}
			return Bytes(string(p)), nil
		}
		p, err := base64.StdEncoding.Strict().DecodeString(v.str)
		if err != nil {
			return Value{}, errors.New(`it is neither \x with hexadecimal digits nor base64`)
		}
		return Bytes(string(p)), nil
	default:
		return Value{}, errNoWay
	}
}

func (v Value) toUUID() (Value, error) {
	switch v.kind {
	case KindBytes:
		if len(v.str) != 16 {
			return Value{}, fmt.Errorf("it has %d bytes instead of 16", len(v.str))
		}
		return RawUUID(v.str), nil
	case KindText:
		return parseUUID(v.str)
	default:
		return Value{}, errNoWay
	}
}

func parseUUID(s string) (Value, error) {
	if n := len(s); n > 2 && s[0] == '{' && s[n-1] == '}' {
		s = s[1 : n-1]
	}
	var id [16]byte
	digits := 0
	for i, c := range []byte(s) {
		if c == '-' && digits > 0 && digits < 32 && digits%4 == 0 && s[i-1] != '-' {
			continue
		}
		digit := hexValue(c)
		if digit > 15 || digits == 32 {
			return Value{}, errSyntax
		}
		id[digits/2] = id[digits/2]<<4 | digit
		digits++
	}
	if digits != 32 {
		return Value{}, errSyntax
	}
	return UUID(id), nil
}

func (v Value) toJSON() (Value, error) {
	switch v.kind {
	case KindBool, KindInt, KindUint, KindFloat, KindFloat32, KindDecimal, KindArray:
		text, err := appendJSON(nil, v)
		return JSON(string(text)), err
	case KindText:
		if err := validJSON(v.str); err != nil {
			return Value{}, err
		}
		return JSON(v.str), nil
	default:
		return Value{}, errNoWay
	}
}

// toDay converts to a Date, a DateTime or a Time.
func (v Value) toDay(to Kind) (Value, error) {
	switch v.kind {
	case KindText:
		return parseDay(v.str, to)
	case KindDate, KindDateTime, KindTime:
	default:
		return Value{}, errNoWay
	}
	if i := v.Infinity(); i != 0 {
		return Infinite(to, i < 0), nil
	}
	switch {
	case v.kind == KindDate:
		second, ok := compose(v.Days(), daySeconds, 0)
		if !ok {
			return Value{}, errTooLarge
		}
		return Value{kind: to, num: uint64(second)}, nil //nolint:gosec // its bits
	case to == KindDate:
		days, second := floorDiv(int64(v.num), daySeconds) //nolint:gosec // its bits
		if second != 0 || v.nsec != 0 {
			return Value{}, errMidnight
		}
		return Date(days), nil
	}
	v.kind = to
	return v, nil
}
