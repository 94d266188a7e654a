package file

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bohica-labs/dataweaver/row"
)

// field is a way from a record's value to something that is in it.
type field struct {
	path  string
	steps []step
	row   bool // the path is the name of a column of a row.Row
}

// step leads from a value to one in it.
type step struct {
	index []int         // of a struct
	key   string        // of a map
	value reflect.Value // the key as the map's type has it
	at    int           // of a row, plus one
}

// newField resolves a path of names with dots between them. Past a value of any type it can't be known before there are records.
func newField[T any](path string, k kind, columns []string) (*field, error) {
	t := reflect.TypeFor[T]()
	f := &field{path: path}
	if t == reflect.TypeFor[[]string]() {
		i := slices.Index(columns, path)
		if i < 0 {
			return nil, unknownName("column", path, columns)
		}
		f.steps = []step{{at: i + 1}}
		return f, nil
	}
	if f.row = t == reflect.TypeFor[row.Row](); f.row && path != "" {
		return f, nil // which columns there are, each row says
	}
	for rest := path; rest != ""; {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		var name string
		name, rest, _ = strings.Cut(rest, ".")
		switch {
		case name == "":
			return nil, errors.New("a name between the dots is missing")
		case t.Kind() == reflect.Interface:
			f.steps = append(f.steps, step{key: name})
		case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
			f.steps = append(f.steps, step{key: name, value: reflect.ValueOf(name).Convert(t.Key())})
			t = t.Elem()
		case t.Kind() == reflect.Struct && t != reflect.TypeFor[time.Time]():
			index, next, err := fieldOf(t, name, k)
			if err != nil {
				return nil, err
			}
			f.steps = append(f.steps, step{index: index})
			t = next
		default:
			return nil, fmt.Errorf("a %s has no fields", t)
		}
	}
	if len(f.steps) == 0 {
		return nil, errors.New("the name is empty")
	}
	if !nameable(t) {
		return nil, fmt.Errorf("a %s can't be a part of a name: take one of its fields", t)
	}
	return f, nil
}

// fieldOf finds the field of a struct by its tag, that of the format first, or by its own name.
func fieldOf(t reflect.Type, name string, k kind) (index []int, of reflect.Type, err error) {
	tags := []string{"json", "csv"}
	if k == kindCSV {
		tags = []string{"csv", "json"}
	}
	var known []string
	var fields []reflect.StructField
	for _, f := range reflect.VisibleFields(t) {
		if f.IsExported() {
			fields = append(fields, f)
		}
	}
	named := func(f *reflect.StructField, tag string) string {
		tagged, _, _ := strings.Cut(f.Tag.Get(tag), ",")
		if tagged == "-" {
			return ""
		}
		return tagged
	}
	for _, f := range fields {
		if s := named(&f, tags[0]); s != "" {
			known = append(known, s)
		} else {
			known = append(known, f.Name)
		}
	}
	for _, by := range []func(f *reflect.StructField) string{
		func(f *reflect.StructField) string { return named(f, tags[0]) },
		func(f *reflect.StructField) string { return f.Name },
		func(f *reflect.StructField) string { return named(f, tags[1]) },
		func(f *reflect.StructField) string { return named(f, "avro") },
	} {
		for _, f := range fields {
			if by(&f) == name {
				return f.Index, f.Type, nil
			}
		}
	}
	return nil, nil, unknownName("field", name, known)
}

func unknownName(what, name string, known []string) error {
	if len(known) == 0 {
		return fmt.Errorf("no %s is called %q, nor anything else", what, name)
	}
	return fmt.Errorf("no %s is called %q, but there are %s (and part, split, key, time:..., now:...)", what, name, quoteAll(known))
}

var textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()

// nameable reports whether values of t can be written in a name.
func nameable(t reflect.Type) bool {
	for {
		if t.Implements(textMarshaler) {
			return true
		}
		if t.Kind() != reflect.Pointer {
			break
		}
		t = t.Elem()
	}
	switch t.Kind() { //nolint:exhaustive // the rest are plain
	case reflect.Slice:
		return t.Elem().Kind() == reflect.Uint8
	case reflect.Struct, reflect.Array, reflect.Map, reflect.Func, reflect.Chan, reflect.UnsafePointer, reflect.Complex64, reflect.Complex128, reflect.Invalid:
		return false
	}
	return true
}

