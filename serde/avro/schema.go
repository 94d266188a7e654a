package avro

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/twmb/avro"
)

// schema is a parsed schema text: the library's form of it and ours.
type schema struct {
	text     string // complete: what it refers to is in it
	compiled *avro.Schema
	root     *node
}

// maxSchemaBytes is far above any schema that people write.
const maxSchemaBytes = 16 << 20

// parse reads a schema text and, before it, the texts that it refers to, each after those that it refers to itself.
func parse(text string, references []string) (*schema, error) {
	total := len(text)
	for _, r := range references {
		total += len(r)
	}
	if total > maxSchemaBytes {
		return nil, fmt.Errorf("avro: a schema of %d bytes, want at most %d", total, maxSchemaBytes)
	}
	var compiled *avro.Schema
	var err error
	if len(references) == 0 {
		compiled, err = avro.Parse(text)
	} else {
		compiled, err = parseReferring(text, references)
	}
	if err != nil {
		return nil, fmt.Errorf("avro: schema: %w", err)
	}
	return newSchema(compiled)
}

func parseReferring(text string, references []string) (*avro.Schema, error) {
	var known avro.SchemaCache
	for i, r := range references {
		if _, err := known.Parse(r); err != nil {
			return nil, fmt.Errorf("reference %d: %w", i, err)
		}
	}
	s, err := known.Parse(text)
	if err != nil {
		return nil, err
	}
	return s.Root().Schema() // with everything it refers to
}

func newSchema(compiled *avro.Schema) (*schema, error) {
	b := builder{named: map[string]*node{}}
	top := compiled.Root()
	root, err := b.node(top, "")
	if err != nil {
		return nil, fmt.Errorf("avro: schema: %w", err)
	}
	b.settle()
	return &schema{text: compiled.String(), compiled: compiled, root: root}, nil
}

// kind is an Avro type.
type kind string

const (
	kindNull    kind = "null"
	kindBoolean kind = "boolean"
	kindInt     kind = "int"
	kindLong    kind = "long"
	kindFloat   kind = "float"
	kindDouble  kind = "double"
	kindString  kind = "string"
	kindBytes   kind = "bytes"
	kindRecord  kind = "record"
	kindEnum    kind = "enum"
	kindArray   kind = "array"
	kindMap     kind = "map"
	kindUnion   kind = "union"
	kindFixed   kind = "fixed"
)

// node is a schema, or a part of one. Named types that contain themselves make it a graph with cycles.
type node struct {
	kind    kind
	logical string
	name    string // in full; records, enums and fixed have one
	aliases []string

	fields        []field // record
	symbols       []string
	symbolDefault bool    // the enum has one
	elem          *node   // of an array or a map
	branches      []*node // union
	size          int     // fixed

	unscaled *big.Int // of a decimal: ten to the power of its precision
	scaled   *big.Int // and of its scale

	min int // as few bytes it takes

	// What is in here, itself included.
	inexact  bool // something that Go can hold more of than the schema
	decimals bool
	empty    bool  // takes no bytes
	hollow   bool  // there is an array whose items take none
	views    bool  // bytes or fixed, which goavro leaves in the data
	cyclic   bool  // contains itself
	looked   []int // the fields that are inexact or cyclic
}

type field struct {
	name       string
	aliases    []string
	node       *node
	hasDefault bool
	value      any // the default
}

// builder makes nodes of what the library parsed, which has checked it.
type builder struct {
	named map[string]*node
	all   []*node
}

func (b *builder) node(s *avro.SchemaNode, space string) (*node, error) {
	n := &node{kind: kind(s.Type)}
	if n.kind == "error" {
		n.kind = kindRecord
	}
	if means(s) {
		n.logical = s.LogicalType
	}
	switch n.kind {
	case kindRecord, kindEnum, kindFixed:
		n.name = fullName(s.Name, s.Namespace)
		space, _ = cutName(n.name)
		for _, a := range s.Aliases {
			n.aliases = append(n.aliases, fullName(a, space))
		}
		b.named[n.name] = n
	case kindArray, kindMap, kindUnion, kindNull, kindBoolean, kindInt, kindLong, kindFloat, kindDouble, kindString, kindBytes:
	default:
		return b.lookup(s.Type, space)
	}
	b.all = append(b.all, n)
	if n.logical == "decimal" {
		n.unscaled = new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(s.Precision)), nil)
		n.scaled = new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(s.Scale)), nil)
	}
	n.symbols, n.symbolDefault, n.size = s.Symbols, s.HasEnumDefault, s.Size
	return n, b.inside(n, s, space)
}

// means reports whether a logical type means anything on the type that it is written on. If not, the specification says to ignore it.
func means(s *avro.SchemaNode) bool {
	switch s.LogicalType {
	case "date", "time-millis":
		return s.Type == "int"
	case "time-micros", "timestamp-millis", "timestamp-micros", "timestamp-nanos",
		"local-timestamp-millis", "local-timestamp-micros", "local-timestamp-nanos":
		return s.Type == "long"
	case "decimal":
		return (s.Type == "bytes" || s.Type == "fixed") && s.Precision > 0
	case "uuid":
		return s.Type == "string" || s.Type == "fixed" && s.Size == 16
	case "duration":
		return s.Type == "fixed" && s.Size == 12
	}
	return false
}

