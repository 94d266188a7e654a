package row

import (
	"math"
	"reflect"
	"strings"
	"time"
	"unsafe"
)

// direct is how a field of a plain type is read and written by its address, which takes a third of the time that reflection does.
// What doesn't fit at once (another kind, a number out of range) is left to reflection.
type direct uint8

const (
	notDirect direct = iota
	directInt64
	directInt32
	directUint32
	directFloat
	directFloat32
	directBool
	directString
	directTime
)

// directOf returns how a field of a struct is reached, and where it is.
func directOf(t reflect.Type, f *field) (direct, uintptr) {
	offset := uintptr(0)
	for _, i := range f.index {
		if t.Kind() != reflect.Struct {
			return notDirect, 0 // behind a pointer
		}
		sf := t.Field(i)
		offset, t = offset+sf.Offset, sf.Type
	}
	if t == timeType && f.column.Kind == KindTime {
		return directTime, offset
	}
	if implements(t, valuerType) || implements(t, marshalType) || f.column.Kind == KindJSON {
		return notDirect, 0
	}
	switch t.Kind() {
	case reflect.Int64:
		return directInt64, offset
	case reflect.Int:
		if t.Size() == 8 {
			return directInt64, offset
		}
		return directInt32, offset
	case reflect.Int32:
		return directInt32, offset
	case reflect.Uint32:
		return directUint32, offset
	case reflect.Float64:
		return directFloat, offset
	case reflect.Float32:
		return directFloat32, offset
	case reflect.Bool:
		return directBool, offset
	case reflect.String:
		return directString, offset
	default:
		return notDirect, 0
	}
}

// value returns the value of a field of the struct at base.
func (d direct) value(base unsafe.Pointer, offset uintptr) Value {
	p := unsafe.Add(base, offset)
	switch d {
	case directInt64:
		return Int(*(*int64)(p))
	case directInt32:
		return Int(int64(*(*int32)(p)))
	case directUint32:
		return Uint(uint64(*(*uint32)(p)))
	case directFloat:
		return Float(*(*float64)(p))
	case directFloat32:
		return Float32(*(*float32)(p))
	case directBool:
		return Bool(*(*bool)(p))
	case directString:
		return Text(*(*string)(p))
	case directTime:
		return Time(*(*time.Time)(p))
	default:
		return Value{}
	}
}

// set sets a field of the struct at base. It reports false if the value doesn't fit at once. Text is taken from words, which has
// room for it if it is short.
func (d direct) set(base unsafe.Pointer, offset uintptr, v *Value, words *strings.Builder) bool {
	p := unsafe.Add(base, offset)
	switch d {
	case directInt64:
		if v.kind != KindInt {
			return false
		}
		*(*int64)(p) = int64(v.num) //nolint:gosec // its bits
	case directInt32:
		n := int64(v.num) //nolint:gosec // its bits
		if v.kind != KindInt || n < math.MinInt32 || n > math.MaxInt32 {
			return false
		}
		*(*int32)(p) = int32(n)
	case directUint32:
		if v.kind != KindInt && v.kind != KindUint || v.num > math.MaxUint32 {
			return false
		}
		*(*uint32)(p) = uint32(v.num)
	case directFloat:
		if v.kind != KindFloat {
			return false
		}
		*(*float64)(p) = math.Float64frombits(v.num)
	case directFloat32:
		if v.kind != KindFloat32 {
			return false
		}
		*(*float32)(p) = math.Float32frombits(uint32(v.num)) //nolint:gosec // its bits
	case directBool:
		if v.kind != KindBool {
			return false
		}
		*(*bool)(p) = v.num != 0
	case directString:
		if v.kind != KindText {
			return false
		}
		*(*string)(p) = word(v.str, words)
	case directTime:
		if v.kind != KindTime || v.Infinity() != 0 {
			return false
		}
		*(*time.Time)(p) = v.instant()
	default:
		return false
	}
	return true
}

// shortText is how long a text may be to share memory with the others of its record: whoever keeps one of them keeps little else.
const shortText = 64

// word returns a copy of a text, in words if it is short.
func word(s string, words *strings.Builder) string {
	if len(s) > shortText {
		return strings.Clone(s)
	}
	at := words.Len()
	words.WriteString(s)
	return words.String()[at:]
}
