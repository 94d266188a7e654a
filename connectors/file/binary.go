package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"

	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde"
)

// Prefix is how the records of file.Prefixed say how long they are.
type Prefix uint8

// The prefixes of file.Prefixed.
const (
	Uvarint  Prefix = iota // an unsigned varint, as in streams of delimited protobuf messages
	Uint16BE               // two bytes, the most significant one first
	Uint16LE               // two bytes, the least significant one first
	Uint32BE               // four bytes, the most significant one first
	Uint32LE               // four bytes, the least significant one first
	Uint64BE               // eight bytes, the most significant one first
	Uint64LE               // eight bytes, the least significant one first
)

var prefixes = [...]struct {
	name string
	size int
}{{"Uvarint", 0}, {"Uint16BE", 2}, {"Uint16LE", 2}, {"Uint32BE", 4}, {"Uint32LE", 4}, {"Uint64BE", 8}, {"Uint64LE", 8}}

// String returns the name of the constant.
func (p Prefix) String() string {
	if int(p) < len(prefixes) {
		return prefixes[p].name
	}
	return fmt.Sprintf("Prefix(%d)", uint8(p))
}

var (
	errLength     = errors.New("the length in front of the record is no unsigned varint: it has more than 64 bits")
	errLengthTorn = errors.New("the file ends within the length of a record")
)

// length reads the prefix that data begins with, and returns how long that is itself: 0 if it is not all there.
func (p Prefix) length(data []byte) (n uint64, size int, err error) {
	if p == Uvarint {
		n, size = binary.Uvarint(data)
		if size < 0 || size == 0 && len(data) >= binary.MaxVarintLen64 {
			err = errLength
		}
		return n, size, err
	}
	size = prefixes[p].size
	if len(data) < size {
		return 0, 0, nil
	}
	switch p {
	case Uint16BE:
		n = uint64(binary.BigEndian.Uint16(data))
	case Uint16LE:
		n = uint64(binary.LittleEndian.Uint16(data))
	case Uint32BE:
		n = uint64(binary.BigEndian.Uint32(data))
	case Uint32LE:
		n = uint64(binary.LittleEndian.Uint32(data))
	case Uint64BE:
		n = binary.BigEndian.Uint64(data)
	case Uint64LE:
		n = binary.LittleEndian.Uint64(data)
	case Uvarint:
	}
	return n, size, nil
}

// append appends n as a prefix.
func (p Prefix) append(dst []byte, n int) ([]byte, error) {
	u := uint64(n) //nolint:gosec // a length
	most := uint64(math.MaxUint64)
	switch p {
	case Uvarint:
		return binary.AppendUvarint(dst, u), nil
	case Uint16BE, Uint16LE:
		most = math.MaxUint16
	case Uint32BE, Uint32LE:
		most = math.MaxUint32
	case Uint64BE, Uint64LE:
	}
	if u > most {
		return dst, fmt.Errorf("the record has %d bytes, and a length that is %s is %d at most", n, p, most)
	}
	switch p { //nolint:exhaustive // see above
	case Uint16BE:
		return binary.BigEndian.AppendUint16(dst, uint16(u)), nil //nolint:gosec // at most that
	case Uint16LE:
		return binary.LittleEndian.AppendUint16(dst, uint16(u)), nil //nolint:gosec // at most that
	case Uint32BE:
		return binary.BigEndian.AppendUint32(dst, uint32(u)), nil //nolint:gosec // at most that
	case Uint32LE:
		return binary.LittleEndian.AppendUint32(dst, uint32(u)), nil //nolint:gosec // at most that
	case Uint64BE:
		return binary.BigEndian.AppendUint64(dst, u), nil
	}
	return binary.LittleEndian.AppendUint64(dst, u), nil
}

// binaryValues has values as bytes: what a codec makes of them or, without one, what they are.
type binaryValues[T any] struct {
	decoder[T]
	encode func(dst []byte, v *T) ([]byte, error)
}

func newBinaryValues[T any](codec serde.Codec[T]) (binaryValues[T], error) {
	if codec != nil {
		return binaryValues[T]{
			decoder: codecLines[T]{codec: codec},
			encode:  func(dst []byte, v *T) ([]byte, error) { return codec.Append(dst, *v) },
		}, nil
	}
	raw, ok := any(rawLines{}).(decoder[T])
	if !ok {
		return binaryValues[T]{}, fmt.Errorf("field Codec is nil: records are bytes, and it says how they make a %s", reflect.TypeFor[T]())
	}
	return binaryValues[T]{
		decoder: raw,
		encode: func(dst []byte, v *T) ([]byte, error) {
			p, _ := any(v).(*[]byte)
			return append(dst, *p...), nil
		},
	}, nil
}

func (binaryValues[T]) header() ([]byte, error) { return nil, nil }

// mend is for files of lines. See cutter.
func (binaryValues[T]) mend(byte, func() (int64, error)) (string, error) { return "", nil }