func (b *builder) inside(n *node, s *avro.SchemaNode, space string) (err error) {
	switch n.kind {
	case kindRecord:
		for i := range s.Fields {
			f := &s.Fields[i]
			inside, err := b.node(&f.Type, space)
			if err != nil {
				return err
			}
			n.fields = append(n.fields, field{f.Name, f.Aliases, inside, f.HasDefault, f.Default})
		}
	case kindArray:
		n.elem, err = b.node(s.Items, space)
	case kindMap:
		n.elem, err = b.node(s.Values, space)
	case kindUnion:
		for i := range s.Branches {
			branch, err := b.node(&s.Branches[i], space)
			if err != nil {
				return err
			}
			n.branches = append(n.branches, branch)
		}
	default:
	}
	return err
}

func (b *builder) lookup(name, space string) (*node, error) {
	if n := b.named[fullName(name, space)]; n != nil {
		return n, nil
	}
	if n := b.named[name]; n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("the type %q is not in it", name)
}

// settle works out what is in each node, cycles and all: a fact spreads until nothing changes.
func (b *builder) settle() {
	for _, n := range b.all {
		n.decimals = n.logical == "decimal"
		n.inexact = n.decimals || isTime(n.logical) || n.kind == kindFloat || n.kind == kindDouble
		n.views = (n.kind == kindBytes || n.kind == kindFixed) && !n.decimals
	}
	for changed := true; changed; {
		changed = false
		for _, n := range slices.Backward(b.all) { // what is inside comes later
			old := *n
			n.gather()
			changed = changed || old.inexact != n.inexact || old.decimals != n.decimals || old.empty != n.empty || old.hollow != n.hollow || old.views != n.views
		}
	}
	b.findCycles()
	known := map[*node]int{}
	for _, n := range b.all {
		for i := range n.fields {
			if f := n.fields[i].node; f.inexact || f.cyclic {
				n.looked = append(n.looked, i)
			}
		}
		n.min = leastBytes(n, known)
	}
}

// leastBytes returns how many bytes a value of n takes at least, or less where it contains itself.
func leastBytes(n *node, known map[*node]int) int {
	const most = 1 << 20
	if least, done := known[n]; done {
		return least
	}
	known[n] = 0
	least := 1
	switch n.kind { //nolint:exhaustive // the others have a length, a count, an index or a number
	case kindNull:
		least = 0
	case kindFloat:
		least = 4
	case kindDouble:
		least = 8
	case kindFixed:
		least = min(n.size, most)
	case kindRecord:
		least = 0
		for i := range n.fields {
			least = min(least+leastBytes(n.fields[i].node, known), most)
		}
	}
	known[n] = least
	return least
}

func (n *node) gather() {
	empty := n.kind == kindNull || n.kind == kindRecord || n.kind == kindFixed && n.size == 0
	for c := range n.children {
		n.inexact = n.inexact || c.inexact
		n.decimals = n.decimals || c.decimals
		n.hollow = n.hollow || c.hollow
		n.views = n.views || c.views
		empty = empty && c.empty
	}
	n.empty = empty
	n.hollow = n.hollow || n.kind == kindArray && n.elem.empty
}

// findCycles marks what can be reached from itself.
func (b *builder) findCycles() {
	const open, done = 1, 2
	state := map[*node]int{}
	var visit func(n *node) bool
	visit = func(n *node) bool {
		switch state[n] {
		case open:
			return true
		case done:
			return n.cyclic
		}
		state[n] = open
		for c := range n.children {
			if visit(c) {
				n.cyclic = true // or leads to a cycle, which is as good here
			}
		}
		state[n] = done
		return n.cyclic
	}
	for _, n := range b.all {
		visit(n)
	}
}

// children goes through what n is made of.
func (n *node) children(yield func(*node) bool) {
	for i := range n.fields {
		if !yield(n.fields[i].node) {
			return
		}
	}
	for _, c := range n.branches {
		if !yield(c) {
			return
		}
	}
	if n.elem != nil {
		yield(n.elem)
	}
}

// nullable returns what a union of null and one other type may be beside null, or nil.
func (n *node) nullable() *node {
	if len(n.branches) != 2 {
		return nil
	}
	if n.branches[0].kind == kindNull {
		return n.branches[1]
	}
	if n.branches[1].kind == kindNull {
		return n.branches[0]
	}
	return nil
}

func (n *node) hasNull() bool {
	for _, c := range n.branches {
		if c.kind == kindNull {
			return true
		}
	}
	return false
}

// String says what n is, for errors.
func (n *node) String() string {
	s := string(n.kind)
	switch {
	case n.kind == kindUnion:
		names := make([]string, len(n.branches))
		for i, c := range n.branches {
			names[i] = c.String()
		}
		return "union of " + strings.Join(names, ", ")
	case n.logical == "decimal":
		s = fmt.Sprintf("decimal(%d,%d)", len(n.unscaled.String())-1, len(n.scaled.String())-1)
	case n.logical != "":
		s = n.logical
	case n.name != "":
		s += " " + n.name
	}
	return s
}

func fullName(name, space string) string {
	if space == "" || strings.Contains(name, ".") {
		return name
	}
	return space + "." + name
}

func cutName(name string) (space, short string) {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}

var errTooDeep = errors.New("nested more than 1000 levels deep")

// maxDepth is what the library allows; goavro has no limit of its own.
const maxDepth = 1000
