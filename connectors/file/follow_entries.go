package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	weaver "github.com/bohica-labs/dataweaver"
)

// A position of files with an entry each is: the version, 3; seq and the number of entries; then the entries in any order. An entry is: flags; the hash of the
// name and, where flagged, the folded identity, in 8 bytes each; the offset; the size of the fingerprint, and its sum in 8 bytes; where flagged, how much the size of
// the file differs from the offset, as a signed varint; when it was last modified; and where it is not done, line and member as in a mark, and where flagged, inside. Numbers are unsigned varints, and
// fixed ones big-endian.
const entriesVersion = 3

const (
	entryDone = 1 << iota
	entryKept
	entryID
	entrySize
	entryInside
	flagsOfEntries = iota
)

func (e *entry) append(dst []byte) []byte {
	var flags byte
	if e.done {
		flags |= entryDone
	}
	if e.kept {
		flags |= entryKept
	}
	if e.id != 0 {
		flags |= entryID
	}
	if e.size != e.offset {
		flags |= entrySize
	}
	if e.inside > 0 && !e.done {
		flags |= entryInside
	}
	dst = append(dst, flags)
	dst = binary.BigEndian.AppendUint64(dst, e.name)
	if e.id != 0 {
		dst = binary.BigEndian.AppendUint64(dst, e.id)
	}
	dst = binary.AppendUvarint(dst, uint64(e.offset)) //nolint:gosec // never negative
	dst = e.print.append(dst)
	if e.size != e.offset {
		dst = binary.AppendVarint(dst, e.size-e.offset)
	}
	dst = binary.AppendUvarint(dst, uint64(max(e.was, 0))) //nolint:gosec // not negative
	if !e.done {
		for _, n := range []int64{e.line, e.member.offset, e.member.stored} {
			dst = binary.AppendUvarint(dst, uint64(n)) //nolint:gosec // never negative
		}
	}
	if flags&entryInside != 0 {
		dst = binary.AppendUvarint(dst, uint64(e.inside)) //nolint:gosec // positive
	}
	return dst
}

// parseEntries reads what turns.encode made, and refuses everything else.
func parseEntries(data weaver.Position) (seq int64, all []entry, err error) {
	if len(data) == 0 {
		return 0, nil, errors.New("it is cut short")
	}
	if data[0] != entriesVersion {
		return 0, nil, fmt.Errorf("its version is %d, known is %d", data[0], entriesVersion)
	}
	rest := parser{data[1:]}
	seq = rest.number(math.MaxInt64)
	n := rest.number(int64(len(rest.data)))
	for range n {
		e := rest.entry()
		if rest.data == nil {
			break
		}
		all = append(all, e)
	}
	if rest.data == nil || len(rest.data) > 0 {
		return 0, nil, errors.New("it makes no sense")
	}
	return seq, all, nil
}

func (p *parser) entry() (e entry) {
	if len(p.data) == 0 || p.data[0] >= 1<<flagsOfEntries {
		p.data = nil
		return e
	}
	flags := p.data[0]
	p.data = p.data[1:]
	e.done, e.kept = flags&entryDone != 0, flags&entryKept != 0
	e.name = p.sum()
	if flags&entryID != 0 {
		e.id = p.sum()
	}
	e.offset = p.number(math.MaxInt64)
	e.print = p.print()
	e.size, e.line = e.offset, 1
	if flags&entrySize != 0 {
		n, k := binary.Varint(p.data)
		if k <= 0 {
			p.data = nil
			return e
		}
		p.data = p.data[k:]
		e.size += n
	}
	e.was = p.number(math.MaxInt64)
	if !e.done {
		e.line = p.number(math.MaxInt64)
		e.member.offset = p.number(math.MaxInt64)
		e.member.stored = p.number(math.MaxInt64)
	}
	if flags&entryInside != 0 {
		if e.inside = p.number(math.MaxInt64); e.inside == 0 || e.done {
			p.data = nil
		}
	}
	if e.size < 0 || e.line < 1 || e.member.offset > e.offset || int64(e.print.size) > e.offset {
		p.data = nil
	}
	return e
}
