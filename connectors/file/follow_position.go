package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	weaver "github.com/bohica-labs/dataweaver"
)

// place is how far a followed path was read: where in which of its generations the next record begins.
type place struct {
	mark
	id   identity
	time int64       // when the file was last modified, as far as is known: nanoseconds since 1970
	size int64       // of the file as it is stored, when it was last looked at
	tail fingerprint // of what comes right before offset in the file as it is stored
	done bool        // the file was read to its end, and left
	none bool        // no file was begun; time is that of the youngest one that isn't to be read
	seq  int64       // grows with each file that is finished
	due  []leftover  // files that are finished and were not tidied away
}

// leftover is a file that is to be moved or deleted.
type leftover struct {
	id    identity
	print fingerprint
	size  int64 // as it is stored, when it was finished
	seq   int64 // of the first place behind it
}

// A place is, in this order: the version, 2; flags; the mark; device and inode, time, size, the tail, seq and the number of leftovers; then each of those. Numbers are
// unsigned varints, sums have 8 bytes, big-endian.
const placeVersion = 2

const (
	flagDone = 1 << iota
	flagNone
	flagsOfPlaces = iota
)

func (p *place) append(dst []byte) weaver.Position {
	var flags byte
	if p.done {
		flags |= flagDone
	}
	if p.none {
		flags |= flagNone
	}
	dst = append(dst, placeVersion, flags)
	dst = p.mark.append(dst)
	dst = p.id.append(dst)
	dst = binary.AppendUvarint(dst, uint64(max(p.time, 0))) //nolint:gosec // not negative
	dst = binary.AppendUvarint(dst, uint64(p.size))         //nolint:gosec // never negative
	dst = p.tail.append(dst)
	dst = binary.AppendUvarint(dst, uint64(p.seq)) //nolint:gosec // never negative
	dst = binary.AppendUvarint(dst, uint64(len(p.due)))
	for _, d := range p.due {
		dst = d.id.append(dst)
		dst = d.print.append(dst)
		dst = binary.AppendUvarint(dst, uint64(d.size)) //nolint:gosec // never negative
		dst = binary.AppendUvarint(dst, uint64(d.seq))  //nolint:gosec // never negative
	}
	return dst
}

func (i identity) append(dst []byte) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, i.device), i.inode)
}

func (f fingerprint) append(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.AppendUvarint(dst, uint64(f.size)), f.sum) //nolint:gosec // never negative
}

// parsePlace reads what append made, or what a Reader made that didn't follow, and refuses everything else.
func parsePlace(data weaver.Position) (place, error) {
	if len(data) > 0 && data[0] == positionVersion {
		p, err := parsePosition(data)
		return place{mark: p.mark, done: p.done, time: math.MaxInt64, size: p.offset}, err
	}
	if len(data) < 2 {
		return place{}, errors.New("it is cut short")
	}
	if data[0] != placeVersion {
		return place{}, fmt.Errorf("its version is %d, known is %d", data[0], placeVersion)
	}
	if data[1] >= 1<<flagsOfPlaces {
		return place{}, errors.New("it makes no sense")
	}
	p := place{done: data[1]&flagDone != 0, none: data[1]&flagNone != 0}
	rest := parser{data[2:]}
	p.mark = rest.mark()
	p.id = rest.identity()
	p.time = rest.number(math.MaxInt64)
	p.size = rest.number(math.MaxInt64)
	p.tail = rest.print()
	p.seq = rest.number(math.MaxInt64)
	n := rest.number(int64(len(rest.data)))
	for range n {
		d := leftover{id: rest.identity(), print: rest.print(), size: rest.number(math.MaxInt64), seq: rest.number(math.MaxInt64)}
		p.due = append(p.due, d)
	}
	if rest.data == nil || len(rest.data) > 0 || int64(p.tail.size) > p.offset {
		return place{}, errors.New("it makes no sense")
	}
	return p, nil
}

func (p *parser) identity() identity {
	return identity{p.number64(), p.number64()}
}

func (p *parser) number64() uint64 {
	n, k := binary.Uvarint(p.data)
	if k <= 0 || k > 1 && p.data[k-1] == 0 {
		p.data = nil
		return 0
	}
	p.data = p.data[k:]
	return n
}

func (p *parser) print() fingerprint {
	f := fingerprint{size: int(p.number(fingerprintBytes))}
	f.sum = p.sum()
	return f
}

func (p *parser) sum() uint64 {
	if len(p.data) < 8 {
		p.data = nil
		return 0
	}
	n := binary.BigEndian.Uint64(p.data)
	p.data = p.data[8:]
	return n
}
