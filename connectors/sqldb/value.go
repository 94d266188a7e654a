package sqldb

import (
	"fmt"
	"strings"
	"time"
	"unsafe"

	"github.com/bohica-labs/dataweaver/row"
)

// Value returns what a driver's value is as one of the column's kind, or as what it is if it can't be one without becoming
// another: databases that let a column hold anything are read exactly as they are. It may point into src. It is for Dialects.
func Value(c *Column, src any) (row.Value, error) {
	v, err := plain(c, src)
	if err != nil || v.Kind() == c.Kind || c.Kind == row.KindNull || v.IsNull() {
		return v, err
	}
	if c.Kind == row.KindArray {
		if a, err := v.ConvertArray(c.Elem); err == nil {
			return a, nil
		}
		return v, nil
	}
	if exact, err := v.Convert(c.Kind); err == nil {
		return exact, nil
	}
	return v, nil
}

// plain returns what a driver's value is by its type. Bytes are a Text, unless the column has them.
func plain(c *Column, src any) (row.Value, error) {
	switch x := src.(type) {
	case nil:
		return row.Value{}, nil
	case int64:
		return row.Int(x), nil
	case float64:
		if c.Kind == row.KindFloat32 && float64(float32(x)) == x {
			return row.Float32(float32(x)), nil
		}
		return row.Float(x), nil
	case string:
		return textOf(c, x), nil
	case []byte:
		switch c.Kind {
		case row.KindBytes, row.KindNull:
			return row.Bytes(view(x)), nil
		default:
		}
		return textOf(c, view(x)), nil
	case bool:
		return row.Bool(x), nil
	case time.Time:
		return timeOf(c, x), nil
	case float32:
		return row.Float32(x), nil
	case uint64:
		return row.Uint(x), nil
	}
	v, err := row.Of(src)
	if err != nil {
		return row.Value{}, fmt.Errorf("the driver gives a %T: %w", src, err)
	}
	return v, nil
}

// textOf returns a text as the column has it. JSON is known to be well formed.
func textOf(c *Column, text string) row.Value {
	switch c.Kind {
	case row.KindJSON:
		return row.JSON(text)
	case row.KindBytes:
		return row.Bytes(text)
	default:
	}
	return row.Text(text)
}

// timeOf returns a driver's time. Where the column has no zone, the driver has added one, whichever it is.
func timeOf(c *Column, t time.Time) row.Value {
	switch c.Kind {
	case row.KindDate, row.KindDateTime, row.KindText, row.KindClock:
		_, offset := t.Zone()
		return row.DateTime(t.Unix()+int64(offset), uint32(t.Nanosecond())) //nolint:gosec // below 1e9
	default:
	}
	return row.Time(t)
}

// view returns bytes as a string, without copying them.
func view(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) } //nolint:gosec // the driver's memory, until the next row

// cell takes what the driver gives, as it is and without copying it.
type cell struct{ src any }

// Scan implements sql.Scanner.
func (c *cell) Scan(src any) error {
	c.src = src
	return nil
}

// cells are a row of cells, and how they are given to Scan.
type cells struct {
	cells []cell
	dest  []any
}

func newCells(n int) *cells {
	c := &cells{cells: make([]cell, n), dest: make([]any, n)}
	for i := range c.cells {
		c.dest[i] = &c.cells[i]
	}
	return c
}

// appendTime appends a Date, a DateTime or a Time as the text that most databases take: 2006-01-02 15:04:05.999999999, of UTC.
// Texts so made sort as their times do. Infinite ones and years with more or less than four digits have no such text.
func appendTime(dst []byte, v row.Value) ([]byte, error) {
	start := len(dst)
	dst = v.AppendText(dst)
	if v.Infinity() != 0 {
		return dst, fmt.Errorf("it is %s, which the database doesn't have", dst[start:])
	}
	if text := dst[start:]; len(text) < 10 || text[4] != '-' || text[len(text)-1] == 'C' {
		return dst, fmt.Errorf("the year of %s has not four digits", text)
	}
	if v.Kind() == row.KindDate {
		return dst, nil
	}
	dst[start+10] = ' '
	if v.Kind() == row.KindTime {
		dst = dst[:len(dst)-1] // the Z
	}
	return dst, nil
}

// checkDigits refuses a time or a decimal number with more digits behind the point than the column has.
func checkDigits(c *Column, v row.Value) error {
	if c.Digits < 0 {
		return nil
	}
	digits := 0
	switch v.Kind() {
	case row.KindDateTime, row.KindTime:
		_, nanos := v.Unix()
		digits = fraction(nanos)
	case row.KindClock:
		digits = fraction(uint32(v.Clock() % time.Second)) //nolint:gosec // below 1e9
	case row.KindDecimal:
		digits = decimals(v.Str())
	default:
	}
	if digits > c.Digits {
		return fmt.Errorf("%s has %d digits behind the point, and the column, %s, has %d: round it before", v, digits, c.Type, c.Digits)
	}
	return nil
}

// fraction is how many digits a fraction of a second has.
func fraction(nanos uint32) int {
	if nanos == 0 {
		return 0
	}
	digits := 9
	for nanos%10 == 0 {
		nanos /= 10
		digits--
	}
	return digits
}

// decimals is how many digits behind the point a decimal number needs, without zeros at its end.
func decimals(text string) int {
	digits, zeros, exponent := 0, 0, 0
	point := false
	for i := range len(text) {
		switch c := text[i]; {
		case c == '.':
			point = true
		case c == 'e' || c == 'E':
			for _, d := range text[i+1:] {
				if d >= '0' && d <= '9' && exponent < 1<<20 {
					exponent = exponent*10 + int(d-'0')
				}
			}
			if i+1 < len(text) && text[i+1] == '-' {
				exponent = -exponent
			}
			return max(digits-zeros-exponent, 0)
		case c < '0' || c > '9':
		default:
			if point {
				digits++
			}
			if zeros++; c != '0' {
				zeros = 0
			}
		}
	}
	return max(digits-zeros, 0)
}

// keepValue returns a value that shares no memory with the driver.
func keepValue(v row.Value) row.Value {
	switch v.Kind() {
	case row.KindText:
		return row.Text(strings.Clone(v.Str()))
	case row.KindDecimal:
		return row.Decimal(strings.Clone(v.Str()))
	case row.KindBytes:
		return row.Bytes(strings.Clone(v.Str()))
	case row.KindJSON:
		return row.JSON(strings.Clone(v.Str()))
	case row.KindUUID:
		return row.RawUUID(strings.Clone(v.Str()))
	default:
	}
	return v
}

// bytesOf returns the bytes that a string holds, without copying them: drivers don't change their arguments. It is never nil.
func bytesOf(s string) []byte {
	if s == "" {
		return []byte{}
	}
	return unsafe.Slice(unsafe.StringData(s), len(s)) //nolint:gosec // only read
}
