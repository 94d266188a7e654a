package tables

import (
	"errors"
	"fmt"

	"github.com/bohica-labs/dataweaver/row"
)

var errNoDeleteKey = errors.New("a Delete without a key: set the key's columns in its Value, or Record.Key as row.AppendKey makes it")

// DeleteKey appends the key of the row that a Delete is about: values, those that the record has for the key's columns, if any
// of them is neither NULL nor the zero of its kind, and otherwise what is in Record.Key. They are of these kinds.
func DeleteKey(dst, values []row.Value, key []byte, kinds []row.Kind) ([]row.Value, error) {
	whole := false
	for _, v := range values {
		whole = whole || !isZero(v)
	}
	if !whole {
		if len(key) == 0 {
			return dst, errNoDeleteKey
		}
		var err error
		if values, err = row.ParseKey(key, len(kinds)); err != nil {
			return dst, err
		}
	}
	if len(values) != len(kinds) {
		return dst, errNoDeleteKey
	}
	for i, v := range values {
		if v.IsNull() {
			return dst, fmt.Errorf("a Delete whose key has a NULL: %w", errNoDeleteKey)
		}
		v, err := v.Convert(kinds[i])
		if err != nil {
			return dst, err
		}
		dst = append(dst, v)
	}
	return dst, nil
}

// isZero reports whether a value is NULL, or what a field has that nobody has set.
func isZero(v row.Value) bool {
	switch v.Kind() {
	case row.KindNull:
		return true
	case row.KindBool:
		return !v.Bool()
	case row.KindInt:
		return v.Int() == 0
	case row.KindUint:
		return v.Uint() == 0
	case row.KindFloat, row.KindFloat32:
		return v.Float() == 0
	case row.KindDecimal:
		return v.Str() == "" || v.Str() == "0"
	case row.KindText, row.KindBytes, row.KindJSON:
		return v.Str() == ""
	case row.KindUUID:
		return v.Str() == string(make([]byte, 16))
	case row.KindTime:
		seconds, _ := v.Unix()
		return seconds == zeroTime
	default:
	}
	return false
}

// zeroTime is when a time.Time is that nobody has set.
const zeroTime = -62_135_596_800
