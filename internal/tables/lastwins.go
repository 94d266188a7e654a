package tables

import (
	"bytes"
	"hash/maphash"
)

// LastWins finds the records of a batch that a later one with the same key replaces. It has one owner, and its memory is used
// again from batch to batch.
type LastWins struct {
	seed  maphash.Seed
	at    map[uint64]int // the last record with a hash, of those whose hash is that
	keys  []byte
	ends  []int // where each record's key ends in keys
	chain []int // the record before with the same hash and another key; -1: none
	dead  []bool
	some  bool
}

// kept is how much memory is kept from one batch to the next.
const kept = 1 << 20

// Reset forgets all records.
func (l *LastWins) Reset() {
	switch {
	case l.at == nil:
		l.seed, l.at = maphash.MakeSeed(), map[uint64]int{}
	case len(l.at) > kept/16:
		l.at = map[uint64]int{}
	default:
		clear(l.at)
	}
	if cap(l.keys) > kept {
		l.keys = nil
	}
	l.keys, l.ends, l.chain, l.dead, l.some = l.keys[:0], l.ends[:0], l.chain[:0], l.dead[:0], false
}

// Add adds the next record. Key is appended to what it is given.
func (l *LastWins) Add(key func(dst []byte) []byte) {
	begin := len(l.keys)
	l.keys = key(l.keys)
	own := l.keys[begin:]
	i := len(l.ends)
	l.ends, l.dead = append(l.ends, len(l.keys)), append(l.dead, false)
	hash := maphash.Bytes(l.seed, own)
	before, ok := l.at[hash]
	if !ok {
		before = -1
	}
	l.at[hash] = i
	l.chain = append(l.chain, before)
	for j := before; j >= 0; j = l.chain[j] {
		if !l.dead[j] && bytes.Equal(own, l.key(j)) {
			l.dead[j], l.some = true, true
			return
		}
	}
}

func (l *LastWins) key(i int) []byte {
	begin := 0
	if i > 0 {
		begin = l.ends[i-1]
	}
	return l.keys[begin:l.ends[i]]
}

// Replaced reports whether a later record has the key of record i.
func (l *LastWins) Replaced(i int) bool { return l.dead[i] }

// Any reports whether any record is replaced.
func (l *LastWins) Any() bool { return l.some }
