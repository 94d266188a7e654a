package avro

import (
	"encoding/binary"
	"math"
	"math/big"
	"unsafe"
)

// fastDecimal is for a pointer to a big.Rat.
func fastDecimal(n *node) *fast {
	return &fast{
		func(s *state, p unsafe.Pointer) (err error) {
			var body []byte
			if n.kind == kindFixed {
				if len(s.data) < n.size {
					return errShort
				}
				body, s.data = s.data[:n.size], s.data[n.size:]
			} else if body, err = s.text(); err != nil {
				return err
			}
			if err := n.decimalBytesFit(body); err != nil {
				return err
			}
			*(**big.Rat)(p) = n.decimal(body)
			return nil
		},
		func(s *state, p unsafe.Pointer) error {
			r := *(**big.Rat)(p)
			if r == nil {
				return errNil
			}
			if err := n.decimalFits(r); err != nil {
				return err
			}
			return s.appendDecimal(n, r)
		},
	}
}

// decimal returns the number of an unscaled value.
func (n *node) decimal(body []byte) *big.Rat {
	if len(body) <= 8 && n.scaled.IsInt64() {
		u := uint64(0)
		if len(body) > 0 && body[0] >= 0x80 {
			u = math.MaxUint64
		}
		for _, b := range body {
			u = u<<8 | uint64(b)
		}
		return big.NewRat(int64(u), n.scaled.Int64())
	}
	i := new(big.Int).SetBytes(body)
	if len(body) > 0 && body[0] >= 0x80 {
		i.Sub(i, new(big.Int).Lsh(big.NewInt(1), uint(len(body))*8))
	}
	return new(big.Rat).SetFrac(i, n.scaled)
}

// appendDecimal writes a number that fits, with as few bytes as it needs, or as many as the fixed has.
func (s *state) appendDecimal(n *node, r *big.Rat) error {
	num, den := r.Num(), r.Denom()
	if !num.IsInt64() || !n.scaled.IsInt64() || !n.unscaled.IsInt64() || !den.IsInt64() {
		return s.appendLargeDecimal(n, r)
	}
	i := num.Int64() * (n.scaled.Int64() / den.Int64()) // below unscaled, as decimalFits has found
	var all [8]byte
	binary.BigEndian.PutUint64(all[:], uint64(i))
	body := all[:]
	for len(body) > 1 && (body[0] == 0 && body[1] < 0x80 || body[0] == 0xff && body[1] >= 0x80) {
		body = body[1:]
	}
	return s.appendUnscaled(n, body, i < 0)
}

func (s *state) appendLargeDecimal(n *node, r *big.Rat) error {
	i := new(big.Int).Quo(n.scaled, r.Denom())
	i.Mul(i, r.Num())
	size := i.BitLen()/8 + 1
	if i.Sign() < 0 {
		size = new(big.Int).Not(i).BitLen()/8 + 1
		i.Add(i, new(big.Int).Lsh(big.NewInt(1), uint(size)*8))
	}
	return s.appendUnscaled(n, i.FillBytes(make([]byte, size)), r.Sign() < 0)
}

func (s *state) appendUnscaled(n *node, body []byte, negative bool) error {
	if n.kind != kindFixed {
		s.dst = append(appendLong(s.dst, int64(len(body))), body...)
		return nil
	}
	if len(body) > n.size {
		return n.precisionError()
	}
	fill := byte(0)
	if negative {
		fill = 0xff
	}
	for range n.size - len(body) {
		s.dst = append(s.dst, fill)
	}
	s.dst = append(s.dst, body...)
	return nil
}
