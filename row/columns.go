package row

import (
	"fmt"
	"iter"
	"slices"
)

// Column says what one column of rows is.
type Column struct {
	Name     string
	Kind     Kind   // KindNull: not known, values may be of any kind
	Elem     Kind   // of the elements, where Kind is KindArray
	Type     string // what the origin calls its type, "numeric(12,2)"; "" where there is none
	Nullable bool   // or not known
	Key      bool   // it is part of the primary key
}

// Columns are the columns of a row, in their order. They don't change, and are shared by all rows of one origin: two rows
// with the same pointer have the same columns. They are safe for concurrent use.
type Columns struct {
	list []Column
	at   map[string]int
}

// NewColumns returns columns. A name that is empty or stands twice is an error.
func NewColumns(cols ...Column) (*Columns, error) {
	c := &Columns{list: slices.Clone(cols), at: make(map[string]int, len(cols))}
	for i, col := range cols {
		if col.Name == "" {
			return nil, fmt.Errorf("row: column %d has no name", i+1)
		}
		if _, twice := c.at[col.Name]; twice {
			return nil, fmt.Errorf("row: column %q stands twice", col.Name)
		}
		c.at[col.Name] = i
	}
	return c, nil
}

// Len returns how many there are.
func (c *Columns) Len() int {
	if c == nil {
		return 0
	}
	return len(c.list)
}

// At returns the column at index i.
func (c *Columns) At(i int) Column { return c.list[i] }

// Index returns where the column of a name is; -1: there is none.
func (c *Columns) Index(name string) int {
	if c == nil {
		return -1
	}
	if i, ok := c.at[name]; ok {
		return i
	}
	return -1
}

// All iterates over the columns.
func (c *Columns) All() iter.Seq2[int, Column] {
	if c == nil {
		return func(func(int, Column) bool) {}
	}
	return slices.All(c.list)
}

// With returns the columns with others behind them. Keep what it returns, so that rows share it.
func (c *Columns) With(cols ...Column) (*Columns, error) {
	if c == nil {
		return NewColumns(cols...)
	}
	return NewColumns(slices.Concat(c.list, cols)...)
}
