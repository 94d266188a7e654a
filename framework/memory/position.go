package memory

import (
	"encoding/binary"
	"fmt"
	"math"

	weaver "github.com/bohica-labs/dataweaver"
)

// A position is a version, the life of the stream, and the offset of the next record, big endian.
const (
	positionVersion = 1
	positionBytes   = 1 + 8 + 8
)

func encodePosition(to []byte, life uint64, offset int64) {
	to[0] = positionVersion
	binary.BigEndian.PutUint64(to[1:], life)
	binary.BigEndian.PutUint64(to[9:], uint64(offset)) //nolint:gosec // never negative
}

func decodePosition(p weaver.Position) (life uint64, offset int64, err error) {
	if len(p) != positionBytes || p[0] != positionVersion {
		return 0, 0, fmt.Errorf("memory: %x is no position of this source", []byte(p))
	}
	o := binary.BigEndian.Uint64(p[9:])
	if o > math.MaxInt64 {
		return 0, 0, fmt.Errorf("memory: %x is no position of this source", []byte(p))
	}
	return binary.BigEndian.Uint64(p[1:]), int64(o), nil
}
