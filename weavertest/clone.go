package weavertest

import (
	"bytes"
	"reflect"
	"slices"

	weaver "github.com/bohica-labs/dataweaver"
)

// cloneDepth bounds how deep a copy goes: a value may point to itself.
const cloneDepth = 16

// cloneRecord returns a copy of r that shares no bytes with it.
func cloneRecord[T any](r weaver.Record[T], value func(T) T) weaver.Record[T] {
	r.Value = value(r.Value)
	r.Key = bytes.Clone(r.Key)
	r.Headers = r.Headers.Clone()
	return r
}

// cloner returns own, or else a function that copies byte slices wherever it can reach them.
func cloner[T any](own func(T) T) func(T) T {
	if own != nil {
		return own
	}
	if !holdsBytes(reflect.TypeFor[T](), 0) {
		return func(v T) T { return v }
	}
	return func(v T) T {
		cloneInto(reflect.ValueOf(&v).Elem(), 0)
		return v
	}
}

// holdsBytes reports whether a value of type t may lead to a byte slice. Only byte slices may point into memory that
// the engine uses again.
func holdsBytes(t reflect.Type, depth int) bool {
	if depth > cloneDepth {
		return false
	}
	switch t.Kind() {
	case reflect.Slice:
		return t.Elem().Kind() == reflect.Uint8 || holdsBytes(t.Elem(), depth+1)
	case reflect.Pointer, reflect.Array, reflect.Map:
		return holdsBytes(t.Elem(), depth+1)
	case reflect.Interface:
		return true
	case reflect.Struct:
		return slices.ContainsFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool {
			return f.IsExported() && len(f.Index) == 1 && holdsBytes(f.Type, depth+1)
		})
	default:
		return false
	}
}

// cloneInto replaces what v leads to by copies. Unexported fields are out of reach and stay shared.
func cloneInto(v reflect.Value, depth int) {
	if depth > cloneDepth || !v.CanSet() || !holdsBytes(v.Type(), 0) {
		return
	}
	switch v.Kind() {
	case reflect.Slice:
		if v.IsNil() {
			return
		}
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(c, v)
		v.Set(c)
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			cloneInto(v.Index(i), depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			cloneInto(v.Field(i), depth+1)
		}
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return
		}
		c := reflect.New(v.Elem().Type()).Elem()
		c.Set(v.Elem())
		cloneInto(c, depth+1)
		if v.Kind() == reflect.Pointer {
			c = c.Addr()
		}
		v.Set(c)
	case reflect.Map:
		if v.IsNil() {
			return
		}
		m := reflect.MakeMapWithSize(v.Type(), v.Len())
		for it := v.MapRange(); it.Next(); {
			c := reflect.New(v.Type().Elem()).Elem()
			c.Set(it.Value())
			cloneInto(c, depth+1)
			m.SetMapIndex(it.Key(), c)
		}
		v.Set(m)
	default:
	}
}
