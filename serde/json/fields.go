package json

import (
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// candidate is a field of a struct, or of one embedded in it, before it is known whether another one hides it.
type candidate struct {
	shapeField
	depth  int
	tagged bool
}

// fields finds which fields encoding/json decodes into: those of embedded structs too, unless one that is less deep, or as deep but named by a tag, has the
// same name. Where that leaves two of a name, there is none.
func (m *shaper) fields(s *shape, t reflect.Type) {
	all := m.candidates(t, 0, nil)
	s.exact, s.folded = map[string]int{}, map[string]int{}
	for i, c := range all {
		if slices.ContainsFunc(all[:i], func(o candidate) bool { return o.name == c.name && !c.hides(o) }) ||
			slices.ContainsFunc(all[i+1:], func(o candidate) bool { return o.name == c.name && !c.hides(o) }) {
			continue
		}
		n := len(s.fields)
		s.fields = append(s.fields, c.shapeField)
		s.exact[c.name] = n
		if word, bit, ok := ends([]byte(c.name)); ok {
			s.ends[word] |= bit
		} else {
			for i := range s.ends {
				s.ends[i] = ^uint64(0)
			}
		}
		if f := string(fold(nil, []byte(c.name))); !has(s.folded, f) {
			s.folded[f] = n
		}
	}
}

func has(m map[string]int, name string) bool {
	_, ok := m[name]
	return ok
}

func (c candidate) hides(o candidate) bool {
	return c.depth < o.depth || c.depth == o.depth && c.tagged && !o.tagged
}

// candidates returns the fields of t in order. Path are the types that t is embedded in.
func (m *shaper) candidates(t reflect.Type, depth int, path []reflect.Type) []candidate {
	if slices.Contains(path, t) {
		return nil // whatever it has is hidden by what it has further out
	}
	path = append(path[:len(path):len(path)], t)
	var all []candidate
	for i := range t.NumField() {
		f := t.Field(i)
		of := f.Type
		if of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		tag := f.Tag.Get("json")
		if tag == "-" || !f.IsExported() && (!f.Anonymous || of.Kind() != reflect.Struct) {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		tagged := isName(name)
		if f.Anonymous && !tagged && of.Kind() == reflect.Struct {
			all = append(all, m.candidates(of, depth+1, path)...)
			continue
		}
		if !tagged {
			name = f.Name
		}
		shape := m.of(f.Type)
		if (shape.form == float || shape.form == text) && slices.Contains(strings.Split(options, ","), "string") {
			quoted := *shape
			quoted.quoted = true
			shape = &quoted
		}
		all = append(all, candidate{newField(name, shape), depth, tagged})
	}
	return all
}

func newField(name string, s *shape) shapeField {
	f := shapeField{name: name, shape: s, head: ^uint64(0), headMask: ^uint64(0), plain: s.form <= text && !s.quoted}
	text := `"` + name + `":`
	if len(text) <= 16 {
		var bytes, mask [16]byte
		for i := range text {
			bytes[i], mask[i] = text[i], 0xff
		}
		f.size = len(text)
		f.head, f.headMask = binary.LittleEndian.Uint64(bytes[:8]), binary.LittleEndian.Uint64(mask[:8])
		f.tail, f.tailMask = binary.LittleEndian.Uint64(bytes[8:]), binary.LittleEndian.Uint64(mask[8:])
	}
	return f
}

// isName reports whether encoding/json takes s for a name in a tag.
func isName(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) < 0
}

// field returns which field a name in a document means; -1: none.
func (s *shape) field(name []byte) int {
	if word, bit, ok := ends(name); ok && s.ends[word]&bit == 0 {
		return -1
	}
	if i, ok := s.exact[string(name)]; ok {
		return i
	}
	var buf [64]byte
	if i, ok := s.folded[string(fold(buf[:0], name))]; ok {
		return i
	}
	return -1
}

// ends returns which bit of shape.ends is for a name, the same for names that differ in upper and lower case alone. It is false for a name that begins or
// ends with anything but an ASCII character: some of these are the same as an ASCII letter (K, the sign for Kelvin).
func ends(name []byte) (word int, bit uint64, ok bool) {
	if len(name) == 0 || name[0] >= utf8.RuneSelf || name[len(name)-1] >= utf8.RuneSelf {
		return 0, 0, false
	}
	i := int(name[0]&31)<<5 | int(name[len(name)-1]&31)
	return i >> 6, 1 << (i & 63), true
}

// fold appends name, such that names are the same that differ in upper and lower case alone (bytes.EqualFold).
func fold(dst, name []byte) []byte {
	for len(name) > 0 {
		if c := name[0]; c < utf8.RuneSelf {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			dst, name = append(dst, c), name[1:]
			continue
		}
		r, n := utf8.DecodeRune(name)
		dst, name = utf8.AppendRune(dst, smallest(r)), name[n:]
	}
	return dst
}

// smallest returns the smallest of the runes that differ in upper and lower case alone.
func smallest(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}
