package postgres

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// layout is what the rows of pages look like: the columns that are shown, and behind them those that only reading needs. It
// doesn't change.
type layout struct {
	rel       *relation
	cols      *row.Columns // what is shown
	fields    []field      // all
	formats   []int16
	list      string // the fields in SQL
	key       []int  // of fields
	following []int  // the cursor and what of the key is not the cursor; nil: there is none
	cursor    int    // of fields; -1: none
	deleted   int    // likewise
}

// field is a column of a page.
type field struct {
	*column
	decode decoder
}

// layout says what is read of a relation.
func (o *origin) layout(rel *relation) (*layout, error) {
	shown := o.columns
	star := false
	switch {
	case len(shown) > 0:
	case o.fields != nil:
		for _, c := range o.fields(rel.names()).All() {
			if rel.column(c.Name) != nil { // what is missing, the Scanner knows whether it matters
				shown = append(shown, c.Name)
			}
		}
	default:
		shown, star = rel.names(), true
	}
	l := &layout{rel: rel, cursor: -1, deleted: -1}
	cols := make([]row.Column, 0, len(shown))
	for _, name := range shown {
		i, err := l.add(o, name, "Columns")
		if err != nil {
			return nil, err
		}
		c := l.fields[i].row()
		c.Key = slices.Contains(rel.key, name)
		cols = append(cols, c)
	}
	var err error
	if l.cols, err = row.NewColumns(cols...); err != nil {
		return nil, retry.Fatal(fmt.Errorf("postgres: %s: %w", o, err))
	}
	for _, name := range rel.key {
		i, err := l.add(o, name, "Key")
		if err != nil {
			return nil, err
		}
		l.key = append(l.key, i)
	}
	if o.deleted != "" {
		if l.deleted, err = l.add(o, o.deleted, "Deleted"); err != nil {
			return nil, err
		}
	}
	if name := o.cursorOf(rel); name != "" {
		if l.cursor, err = l.add(o, name, "Cursor"); err != nil {
			return nil, err
		}
		l.following = []int{l.cursor}
		for _, i := range l.key {
			if i != l.cursor {
				l.following = append(l.following, i)
			}
		}
	}
	names := make([]string, len(l.fields))
	for i, f := range l.fields {
		names[i] = "t." + quote(f.name)
	}
	if l.list = strings.Join(names, ", "); star {
		l.list = "t.*" // so that a column that is added shows
	}
	return l, nil
}

// add adds a column unless it is there, and returns its index.
func (l *layout) add(o *origin, name, option string) (int, error) {
	if i := slices.IndexFunc(l.fields, func(f field) bool { return f.name == name }); i >= 0 {
		return i, nil
	}
	c := l.rel.column(name)
	if c == nil {
		return 0, retry.Fatal(fmt.Errorf("postgres: %s has no column %s, which %s names", o, brief(name), option))
	}
	decode, format := decoderOf(c.columnType)
	l.fields = append(l.fields, field{c, decode})
	l.formats = append(l.formats, format)
	return len(l.fields) - 1, nil
}

// order returns the fields that rows are read by.
func (l *layout) order(following bool) []int {
	if following {
		return l.following
	}
	return l.key
}

// fits reports whether a page is as the layout says.
func (l *layout) fits(fields []pgconn.FieldDescription) bool {
	return slices.EqualFunc(l.fields, fields, func(want field, got pgconn.FieldDescription) bool {
		return got.Name == want.name && got.DataTypeOID == want.columnType.oid
	})
}

// same reports whether pages of both look alike.
func (l *layout) same(other *layout) bool {
	return l.list == other.list && slices.EqualFunc(l.fields, other.fields, func(a, b field) bool {
		return a.name == b.name && a.columnType == b.columnType
	})
}

// arguments are the parameters of a statement.
type arguments struct {
	values  [][]byte
	oids    []uint32
	formats []int16
}

// add adds a value of a column's type and returns what stands for it in SQL.
func (a *arguments) add(c *column, v row.Value) (string, error) {
	text, format, err := argument(c, v)
	if err != nil {
		return "", err
	}
	a.values = append(a.values, text)
	a.oids = append(a.oids, c.columnType.oid)
	a.formats = append(a.formats, format)
	return "$" + strconv.Itoa(len(a.values)), nil
}

// argument encodes a value of a column's kind: times in binary, for their texts depend on the session, and the rest as text.
func argument(c *column, v row.Value) ([]byte, int16, error) {
	if v.Kind() != c.kind {
		return nil, 0, fmt.Errorf("postgres: a value of kind %v for column %s, which is %s", v.Kind(), brief(c.name), c.typ)
	}
	switch v.Kind() {
	case row.KindBool:
		return strconv.AppendBool(nil, v.Bool()), formatText, nil
	case row.KindInt:
		return strconv.AppendInt(nil, v.Int(), 10), formatText, nil
	case row.KindFloat32:
		return floatText(v.Float(), 32), formatText, nil
	case row.KindFloat:
		return floatText(v.Float(), 64), formatText, nil
	case row.KindText, row.KindDecimal:
		return []byte(v.Str()), formatText, nil
	case row.KindBytes:
		return append([]byte(`\x`), hex.EncodeToString([]byte(v.Str()))...), formatText, nil
	case row.KindUUID:
		return []byte(v.Str()), formatBinary, nil
	case row.KindClock:
		return binary.BigEndian.AppendUint64(nil, uint64(v.Clock().Microseconds())), formatBinary, nil //nolint:gosec // below a day
	case row.KindDate:
		days := v.Days() - epochDays
		switch v.Infinity() {
		case 1:
			days = math.MaxInt32
		case -1:
			days = math.MinInt32
		}
		if days != int64(int32(days)) { //nolint:gosec // that is the question
			break
		}
		return binary.BigEndian.AppendUint32(nil, uint32(days)), formatBinary, nil //nolint:gosec // its bits
	case row.KindDateTime, row.KindTime:
		micros, ok := microsOf(v.Unix())
		switch v.Infinity() {
		case 1:
			micros, ok = math.MaxInt64, true
		case -1:
			micros, ok = math.MinInt64, true
		}
		if !ok {
			break
		}
		return binary.BigEndian.AppendUint64(nil, uint64(micros)), formatBinary, nil //nolint:gosec // its bits
	default:
	}
	return nil, 0, fmt.Errorf("postgres: a value of kind %v can't be compared with column %s", v.Kind(), brief(c.name))
}

func floatText(f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return []byte("NaN")
	case math.IsInf(f, 1):
		return []byte("Infinity")
	case math.IsInf(f, -1):
		return []byte("-Infinity")
	}
	return strconv.AppendFloat(nil, f, 'g', -1, bits)
}
