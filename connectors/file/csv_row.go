package file

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	weaver "github.com/bohica-labs/dataweaver"
)

// rowParser splits rows that rowFraming found into fields.
type rowParser struct {
	comma  byte
	plain  []byte // what is in the fields of a row with quotation marks
	ends   []int  // of the fields in plain
	marked []bool // which of them are in quotation marks
}

// parse appends the fields of a row to dst. They are parts of one string: one allocation a row.
func (p *rowParser) parse(row []byte, dst []string) []string {
	if bytes.IndexByte(row, '"') < 0 {
		s := string(row)
		for {
			i := strings.IndexByte(s, p.comma)
			if i < 0 {
				return append(dst, s)
			}
			dst = append(dst, s[:i])
			s = s[i+1:]
		}
	}
	p.unquote(row)
	s, begin := string(p.plain), 0
	for _, end := range p.ends {
		dst = append(dst, s[begin:end])
		begin = end
	}
	return dst
}

// unquote fills plain and ends.
func (p *rowParser) unquote(row []byte) {
	p.plain, p.ends, p.marked = p.plain[:0], p.ends[:0], p.marked[:0]
	for i := 0; ; i++ { // past the comma
		marked := i < len(row) && row[i] == '"'
		if !marked {
			n := bytes.IndexByte(row[i:], p.comma)
			if n < 0 {
				n = len(row) - i
			}
			p.plain = append(p.plain, row[i:i+n]...)
			i += n
		} else {
			for i++; ; i++ {
				n := bytes.IndexByte(row[i:], '"')
				p.plain = append(p.plain, row[i:i+n]...)
				if i += n + 1; i == len(row) || row[i] != '"' {
					break
				}
				p.plain = append(p.plain, '"')
			}
		}
		p.ends = append(p.ends, len(p.plain))
		p.marked = append(p.marked, marked)
		if i == len(row) {
			return
		}
	}
}

// rowWriter appends rows to dst, for a csvutil.Encoder among others.
type rowWriter struct {
	comma byte
	dst   []byte
}

// Write implements csvutil.Writer.
func (w *rowWriter) Write(fields []string) error {
	if len(fields) == 0 {
		return errors.New("a row of CSV has one field at least")
	}
	w.dst = appendRow(w.dst, fields, w.comma)
	return nil
}

// mend closes a field whose closing quotation mark was not written, and ends the line.
func (w *rowWriter) mend(last byte, quotes func() (int64, error)) (string, error) {
	n, err := quotes()
	switch {
	case err != nil:
		return "", err
	case n%2 == 1:
		return "\"\n", nil
	case last != '\n':
		return "\n", nil
	}
	return "", nil
}

// appendRow appends a row and its line end. A single empty field is put in quotation marks: an empty line would be no row.
func appendRow(dst []byte, fields []string, comma byte) []byte {
	if len(fields) == 1 && fields[0] == "" {
		return append(dst, `""`+"\n"...)
	}
	for i, field := range fields {
		if i > 0 {
			dst = append(dst, comma)
		}
		dst = appendField(dst, field, comma)
	}
	return append(dst, '\n')
}

// appendField appends a field, in quotation marks where it needs them.
func appendField(dst []byte, field string, comma byte) []byte {
	if !needsQuotes(field, comma) {
		return append(dst, field...)
	}
	dst = append(dst, '"')
	for {
		n := strings.IndexByte(field, '"')
		if n < 0 {
			break
		}
		dst = append(append(dst, field[:n]...), `""`...)
		field = field[n+1:]
	}
	return append(append(dst, field...), '"')
}

// needsQuotes is generous as encoding/csv is: a leading space, and \. for the sake of PostgreSQL.
func needsQuotes[S string | []byte](field S, comma byte) bool {
	if len(field) == 0 {
		return false
	}
	if len(field) == 2 && field[0] == '\\' && field[1] == '.' {
		return true
	}
	for i := range len(field) {
		if c := field[i]; c == '\n' || c == '\r' || c == '"' || c == comma {
			return true
		}
	}
	first, _ := utf8.DecodeRuneInString(string(field[:min(len(field), utf8.UTFMax)]))
	return unicode.IsSpace(first) || first == '\ufeff'
}

// rawRows has rows as values. It is decoder and encoder.
type rawRows struct {
	rowParser
	rowWriter
	columns []string
	named   bool // a sink writes columns first
	width   int  // 0: not known yet
}

func (r *rawRows) headed() headerUse { return firstRecord }

func (r *rawRows) begin(first []byte) error {
	r.width = len(r.columns)
	if r.width == 0 && first != nil {
		r.width = len(r.parse(first, nil))
	}
	return nil
}

func (r *rawRows) decode(b *weaver.Batch[[]string], body []byte, v *[]string) error {
	*v = r.parse(body, make([]string, 0, r.width))
	if r.width == 0 {
		r.width = len(*v)
	}
	if len(*v) != r.width {
		return wrongWidth(len(*v), r.width)
	}
	b.Weigh(len(body) + 16*len(*v)) // a string has 16 bytes of its own
	return nil
}

func (r *rawRows) header() ([]byte, error) {
	if !r.named {
		return nil, nil
	}
	return appendRow(nil, r.columns, r.rowWriter.comma), nil
}

func (r *rawRows) append(dst []byte, v *[]string) ([]byte, error) {
	if len(r.columns) > 0 && len(*v) != len(r.columns) {
		return dst, fmt.Errorf("the row has %d fields, and field Columns %d", len(*v), len(r.columns))
	}
	r.dst = dst
	err := r.Write(*v)
	out := r.dst
	r.dst = nil
	if err != nil {
		return dst, err
	}
	return out, nil
}
