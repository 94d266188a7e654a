package row

import "math"

// Equal reports whether two values say the same: they are of the same kind, and NULL is equal to NULL. An Int and a Uint are
// equal if they are the same number; so are two Decimals, however they are written (5.0 and 5.00). NaN is equal to NaN, and -0
// to 0. JSON is compared by its text. Arrays are equal if they have equal values, of equal kinds and in the same dimensions.
func (v Value) Equal(w Value) bool {
	if v.kind != w.kind {
		return (v.kind == KindInt && w.kind == KindUint || v.kind == KindUint && w.kind == KindInt) &&
			v.num == w.num && v.num <= math.MaxInt64
	}
	switch v.kind {
	case KindFloat, KindFloat32:
		a, b := v.Float(), w.Float()
		return a == b || math.IsNaN(a) && math.IsNaN(b)
	case KindDecimal:
		return v.str == w.str || sameNumber(v.str, w.str)
	case KindArray:
		return v.list.equal(w.list)
	default:
		return v.num == w.num && v.nsec == w.nsec && v.str == w.str
	}
}

func sameNumber(a, b string) bool {
	if f, ok := special(a); ok {
		g, ok := special(b)
		return ok && (f == g || math.IsNaN(f) && math.IsNaN(g))
	}
	x, ok1 := parseNumber(a)
	y, ok2 := parseNumber(b)
	if !ok1 || !ok2 {
		return false
	}
	first, second, exponent := x.significant()
	first2, second2, exponent2 := y.significant()
	if first == "" && second == "" {
		return first2 == "" && second2 == ""
	}
	return x.negative == y.negative && exponent == exponent2 && sameDigits(first, second, first2, second2)
}

func (a *Array) equal(b *Array) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil || a.Elem != b.Elem || len(a.Values) != len(b.Values) {
		return false
	}
	dims, others := a.whole(), b.whole()
	if len(dims) != len(others) {
		return false
	}
	for i := range dims {
		if dims[i] != others[i] {
			return false
		}
	}
	for i := range a.Values {
		if !a.Values[i].Equal(b.Values[i]) {
			return false
		}
	}
	return true
}

// Equal reports whether two rows have the same names in the same order, and equal values.
func (r Row) Equal(o Row) bool {
	if len(r.Values) != len(o.Values) || r.Columns.Len() != o.Columns.Len() {
		return false
	}
	if r.Columns != o.Columns {
		for i, c := range r.Columns.All() {
			if c.Name != o.Columns.list[i].Name {
				return false
			}
		}
	}
	for i := range r.Values {
		if !r.Values[i].Equal(o.Values[i]) {
			return false
		}
	}
	return true
}
