package avro

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"
	"unsafe"
)

var (
	errBranch = errors.New("a branch that the union doesn't have")
	errTwice  = errors.New("a map that has a name twice")
	errNil    = errors.New("nil where the schema doesn't allow null")
)

// appendLong writes an integer: zigzag, seven bits a byte, the lowest first.
func appendLong(dst []byte, i int64) []byte {
	u := uint64(i)<<1 ^ uint64(i>>63)
	if u < 0x80 {
		return append(dst, byte(u))
	}
	return binary.AppendUvarint(dst, u)
}

func fastLeaf(t reflect.Type, n *node) *fast {
	if n.decimals && t.Kind() == reflect.Pointer && t.Elem() == ratType {
		return fastDecimal(n)
	}
	p := reflect.PointerTo(t)
	if n.logical == "uuid" || n.logical == "duration" || t != timeType && (p.Implements(marshaler) || p.Implements(unmarshaler)) {
		return nil
	}
	switch n.kind { //nolint:exhaustive // null has no plain type
	case kindBoolean:
		if t.Kind() != reflect.Bool {
			return nil
		}
		return fastBool()
	case kindInt, kindLong:
		return fastInteger(t, n)
	case kindFloat, kindDouble:
		return fastFloat(t, n)
	case kindEnum:
		return fastEnum(t, n)
	}
	switch {
	case n.decimals:
		return nil
	case n.kind == kindFixed && isBytes(t, n.size):
		return fastFixed(n.size)
	case n.kind == kindFixed:
		return nil
	case isBytes(t, -1):
		return fastBytes()
	case t.Kind() == reflect.String && t != numberType:
		return fastString()
	}
	return nil
}

func fastBool() *fast {
	return &fast{
		func(s *state, p unsafe.Pointer) error {
			if len(s.data) == 0 {
				return errShort
			}
			if s.data[0] > 1 {
				return errBoolean
			}
			*(*bool)(p) = s.data[0] == 1
			s.data = s.data[1:]
			return nil
		},
		func(s *state, p unsafe.Pointer) error {
			b := byte(0)
			if *(*bool)(p) {
				b = 1
			}
			s.dst = append(s.dst, b)
			return nil
		},
	}
}

func fastInteger(t reflect.Type, n *node) *fast {
	switch {
	case t == timeType:
		return fastTime(n)
	case t == durationType && isTimeOfDay(n.logical):
		return fastTimeOfDay(n)
	}
	switch t.Kind() { //nolint:exhaustive // the library does the others
	case reflect.Int:
		return integers[int](n)
	case reflect.Int8:
		return integers[int8](n)
	case reflect.Int16:
		return integers[int16](n)
	case reflect.Int32:
		return integers[int32](n)
	case reflect.Int64:
		return integers[int64](n)
	case reflect.Uint8:
		return integers[uint8](n)
	case reflect.Uint16:
		return integers[uint16](n)
	case reflect.Uint32:
		return integers[uint32](n)
	}
	return nil
}

func integers[T int | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32](n *node) *fast {
	return &fast{
		func(s *state, p unsafe.Pointer) error {
			i, err := s.integer(n)
			if err != nil {
				return err
			}
			if int64(T(i)) != i {
				return fmt.Errorf("the integer %d is out of range for %T", i, T(0))
			}
			*(*T)(p) = T(i)
			return nil
		},
		func(s *state, p unsafe.Pointer) error {
			i := int64(*(*T)(p))
			if n.kind == kindInt && int64(int32(i)) != i {
				return fmt.Errorf("the integer %d is out of range for an int", i)
			}
			s.dst = appendLong(s.dst, i)
			return nil
		},
	}
}

func fastFloat(t reflect.Type, n *node) *fast {
	switch {
	case n.kind == kindDouble && t.Kind() == reflect.Float64:
		return &fast{
			func(s *state, p unsafe.Pointer) error {
				if len(s.data) < 8 {
					return errShort
				}
				*(*float64)(p) = math.Float64frombits(binary.LittleEndian.Uint64(s.data))
				s.data = s.data[8:]
				return nil
			},
			func(s *state, p unsafe.Pointer) error {
				s.dst = binary.LittleEndian.AppendUint64(s.dst, math.Float64bits(*(*float64)(p)))
				return nil
			},
		}
	case n.kind == kindFloat && t.Kind() == reflect.Float32:
		return &fast{
			func(s *state, p unsafe.Pointer) error {
				if len(s.data) < 4 {
					return errShort
				}
				*(*float32)(p) = math.Float32frombits(binary.LittleEndian.Uint32(s.data))
				s.data = s.data[4:]
				return nil
			},
			func(s *state, p unsafe.Pointer) error {
				s.dst = binary.LittleEndian.AppendUint32(s.dst, math.Float32bits(*(*float32)(p)))
				return nil
			},
		}
	}
	return nil
}

