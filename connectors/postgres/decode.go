package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
	"unsafe"

	"github.com/bohica-labs/dataweaver/row"
)

// The formats of a value on the wire.
const (
	formatText   int16 = 0
	formatBinary int16 = 1
)

// decoder turns values of one type as the server sends them into a row.Value, whose strings point into p or into the scratch.
type decoder func(s *scratch, p []byte) (row.Value, error)

// scratch is memory for the texts of a row's values that aren't on the wire as such. It has one owner.
type scratch struct{ text []byte }

// reset gives all of it back: what was decoded before is overwritten.
func (s *scratch) reset() { s.text = s.text[:0] }

// kept returns what was appended to the scratch, as a text. A scratch that has grown leaves the texts before where they are.
func (s *scratch) kept(text []byte) string {
	n := len(s.text)
	s.text = text
	return view(text[n:])
}

// decoderOf returns how values of a type are read, and in which format they are asked for.
func decoderOf(t columnType) (decoder, int16) {
	switch t.form {
	case formOther:
		return decodeText, formatText
	case formArray:
		elem := scalarDecoder(t.elemForm, t.elemKind)
		return func(s *scratch, p []byte) (row.Value, error) {
			return decodeArray(s, p, t.elemKind, elem)
		}, formatBinary
	default:
		return scalarDecoder(t.form, t.kind), formatBinary
	}
}

// scalarDecoder returns how values of a form are read. The forms are those of the types' send functions
// (src/backend/utils/adt in PostgreSQL's source).
func scalarDecoder(f form, kind row.Kind) decoder {
	switch f {
	case formBool:
		return decodeBool
	case formInt2:
		return decodeInt2
	case formInt4:
		return decodeInt4
	case formInt8:
		return decodeInt8
	case formOID:
		return decodeOID
	case formFloat4:
		return decodeFloat4
	case formFloat8:
		return decodeFloat8
	case formNumeric:
		return decodeNumeric
	case formBytea:
		return decodeBytea
	case formJSONB:
		return decodeJSONB
	case formUUID:
		return decodeUUID
	case formDate:
		return decodeDate
	case formTime:
		return decodeClock
	case formTimestamp:
		return decodeTimestamp
	case formTimestamptz:
		return decodeTimestamptz
	default:
		if kind == row.KindJSON {
			return decodeJSON
		}
		return decodeText
	}
}

// view returns the bytes as a string that changes when they do.
func view(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) }

// PostgreSQL counts from 2000-01-01.
const (
	epochSeconds = 946684800
	epochDays    = 10957
	microsecond  = 1_000_000
)

// sizeError says that a value hasn't the size of its type.
func sizeError(p []byte, want int) error {
	return fmt.Errorf("postgres: a value of %d bytes where the type has %d", len(p), want)
}

func decodeBool(_ *scratch, p []byte) (row.Value, error) {
	if len(p) != 1 {
		return row.Value{}, sizeError(p, 1)
	}
	return row.Bool(p[0] != 0), nil
}

func decodeInt2(_ *scratch, p []byte) (row.Value, error) {
	if len(p) != 2 {
		return row.Value{}, sizeError(p, 2)
	}
	return row.Int(int64(int16(binary.BigEndian.Uint16(p)))), nil //nolint:gosec // its bits
}

func decodeInt4(_ *scratch, p []byte) (row.Value, error) {
	if len(p) != 4 {
		return row.Value{}, sizeError(p, 4)
	}
	return row.Int(int64(int32(binary.BigEndian.Uint32(p)))), nil //nolint:gosec // its bits
}

func decodeInt8(_ *scratch, p []byte) (row.Value, error) {
	if len(p) != 8 {
		return row.Value{}, sizeError(p, 8)
	}
	return row.Int(int64(binary.BigEndian.Uint64(p))), nil //nolint:gosec // its bits
}

func decodeOID(_ *scratch, p []byte) (row.Value, error) {
	if len(p) != 4 {
		return row.Value{}, sizeError(p, 4)
	}
	return row.Int(int64(binary.BigEndian.Uint32(p))), nil
}

