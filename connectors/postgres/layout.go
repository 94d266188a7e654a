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

	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// layout is what the rows of pages look like. It doesn't change.
type layout struct {
	tables.Selection
	rel     *relation
	fields  []field // its Columns
	formats []int16
	list    string // the fields in SQL
}

// field is a column of a page.
type field struct {
	*column
	decode decoder
}

// layout says what is read of a relation.
func (o *origin) layout(rel *relation) (*layout, error) {
	selected, err := o.Select(rel.rows(), rel.key)
	if err != nil {
		return nil, retry.Fatal(fmt.Errorf("postgres: %s: %w", o, err))
	}
	l := &layout{Selection: selected, rel: rel}
	names := make([]string, len(selected.Columns))
	for i, at := range selected.Columns {
		c := &rel.columns[at]
		decode, format := decoderOf(c.columnType)
		l.fields = append(l.fields, field{c, decode})
		l.formats = append(l.formats, format)
		names[i] = "t." + quote(c.name)
	}
	if l.list = strings.Join(names, ", "); selected.All {
		l.list = "t.*" // so that a column that is added shows
	}
	return l, nil
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
		return nil, 0, fmt.Errorf("postgres: a value of kind %v for column %s, which is %s", v.Kind(), tables.Brief(c.name), c.typ)
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
	return nil, 0, fmt.Errorf("postgres: a value of kind %v can't be compared with column %s", v.Kind(), tables.Brief(c.name))
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
