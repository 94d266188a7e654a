package row

import (
	"database/sql"
	"encoding/json"
	"math"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type inner struct {
	Street string
	Zip    *int32
}

type Common struct {
	CreatedAt time.Time
	Note      *string `db:"comment"`
}

type order struct {
	Common
	*inner
	ID       int64
	Small    int8
	Count    uint16
	Price    float32
	Total    float64
	Paid     bool
	PaidAt   *time.Time
	Raw      []byte
	UID      [16]byte
	Doc      json.RawMessage
	Tags     []string
	Grid     [][]int32
	Address  struct{ City string }
	Labels   map[string]int
	Kinds    []int `db:",json"`
	Huge     *big.Int
	IP       netip.Addr
	Maybe    sql.Null[int64]
	Any      any
	Value    Value
	Day      time.Time `db:",date"`
	HTTPCode int       `db:",optional"`
	Left     int       `db:"-"`
	hidden   int       //nolint:unused // so that it is seen to be none
}

func full() order {
	note, at, n := "n", time.Date(2026, 11, 23, 1, 2, 3, 4000, time.UTC), int32(5)
	_ = n
	return order{
		Common: Common{CreatedAt: at, Note: &note}, ID: 1 << 60, Small: -128, Count: 65535, Price: 0.1, Total: 0.2, Paid: true, PaidAt: &at,
		Raw: []byte{0, 1}, UID: [16]byte{1, 2, 15: 9}, Doc: json.RawMessage(`{"a":1}`), Tags: []string{"x", "", "y"},
		Grid: [][]int32{{1, 2}, {3, 4}}, Labels: map[string]int{"k": 1}, Kinds: []int{1}, Huge: big.NewInt(7), IP: netip.MustParseAddr("::1"),
		Maybe: sql.Null[int64]{V: 3, Valid: true}, Any: int64(4), Value: Text("v"), Day: time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC), HTTPCode: 200,
	}
}

func TestShapeRoundTrip(t *testing.T) {
	t.Parallel()
	s, err := ShapeOf[order]()
	require.NoError(t, err)
	var names []string
	for _, c := range s.Columns().All() {
		names = append(names, c.Name)
	}
	require.Equal(t, []string{
		"created_at", "comment", "id", "small", "count", "price", "total", "paid", "paid_at", "raw", "uid", "doc", "tags", "grid", "address", "labels",
		"kinds", "huge", "ip", "maybe", "any", "value", "day", "http_code",
	}, names)
	for _, in := range []order{full(), {Day: time.Unix(0, 0).UTC(), Tags: []string{}, Raw: []byte{}, IP: netip.MustParseAddr("127.0.0.1")}} {
		cols, values, err := s.Rower(nil).Row(&in, nil)
		require.NoError(t, err)
		require.Same(t, s.Columns(), cols)
		sc, err := s.Scanner(cols, false)
		require.NoError(t, err)
		got := order{Left: 0, Tags: []string{"old"}, PaidAt: new(time.Time)}
		require.NoError(t, sc.Scan(&got, values))
		in.CreatedAt = in.CreatedAt.UTC()
		require.Equal(t, in, got)
	}
}

func TestShapeOfRowAndMap(t *testing.T) {
	t.Parallel()
	cols, err := NewColumns(Column{Name: "a"}, Column{Name: "b"})
	require.NoError(t, err)
	s, err := ShapeOf[Row]()
	require.NoError(t, err)
	sc, err := s.Scanner(cols, false)
	require.NoError(t, err)
	text := []byte("hello")
	var r Row
	require.NoError(t, sc.Scan(&r, []Value{Text(view(text)), List(&Array{Elem: KindText, Values: []Value{Text(view(text))}})}))
	copy(text, "XXXXX")
	require.Equal(t, "hello", r.Get("a").Str())
	require.Equal(t, "hello", r.Get("b").Array().Values[0].Str())
	got, values, err := s.Rower(nil).Row(&r, nil)
	require.NoError(t, err)
	require.Same(t, cols, got)
	require.Len(t, values, 2)

	m, err := ShapeOf[map[string]any]()
	require.NoError(t, err)
	rower := m.Rower(nil)
	one := map[string]any{"b": int64(1), "a": "x"}
	first, values, err := rower.Row(&one, nil)
	require.NoError(t, err)
	require.Equal(t, "a", first.At(0).Name)
	require.Equal(t, int64(1), values[1].Int())
	second, _, err := rower.Row(&map[string]any{"a": nil, "b": 2}, nil)
	require.NoError(t, err)
	require.Same(t, first, second)
	msc, err := m.Scanner(first, false)
	require.NoError(t, err)
	var back map[string]any
	require.NoError(t, msc.Scan(&back, values))
	require.Equal(t, one, back)
}

