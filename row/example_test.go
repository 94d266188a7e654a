package row_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/row"
)

// A CSV whose columns nobody has written a struct for becomes NDJSON: one column is converted, and one is added.
func Example() {
	dir, err := os.MkdirTemp("", "rows")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	in, out := filepath.Join(dir, "orders.csv"), filepath.Join(dir, "orders.ndjson")
	const orders = "id,customer,total_eur\n7,\"Jones, Ann\",129.50\n8,,12.00\n9,Lee,twelve\n"
	if err := os.WriteFile(in, []byte(orders), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	var wider sync.Map // the columns and one more, by the columns, so that rows share them; lanes run at the same time
	change := weaver.Map(func(r row.Row) (row.Row, error) {
		columns, ok := wider.Load(r.Columns)
		if !ok {
			more, err := r.Columns.With(row.Column{Name: "shop", Kind: row.KindText})
			if err != nil {
				return r, err
			}
			columns, _ = wider.LoadOrStore(r.Columns, more)
		}
		total, err := r.Get("total_eur").Convert(row.KindDecimal)
		if err != nil {
			return r, err
		}
		if err := r.Set("total_eur", total); err != nil {
			return r, err
		}
		return row.Row{Columns: columns.(*row.Columns), Values: append(r.Values, row.Text("Delft"))}, nil
	})
	p := weaver.NewPipeline(file.CSV[row.Row](in), change, file.NDJSON[row.Row](out))
	p.DeadLetter = weaver.SinkFunc[weaver.Rejected[row.Row]](func(_ context.Context, b *weaver.Batch[weaver.Rejected[row.Row]]) error {
		for _, r := range b.Records {
			fmt.Println("rejected:", r.Value.Value.Get("id"), r.Value.Error)
		}
		return nil
	})
	if err := p.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	data, err := os.ReadFile(out)
	fmt.Print(string(data))
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// rejected: 9 row: text "twelve" can't be converted to decimal: it isn't written as one
	// {"id":"7","customer":"Jones, Ann","total_eur":129.50,"shop":"Delft"}
	// {"id":"8","customer":null,"total_eur":12.00,"shop":"Delft"}
}
