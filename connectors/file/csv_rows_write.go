package file

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/bohica-labs/dataweaver/row"
)

// tableWriter makes rows of row.Rows. What the columns are the file says, or the first row that is written to it.
type tableWriter struct {
	comma    byte
	headless bool
	columns  *row.Columns // of the file; nil: not known yet

	last *row.Columns // of the row before
	from []int        // where a row with those columns has each of the file's; -1: nowhere
}

var _ lateHeader[row.Row] = (*tableWriter)(nil)

func (w *tableWriter) header() ([]byte, error) {
	if w.headless || w.columns == nil {
		return nil, nil
	}
	return w.first(w.columns), nil
}

// first returns the header for some columns.
func (w *tableWriter) first(columns *row.Columns) []byte {
	var names []string
	for _, c := range columns.All() {
		names = append(names, c.Name)
	}
	return appendRow(nil, names, w.comma)
}

func (w *tableWriter) late() bool { return w.columns == nil }

func (w *tableWriter) propose(v *row.Row) ([]byte, error) {
	if err := wellFormed(v); err != nil {
		return nil, err
	}
	return w.first(v.Columns), nil
}

// adopt takes the columns that a file has whose content head returns the beginning of.
func (w *tableWriter) adopt(head func(n int) ([]byte, error)) error {
	for n := readBytes; ; n *= 2 {
		data, err := head(n)
		if err != nil {
			return err
		}
		all := len(data) < n
		data = bytes.TrimPrefix(data, []byte("\ufeff"))
		f, ok := rowFraming{w.comma}.next(data, all, &scan{first: true})
		switch {
		case !ok && !all && n < maxHeaderBytes:
			continue
		case !ok:
			return errors.New("it begins with no header")
		case f.bad != nil:
			return fmt.Errorf("its header: %w", f.bad)
		}
		p := rowParser{comma: w.comma}
		w.columns, err = textColumns(p.parse(data[:f.body], nil))
		w.last = nil
		return err
	}
}

// maxHeaderBytes is how long the header may be of a CSV that is appended to.
const maxHeaderBytes = 16 << 20

// wellFormed checks a row that could be anything.
func wellFormed(v *row.Row) error {
	switch n := v.Columns.Len(); {
	case n != len(v.Values):
		return fmt.Errorf("the row has %d columns, and %d values", n, len(v.Values))
	case n == 0:
		return errors.New("a row of CSV has one field at least")
	}
	return nil
}

// plan finds out where a row has the file's columns.
func (w *tableWriter) plan(columns *row.Columns) error {
	w.last, w.from = nil, w.from[:0]
	found := 0
	for _, c := range w.columns.All() {
		i := columns.Index(c.Name)
		w.from = append(w.from, i)
		if i >= 0 {
			found++
		}
	}
	if found < columns.Len() {
		var more []string
		for _, c := range columns.All() {
			if w.columns.Index(c.Name) < 0 {
				more = append(more, c.Name)
			}
		}
		return fmt.Errorf("the row has the column %s, which the file has not: its columns are those of its first row; set Columns, or leave it out", quoteAll(more))
	}
	w.last = columns
	return nil
}

func (w *tableWriter) append(dst []byte, v *row.Row) ([]byte, error) {
	if err := wellFormed(v); err != nil {
		return dst, err
	}
	if v.Columns != w.last {
		if err := w.plan(v.Columns); err != nil {
			return dst, err
		}
	}
	out := dst
	for i, at := range w.from {
		if i > 0 {
			out = append(out, w.comma)
		}
		if at >= 0 {
			out = w.field(out, v.Values[at])
		}
	}
	if len(out) == len(dst) {
		return dst, errors.New("a row whose one column is NULL would be an empty line, which is no row of CSV")
	}
	return append(out, '\n'), nil
}

// field appends a value: NULL is nothing, and an empty text a pair of quotation marks.
func (w *tableWriter) field(dst []byte, v row.Value) []byte {
	switch v.Kind() {
	case row.KindNull:
		return dst
	case row.KindText, row.KindDecimal, row.KindJSON:
		if s := v.Str(); s != "" {
			return appendField(dst, s, w.comma)
		}
		return append(dst, `""`...)
	default:
	}
	begin := len(dst)
	dst = v.AppendText(dst)
	if !needsQuotes(dst[begin:], w.comma) {
		return dst
	}
	return appendField(dst[:begin], string(dst[begin:]), w.comma)
}

func (w *tableWriter) mend(last byte, quotes func() (int64, error)) (string, error) {
	return (&rowWriter{}).mend(last, quotes)
}
