package avro_test

import (
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	twmb "github.com/twmb/avro"
)

func newRat(a, b int64) *big.Rat { return big.NewRat(a, b) }

// alone returns whether a value is written by a schema alone, and what is read back.
func alone[T any](t *testing.T, schema string, v T) (T, error) {
	t.Helper()
	c := newCodec[T](t, schema)
	data, err := c.Append(nil, v)
	if err != nil {
		return v, err
	}
	var back T
	require.NoError(t, c.Decode(data, &back))
	return back, nil
}

func logical(base, name string) string { return `{"type":"` + base + `","logicalType":"` + name + `"}` }

func TestTimes(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 2, 29, 1, 2, 3, 0, time.UTC)
	zone := time.FixedZone("", 3600)
	for _, c := range []struct {
		base, logical string
		in            time.Time
		want          time.Time // zero: refused
	}{
		{"long", "timestamp-millis", at.Add(4 * time.Millisecond), at.Add(4 * time.Millisecond)},
		{"long", "timestamp-millis", at.Add(4 * time.Millisecond).In(zone), at.Add(4 * time.Millisecond)},
		{"long", "timestamp-millis", at.Add(4 * time.Microsecond), time.Time{}},
		{"long", "timestamp-millis", at.Add(1), time.Time{}},
		{"long", "timestamp-millis", time.UnixMilli(math.MaxInt64), time.UnixMilli(math.MaxInt64).UTC()},
		{"long", "timestamp-millis", time.UnixMilli(math.MinInt64), time.UnixMilli(math.MinInt64).UTC()},
		{"long", "timestamp-millis", time.UnixMilli(-1), time.UnixMilli(-1).UTC()},
		{"long", "timestamp-millis", time.UnixMilli(math.MaxInt64).Add(time.Millisecond), time.Time{}},
		{"long", "timestamp-micros", at.Add(4 * time.Microsecond), at.Add(4 * time.Microsecond)},
		{"long", "timestamp-micros", at.Add(4), time.Time{}},
		{"long", "timestamp-micros", time.UnixMicro(math.MinInt64), time.UnixMicro(math.MinInt64).UTC()},
		{"long", "timestamp-micros", time.UnixMilli(math.MaxInt64), time.Time{}},
		{"long", "timestamp-nanos", at.Add(4), at.Add(4)},
		{"long", "timestamp-nanos", time.Unix(0, math.MinInt64), time.Unix(0, math.MinInt64).UTC()},
		{"long", "timestamp-nanos", time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC), time.Time{}},
		{"long", "local-timestamp-millis", at.In(zone), at.Add(time.Hour)},
		{"long", "local-timestamp-millis", at.Add(1), time.Time{}},
		{"long", "local-timestamp-micros", at.Add(time.Microsecond), at.Add(time.Microsecond)},
		{"long", "local-timestamp-micros", at.Add(1), time.Time{}},
		{"long", "local-timestamp-nanos", at.Add(1), at.Add(1)},
		{"int", "date", time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC)},
		{"int", "date", at, time.Time{}},
		{"int", "date", time.Date(2024, 1, 1, 0, 0, 0, 0, zone), time.Time{}},
		{"int", "date", time.Date(6000000, 1, 1, 0, 0, 0, 0, time.UTC), time.Time{}},
	} {
		name := c.logical + " " + c.in.String()
		got, err := alone(t, logical(c.base, c.logical), c.in)
		if c.want.IsZero() {
			require.Error(t, err, name)
		} else {
			require.NoError(t, err, name)
			require.Equal(t, c.want, got, name)
		}
		if strings.Contains(c.logical, "nanos") || strings.Contains(c.logical, "local") || c.in.Year() > 1e6 || c.in.Year() < -1e5 {
			continue // goavro has no such form, or not that far
		}
		g := newGeneric(t, logical(c.base, c.logical))
		data, err := g.Append(nil, c.in)
		require.Equal(t, c.want.IsZero(), err != nil, "%s: %v", name, err)
		if err == nil {
			var v any
			require.NoError(t, g.Decode(data, &v))
			require.Equal(t, c.want, v, name)
		}
	}
}

