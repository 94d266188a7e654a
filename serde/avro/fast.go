package avro

import (
	"reflect"
	"slices"
	"strconv"
	"unsafe"
)

// The library is for whatever a Go type may be. For plain types, which most are, this package reads and writes by itself, in about half of the time; it makes
// the same of the same data, and sees all that a walk sees on the way.

// fast reads and writes a value at p, of the type that it was made for. What it is read into is zero.
type fast struct {
	read  func(s *state, p unsafe.Pointer) error
	write func(s *state, p unsafe.Pointer) error
}

// state is what reading and writing goes on from.
type state struct {
	walk  // of what is read
	data  []byte
	dst   []byte
	chunk []byte // for strings and bytes to come
}

// chunkSize is how many bytes short strings are allocated at a time. One that is kept keeps that many at most.
const chunkSize = 1024

// text reads a string or bytes, as a part of the data.
func (s *state) text() (body []byte, err error) {
	body, s.data, err = text(s.data)
	return body, err
}

// keep returns a copy that nobody else has a part of.
func (s *state) keep(body []byte) []byte {
	n := len(body)
	if n > chunkSize/4 {
		return slices.Clone(body)
	}
	if n > len(s.chunk) {
		s.chunk = make([]byte, chunkSize)
	}
	kept := s.chunk[:n:n]
	s.chunk = s.chunk[n:]
	copy(kept, body)
	return kept
}

func (s *state) keepString(body []byte) string {
	if len(body) == 0 {
		return ""
	}
	return unsafe.String(unsafe.SliceData(s.keep(body)), len(body)) // nothing else writes there
}

func (s *state) integer(n *node) (int64, error) {
	i, rest, err := long(s.data)
	if err == nil && n.kind == kindInt && int64(int32(i)) != i {
		err = errInt
	}
	s.data = rest
	return i, err
}

// enter counts a level; leave is for the end of it.
func (s *state) enter() error {
	if s.depth >= maxDepth {
		return errTooDeep
	}
	s.depth++
	return nil
}

func (s *state) leave() { s.depth-- }

// compiler makes fast of types. What it has no way for is nil, and then the library is for the whole.
type compiler struct {
	records map[pair]*fast // each once; while it is made, it is empty
}

func (c *compiler) compile(t reflect.Type, n *node) *fast {
	switch n.kind { //nolint:exhaustive // the rest is leaves
	case kindUnion:
		return c.nullable(t, n)
	case kindRecord:
		return c.record(t, n)
	case kindArray:
		if t.Kind() != reflect.Slice || n.elem.min == 0 {
			return nil
		}
		if f := c.compile(t.Elem(), n.elem); f != nil {
			return fastSlice(t, n, f)
		}
		return nil
	case kindMap:
		if t.Kind() != reflect.Map || t.Key().Kind() != reflect.String || reflect.PointerTo(t.Key()).NumMethod() > 0 {
			return nil
		}
		if f := c.compile(t.Elem(), n.elem); f != nil {
			return fastMap(t, n, f)
		}
		return nil
	}
	return fastLeaf(t, n)
}

// nullable is a pointer for what may be null.
func (c *compiler) nullable(t reflect.Type, n *node) *fast {
	inside := n.nullable()
	if inside == nil || t.Kind() != reflect.Pointer {
		return nil
	}
	elem, isDecimal := t.Elem(), inside.logical == "decimal"
	if isDecimal {
		elem = t // it is a pointer itself
	}
	f := c.compile(elem, inside)
	if f == nil {
		return nil
	}
	null := int64(0)
	if n.branches[1].kind == kindNull {
		null = 1
	}
	nullByte, valueByte := byte(null<<1), byte((1-null)<<1)
	return &fast{
		read: func(s *state, p unsafe.Pointer) error {
			i, rest, err := long(s.data)
			if err != nil {
				return err
			}
			s.data = rest
			switch i {
			case null:
				return nil
			case 1 - null:
			default:
				return errBranch
			}
			if !isDecimal {
				value := reflect.New(elem).UnsafePointer()
				*(*unsafe.Pointer)(p) = value
				p = value
			}
			return f.read(s, p)
		},
		write: func(s *state, p unsafe.Pointer) error {
			value := *(*unsafe.Pointer)(p)
			if value == nil {
				s.dst = append(s.dst, nullByte)
				return nil
			}
			s.dst = append(s.dst, valueByte)
			if isDecimal {
				value = p
			}
			return f.write(s, value)
		},
	}
}

type fastField struct {
	fast
	offset uintptr
	name   string
}

