package avro

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unsafe"
)

func (p *planner) record(t reflect.Type, n *node) (checks, error) {
	if t == anyMapType {
		p.dynamic = true
		var c checks
		look := func(p unsafe.Pointer) error { return n.exactly(*(*map[string]any)(p), 0) }
		if n.inexact {
			c.encode = look
		}
		if n.decimals {
			c.decode = look
		}
		return c, nil
	}
	if t.Kind() != reflect.Struct || t == timeType {
		return checks{}, mismatch(t, n)
	}
	if c := p.open[pair{t, n}]; c != nil {
		// It contains itself: whether there is anything to check isn't known yet.
		return checks{func(p unsafe.Pointer) error { return c.run(c.encode, p) }, func(p unsafe.Pointer) error { return c.run(c.decode, p) }}, nil
	}
	done := &checks{}
	p.open[pair{t, n}] = done
	c, err := p.fields(t, n)
	*done = c
	return c, err
}

func (c *checks) run(one check, p unsafe.Pointer) error {
	if one == nil {
		return nil
	}
	return one(p)
}

// member is a field of a struct, also of one that is embedded.
type member struct {
	name   string
	index  []int
	tagged bool
	omits  bool // a zero value is written as null or as the default
	t      reflect.Type
}

func (p *planner) fields(t reflect.Type, n *node) (checks, error) {
	members, err := membersOf(t)
	if err != nil {
		return checks{}, err
	}
	var encode, decode []check
	for i := range n.fields {
		f := &n.fields[i]
		m, ok := members[f.name]
		if !ok {
			return checks{}, within(f.name, fmt.Errorf("%v has no field for it: add one with the tag `avro:%q`", t, f.name))
		}
		delete(members, f.name)
		c, err := p.member(m, f.node)
		if err != nil {
			return checks{}, within(f.name, err)
		}
		if c.encode != nil {
			encode = append(encode, inField(t, m, f.name, c.encode))
		}
		if c.decode != nil {
			decode = append(decode, inField(t, m, f.name, c.decode))
		}
	}
	for _, m := range members {
		return checks{}, fmt.Errorf("field %s of %v is not in %s, so it would get lost: tag it `avro:\"-\"`", t.FieldByIndex(m.index).Name, t, n)
	}
	return checks{every(encode), every(decode)}, nil
}

func (p *planner) member(m member, n *node) (checks, error) {
	if inside := n.nullable(); inside != nil && m.omits && m.t.Kind() != reflect.Pointer && m.t.Kind() != reflect.Interface {
		return p.plan(m.t, inside, 0)
	}
	return p.plan(m.t, n, 0)
}

// inField returns a check of a struct that is c for one of its fields.
func inField(t reflect.Type, m member, name string, c check) check {
	type step struct {
		offset  uintptr
		pointer bool // what is there is a pointer to the struct that has the next step
	}
	var steps []step
	offset := uintptr(0)
	for i, at := range m.index {
		f := t.Field(at)
		offset += f.Offset
		t = f.Type
		if t.Kind() == reflect.Pointer && i < len(m.index)-1 {
			steps = append(steps, step{offset, true})
			offset, t = 0, t.Elem()
		}
	}
	return func(p unsafe.Pointer) error {
		for _, s := range steps {
			if p = *(*unsafe.Pointer)(unsafe.Add(p, s.offset)); p == nil {
				return nil
			}
		}
		if err := c(unsafe.Add(p, offset)); err != nil {
			return within(name, err)
		}
		return nil
	}
}

// membersOf returns the fields of a struct by their names in a schema, as the library finds them: a tag goes before none, and then less depth before more.
func membersOf(t reflect.Type) (map[string]member, error) {
	found := map[string]member{}
	var gather func(t reflect.Type, index []int, inside []reflect.Type) error
	gather = func(t reflect.Type, index []int, inside []reflect.Type) error {
		for _, outer := range inside {
			if outer == t {
				return fmt.Errorf("%v embeds itself", t)
			}
		}
		for i := range t.NumField() {
			f := t.Field(i)
			tag, has := f.Tag.Lookup("avro")
			if tag == "-" {
				continue
			}
			name, options, _ := strings.Cut(tag, ",")
			embedded := f.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			at := append(slices.Clone(index), i)
			inline := option(options, "inline") || f.Anonymous && name == ""
			if inline && embedded.Kind() == reflect.Struct && embedded != timeType && embedded != ratType {
				if err := gather(embedded, at, append(inside, t)); err != nil {
					return err
				}
				continue
			}
			if !f.IsExported() {
				continue
			}
			m := member{f.Name, at, has && name != "", option(options, "omitzero"), f.Type}
			if m.tagged {
				m.name = name
			}
			if old, ok := found[m.name]; !ok || m.tagged && !old.tagged || m.tagged == old.tagged && len(m.index) < len(old.index) {
				found[m.name] = m
			}
		}
		return nil
	}
	return found, gather(t, nil, nil)
}

func option(options, name string) bool {
	for o := range strings.SplitSeq(options, ",") {
		if o == name {
			return true
		}
	}
	return false
}
