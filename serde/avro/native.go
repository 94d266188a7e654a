package avro

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"time"
)

// exactly returns an error if the schema n would alter v, a value in one of Go's own forms. It looks only where that can be: types that don't fit
// at all are left to the library.
func (n *node) exactly(v any, depth int) error {
	if v == nil || !n.inexact && !n.cyclic {
		return nil
	}
	switch v := v.(type) { // what is mostly so, and needs no more
	case float64:
		if n.kind == kindDouble {
			return nil
		}
	case time.Time:
		if n.logical != "" && isTime(n.logical) && !isTimeOfDay(n.logical) {
			return n.timeExactly(&v)
		}
	}
	if depth > maxDepth {
		return errTooDeep
	}
	switch n.kind { //nolint:exhaustive // nothing else is inexact
	case kindRecord:
		m, _ := v.(map[string]any)
		for _, i := range n.looked {
			f := &n.fields[i]
			if err := f.node.exactly(m[f.name], depth+1); err != nil {
				return within(f.name, err)
			}
		}
		return opaque(m == nil, v)
	case kindMap:
		m, ok := v.(map[string]any)
		for k, inside := range m {
			if err := n.elem.exactly(inside, depth+1); err != nil {
				return within("["+strconv.Quote(k)+"]", err)
			}
		}
		return opaque(!ok, v)
	case kindArray:
		list, ok := v.([]any)
		for i, inside := range list {
			if err := n.elem.exactly(inside, depth+1); err != nil {
				return within("["+strconv.Itoa(i)+"]", err)
			}
		}
		return opaque(!ok, v)
	case kindUnion:
		return n.unionExactly(v, depth)
	}
	return n.leafExactly(v)
}

func opaque(is bool, v any) error {
	if !is {
		return nil
	}
	return fmt.Errorf("a %T where a schema is for any value: only map[string]any and []any are looked into", v)
}

// unionExactly looks at the branch that v names, or at all that v can be meant for.
func (n *node) unionExactly(v any, depth int) error {
	if m, ok := v.(map[string]any); ok && len(m) == 1 {
		for name, inside := range m {
			if b := n.branch(name); b != nil {
				return b.exactly(inside, depth+1)
			}
		}
	}
	for _, b := range n.branches {
		if !n.mayTake(b, v) {
			continue
		}
		if err := b.exactly(v, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// branch returns the branch of that name, as the specification or goavro has it.
func (n *node) branch(name string) *node {
	for _, b := range n.branches {
		if name == b.branchName() || name == string(b.kind)+"."+b.logical || b.name == "" && name == string(b.kind) {
			return b
		}
	}
	return nil
}

// branchName is what goavro calls n in a union.
func (n *node) branchName() string {
	switch {
	case n.name != "":
		return n.name
	case n.logical != "" && goavroKnows(n.logical):
		return string(n.kind) + "." + n.logical
	}
	return string(n.kind)
}

// mayTake reports whether v, which doesn't say what branch it is for, may end up in b.
func (n *node) mayTake(b *node, v any) bool {
	switch v.(type) {
	case map[string]any:
		return b.kind == kindRecord || b.kind == kindMap
	case []any:
		return b.kind == kindArray
	case time.Time, time.Duration:
		return isTime(b.logical)
	case *big.Rat, big.Rat:
		return b.logical == "decimal"
	case float64:
		return b.kind == kindDouble || b.kind == kindFloat && !n.has(kindDouble)
	case float32:
		return b.kind == kindFloat || b.kind == kindDouble && !n.has(kindFloat)
	case int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return (b.kind == kindFloat || b.kind == kindDouble) && !n.has(kindInt) && !n.has(kindLong)
	}
	return false
}

func (n *node) has(k kind) bool {
	for _, b := range n.branches {
		if b.kind == k {
			return true
		}
	}
	return false
}

func (n *node) leafExactly(v any) error {
	switch v := v.(type) {
	case time.Time:
		if isTimeOfDay(n.logical) {
			return fmt.Errorf("a time.Time where %s is a time of day: use time.Duration", n.logical)
		}
		if isTime(n.logical) {
			return n.timeExactly(&v)
		}
	case time.Duration:
		if isTimeOfDay(n.logical) {
			return n.durationFits(v)
		}
		return fmt.Errorf("a time.Duration where %s is no time of day", n)
	case *big.Rat:
		if n.decimals && v != nil {
			return n.decimalFits(v)
		}
	case float64:
		if n.kind == kindFloat {
			return floatFits(v)
		}
		return n.noFloat("float64")
	case float32:
		return n.noFloat("float32")
	case string, json.Number, big.Rat:
		return fmt.Errorf("a %T where the schema is for %s: what becomes of it may not be equal to it", v, n)
	default:
		return n.numberExactly(v)
	}
	return nil
}

func (n *node) timeExactly(t *time.Time) error {
	if err := n.timeFits(t); err != nil {
		return err
	}
	return n.timeInRange(t)
}

func (n *node) noFloat(t string) error {
	if n.decimals || isTime(n.logical) {
		return fmt.Errorf("a %s where the schema is for %s: what becomes of it may not be equal to it", t, n)
	}
	return nil
}

func (n *node) numberExactly(v any) error {
	if n.kind != kindFloat && n.kind != kindDouble {
		return nil
	}
	switch v := v.(type) {
	case int:
		return integerFitsError(int64(v), n)
	case int64:
		return integerFitsError(v, n)
	case int32:
		return integerFitsError(int64(v), n)
	case int8, int16, uint8, uint16:
		return nil // 16 bits fit
	}
	return fmt.Errorf("a %T where the schema is for %s", v, n)
}
