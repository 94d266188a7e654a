package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"math"

	weaver "github.com/bohica-labs/dataweaver"
)

// position is where in one of the files of a split the next record begins.
type position struct {
	name   string // of the file within the pattern; empty where the path is no pattern
	offset int64
	line   int64 // of that record, the first is 1
	done   bool  // the file ended there
	print  fingerprint
}

// fingerprint tells a file from one that took its place: the checksum of how it began.
type fingerprint struct {
	size int // bytes, at most fingerprintBytes, and not more than what was read
	sum  uint64
}

const fingerprintBytes = 1 << 10

func fingerprintOf(head []byte) fingerprint {
	return fingerprint{size: len(head), sum: crc64.Checksum(head, crc64.MakeTable(crc64.ECMA))}
}

// A position is, in this order: the version, 1; 1 where the file is done, or 0; offset, line, and size of the fingerprint as unsigned varints; the
// fingerprint's sum in 8 bytes, big-endian; the length of the name as an unsigned varint, and the name.
const positionVersion = 1

func (p position) append(dst []byte) weaver.Position {
	dst = append(dst, positionVersion, 0)
	if p.done {
		dst[len(dst)-1] = 1
	}
	dst = binary.AppendUvarint(dst, uint64(p.offset))     //nolint:gosec // never negative
	dst = binary.AppendUvarint(dst, uint64(p.line))       //nolint:gosec // never negative
	dst = binary.AppendUvarint(dst, uint64(p.print.size)) //nolint:gosec // never negative
	dst = binary.BigEndian.AppendUint64(dst, p.print.sum)
	dst = binary.AppendUvarint(dst, uint64(len(p.name)))
	return append(dst, p.name...)
}

// parsePosition reads what append made, and refuses everything else.
func parsePosition(data weaver.Position) (position, error) {
	if len(data) < 2 {
		return position{}, errors.New("it is cut short")
	}
	if data[0] != positionVersion {
		return position{}, fmt.Errorf("its version is %d, known is %d", data[0], positionVersion)
	}
	if data[1] > 1 {
		return position{}, errors.New("it makes no sense")
	}
	p := position{done: data[1] == 1}
	rest := data[2:]
	number := func(limit int64) int64 {
		n, k := binary.Uvarint(rest)
		if k <= 0 || n > uint64(limit) || k > 1 && rest[k-1] == 0 { //nolint:gosec // never negative
			rest = nil
			return -1
		}
		rest = rest[k:]
		return int64(n) //nolint:gosec // at most limit
	}
	p.offset = number(math.MaxInt64)
	p.line = number(math.MaxInt64)
	p.print.size = int(number(fingerprintBytes))
	if p.print.size < 0 || int64(p.print.size) > p.offset || p.line < 1 || len(rest) < 8 {
		return position{}, errors.New("it makes no sense")
	}
	p.print.sum = binary.BigEndian.Uint64(rest)
	rest = rest[8:]
	if n := number(math.MaxInt32); n != int64(len(rest)) {
		return position{}, errors.New("it is cut short or too long")
	}
	p.name = string(rest)
	return p, nil
}
