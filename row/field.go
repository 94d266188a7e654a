package row

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
)

// field is one field of a struct, and how it is a column.
type field struct {
	name     string // of the field, with those it is embedded in
	index    []int
	typ      reflect.Type
	tagged   bool // the column's name is the tag's
	optional bool
	column   Column
	get      getter
	put      setter
	direct   direct
	offset   uintptr // where direct finds it
}

// fieldsOf returns the fields of a struct that are columns, in their order.
func fieldsOf(t reflect.Type) ([]field, error) {
	var fields []field
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, tagged := sf.Tag.Lookup("db")
		name, options, _ := strings.Cut(tag, ",")
		if tag == "-" || (!sf.IsExported() && !sf.Anonymous) {
			continue
		}
		if embedded := deref(sf.Type); sf.Anonymous && name == "" && embedded.Kind() == reflect.Struct && !isScalar(embedded) {
			if sf.Type.Kind() == reflect.Pointer && !sf.IsExported() {
				continue
			}
			inner, err := fieldsOf(embedded)
			if err != nil {
				return nil, err
			}
			for _, f := range inner {
				f.name = sf.Name + "." + f.name
				f.index = append([]int{i}, f.index...)
				if sf.Type.Kind() == reflect.Pointer {
					f.column.Nullable = true
				}
				fields = append(fields, f)
			}
			continue
		}
		if !sf.IsExported() {
			continue
		}
		f := field{name: sf.Name, index: []int{i}, typ: sf.Type, tagged: tagged && name != ""}
		f.column.Name = name
		if name == "" {
			f.column.Name = snake(sf.Name)
		}
		asJSON, asDate := false, false
		for option := range strings.SplitSeq(options, ",") {
			switch strings.TrimSpace(option) {
			case "":
			case "optional":
				f.optional = true
			case "json":
				asJSON = true
			case "date":
				asDate = true
			default:
				return nil, fmt.Errorf("row: field %s of %v: the tag has the option %q: want optional, json or date", sf.Name, t, option)
			}
		}
		g, err := goTypeOf(sf.Type, asJSON)
		if err != nil {
			return nil, fmt.Errorf("row: field %s of %v: %w: tag it `db:\"-\"` to leave it out", sf.Name, t, err)
		}
		if asDate {
			if g.kind != KindTime {
				return nil, fmt.Errorf("row: field %s of %v: the option date is for a time.Time", sf.Name, t)
			}
			g.kind, g.get = KindDate, asKind(KindDate, g.get)
		}
		f.get, f.put = g.get, g.set
		f.column.Kind, f.column.Elem, f.column.Nullable = g.kind, g.elem, g.nullable
		fields = append(fields, f)
	}
	return fields, nil
}

func deref(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// find returns which of names is the field's column; -1: none is.
func (f *field) find(names []string) int {
	for i, name := range names {
		if name == f.column.Name {
			return i
		}
	}
	if f.tagged {
		return -1
	}
	want := fold(f.column.Name)
	for i, name := range names {
		if fold(name) == want {
			return i
		}
	}
	return -1
}

// value returns the field's value in a struct.
func (f *field) value(of reflect.Value) (Value, error) {
	if len(f.index) == 1 {
		return f.get(of.Field(f.index[0]))
	}
	for _, i := range f.index {
		if of.Kind() == reflect.Pointer {
			if of.IsNil() {
				return Value{}, nil
			}
			of = of.Elem()
		}
		of = of.Field(i)
	}
	return f.get(of)
}

// set sets the field in a struct.
func (f *field) set(of reflect.Value, v Value) error {
	if len(f.index) == 1 {
		return f.put(of.Field(f.index[0]), v)
	}
	for _, i := range f.index {
		if of.Kind() == reflect.Pointer {
			if of.IsNil() {
				if v.IsNull() {
					return nil
				}
				of.Set(reflect.New(of.Type().Elem()))
			}
			of = of.Elem()
		}
		of = of.Field(i)
	}
	return f.put(of, v)
}

// clear sets the field in a struct to zero.
func (f *field) clear(of reflect.Value) {
	for _, i := range f.index {
		if of.Kind() == reflect.Pointer {
			if of.IsNil() {
				return
			}
			of = of.Elem()
		}
		of = of.Field(i)
	}
	of.SetZero()
}

// snake returns a field's name as columns are named: PaidAt is paid_at, HTTPCode http_code, ID2 id2.
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && runes[i-1] != '_' {
			before, after := unicode.IsUpper(runes[i-1]), i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if !before || after {
				b.WriteByte('_')
			}
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// fold returns a name without case and underscores.
func fold(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "") }