func fastString() *fast {
	return &fast{
		func(s *state, p unsafe.Pointer) error {
			body, err := s.text()
			if err != nil {
				return err
			}
			*(*string)(p) = s.keepString(body)
			return nil
		},
		func(s *state, p unsafe.Pointer) error {
			v := *(*string)(p)
			s.dst = append(appendLong(s.dst, int64(len(v))), v...)
			return nil
		},
	}
}

func fastBytes() *fast {
	return &fast{
		func(s *state, p unsafe.Pointer) error {
			body, err := s.text()
			if err != nil {
				return err
			}
			if len(body) == 0 {
				*(*[]byte)(p) = []byte{}
				return nil
			}
			*(*[]byte)(p) = s.keep(body)
			return nil
		},
		func(s *state, p unsafe.Pointer) error {
			v := *(*[]byte)(p)
			s.dst = append(appendLong(s.dst, int64(len(v))), v...)
			return nil
		},
	}
}

func fastFixed(size int) *fast {
	return &fast{
		func(s *state, p unsafe.Pointer) error {
			if len(s.data) < size {
				return errShort
			}
			copy(unsafe.Slice((*byte)(p), size), s.data)
			s.data = s.data[size:]
			return nil
		},
		func(s *state, p unsafe.Pointer) error {
			s.dst = append(s.dst, unsafe.Slice((*byte)(p), size)...)
			return nil
		},
	}
}

func fastEnum(t reflect.Type, n *node) *fast {
	if t.Kind() != reflect.String || t == numberType {
		return nil
	}
	index := map[string]int64{}
	for i, symbol := range n.symbols {
		index[symbol] = int64(i)
	}
	return &fast{
		func(s *state, p unsafe.Pointer) error {
			i, rest, err := long(s.data)
			if err != nil {
				return err
			}
			if i < 0 || i >= int64(len(n.symbols)) {
				return fmt.Errorf("symbol %d of %d", i, len(n.symbols))
			}
			s.data = rest
			*(*string)(p) = n.symbols[i]
			return nil
		},
		func(s *state, p unsafe.Pointer) error {
			i, ok := index[*(*string)(p)]
			if !ok {
				return fmt.Errorf("a symbol that %s doesn't have", n)
			}
			s.dst = appendLong(s.dst, i)
			return nil
		},
	}
}

func fastTime(n *node) *fast {
	var from func(i int64) time.Time
	var to func(t *time.Time) int64
	switch n.logical {
	case "timestamp-millis":
		from, to = time.UnixMilli, func(t *time.Time) int64 { return t.UnixMilli() }
	case "timestamp-micros":
		from, to = time.UnixMicro, func(t *time.Time) int64 { return t.UnixMicro() }
	case "date":
		from, to = func(i int64) time.Time { return time.Unix(i*86400, 0) }, func(t *time.Time) int64 { return t.Unix() / 86400 }
	default:
		return nil
	}
	return &fast{
		func(s *state, p unsafe.Pointer) error {
			i, err := s.integer(n)
			if err != nil {
				return err
			}
			*(*time.Time)(p) = from(i).UTC()
			return nil
		},
		func(s *state, p unsafe.Pointer) error {
			t := (*time.Time)(p)
			if err := n.timeFits(t); err != nil {
				return err
			}
			i := to(t)
			if !from(i).Equal(*t) || n.kind == kindInt && int64(int32(i)) != i {
				return fmt.Errorf("a time in the year %d is out of range for %s", t.Year(), n.logical)
			}
			s.dst = appendLong(s.dst, i)
			return nil
		},
	}
}

func fastTimeOfDay(n *node) *fast {
	unit := unitOf(n.logical)
	return &fast{
		func(s *state, p unsafe.Pointer) error {
			i, err := s.integer(n)
			if err != nil {
				return err
			}
			if i > math.MaxInt64/int64(unit) || i < math.MinInt64/int64(unit) {
				return fmt.Errorf("%d microseconds are more than a time.Duration holds", i)
			}
			*(*time.Duration)(p) = time.Duration(i) * unit
			return nil
		},
		func(s *state, p unsafe.Pointer) error {
			d := *(*time.Duration)(p)
			if err := n.durationFits(d); err != nil {
				return err
			}
			s.dst = appendLong(s.dst, int64(d/unit))
			return nil
		},
	}
}
