package kafka

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// abortedTransaction is one whose records, from first on, are to be hidden up to its marker.
type abortedTransaction struct {
	producer, first int64
}

// committed hides records of aborted transactions (KIP-98, "consumer changes"): a fetch says which they are.
type committed struct {
	aborted []abortedTransaction // by first
	open    map[int64]bool       // producers whose transaction, that will be aborted, has begun
}

// begin is for what a fetch says.
func (c *committed) begin(aborted []abortedTransaction) {
	c.aborted = aborted
	slices.SortFunc(c.aborted, func(a, b abortedTransaction) int { return cmp.Compare(a.first, b.first) })
	clear(c.open)
}

// hides reports whether a batch is part of an aborted transaction, or a marker of one. All batches of a fetch are shown to
// it, in order, with what is behind their headers: markers are never compressed.
func (c *committed) hides(h *batchHeader, payload []byte) bool {
	for len(c.aborted) > 0 && c.aborted[0].first < h.next() {
		if c.open == nil {
			c.open = make(map[int64]bool)
		}
		c.open[c.aborted[0].producer] = true
		c.aborted = c.aborted[1:]
	}
	if h.attributes&attrControl != 0 {
		if isAbort(h, payload) {
			delete(c.open, h.producer)
		}
		return true
	}
	return h.attributes&attrTransactional != 0 && c.open[h.producer]
}

// isAbort reads the key of a control record: a version and a type, 0 for an abort.
func isAbort(h *batchHeader, payload []byte) bool {
	d := records{header: *h, payload: payload, left: h.records}
	body, err := d.body()
	if err != nil || len(body) < 1 {
		return false
	}
	body = body[1:]
	for range 2 {
		if _, body, err = varint(body); err != nil {
			return false
		}
	}
	key, _, err := nullable(body)
	return err == nil && len(key) >= 4 && binary.BigEndian.Uint16(key[2:]) == 0
}
