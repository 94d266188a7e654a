// Package row is for records whose columns are known only at run time, and for how values of Go are rows of a table.
//
// A [Row] is a value a pipeline can carry: its columns, which many rows share, and a typed [Value] for each.
//
//	weaver.Copy(file.CSV[row.Row]("orders.csv"), postgres.NewSink[row.Row](dsn, "orders"))
//
// Connectors and codecs take a Row as they take a struct. Where T is a struct, a [Shape] says which field is which column:
//
//	type Order struct {
//		ID     int64
//		Total  string `db:"total_eur"` // a numeric, exact
//		PaidAt *time.Time               // NULL, if nil
//		cache  int                      // not exported: no column
//		Note   string `db:"-"`         // no column either
//	}
//
// A field without a tag is the column whose name is the same but for case and underscores: PaidAt is paid_at.
//
// # Exact, or an error
//
// A value is converted to what a column or a field is only if it says the same afterwards: a number that has no place, a
// fraction for an integer, a text that is no date are errors, and never rounded or cut. See [Value.Convert].
package row
