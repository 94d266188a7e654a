package row

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What a value's text is, is read back as the same value.
func TestTextRoundTrip(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for k := KindBool; k < kinds; k++ {
		for range 3000 {
			v := randomValue(r, k)
			text, err := v.Convert(KindText)
			require.NoError(t, err)
			require.Equal(t, string(v.AppendText(nil)), text.Str())
			require.Equal(t, v.String(), text.Str())
			var back Value
			if k == KindArray {
				back, err = text.ConvertArray(v.Array().Elem)
			} else {
				back, err = text.Convert(k)
			}
			require.NoError(t, err)
			require.True(t, back.Equal(v), "%s %q → %q", k, text.Str(), back)
			require.Equal(t, v.Infinity(), back.Infinity())
			if f := v.Float(); !math.IsNaN(f) {
				require.Equal(t, math.Signbit(f), math.Signbit(back.Float()))
			}
		}
	}
}

// Whatever a value is converted to says the same: converted back it is the value again.
func TestConversionsLoseNothing(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	done := map[[2]Kind]int{}
	for from := KindBool; from < kinds; from++ {
		for to := KindBool; to < kinds; to++ {
			for range 500 {
				v := randomValue(r, from)
				w, err := v.Convert(to)
				if err != nil {
					continue
				}
				require.True(t, from.ConvertibleTo(to), "%s to %s", from, to)
				done[[2]Kind{from, to}]++
				if from == KindArray || to == KindJSON || from == KindText && to != KindText {
					continue // another text may say the same, and JSON isn't converted back
				}
				require.Equal(t, to, w.Kind())
				back, err := w.Convert(from)
				require.NoError(t, err, "%s %q to %s %q", from, v, to, w)
				require.True(t, back.Equal(v), "%s %q to %s %q is %q", from, v, to, w, back)
			}
		}
	}
	require.Len(t, done, 76)
}

