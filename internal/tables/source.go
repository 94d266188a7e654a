package tables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/row"
)

// Wanted is what the options of a source say of what is read.
type Wanted struct {
	Table, Query    string
	Columns         []string                          // none: those of Fields
	Fields          func(names []string) *row.Columns // the columns of a struct by the table's names; nil: all columns
	Key             []string
	Follow          bool
	Cursor, Deleted string
	Ranges          int
}

// maxRanges is how many ranges a table is read in at most.
const maxRanges = 1000

// Check refuses options that make no sense whatever the database.
func (w *Wanted) Check() error {
	switch {
	case w.Query == "" && w.Table == "":
		return errors.New("the source has neither a table nor a Query")
	case w.Query != "" && w.Table != "":
		return fmt.Errorf("the source has both the table %s and a Query", Brief(w.Table))
	case w.Query != "" && len(w.Key) == 0:
		return errors.New("a Query needs Key, the columns that tell its rows apart")
	case w.Ranges > maxRanges:
		return fmt.Errorf("the option Ranges is %d, at most %d are of use", w.Ranges, maxRanges)
	}
	return nil
}

// Selection is which columns of a table are read, and what for. It doesn't change.
type Selection struct {
	Columns   []int        // of the table: those that are shown, and behind them those that only reading needs
	Shown     *row.Columns // what is shown: the first of Columns
	All       bool         // every column is shown, also one that is added
	Key       []int        // of Columns: what rows are read by
	Following []int        // of Columns: the cursor and what of the key is not the cursor; nil: there is none
	Cursor    int          // of Columns; -1: none
	Deleted   int          // of Columns; -1: none
}

// CursorOf returns the column to follow: the one that is named, or the key, if it is one integer. "": there is none.
func (w *Wanted) CursorOf(columns []row.Column, key []string) string {
	if w.Cursor != "" || !w.Follow || len(key) != 1 {
		return w.Cursor
	}
	for _, c := range columns {
		if c.Name == key[0] && (c.Kind == row.KindInt || c.Kind == row.KindUint) {
			return c.Name
		}
	}
	return ""
}

// Select says what is read of a table with such columns, by a key.
func (w *Wanted) Select(columns []row.Column, key []string) (Selection, error) {
	s := Selection{Cursor: -1, Deleted: -1}
	names := make([]string, len(columns))
	for i := range columns {
		names[i] = columns[i].Name
	}
	shown := w.Columns
	switch {
	case len(shown) > 0:
	case w.Fields != nil:
		for _, c := range w.Fields(names).All() {
			if slices.Contains(names, c.Name) { // what is missing, the Scanner knows whether it matters
				shown = append(shown, c.Name)
			}
		}
	default:
		shown, s.All = names, true
	}
	cols := make([]row.Column, 0, len(shown))
	for _, name := range shown {
		i, err := s.add(names, name, "Columns")
		if err != nil {
			return s, err
		}
		c := columns[s.Columns[i]]
		c.Key = slices.Contains(key, name)
		cols = append(cols, c)
	}
	var err error
	if s.Shown, err = row.NewColumns(cols...); err != nil {
		return s, err
	}
	for _, name := range key {
		i, err := s.add(names, name, "Key")
		if err != nil {
			return s, err
		}
		s.Key = append(s.Key, i)
	}
	if w.Deleted != "" {
		if s.Deleted, err = s.add(names, w.Deleted, "Deleted"); err != nil {
			return s, err
		}
	}
	cursor := w.CursorOf(columns, key)
	if cursor == "" {
		return s, nil
	}
	if s.Cursor, err = s.add(names, cursor, "Cursor"); err != nil {
		return s, err
	}
	s.Following = []int{s.Cursor}
	for _, i := range s.Key {
		if i != s.Cursor {
			s.Following = append(s.Following, i)
		}
	}
	return s, nil
}

// add adds a column unless it is there, and returns its index.
func (s *Selection) add(names []string, name, option string) (int, error) {
	at := slices.Index(names, name)
	if at < 0 {
		return 0, fmt.Errorf("there is no column %s, which %s names", Brief(name), option)
	}
	if i := slices.Index(s.Columns, at); i >= 0 {
		return i, nil
	}
	s.Columns = append(s.Columns, at)
	return len(s.Columns) - 1, nil
}

// Order returns the columns that rows are read by.
func (s *Selection) Order(following bool) []int {
	if following {
		return s.Following
	}
	return s.Key
}

// Splits returns a session with a split for each range, or with one that is the whole table if there are none. The Handle of
// a split is its Range.
func Splits(ranges []Range, of int, bounded bool) weaver.Splits {
	if len(ranges) == 0 {
		return &fixed{splits: []weaver.Split{{Bounded: bounded}}}
	}
	splits := make([]weaver.Split, len(ranges))
	for i, r := range ranges {
		splits[i] = weaver.Split{ID: fmt.Sprintf("%d/%d", i+1, of), Bounded: bounded, Handle: r}
	}
	return &fixed{splits: splits}
}

// fixed tells all splits at once.
type fixed struct {
	once   sync.Once
	splits []weaver.Split
}

// Next implements weaver.Splits.
func (s *fixed) Next(ctx context.Context) (change weaver.Change, err error) {
	if ctx.Err() != nil {
		return weaver.Change{}, context.Cause(ctx)
	}
	err = io.EOF
	s.once.Do(func() { change, err = weaver.Change{Add: s.splits}, nil })
	return change, err
}

// Close implements weaver.Splits.
func (s *fixed) Close() error { return nil }
