package row

import (
	"math"
	"time"
)

// Value is one value of a row: a NULL (the zero Value), or one of a [Kind]. It is small and copied freely. Values are not
// compared with ==: see [Value.Equal].
//
// What a getter returns for a value of another kind is zero.
type Value struct {
	kind Kind
	nsec uint32 // of Clock, DateTime, Time
	num  uint64 // Bool, Int, Uint, floats' bits; days of Date; seconds of Clock, DateTime, Time
	str  string // Decimal, Text, Bytes, JSON, UUID
	list *Array
}

// Array is the value of an array column. Arrays of several dimensions are stored row by row, as in SQL all of one
// dimension are equally long.
type Array struct {
	Elem   Kind    // of all values but NULL
	Dims   []int   // the length of each dimension; nil: one, of len(Values)
	Values []Value // of kind Elem, or NULL
}

const infinity = math.MaxInt64 // the seconds or days of +Inf

// Bool returns a boolean.
func Bool(b bool) Value {
	if b {
		return Value{kind: KindBool, num: 1}
	}
	return Value{kind: KindBool}
}

// Int returns a signed integer.
func Int(n int64) Value { return Value{kind: KindInt, num: uint64(n)} } //nolint:gosec // its bits

// Uint returns an unsigned integer. Where it fits an Int, the two are equal.
func Uint(n uint64) Value { return Value{kind: KindUint, num: n} }

// Float returns a floating-point number.
func Float(f float64) Value { return Value{kind: KindFloat, num: math.Float64bits(f)} }

// Float32 returns a floating-point number of 32 bits.
func Float32(f float32) Value { return Value{kind: KindFloat32, num: uint64(math.Float32bits(f))} }

// Text returns a text. Databases want UTF-8 without NUL.
func Text(s string) Value { return Value{kind: KindText, str: s} }

// Bytes returns bytes, which are held as a string.
func Bytes(s string) Value { return Value{kind: KindBytes, str: s} }

// JSON returns a JSON value by its text, which is not looked at.
func JSON(text string) Value { return Value{kind: KindJSON, str: text} }

// Decimal returns an exact number by its text, which is not looked at: digits with at most one point, a sign or none, an
// exponent or none; or NaN, Infinity, -Infinity. Text converted to KindDecimal is looked at.
func Decimal(text string) Value { return Value{kind: KindDecimal, str: text} }

// UUID returns a UUID.
func UUID(id [16]byte) Value { return Value{kind: KindUUID, str: string(id[:])} }

// RawUUID returns the UUID of 16 bytes, without copying them; anything else is NULL.
func RawUUID(id string) Value {
	if len(id) != 16 {
		return Value{}
	}
	return Value{kind: KindUUID, str: id}
}

// Date returns the day that is so many days after 1970-01-01 in the proleptic Gregorian calendar.
func Date(days int64) Value { return Value{kind: KindDate, num: uint64(days)} } //nolint:gosec // its bits

// Clock returns a time of day, from 0 to 24 hours.
func Clock(sinceMidnight time.Duration) Value {
	return Value{kind: KindClock, num: uint64(sinceMidnight / time.Second), nsec: uint32(sinceMidnight % time.Second)} //nolint:gosec // its bits
}

// DateTime returns a day and a time of day by the seconds and nanoseconds that an instant of that date and time in UTC has
// since 1970-01-01. nanos is less than 1e9.
func DateTime(seconds int64, nanos uint32) Value {
	return Value{kind: KindDateTime, num: uint64(seconds), nsec: nanos} //nolint:gosec // its bits
}

// Instant returns a point in time by the seconds and nanoseconds since 1970-01-01 UTC. nanos is less than 1e9.
func Instant(seconds int64, nanos uint32) Value {
	return Value{kind: KindTime, num: uint64(seconds), nsec: nanos} //nolint:gosec // its bits
}

// Time returns a point in time. Its location isn't kept.
func Time(t time.Time) Value { return Instant(t.Unix(), uint32(t.Nanosecond())) } //nolint:gosec // below 1e9

// Infinite returns a Date, DateTime or Time that is later than all others; or, if early, earlier. Any other kind is NULL.
func Infinite(k Kind, early bool) Value {
	switch {
	case !k.isDay():
		return Value{}
	case early:
		return Value{kind: k, num: 1 << 63}
	}
	return Value{kind: k, num: infinity}
}

// List returns an array, which it keeps.
func List(a *Array) Value {
	if a == nil {
		return Value{}
	}
	return Value{kind: KindArray, list: a}
}

// Kind returns what the value is.
func (v Value) Kind() Kind { return v.kind }

// IsNull reports whether it is NULL.
func (v Value) IsNull() bool { return v.kind == KindNull }

// Bool returns a Bool's value.
func (v Value) Bool() bool { return v.kind == KindBool && v.num != 0 }

// Int returns an Int's value.
func (v Value) Int() int64 {
	if v.kind != KindInt {
		return 0
	}
	return int64(v.num) //nolint:gosec // its bits
}

// Uint returns a Uint's value.
func (v Value) Uint() uint64 {
	if v.kind != KindUint {
		return 0
	}
	return v.num
}

// Float returns the value of a Float or a Float32.
func (v Value) Float() float64 {
	if v.kind == KindFloat {
		return math.Float64frombits(v.num)
	}
	if v.kind == KindFloat32 {
		return float64(math.Float32frombits(uint32(v.num))) //nolint:gosec // its bits
	}
	return 0
}

// Str returns the text of a Text, a Decimal or a JSON, the bytes of Bytes and the 16 bytes of a UUID.
func (v Value) Str() string { return v.str }

// Days returns a Date's days since 1970-01-01.
func (v Value) Days() int64 {
	if v.kind != KindDate {
		return 0
	}
	return int64(v.num) //nolint:gosec // its bits
}

// Clock returns a Clock's time since midnight.
func (v Value) Clock() time.Duration {
	if v.kind != KindClock {
		return 0
	}
	return time.Duration(v.num)*time.Second + time.Duration(v.nsec) //nolint:gosec // below a day
}

// Unix returns the seconds and nanoseconds of a DateTime or a Time, see [DateTime] and [Instant].
func (v Value) Unix() (seconds int64, nanos uint32) {
	if v.kind == KindDateTime || v.kind == KindTime {
		return int64(v.num), v.nsec //nolint:gosec // its bits
	}
	return 0, 0
}

// Infinity returns 1 for a Date, DateTime or Time that is later than all others, -1 for one that is earlier, and 0
// otherwise.
func (v Value) Infinity() int {
	switch {
	case !v.kind.isDay():
		return 0
	case v.num == infinity:
		return 1
	case v.num == 1<<63:
		return -1
	}
	return 0
}

// Array returns an array, which is not to be changed; nil for any other kind.
func (v Value) Array() *Array { return v.list }