func TestConvert(t *testing.T) {
	t.Parallel()
	date := func(s string) Value { return must(Text(s).Convert(KindDate)) }
	at := func(s string) Value {
		x, err := time.Parse(time.RFC3339Nano, s)
		require.NoError(t, err)
		return Time(x)
	}
	local := func(s string) Value { v := at(s); v.kind = KindDateTime; return v }
	for _, c := range []struct {
		from Value
		want Value
	}{
		{Value{}, Value{}},
		{Text("-9223372036854775808"), Int(math.MinInt64)},
		{Text("9223372036854775807"), Int(math.MaxInt64)},
		{Text("+007"), Int(7)},
		{Text("-0"), Int(0)},
		{Text("5.00"), Int(5)},
		{Text("1200e-2"), Int(12)},
		{Text("18446744073709551615"), Uint(math.MaxUint64)},
		{Text("1844674407370955161.5e1"), Uint(math.MaxUint64)},
		{Decimal("5.00"), Int(5)},
		{Decimal("0.0e999999999999999999999"), Int(0)},
		{Int(5), Uint(5)},
		{Uint(5), Int(5)},
		{Int(1), Bool(true)},
		{Uint(0), Bool(false)},
		{Bool(true), Int(1)},
		{Text("TRUE"), Bool(true)},
		{Text("f"), Bool(false)},
		{Text("off"), Bool(false)},
		{Text("y"), Bool(true)},
		{Int(1 << 60), Float(1 << 60)},
		{Int(math.MinInt64), Float(-1 << 63)},
		{Float(-1 << 63), Int(math.MinInt64)},
		{Float(1e19), Uint(1e19)},
		{Text("0.1"), Float(0.1)},
		{Text("0.1000000000000000055511151231257827021181583404541015625"), Float(0.1)},
		{Text("0.1"), Float32(0.1)},
		{Text("1E400"), Decimal("1E400")},
		{Text("-inf"), Float(math.Inf(-1))},
		{Text("nan"), Float32(float32(math.NaN()))},
		{Text("Infinity"), Decimal("Infinity")},
		{Text("+.5"), Decimal("0.5")},
		{Text("-007."), Decimal("-7")},
		{Float(0.1), Decimal("0.1")},
		{Float32(0.1), Decimal("0.1")},
		{Float(1e300), Decimal("1e+300")},
		{Float(0.5), Float32(0.5)},
		{Text(`\x00fF`), Bytes("\x00\xff")},
		{Text("aGk="), Bytes("hi")},
		{Text(""), Bytes("")},
		{Text("6BA7B8109dad11d180b400c04fd430c8"), must(Text("{6ba7b810-9dad-11d1-80b4-00c04fd430c8}").Convert(KindUUID))},
		{Bytes("0123456789abcdef"), RawUUID("0123456789abcdef")},
		{Text(" [1, 2] "), JSON(" [1, 2] ")},
		{Int(5), JSON("5")},
		{Text("1970-01-02"), Date(1)},
		{Text("0000-01-01"), date("0001-01-01 BC")},
		{Text("-0043-03-15"), date("0044-03-15 BC")},
		{Text("+12024-02-29"), date("12024-02-29")},
		{Text("2024-02-29T00:00:00Z"), date("2024-02-29")},
		{Text("-Infinity"), Infinite(KindDate, true)},
		{Text("2024-02-29 12:34"), local("2024-02-29T12:34:00Z")},
		{Text("2024-02-29T24:00:00"), local("2024-03-01T00:00:00Z")},
		{Text("2024-02-29"), local("2024-02-29T00:00:00Z")},
		{Text("2024-02-29 12:34:56.7+02"), at("2024-02-29T10:34:56.7Z")},
		{Text("2024-02-29 12:34:56-0230"), at("2024-02-29T15:04:56Z")},
		{Text("2024-02-29 12:34:56.1234567890+02:30:00"), at("2024-02-29T10:04:56.123456789Z")},
		{Text("2024-02-29 12:34:56.789 +0000 UTC"), at("2024-02-29T12:34:56.789Z")},
		{Text("2024-02-29t23:30:00-01:00"), at("2024-03-01T00:30:00Z")},
		{Text("2024-02-29T12:34:56"), at("2024-02-29T12:34:56Z")},
		{Text("infinity"), Infinite(KindTime, false)},
		{Infinite(KindTime, false), Infinite(KindDate, false)},
		{local("2024-02-29T12:34:56Z"), at("2024-02-29T12:34:56Z")},
		{date("2024-02-29"), at("2024-02-29T00:00:00Z")},
		{at("2024-02-29T00:00:00Z"), date("2024-02-29")},
		{Text("24:00:00"), Clock(24 * time.Hour)},
		{Text("23:59:59.000001"), Clock(24*time.Hour - time.Second + time.Microsecond)},
		{Date(-719162 - 366), Text("0001-01-01 BC")},
		{at("0000-12-31T23:00:00.5Z"), Text("0001-12-31T23:00:00.5Z BC")},
		{Float32(0.1), Text("0.1")},
		{Float(1e-7), Text("1e-07")},
		{Float(1 << 60), Text("1.152921504606847e+18")},
		{Float(999999999999999), Text("999999999999999")},
		{Float32(389985024), Text("3.8998502e+08")},
		{List(&Array{Elem: KindText, Dims: []int{2, 1}, Values: []Value{{}, Text("null")}}), Text(`{{NULL},{"null"}}`)},
		{List(&Array{Elem: KindInt, Dims: []int{2, 1}, Values: []Value{{}, Int(1)}}), JSON(`[[null],[1]]`)},
		{List(&Array{Elem: KindInt}), Text(`{}`)},
	} {
		got, err := c.from.Convert(c.want.Kind())
		require.NoError(t, err, "%s %q", c.from.Kind(), c.from)
		require.Equal(t, c.want.Kind(), got.Kind())
		require.True(t, got.Equal(c.want), "%s %q is %q instead of %q", c.from.Kind(), c.from, got, c.want)
		require.Equal(t, c.want.String(), got.String())
	}
}

func must(v Value, err error) Value {
	if err != nil {
		panic(err)
	}
	return v
}

