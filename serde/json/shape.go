package json

import (
	"encoding"
	"encoding/json"
	"reflect"
	"sync"
)

// form is what decoding into a type makes of a JSON value.
type form uint8

const (
	opaque   form = iota // the type decodes itself
	scalar               // exact, or encoding/json refuses it
	text                 // a string
	float                // rounds
	list                 // of elem
	mapping              // to elem
	object               // a struct
	anything             // an empty interface
)

// shape is what the check of a document needs to know of a type. It doesn't change once it is made.
type shape struct {
	form    form
	bits    int    // of a float
	quoted  bool   // the tag has the option string: the value is in a string
	integer bool   // the keys of a mapping are integers
	length  int    // of an array; -1: the list has no fixed one
	elem    *shape // of a list or a mapping

	fields []shapeField   // of an object, in the order of the struct
	exact  map[string]int // which of fields has this name
	folded map[string]int // the first of fields that has this name but for upper and lower case
	ends   [16]uint64     // a bit for each pair of letters that a name of a field begins and ends with: most other names are none of these
}

type shapeField struct {
	name  string
	shape *shape
	plain bool // only escapes can make a value inexact

	// The name as a document has it, up to the colon, if that is sixteen bytes or less; size 0: it isn't.
	size           int
	head, headMask uint64
	tail, tailMask uint64
}

// known is what is remembered of a type.
type known struct {
	shape    *shape
	untyped  bool      // decoding can make a value for an interface
	encoders sync.Pool // of *encoder[T] for the type T
	rows     sync.Pool // of *row.JSONDecoder, where T is row.Row
}

// types remembers what was found for a type, as encoding/json remembers its fields. A Codec can't: it is a value, and the zero one is ready for use.
var types sync.Map // reflect.Type → *known

func knownOf[T any]() *known {
	t := reflect.TypeFor[T]()
	if k, ok := types.Load(t); ok {
		return k.(*known)
	}
	m := shaper{made: map[reflect.Type]*shape{}}
	k, _ := types.LoadOrStore(t, m.known(t))
	return k.(*known)
}

var (
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// shaper makes the shapes of one type and of all in it.
type shaper struct {
	made    map[reflect.Type]*shape // also those that are not finished: types may be recursive
	untyped bool
}

func (m *shaper) known(t reflect.Type) *known {
	s := m.of(t)
	return &known{shape: s, untyped: m.untyped}
}

func (m *shaper) of(t reflect.Type) *shape {
	if s, ok := m.made[t]; ok {
		return s
	}
	s := &shape{length: -1}
	m.made[t] = s
	if p := reflect.PointerTo(t); p.Implements(unmarshaler) {
		return s
	} else if p.Implements(textUnmarshaler) {
		s.form = text
		return s
	}
	switch t.Kind() { // the others are exact or refused
	case reflect.Interface:
		if t.NumMethod() == 0 {
			s.form, s.elem = anything, s
			m.untyped = true
		}
	case reflect.Pointer:
		m.made[t] = m.of(t.Elem())
		return m.made[t]
	case reflect.Float32, reflect.Float64:
		s.form, s.bits = float, t.Bits()
	case reflect.String:
		s.form = text
	case reflect.Slice:
		s.form, s.elem = list, m.of(t.Elem())
	case reflect.Array:
		s.form, s.elem, s.length = list, m.of(t.Elem()), t.Len()
	case reflect.Map:
		s.form, s.elem = mapping, m.of(t.Elem())
		s.integer = t.Key().Kind() != reflect.String && !reflect.PointerTo(t.Key()).Implements(textUnmarshaler)
	case reflect.Struct:
		s.form = object
		m.fields(s, t)
	default:
		s.form = scalar
	}
	return s
}
