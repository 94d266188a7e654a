package row

import (
	"math"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// randomValue returns a value of a kind, often one at the edge of what the kind can say.
func randomValue(r *rand.Rand, k Kind) Value {
	switch k {
	case KindBool:
		return Bool(r.IntN(2) == 1)
	case KindInt:
		return Int(randomInt(r))
	case KindUint:
		return Uint(uint64(randomInt(r)))
	case KindFloat32:
		if r.IntN(4) == 0 {
			return Float32([]float32{0, float32(math.Copysign(0, -1)), float32(math.NaN()), float32(math.Inf(-1)), math.MaxFloat32, math.SmallestNonzeroFloat32, 0.1, 1e21}[r.IntN(8)])
		}
		return Float32(math.Float32frombits(r.Uint32()))
	case KindFloat:
		if r.IntN(4) == 0 {
			return Float([]float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.MaxFloat64, math.SmallestNonzeroFloat64, 0.1, 1e21}[r.IntN(8)])
		}
		return Float(math.Float64frombits(r.Uint64()))
	case KindDecimal:
		return Decimal(randomDecimal(r))
	case KindText:
		return Text(randomText(r))
	case KindBytes:
		p := make([]byte, r.IntN(20))
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		return Bytes(string(p))
	case KindJSON:
		return JSON([]string{`{}`, `{"a":[1,2.50,"x\u0000",null]}`, `[]`, `"\ud83d\ude00 ☺"`, `-0.0e-5`, `true`, `[{"a":{}},[[]]]`}[r.IntN(7)])
	case KindUUID:
		var id [16]byte
		for i := range id {
			id[i] = byte(r.Uint32())
		}
		return UUID(id)
	case KindDate:
		if r.IntN(8) == 0 {
			return Infinite(KindDate, r.IntN(2) == 0)
		}
		return Date(randomInt(r) >> r.IntN(50))
	case KindClock:
		if r.IntN(8) == 0 {
			return Value{kind: KindClock, num: daySeconds}
		}
		return Value{kind: KindClock, num: r.Uint64N(daySeconds), nsec: randomNanos(r)}
	case KindDateTime, KindTime:
		if r.IntN(8) == 0 {
			return Infinite(k, r.IntN(2) == 0)
		}
		return Value{kind: k, num: uint64(randomInt(r) >> r.IntN(50)), nsec: randomNanos(r)}
	case KindArray:
		return randomArray(r)
	}
	return Value{}
}

func randomInt(r *rand.Rand) int64 {
	if r.IntN(3) == 0 {
		return []int64{0, 1, -1, math.MaxInt64 - 1, math.MinInt64 + 1, 1 << 53, 1<<53 + 1, -86_400, 86_399}[r.IntN(9)]
	}
	return int64(r.Uint64()) >> r.IntN(64)
}

func randomNanos(r *rand.Rand) uint32 {
	return []uint32{0, 1, 999_999_999, 500_000_000, 1000, r.Uint32N(1e9)}[r.IntN(6)]
}

func randomDecimal(r *rand.Rand) string {
	text := []string{"", "-"}[r.IntN(2)] + []string{"0", "1", "90", "123456789012345678901234567890"}[r.IntN(4)]
	text += []string{"", ".0", ".50", ".000000000000000000000000000001"}[r.IntN(4)]
	text += []string{"", "", "e5", "E-400", "e+1"}[r.IntN(5)]
	if r.IntN(10) == 0 {
		return []string{"NaN", "Infinity", "-Infinity"}[r.IntN(3)]
	}
	return text
}

func randomText(r *rand.Rand) string {
	parts := []string{"", "a", " ", ",", "\"", "\\", "\n", "\r", "{", "}", "NULL", "null", "\x00", "ü", "😀", "\u2028", "\x7f", "<&>", "0", "'", ";", "\t"}
	text := ""
	for range r.IntN(6) {
		text += parts[r.IntN(len(parts))]
	}
	return text
}

func randomArray(r *rand.Rand) Value {
	elem := Kind(1 + r.IntN(int(KindTime)))
	a := &Array{Elem: elem}
	n := r.IntN(5)
	if r.IntN(3) == 0 && n > 0 {
		a.Dims = []int{n, 1 + r.IntN(3)}
		n *= a.Dims[1]
	}
	for range n {
		v := Value{}
		if r.IntN(5) > 0 {
			v = randomValue(r, elem)
		}
		a.Values = append(a.Values, v)
	}
	return List(a)
}
