package avro

import (
	"fmt"
	"slices"
	"strings"
)

// ChangeKind says what differs between the schema that data was written with and the one it is read by.
type ChangeKind string

// The kinds of changes. Data can be read in spite of some of them: see Change.Breaks.
const (
	ExtraField       ChangeKind = "extra field"       // only the writer has the field; it is skipped
	MissingField     ChangeKind = "missing field"     // only the reader has the field: it is new there, or the writer has removed it. Breaks without a default
	RenamedField     ChangeKind = "renamed field"     // found by an alias
	PromotedType     ChangeKind = "promoted type"     // int to long, for instance; a value that the reader's type has no equal for is an error when it is met
	WidenedType      ChangeKind = "widened type"      // long where the reader has int, for instance, or null where it has none. Breaks
	IncompatibleType ChangeKind = "incompatible type" // breaks
	ExtraSymbol      ChangeKind = "extra symbol"      // only the writer's enum has it. Breaks unless the reader's enum has a default
)

// Change is one difference.
type Change struct {
	Kind   ChangeKind
	Path   string // as in lines[].price; a map's values are [] as well; empty: the whole
	Breaks bool   // data of the writer can't be read by the reader
	Detail string
}

// String returns the path, the kind and the detail.
func (c Change) String() string {
	path := c.Path
	if path == "" {
		path = "the whole"
	}
	return path + ": " + string(c.Kind) + ": " + c.Detail
}

// IncompatibleError says why data that was written with one schema can't be read by another.
type IncompatibleError struct {
	Changes []Change // those that break it, in the order of the reader's fields; at least one
}

// Error names up to three changes.
func (e *IncompatibleError) Error() string {
	const most = 3
	var texts []string
	for _, c := range e.Changes[:min(most, len(e.Changes))] {
		texts = append(texts, c.String())
	}
	if more := len(e.Changes) - most; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return "avro: the schemas are incompatible: " + strings.Join(texts, "; ")
}

// Compare returns what differs between the schema that data was written with and the one that it is to be read by, for as much as matters to the values. Names
// of types, order of fields and documentation don't. Both texts have to be complete: Codec.Schema returns such a text where there are references. An error is one of
// the texts not being a schema.
func Compare(writer, reader string) ([]Change, error) {
	w, err := parse(writer, nil)
	if err != nil {
		return nil, fmt.Errorf("the writer's: %w", err)
	}
	r, err := parse(reader, nil)
	if err != nil {
		return nil, fmt.Errorf("the reader's: %w", err)
	}
	c := comparison{seen: map[nodes]bool{}, lossy: map[*node]int{}}
	c.compare(w.root, r.root, "")
	return c.changes, nil
}

// Compatible returns an *IncompatibleError if data that was written with one schema can't be read by the other, all of it that there may be. See
// Compare for the texts.
func Compatible(writer, reader string) error {
	w, err := parse(writer, nil)
	if err != nil {
		return fmt.Errorf("the writer's: %w", err)
	}
	r, err := parse(reader, nil)
	if err != nil {
		return fmt.Errorf("the reader's: %w", err)
	}
	_, _, err = resolve(w, r)
	return err
}

// comparison goes over two schemas at a time.
type comparison struct {
	changes []Change
	seen    map[nodes]bool
	lossy   map[*node]int // the writer's integers that become floats, with their bits of mantissa
}

type nodes struct{ w, r *node }

func (c *comparison) add(kind ChangeKind, path string, breaks bool, format string, args ...any) {
	c.changes = append(c.changes, Change{kind, path, breaks, fmt.Sprintf(format, args...)})
}

func (c *comparison) compare(w, r *node, path string) {
	if c.seen[nodes{w, r}] {
		return
	}
	c.seen[nodes{w, r}] = true
	switch {
	case w.kind == kindUnion:
		for _, b := range w.branches {
			if b.kind == kindNull && r.kind != kindNull && !r.hasNull() {
				c.add(WidenedType, path, true, "the writer has null, the reader %s", r)
				continue
			}
			c.compare(b, r, path)
		}
	case r.kind == kindUnion:
		if b := r.matching(w); b != nil {
			c.compare(w, b, path)
		} else if r.widenedIn(w) {
			c.add(WidenedType, path, true, "the writer has %s, the reader %s", w, r)
		} else {
			c.incompatible(w, r, path)
		}
	case w.kind != r.kind:
		c.promotion(w, r, path)
	default:
		c.same(w, r, path)
	}
}

func (c *comparison) incompatible(w, r *node, path string) {
	c.add(IncompatibleType, path, true, "the writer has %s, the reader %s", w, r)
}

// promotion is for types of two kinds.
func (c *comparison) promotion(w, r *node, path string) {
	switch {
	case promotes(w.kind, r.kind) && sameMeaning(w, r):
		c.add(PromotedType, path, false, "the writer has %s, the reader %s", w, r)
		c.loses(w, r)
	case promotes(r.kind, w.kind) && numeric(w.kind) && sameMeaning(w, r):
		c.add(WidenedType, path, true, "the writer has %s, the reader %s", w, r)
	default:
		c.incompatible(w, r, path)
	}
}