func TestTimesOutOfRangeOfGoavro(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		schema string
		at     time.Time
	}{
		{logical("long", "timestamp-micros"), time.UnixMilli(math.MaxInt64)},
		{logical("long", "timestamp-millis"), time.Unix(math.MaxInt64/500, 0)},
		{logical("int", "date"), time.Date(6000000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		_, err := newGeneric(t, c.schema).Append(nil, c.at)
		require.ErrorContains(t, err, "out of range", c.schema)
	}
}

func TestTimesOfDay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		base, logical string
		in            time.Duration
		ok            bool
	}{
		{"int", "time-millis", 23*time.Hour + time.Millisecond, true},
		{"int", "time-millis", time.Microsecond, false},
		{"int", "time-millis", 600 * time.Hour, false},
		{"long", "time-micros", 23*time.Hour + time.Microsecond, true},
		{"long", "time-micros", time.Nanosecond, false},
	} {
		schema := logical(c.base, c.logical)
		got, err := alone(t, schema, c.in)
		require.Equal(t, c.ok, err == nil, "%s %v: %v", c.logical, c.in, err)
		g := newGeneric(t, schema)
		data, gerr := g.Append(nil, c.in)
		require.Equal(t, c.ok, gerr == nil, "%s %v: %v", c.logical, c.in, gerr)
		if c.ok {
			require.Equal(t, c.in, got)
			var v any
			require.NoError(t, g.Decode(data, &v))
			require.Equal(t, c.in, v)
		}
	}
	micros := newGeneric(t, logical("long", "time-micros"))
	far, err := newGeneric(t, `"long"`).Append(nil, int64(math.MaxInt64))
	require.NoError(t, err)
	require.ErrorContains(t, micros.Decode(far, new(any)), "time.Duration")
	require.Error(t, newCodec[time.Duration](t, logical("long", "time-micros")).Decode(far, new(time.Duration)))
}

func TestDecimals(t *testing.T) {
	t.Parallel()
	for _, base := range []string{`"type":"bytes"`, `"type":"fixed","name":"D","size":5`} {
		schema := `{` + base + `,"logicalType":"decimal","precision":6,"scale":2}`
		g, c := newGeneric(t, schema), newCodec[*big.Rat](t, schema)
		for _, r := range []struct {
			in *big.Rat
			ok bool
		}{
			{newRat(0, 1), true},
			{newRat(1, 100), true},
			{newRat(-1, 100), true},
			{newRat(999999, 100), true},
			{newRat(-999999, 100), true},
			{newRat(1, 4), true},
			{newRat(-5, 2), true},
			{newRat(1000000, 100), false},
			{newRat(-1000000, 100), false},
			{newRat(1, 1000), false},
			{newRat(1, 3), false},
			{new(big.Rat).SetFrac(new(big.Int).Lsh(big.NewInt(1), 200), big.NewInt(3)), false},
			{new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), 64)), false},
			{newRat(math.MinInt64, 1), false},
		} {
			data, err := c.Append(nil, r.in)
			gdata, gerr := g.Append(nil, r.in)
			require.Equal(t, r.ok, err == nil, "%s %v: %v", base, r.in, err)
			require.Equal(t, r.ok, gerr == nil, "%s %v: %v", base, r.in, gerr)
			if !r.ok {
				continue
			}
			var back *big.Rat
			require.NoError(t, c.Decode(data, &back))
			require.Zero(t, r.in.Cmp(back), "%v %v", r.in, back)
			for _, d := range [][]byte{data, gdata} {
				var v any
				require.NoError(t, g.Decode(d, &v))
				require.Zero(t, r.in.Cmp(v.(*big.Rat)), "%v %v", r.in, v)
			}
		}
	}
}

// Data may hold more digits than its schema allows.
func TestDecimalsThatAreTooLong(t *testing.T) {
	t.Parallel()
	raw := newCodec[[]byte](t, `"bytes"`)
	for _, c := range []struct {
		precision string
		data      string
		ok        bool
	}{
		{"6", "\x0f\x42\x3f", true},  // 999999
		{"6", "\x0f\x42\x40", false}, // 1000000
		{"6", "\xf0\xbd\xc1", true},  // -999999
		{"6", "\xf0\xbd\xc0", false}, // -1000000
		{"6", "", true},              // 0
		{"6", "\x00\x00\x00\x00\x05", true},
		{"19", "\x7f\xff\xff\xff\xff\xff\xff\xff", true},
		{"18", "\x7f\xff\xff\xff\xff\xff\xff\xff", false},
		{"19", "\x80\x00\x00\x00\x00\x00\x00\x00", true},
		{"20", "\x00\xff\xff\xff\xff\xff\xff\xff\xff", true}, // 18446744073709551615
		{"19", "\x00\xff\xff\xff\xff\xff\xff\xff\xff", false},
		{"30", "\xff\x00\x00\x00\x00\x00\x00\x00\x00", true},
		{"6", "\x01" + strings.Repeat("\x00", 40000), false},
	} {
		schema := `{"type":"bytes","logicalType":"decimal","precision":` + c.precision + `,"scale":2}`
		data, err := raw.Append(nil, []byte(c.data))
		require.NoError(t, err)
		var r *big.Rat
		err = newCodec[*big.Rat](t, schema).Decode(data, &r)
		require.Equal(t, c.ok, err == nil, "%s %x: %v", c.precision, c.data, err)
		var v any
		err = newGeneric(t, schema).Decode(data, &v)
		require.Equal(t, c.ok, err == nil, "%s %x: %v", c.precision, c.data, err)
		err = newCodec[any](t, schema).Decode(data, &v)
		require.Equal(t, c.ok, err == nil, "%s %x: %v", c.precision, c.data, err)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, i := range []int64{0, 1, -1, 1<<53 + 1, math.MaxInt64, math.MinInt64} {
		got, err := alone(t, `"long"`, i)
		require.NoError(t, err)
		require.Equal(t, i, got)
	}
	for _, f := range []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), math.Float64frombits(0x7ff8000000000123), 5e-324, 0.1} {
		got, err := alone(t, `"double"`, f)
		require.NoError(t, err)
		require.Equal(t, math.Float64bits(f), math.Float64bits(got))
	}
	for _, f := range []float32{0.1, float32(math.NaN()), float32(math.Inf(-1)), math.SmallestNonzeroFloat32} {
		got, err := alone(t, `"float"`, f)
		require.NoError(t, err)
		require.Equal(t, math.Float32bits(f), math.Float32bits(got))
	}
	for f, ok := range map[float64]bool{0.5: true, 0.1: false, 1e300: false, 16777217: false, math.Inf(1): true} {
		_, err := alone(t, `"float"`, f)
		require.Equal(t, ok, err == nil, f)
		_, err = newGeneric(t, `"float"`).Append(nil, f)
		require.Equal(t, ok, err == nil, f)
	}
	for i, ok := range map[int64]bool{1 << 53: true, 1<<53 + 1: false, math.MaxInt64: false, math.MinInt64: true, 1 << 62: true} {
		_, err := newGeneric(t, `"double"`).Append(nil, i)
		require.Equal(t, ok, err == nil, i)
		_, err = newCodec[any](t, `"double"`).Append(nil, i)
		require.Equal(t, ok, err == nil, i)
	}
	_, err := alone(t, `"int"`, int64(math.MaxInt32)+1)
	require.Error(t, err)
	_, err = alone(t, `"long"`, uint64(math.MaxUint64))
	require.Error(t, err)
}

