package tables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/bohica-labs/dataweaver/row"
)

// maxValues is how many values a list has at most: more columns no key has.
const maxValues = 1600

var errValues = errors.New("the stored values of a key are damaged")

// AppendValues appends values such that ParseValues returns the same ones: how many there are, and of each its kind and
// content. An array has no encoding: it is an error.
func AppendValues(dst []byte, values []row.Value) ([]byte, error) {
	dst = binary.AppendUvarint(dst, uint64(len(values)))
	for _, v := range values {
		dst = append(dst, byte(v.Kind()))
		switch v.Kind() {
		case row.KindNull:
		case row.KindBool:
			dst = append(dst, boolByte(v.Bool()))
		case row.KindInt:
			dst = binary.AppendVarint(dst, v.Int())
		case row.KindUint:
			dst = binary.AppendUvarint(dst, v.Uint())
		case row.KindFloat32, row.KindFloat:
			dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(v.Float()))
		case row.KindDate:
			dst = append(dst, byte(v.Infinity()+1))
			if v.Infinity() == 0 {
				dst = binary.AppendVarint(dst, v.Days())
			}
		case row.KindClock:
			dst = binary.AppendVarint(dst, int64(v.Clock()))
		case row.KindDateTime, row.KindTime:
			dst = append(dst, byte(v.Infinity()+1))
			if v.Infinity() == 0 {
				seconds, nanos := v.Unix()
				dst = binary.AppendVarint(dst, seconds)
				dst = binary.AppendUvarint(dst, uint64(nanos))
			}
		case row.KindDecimal, row.KindText, row.KindBytes, row.KindJSON, row.KindUUID:
			dst = binary.AppendUvarint(dst, uint64(len(v.Str())))
			dst = append(dst, v.Str()...)
		default:
			return dst, fmt.Errorf("a value of kind %v can't be part of a key", v.Kind())
		}
	}
	return dst, nil
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// ParseValues returns the values that stand at the beginning of p, and what comes behind them. They share no memory with p.
func ParseValues(p []byte) (values []row.Value, rest []byte, err error) {
	r := parser{rest: p}
	n := r.uvarint()
	if n > maxValues {
		return nil, nil, errValues
	}
	for range n {
		values = append(values, r.value())
		if r.damaged {
			return nil, nil, errValues
		}
	}
	if r.damaged {
		return nil, nil, errValues
	}
	return values, r.rest, nil
}

// parser reads what was appended. Once it is damaged all that it reads is zero.
type parser struct {
	rest    []byte
	damaged bool
}

func (r *parser) value() row.Value {
	switch k := row.Kind(r.byte()); k {
	case row.KindNull:
		return row.Value{}
	case row.KindBool:
		return row.Bool(r.byte() != 0)
	case row.KindInt:
		return row.Int(r.varint())
	case row.KindUint:
		return row.Uint(r.uvarint())
	case row.KindFloat:
		return row.Float(r.float())
	case row.KindFloat32:
		return row.Float32(float32(r.float()))
	case row.KindDate, row.KindDateTime, row.KindTime:
		return r.day(k)
	case row.KindClock:
		d := time.Duration(r.varint())
		if d < 0 || d > 24*time.Hour {
			r.damaged, d = true, 0
		}
		return row.Clock(d)
	case row.KindDecimal:
		return row.Decimal(r.text())
	case row.KindText:
		return row.Text(r.text())
	case row.KindBytes:
		return row.Bytes(r.text())
	case row.KindJSON:
		return row.JSON(r.text())
	case row.KindUUID:
		v := row.RawUUID(r.text())
		r.damaged = r.damaged || v.IsNull()
		return v
	default:
		r.damaged = true
		return row.Value{}
	}
}

// day reads a Date, a DateTime or a Time.
func (r *parser) day(k row.Kind) row.Value {
	switch r.byte() {
	case 0:
		return row.Infinite(k, true)
	case 1:
	case 2:
		return row.Infinite(k, false)
	default:
		r.damaged = true
	}
	n := r.varint()
	if k == row.KindDate {
		return row.Date(n)
	}
	nanos := r.uvarint()
	if nanos >= 1e9 {
		r.damaged = true
		nanos = 0
	}
	if k == row.KindDateTime {
		return row.DateTime(n, uint32(nanos))
	}
	return row.Instant(n, uint32(nanos))
}

func (r *parser) take(n uint64) []byte {
	if r.damaged || n > uint64(len(r.rest)) {
		r.damaged = true
		return nil
	}
	p := r.rest[:n]
	r.rest = r.rest[n:]
	return p
}

func (r *parser) byte() byte {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *parser) text() string { return string(r.take(r.uvarint())) }

func (r *parser) float() float64 {
	if p := r.take(8); p != nil {
		return math.Float64frombits(binary.BigEndian.Uint64(p))
	}
	return 0
}

func (r *parser) varint() int64 {
	n, size := binary.Varint(r.rest)
	if size <= 0 {
		r.damaged = true
		return 0
	}
	r.take(uint64(size))
	return n
}

func (r *parser) uvarint() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.damaged = true
		return 0
	}
	r.take(uint64(size))
	return n
}
