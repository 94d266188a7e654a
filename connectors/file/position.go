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
	mark
	name string // of the file within the pattern; empty where the path is no pattern
	done bool   // the file ended there
}

// mark is where in a file a record begins, and what is needed to find out whether a file is that one.
type mark struct {
	offset int64 // in the content: unpacked, where the file is compressed
	line   int64 // of that record, the first is 1
	inside int64 // how many records lie between offset, where a block of several begins, and that record
	print  fingerprint
	member member // offset lies in; zero: the whole file is one
	// What is there, and all behind it, was rejected: nothing of it could be made sense of. Where it still makes none, that is not said again.
	refused bool
}

// fingerprint tells a file from one that took its place: the checksum of how its content began.
type fingerprint struct {
	size int // bytes, at most fingerprintBytes, and not more than what was read
	sum  uint64
}

const (
	fingerprintBytes = 1 << 10
	insideFlag       = 2 * fingerprintBytes // is part of no size
)

func fingerprintOf(head []byte) fingerprint {
	return fingerprint{size: len(head), sum: crc64.Checksum(head, crc64.MakeTable(crc64.ECMA))}
}

// A position is, in this order: the version, 1; 1 where the file is done, and 2 more where the rest was refused, or 0; the mark; the length of the name as an unsigned varint, and the name.
const positionVersion = 1

func (p position) append(dst []byte) weaver.Position {
	dst = append(dst, positionVersion, 0)
	if p.done {
		dst[len(dst)-1] = 1
	}
	if p.refused {
		dst[len(dst)-1] |= 2
	}
	dst = p.mark.append(dst)
	dst = binary.AppendUvarint(dst, uint64(len(p.name)))
	return append(dst, p.name...)
}

// append appends, as unsigned varints, offset, line, where the member begins in the content and as it is stored, and the size of the fingerprint; where insideFlag is added to
// that, inside; then the fingerprint's sum in 8 bytes, big-endian.
func (m mark) append(dst []byte) []byte {
	size := int64(m.print.size)
	if m.inside > 0 {
		size |= insideFlag
	}
	for _, n := range []int64{m.offset, m.line, m.member.offset, m.member.stored, size} {
		dst = binary.AppendUvarint(dst, uint64(n)) //nolint:gosec // never negative
	}
	if m.inside > 0 {
		dst = binary.AppendUvarint(dst, uint64(m.inside))
	}
	return binary.BigEndian.AppendUint64(dst, m.print.sum)
}

// parsePosition reads what append made, and refuses everything else.
func parsePosition(data weaver.Position) (position, error) {
	if len(data) < 2 {
		return position{}, errors.New("it is cut short")
	}
	if data[0] != positionVersion {
		return position{}, fmt.Errorf("its version is %d, known is %d", data[0], positionVersion)
	}
	if data[1] > 3 {
		return position{}, errors.New("it makes no sense")
	}
	p := position{done: data[1]&1 != 0}
	rest := parser{data[2:]}
	p.mark = rest.mark()
	p.refused = data[1]&2 != 0
	if rest.data == nil {
		return position{}, errors.New("it makes no sense")
	}
	if n := rest.number(math.MaxInt32); n != int64(len(rest.data)) {
		return position{}, errors.New("it is cut short or too long")
	}
	p.name = string(rest.data)
	return p, nil
}

// parser reads what the parts of a position append. Data is nil from the first thing on that makes no sense.
type parser struct{ data []byte }

func (p *parser) number(limit int64) int64 {
	n, k := binary.Uvarint(p.data)
	if k <= 0 || n > uint64(limit) || k > 1 && p.data[k-1] == 0 { //nolint:gosec // never negative
		p.data = nil
		return -1
	}
	p.data = p.data[k:]
	return int64(n) //nolint:gosec // at most limit
}

func (p *parser) mark() (m mark) {
	m.offset = p.number(math.MaxInt64)
	m.line = p.number(math.MaxInt64)
	m.member.offset = p.number(math.MaxInt64)
	m.member.stored = p.number(math.MaxInt64)
	size := p.number(insideFlag | fingerprintBytes)
	if size >= insideFlag {
		size -= insideFlag
		if m.inside = p.number(math.MaxInt64); m.inside == 0 {
			size = -1
		}
	}
	m.print.size = int(size)
	if size < 0 || size > fingerprintBytes || int64(m.print.size) > m.offset || m.line < 1 || m.member.offset > m.offset || len(p.data) < 8 {
		p.data = nil
		return mark{}
	}
	m.print.sum = binary.BigEndian.Uint64(p.data)
	p.data = p.data[8:]
	return m
}
