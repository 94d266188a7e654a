package row

import (
	"database/sql"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
)

var errNull = errors.New("it is NULL, which the field can't be: make the field a pointer")

// want converts a value for a field that can't be NULL.
func want(x Value, k Kind) (Value, error) {
	if x.kind == k {
		return x, nil
	}
	if x.IsNull() {
		return x, errNull
	}
	return x.Convert(k)
}

func setValue(v reflect.Value, x Value) error {
	x.str = strings.Clone(x.str)
	if x.list != nil {
		x.list = x.list.clone()
	}
	v.Set(reflect.ValueOf(x))
	return nil
}

func setBool(v reflect.Value, x Value) error {
	x, err := want(x, KindBool)
	if err != nil {
		return err
	}
	v.SetBool(x.Bool())
	return nil
}

func setInt(v reflect.Value, x Value) error {
	x, err := want(x, KindInt)
	if err != nil {
		return err
	}
	if v.OverflowInt(x.Int()) {
		return fmt.Errorf("%d is too large for a %v", x.Int(), v.Type())
	}
	v.SetInt(x.Int())
	return nil
}

func setUint(v reflect.Value, x Value) error {
	if x.kind == KindInt && int64(x.num) >= 0 { //nolint:gosec // its bits
		x.kind = KindUint
	}
	x, err := want(x, KindUint)
	if err != nil {
		return err
	}
	if v.OverflowUint(x.Uint()) {
		return fmt.Errorf("%d is too large for a %v", x.Uint(), v.Type())
	}
	v.SetUint(x.Uint())
	return nil
}

func setFloat(v reflect.Value, x Value) error {
	k := KindFloat
	if v.Kind() == reflect.Float32 {
		k = KindFloat32
	}
	if x.kind != KindFloat32 || k != KindFloat { // a float32 is a float64
		var err error
		if x, err = want(x, k); err != nil {
			return err
		}
	}
	f := x.Float()
	if math.IsNaN(f) {
		f = math.NaN()
	}
	v.SetFloat(f)
	return nil
}

func setString(v reflect.Value, x Value) error {
	x, err := want(x, KindText)
	if err != nil {
		return err
	}
	v.SetString(strings.Clone(x.str))
	return nil
}

func setAny(v reflect.Value, x Value) error {
	if x.IsNull() {
		v.SetZero()
		return nil
	}
	x.str = strings.Clone(x.str)
	if x.list != nil {
		x.list = x.list.clone()
	}
	v.Set(reflect.ValueOf(x.Any()))
	return nil
}

func setBytes(v reflect.Value, x Value) error {
	if x.IsNull() {
		v.SetZero()
		return nil
	}
	x, err := want(x, KindBytes)
	if err != nil {
		return err
	}
	v.SetBytes([]byte(x.str))
	return nil
}

func setTime(v reflect.Value, x Value) error {
	x, err := want(x, KindTime)
	if err != nil {
		return err
	}
	if x.Infinity() != 0 {
		return errors.New("it is infinite, which a time.Time can't be: make the field a row.Value")
	}
	if t, ok := address(v).(*time.Time); ok {
		*t = x.instant()
		return nil
	}
	v.Set(reflect.ValueOf(x.instant()))
	return nil
}

func setRawJSON(v reflect.Value, x Value) error {
	if x.IsNull() {
		v.SetZero()
		return nil
	}
	x, err := want(x, KindJSON)
	if err != nil {
		return err
	}
	v.SetBytes([]byte(x.str))
	return nil
}

func setUUID(v reflect.Value, x Value) error {
	x, err := want(x, KindUUID)
	if err != nil {
		return err
	}
	for i := range 16 {
		v.Index(i).SetUint(uint64(x.str[i]))
	}
	return nil
}

func setJSON(v reflect.Value, x Value) error {
	v.SetZero()
	if x.IsNull() {
		if nilable(v.Type()) {
			return nil
		}
		return errNull
	}
	x, err := want(x, KindJSON)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(x.str), v.Addr().Interface())
}

func setScanner(v reflect.Value, x Value) error {
	v.SetZero()
	s, ok := v.Addr().Interface().(sql.Scanner)
	if !ok {
		return fmt.Errorf("a %v is no sql.Scanner", v.Type())
	}
	x.str = strings.Clone(x.str)
	src := x.Any()
	switch of := src.(type) { // what drivers give
	case uint64:
		if of <= math.MaxInt64 {
			src = int64(of)
		} else {
			src = x.String()
		}
	case float32:
		src = float64(of)
	case json.RawMessage:
		src = []byte(of)
	case [16]byte, []any:
		src = x.String()
	}
	return s.Scan(src)
}

func setUnmarshaler(v reflect.Value, x Value) error {
	if x.IsNull() {
		return errNull
	}
	v.SetZero()
	u, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	if !ok {
		return fmt.Errorf("a %v is no encoding.TextUnmarshaler", v.Type())
	}
	return u.UnmarshalText(x.AppendText(nil))
}
