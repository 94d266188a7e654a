package row

// Kind is what a Value is, or what the values of a column are.
type Kind uint8

// The kinds. What none of them is (an interval, an inet, an enum) is its text.
const (
	KindNull     Kind = iota // of a value: NULL; of a column: not known
	KindBool                 //
	KindInt                  // 64 bits
	KindUint                 // 64 bits, what an Int can't hold as well
	KindFloat32              // IEEE 754, 32 bits
	KindFloat                // IEEE 754, 64 bits
	KindDecimal              // an exact decimal number of any length, NaN or an infinity, as text
	KindText                 //
	KindBytes                //
	KindJSON                 // its text
	KindUUID                 // 16 bytes
	KindDate                 // a day without a zone
	KindClock                // a time of day without a zone
	KindDateTime             // a day and a time of day without a zone
	KindTime                 // an instant
	KindArray                // of values of one kind, or NULL
	kinds
)

var kindNames = [kinds]string{"null", "bool", "int", "uint", "float32", "float", "decimal", "text", "bytes", "json", "uuid", "date", "clock", "datetime", "time", "array"}

// String returns the kind's name in lower case.
func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return "unknown kind"
}

// ConvertibleTo reports whether a value of the kind can be one of another, for some values at least. See [Value.Convert].
func (k Kind) ConvertibleTo(to Kind) bool {
	switch {
	case k == to, k == KindNull, to == KindNull, k == KindText, to == KindText:
		return true
	case k == KindBool:
		return to == KindInt || to == KindUint || to == KindJSON
	case k.isNumber():
		return to.isNumber() || to == KindJSON || to == KindBool && (k == KindInt || k == KindUint)
	case k.isDay():
		return to.isDay()
	}
	return k == KindBytes && to == KindUUID || k == KindUUID && to == KindBytes || k == KindArray && to == KindJSON || k == KindJSON && to == KindArray
}

func (k Kind) isNumber() bool {
	switch k {
	case KindInt, KindUint, KindFloat32, KindFloat, KindDecimal:
		return true
	default:
		return false
	}
}

// isDay reports whether a value says which day it is.
func (k Kind) isDay() bool { return k == KindDate || k == KindDateTime || k == KindTime }
