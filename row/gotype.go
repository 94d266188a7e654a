package row

import (
	"database/sql"
	"database/sql/driver"
	"encoding"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"time"
)

type (
	getter func(reflect.Value) (Value, error)
	setter func(reflect.Value, Value) error
)

// goType says how values of a type of Go are values of rows.
type goType struct {
	kind     Kind // KindNull: any
	elem     Kind
	nullable bool
	get      getter
	set      setter
}

var (
	valueType     = reflect.TypeFor[Value]()
	timeType      = reflect.TypeFor[time.Time]()
	rawJSONType   = reflect.TypeFor[json.RawMessage]()
	bigIntType    = reflect.TypeFor[big.Int]()
	valuerType    = reflect.TypeFor[driver.Valuer]()
	scannerType   = reflect.TypeFor[sql.Scanner]()
	marshalType   = reflect.TypeFor[encoding.TextMarshaler]()
	unmarshalType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// isScalar reports whether a struct is one value of a column, and not several.
func isScalar(t reflect.Type) bool {
	return t == timeType || t == valueType || t == bigIntType ||
		implements(t, valuerType) || reflect.PointerTo(t).Implements(scannerType) || implements(t, marshalType)
}

// implements reports whether a t or a *t is an i.
func implements(t, i reflect.Type) bool {
	return t.Implements(i) || reflect.PointerTo(t).Implements(i)
}

// goTypeOf returns how a type's values are values of rows.
func goTypeOf(t reflect.Type, asJSON bool) (goType, error) {
	switch {
	case t == valueType:
		return goType{nullable: true, get: getValue, set: setValue}, nil
	case asJSON:
		return goType{kind: KindJSON, nullable: nilable(t), get: getJSON, set: setJSON}, nil
	case t == timeType:
		return goType{kind: KindTime, get: getTime, set: setTime}, nil
	case t == rawJSONType:
		return goType{kind: KindJSON, nullable: true, get: getRawJSON, set: setRawJSON}, nil
	case t == bigIntType:
		return goType{kind: KindDecimal, get: getMarshaler(KindDecimal), set: setUnmarshaler}, nil
	case t.Kind() == reflect.Array && t.Len() == 16 && t.Elem().Kind() == reflect.Uint8:
		return goType{kind: KindUUID, get: getUUID, set: setUUID}, nil
	case t.Kind() == reflect.Pointer:
		return pointerTo(t)
	case implements(t, valuerType) && reflect.PointerTo(t).Implements(scannerType):
		return goType{nullable: true, get: getValuer, set: setScanner}, nil
	case implements(t, marshalType) && reflect.PointerTo(t).Implements(unmarshalType):
		return goType{kind: KindText, get: getMarshaler(KindText), set: setUnmarshaler}, nil
	}
	return basic(t)
}

// nilable reports whether a type's values may be nil, which is NULL.
func nilable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return true
	default:
		return false
	}
}

// pointerTo returns how a pointer is NULL or what it points to.
func pointerTo(t reflect.Type) (goType, error) {
	inner, err := goTypeOf(t.Elem(), false)
	if err != nil {
		return goType{}, err
	}
	elem := t.Elem()
	return goType{
		kind: inner.kind, elem: inner.elem, nullable: true,
		get: func(v reflect.Value) (Value, error) {
			if v.IsNil() {
				return Value{}, nil
			}
			return inner.get(v.Elem())
		},
		set: func(v reflect.Value, x Value) error {
			if x.IsNull() {
				v.SetZero()
				return nil
			}
			p := reflect.New(elem) // never what another record may point to
			if err := inner.set(p.Elem(), x); err != nil {
				return err
			}
			v.Set(p)
			return nil
		},
	}, nil
}

// basic is goTypeOf by what a type is made of.
func basic(t reflect.Type) (goType, error) {
	switch t.Kind() {
	case reflect.Bool:
		return goType{kind: KindBool, get: getBool, set: setBool}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return goType{kind: KindInt, get: getInt, set: setInt}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return goType{kind: KindUint, get: getUint, set: setUint}, nil
	case reflect.Float32:
		return goType{kind: KindFloat32, get: getFloat32, set: setFloat}, nil
	case reflect.Float64:
		return goType{kind: KindFloat, get: getFloat, set: setFloat}, nil
	case reflect.String:
		return goType{kind: KindText, get: getString, set: setString}, nil
	case reflect.Interface:
		if t.NumMethod() == 0 {
			return goType{nullable: true, get: getAny, set: setAny}, nil
		}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return goType{kind: KindBytes, nullable: true, get: getBytes, set: setBytes}, nil
		}
		inner, err := goTypeOf(t.Elem(), false)
		if err != nil {
			return goType{}, err
		}
		if inner.kind == KindJSON || inner.kind == KindNull {
			break
		}
		return sliceOf(t, inner), nil
	case reflect.Struct, reflect.Map, reflect.Array:
	default:
		return goType{}, fmt.Errorf("a %v can't be a column", t)
	}
	if t.Kind() == reflect.Interface {
		return goType{}, fmt.Errorf("a %v can't be a column", t)
	}
	return goType{kind: KindJSON, nullable: nilable(t), get: getJSON, set: setJSON}, nil
}