func newFixed[T any](f *File[T], size int) (format[T], error) {
	if limit := or(f.MaxRecordBytes, defaultRecordBytes); size < 1 || size > limit {
		return format[T]{}, fmt.Errorf("the size of a record is %d: must be from 1 to MaxRecordBytes, which is %d", size, limit)
	}
	values, err := newBinaryValues(f.Codec)
	return format[T]{framing: fixedFraming{size}, decoder: values, encoder: fixedRecords[T]{values, size}, number: true}, err
}

// fixedFraming makes a record of each size bytes.
type fixedFraming struct{ size int }

func (x fixedFraming) next(data []byte, eof bool, _ *scan) (frame, bool) {
	switch {
	case len(data) >= x.size:
		return frame{size: x.size, body: x.size, lines: 1}, true
	case !eof || len(data) == 0:
		return frame{}, false
	}
	return frame{bad: fmt.Errorf("the file ends within a record: it has %d bytes of %d", len(data), x.size), rest: true}, true
}

// fixedRecords writes records of one size.
type fixedRecords[T any] struct {
	binaryValues[T]
	size int
}

func (x fixedRecords[T]) append(dst []byte, v *T) ([]byte, error) {
	out, err := x.encode(dst, v)
	if err != nil {
		return dst, err
	}
	if n := len(out) - len(dst); n != x.size {
		return dst, fmt.Errorf("the record has %d bytes instead of %d", n, x.size)
	}
	return out, nil
}

func (x fixedRecords[T]) whole(_ io.ReaderAt, size int64) (int64, error) {
	return size - size%int64(x.size), nil
}

func newPrefixed[T any](f *File[T], prefix Prefix) (format[T], error) {
	if int(prefix) >= len(prefixes) {
		return format[T]{}, fmt.Errorf("the prefix is %s: no such choice", prefix)
	}
	values, err := newBinaryValues(f.Codec)
	framing := prefixFraming{prefix, or(f.MaxRecordBytes, defaultRecordBytes)}
	return format[T]{framing: framing, decoder: values, encoder: prefixedRecords[T]{values, framing}, number: true, prefix: binary.MaxVarintLen64}, err
}

// prefixFraming makes a record of a length and so many bytes. Where a length is wrong, nothing says where the next one is.
type prefixFraming struct {
	prefix Prefix
	limit  int
}

func (x prefixFraming) next(data []byte, eof bool, s *scan) (frame, bool) {
	n, k, err := x.prefix.length(data)
	switch {
	case err == nil && n > uint64(x.limit): //nolint:gosec // positive
		err = fmt.Errorf("the length of the record is %d, which is more than MaxRecordBytes, %d", n, x.limit)
	case err == nil && k == 0 && eof && len(data) > 0:
		err = errLengthTorn
	case err == nil && k == 0:
		return frame{}, false
	}
	if err != nil {
		return frame{bad: err, rest: true}, true
	}
	s.body = k
	size := k + int(n) //nolint:gosec // at most limit
	switch {
	case len(data) >= size:
		return frame{lead: k, body: int(n), size: size, lines: 1}, true //nolint:gosec // at most limit
	case eof:
		return frame{bad: fmt.Errorf("the file ends within a record: it has %d bytes of %d", len(data)-k, n), rest: true}, true
	}
	return frame{}, false
}

// prefixedRecords writes records behind their length.
type prefixedRecords[T any] struct {
	binaryValues[T]
	framing prefixFraming
}

func (x prefixedRecords[T]) append(dst []byte, v *T) ([]byte, error) {
	const room = binary.MaxVarintLen64 // for any prefix
	begin := len(dst)
	out, err := x.encode(append(dst, make([]byte, room)...), v)
	if err != nil {
		return dst, err
	}
	body := out[begin+room:]
	headed, err := x.framing.prefix.append(out[:begin:begin+room], len(body))
	if err != nil {
		return dst, err
	}
	return out[:len(headed)+copy(out[len(headed):], body)], nil
}

// whole reads the lengths of all records. A file whose lengths make no sense is not one of such records, and that is fatal.
func (x prefixedRecords[T]) whole(r io.ReaderAt, size int64) (int64, error) {
	buf := make([]byte, readBytes)
	var at, from int64 // of the record, of buf
	var got []byte
	for at < size {
		if at+binary.MaxVarintLen64 > from+int64(len(got)) && from+int64(len(got)) < size || at < from {
			n, err := r.ReadAt(buf, at)
			if err != nil && !errors.Is(err, io.EOF) {
				return 0, err
			}
			got, from = buf[:n], at
			if n == 0 {
				break
			}
		}
		n, k, err := x.framing.prefix.length(got[at-from:])
		switch {
		case err != nil:
			return 0, retry.Fatal(fmt.Errorf("at byte %d: %w: it is no file of such records", at, err))
		case k > 0 && n > uint64(x.framing.limit) && n > uint64(size-at-int64(k)): //nolint:gosec // positive
			return 0, retry.Fatal(fmt.Errorf("at byte %d is a record whose length is %d, which is more than MaxRecordBytes, %d, and more than the file has: it is no file of such records",
				at, n, x.framing.limit))
		case k == 0 || n > uint64(size-at-int64(k)): //nolint:gosec // k bytes are there
			return at, nil
		}
		at += int64(k) + int64(n) //nolint:gosec // at most size
	}
	return at, nil
}