func TestNotConvertible(t *testing.T) {
	t.Parallel()
	texts := map[Kind][]string{
		KindBool:     {"", "2", "tr", "wahr", " true"},
		KindInt:      {"", " 1", "1 ", "1_0", "0x1", "--1", "+", "-", "1.5", "1e-1", "9223372036854775808", "-9223372036854775809", "1e19", "1e999999999999999999999", "NaN", "inf", "1e", "1.2.3", "١"},
		KindUint:     {"-1", "18446744073709551616", "2e19", "1e21", "."},
		KindFloat:    {"", "9007199254740993", "1e309", "1e-400", "0x1p4", "1_0.5", "infinty", "0.1e", "1,5", "1" + strings.Repeat("0", 800) + "1"},
		KindFloat32:  {"16777217", "0.12345678901", "1e39"},
		KindDecimal:  {"", ".", "1e", "e5", "1 ", "0x1", "1_000", "++1", "1.e+", "NaNs"},
		KindBytes:    {`\x0`, `\xgg`, "abc", "aGk", "a-_=", "aGl="},
		KindUUID:     {"", "6ba7b810-9dad-11d1-80b4-00c04fd430c", "6ba7b810-9dad-11d1-80b4-00c04fd430c80", "{6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b810--9dad-11d1-80b4-00c04fd430c8", "6-ba7b8109dad11d180b400c04fd430c8", "6ba7b8109dad11d180b400c04fd430cg"},
		KindJSON:     {"", "{", "abc", "[1,]", "{\"a\"}", "1 2", "\"\xff\"", "NaN", "01", "'a'"},
		KindDate:     {"", "2024-02-30", "2023-02-29", "2024-13-01", "0000-00-00", "24-01-01", "2024-1-1", "2024-01-01T00:00:01", "2024-01-01T00:00:00+01:00", "-0043-01-01 BC", "0000-01-01 BC", "99999999999999999-01-01", "29000000000000000-01-01", "2024-01-01 ", "20240101", "infinty", "++infinity", "2024-01-01T", "1900-02-29"},
		KindClock:    {"", "24:00:01", "24:00:00.1", "12:60", "12:00:60", "1:00", "12", "12:00:00Z", "12:00:00.", "12:00:00.0000000001", "12:00 x"},
		KindDateTime: {"2024-01-01T12:00:00+02:00", "2024-01-01T25:00:00", "2024-01-01T12", "2024-01-01x12:00", "292277026596-12-04T15:30:08"},
		KindTime:     {"2024-01-01T12:00:00+24:00", "2024-01-01T12:00:00+2", "2024-01-01T12:00:00 CET", "2024-01-01T12:00:00+02:60", "2024-01-01T12:00:00.1234567891Z", "-292277022657-01-27T08:29:52Z", "292277026596-12-04T15:30:07Z"},
		KindArray:    {"{}"},
	}
	for k, list := range texts {
		for _, s := range list {
			_, err := Text(s).Convert(k)
			require.Error(t, err, "%s %q", k, s)
			require.Contains(t, err.Error(), k.String())
			require.Contains(t, err.Error(), excerpt(s))
		}
	}
	for _, c := range []struct {
		from Value
		to   Kind
		want string
	}{
		{Int(-1), KindUint, `row: int "-1" can't be converted to uint: it is negative`},
		{Int(2), KindBool, `row: int "2" can't be converted to bool: it is neither 0 nor 1`},
		{Uint(1 << 63), KindInt, `row: uint "9223372036854775808" can't be converted to int: it is too large, or too small`},
		{Int(1<<53 + 1), KindFloat, `row: int "9007199254740993" can't be converted to float: a float of that size has not all of its digits`},
		{Uint(math.MaxUint64), KindFloat, `row: uint "18446744073709551615" can't be converted to float: a float of that size has not all of its digits`},
		{Int(1<<24 + 1), KindFloat32, `row: int "16777217" can't be converted to float32: a float of that size has not all of its digits`},
		{Float(0.1), KindFloat32, `row: float "0.1" can't be converted to float32: a float of that size has not all of its digits`},
		{Float(5.5), KindInt, `row: float "5.5" can't be converted to int: it has a fraction`},
		{Float(1 << 63), KindInt, `row: float "9.223372036854776e+18" can't be converted to int: it is too large, or too small`},
		{Float(math.NaN()), KindInt, `row: float "NaN" can't be converted to int: it isn't finite`},
		{Float(math.NaN()), KindJSON, `row: float "NaN" can't be converted to json: JSON has no word for NaN and the infinities`},
		{Decimal("5.5"), KindInt, `row: decimal "5.5" can't be converted to int: it has a fraction`},
		{Bool(true), KindFloat, `row: bool "true" can't be converted to float: there is no conversion from the one to the other`},
		{Bytes("abc"), KindUUID, `row: bytes "\\x616263" can't be converted to uuid: it has 3 bytes instead of 16`},
		{JSON("5"), KindInt, `row: json "5" can't be converted to int: there is no conversion from the one to the other`},
		{Instant(1, 0), KindDate, `row: time "1970-01-01T00:00:01Z" can't be converted to date: its time of day isn't midnight`},
		{Date(math.MaxInt64 - 1), KindTime, `row: date "25252734927768524-07-26" can't be converted to time: it is too large, or too small`},
		{Text(strings.Repeat("x", 1000)), KindInt, `row: text "` + strings.Repeat("x", 128) + `"… (1000 bytes) can't be converted to int: it isn't written as one`},
		{Int(1), Kind(200), `row: int "1" can't be converted to unknown kind: there is no conversion from the one to the other`},
	} {
		_, err := c.from.Convert(c.to)
		require.EqualError(t, err, c.want)
	}
}

