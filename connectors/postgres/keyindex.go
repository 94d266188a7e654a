package postgres

import (
	"bytes"
	"hash/maphash"
)

// keyIndex finds the record that has a key among those of a batch. Keys are kept in one buffer, so that none is an allocation.
type keyIndex struct {
	seed    maphash.Seed
	slots   []int32 // of entries, counted from 1, at their hash or the next free slot
	entries []keyEntry
	buf     []byte
}

// keyEntry is a key, and where its record is.
type keyEntry struct {
	hash       uint64
	start, end int // in the buffer
	segment    int // -1: nowhere yet
	chunk      int
	record     int
}

func newKeyIndex() keyIndex { return keyIndex{seed: maphash.MakeSeed(), slots: make([]int32, 1024)} }

func (x *keyIndex) reset() {
	if cap(x.buf) > keptBytes {
		x.buf = nil
	}
	clear(x.slots)
	x.entries, x.buf = x.entries[:0], x.buf[:0]
}

// find returns the entry of the key that was appended to the buffer at a place, and whether it was there before. If so, the
// buffer is cut back. The entry is good until the next find.
func (x *keyIndex) find(at int) (*keyEntry, bool) {
	if 2*(len(x.entries)+1) > len(x.slots) {
		x.grow()
	}
	key := x.buf[at:]
	hash := maphash.Bytes(x.seed, key)
	mask := uint64(len(x.slots) - 1)
	i := hash & mask
	for ; x.slots[i] != 0; i = (i + 1) & mask {
		e := &x.entries[x.slots[i]-1]
		if e.hash == hash && bytes.Equal(x.buf[e.start:e.end], key) {
			x.buf = x.buf[:at]
			return e, true
		}
	}
	x.entries = append(x.entries, keyEntry{hash: hash, start: at, end: len(x.buf), segment: -1})
	x.slots[i] = int32(len(x.entries)) //nolint:gosec // of a batch
	return &x.entries[len(x.entries)-1], false
}

func (x *keyIndex) grow() {
	x.slots = make([]int32, 2*len(x.slots))
	mask := uint64(len(x.slots) - 1)
	for n := range x.entries {
		i := x.entries[n].hash & mask
		for x.slots[i] != 0 {
			i = (i + 1) & mask
		}
		x.slots[i] = int32(n + 1) //nolint:gosec // of a batch
	}
}
