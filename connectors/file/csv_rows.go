package file

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unsafe"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/row"
)

// newCSVRows makes the format of CSV for a row.Row.
func newCSVRows(f *File[row.Row], comma byte) (format[row.Row], error) {
	columns, err := textColumns(f.Columns)
	switch {
	case err != nil:
		return format[row.Row]{}, fmt.Errorf("field Columns: %w", err)
	case f.NoHeader && f.Columns == nil:
		return format[row.Row]{}, errors.New("field NoHeader is set, and nothing says what the columns of a row.Row are called: set Columns")
	}
	decoder := &tableRows{rowParser: rowParser{comma: comma}, headless: f.NoHeader}
	encoder := &tableWriter{comma: comma, headless: f.NoHeader}
	if f.Columns != nil {
		decoder.columns, encoder.columns = columns, columns
	}
	return format[row.Row]{framing: rowFraming{comma}, decoder: decoder, encoder: encoder, lines: true, mark: '"', bom: true}, nil
}

// textColumns are columns of CSV, of which nothing is known but their names.
func textColumns(names []string) (*row.Columns, error) {
	list := make([]row.Column, len(names))
	for i, name := range names {
		list[i] = row.Column{Name: name, Kind: row.KindText, Nullable: true}
	}
	return row.NewColumns(list...)
}

// tableRows makes row.Rows of rows. All that have the same header share their columns.
type tableRows struct {
	rowParser
	headless bool
	columns  *row.Columns // nil: no file was begun yet
}

func (d *tableRows) headed() headerUse {
	if d.headless {
		return noHeader
	}
	return ownRecord
}

func (d *tableRows) begin(header []byte) error {
	if d.headless || header == nil { // an empty file
		return nil
	}
	names := d.parse(header, nil)
	if d.columns != nil && sameNames(d.columns, names) {
		return nil
	}
	if name, twice := duplicate(names); twice {
		return fmt.Errorf("two columns are called %q: rename one of them", name)
	}
	var err error
	d.columns, err = textColumns(names)
	return err
}

func sameNames(columns *row.Columns, names []string) bool {
	if columns.Len() != len(names) {
		return false
	}
	for i, c := range columns.All() {
		if c.Name != names[i] {
			return false
		}
	}
	return true
}

// decode makes a Text of each field; NULL of one that is empty and not in quotation marks. It takes two allocations.
func (d *tableRows) decode(b *weaver.Batch[row.Row], body []byte, v *row.Row) error {
	width := d.columns.Len()
	plain := bytes.IndexByte(body, '"') < 0
	n := 0
	if plain {
		n = bytes.Count(body, []byte{d.comma}) + 1
	} else {
		d.unquote(body)
		n = len(d.ends)
	}
	if n != width {
		return wrongWidth(n, width)
	}
	v.Columns = d.columns
	v.Values = make([]row.Value, width)
	b.Weigh(len(body) + width*int(unsafe.Sizeof(row.Value{})))
	if !plain {
		s, begin := string(d.plain), 0
		for i, end := range d.ends {
			if end > begin || d.marked[i] {
				v.Values[i] = row.Text(s[begin:end])
			}
			begin = end
		}
		return nil
	}
	s := string(body)
	for i := range v.Values {
		end := strings.IndexByte(s, d.comma)
		if end < 0 {
			end = len(s)
		}
		if end > 0 {
			v.Values[i] = row.Text(s[:end])
		}
		s = s[min(end+1, len(s)):]
	}
	return nil
}
