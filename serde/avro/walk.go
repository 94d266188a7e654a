package avro

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// walk goes over a datum without making anything of it. It sees whatever the format forbids and whatever would take memory beyond measure, before a library
// makes values of it.
type walk struct {
	items    int // that may still come: elements of arrays and maps
	hollow   int // the same for those that take no bytes
	depth    int
	mantissa map[*node]int // integers that become floats of so many bits of mantissa
}

var (
	errShort    = errors.New("the data ends too early")
	errVarint   = errors.New("an integer of more than 64 bits")
	errInt      = errors.New("an int of more than 32 bits")
	errBoolean  = errors.New("a boolean that is neither 0 nor 1")
	errNegative = errors.New("a negative length")
	errBlock    = errors.New("a block of items that isn't as long as it says")
	errItems    = errors.New("more items than MaxItems allows")
)

// value goes over one value of n and returns what is behind it.
func (w *walk) value(n *node, data []byte) ([]byte, error) {
	switch n.kind { //nolint:exhaustive // the others have something inside
	case kindNull:
		return data, nil
	case kindBoolean:
		if len(data) == 0 {
			return nil, errShort
		}
		if data[0] > 1 {
			return nil, errBoolean
		}
		return data[1:], nil
	case kindInt, kindLong:
		return w.integer(n, data)
	case kindFloat:
		return skip(data, 4)
	case kindDouble:
		return skip(data, 8)
	case kindString, kindBytes:
		body, rest, err := text(data)
		if err == nil && n.logical == "decimal" {
			err = n.decimalBytesFit(body)
		}
		return rest, err
	case kindFixed:
		rest, err := skip(data, int64(n.size))
		if err == nil && n.logical == "decimal" {
			err = n.decimalBytesFit(data[:n.size])
		}
		return rest, err
	case kindEnum:
		i, rest, err := long(data)
		if err == nil && (i < 0 || i >= int64(len(n.symbols))) {
			err = fmt.Errorf("symbol %d of %d", i, len(n.symbols))
		}
		return rest, err
	}
	if w.depth >= maxDepth {
		return nil, errTooDeep
	}
	w.depth++
	rest, err := w.inside(n, data)
	w.depth--
	return rest, err
}

func (w *walk) inside(n *node, data []byte) ([]byte, error) {
	var err error
	switch n.kind { //nolint:exhaustive // the others have nothing inside
	case kindRecord:
		for i := range n.fields {
			if data, err = w.value(n.fields[i].node, data); err != nil {
				return nil, within(n.fields[i].name, err)
			}
		}
		return data, nil
	case kindUnion:
		i, rest, err := long(data)
		if err != nil {
			return nil, err
		}
		if i < 0 || i >= int64(len(n.branches)) {
			return nil, fmt.Errorf("branch %d of a union of %d", i, len(n.branches))
		}
		return w.value(n.branches[i], rest)
	}
	return w.blocks(n, data)
}

// blocks goes over an array or a map.
func (w *walk) blocks(n *node, data []byte) ([]byte, error) {
	for at := 0; ; {
		count, rest, err := long(data)
		if err != nil || count == 0 {
			return rest, err
		}
		size := int64(-1)
		if count < 0 {
			if size, rest, err = long(rest); err != nil {
				return nil, err
			}
			if count == math.MinInt64 || size < 0 || size > int64(len(rest)) {
				return nil, errBlock
			}
			count = -count
		}
		if err := w.take(n, count, len(rest)); err != nil {
			return nil, err
		}
		data = rest
		for range count {
			if n.kind == kindMap {
				if _, data, err = text(data); err != nil {
					return nil, err
				}
			}
			if data, err = w.value(n.elem, data); err != nil {
				return nil, within("["+strconv.Itoa(at)+"]", err)
			}
			at++
		}
		if size >= 0 && len(rest)-len(data) != int(size) {
			return nil, errBlock
		}
	}
}

// take counts items before a block of them is gone over.
func (w *walk) take(n *node, count int64, left int) error {
	if n.kind == kindArray && n.elem.empty {
		if count > int64(w.hollow) {
			return errItems
		}
		w.hollow -= int(count)
	} else if count > int64(left) {
		return errShort
	}
	if count > int64(w.items) {
		return errItems
	}
	w.items -= int(count)
	return nil
}

func (w *walk) integer(n *node, data []byte) ([]byte, error) {
	i, rest, err := long(data)
	if err != nil {
		return nil, err
	}
	if n.kind == kindInt && int64(int32(i)) != i {
		return nil, errInt
	}
	if n.logical == "time-micros" && (i > math.MaxInt64/1000 || i < math.MinInt64/1000) {
		return nil, fmt.Errorf("%d microseconds are more than a time.Duration holds", i)
	}
	if m := w.mantissa[n]; m > 0 && !integerFits(i, m) {
		return nil, fmt.Errorf("the integer %d is for a float of the reader's schema, and none is equal to it", i)
	}
	return rest, nil
}

func skip(data []byte, n int64) ([]byte, error) {
	if n > int64(len(data)) {
		return nil, errShort
	}
	return data[n:], nil
}

// text splits data behind a string or bytes.
func text(data []byte) (body, rest []byte, err error) {
	n, rest, err := long(data)
	if err != nil {
		return nil, nil, err
	}
	if n < 0 {
		return nil, nil, errNegative
	}
	if n > int64(len(rest)) {
		return nil, nil, errShort
	}
	return rest[:n], rest[n:], nil
}

// long reads an integer: zigzag, seven bits a byte, the lowest first.
func long(data []byte) (int64, []byte, error) {
	if len(data) > 0 && data[0] < 0x80 {
		u := uint64(data[0])
		return int64(u>>1) ^ -int64(u&1), data[1:], nil
	}
	u, n := binary.Uvarint(data)
	if n == 0 {
		return 0, nil, errShort
	}
	if n < 0 {
		return 0, nil, errVarint
	}
	return int64(u>>1) ^ -int64(u&1), data[n:], nil
}
