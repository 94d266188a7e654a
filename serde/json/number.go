package json

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/bohica-labs/dataweaver/serde"
)

const (
	surely32   = 6  // so many characters without an exponent, and a float32 has all of its digits
	surely64   = 15 // the same for a float64
	mostDigits = 767
)

// checkNumber returns an error if a float of so many bits lacks some of the digits of a number: if, written out to as many digits, it is another number. Any
// number that a program has printed of a float passes, to however many digits.
func checkNumber(number []byte, bits int) error {
	sure := surely64
	if bits == 32 {
		sure = surely32
	}
	if len(number) <= sure {
		letters := byte(0)
		for _, c := range number {
			letters |= c
		}
		if letters < 'E' {
			return nil
		}
	}
	if number[0] == 'n' || keeps(number, bits) {
		return nil
	}
	return fmt.Errorf("a float%d has not all digits of %s: take json.Number, or a type that reads it by itself", bits, serde.Excerpt(number))
}

func keeps(number []byte, bits int) bool {
	want := decimalOf(number)
	if len(want.digits) > mostDigits { // no float64 has more
		return false
	}
	f, err := strconv.ParseFloat(string(number), bits)
	if err != nil {
		return false
	}
	if len(want.digits) == 0 {
		return f == 0
	}
	var buf [mostDigits + 16]byte
	got := decimalOf(strconv.AppendFloat(buf[:0], f, 'e', len(want.digits)-1, bits))
	return bytes.Equal(got.digits, want.digits) && got.exponent == want.exponent
}

// decimal is a number without its sign: 0.digits × 10^exponent. The digits neither begin nor end with a zero.
type decimal struct {
	digits   []byte
	exponent int
}

// decimalOf reads a number as JSON has it.
func decimalOf(number []byte) decimal {
	mantissa, exponent := number, 0
	if i := bytes.IndexAny(number, "eE"); i >= 0 {
		mantissa = number[:i]
		exponent, _ = strconv.Atoi(string(number[i+1:])) // out of range it is the largest there is: no float has that
	}
	mantissa = bytes.TrimPrefix(mantissa, []byte("-"))
	whole, part, _ := bytes.Cut(mantissa, []byte("."))
	digits := append(append(make([]byte, 0, len(mantissa)), whole...), part...)
	significant := bytes.TrimLeft(digits, "0")
	exponent += len(whole) - (len(digits) - len(significant))
	return decimal{bytes.TrimRight(significant, "0"), exponent}
}
