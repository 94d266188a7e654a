package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bohica-labs/dataweaver/row"
)

// target is a column that values are encoded for.
type target struct {
	*column
	index int // of the value in a row
	limit int // of characters, for varchar(n) and char(n); 0: none

	wire uint32 // the type of a record's field
	elem uint32 // of an array: the type that its elements are said to be
}

func newTarget(c *column, index int) target {
	t := target{column: c, index: index, elem: c.elemDeclared}
	if strings.HasPrefix(c.plain, "character") || c.plain == "bpchar" {
		t.limit = int(c.typmod) - 4 // VARHDRSZ
	}
	return t
}

// The server counts from 2000-01-01 (src/include/datatype/timestamp.h).
const (
	serverEpochDays    = 10957
	serverEpochSeconds = serverEpochDays * 86400
	maxSeconds         = math.MaxInt64/1_000_000 - 1
)

var (
	errNull    = errors.New("NULL, and the column is NOT NULL")
	errNUL     = errors.New("the text has a NUL, which PostgreSQL can't hold")
	errUTF8    = errors.New("the text is no UTF-8")
	errOutside = errors.New("PostgreSQL has no such day or time")
)

// append appends a value as a field: its length, -1 for NULL, and its bytes in binary format; of a type of formOther, its
// text. It allocates nothing for a value that is of the column's kind already.
func (t *target) append(dst []byte, v row.Value) ([]byte, error) {
	if v.IsNull() {
		if t.notNull {
			return dst, errNull
		}
		return append(dst, 0xff, 0xff, 0xff, 0xff), nil
	}
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	var err error
	if t.form == formArray {
		dst, err = t.appendArray(dst, v)
	} else {
		dst, err = t.appendScalar(dst, t.form, t.kind, v)
	}
	if err != nil {
		return dst[:at], err
	}
	return sized(dst, at)
}

// maxField is how many bytes a field has at most: 1 GiB, less what the server puts around it.
const maxField = 1<<30 - 1<<16

// sized writes how many bytes follow the four at a place.
func sized(dst []byte, at int) ([]byte, error) {
	n := len(dst) - at - 4
	if n > maxField {
		return dst[:at], fmt.Errorf("the value has %d bytes, and PostgreSQL takes less than 1 GiB", n)
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(n)) //nolint:gosec // below 1 GiB
	return dst, nil
}

// appendScalar appends the bytes of a value that is no array.
func (t *target) appendScalar(dst []byte, f form, kind row.Kind, v row.Value) ([]byte, error) {
	if f == formOther || kind == row.KindText && v.Kind() != row.KindText {
		at := len(dst)
		dst = v.AppendText(dst)
		return dst, t.checkText(dst[at:])
	}
	if f == formNumeric {
		return t.appendNumeric(dst, v)
	}
	if v.Kind() != kind {
		var err error
		if v, err = v.Convert(kind); err != nil {
			return dst, err
		}
	}
	switch f {
	case formBool:
		if v.Bool() {
			return append(dst, 1), nil
		}
		return append(dst, 0), nil
	case formInt2, formInt4, formInt8, formOID:
		return appendInt(dst, f, v.Int())
	case formFloat4:
		return binary.BigEndian.AppendUint32(dst, math.Float32bits(float32(v.Float()))), nil
	case formFloat8:
		return binary.BigEndian.AppendUint64(dst, math.Float64bits(v.Float())), nil
	case formText:
		dst = append(dst, v.Str()...)
		return dst, t.checkText(dst[len(dst)-len(v.Str()):])
	case formJSONB:
		dst = append(append(dst, 1), v.Str()...)
		return dst, t.checkText(dst[len(dst)-len(v.Str()):])
	case formBytea, formUUID:
		return append(dst, v.Str()...), nil
	case formDate:
		return appendDate(dst, v)
	case formTime:
		return binary.BigEndian.AppendUint64(dst, uint64(v.Clock()/time.Microsecond)), nil //nolint:gosec // its bits
	case formTimestamp, formTimestamptz:
		return appendTimestamp(dst, v)
	default:
	}
	return dst, fmt.Errorf("postgres: no encoding for %s", t.typ)
}

