package row

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ConvertArray returns the value as an array whose elements are of a kind, each by [Value.Convert]. An array may be one
// already, a Text that is PostgreSQL's array literal ({1,NULL,"a b"}, {{1,2},{3,4}}), or a JSON array. NULL stays NULL.
// What it returns may share memory with v.
func (v Value) ConvertArray(elem Kind) (Value, error) {
	var a *Array
	var err error
	switch v.kind {
	case KindNull:
		return v, nil
	case KindArray:
		if v.list.Elem == elem {
			return v, nil
		}
		a = &Array{Elem: elem, Dims: v.list.Dims, Values: slices.Clone(v.list.Values)}
	case KindText:
		a, err = parseArray(v.str)
	case KindJSON:
		a, err = arrayOfJSON(v.str, elem)
	default:
		err = errNoWay
	}
	if err != nil {
		return Value{}, v.cannot(KindArray, err)
	}
	a.Elem = elem
	for i := range a.Values {
		x := &a.Values[i]
		if *x, err = x.Convert(elem); err != nil {
			return Value{}, v.cannot(KindArray, fmt.Errorf("element %d: %w", i, err))
		}
	}
	return List(a), nil
}

var (
	errRagged = errors.New("its rows are not equally long")
	errBounds = errors.New("it has bounds other than from 1, which would be lost")
	errDeep   = errors.New("it has too many dimensions")
)

// maxDims is how many dimensions the text of an array may have. PostgreSQL has 6.
const maxDims = 32

// arrayText reads an array literal.
type arrayText struct {
	cursor
	out  *Array
	dims []int // -1: not known yet
}

// parseArray reads an array literal. Its elements are Texts and NULLs.
func parseArray(s string) (*Array, error) {
	if strings.HasPrefix(s, "[") {
		return nil, errBounds
	}
	p := arrayText{cursor: cursor{s}, out: &Array{}}
	p.space()
	if err := p.dimension(0); err != nil {
		return nil, err
	}
	if p.space(); p.rest != "" {
		return nil, errSyntax
	}
	p.out.fold(p.dims)
	return p.out, nil
}

// fold gives an array its dimensions, which is nothing to say where there is one.
func (a *Array) fold(dims []int) {
	if len(dims) > 1 && len(a.Values) > 0 {
		a.Dims = dims
	}
}

func (p *arrayText) space() { p.rest = strings.TrimLeft(p.rest, " \t\n\r\v\f") }

// dimension reads a list in braces at a depth.
func (p *arrayText) dimension(depth int) error {
	if !p.skip("{") {
		return errSyntax
	}
	if depth == maxDims {
		return errDeep
	}
	if depth == len(p.dims) {
		if len(p.out.Values) > 0 {
			return errRagged // elements and lists side by side
		}
		p.dims = append(p.dims, -1)
	}
	n := 0
	p.space()
	if !p.skip("}") {
		for {
			p.space()
			if err := p.element(depth); err != nil {
				return err
			}
			n++
			p.space()
			if p.skip("}") {
				break
			}
			if !p.skip(",") {
				return errSyntax
			}
		}
	} else if depth > 0 {
		return errSyntax
	}
	return sameLength(&p.dims[depth], n)
}

// sameLength checks that a list of a dimension is as long as the others.
func sameLength(dim *int, n int) error {
	if *dim >= 0 && *dim != n {
		return errRagged
	}
	*dim = n
	return nil
}

func (p *arrayText) element(depth int) error {
	if strings.HasPrefix(p.rest, "{") {
		return p.dimension(depth + 1)
	}
	if depth+1 != len(p.dims) {
		return errRagged
	}
	if p.skip(`"`) {
		text, err := p.quoted()
		if err != nil {
			return err
		}
		p.out.Values = append(p.out.Values, Text(text))
		return nil
	}
	n := strings.IndexAny(p.rest, `,{}"\`)
	if n < 0 || p.rest[n] != ',' && p.rest[n] != '}' {
		return errSyntax
	}
	word := strings.TrimRight(p.rest[:n], " \t\n\r\v\f")
	if word == "" {
		return errSyntax
	}
	p.rest = p.rest[n:]
	if strings.EqualFold(word, "NULL") {
		p.out.Values = append(p.out.Values, Value{})
		return nil
	}
	p.out.Values = append(p.out.Values, Text(word))
	return nil
}

// quoted reads up to the closing quotation mark.
func (p *arrayText) quoted() (string, error) {
	n := strings.IndexAny(p.rest, `"\`)
	if n >= 0 && p.rest[n] == '"' {
		text := p.rest[:n]
		p.rest = p.rest[n+1:]
		return text, nil
	}
	var text []byte
	for {
		if n < 0 || p.rest[n] == '\\' && n+1 == len(p.rest) {
			return "", errSyntax
		}
		text = append(text, p.rest[:n]...)
		if p.rest[n] == '"' {
			p.rest = p.rest[n+1:]
			return string(text), nil
		}
		text = append(text, p.rest[n+1])
		p.rest = p.rest[n+2:]
		n = strings.IndexAny(p.rest, `"\`)
	}
}
