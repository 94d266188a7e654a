package tables

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/bohica-labs/dataweaver/row"
)

// Range is the part of a table whose keys are greater than After and not greater than Last, in the order of the database.
// No values: there is no such bound.
type Range struct {
	After, Last []row.Value
}

// Equal reports whether both are the same range.
func (r Range) Equal(other Range) bool {
	a, err := r.append(nil)
	b, otherErr := other.append(nil)
	return err == nil && otherErr == nil && string(a) == string(b)
}

func (r Range) append(dst []byte) ([]byte, error) {
	dst, err := AppendValues(dst, r.After)
	if err != nil {
		return dst, err
	}
	return AppendValues(dst, r.Last)
}

// Position is how far a table has been read, in the order of some columns.
type Position struct {
	Seq       int64       // how many records came before
	Following bool        // the table's rows are read in the order of the cursor; otherwise in that of the key
	At        []row.Value // of the last record, in the order of reading; none: before the first
	Range     Range       // what is read
	Horizon   []row.Value // while copying: what the cursor must not be beyond; none: nothing
}

// What a position begins with, and its flags.
const (
	positionVersion   = 1
	positionFollowing = 1 << 0
)

// ErrPosition says that a position wasn't made by a reader of tables.
var ErrPosition = errors.New("the checkpoint's position is none of this source's")

// Append appends the position, for ParsePosition.
func (p *Position) Append(dst []byte) ([]byte, error) {
	var flags byte
	if p.Following {
		flags |= positionFollowing
	}
	dst = append(dst, positionVersion, flags)
	dst = binary.AppendUvarint(dst, uint64(p.Seq)) //nolint:gosec // a count
	dst, err := AppendValues(dst, p.At)
	if err != nil {
		return dst, err
	}
	if dst, err = p.Range.append(dst); err != nil {
		return dst, err
	}
	return AppendValues(dst, p.Horizon)
}

// ParsePosition is the reverse of Append.
func ParsePosition(data []byte) (Position, error) {
	if len(data) < 2 {
		return Position{}, ErrPosition
	}
	if data[0] != positionVersion {
		return Position{}, fmt.Errorf("%w: it is of version %d, and this release knows %d", ErrPosition, data[0], positionVersion)
	}
	p := Position{Following: data[1]&positionFollowing != 0}
	if data[1]&^positionFollowing != 0 {
		return Position{}, ErrPosition
	}
	r := parser{rest: data[2:]}
	p.Seq = int64(r.uvarint()) //nolint:gosec // a count
	if r.damaged || p.Seq < 0 {
		return Position{}, ErrPosition
	}
	rest := r.rest
	for _, list := range []*[]row.Value{&p.At, &p.Range.After, &p.Range.Last, &p.Horizon} {
		var err error
		if *list, rest, err = ParseValues(rest); err != nil {
			return Position{}, fmt.Errorf("%w: %w", ErrPosition, err)
		}
	}
	if len(rest) > 0 {
		return Position{}, ErrPosition
	}
	return p, nil
}
