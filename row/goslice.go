package row

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// sliceOf returns how a slice is an array. A slice of slices is an array of one dimension more.
func sliceOf(t reflect.Type, inner goType) goType {
	elem := inner.kind
	if elem == KindArray {
		elem = inner.elem
	}
	g := goType{kind: KindArray, elem: elem, nullable: true}
	g.get = func(v reflect.Value) (Value, error) {
		if v.IsNil() {
			return Value{}, nil
		}
		a := &Array{Elem: elem, Values: make([]Value, 0, v.Len())}
		for i := range v.Len() {
			x, err := inner.get(v.Index(i))
			if err != nil {
				return Value{}, fmt.Errorf("element %d: %w", i, err)
			}
			if inner.kind != KindArray {
				a.Values = append(a.Values, x)
				continue
			}
			if x.list == nil || !a.addRow(i, v.Len(), x.list) {
				return Value{}, fmt.Errorf("element %d: an array of several dimensions has equally long slices in each", i)
			}
		}
		return List(a), nil
	}
	g.set = func(v reflect.Value, x Value) error {
		if x.IsNull() {
			v.SetZero()
			return nil
		}
		if x.kind != KindArray {
			var err error
			if x, err = x.ConvertArray(elem); err != nil {
				return err
			}
		}
		return setSlice(v, x.list, x.list.whole(), t, inner)
	}
	return g
}

// addRow appends an array as one of n of a dimension more. It returns false if it isn't as long as the others.
func (a *Array) addRow(i, n int, of *Array) bool {
	dims := append([]int{n}, of.whole()...)
	if i == 0 {
		a.Dims = dims
	} else if !slices.Equal(a.Dims, dims) {
		return false
	}
	a.Values = append(a.Values, of.Values...)
	return true
}

var errDimensions = errors.New("the array has other dimensions than the field")

// setSlice sets a slice to one dimension of an array.
func setSlice(v reflect.Value, a *Array, dims []int, t reflect.Type, inner goType) error {
	if len(a.Values) == 0 {
		v.Set(reflect.MakeSlice(t, 0, 0))
		return nil
	}
	if (len(dims) > 1) != (inner.kind == KindArray) {
		return errDimensions
	}
	out := reflect.MakeSlice(t, dims[0], dims[0])
	part := len(a.Values) / dims[0]
	for i := range dims[0] {
		x := a.Values[i]
		if len(dims) > 1 {
			x = List(&Array{Elem: a.Elem, Dims: dims[1:], Values: a.Values[i*part : (i+1)*part]})
		}
		if err := inner.set(out.Index(i), x); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
	v.Set(out)
	return nil
}
