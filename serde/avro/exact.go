package avro

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"time"
)

// isTime reports whether a logical type is a date, a time or a timestamp.
func isTime(logical string) bool {
	return logical == "date" || unitOf(logical) > 0
}

// unitOf returns the unit of a time or a timestamp; 0: it is none.
func unitOf(logical string) time.Duration {
	switch logical {
	case "timestamp-millis", "local-timestamp-millis", "time-millis":
		return time.Millisecond
	case "timestamp-micros", "local-timestamp-micros", "time-micros":
		return time.Microsecond
	case "timestamp-nanos", "local-timestamp-nanos":
		return time.Nanosecond
	}
	return 0
}

func isTimeOfDay(logical string) bool { return logical == "time-millis" || logical == "time-micros" }

var errDate = errors.New("a date is a time.Time at midnight in UTC, and this one isn't")

// timeFits returns an error if the schema n, a date or a timestamp, can't hold t.
func (n *node) timeFits(t *time.Time) error {
	if n.logical == "date" {
		_, offset := t.Zone()
		if offset != 0 || t.Unix()%86400 != 0 || t.Nanosecond() != 0 {
			return errDate
		}
		return nil
	}
	unit := unitOf(n.logical)
	if t.Nanosecond()%int(unit) != 0 {
		return fmt.Errorf("a time with fractions of a %s is too fine for %s: truncate it, or use another schema", unitName(unit), n.logical)
	}
	return nil
}

// timeInRange returns an error if the count of units since 1970 isn't safely an int64. goavro doesn't look.
func (n *node) timeInRange(t *time.Time) error {
	most := int64(math.MaxInt64) / int64(time.Second/max(unitOf(n.logical), 1))
	if n.logical == "date" {
		most = math.MaxInt32 * 86400
	}
	if s := t.Unix(); s >= most || s <= -most {
		return fmt.Errorf("a time in the year %d is out of range for %s", t.Year(), n.logical)
	}
	return nil
}

// durationFits returns an error if the schema n, a time of day, can't hold d.
func (n *node) durationFits(d time.Duration) error {
	unit := unitOf(n.logical)
	if d%unit != 0 {
		return fmt.Errorf("a time with fractions of a %s is too fine for %s: truncate it, or use another schema", unitName(unit), n.logical)
	}
	if n.kind == kindInt && (d/unit > math.MaxInt32 || d/unit < math.MinInt32) {
		return fmt.Errorf("a time of %v is out of range for %s", d, n.logical)
	}
	return nil
}

func unitName(unit time.Duration) string {
	if unit == time.Millisecond {
		return "millisecond"
	}
	return "microsecond"
}

var errFloat = errors.New("a float64 that no float is equal to: the schema would have to say double")

func floatFits(f float64) error {
	if float64(float32(f)) == f || math.IsNaN(f) {
		return nil
	}
	return errFloat
}

// integerFits reports whether a float with so many bits of mantissa is equal to i.
func integerFits(i int64, mantissa int) bool {
	u := uint64(i)
	if i < 0 {
		u = -u
	}
	return bits.Len64(u)-bits.TrailingZeros64(u) <= mantissa || u == 0
}

func integerFitsError(i int64, n *node) error {
	mantissa := 53
	if n.kind == kindFloat {
		mantissa = 24
	}
	if integerFits(i, mantissa) {
		return nil
	}
	return fmt.Errorf("the integer %d, which no %s is equal to", i, n.kind)
}

// decimalFits returns an error if the schema n, a decimal, can't hold r exactly. It allocates only for more than 19 digits.
func (n *node) decimalFits(r *big.Rat) error {
	num, den := r.Num(), r.Denom()
	if n.scaled.IsUint64() && n.unscaled.IsUint64() && den.IsUint64() && (num.IsUint64() || num.IsInt64()) {
		scale, by := n.scaled.Uint64(), den.Uint64()
		if scale%by != 0 {
			return n.scaleError()
		}
		digits := num.Uint64()
		if num.Sign() < 0 {
			digits = -uint64(num.Int64())
		}
		if high, low := bits.Mul64(digits, scale/by); high != 0 || low >= n.unscaled.Uint64() {
			return n.precisionError()
		}
		return nil
	}
	factor, rest := new(big.Int).QuoRem(n.scaled, den, new(big.Int))
	if rest.Sign() != 0 {
		return n.scaleError()
	}
	if factor.Mul(factor, num).CmpAbs(n.unscaled) >= 0 {
		return n.precisionError()
	}
	return nil
}

func (n *node) scaleError() error {
	return fmt.Errorf("a number with more decimals than %s has: round it, or use another schema", n)
}

func (n *node) precisionError() error {
	return fmt.Errorf("a number with more digits than %s has", n)
}

// decimalBytesFit is decimalFits for an unscaled value as it is written: two's complement, the most significant byte first.
func (n *node) decimalBytesFit(data []byte) error {
	if len(data) <= 8 {
		var u uint64
		if len(data) > 0 && data[0] >= 0x80 {
			u = math.MaxUint64
		}
		for _, b := range data {
			u = u<<8 | uint64(b)
		}
		if int64(u) < 0 {
			u = -u
		}
		if n.unscaled.IsUint64() && u >= n.unscaled.Uint64() {
			return n.precisionError()
		}
		return nil
	}
	if len(data) > maxDecimalBytes {
		return n.precisionError()
	}
	i := new(big.Int).SetBytes(data)
	if data[0] >= 0x80 {
		i.Sub(i, new(big.Int).Lsh(big.NewInt(1), uint(len(data))*8))
	}
	if i.CmpAbs(n.unscaled) >= 0 {
		return n.precisionError()
	}
	return nil
}

// maxDecimalBytes is as much as the library reads; arithmetic takes more than linear time.
const maxDecimalBytes = 32 << 10
