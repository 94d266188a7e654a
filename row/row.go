package row

import "fmt"

// Row is a record of columns known only at run time.
type Row struct {
	Columns *Columns // shared, never changed
	Values  []Value  // one for each column; the row's own
}

// Get returns the value of the column with a name; NULL where there is none.
func (r Row) Get(name string) Value {
	if i := r.Columns.Index(name); i >= 0 && i < len(r.Values) {
		return r.Values[i]
	}
	return Value{}
}

// Set changes the value of the column with a name.
func (r Row) Set(name string, v Value) error {
	i := r.Columns.Index(name)
	if i < 0 || i >= len(r.Values) {
		return fmt.Errorf("row: there is no column %q", name)
	}
	r.Values[i] = v
	return nil
}
