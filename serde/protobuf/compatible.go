package protobuf

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Compatible returns nil if all that is written as writer can be read as reader without a value being changed or lost, and otherwise an error that names the
// first field for which that isn't so. Fields are matched by number; their names don't matter.
//
// It is stricter than the rules of protobuf.dev for updating a message, which allow what cuts numbers short. What it allows: fields that only one of the two
// has (the reader keeps unknown ones), integers, bools and enumerations that become a wider integer, int32 that becomes an enumeration, string and bytes in
// place of each other (text that isn't UTF-8 is an error when it is read), messages that become bytes, one value that becomes a list, and a map that becomes
// a list of its entries. What it refuses: narrower integers, int32 and sint32 or fixed32 in place of each other, float and double, a list that becomes one
// value or a map, fields that become alternatives of one oneof, and a required field that the writer lacks or need not set.
//
// It may be called concurrently.
func Compatible(writer, reader protoreflect.MessageDescriptor) error {
	c := comparison{seen: map[[2]protoreflect.FullName]bool{}}
	return c.compatible(writer, reader, "")
}

// Same reports whether two messages have the same name and the same fields: number, name, type, cardinality, oneof, and what types they refer to.
// Options and comments don't count, nor does their order.
func Same(a, b protoreflect.MessageDescriptor) bool {
	c := comparison{seen: map[[2]protoreflect.FullName]bool{}}
	return c.same(a, b)
}

// comparison is one of two messages and what they refer to. Pairs that it has seen are not gone into again: messages may refer to themselves.
type comparison struct {
	seen map[[2]protoreflect.FullName]bool
}

func (c comparison) again(a, b protoreflect.MessageDescriptor) bool {
	pair := [2]protoreflect.FullName{a.FullName(), b.FullName()}
	if c.seen[pair] {
		return true
	}
	c.seen[pair] = true
	return false
}

func (c comparison) compatible(writer, reader protoreflect.MessageDescriptor, path string) error {
	if c.again(writer, reader) {
		return nil
	}
	from := writer.Fields()
	for i := range from.Len() {
		w := from.Get(i)
		r := reader.Fields().ByNumber(w.Number())
		if r == nil {
			continue
		}
		if err := c.field(w, r, path); err != nil {
			return err
		}
	}
	into := reader.Fields()
	for i := range into.Len() {
		r := into.Get(i)
		if r.Cardinality() != protoreflect.Required {
			continue
		}
		if w := from.ByNumber(r.Number()); w == nil || w.Cardinality() != protoreflect.Required {
			return fmt.Errorf("field %s%s (%d) is required to read, and may be missing in what is written", path, r.Name(), r.Number())
		}
	}
	return oneofs(writer, reader, path)
}

// oneofs finds two fields that could both be written and of which only the last is kept where it is read.
func oneofs(writer, reader protoreflect.MessageDescriptor, path string) error {
	for i := range reader.Oneofs().Len() {
		o := reader.Oneofs().Get(i)
		var first protoreflect.FieldDescriptor
		for j := range o.Fields().Len() {
			w := writer.Fields().ByNumber(o.Fields().Get(j).Number())
			switch {
			case w == nil:
			case first == nil:
				first = w
			case first.ContainingOneof() == nil || first.ContainingOneof() != w.ContainingOneof():
				return fmt.Errorf("fields %s%s (%d) and %s%s (%d) can both be written, and are alternatives in oneof %s where they are read",
					path, first.Name(), first.Number(), path, w.Name(), w.Number(), o.Name())
			}
		}
	}
	return nil
}

func (c comparison) field(w, r protoreflect.FieldDescriptor, path string) error {
	if (w.IsList() || w.IsMap()) && !r.IsList() && !r.IsMap() {
		return fmt.Errorf("field %s%s (%d) is written as a list and read as one value: all but the last would be lost", path, w.Name(), w.Number())
	}
	if !w.IsMap() && r.IsMap() {
		return fmt.Errorf("field %s%s (%d) is no map where it is written and one where it is read: of equal keys all but the last would be lost", path, w.Name(), w.Number())
	}
	if !fits(w.Kind(), r.Kind()) {
		return fmt.Errorf("field %s%s (%d) is written as %s and read as %s", path, w.Name(), w.Number(), w.Kind(), r.Kind())
	}
	if w.Message() != nil && r.Message() != nil {
		return c.compatible(w.Message(), r.Message(), path+string(w.Name())+".")
	}
	return nil
}

// fits reports whether every value of a field of one kind is read as the same value by one of the other.
func fits(w, r protoreflect.Kind) bool {
	if w == r {
		return true
	}
	switch w { //nolint:exhaustive // the others fit only themselves
	case protoreflect.BoolKind:
		return r == protoreflect.Int32Kind || r == protoreflect.Uint32Kind || r == protoreflect.Int64Kind || r == protoreflect.Uint64Kind
	case protoreflect.EnumKind:
		return r == protoreflect.Int32Kind || r == protoreflect.Int64Kind
	case protoreflect.Int32Kind:
		return r == protoreflect.Int64Kind || r == protoreflect.EnumKind
	case protoreflect.Uint32Kind:
		return r == protoreflect.Uint64Kind || r == protoreflect.Int64Kind
	case protoreflect.Sint32Kind:
		return r == protoreflect.Sint64Kind
	case protoreflect.StringKind:
		return r == protoreflect.BytesKind
	case protoreflect.BytesKind:
		return r == protoreflect.StringKind
	case protoreflect.MessageKind:
		return r == protoreflect.BytesKind
	}
	return false
}

func (c comparison) same(a, b protoreflect.MessageDescriptor) bool {
	if c.again(a, b) {
		return true
	}
	if a.FullName() != b.FullName() || a.Fields().Len() != b.Fields().Len() {
		return false
	}
	for i := range a.Fields().Len() {
		x := a.Fields().Get(i)
		y := b.Fields().ByNumber(x.Number())
		if y == nil || !c.sameField(x, y) {
			return false
		}
	}
	return true
}

func (c comparison) sameField(x, y protoreflect.FieldDescriptor) bool {
	switch {
	case x.Name() != y.Name(), x.Kind() != y.Kind(), x.Cardinality() != y.Cardinality(), x.IsMap() != y.IsMap(), x.HasPresence() != y.HasPresence():
		return false
	case (x.ContainingOneof() == nil) != (y.ContainingOneof() == nil):
		return false
	case x.ContainingOneof() != nil && x.ContainingOneof().Name() != y.ContainingOneof().Name():
		return false
	case x.Enum() != nil:
		return sameEnum(x.Enum(), y.Enum())
	case x.Message() != nil:
		return c.same(x.Message(), y.Message())
	}
	return true
}

func sameEnum(a, b protoreflect.EnumDescriptor) bool {
	if a.FullName() != b.FullName() || a.Values().Len() != b.Values().Len() {
		return false
	}
	for i := range a.Values().Len() {
		v := b.Values().ByName(a.Values().Get(i).Name())
		if v == nil || v.Number() != a.Values().Get(i).Number() {
			return false
		}
	}
	return true
}
