package file

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	weaver "github.com/bohica-labs/dataweaver"
)

// naming makes names of parts from a template. It belongs to one writer.
type naming[T any] struct {
	root     string // what comes before the first element with a placeholder
	elements []element[T]
	splits   bool // {split} is in it
}

// element is what stands between two slashes.
type element[T any] struct {
	pieces []piece[T]
	source string // as the template has it
}

// piece is a constant, or says where a part of a name comes from.
type piece[T any] struct {
	kind    pieceKind
	literal string // what is between the braces of any other
	limit   int    // bytes of a value
	layout  *layout
	field   *field
}

type pieceKind uint8

const (
	literalPiece pieceKind = iota
	partPiece
	splitPiece
	timePiece
	nowPiece
	keyPiece
	fieldPiece
)

const (
	maxElement  = 200 // bytes; most file systems take 255
	minValue    = 40  // that must be left of it for each value
	partDigits  = 6   // at least
	numberBytes = 20  // at most
	partMark    = 0   // stands for the number in a name that has none yet: nothing else makes that byte
)

var errNoTime = errors.New("the record has no Time, which {time:...} in the path asks for: take {now:...}, or have a stage set it")

// newNaming reads a template. Fields of T go by the tags of a format.
func newNaming[T any](template string, k kind, columns []string) (*naming[T], error) {
	if !utf8.ValidString(template) || strings.ContainsRune(template, partMark) {
		return nil, errors.New("the path isn't text")
	}
	elements, err := splitTemplate[T](filepath.ToSlash(template))
	if err != nil {
		return nil, err
	}
	n := &naming[T]{}
	var root []string
	parts := 0
	for i := range elements {
		e := &elements[i]
		if len(n.elements) == 0 && e.constant() {
			root = append(root, e.text())
			continue
		}
		if e.constant() && (e.text() == "" || e.text() == ".") {
			continue
		}
		if err := n.resolve(e, k, columns, &parts); err != nil {
			return nil, err
		}
		n.elements = append(n.elements, *e)
	}
	if n.root = strings.Join(root, "/"); n.root == "" {
		n.root = "."
		if len(root) > 0 {
			n.root = "/"
		}
	}
	n.root = filepath.FromSlash(n.root)
	if n.root == filepath.VolumeName(n.root) {
		n.root += string(filepath.Separator) // not the working folder of that drive
	}
	if parts == 0 {
		return nil, errors.New("{part} is missing in the path: it stands for the number of a part, without which two would have one name")
	}
	return n, nil
}

// splitTemplate finds elements and pieces. Two braces stand for one that is none of a placeholder.
func splitTemplate[T any](template string) ([]element[T], error) {
	var all []element[T]
	var e element[T]
	var text []byte
	flush := func() {
		if len(text) > 0 {
			e.pieces = append(e.pieces, piece[T]{literal: string(text)})
			text = nil
		}
	}
	end := func() {
		flush()
		all = append(all, e)
		e = element[T]{}
	}
	for i := 0; i < len(template); i++ {
		c := template[i]
		switch {
		case c == '/':
			end()
			continue
		case (c == '{' || c == '}') && i+1 < len(template) && template[i+1] == c:
			text = append(text, c)
			e.source += template[i : i+2]
			i++
			continue
		case c == '}':
			return nil, fmt.Errorf("the path has a } without a { before it: %s", template[i:])
		case c != '{':
			text = append(text, c)
			e.source += string(c)
			continue
		}
		inside, _, ok := strings.Cut(template[i+1:], "}")
		if !ok {
			return nil, fmt.Errorf("the path has a { without a } behind it: %s", template[i:])
		}
		i += len(inside) + 1
		what, layout, _ := strings.Cut(inside, ":")
		for j, one := range splitLayout(what, layout, inside) { // a slash in a layout begins an element, as one outside does
			if j > 0 {
				end()
			}
			flush()
			e.pieces = append(e.pieces, piece[T]{kind: fieldPiece, literal: one})
			e.source += "{" + one + "}"
		}
	}
	end()
	return all, nil
}

func splitLayout(what, layout, inside string) []string {
	if what != "time" && what != "now" || !strings.Contains(layout, "/") {
		return []string{inside}
	}
	var all []string
	for one := range strings.SplitSeq(layout, "/") {
		all = append(all, what+":"+one)
	}
	return all
}

func (e *element[T]) constant() bool {
	for _, p := range e.pieces {
		if p.kind != literalPiece {
			return false
		}
	}
	return true
}

// text is what a constant element says.
func (e *element[T]) text() string {
	var s strings.Builder
	for _, p := range e.pieces {
		s.WriteString(p.literal)
	}
	return s.String()
}

// resolve finds out what the placeholders of an element are, and how long their values may be.
func (n *naming[T]) resolve(e *element[T], k kind, columns []string, parts *int) error {
	fixed, values := 0, 0
	for i := range e.pieces {
		p := &e.pieces[i]
		if p.kind == literalPiece {
			fixed += len(p.literal)
			continue
		}
		if err := p.resolve(k, columns); err != nil {
			return err
		}
		switch p.kind {
		case partPiece:
			*parts++
			fixed += numberBytes
		case splitPiece:
			n.splits = true
			values++
		default:
			values++
		}
	}
	if e.constant() {
		if text := e.text(); text == ".." || len(n.elements) == 0 && strings.EqualFold(text, ownFolder) {
			return fmt.Errorf("the path must not have %q behind a placeholder", text)
		}
		values = 1
	}
	if values == 0 {
		values = 1
	}
	limit := (maxElement - fixed) / values
	if limit < minValue {
		return fmt.Errorf("%q in the path is too long: make it %d bytes shorter, or put a slash between its placeholders", e.source, (minValue-limit)*values)
	}
	for i := range e.pieces {
		e.pieces[i].limit = limit
	}
	return nil
}