// append appends what the field of the value that v points to says.
func (f *field) append(dst []byte, v any, limit int) ([]byte, error) {
	if f.row {
		return f.appendColumn(dst, v.(*row.Row), limit)
	}
	x := reflect.ValueOf(v).Elem()
	for i := range f.steps {
		if x = settled(x); !x.IsValid() {
			break
		}
		s := &f.steps[i]
		var ok bool
		if x, ok = s.take(x); !ok {
			return nil, fmt.Errorf("{%s} in the path: a %s has no fields", f.path, x.Type())
		}
	}
	return f.appendValue(dst, x, limit)
}

// appendColumn appends what the column of a row says.
func (f *field) appendColumn(dst []byte, r *row.Row, limit int) ([]byte, error) {
	if r.Columns.Index(f.path) < 0 {
		var known []string
		for _, c := range r.Columns.All() {
			known = append(known, c.Name)
		}
		return nil, fmt.Errorf("{%s} in the path: %w", f.path, unknownName("column", f.path, known))
	}
	switch v := r.Get(f.path); v.Kind() {
	case row.KindNull:
		return append(dst, nullValue...), nil
	case row.KindArray, row.KindJSON:
		return nil, fmt.Errorf("{%s} in the path: a value of kind %v can't be a part of a name", f.path, v.Kind())
	case row.KindText, row.KindBytes:
		return appendEscaped(dst, v.Str(), limit), nil
	default:
		var buf [64]byte
		return appendEscaped(dst, v.AppendText(buf[:0]), limit), nil
	}
}

// settled follows pointers and interfaces. The result is invalid where there is nothing.
func settled(x reflect.Value) reflect.Value {
	for x.IsValid() && (x.Kind() == reflect.Pointer || x.Kind() == reflect.Interface) {
		if x.IsNil() {
			return reflect.Value{}
		}
		x = x.Elem()
	}
	return x
}

// take goes one step; invalid: there is nothing; false: x is nothing that has fields.
func (s *step) take(x reflect.Value) (reflect.Value, bool) {
	switch {
	case s.at > 0:
		if s.at > x.Len() {
			return reflect.Value{}, true
		}
		return x.Index(s.at - 1), true
	case s.index != nil:
		y, err := x.FieldByIndexErr(s.index) // it fails at an embedded pointer that is nil
		if err != nil {
			return reflect.Value{}, true
		}
		return y, true
	}
	switch m := x.Type(); {
	case m == reflect.TypeFor[map[string]any]():
		y, ok := x.Interface().(map[string]any)[s.key]
		if !ok || y == nil {
			return reflect.Value{}, true
		}
		return reflect.ValueOf(y), true
	case m.Kind() == reflect.Map && m.Key().Kind() == reflect.String:
		key := s.value
		if !key.IsValid() {
			key = reflect.ValueOf(s.key).Convert(m.Key())
		}
		return x.MapIndex(key), true
	}
	return x, false
}

func (f *field) appendValue(dst []byte, x reflect.Value, limit int) ([]byte, error) {
	if x.IsValid() && x.Type().Implements(textMarshaler) && (x.Kind() != reflect.Pointer || !x.IsNil()) {
		return appendText(dst, x, limit)
	}
	if x = settled(x); !x.IsValid() {
		return append(dst, nullValue...), nil
	}
	if x.Type().Implements(textMarshaler) {
		return appendText(dst, x, limit)
	}
	var buf [32]byte
	switch x.Kind() { //nolint:exhaustive // the rest is an error
	case reflect.String:
		return appendEscaped(dst, x.String(), limit), nil
	case reflect.Bool:
		return strconv.AppendBool(dst, x.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return appendEscaped(dst, strconv.AppendInt(buf[:0], x.Int(), 10), limit), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return strconv.AppendUint(dst, x.Uint(), 10), nil
	case reflect.Float32, reflect.Float64:
		return appendEscaped(dst, strconv.AppendFloat(buf[:0], x.Float(), 'g', -1, x.Type().Bits()), limit), nil
	case reflect.Slice:
		if x.Type().Elem().Kind() == reflect.Uint8 {
			return appendEscaped(dst, x.Bytes(), limit), nil
		}
	}
	return nil, fmt.Errorf("{%s} in the path: a %s can't be a part of a name", f.path, x.Type())
}

func appendText(dst []byte, x reflect.Value, limit int) ([]byte, error) {
	text, err := x.Interface().(encoding.TextMarshaler).MarshalText()
	if err != nil {
		return nil, err
	}
	return appendEscaped(dst, text, limit), nil
}
