package postgres

import (
	"encoding/binary"
	"errors"

	"github.com/bohica-labs/dataweaver/row"
)

// maxDimensions is how many dimensions an array has at most (MAXDIM).
const maxDimensions = 6

var (
	errArray  = errors.New("postgres: an array that isn't one")
	errBounds = errors.New("postgres: an array whose indexes don't begin at 1, which would be lost: select it cast to text")
)

// decodeArray reads an array (src/backend/utils/adt/arrayfuncs.c, array_send).
func decodeArray(s *scratch, p []byte, kind row.Kind, elem decoder) (row.Value, error) {
	if len(p) < 12 {
		return row.Value{}, errArray
	}
	dims := int(binary.BigEndian.Uint32(p))
	p = p[12:]
	if dims > maxDimensions || len(p) < 8*dims {
		return row.Value{}, errArray
	}
	list := &row.Array{Elem: kind}
	n := 0
	for i := range dims {
		size := int(binary.BigEndian.Uint32(p))
		if binary.BigEndian.Uint32(p[4:]) != 1 {
			return row.Value{}, errBounds
		}
		p = p[8:]
		if i == 0 {
			n = 1
		}
		if size == 0 || size > len(p)/4 || n > len(p)/4 {
			return row.Value{}, errArray // each element has four bytes at least
		}
		n *= size
		if dims > 1 {
			list.Dims = append(list.Dims, size)
		}
	}
	if n > len(p)/4 {
		return row.Value{}, errArray
	}
	list.Values = make([]row.Value, n)
	for i := range list.Values {
		if len(p) < 4 {
			return row.Value{}, errArray
		}
		size := int(int32(binary.BigEndian.Uint32(p))) //nolint:gosec // its bits
		p = p[4:]
		if size < 0 {
			continue
		}
		if size > len(p) {
			return row.Value{}, errArray
		}
		v, err := elem(s, p[:size:size])
		if err != nil {
			return row.Value{}, err
		}
		list.Values[i] = v
		p = p[size:]
	}
	if len(p) > 0 {
		return row.Value{}, errArray
	}
	return row.List(list), nil
}