// checkText refuses what a text can't be.
func (t *target) checkText(text []byte) error {
	plain := true
	for _, c := range text {
		if c == 0 {
			return errNUL
		}
		if c >= utf8.RuneSelf {
			plain = false
		}
	}
	if !plain && !utf8.Valid(text) {
		return errUTF8
	}
	if t.limit <= 0 || len(text) <= t.limit {
		return nil
	}
	n := len(text)
	if !plain {
		n = utf8.RuneCount(text)
	}
	if n > t.limit {
		return fmt.Errorf("the text has %d characters, and the column is %s", n, t.typ)
	}
	return nil
}

func appendInt(dst []byte, f form, n int64) ([]byte, error) {
	switch f {
	case formInt2:
		if n == int64(int16(n)) {
			return binary.BigEndian.AppendUint16(dst, uint16(n)), nil //nolint:gosec // its bits
		}
		return dst, fmt.Errorf("%d is beyond a smallint", n)
	case formInt4:
		if n == int64(int32(n)) {
			return binary.BigEndian.AppendUint32(dst, uint32(n)), nil //nolint:gosec // its bits
		}
		return dst, fmt.Errorf("%d is beyond an integer", n)
	case formOID:
		if n == int64(uint32(n)) { //nolint:gosec // that is asked
			return binary.BigEndian.AppendUint32(dst, uint32(n)), nil //nolint:gosec // it fits
		}
		return dst, fmt.Errorf("%d is beyond an oid", n)
	default:
	}
	return binary.BigEndian.AppendUint64(dst, uint64(n)), nil //nolint:gosec // its bits
}

func appendDate(dst []byte, v row.Value) ([]byte, error) {
	days := v.Days() - serverEpochDays
	switch v.Infinity() {
	case 1:
		days = math.MaxInt32
	case -1:
		days = math.MinInt32
	default:
		if days >= math.MaxInt32 || days <= math.MinInt32 {
			return dst, errOutside
		}
	}
	return binary.BigEndian.AppendUint32(dst, uint32(days)), nil //nolint:gosec // it fits
}

// appendTimestamp appends microseconds: what is finer is cut off.
func appendTimestamp(dst []byte, v row.Value) ([]byte, error) {
	var micros int64
	switch v.Infinity() {
	case 1:
		micros = math.MaxInt64
	case -1:
		micros = math.MinInt64
	default:
		seconds, nanos := v.Unix()
		if seconds > maxSeconds || seconds < -maxSeconds+serverEpochSeconds {
			return dst, errOutside
		}
		micros = (seconds-serverEpochSeconds)*1_000_000 + int64(nanos/1000)
	}
	return binary.BigEndian.AppendUint64(dst, uint64(micros)), nil //nolint:gosec // its bits
}

// appendArray appends dimensions and elements (array_recv in src/backend/utils/adt/arrayfuncs.c).
func (t *target) appendArray(dst []byte, v row.Value) ([]byte, error) {
	v, err := v.ConvertArray(t.elemKind)
	if err != nil {
		return dst, err
	}
	a := v.Array()
	dims := a.Dims
	if len(dims) == 0 {
		dims = []int{len(a.Values)}
	}
	if len(a.Values) == 0 {
		dims = nil
	}
	const maxDims = 6 // MAXDIM of the server
	if len(dims) > maxDims {
		return dst, fmt.Errorf("the array has %d dimensions, and PostgreSQL has %d", len(dims), maxDims)
	}
	n := 1
	hasNull := byte(0)
	for i := range a.Values {
		if a.Values[i].IsNull() {
			hasNull = 1
		}
	}
	dst = append(dst, 0, 0, 0, byte(len(dims)), 0, 0, 0, hasNull) //nolint:gosec // at most 6
	dst = binary.BigEndian.AppendUint32(dst, t.elem)
	for _, d := range dims {
		if d <= 0 || d > math.MaxInt32 {
			return dst, fmt.Errorf("the array has a dimension of %d", d)
		}
		n *= d
		dst = binary.BigEndian.AppendUint32(dst, uint32(d)) //nolint:gosec // it fits
		dst = append(dst, 0, 0, 0, 1)                       // counted from 1
	}
	if len(dims) > 0 && n != len(a.Values) {
		return dst, fmt.Errorf("the array has %d elements and dimensions for %d", len(a.Values), n)
	}
	for i, e := range a.Values {
		if e.IsNull() {
			dst = append(dst, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		at := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		if dst, err = t.appendScalar(dst, t.elemForm, t.elemKind, e); err == nil {
			dst, err = sized(dst, at)
		}
		if err != nil {
			return dst, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return dst, nil
}
