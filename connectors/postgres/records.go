package postgres

import (
	"encoding/binary"

	"github.com/bohica-labs/dataweaver/row"
)

// A statement of records takes one parameter: an array of a composite type in binary format (array_recv and record_recv in
// src/backend/utils/adt). A chunk is one such array, or the data of one COPY.
type chunk struct {
	copies bool
	buf    []byte
	starts []int  // where each record begins
	dead   []bool // of each record; nil: none is
	count  int    // that aren't dead
}

const (
	arrayHeader = 20
	chunkBytes  = 8 << 20 // beyond which another chunk begins, so that no array comes near the server's limit of 1 GiB
	keptBytes   = 4 << 20 // of a buffer, from one batch to the next
)

// copyHeader is what the data of a binary COPY begins with.
const copyHeader = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

// reset makes the chunk empty, without what one huge record asked for.
func (c *chunk) reset(copies bool) {
	if cap(c.buf) > chunkBytes+keptBytes {
		c.buf = nil
	}
	c.copies = copies
	if c.buf = c.buf[:0]; copies {
		c.buf = append(c.buf, copyHeader...)
	} else {
		c.buf = append(c.buf, make([]byte, arrayHeader)...)
	}
	c.starts, c.dead, c.count = c.starts[:0], nil, 0
}

// add appends a record. After an error, which is of the target with the index it returns (-1: of all of them), the chunk is
// what it was.
func (c *chunk) add(targets []target, values []row.Value) (int, error) {
	at := len(c.buf)
	b := c.buf
	if c.copies {
		b = binary.BigEndian.AppendUint16(b, uint16(len(targets))) //nolint:gosec // at most 1,600
	} else {
		b = append(b, 0, 0, 0, 0)
		b = binary.BigEndian.AppendUint32(b, uint32(len(targets))) //nolint:gosec // at most 1,600
	}
	var err error
	for i := range targets {
		t := &targets[i]
		if !c.copies {
			b = binary.BigEndian.AppendUint32(b, t.wire)
		}
		if b, err = t.append(b, values[t.index]); err != nil {
			c.buf = b[:at]
			return i, err
		}
	}
	if c.copies {
		c.buf = b
		c.count++
		return -1, nil
	}
	if b, err = sized(b, at); err != nil {
		c.buf = b[:at]
		return -1, err
	}
	c.buf = b
	c.starts = append(c.starts, at)
	if c.dead != nil {
		c.dead = append(c.dead, false)
	}
	c.count++
	return -1, nil
}

// drop takes a record of an array out again.
func (c *chunk) drop(i int) {
	if c.dead == nil {
		c.dead = make([]bool, len(c.starts), cap(c.starts))
	}
	c.dead[i] = true
	c.count--
}

// data ends the data of a COPY.
func (c *chunk) data() []byte {
	c.buf = append(c.buf, 0xff, 0xff)
	return c.buf
}

// array ends the array of records of a type.
func (c *chunk) array(record uint32) []byte {
	if c.dead != nil {
		c.compact()
	}
	h := c.buf[:arrayHeader]
	binary.BigEndian.PutUint32(h, 1)     // one dimension
	binary.BigEndian.PutUint32(h[4:], 0) // no NULL
	binary.BigEndian.PutUint32(h[8:], record)
	binary.BigEndian.PutUint32(h[12:], uint32(c.count)) //nolint:gosec // of chunkBytes
	binary.BigEndian.PutUint32(h[16:], 1)               // counted from 1
	return c.buf
}

// compact closes the gaps that dropped records leave.
func (c *chunk) compact() {
	end := arrayHeader
	for i, start := range c.starts {
		next := len(c.buf)
		if i+1 < len(c.starts) {
			next = c.starts[i+1]
		}
		if !c.dead[i] {
			end += copy(c.buf[end:], c.buf[start:next])
		}
	}
	c.buf = c.buf[:end]
}