func decodeFloat4(_ *scratch, p []byte) (row.Value, error) {
	if len(p) != 4 {
		return row.Value{}, sizeError(p, 4)
	}
	return row.Float32(math.Float32frombits(binary.BigEndian.Uint32(p))), nil
}

func decodeFloat8(_ *scratch, p []byte) (row.Value, error) {
	if len(p) != 8 {
		return row.Value{}, sizeError(p, 8)
	}
	return row.Float(math.Float64frombits(binary.BigEndian.Uint64(p))), nil
}

func decodeText(_ *scratch, p []byte) (row.Value, error)  { return row.Text(view(p)), nil }
func decodeBytea(_ *scratch, p []byte) (row.Value, error) { return row.Bytes(view(p)), nil }
func decodeJSON(_ *scratch, p []byte) (row.Value, error)  { return row.JSON(view(p)), nil }

func decodeJSONB(_ *scratch, p []byte) (row.Value, error) {
	if len(p) == 0 || p[0] != 1 {
		return row.Value{}, errors.New("postgres: a jsonb of an unknown version")
	}
	return row.JSON(view(p[1:])), nil
}

func decodeUUID(_ *scratch, p []byte) (row.Value, error) {
	if len(p) != 16 {
		return row.Value{}, sizeError(p, 16)
	}
	return row.RawUUID(view(p)), nil
}

func decodeDate(_ *scratch, p []byte) (row.Value, error) {
	if len(p) != 4 {
		return row.Value{}, sizeError(p, 4)
	}
	switch days := int32(binary.BigEndian.Uint32(p)); days { //nolint:gosec // its bits
	case math.MaxInt32:
		return row.Infinite(row.KindDate, false), nil
	case math.MinInt32:
		return row.Infinite(row.KindDate, true), nil
	default:
		return row.Date(int64(days) + epochDays), nil
	}
}

func decodeClock(_ *scratch, p []byte) (row.Value, error) {
	if len(p) != 8 {
		return row.Value{}, sizeError(p, 8)
	}
	return row.Clock(time.Duration(binary.BigEndian.Uint64(p)) * time.Microsecond), nil //nolint:gosec // below a day
}

func decodeTimestamp(_ *scratch, p []byte) (row.Value, error) {
	if len(p) != 8 {
		return row.Value{}, sizeError(p, 8)
	}
	micros := int64(binary.BigEndian.Uint64(p)) //nolint:gosec // its bits
	if micros == math.MaxInt64 || micros == math.MinInt64 {
		return row.Infinite(row.KindDateTime, micros < 0), nil
	}
	seconds, nanos := unixOf(micros)
	return row.DateTime(seconds, nanos), nil
}

func decodeTimestamptz(_ *scratch, p []byte) (row.Value, error) {
	if len(p) != 8 {
		return row.Value{}, sizeError(p, 8)
	}
	micros := int64(binary.BigEndian.Uint64(p)) //nolint:gosec // its bits
	if micros == math.MaxInt64 || micros == math.MinInt64 {
		return row.Infinite(row.KindTime, micros < 0), nil
	}
	seconds, nanos := unixOf(micros)
	return row.Instant(seconds, nanos), nil
}

// unixOf converts microseconds since 2000 to seconds and nanoseconds since 1970.
func unixOf(micros int64) (seconds int64, nanos uint32) {
	seconds, rest := micros/microsecond, micros%microsecond
	if rest < 0 {
		seconds--
		rest += microsecond
	}
	return seconds + epochSeconds, uint32(rest) * 1000 //nolint:gosec // below 1e6
}

// microsOf is the reverse of unixOf. It reports false for what is no time of PostgreSQL's.
func microsOf(seconds int64, nanos uint32) (int64, bool) {
	const most = math.MaxInt64/microsecond - 1
	seconds -= epochSeconds
	if seconds > most || seconds < -most || nanos%1000 != 0 {
		return 0, false
	}
	return seconds*microsecond + int64(nanos/1000), true
}