func TestUUIDAndDuration(t *testing.T) {
	t.Parallel()
	id := [16]byte{0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0x00}
	for _, schema := range []string{logical("string", "uuid"), `{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}`} {
		got, err := alone(t, schema, id)
		require.NoError(t, err)
		require.Equal(t, id, got)
		text, err := alone(t, schema, "123e4567-e89b-12d3-a456-426614174000")
		require.NoError(t, err)
		require.Equal(t, "123e4567-e89b-12d3-a456-426614174000", text)
	}
	d := twmb.Duration{Months: 1, Days: math.MaxUint32, Milliseconds: 3}
	got, err := alone(t, `{"type":"fixed","name":"D","size":12,"logicalType":"duration"}`, d)
	require.NoError(t, err)
	require.Equal(t, d, got)
}

// A check finds what is deep inside, in each kind of place, and says where.
func TestChecksInside(t *testing.T) {
	t.Parallel()
	type inner struct {
		At *time.Time `avro:"at"`
	}
	type embedded struct {
		In inner `avro:"in"`
	}
	type outer struct {
		*embedded
		List []inner          `avro:"list"`
		Map  map[string]inner `avro:"map"`
		Pair [2]inner         `avro:"pair"`
		Any  any              `avro:"any"`
		Next *outer           `avro:"next"`
	}
	c := newCodec[outer](t, `{"type":"record","name":"Outer","fields":[
		{"name":"in","type":{"type":"record","name":"In","fields":[{"name":"at","type":["null",{"type":"long","logicalType":"timestamp-millis"}]}]}},
		{"name":"list","type":{"type":"array","items":"In"}},
		{"name":"map","type":{"type":"map","values":"In"}},
		{"name":"pair","type":{"type":"array","items":"In"}},
		{"name":"any","type":["null","In",{"type":"array","items":"In"}]},
		{"name":"next","type":["null","Outer"]}]}`)
	good, bad := time.UnixMilli(1), time.UnixMilli(1).Add(1)
	_, err := c.Append(nil, outer{embedded: &embedded{inner{&good}}, Next: &outer{}})
	require.NoError(t, err)
	for want, v := range map[string]outer{
		"avro: in.at: ":            {embedded: &embedded{inner{&bad}}},
		"avro: list[1].at: ":       {List: []inner{{&good}, {&bad}}},
		`avro: map["k"].at: `:      {Map: map[string]inner{"k": {&bad}}},
		"avro: pair[1].at: ":       {Pair: [2]inner{{}, {&bad}}},
		"avro: any.at: ":           {Any: map[string]any{"In": map[string]any{"at": bad}}},
		"avro: any[0].at: ":        {Any: []any{map[string]any{"at": bad}}},
		"avro: next.next.in.at: ":  {Next: &outer{Next: &outer{embedded: &embedded{inner{&bad}}}}},
		"avro: next.list[0].at: a": {Next: &outer{List: []inner{{&bad}}}},
	} {
		_, err := c.Append(nil, v)
		require.ErrorContains(t, err, want)
	}
}
