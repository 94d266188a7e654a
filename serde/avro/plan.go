package avro

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"strconv"
	"time"
	"unsafe"

	"github.com/twmb/avro"
)

// check looks at the value at p, of the type that the check was made for.
type check func(p unsafe.Pointer) error

// checks are what the library doesn't look at by itself. Where there is nothing to look at they are nil.
type checks struct {
	encode check
	decode check
}

// planner goes over a Go type and the schema that it is for, once, and holds them against each other.
type planner struct {
	open    map[pair]*checks // types that contain themselves
	dynamic bool             // there is an any, which says of a union what it is
}

type pair struct {
	t reflect.Type
	n *node
}

var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
	ratType      = reflect.TypeFor[big.Rat]()
	numberType   = reflect.TypeFor[json.Number]()
	avroDuration = reflect.TypeFor[avro.Duration]()
	anyMapType   = reflect.TypeFor[map[string]any]()
	marshaler    = reflect.TypeFor[encoding.TextMarshaler]()
	unmarshaler  = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// planFor returns what has to be checked for values of t, or an error if t can't hold what n describes.
func planFor(t reflect.Type, n *node) (c checks, dynamic bool, err error) {
	p := planner{open: map[pair]*checks{}}
	c, err = p.plan(t, n, 0)
	return c, p.dynamic, err
}

func (p *planner) plan(t reflect.Type, n *node, pointers int) (checks, error) {
	switch {
	case t.Kind() == reflect.Interface:
		return p.any(t, n)
	case n.kind == kindUnion:
		return p.union(t, n, pointers)
	case t.Kind() == reflect.Pointer:
		if pointers >= 4 {
			return checks{}, fmt.Errorf("%v: too many pointers", t)
		}
		c, err := p.plan(t.Elem(), n, pointers+1)
		return checks{behindPointer(c.encode), behindPointer(c.decode)}, err
	}
	switch n.kind { //nolint:exhaustive // the rest is simple
	case kindRecord:
		return p.record(t, n)
	case kindArray:
		if t.Kind() != reflect.Slice && t.Kind() != reflect.Array {
			return checks{}, mismatch(t, n)
		}
		c, err := p.plan(t.Elem(), n.elem, 0)
		if err != nil {
			return checks{}, within("[]", err)
		}
		return checks{inList(t, c.encode), inList(t, c.decode)}, nil
	case kindMap:
		if t.Kind() != reflect.Map || t.Key().Kind() != reflect.String {
			return checks{}, mismatch(t, n)
		}
		c, err := p.plan(t.Elem(), n.elem, 0)
		if err != nil {
			return checks{}, within("[]", err)
		}
		return checks{inMap(t, c.encode), inMap(t, c.decode)}, nil
	}
	return planLeaf(t, n)
}

func mismatch(t reflect.Type, n *node) error { return fmt.Errorf("%v can't hold %s", t, n) }

func (p *planner) any(t reflect.Type, n *node) (checks, error) {
	if t.NumMethod() > 0 {
		return checks{}, fmt.Errorf("%v: of interfaces only any is possible", t)
	}
	p.dynamic = true
	var c checks
	look := func(p unsafe.Pointer) error { return n.exactly(*(*any)(p), 0) }
	if n.inexact {
		c.encode = look
	}
	if n.decimals {
		c.decode = look
	}
	return c, nil
}

// union is for one that T has a type for: a pointer for what may be null, and a type that takes each of the others, or one of them.
func (p *planner) union(t reflect.Type, n *node, pointers int) (checks, error) {
	if n.hasNull() {
		switch t.Kind() {
		case reflect.Pointer:
			t = t.Elem()
		case reflect.Slice, reflect.Map:
			c, err := p.branches(t, n, pointers)
			return c, err
		default:
			return checks{}, fmt.Errorf("%v can't hold null, which the schema allows: use *%v", t, t)
		}
		if t.Kind() == reflect.Pointer {
			return checks{}, fmt.Errorf("*%v: one pointer is enough", t)
		}
		c, err := p.branches(t, n, pointers)
		return checks{behindPointer(c.encode), behindPointer(c.decode)}, err
	}
	return p.branches(t, n, pointers)
}

func (p *planner) branches(t reflect.Type, n *node, pointers int) (checks, error) {
	var encode, decode []check
	var failed error
	taken := 0
	for _, b := range n.branches {
		if b.kind == kindNull {
			continue
		}
		c, err := p.plan(t, b, pointers)
		if err != nil {
			failed = err
			continue
		}
		taken++
		if c.encode != nil {
			encode = append(encode, c.encode)
		}
		if c.decode != nil {
			decode = append(decode, c.decode)
		}
	}
	if taken == 0 && failed != nil {
		return checks{}, failed
	}
	return checks{every(encode), every(decode)}, nil
}

func every(all []check) check {
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return func(p unsafe.Pointer) error {
		for _, c := range all {
			if err := c(p); err != nil {
				return err
			}
		}
		return nil
	}
}

func behindPointer(c check) check {
	if c == nil {
		return nil
	}
	return func(p unsafe.Pointer) error {
		if p = *(*unsafe.Pointer)(p); p == nil {
			return nil
		}
		return c(p)
	}
}

func inList(t reflect.Type, c check) check {
	if c == nil {
		return nil
	}
	size := t.Elem().Size()
	fixed := 0
	if t.Kind() == reflect.Array {
		fixed = t.Len()
	}
	return func(p unsafe.Pointer) error {
		length := fixed
		if t.Kind() == reflect.Slice {
			list := (*[]struct{})(p) // any slice begins with its address and its length
			length, p = len(*list), unsafe.Pointer(unsafe.SliceData(*list))
		}
		for i := range length {
			if err := c(unsafe.Add(p, uintptr(i)*size)); err != nil {
				return within("["+strconv.Itoa(i)+"]", err)
			}
		}
		return nil
	}
}

func inMap(t reflect.Type, c check) check {
	if c == nil {
		return nil
	}
	return func(p unsafe.Pointer) error {
		m := reflect.NewAt(t, p).Elem()
		if m.Len() == 0 {
			return nil
		}
		value := reflect.New(t.Elem())
		for entries := m.MapRange(); entries.Next(); {
			value.Elem().SetIterValue(entries)
			if err := c(value.UnsafePointer()); err != nil {
				return within("["+strconv.Quote(entries.Key().String())+"]", err)
			}
		}
		return nil
	}
}