func TestShapeErrors(t *testing.T) {
	t.Parallel()
	_, err := ShapeOf[int]()
	require.ErrorContains(t, err, "a int is no row")
	_, err = ShapeOf[struct{ C chan int }]()
	require.ErrorContains(t, err, "field C")
	_, err = ShapeOf[struct {
		A int `db:"x"`
		B int `db:"x"`
	}]()
	require.ErrorContains(t, err, `column "x" stands twice`)
	_, err = ShapeOf[struct {
		A int `db:",date"`
	}]()
	require.ErrorContains(t, err, "date is for a time.Time")
	_, err = ShapeOf[struct {
		A int `db:"x,omitempty"`
	}]()
	require.ErrorContains(t, err, `"omitempty"`)

	type two struct {
		ID   int8
		Name string
	}
	s, err := ShapeOf[two]()
	require.NoError(t, err)
	columns := func(cols ...Column) *Columns {
		c, err := NewColumns(cols...)
		require.NoError(t, err)
		return c
	}
	_, err = s.Scanner(columns(Column{Name: "ID"}), false)
	require.ErrorContains(t, err, `field Name of row.two has no column "name"`)
	_, err = s.Scanner(columns(Column{Name: "id"}, Column{Name: "NAME"}, Column{Name: "more"}), false)
	require.ErrorContains(t, err, `column "more" has no field`)
	_, err = s.Scanner(columns(Column{Name: "id", Kind: KindUUID, Type: "uuid"}, Column{Name: "name"}), false)
	require.ErrorContains(t, err, `column "id" is a uuid, which ID (int8) can't be`)
	sc, err := s.Scanner(columns(Column{Name: "id"}, Column{Name: "name"}), false)
	require.NoError(t, err)
	var v two
	require.ErrorContains(t, sc.Scan(&v, []Value{Int(128), Text("x")}), `column "id": 128 is too large for a int8`)
	require.ErrorContains(t, sc.Scan(&v, []Value{{}, Text("x")}), "NULL")
	require.Error(t, sc.Scan(&v, []Value{Float(1.5), Text("x")}))
	require.NoError(t, sc.Scan(&v, []Value{Text("12"), Int(5)}))
	require.Equal(t, two{12, "5"}, v)
	require.ErrorContains(t, sc.Scan(&v, nil), "0 values for 2 columns")
}

func TestSnake(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"PaidAt": "paid_at", "ID": "id", "HTTPCode": "http_code", "UserID": "user_id", "A": "a", "X1": "x1", "Übung": "übung"} {
		require.Equal(t, want, snake(in))
	}
}

func BenchmarkShape(b *testing.B) {
	type wide struct {
		ID, B, C int64
		D, E, F  string
		G, H     float64
		I        bool
		J        time.Time
	}
	s, err := ShapeOf[wide]()
	require.NoError(b, err)
	in := wide{ID: 1, D: "x", E: "yyyyyyyy", J: time.Now()}
	var dst []Value
	b.Run("row", func(b *testing.B) {
		b.ReportAllocs()
		r := s.Rower(nil)
		for b.Loop() {
			_, dst, err = r.Row(&in, dst[:0])
		}
	})
	b.Run("scan", func(b *testing.B) {
		b.ReportAllocs()
		sc, err := s.Scanner(s.Columns(), false)
		require.NoError(b, err)
		for b.Loop() {
			err = sc.Scan(&in, dst)
		}
		require.NoError(b, err)
	})
}

// Fields that are reached by their address hold the same as others, and refuse the same.
func TestShapeDirect(t *testing.T) {
	t.Parallel()
	type plain struct {
		Pad byte
		A   int32
		B   uint32
		C   int
		D   float32
		E   float64
		F   bool
		S   string
		T   string
		At  time.Time
	}
	s, err := ShapeOf[plain]()
	require.NoError(t, err)
	sc, err := s.Scanner(s.Columns(), false)
	require.NoError(t, err)
	text := []byte("short")
	long := []byte(strings.Repeat("x", 1000))
	values := []Value{
		Int(1), Int(math.MinInt32), Uint(math.MaxUint32), Int(math.MaxInt64), Float32(0.1), Float(math.Inf(1)), Bool(true), Text(view(text)), Text(view(long)), Instant(5, 6),
	}
	var got plain
	require.NoError(t, sc.Scan(&got, values))
	text[0], long[0] = 'X', 'X'
	require.Equal(t, plain{1, math.MinInt32, math.MaxUint32, math.MaxInt64, 0.1, math.Inf(1), true, "short", strings.Repeat("x", 1000), time.Unix(5, 6).UTC()}, got)
	_, back, err := s.Rower(nil).Row(&got, nil)
	require.NoError(t, err)
	for i := range back {
		if i != 7 && i != 8 {
			require.True(t, values[i].Equal(back[i]), "%v %v", values[i], back[i])
		}
	}
	for column, bad := range map[int]Value{1: Int(math.MaxInt32 + 1), 2: Int(-1), 3: Uint(math.MaxUint64), 4: Float(0.1), 6: Int(2), 7: {}, 9: Infinite(KindTime, false)} {
		row := slices.Clone(values)
		row[column] = bad
		require.ErrorContains(t, sc.Scan(&got, row), s.Columns().At(column).Name)
	}
	for column, good := range map[int]Value{1: Text("7"), 2: Int(7), 4: Float(0.5), 5: Float32(0.5), 6: Int(1), 7: Int(5), 9: Date(1)} {
		row := slices.Clone(values)
		row[column] = good
		require.NoError(t, sc.Scan(&got, row), column)
	}
}
