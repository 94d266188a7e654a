package file

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/jszwec/csvutil"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// newCSV makes the format of CSV for a T that is a struct, a pointer to one, []string or row.Row.
func newCSV[T any](f *File[T]) (format[T], error) {
	comma := byte(',')
	if f.Comma != 0 {
		if f.Comma < 0 || f.Comma >= 0x80 || strings.ContainsRune("\"\r\n", f.Comma) {
			return format[T]{}, fmt.Errorf("field Comma is %q: must be an ASCII character other than a quotation mark or a line end", f.Comma)
		}
		comma = byte(f.Comma)
	}
	if name, twice := duplicate(f.Columns); twice {
		return format[T]{}, fmt.Errorf("field Columns names %q twice", name)
	}
	if rows, ok := any(f).(*File[row.Row]); ok {
		made, err := newCSVRows(rows, comma)
		if err != nil {
			return format[T]{}, err
		}
		same, _ := any(made).(format[T])
		return same, nil
	}
	made := format[T]{framing: rowFraming{comma}, lines: true, mark: '"', bom: true}
	if rows, ok := any(&rawRows{rowParser: rowParser{comma: comma}, rowWriter: rowWriter{comma: comma}, columns: f.Columns, named: f.Columns != nil && !f.NoHeader}).(bothOf[T]); ok {
		made.decoder, made.encoder = rows, rows
		return made, nil
	}
	t := reflect.TypeFor[T]()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return format[T]{}, fmt.Errorf("a row of CSV can't be a %s: take a struct, []string or row.Row", reflect.TypeFor[T]())
	}
	var err error
	if made.decoder, err = newRowDecoder(f, comma, t); err != nil {
		return format[T]{}, err
	}
	made.encoder, err = newRowEncoder(f, comma, t)
	return made, err
}

// bothOf is for a format whose decoder and encoder are one.
type bothOf[T any] interface {
	decoder[T]
	encoder[T]
}

func duplicate(names []string) (string, bool) {
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		if seen[name] {
			return name, true
		}
		seen[name] = true
	}
	return "", false
}

// rowDecoder makes structs of rows.
type rowDecoder[T any] struct {
	rowParser
	file   *File[T]
	fields []string // names of T's, in order
	row    []string // the current one, for Read
	dec    *csvutil.Decoder
	plain  plainRow // nil: dec does it all
	width  int
}

func newRowDecoder[T any](f *File[T], comma byte, t reflect.Type) (*rowDecoder[T], error) {
	fields, err := csvutil.Header(reflect.New(t).Interface(), "")
	if err != nil {
		return nil, err
	}
	return &rowDecoder[T]{rowParser: rowParser{comma: comma}, file: f, fields: fields}, nil
}

func (d *rowDecoder[T]) headed() headerUse {
	if d.file.NoHeader {
		return noHeader
	}
	return ownRecord
}

// begin matches the columns to T's fields.
func (d *rowDecoder[T]) begin(header []byte) error {
	columns := d.parse(header, nil)
	switch {
	case !d.file.NoHeader && header == nil:
		return nil // an empty file
	case d.file.NoHeader && d.file.Columns != nil:
		columns = d.file.Columns
	case d.file.NoHeader:
		columns = d.fields
	}
	if name, twice := duplicate(columns); twice {
		return fmt.Errorf("two columns are called %q: rename one of them", name)
	}
	if missing := without(d.fields, columns); len(missing) > 0 && !d.file.AllowMissing {
		return fmt.Errorf("there is no column %s: give that field another tag, or the tag `csv:\"-\"`, or set AllowMissing", quoteAll(missing))
	}
	if unknown := without(columns, d.fields); len(unknown) > 0 && d.file.RefuseUnknown {
		return fmt.Errorf("no field is for the column %s: add one, or don't set RefuseUnknown", quoteAll(unknown))
	}
	var err error
	d.width = len(columns)
	d.plain = planRow(reflect.TypeFor[T](), columns)
	d.dec, err = csvutil.NewDecoder(d, columns...)
	return err
}

// without returns those of a that are not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

func quoteAll(names []string) string { return strings.Trim(fmt.Sprintf("%q", names), "[]") }

// Read implements csvutil.Reader.
func (d *rowDecoder[T]) Read() ([]string, error) { return d.row, nil }

func (d *rowDecoder[T]) decode(b *weaver.Batch[T], body []byte, v *T) error {
	d.row = d.parse(body, d.row[:0])
	if len(d.row) != d.width {
		return wrongWidth(len(d.row), d.width)
	}
	b.Weigh(len(body))
	if d.plain != nil {
		if d.plain.decode(d.row, reflect.ValueOf(v).Elem()) {
			return nil
		}
		var zero T
		*v = zero
	}
	if err := d.dec.Decode(v); err != nil {
		return rowError(err)
	}
	return nil
}

func rowError(err error) error {
	var unsupported *csvutil.UnsupportedTypeError
	if errors.As(err, &unsupported) { // of a field: no row can ever be decoded
		return retry.Fatal(err)
	}
	return err
}

func wrongWidth(got, want int) error {
	return fmt.Errorf("the row has %d fields instead of %d", got, want)
}

// rowEncoder makes rows of structs.
type rowEncoder[T any] struct {
	rowWriter
	columns  []string
	noHeader bool
	enc      *csvutil.Encoder
}

func newRowEncoder[T any](f *File[T], comma byte, t reflect.Type) (*rowEncoder[T], error) {
	fields, err := csvutil.Header(reflect.New(t).Interface(), "")
	if err != nil {
		return nil, err
	}
	e := &rowEncoder[T]{rowWriter: rowWriter{comma: comma}, columns: fields, noHeader: f.NoHeader}
	e.enc = csvutil.NewEncoder(&e.rowWriter)
	e.enc.AutoHeader = false
	if f.Columns != nil {
		if unknown := without(f.Columns, fields); len(unknown) > 0 {
			// A source may name columns that T has no field for; only a sink can't make something of nothing.
			e.columns = nil
			return e, nil
		}
		e.columns = f.Columns
		e.enc.SetHeader(f.Columns)
	}
	return e, nil
}

func (e *rowEncoder[T]) header() ([]byte, error) {
	switch {
	case e.columns == nil:
		return nil, errors.New("field Columns names one that T has no field for")
	case e.noHeader:
		return nil, nil
	}
	return appendRow(nil, e.columns, e.comma), nil
}

func (e *rowEncoder[T]) append(dst []byte, v *T) ([]byte, error) {
	e.dst = dst
	err := e.enc.Encode(v)
	out := e.dst
	e.dst = nil
	if err != nil {
		return dst, err
	}
	return out, nil
}