func (p *piece[T]) resolve(k kind, columns []string) error {
	inside := p.literal
	what, after, colon := strings.Cut(inside, ":")
	switch {
	case what == "time" || what == "now":
		p.kind = timePiece
		if what == "now" {
			p.kind = nowPiece
		}
		if after == "" {
			return fmt.Errorf("{%s} in the path needs a layout of package time behind it: {%s:2006-01-02}", inside, what)
		}
		p.layout = newLayout(after)
		return nil
	case colon:
		return fmt.Errorf("{%s} in the path: only {time:...} and {now:...} have something behind a colon", inside)
	case inside == "part":
		p.kind = partPiece
	case inside == "split":
		p.kind = splitPiece
	case inside == "key":
		p.kind = keyPiece
	default:
		f, err := newField[T](strings.TrimPrefix(inside, "."), k, columns)
		if err != nil {
			return fmt.Errorf("{%s} in the path: %w", inside, err)
		}
		p.kind, p.field = fieldPiece, f
	}
	return nil
}

// forSplit makes the ID of a split what {split} stands for.
func (n *naming[T]) forSplit(id string) {
	for i := range n.elements {
		for j := range n.elements[i].pieces {
			if p := &n.elements[i].pieces[j]; p.kind == splitPiece {
				p.kind, p.literal = literalPiece, string(appendEscaped(nil, id, p.limit))
			}
		}
	}
}

// name appends the name for a record, relative to the root, with partMark in place of the number. An error is that of a record that has no name.
func (n *naming[T]) name(dst []byte, r *weaver.Record[T], now time.Time) ([]byte, error) {
	for i := range n.elements {
		if i > 0 {
			dst = append(dst, '/')
		}
		begin := len(dst)
		e := &n.elements[i]
		for j := range e.pieces {
			var err error
			if dst, err = e.pieces[j].append(dst, r, now); err != nil {
				return nil, err
			}
		}
		if isDevice(dst[begin:]) || i == 0 && len(dst)-begin == len(ownFolder) && strings.EqualFold(string(dst[begin:]), ownFolder) {
			dst = escapeFirst(dst, begin)
		}
	}
	return dst, nil
}

func (p *piece[T]) append(dst []byte, r *weaver.Record[T], now time.Time) ([]byte, error) {
	switch p.kind {
	case partPiece:
		return append(dst, partMark), nil
	case keyPiece:
		return appendEscaped(dst, r.Key, p.limit), nil
	case timePiece:
		if r.Time.IsZero() {
			return nil, errNoTime
		}
		return p.layout.append(dst, r.Time, p.limit), nil
	case nowPiece:
		return p.layout.append(dst, now, p.limit), nil
	case fieldPiece:
		return p.field.append(dst, &r.Value, p.limit)
	default:
		return append(dst, p.literal...), nil
	}
}

// numbered puts a number in the place of partMark.
func numbered(key string, number uint64) string {
	digits := strconv.FormatUint(number, 10)
	if n := partDigits - len(digits); n > 0 {
		digits = strings.Repeat("0", n) + digits
	}
	return strings.ReplaceAll(key, string(rune(partMark)), digits)
}

// layout formats times, and remembers the last one for as long as it stays the same.
type layout struct {
	layout string
	every  int64 // seconds in which the result is one and the same; 0: not even one
	at     int64 // which of these last is of
	last   []byte
}

func newLayout(s string) *layout {
	l := &layout{layout: s}
	day := time.Date(2001, 2, 3, 0, 0, 0, 0, time.UTC)
	same := func(ds ...time.Duration) bool {
		for _, d := range ds {
			if day.Add(d).Format(s) != day.Format(s) {
				return false
			}
		}
		return true
	}
	for _, step := range []struct {
		seconds int64
		within  []time.Duration
	}{
		{1, []time.Duration{1, time.Microsecond, time.Millisecond, time.Second - 1}},
		{60, []time.Duration{time.Second, 10 * time.Second, 59 * time.Second}},
		{3600, []time.Duration{time.Minute, 10 * time.Minute, 59 * time.Minute}},
		{86400, []time.Duration{time.Hour, 12 * time.Hour, 23 * time.Hour}},
	} {
		if !same(step.within...) {
			break
		}
		l.every = step.seconds
	}
	return l
}

func (l *layout) append(dst []byte, t time.Time, limit int) []byte {
	if l.every > 0 {
		at := t.Unix() / l.every
		if t.Unix() < 0 && t.Unix()%l.every != 0 {
			at--
		}
		if l.last != nil && at == l.at {
			return append(dst, l.last...)
		}
		l.at = at
	}
	var buf [64]byte
	l.last = appendEscaped(l.last[:0], bytes.Clone(t.UTC().AppendFormat(buf[:0], l.layout)), limit)
	return append(dst, l.last...)
}
