package weaver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// mark is a point in a lane at which a checkpoint may fall.
type mark struct {
	pos     Position // buffer of its own
	has     bool     // there is a position
	state   []byte   // of a stage that keeps state, at exactly pos; never changed, so that marks share it
	ordinal int64    // inputs of this lane before it, in this Run
	seq     int64    // grows from mark to mark of a lane
}

func (m *mark) set(o *mark) {
	m.pos = append(m.pos[:0], o.pos...)
	m.state = o.state
	m.has, m.ordinal, m.seq = o.has, o.ordinal, o.seq
}

// clone returns a position of its own, nil where there is none.
func (m *mark) clone() Position {
	if !m.has {
		return nil
	}
	return append(Position{}, m.pos...)
}

// An envelope is what a checkpoint holds: magic "WV", a version, the lengths of position and state as uvarints, the
// position, the state, and a CRC-32C of all before it. Stores and Checkpointers treat it as opaque.
const (
	envelopeMagic   = "WV"
	envelopeVersion = 1
)

func castagnoli(p []byte) uint32 { return crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) }

func appendEnvelope(dst []byte, pos Position, state []byte) []byte {
	start := len(dst)
	dst = slices.Grow(dst, len(envelopeMagic)+1+2*binary.MaxVarintLen64+len(pos)+len(state)+4)
	dst = append(dst, envelopeMagic...)
	dst = append(dst, envelopeVersion)
	dst = binary.AppendUvarint(dst, uint64(len(pos)))
	dst = binary.AppendUvarint(dst, uint64(len(state)))
	dst = append(dst, pos...)
	dst = append(dst, state...)
	return binary.BigEndian.AppendUint32(dst, castagnoli(dst[start:]))
}

// decodeEnvelope returns slices of env.
func decodeEnvelope(env []byte) (pos Position, state []byte, err error) {
	head := len(envelopeMagic) + 1
	if len(env) < head+4 || string(env[:len(envelopeMagic)]) != envelopeMagic {
		return nil, nil, fmt.Errorf("checkpoint of %d bytes was not written by this library", len(env))
	}
	if v := env[len(envelopeMagic)]; v != envelopeVersion {
		return nil, nil, fmt.Errorf("checkpoint has version %d, this release reads %d: use the release that wrote it, or a newer one", v, envelopeVersion)
	}
	body, sum := env[:len(env)-4], binary.BigEndian.Uint32(env[len(env)-4:])
	if castagnoli(body) != sum {
		return nil, nil, errors.New("checkpoint is damaged: its checksum doesn't match")
	}
	rest := body[head:]
	np, k := binary.Uvarint(rest)
	if k <= 0 {
		return nil, nil, errors.New("checkpoint is damaged: no length of the position")
	}
	rest = rest[k:]
	ns, k := binary.Uvarint(rest)
	if k <= 0 {
		return nil, nil, errors.New("checkpoint is damaged: no length of the state")
	}
	rest = rest[k:]
	if np > uint64(len(rest)) || ns != uint64(len(rest))-np {
		return nil, nil, errors.New("checkpoint is damaged: the lengths don't add up")
	}
	return Position(rest[:np:np]), rest[np:], nil
}
