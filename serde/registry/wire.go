package registry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The framing is that of Confluent's serializers: a byte 0, the schema's id in four bytes with the most significant one first, the payload. With Protobuf a
// list of indexes is in front of the payload: which message of the schema's file it is, and of that which nested one, and so on. The list is its length and
// its items as zigzag varints; the usual list, [0], is written as one byte 0.
// https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
const (
	magic       = 0
	headerBytes = 5
	maxIndexes  = 64 // how deeply messages are nested in one another's definition
)

// header returns the id of the schema that data was written with, and what is behind the header.
func header(data []byte) (id int, rest []byte, err error) {
	switch {
	case len(data) == 0:
		return 0, nil, errors.New("there is no schema id: the record is empty")
	case data[0] != magic:
		return 0, nil, fmt.Errorf("there is no schema id: the first byte is 0x%02x instead of 0, so this wasn't written with a schema registry", data[0])
	case len(data) < headerBytes:
		return 0, nil, fmt.Errorf("the header with the schema id is cut short: there are %d bytes of %d", len(data), headerBytes)
	}
	n := binary.BigEndian.Uint32(data[1:])
	if n > math.MaxInt32 {
		return 0, nil, fmt.Errorf("the schema id is %d, and %d is the largest that there can be", n, math.MaxInt32)
	}
	return int(n), data[headerBytes:], nil
}

func appendHeader(dst []byte, id int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, magic), uint32(id)) //nolint:gosec // whoever has the id has seen that it is one
}

var errIndexes = errors.New("the indexes that say which message this is are cut short or malformed")

// indexes reads the list in front of a Protobuf payload into path, which is used again, and returns what is behind it.
func indexes(data []byte, path []int) (_ []int, rest []byte, err error) {
	n, k := binary.Varint(data)
	if k <= 0 || n < 0 {
		return path, nil, errIndexes
	}
	if n > maxIndexes {
		return path, nil, fmt.Errorf("there are %d indexes to say which message this is, and %d are the most that are read", n, maxIndexes)
	}
	data = data[k:]
	path = path[:0]
	if n == 0 {
		return append(path, 0), data, nil
	}
	for range n {
		i, k := binary.Varint(data)
		if k <= 0 || i < 0 || i > math.MaxInt32 {
			return path, nil, errIndexes
		}
		path = append(path, int(i))
		data = data[k:]
	}
	return path, data, nil
}

func appendIndexes(dst []byte, path []int) []byte {
	if len(path) == 1 && path[0] == 0 {
		return append(dst, 0)
	}
	dst = binary.AppendVarint(dst, int64(len(path)))
	for _, i := range path {
		dst = binary.AppendVarint(dst, int64(i))
	}
	return dst
}
