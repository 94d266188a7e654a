package row

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unsafe"
)

// Shape says how a T is a row. T may be a struct, [Row], or map[string]any. It is safe for concurrent use.
//
// Fields of structs: every kind of bool, integer, float and string; time.Time (KindTime), []byte (KindBytes), [16]byte and
// types made of it (KindUUID), json.RawMessage (KindJSON), big.Int (KindDecimal), Value; what is a driver.Valuer and an
// sql.Scanner, or an encoding.TextMarshaler and TextUnmarshaler, by what these say; slices of these (KindArray), or of these
// slices, all equally long; any other struct, map or slice by encoding/json (KindJSON), as are slices tagged `db:",json"`. A
// time.Time tagged `db:",date"` is a KindDate: midnight in UTC. A pointer, []byte, slice or map is NULL if it is nil. Fields of an embedded struct count as the struct's own.
type Shape[T any] struct {
	form   form
	fields []field
	cols   *Columns
}

// form is what T is.
type form uint8

const (
	formStruct form = iota
	formRow
	formMap
)

// ShapeOf returns the shape of T. It is an error if T can't be a row, with the field and its type.
func ShapeOf[T any]() (*Shape[T], error) {
	t := reflect.TypeFor[T]()
	switch {
	case t == reflect.TypeFor[Row]():
		return &Shape[T]{form: formRow}, nil
	case t == reflect.TypeFor[map[string]any]():
		return &Shape[T]{form: formMap}, nil
	case t.Kind() != reflect.Struct:
		return nil, fmt.Errorf("row: a %v is no row: want a struct, row.Row or map[string]any", t)
	}
	s := &Shape[T]{}
	var err error
	if s.fields, err = fieldsOf(t); err != nil {
		return nil, err
	}
	cols := make([]Column, len(s.fields))
	for i := range s.fields {
		f := &s.fields[i]
		f.direct, f.offset = directOf(t, f)
		cols[i] = f.column
	}
	if s.cols, err = NewColumns(cols...); err != nil {
		return nil, fmt.Errorf("row: the fields of %v: %w", t, err)
	}
	return s, nil
}

// Columns returns T's columns in the order of its fields, named in snake_case where there is no tag; nil where each value has
// its own (Row, map).
func (s *Shape[T]) Columns() *Columns { return s.cols }

// GoType describes the field that is a column, for errors: "field PaidAt (*time.Time)"; "" where there is none.
func (s *Shape[T]) GoType(column string) string {
	if i := s.cols.Index(column); i >= 0 {
		return fmt.Sprintf("field %s (%v)", s.fields[i].name, s.fields[i].typ)
	}
	return ""
}

// Match returns the columns of T with the names that a table has for them: a field without a tag is the column whose name is
// the same but for case and underscores. names tells the table's columns. Columns that the table lacks keep their name.
func (s *Shape[T]) Match(names []string) *Columns {
	if s.form != formStruct {
		return nil
	}
	cols := slices.Clone(s.cols.list)
	for i := range s.fields {
		if at := s.fields[i].find(names); at >= 0 {
			cols[i].Name = names[at]
		}
	}
	c, err := NewColumns(cols...)
	if err != nil {
		return s.cols // two fields for one column; the table doesn't have one of them
	}
	return c
}

// Rower takes values of T apart. It has one owner.
type Rower[T any] struct {
	shape *Shape[T]
	cols  *Columns
	names []string // of a map, used again
}

// Rower returns a Rower. names are those of the table's columns, see Match; nil where there is no table.
func (s *Shape[T]) Rower(names []string) *Rower[T] {
	r := &Rower[T]{shape: s, cols: s.cols}
	if names != nil && s.form == formStruct {
		r.cols = s.Match(names)
	}
	return r
}

// Row returns the columns of v, and appends a value for each to dst. The values may point into v. The columns are the same
// pointer as long as the columns are the same. A value that can't be one, such as a Valuer that fails, is an error with the
// column's name.
func (r *Rower[T]) Row(v *T, dst []Value) (*Columns, []Value, error) {
	switch r.shape.form {
	case formStruct:
	case formRow:
		w, _ := any(v).(*Row)
		if len(w.Values) != w.Columns.Len() {
			return nil, dst, fmt.Errorf("row: %d values for %d columns", len(w.Values), w.Columns.Len())
		}
		return w.Columns, append(dst, w.Values...), nil
	case formMap:
		m, _ := any(v).(*map[string]any)
		return r.entries(*m, dst)
	}
	base := unsafe.Pointer(v) //nolint:gosec // of fields of v, whose offsets reflection told
	of := reflect.ValueOf(v).Elem()
	for i := range r.shape.fields {
		f := &r.shape.fields[i]
		if f.direct != notDirect {
			dst = append(dst, f.direct.value(base, f.offset))
			continue
		}
		x, err := f.value(of)
		if err != nil {
			return nil, dst, fmt.Errorf("row: column %q: %w", f.column.Name, err)
		}
		dst = append(dst, x)
	}
	return r.cols, dst, nil
}

