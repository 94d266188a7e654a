package row

import (
	"database/sql/driver"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"time"
	"unsafe"
)

func getValue(v reflect.Value) (Value, error) {
	x, _ := v.Interface().(Value)
	return x, nil
}

func getBool(v reflect.Value) (Value, error)    { return Bool(v.Bool()), nil }
func getInt(v reflect.Value) (Value, error)     { return Int(v.Int()), nil }
func getUint(v reflect.Value) (Value, error)    { return Uint(v.Uint()), nil }
func getFloat(v reflect.Value) (Value, error)   { return Float(v.Float()), nil }
func getFloat32(v reflect.Value) (Value, error) { return Float32(float32(v.Float())), nil }
func getString(v reflect.Value) (Value, error)  { return Text(v.String()), nil }
func getAny(v reflect.Value) (Value, error)     { return Of(v.Interface()) }

func getBytes(v reflect.Value) (Value, error) {
	if v.IsNil() {
		return Value{}, nil
	}
	return Bytes(view(v.Bytes())), nil
}

// view returns bytes as a string, without copying them.
func view(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) } //nolint:gosec // the caller's memory, for as long as it says

func getTime(v reflect.Value) (Value, error) {
	if t, ok := address(v).(*time.Time); ok {
		return Time(*t), nil
	}
	t, _ := v.Interface().(time.Time)
	return Time(t), nil
}

// address returns a pointer to v, where it can be had without copying; nil otherwise.
func address(v reflect.Value) any {
	if v.CanAddr() {
		return v.Addr().Interface()
	}
	return nil
}

func getRawJSON(v reflect.Value) (Value, error) {
	if v.IsNil() {
		return Value{}, nil
	}
	return JSON(view(v.Bytes())), nil
}

// asKind returns a getter that converts.
func asKind(k Kind, get getter) getter {
	return func(v reflect.Value) (Value, error) {
		x, err := get(v)
		if err != nil {
			return x, err
		}
		return x.Convert(k)
	}
}

func getUUID(v reflect.Value) (Value, error) {
	if v.CanAddr() {
		return RawUUID(view(v.Slice(0, 16).Bytes())), nil
	}
	var id [16]byte
	reflect.Copy(reflect.ValueOf(&id).Elem(), v)
	return UUID(id), nil
}

func getJSON(v reflect.Value) (Value, error) {
	if nilable(v.Type()) && v.IsNil() {
		return Value{}, nil
	}
	text, err := json.Marshal(v.Interface())
	if err != nil {
		return Value{}, err
	}
	return JSON(view(text)), nil
}

// as returns v, or a pointer to it, as an I.
func as[I any](v reflect.Value) (I, bool) {
	if x, ok := v.Interface().(I); ok {
		return x, true
	}
	if !v.CanAddr() {
		p := reflect.New(v.Type())
		p.Elem().Set(v)
		v = p.Elem()
	}
	x, ok := v.Addr().Interface().(I)
	return x, ok
}

func getValuer(v reflect.Value) (Value, error) {
	valuer, ok := as[driver.Valuer](v)
	if !ok {
		return Value{}, fmt.Errorf("a %v is no driver.Valuer", v.Type())
	}
	x, err := valuer.Value()
	if err != nil {
		return Value{}, err
	}
	return Of(x)
}

func getMarshaler(k Kind) getter {
	return func(v reflect.Value) (Value, error) {
		m, ok := as[encoding.TextMarshaler](v)
		if !ok {
			return Value{}, fmt.Errorf("a %v is no encoding.TextMarshaler", v.Type())
		}
		text, err := m.MarshalText()
		if err != nil {
			return Value{}, err
		}
		return Value{kind: k, str: view(text)}, nil
	}
}

// Of returns the value that a value of Go is, as a field of its type would be one (see [Shape]); nil is NULL. It may point into
// v.
func Of(v any) (Value, error) {
	switch x := v.(type) {
	case nil:
		return Value{}, nil
	case Value:
		return x, nil
	case string:
		return Text(x), nil
	case int64:
		return Int(x), nil
	case int:
		return Int(int64(x)), nil
	case float64:
		return Float(x), nil
	case bool:
		return Bool(x), nil
	case time.Time:
		return Time(x), nil
	case json.Number:
		return Text(string(x)).Convert(KindDecimal)
	case json.RawMessage:
		if x == nil {
			return Value{}, nil
		}
		return JSON(view(x)), nil
	case []byte:
		if x == nil {
			return Value{}, nil
		}
		return Bytes(view(x)), nil
	}
	of := reflect.ValueOf(v)
	g, err := goTypeOf(of.Type(), false)
	if err != nil {
		return Value{}, err
	}
	return g.get(of)
}

// Any returns the value as one of Go's: nil, bool, int64, uint64, float32, float64, string (Text; Decimal, Clock by their text),
// []byte, json.RawMessage, [16]byte, time.Time (Date and DateTime in UTC; their text where they are infinite), or []any.
func (v Value) Any() any {
	switch v.kind {
	case KindNull:
		return nil
	case KindBool:
		return v.num != 0
	case KindInt:
		return v.Int()
	case KindUint:
		return v.num
	case KindFloat:
		return v.Float()
	case KindFloat32:
		return float32(v.Float())
	case KindText, KindDecimal:
		return v.str
	case KindBytes:
		return []byte(v.str)
	case KindJSON:
		return json.RawMessage(v.str)
	case KindUUID:
		return [16]byte([]byte(v.str))
	case KindDate, KindDateTime, KindTime:
		if v.Infinity() != 0 {
			return v.String()
		}
		return v.instant()
	case KindArray:
		return v.list.items(v.list.whole(), v.list.Values)
	default:
		return v.String()
	}
}

// instant returns a Date, DateTime or Time that isn't infinite.
func (v Value) instant() time.Time {
	if v.kind == KindDate {
		return time.Unix(v.Days()*86400, 0).UTC()
	}
	return time.Unix(int64(v.num), int64(v.nsec)).UTC() //nolint:gosec // its bits
}

// items returns an array's values by dimension.
func (a *Array) items(dims []int, values []Value) []any {
	out := make([]any, 0, len(values))
	if len(dims) > 1 && dims[0] > 0 {
		part := len(values) / dims[0]
		for i := range dims[0] {
			out = append(out, a.items(dims[1:], values[i*part:(i+1)*part]))
		}
		return out
	}
	for _, v := range values {
		out = append(out, v.Any())
	}
	return out
}