func TestConvertArray(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from Value
		elem Kind
		want string
		dims []int
	}{
		{Text("{}"), KindInt, "{}", nil},
		{Text(" { 1 , NULL,\"3\" } "), KindInt, "{1,NULL,3}", nil},
		{Text(`{a b,"",\n}`), KindText, "", nil},
		{Text(`{a b,"","nu\"l\\l",x y }`), KindText, `{"a b","","nu\"l\\l","x y"}`, nil},
		{Text("{{1,2},{3,4},{5,null}}"), KindFloat, "{{1,2},{3,4},{5,NULL}}", []int{3, 2}},
		{Text("{{{t}},{{f}}}"), KindBool, "{{{true}},{{false}}}", []int{2, 1, 1}},
		{JSON(`[]`), KindInt, "{}", nil},
		{JSON(`[1, 2.0 ,null,"4"]`), KindInt, "{1,2,NULL,4}", nil},
		{JSON(`[["a","\ud83d\ude00"],[null,"\n"]]`), KindText, "{{a,😀},{NULL,\"\n\"}}", []int{2, 2}},
		{JSON(`[{"a": 1}, [2], "x", null]`), KindJSON, `{"{\"a\":1}",[2],"\"x\"",NULL}`, nil},
		{List(&Array{Elem: KindInt, Values: []Value{Int(1), {}}}), KindDecimal, "{1,NULL}", nil},
	} {
		v, err := c.from.ConvertArray(c.elem)
		if c.want == "" {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.want, v.String())
		require.Equal(t, c.elem, v.Array().Elem)
		require.Equal(t, c.dims, v.Array().Dims)
	}
	for _, from := range []Value{
		Text(""), Text("{"), Text("{1"), Text("{1,}"), Text("{,1}"), Text("{1}}"), Text("{1} x"), Text(`{"a`), Text(`{"a\`), Text("{{1,2},{3}}"), Text("{1,{2}}"), Text("{{1},2}"),
		Text("{{}}"), Text("[2:3]={1,2}"), Text("{a\"b}"), Text(strings.Repeat("{", 1e6)), Text("{x}"),
		JSON(""), JSON("{}"), JSON("[1"), JSON("[1,[2]]"), JSON("[[1],2]"), JSON("[[1],[2,3]]"), JSON(strings.Repeat("[", 9000) + strings.Repeat("]", 9000)), JSON(`["\ud800"]`),
		Int(1), List(&Array{Elem: KindText, Values: []Value{Text("x")}}),
	} {
		_, err := from.ConvertArray(KindInt)
		require.Error(t, err, "%q", from)
		require.Less(t, len(err.Error()), 800)
	}
	null, err := Value{}.ConvertArray(KindInt)
	require.NoError(t, err)
	require.True(t, null.IsNull())
}

// The calendar agrees with package time where that reaches.
func TestCalendar(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	for range 20_000 {
		days := r.Int64N(20_000_000) - 10_000_000
		at := time.Unix(days*daySeconds, 0).UTC()
		year, month, day := civil(days)
		require.Equal(t, fmt.Sprint(at.Year(), int(at.Month()), at.Day()), fmt.Sprint(year, month, day))
		back, ok := daysOf(year, month, day)
		require.True(t, ok)
		require.Equal(t, days, back)
		if day == 1 {
			_, _, last := civil(days - 1)
			before := at.AddDate(0, 0, -1)
			require.Equal(t, last, daysIn(int64(before.Year()), int(before.Month())))
		}
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b Value
		want bool
	}{
		{Value{}, Value{}, true},
		{Value{}, Int(0), false},
		{Int(5), Uint(5), true},
		{Int(-1), Uint(math.MaxUint64), false},
		{Int(5), Float(5), false},
		{Float(math.NaN()), Float(math.Float64frombits(0x7ff8000000000123)), true},
		{Float(0), Float(math.Copysign(0, -1)), true},
		{Decimal("5.00"), Decimal("5"), true},
		{Decimal("500e-2"), Decimal("+5."), true},
		{Decimal("-5"), Decimal("5"), false},
		{Decimal("0.0"), Decimal("-0"), true},
		{Decimal("1.01"), Decimal("1.1"), false},
		{Decimal("12.34"), Decimal("1.234e1"), true},
		{Decimal("nan"), Decimal("NaN"), true},
		{Decimal("Infinity"), Decimal("-Infinity"), false},
		{Decimal("garbage"), Decimal("garbage"), true},
		{Decimal("garbage"), Decimal("5"), false},
		{Text("a"), Bytes("a"), false},
		{Instant(1, 2), Instant(1, 3), false},
		{Instant(1, 2), DateTime(1, 2), false},
		{List(&Array{Elem: KindInt, Values: []Value{Int(1)}}), List(&Array{Elem: KindInt, Dims: []int{1}, Values: []Value{Int(1)}}), true},
		{List(&Array{Elem: KindInt, Values: []Value{Int(1), Int(2)}}), List(&Array{Elem: KindInt, Dims: []int{1, 2}, Values: []Value{Int(1), Int(2)}}), false},
		{List(&Array{Elem: KindInt, Values: []Value{Int(1)}}), List(&Array{Elem: KindInt, Values: []Value{{}}}), false},
		{List(&Array{Elem: KindInt}), List(&Array{Elem: KindText}), false},
	} {
		require.Equal(t, c.want, c.a.Equal(c.b), "%s %q and %s %q", c.a.Kind(), c.a, c.b.Kind(), c.b)
		require.Equal(t, c.want, c.b.Equal(c.a), "%s %q and %s %q", c.b.Kind(), c.b, c.a.Kind(), c.a)
	}
	ab, err := NewColumns(Column{Name: "a"}, Column{Name: "b"})
	require.NoError(t, err)
	other, err := NewColumns(Column{Name: "a", Kind: KindInt}, Column{Name: "b"})
	require.NoError(t, err)
	ba, err := NewColumns(Column{Name: "b"}, Column{Name: "a"})
	require.NoError(t, err)
	r := Row{ab, []Value{Int(1), {}}}
	require.True(t, r.Equal(Row{other, []Value{Uint(1), {}}}))
	require.False(t, r.Equal(Row{ba, r.Values}))
	require.False(t, r.Equal(Row{ab, []Value{Int(1)}}))
	require.False(t, r.Equal(Row{ab, []Value{Int(1), Text("")}}))
	require.False(t, r.Equal(Row{}))
	none, nothing := Row{}, Row{Values: []Value{}}
	require.True(t, none.Equal(nothing))
}

func FuzzConvert(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	for k := KindBool; k < kinds; k++ {
		for range 10 {
			f.Add(randomValue(r, k).String(), byte(k))
		}
	}
	f.Add("2024-02-29 12:34:56.789 +0000 UTC BC", byte(KindTime))
	f.Add("9999999999999999-12-31T23:59:59-23:59", byte(KindTime))
	f.Fuzz(func(t *testing.T, text string, kind byte) {
		k := Kind(kind) % kinds
		var v Value
		var err error
		if k == KindArray {
			v, err = Text(text).ConvertArray(Kind(kind/byte(kinds)) % KindArray)
		} else {
			v, err = Text(text).Convert(k)
		}
		if err != nil {
			require.Less(t, len(err.Error()), 2000)
			return
		}
		canonical := v.String()
		back, err := Text(canonical), error(nil)
		if k == KindArray {
			back, err = back.ConvertArray(v.Array().Elem)
		} else {
			back, err = back.Convert(k)
		}
		require.NoError(t, err, "%q became %q", text, canonical)
		require.True(t, back.Equal(v), "%q became %q became %q", text, canonical, back)
		require.Equal(t, canonical, back.String())
	})
}

func BenchmarkConvert(b *testing.B) {
	for _, c := range []struct {
		text string
		to   Kind
	}{{"1234567890", KindInt}, {"129.95", KindFloat}, {"0.30000000000000004", KindFloat}, {"129.95", KindDecimal}, {"2024-02-29T12:34:56.789Z", KindTime}, {"6ba7b810-9dad-11d1-80b4-00c04fd430c8", KindUUID}, {"true", KindBool}} {
		b.Run(c.to.String(), func(b *testing.B) {
			b.ReportAllocs()
			v := Text(c.text)
			for b.Loop() {
				if _, err := v.Convert(c.to); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
