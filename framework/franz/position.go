package franz

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	weaver "github.com/bohica-labs/dataweaver"
)

// A position is a version, the offset of the next record, and the leader epoch of the one before it (-1: unknown), big
// endian. The epoch is how a log that lost records in an unclean election is told from one that didn't (KIP-320).
const (
	positionVersion = 1
	positionBytes   = 1 + 8 + 4
)

// place is where to read on.
type place struct {
	offset int64
	epoch  int32
}

func (p place) encode(to []byte) {
	to[0] = positionVersion
	binary.BigEndian.PutUint64(to[1:], uint64(p.offset)) //nolint:gosec // never negative
	binary.BigEndian.PutUint32(to[9:], uint32(p.epoch))  //nolint:gosec // the same bits
}

func decodePosition(p weaver.Position) (place, error) {
	if len(p) != positionBytes || p[0] != positionVersion {
		return place{}, fmt.Errorf("franz: %x is no position of this source", []byte(p))
	}
	o := binary.BigEndian.Uint64(p[1:])
	e := int32(binary.BigEndian.Uint32(p[9:])) //nolint:gosec // the same bits
	if o > math.MaxInt64 || e < -1 {
		return place{}, fmt.Errorf("franz: %x is no position of this source", []byte(p))
	}
	return place{int64(o), e}, nil
}

// partition is one of a topic.
type partition struct {
	topic string
	index int32
}

// id is the split's.
func (p partition) id() string { return p.topic + "/" + strconv.Itoa(int(p.index)) }

func (p partition) String() string {
	return "partition " + strconv.Itoa(int(p.index)) + " of topic " + strconv.Quote(p.topic)
}