func (c *compiler) record(t reflect.Type, n *node) *fast {
	if t.Kind() != reflect.Struct || t == timeType {
		return nil
	}
	if f := c.records[pair{t, n}]; f != nil {
		return &fast{
			func(s *state, p unsafe.Pointer) error { return f.read(s, p) },
			func(s *state, p unsafe.Pointer) error { return f.write(s, p) },
		}
	}
	f := &fast{}
	c.records[pair{t, n}] = f
	members, err := membersOf(t)
	if err != nil {
		return nil
	}
	var all []fastField
	for i := range n.fields {
		m := members[n.fields[i].name]
		offset, plain := offsetOf(t, m.index)
		if !plain || m.omits {
			return nil
		}
		inside := c.compile(m.t, n.fields[i].node)
		if inside == nil {
			return nil
		}
		all = append(all, fastField{*inside, offset, n.fields[i].name})
	}
	f.read = func(s *state, p unsafe.Pointer) error {
		if err := s.enter(); err != nil {
			return err
		}
		for i := range all {
			if err := all[i].read(s, unsafe.Add(p, all[i].offset)); err != nil {
				return within(all[i].name, err)
			}
		}
		s.leave()
		return nil
	}
	f.write = func(s *state, p unsafe.Pointer) error {
		if err := s.enter(); err != nil {
			return err
		}
		for i := range all {
			if err := all[i].write(s, unsafe.Add(p, all[i].offset)); err != nil {
				return within(all[i].name, err)
			}
		}
		s.leave()
		return nil
	}
	return f
}

// offsetOf returns where a field is, if there is no pointer on the way.
func offsetOf(t reflect.Type, index []int) (uintptr, bool) {
	offset := uintptr(0)
	for _, i := range index {
		if t.Kind() != reflect.Struct {
			return 0, false
		}
		f := t.Field(i)
		offset += f.Offset
		t = f.Type
	}
	return offset, true
}

// block reads the head of a block of items, of which there can be no more than the data has bytes for. Left is how much of the data there is behind it;
// -1: it doesn't say.
func (s *state) block(n *node, least int) (items, left int, err error) {
	count, rest, err := long(s.data)
	if err != nil || count == 0 {
		s.data = rest
		return 0, 0, err
	}
	left = -1
	if count < 0 {
		size, behind, err := long(rest)
		if err != nil {
			return 0, 0, err
		}
		if count = -count; count < 0 || size < 0 || size > int64(len(behind)) {
			return 0, 0, errBlock
		}
		rest, left = behind, len(behind)-int(size)
	}
	if count > int64(len(rest)/least) {
		return 0, 0, errShort
	}
	s.data = rest
	return int(count), left, s.take(n, count, len(rest))
}

func fastSlice(t reflect.Type, n *node, f *fast) *fast {
	size := t.Elem().Size()
	return &fast{
		read: func(s *state, p unsafe.Pointer) error {
			list := (*[]struct{})(p) // any slice begins with its address and its length
			at := 0
			for {
				count, left, err := s.block(n, n.elem.min)
				if count == 0 || err != nil {
					return err
				}
				v := reflect.NewAt(t, p).Elem()
				v.Grow(count)
				v.SetLen(at + count)
				for end := at + count; at < end; at++ {
					if err := f.read(s, unsafe.Add(unsafe.Pointer(unsafe.SliceData(*list)), uintptr(at)*size)); err != nil {
						return within("["+strconv.Itoa(at)+"]", err)
					}
				}
				if left >= 0 && len(s.data) != left {
					return errBlock
				}
			}
		},
		write: func(s *state, p unsafe.Pointer) error {
			list := *(*[]struct{})(p)
			if len(list) > 0 {
				s.dst = appendLong(s.dst, int64(len(list)))
			}
			for i := range list {
				if err := f.write(s, unsafe.Add(unsafe.Pointer(unsafe.SliceData(list)), uintptr(i)*size)); err != nil {
					return within("["+strconv.Itoa(i)+"]", err)
				}
			}
			s.dst = append(s.dst, 0)
			return nil
		},
	}
}

func fastMap(t reflect.Type, n *node, f *fast) *fast {
	return &fast{
		read: func(s *state, p unsafe.Pointer) error {
			m := reflect.NewAt(t, p).Elem()
			m.Set(reflect.MakeMap(t))
			key := reflect.New(t.Key()).Elem()
			value := reflect.New(t.Elem())
			for total := 0; ; {
				count, left, err := s.block(n, 1+n.elem.min)
				if count == 0 || err != nil {
					return err
				}
				for range count {
					name, err := s.text()
					if err != nil {
						return err
					}
					key.SetString(s.keepString(name))
					value.Elem().SetZero()
					if err := f.read(s, value.UnsafePointer()); err != nil {
						return within("["+strconv.Quote(key.String())+"]", err)
					}
					m.SetMapIndex(key, value.Elem())
				}
				if total += count; m.Len() != total {
					return errTwice
				}
				if left >= 0 && len(s.data) != left {
					return errBlock
				}
			}
		},
		write: func(s *state, p unsafe.Pointer) error {
			m := reflect.NewAt(t, p).Elem()
			if m.Len() > 0 {
				s.dst = appendLong(s.dst, int64(m.Len()))
				value := reflect.New(t.Elem())
				for entries := m.MapRange(); entries.Next(); {
					name := entries.Key().String()
					s.dst = append(appendLong(s.dst, int64(len(name))), name...)
					value.Elem().SetIterValue(entries)
					if err := f.write(s, value.UnsafePointer()); err != nil {
						return within("["+strconv.Quote(name)+"]", err)
					}
				}
			}
			s.dst = append(s.dst, 0)
			return nil
		},
	}
}
