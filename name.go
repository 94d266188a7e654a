package weaver

import (
	"fmt"
	"reflect"
	"strings"
)

// connectorName is how errors and logs call a part: by its own String, or by its type.
func connectorName(v any) string {
	if v == nil {
		return ""
	}
	if s, ok := As[fmt.Stringer](v); ok {
		return s.String()
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", v), "*")
}

// isNil also finds the nil pointer, function or map inside an interface: calling its methods would panic later.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Chan, reflect.Interface, reflect.Slice:
		return r.IsNil()
	default:
		return false
	}
}
