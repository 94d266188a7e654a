package postgres

import (
	"encoding/binary"
	"errors"

	"github.com/bohica-labs/dataweaver/row"
)

// The signs of a numeric (src/backend/utils/adt/numeric.c, numeric_send).
const (
	numericPositive    = 0x0000
	numericNegative    = 0x4000
	numericNaN         = 0xC000
	numericInfinity    = 0xD000
	numericNegInfinity = 0xF000
)

var errNumeric = errors.New("postgres: a numeric that isn't one")

// decodeNumeric writes a numeric's digits, with as many behind the point as the value has in the database.
func decodeNumeric(s *scratch, p []byte) (row.Value, error) {
	if len(p) < 8 {
		return row.Value{}, errNumeric
	}
	n := int(binary.BigEndian.Uint16(p))
	weight := int(int16(binary.BigEndian.Uint16(p[2:]))) //nolint:gosec // its bits
	sign := binary.BigEndian.Uint16(p[4:])
	scale := int(binary.BigEndian.Uint16(p[6:]))
	if len(p) != 8+2*n || scale > 0x3FFF {
		return row.Value{}, errNumeric
	}
	switch sign {
	case numericNaN:
		return row.Decimal("NaN"), nil
	case numericInfinity:
		return row.Decimal("Infinity"), nil
	case numericNegInfinity:
		return row.Decimal("-Infinity"), nil
	case numericPositive, numericNegative:
	default:
		return row.Value{}, errNumeric
	}
	out := s.text
	if sign == numericNegative {
		out = append(out, '-')
	}
	p = p[8:]
	group := func(i int) (int, error) { // the i-th group of four digits; 0 where it isn't stored
		if i < 0 || i >= n {
			return 0, nil
		}
		g := int(binary.BigEndian.Uint16(p[2*i:]))
		if g > 9999 {
			return 0, errNumeric
		}
		return g, nil
	}
	if weight < 0 {
		out = append(out, '0')
	}
	for i := 0; i <= weight; i++ {
		g, err := group(i)
		if err != nil {
			return row.Value{}, err
		}
		if i == 0 {
			out = appendShort(out, g)
		} else {
			out = append(out, byte('0'+g/1000), byte('0'+g/100%10), byte('0'+g/10%10), byte('0'+g%10))
		}
	}
	if scale > 0 {
		out = append(out, '.')
		end := len(out) + scale
		for i := weight + 1; len(out) < end; i++ {
			g, err := group(i)
			if err != nil {
				return row.Value{}, err
			}
			out = append(out, byte('0'+g/1000), byte('0'+g/100%10), byte('0'+g/10%10), byte('0'+g%10))
		}
		out = out[:end]
	}
	return row.Decimal(s.kept(out)), nil
}

// appendShort appends a number below 10,000 without zeros before it.
func appendShort(out []byte, g int) []byte {
	if g >= 1000 {
		out = append(out, byte('0'+g/1000))
	}
	if g >= 100 {
		out = append(out, byte('0'+g/100%10))
	}
	if g >= 10 {
		out = append(out, byte('0'+g/10%10))
	}
	return append(out, byte('0'+g%10))
}
