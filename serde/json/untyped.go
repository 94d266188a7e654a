package json

import (
	"encoding"
	"encoding/json"
	"reflect"
	"sync"
)

// known remembers what hasInterface found for a type, as encoding/json remembers its fields: a walk over a type costs more than decoding a small value of it.
var known sync.Map // reflect.Type → bool

// untyped reports whether decoding into v can make a value for an interface.
func untyped[T any](*T) bool {
	t := reflect.TypeFor[T]()
	if found, ok := known.Load(t); ok {
		return found.(bool)
	}
	found := hasInterface(t, map[reflect.Type]bool{})
	known.Store(t, found)
	return found
}

var (
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func hasInterface(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	if t.Kind() == reflect.Interface {
		return t.NumMethod() == 0
	}
	if p := reflect.PointerTo(t); p.Implements(unmarshaler) || p.Implements(textUnmarshaler) {
		return false // decodes itself
	}
	switch t.Kind() { //nolint:exhaustive // the kinds that have others inside
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return hasInterface(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); (f.IsExported() || f.Anonymous) && f.Tag.Get("json") != "-" && hasInterface(f.Type, seen) {
				return true
			}
		}
	}
	return false
}