// loses notes integers that become floats.
func (c *comparison) loses(w, r *node) {
	mantissa := 0
	switch {
	case r.kind == kindFloat && w.kind != kindDouble:
		mantissa = 24
	case r.kind == kindDouble && w.kind == kindLong:
		mantissa = 53
	}
	if old := c.lossy[w]; mantissa > 0 && (old == 0 || mantissa < old) {
		c.lossy[w] = mantissa
	}
}

func (c *comparison) same(w, r *node, path string) {
	if w.name != "" && !r.named(w) {
		c.incompatible(w, r, path)
		return
	}
	switch w.kind { //nolint:exhaustive // the rest has nothing inside
	case kindRecord:
		c.fields(w, r, path)
		return
	case kindArray, kindMap:
		c.compare(w.elem, r.elem, path+"[]")
		return
	case kindEnum:
		for _, s := range w.symbols {
			if !slices.Contains(r.symbols, s) {
				c.add(ExtraSymbol, path, !r.symbolDefault, "the reader has no symbol %s", s)
			}
		}
		return
	case kindFixed:
		if w.size != r.size {
			c.add(IncompatibleType, path, true, "the writer has %d bytes, the reader %d", w.size, r.size)
			return
		}
	}
	if !sameMeaning(w, r) {
		c.incompatible(w, r, path)
	}
}

func (c *comparison) fields(w, r *node, path string) {
	used := map[string]bool{}
	for i := range r.fields {
		f := &r.fields[i]
		at := join(path, f.name)
		from := w.field(f)
		if from == nil {
			if f.hasDefault {
				c.add(MissingField, at, false, "the writer has no such field, the default is used")
			} else {
				c.add(MissingField, at, true, "the writer has no such field, and it has no default")
			}
			continue
		}
		used[from.name] = true
		if from.name != f.name {
			c.add(RenamedField, at, false, "the writer's field %s", from.name)
		}
		c.compare(from.node, f.node, at)
	}
	for i := range w.fields {
		name := w.fields[i].name
		if used[name] {
			continue
		}
		if f := r.answering(name); f != nil {
			c.add(IncompatibleType, join(path, f.name), true, "the writer's field %s is taken for it as well as another one", name)
			continue
		}
		c.add(ExtraField, join(path, name), false, "the reader has no such field")
	}
}

// field returns the field of the writer n that the reader's f takes, by its name or else by an alias.
func (n *node) field(f *field) *field {
	for _, name := range append([]string{f.name}, f.aliases...) {
		for i := range n.fields {
			if n.fields[i].name == name {
				return &n.fields[i]
			}
		}
	}
	return nil
}

// answering returns the field of the reader n that has name for an alias, or nil.
func (n *node) answering(name string) *field {
	for i := range n.fields {
		if slices.Contains(n.fields[i].aliases, name) {
			return &n.fields[i]
		}
	}
	return nil
}

// named reports whether a reader's type n answers to the name of the writer's w.
func (n *node) named(w *node) bool {
	if n.name == w.name || slices.Contains(n.aliases, w.name) {
		return true
	}
	_, short := cutName(w.name)
	_, own := cutName(n.name)
	return short == own
}

// matching returns the branch of a reader's union n that takes w: one of its name, else of its last name, else the first that it can be promoted to.
func (n *node) matching(w *node) *node {
	same := func(b *node) bool { return b.kind == w.kind && b.size == w.size }
	for _, b := range n.branches {
		if same(b) && (b.name == w.name || slices.Contains(b.aliases, w.name)) {
			return b
		}
	}
	for _, b := range n.branches {
		if same(b) && b.named(w) {
			return b
		}
	}
	for _, b := range n.branches {
		if promotes(w.kind, b.kind) {
			return b
		}
	}
	return nil
}

func (n *node) widenedIn(w *node) bool {
	for _, b := range n.branches {
		if numeric(w.kind) && promotes(b.kind, w.kind) {
			return true
		}
	}
	return false
}

func numeric(k kind) bool {
	return k == kindInt || k == kindLong || k == kindFloat || k == kindDouble
}

// promotes reports whether the specification reads one type as another.
func promotes(from, to kind) bool {
	switch from { //nolint:exhaustive // the others aren't promoted
	case kindInt:
		return to == kindLong || to == kindFloat || to == kindDouble
	case kindLong:
		return to == kindFloat || to == kindDouble
	case kindFloat:
		return to == kindDouble
	case kindString:
		return to == kindBytes
	case kindBytes:
		return to == kindString
	}
	return false
}

// sameMeaning reports whether the logical types of two schemas leave a value what it is. One side may have none: that is what older data often has.
func sameMeaning(w, r *node) bool {
	if w.logical == "decimal" && r.logical == "decimal" {
		return w.unscaled.Cmp(r.unscaled) == 0 && w.scaled.Cmp(r.scaled) == 0
	}
	return w.logical == r.logical || w.logical == "" || r.logical == ""
}