// entries takes a map apart, in the order of its names.
func (r *Rower[T]) entries(m map[string]any, dst []Value) (*Columns, []Value, error) {
	r.names = slices.AppendSeq(r.names[:0], maps.Keys(m))
	slices.Sort(r.names)
	if !r.sameNames() {
		cols := make([]Column, len(r.names))
		for i, name := range r.names {
			cols[i] = Column{Name: name, Nullable: true}
		}
		c, err := NewColumns(cols...)
		if err != nil {
			return nil, dst, err
		}
		r.cols = c
	}
	for _, name := range r.names {
		x, err := Of(m[name])
		if err != nil {
			return nil, dst, fmt.Errorf("row: column %q: %w", name, err)
		}
		dst = append(dst, x)
	}
	return r.cols, dst, nil
}

func (r *Rower[T]) sameNames() bool {
	if r.cols == nil || r.cols.Len() != len(r.names) {
		return false
	}
	for i, name := range r.names {
		if r.cols.list[i].Name != name {
			return false
		}
	}
	return true
}

// Scanner makes values of T. It has one owner.
type Scanner[T any] struct {
	shape *Shape[T]
	cols  *Columns
	at    []int // of each field among the values; -1: it has none
	slab  slab
}

// Scanner returns a Scanner for rows of cols. A column that T has no place for is an error unless ignore is set; so is a field
// that has no column unless it is tagged `db:",optional"`, and a column whose kind can never be the field's.
func (s *Shape[T]) Scanner(cols *Columns, ignore bool) (*Scanner[T], error) {
	sc := &Scanner[T]{shape: s, cols: cols}
	if s.form != formStruct {
		return sc, nil
	}
	names := make([]string, cols.Len())
	for i, c := range cols.All() {
		names[i] = c.Name
	}
	taken := make([]bool, len(names))
	sc.at = make([]int, len(s.fields))
	for i := range s.fields {
		f := &s.fields[i]
		at := f.find(names)
		sc.at[i] = at
		if at < 0 {
			if f.optional {
				continue
			}
			return nil, fmt.Errorf("row: field %s of %v has no column %q: add one, or tag the field `db:\",optional\"` or `db:\"-\"`",
				f.name, reflect.TypeFor[T](), f.column.Name)
		}
		taken[at] = true
		if c := cols.At(at); !c.Kind.ConvertibleTo(f.column.Kind) {
			return nil, fmt.Errorf("row: column %q is a %s, which %s (%v) can't be", c.Name, describe(c), f.name, f.typ)
		}
	}
	if !ignore {
		if i := slices.Index(taken, false); i >= 0 {
			return nil, fmt.Errorf("row: column %q has no field in %v", names[i], reflect.TypeFor[T]())
		}
	}
	return sc, nil
}

// describe names what a column is.
func describe(c Column) string {
	if c.Type != "" {
		return c.Type
	}
	return c.Kind.String()
}

// Scan sets all of *v. It keeps nothing of values, whose strings may be overwritten afterwards. A NULL for a field that can't
// be it, and a value that the field can't hold exactly, are errors with the column's name.
func (s *Scanner[T]) Scan(v *T, values []Value) error {
	if len(values) != s.cols.Len() {
		return fmt.Errorf("row: %d values for %d columns", len(values), s.cols.Len())
	}
	switch s.shape.form {
	case formStruct:
	case formRow:
		w, _ := any(v).(*Row)
		*w = Row{Columns: s.cols, Values: s.slab.keep(values)}
		return nil
	case formMap:
		m, _ := any(v).(*map[string]any)
		*m = make(map[string]any, len(values))
		for i, x := range s.slab.keep(values) {
			(*m)[s.cols.list[i].Name] = x.Any()
		}
		return nil
	}
	base := unsafe.Pointer(v) //nolint:gosec // of fields of v, whose offsets reflection told
	of := reflect.ValueOf(v).Elem()
	var words strings.Builder
	words.Grow(s.short(values))
	for i := range s.shape.fields {
		f := &s.shape.fields[i]
		if s.at[i] < 0 {
			f.clear(of)
			continue
		}
		if f.direct != notDirect && f.direct.set(base, f.offset, &values[s.at[i]], &words) {
			continue
		}
		if err := f.set(of, values[s.at[i]]); err != nil {
			return fmt.Errorf("row: column %q: %w", s.cols.list[s.at[i]].Name, err)
		}
	}
	return nil
}

// short returns how many bytes all short texts for fields of strings have.
func (s *Scanner[T]) short(values []Value) int {
	n := 0
	for i := range s.shape.fields {
		if s.shape.fields[i].direct == directString && s.at[i] >= 0 {
			if v := &values[s.at[i]]; v.kind == KindText && len(v.str) <= shortText {
				n += len(v.str)
			}
		}
	}
	return n
}
