package weavertest

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"

	weaver "github.com/bohica-labs/dataweaver"
)

// equalRecords compares all but Seq, and tells nil keys from empty ones.
func equalRecords[T any](a, b weaver.Record[T]) bool {
	return reflect.DeepEqual(a.Value, b.Value) &&
		bytes.Equal(a.Key, b.Key) && (a.Key == nil) == (b.Key == nil) &&
		a.Op == b.Op && a.Time.Equal(b.Time) &&
		slices.EqualFunc(a.Headers, b.Headers, func(x, y weaver.Header) bool {
			return x.Key == y.Key && bytes.Equal(x.Value, y.Value)
		})
}

func orEqual[T any](own func(a, b weaver.Record[T]) bool) func(a, b weaver.Record[T]) bool {
	if own == nil {
		return equalRecords[T]
	}
	return own
}

// sameRecords says how two lists differ.
func sameRecords[T any](want, got []weaver.Record[T], equal func(a, b weaver.Record[T]) bool) error {
	for i := range min(len(want), len(got)) {
		if !equal(want[i], got[i]) {
			return fmt.Errorf("record %d is %s, want %s", i, describe(got[i]), describe(want[i]))
		}
	}
	switch {
	case len(got) < len(want):
		return fmt.Errorf("%d records, want %d: %s is missing", len(got), len(want), describe(want[len(got)]))
	case len(got) > len(want):
		return fmt.Errorf("%d records, want %d: %s is too much", len(got), len(want), describe(got[len(want)]))
	}
	return nil
}

// sameSet says how two lists differ that have no order.
func sameSet[T any](want, got []weaver.Record[T], equal func(a, b weaver.Record[T]) bool) error {
	got = slices.Clone(got)
	for i, w := range want {
		j := slices.IndexFunc(got, func(g weaver.Record[T]) bool { return equal(w, g) })
		if j < 0 {
			return fmt.Errorf("record %d, %s, is missing", i, describe(w))
		}
		got = slices.Delete(got, j, j+1)
	}
	if len(got) > 0 {
		return fmt.Errorf("%d records, want %d: %s is too much", len(want)+len(got), len(want), describe(got[0]))
	}
	return nil
}

func describe[T any](r weaver.Record[T]) string {
	key := "nil"
	if r.Key != nil {
		key = short(r.Key)
	}
	return fmt.Sprintf("{%s key %s value %s headers %s}", r.Op, key, short(any(r.Value)), short(r.Headers))
}

// scribble overwrites every byte that the records of a batch lead to: whoever kept some of it, or lent its own, will
// show.
func scribble[T any](b *weaver.Batch[T]) {
	for i := range b.Records {
		r := &b.Records[i]
		for j := range r.Key {
			r.Key[j] ^= 0xDB
		}
		for _, h := range r.Headers {
			for j := range h.Value {
				h.Value[j] ^= 0xDB
			}
		}
		scribbleValue(reflect.ValueOf(&r.Value).Elem(), 0)
		*r = weaver.Record[T]{}
	}
	b.Reset()
	p := b.Bytes(1 << 10) // what is behind the records, too
	for i := range p {
		p[i] = 0xDB
	}
	b.Reset()
}

func scribbleValue(v reflect.Value, depth int) {
	if depth > cloneDepth || !holdsBytes(v.Type(), 0) {
		return
	}
	switch v.Kind() {
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			p := v.Bytes()
			for i := range p {
				p[i] ^= 0xDB
			}
			return
		}
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			scribbleValue(v.Index(i), depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				scribbleValue(v.Field(i), depth+1)
			}
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			scribbleValue(v.Elem(), depth+1)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			scribbleValue(it.Value(), depth+1)
		}
	default:
	}
}
