package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// block is rows as they came: of each value its size, 32 bits or -1 for NULL, and its bytes.
type block struct {
	layout    *layout
	following bool      // they are in the order of the cursor
	horizon   row.Value // while copying
	data      []byte
	rows      int
	last      int // where the last row begins
}

// pageRows puts the rows of a page into blocks.
type pageRows struct {
	f     *fetcher
	limit int
	n     int
	block *block
}

// add takes a row in. One beyond the limit is only looked at.
func (p *pageRows) add(ctx context.Context, values [][]byte) error {
	if err := p.f.checkOrder(values); err != nil {
		return err
	}
	if p.n == p.limit {
		return nil
	}
	if p.block != nil && len(p.block.data) >= blockBytes {
		p.f.hand(p.block)
		p.block = nil
	}
	if p.block == nil {
		var err error
		if p.block, err = p.f.take(ctx); err != nil {
			return err
		}
	}
	c := p.block
	c.last = len(c.data)
	for _, v := range values {
		if v == nil {
			c.data = append(c.data, 0xFF, 0xFF, 0xFF, 0xFF)
			continue
		}
		c.data = binary.BigEndian.AppendUint32(c.data, uint32(len(v))) //nolint:gosec // as it came
		c.data = append(c.data, v...)
	}
	p.n++
	c.rows++
	p.f.pageBytes += len(c.data) - c.last
	return nil
}

// end hands over what is left, and notes where the next page begins.
func (p *pageRows) end() error {
	if p.block == nil {
		return nil
	}
	at, err := p.block.orderOf(p.block.last)
	if err != nil {
		return err
	}
	p.f.at = at
	p.f.average = max(p.f.pageBytes/p.n, 1)
	p.f.hand(p.block)
	return nil
}

// hand hands a block to the reader. It never blocks: there is room for all blocks that exist.
func (f *fetcher) hand(c *block) {
	f.memory.Add(int64(len(c.data)))
	f.full <- c
}

// take returns an empty block, waiting for the reader if it has all of them.
func (f *fetcher) take(ctx context.Context) (*block, error) {
	for f.blocks == maxBlocks && len(f.spare) == 0 || f.memory.Load() >= memoryBytes {
		select {
		case c := <-f.free:
			f.spare = append(f.spare, c)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	var c *block
	select {
	case c = <-f.free:
	default:
		if n := len(f.spare); n > 0 {
			c, f.spare = f.spare[n-1], f.spare[:n-1]
		} else {
			f.blocks++
			c = &block{}
		}
	}
	if cap(c.data) > 4*blockBytes {
		c.data = nil // one row was huge: don't keep that
	}
	*c = block{layout: f.layout, following: f.following, data: c.data[:0]}
	if !f.following {
		c.horizon = f.horizon
	}
	return c, nil
}

// checkOrder refuses rows that the next page could not tell apart from these.
func (f *fetcher) checkOrder(values [][]byte) error {
	f.key, f.before = f.before[:0], f.key
	for _, i := range f.layout.Order(f.following) {
		v := values[i]
		if v == nil {
			return retry.Fatal(fmt.Errorf("postgres: %s has a row where %s is NULL, by which it is read: rows after it would be missed", f.o, tables.Brief(f.layout.fields[i].name)))
		}
		f.key = binary.BigEndian.AppendUint32(f.key, uint32(len(v))) //nolint:gosec // as it came
		f.key = append(f.key, v...)
	}
	if bytes.Equal(f.key, f.before) {
		return retry.Fatal(fmt.Errorf("postgres: %s has two rows with the same key (%s), of which one could be missed: name a Key that tells rows apart", f.o, quoteAll(f.layout.rel.key)))
	}
	return nil
}

var errBlock = errors.New("postgres: a row that isn't one")

// value returns the bytes of a value at an index of data, nil for NULL, and where the next one begins.
func (c *block) value(at int) (p []byte, next int, err error) {
	if at+4 > len(c.data) {
		return nil, 0, errBlock
	}
	size := int(int32(binary.BigEndian.Uint32(c.data[at:]))) //nolint:gosec // its bits
	at += 4
	if size < 0 {
		return nil, at, nil
	}
	if at+size > len(c.data) {
		return nil, 0, errBlock
	}
	return c.data[at : at+size : at+size], at + size, nil
}

// orderOf returns what the row that begins at an index of data is ordered by. It shares no memory with the block.
func (c *block) orderOf(at int) ([]row.Value, error) {
	order := c.layout.Order(c.following)
	values := make([]row.Value, len(order))
	var s scratch
	for i := range c.layout.fields {
		p, next, err := c.value(at)
		if err != nil {
			return nil, err
		}
		at = next
		for k, field := range order {
			if field != i || p == nil {
				continue
			}
			if values[k], err = c.layout.fields[i].decode(&s, bytes.Clone(p)); err != nil {
				return nil, retry.Fatal(fmt.Errorf("column %s: %w", tables.Brief(c.layout.fields[i].name), err))
			}
		}
	}
	return values, nil
}

// position returns the position behind the row that begins at an index of data.
func (c *block) position(at int, seq int64, bounds tables.Range) (tables.Position, error) {
	values, err := c.orderOf(at)
	p := tables.Position{Seq: seq, Following: c.following, At: values, Range: bounds}
	if !c.horizon.IsNull() {
		p.Horizon = []row.Value{c.horizon}
	}
	return p, err
}

// mayHaveChanged reports whether an error may be due to a table that was altered since it was looked up.
func mayHaveChanged(err error) bool {
	switch sqlState(err) {
	case codeUndefinedTable, codeUndefinedColumn,
		"42804", // datatype_mismatch
		"42883", // undefined_function: no such operator for a column's new type
		"42P18", // indeterminate_datatype
		"42P10", // invalid_column_reference
		"3F000", // invalid_schema_name
		"08P01": // protocol_violation: as many formats as there were columns
		return true
	case codeNotSupported:
		return strings.Contains(err.Error(), "cached plan")
	}
	return false
}
