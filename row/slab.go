package row

import "strings"

// slab cuts the memory of rows from larger pieces: one of values for many rows, and one of text for each row.
type slab struct {
	free []Value
	rows int // of the last piece
}

// keep returns a copy of values that shares nothing with them.
func (s *slab) keep(values []Value) []Value {
	n := len(values)
	if n == 0 {
		return nil
	}
	if len(s.free) < n {
		s.rows = min(max(2*s.rows, 1), 64)
		s.free = make([]Value, s.rows*n)
	}
	kept := s.free[:n:n]
	s.free = s.free[n:]
	copy(kept, values)
	size := 0
	for i := range kept {
		size += len(kept[i].str)
	}
	if size > 0 {
		var b strings.Builder
		b.Grow(size)
		for i := range kept {
			b.WriteString(kept[i].str)
		}
		all := b.String()
		for i := range kept {
			at := len(kept[i].str)
			kept[i].str, all = all[:at], all[at:]
		}
	}
	for i := range kept {
		if kept[i].list != nil {
			kept[i].list = kept[i].list.clone()
		}
	}
	return kept
}

// clone returns a copy that shares nothing.
func (a *Array) clone() *Array {
	c := &Array{Elem: a.Elem, Dims: append([]int(nil), a.Dims...), Values: make([]Value, len(a.Values))}
	for i, v := range a.Values {
		v.str = strings.Clone(v.str)
		if v.list != nil {
			v.list = v.list.clone()
		}
		c.Values[i] = v
	}
	return c
}
