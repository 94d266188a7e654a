package tables

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

func allValues() []row.Value {
	return []row.Value{
		{},
		row.Bool(true), row.Bool(false), row.Int(0), row.Int(math.MinInt64), row.Int(math.MaxInt64), row.Uint(math.MaxUint64),
		row.Float(0.1), row.Float(math.Inf(-1)), row.Float32(0.1), row.Decimal("-12.340"), row.Text(""), row.Text("ü\x00\xff"), row.Bytes("\x00\xff"),
		row.JSON(`{"a":1}`), row.UUID([16]byte{1, 15: 2}), row.Date(-1), row.Date(20000), row.Infinite(row.KindDate, true), row.Infinite(row.KindDate, false),
		row.Clock(24 * time.Hour), row.Clock(time.Microsecond), row.DateTime(-5, 999_999_999), row.Infinite(row.KindDateTime, false),
		row.Instant(math.MinInt64+1, 1), row.Instant(1700000000, 5000), row.Infinite(row.KindTime, true),
	}
}

// same compares values by their kind and text.
func same(t *testing.T, want, got []row.Value) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i], got[i])
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	p, err := AppendValues([]byte("before"), allValues())
	require.NoError(t, err)
	got, rest, err := ParseValues(append(p[len("before"):], "behind"...))
	require.NoError(t, err)
	require.Equal(t, "behind", string(rest))
	same(t, allValues(), got)

	p = p[len("before"):]
	for i := range p { // no part of it is mistaken for all
		_, _, err := ParseValues(p[:i])
		require.ErrorIs(t, err, errValues)
	}
	_, err = AppendValues(nil, []row.Value{row.List(&row.Array{})})
	require.ErrorContains(t, err, "array")
	for _, damaged := range [][]byte{{1, 200}, {1, byte(row.KindUUID), 1, 1}, {1, byte(row.KindDate), 9}, {0xFF, 0xFF, 0xFF, 0x7F}} {
		_, _, err := ParseValues(damaged)
		require.ErrorIs(t, err, errValues)
	}
}

func TestPosition(t *testing.T) {
	t.Parallel()
	for _, p := range []Position{
		{},
		{Seq: 1, At: []row.Value{row.Int(5)}},
		{Seq: math.MaxInt64, Following: true, At: allValues(), Range: Range{After: []row.Value{row.Text("a")}, Last: []row.Value{row.Text("b")}}, Horizon: []row.Value{row.Int(7)}},
	} {
		data, err := p.Append(nil)
		require.NoError(t, err)
		got, err := ParsePosition(data)
		require.NoError(t, err)
		require.Equal(t, p, got)
		for i := range data {
			_, err := ParsePosition(data[:i])
			require.ErrorIs(t, err, ErrPosition)
		}
		_, err = ParsePosition(append(data, 0))
		require.ErrorIs(t, err, ErrPosition)
	}
	_, err := ParsePosition([]byte{2, 0, 0, 0, 0, 0, 0})
	require.ErrorContains(t, err, "version 2")
	_, err = ParsePosition([]byte{1, 2, 0, 0, 0, 0, 0})
	require.ErrorIs(t, err, ErrPosition)
	_, err = (&Position{At: []row.Value{row.List(&row.Array{})}}).Append(nil)
	require.Error(t, err)
}

func TestRanges(t *testing.T) {
	t.Parallel()
	a, b := []row.Value{row.Int(1)}, []row.Value{row.Int(2)}
	require.Equal(t, []Range{{}}, Ranges(nil))
	require.Equal(t, []Range{{Last: a}, {After: a, Last: b}, {After: b}}, Ranges([][]row.Value{a, b}))
	require.True(t, Range{After: a}.Equal(Range{After: []row.Value{row.Int(1)}}))
	require.False(t, Range{After: a}.Equal(Range{Last: a}))
	require.False(t, Range{After: a}.Equal(Range{After: []row.Value{row.Text("1")}}))
}

func TestPlan(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	boundaries := [][]row.Value{{row.Int(1), row.Text("a")}, {row.Int(5), row.Text("")}}
	computed := 0
	compute := func(context.Context) ([][]row.Value, error) { computed++; return boundaries, nil }
	store := checkpoint.NewMemory()
	for range 3 {
		got, err := Plan(ctx, store, "k", compute)
		require.NoError(t, err)
		require.Equal(t, boundaries, got)
	}
	require.Equal(t, 1, computed)
	_, err := Plan(ctx, nil, "k", compute)
	require.NoError(t, err)
	require.Equal(t, 2, computed)

	// Somebody else is quicker: his plan counts.
	other := [][]row.Value{{row.Int(9), row.Text("z")}}
	got, err := Plan(ctx, store, "raced", func(ctx context.Context) ([][]row.Value, error) {
		_, err := Plan(ctx, store, "raced", func(context.Context) ([][]row.Value, error) { return other, nil })
		return boundaries, err
	})
	require.NoError(t, err)
	require.Equal(t, other, got)

	for _, stored := range []string{"", "\x09", "\x01\x01"} {
		key := "damaged " + stored
		_, err := store.Save(ctx, key, []byte(stored), 0)
		require.NoError(t, err)
		_, err = Plan(ctx, store, key, compute)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
	broken := errors.New("no answer")
	_, err = Plan(ctx, store, "new", func(context.Context) ([][]row.Value, error) { return nil, broken })
	require.ErrorIs(t, err, broken)
}

func FuzzParsePosition(f *testing.F) {
	p := Position{Seq: 3, At: allValues(), Range: Range{After: allValues()}, Horizon: []row.Value{row.Int(1)}}
	data, err := p.Append(nil)
	require.NoError(f, err)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePosition(data)
		if err != nil {
			return
		}
		again, err := p.Append(nil)
		require.NoError(t, err)
		q, err := ParsePosition(again)
		require.NoError(t, err)
		once, err := q.Append(nil)
		require.NoError(t, err)
		require.Equal(t, again, once)
	})
}
