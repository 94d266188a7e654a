package avro

import (
	"fmt"
	"math/big"
	"reflect"
	"time"
	"unsafe"
)

// planLeaf is plan for what has nothing inside. It refuses types that would hold less than the schema does.
func planLeaf(t reflect.Type, n *node) (checks, error) {
	switch n.kind { //nolint:exhaustive // the others have something inside
	case kindNull:
		return checks{}, fmt.Errorf("%v can't hold null: use any", t)
	case kindBoolean:
		return fitting(t, n, t.Kind() == reflect.Bool)
	case kindInt, kindLong:
		return planInteger(t, n)
	case kindFloat:
		if t.Kind() == reflect.Float64 {
			return checks{encode: func(p unsafe.Pointer) error { return floatFits(*(*float64)(p)) }}, nil
		}
		return fitting(t, n, t.Kind() == reflect.Float32)
	case kindDouble:
		if t.Kind() == reflect.Float32 {
			return checks{}, fmt.Errorf("%v can't hold a double: use float64", t)
		}
		return fitting(t, n, t.Kind() == reflect.Float64)
	case kindEnum:
		return fitting(t, n, isText(t) || isInteger(t))
	case kindString:
		return fitting(t, n, isText(t) || isBytes(t, -1) || n.logical == "uuid" && isBytes(t, 16))
	}
	if n.decimals {
		if t != ratType {
			return checks{}, fmt.Errorf("%v for %s: use *big.Rat", t, n)
		}
		return checks{decode: func(p unsafe.Pointer) error { return n.decimalFits((*big.Rat)(p)) }}, nil
	}
	if n.kind == kindBytes {
		return fitting(t, n, t.Kind() == reflect.String && t != numberType || isBytes(t, -1))
	}
	return fitting(t, n, isBytes(t, -1) || isBytes(t, n.size) || t.Kind() == reflect.String && t != numberType || n.logical == "duration" && t == avroDuration)
}

func fitting(t reflect.Type, n *node, fits bool) (checks, error) {
	if !fits {
		return checks{}, mismatch(t, n)
	}
	return checks{}, nil
}

func planInteger(t reflect.Type, n *node) (checks, error) {
	switch {
	case isTimeOfDay(n.logical):
		if t == timeType {
			return checks{}, fmt.Errorf("%v for %s, which is a time of day: use time.Duration", t, n)
		}
		if t == durationType {
			return checks{encode: func(p unsafe.Pointer) error { return n.durationFits(*(*time.Duration)(p)) }}, nil
		}
	case isTime(n.logical):
		if t == timeType {
			return checks{encode: func(p unsafe.Pointer) error { return n.timeFits((*time.Time)(p)) }}, nil
		}
		if t == durationType {
			return checks{}, fmt.Errorf("%v for %s: use time.Time", t, n)
		}
	case t == numberType:
		return checks{}, nil
	}
	return fitting(t, n, isInteger(t))
}

func isInteger(t reflect.Type) bool {
	switch t.Kind() { //nolint:exhaustive // the integers
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	return false
}

// isText reports whether t is a string, or makes one of itself and reads one.
func isText(t reflect.Type) bool {
	if t.Kind() == reflect.String {
		return t != numberType
	}
	p := reflect.PointerTo(t)
	return p.Implements(marshaler) && p.Implements(unmarshaler)
}

// isBytes reports whether t is an array of so many bytes; -1: a slice of them.
func isBytes(t reflect.Type, size int) bool {
	if size < 0 {
		return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
	}
	return t.Kind() == reflect.Array && t.Elem().Kind() == reflect.Uint8 && t.Len() == size
}
