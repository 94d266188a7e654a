package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/bohica-labs/dataweaver/row"
)

var errNotNumeric = errors.New("it is no number as numeric has it")

// maxNumericScale and maxNumericWeight are what numeric can hold (src/backend/utils/adt/numeric.c): digits behind the point, and
// 131,072 before it.
const (
	maxNumericScale = 16383
	maxNumericWhole = 131072
)

// appendNumeric appends a number in groups of four digits (numeric_recv). It is exact, or an error: a number with more digits
// behind the point than the column has is not rounded.
func (t *target) appendNumeric(dst []byte, v row.Value) ([]byte, error) {
	switch v.Kind() {
	case row.KindDecimal:
		return t.appendDecimal(dst, v.Str())
	case row.KindInt:
		var buf [20]byte
		return t.appendDecimal(dst, string(strconv.AppendInt(buf[:0], v.Int(), 10)))
	default:
	}
	d, err := v.Convert(row.KindDecimal)
	if err != nil {
		return dst, err
	}
	return t.appendDecimal(dst, d.Str())
}

// decimal is a number's text taken apart: its digits are whole, then fraction, and the point is moved exponent places to the
// right.
type decimal struct {
	negative        bool
	whole, fraction string
	exponent        int
}

func parseDecimal(s string) (d decimal, ok bool) {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		d.negative = s[0] == '-'
		s = s[1:]
	}
	n := digits(s)
	d.whole, s = s[:n], s[n:]
	if s != "" && s[0] == '.' {
		n = digits(s[1:])
		d.fraction, s = s[1:1+n], s[1+n:]
	}
	if d.whole == "" && d.fraction == "" {
		return d, false
	}
	if s == "" {
		return d, true
	}
	if s[0]|0x20 != 'e' {
		return d, false
	}
	exponent, err := strconv.Atoi(s[1:])
	const most = 1 << 20 // beyond anything numeric has, and what can be added to
	if err != nil || exponent > most || exponent < -most || s[1] == '_' {
		return d, false
	}
	d.exponent = exponent
	return d, true
}

// digits returns how many digits s begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}

// digit returns the digit at a place: 0 is the one before the point, -1 the one behind it.
func (d *decimal) digit(place int) byte {
	i := len(d.whole) + d.exponent - 1 - place
	switch {
	case i < 0:
		return 0
	case i < len(d.whole):
		return d.whole[i] - '0'
	case i-len(d.whole) < len(d.fraction):
		return d.fraction[i-len(d.whole)] - '0'
	}
	return 0
}

func (t *target) appendDecimal(dst []byte, s string) ([]byte, error) {
	special := uint16(0)
	switch s {
	case "NaN":
		special = numericNaN
	case "Infinity":
		special = numericInfinity
	case "-Infinity":
		special = numericNegInfinity
	}
	if special != 0 {
		return append(dst, 0, 0, 0, 0, byte(special>>8), byte(special&0xff), 0, 0), nil
	}
	d, ok := parseDecimal(s)
	if !ok {
		return dst, errNotNumeric
	}
	high := len(d.whole) + d.exponent - 1 // the place of its first digit that isn't 0
	low := -len(d.fraction) + d.exponent  // and of its last one
	scale := max(-low, 0)
	for high >= low && d.digit(high) == 0 {
		high--
	}
	for low <= high && d.digit(low) == 0 {
		low++
	}
	if high >= maxNumericWhole {
		return dst, fmt.Errorf("the number has %d digits before its point, and numeric has %d", high+1, maxNumericWhole)
	}
	if -low > maxNumericScale && low <= high {
		return dst, fmt.Errorf("the number has %d digits behind its point, and numeric has %d", -low, maxNumericScale)
	}
	scale = min(scale, maxNumericScale)
	if err := t.fits(high, low); err != nil {
		return dst, err
	}
	sign := uint16(numericPositive)
	if d.negative && low <= high {
		sign = numericNegative
	}
	first, last := high>>2, low>>2 // rounded down
	if low > high {                // it is zero
		first, last = 0, 1
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(first-last+1)) //nolint:gosec // at most 36,864
	dst = binary.BigEndian.AppendUint16(dst, uint16(int16(first))) //nolint:gosec // its bits
	dst = binary.BigEndian.AppendUint16(dst, sign)
	dst = binary.BigEndian.AppendUint16(dst, uint16(scale)) //nolint:gosec // at most 16,383
	for group := first; group >= last; group-- {
		n := uint16(0)
		for place := 3; place >= 0; place-- {
			n = n*10 + uint16(d.digit(group*4+place))
		}
		dst = binary.BigEndian.AppendUint16(dst, n)
	}
	return dst, nil
}

// fits checks a number, whose digits are at places from high to low, against what the column takes: numeric(precision, scale).
func (t *target) fits(high, low int) error {
	if t.form != formNumeric && t.elemForm != formNumeric || t.typmod < 4 || low > high {
		return nil
	}
	// The modifier as numeric.c packs it: a scale may be negative since PostgreSQL 15.
	modifier := int(t.typmod - 4)
	precision, scale := modifier>>16&0xffff, (modifier&0x7ff^1024)-1024
	switch {
	case low < -scale:
		return fmt.Errorf("the number has %d digits behind its point, and the column is %s: it isn't rounded", max(-low, 0), t.typ)
	case high >= precision-scale:
		return fmt.Errorf("the number has %d digits before its point, and the column is %s", high+1, t.typ)
	}
	return nil
}
