package file

import (
	"encoding"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/jszwec/csvutil"
)

// plainRow fills a struct whose fields are strings, numbers and bools. It does what csvutil does with such fields, at a fraction of the cost, or nothing: what it
// doesn't understand at once is left to csvutil, which also has the errors.
type plainRow []plainField

type plainField struct {
	column, index int // of the row, of the struct
	kind          reflect.Kind
	bits          int
}

// planRow returns nil if csvutil has to do it: for tags with options, embedded structs, and types that decode themselves.
func planRow(t reflect.Type, columns []string) plainRow {
	if t.Kind() != reflect.Struct || decodesItself(t) {
		return nil
	}
	plan := make(plainRow, 0, t.NumField())
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("csv")
		switch {
		case f.Anonymous, strings.Contains(tag, ","):
			return nil
		case !f.IsExported(), tag == "-":
			continue
		}
		name := tag
		if name == "" {
			name = f.Name
		}
		if decodesItself(f.Type) || slices.Contains(names, name) {
			return nil
		}
		names = append(names, name)
		field := plainField{column: slices.Index(columns, name), index: i, kind: f.Type.Kind()}
		switch field.kind {
		case reflect.String, reflect.Bool:
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			field.kind, field.bits = reflect.Int, f.Type.Bits()
		case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			field.kind, field.bits = reflect.Uint, f.Type.Bits()
		case reflect.Float32, reflect.Float64:
			field.kind, field.bits = reflect.Float64, f.Type.Bits()
		default:
			return nil
		}
		if field.column >= 0 {
			plan = append(plan, field)
		}
	}
	return plan
}

var (
	csvUnmarshaler  = reflect.TypeFor[csvutil.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(csvUnmarshaler) || p.Implements(textUnmarshaler)
}

// decode reports whether it could.
func (p plainRow) decode(row []string, v reflect.Value) bool {
	for i := range p {
		f := &p[i]
		text, to := row[f.column], v.Field(f.index)
		switch f.kind {
		case reflect.String:
			to.SetString(text)
		case reflect.Int:
			n, err := strconv.ParseInt(text, 10, f.bits)
			if err != nil {
				return false
			}
			to.SetInt(n)
		case reflect.Uint:
			n, err := strconv.ParseUint(text, 10, f.bits)
			if err != nil {
				return false
			}
			to.SetUint(n)
		case reflect.Float64:
			x, err := strconv.ParseFloat(text, f.bits)
			if err != nil {
				return false
			}
			to.SetFloat(x)
		default:
			is, err := strconv.ParseBool(text)
			if err != nil {
				return false
			}
			to.SetBool(is)
		}
	}
	return true
}
