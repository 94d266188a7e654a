package crash

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"strconv"
)

// Ledger is a list of records that a seed says everything about: how many there are, in which order, with which keys
// and what is in them. It is a value that may be copied and used by many; the same fields make the same records
// anywhere.
type Ledger struct {
	Seed    uint64
	Records int64 // how many, numbered from 1
	Keys    int   // how many keys they share; default 1
	Bytes   int   // how long Data is at most; default 48
}

// Record returns record n. It panics if n is not from 1 to Records.
func (l Ledger) Record(n int64) Record {
	if n < 1 || n > l.Records {
		panic(fmt.Sprintf("crash: Ledger.Record(%d) of %d records", n, l.Records))
	}
	rng := rand.New(rand.NewPCG(l.Seed, uint64(n)))
	r := Record{N: n, Key: "k" + strconv.FormatUint(l.key(n), 10)}
	data := make([]rune, rng.IntN(or(l.Bytes, defaultBytes)+1))
	size := 0
	for i := range data {
		data[i] = alphabet[rng.IntN(len(alphabet))]
		if size += len(string(data[i])); size > or(l.Bytes, defaultBytes) {
			data = data[:i]
			break
		}
	}
	r.Data = string(data)
	r.Sum = r.sum()
	return r
}

const defaultBytes = 48

// alphabet has more of what is plain.
var alphabet = []rune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789      ,;:'\"\\/<&\t\n{}[]éß世🙂")

// key returns the number of n's key: n mixed with the seed, as splitmix64 does it.
func (l Ledger) key(n int64) uint64 {
	keys := uint64(max(l.Keys, 1))
	x := l.Seed + uint64(n)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return (x ^ x>>31) % keys
}

// All yields the records in their order.
func (l Ledger) All() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for n := int64(1); n <= l.Records; n++ {
			if !yield(l.Record(n)) {
				return
			}
		}
	}
}

// Verified yields the numbers of records that were read back, for Check: each is compared with the one that was made,
// and an error that is ErrAltered takes the place of one that differs. Errors are passed on.
func (l Ledger) Verified(records iter.Seq2[Record, error]) iter.Seq2[int64, error] {
	return func(yield func(int64, error) bool) {
		for r, err := range records {
			if err == nil {
				err = l.same(r)
			}
			if !yield(r.N, err) {
				return
			}
		}
	}
}

// same finds out whether r is as it was made. Numbers of no record are left to Check.
func (l Ledger) same(r Record) error {
	if err := r.Verify(); err != nil {
		return err
	}
	if r.N < 1 || r.N > l.Records {
		return nil
	}
	if want := l.Record(r.N); r != want {
		return fmt.Errorf("record %d is %+v instead of %+v: %w", r.N, r, want, ErrAltered)
	}
	return nil
}

func or[N int | int64](value, standard N) N {
	if value == 0 {
		return standard
	}
	return value
}
