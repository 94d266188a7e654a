package file_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
)

type Order struct {
	ID       int64   `csv:"id"`
	Customer string  `csv:"customer"`
	Price    float64 `csv:"price"`
}

type Invoice struct {
	Order int64   `json:"order"`
	Total float64 `json:"total"`
}

func bill(o Order) (Invoice, error) {
	if o.Price < 0 {
		return Invoice{}, fmt.Errorf("order %d costs less than nothing", o.ID)
	}
	return Invoice{Order: o.ID, Total: o.Price * 1.2}, nil
}

// folder returns one for the files of an example, and what removes it.
func folder() (path func(name string) string, remove func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	return func(name string) string { return filepath.Join(dir, name) }, func() { _ = os.RemoveAll(dir) }
}

func write(path, content string) {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		panic(err)
	}
}

func show(path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		fmt.Println("no", filepath.Base(path))
		return
	}
	fmt.Print(string(data))
}

func Example() {
	path, remove := folder()
	defer remove()
	write(path("orders.csv"), "id,customer,price\n1,Ann,10\n2,\"Smith, Bob\",-1\n3,Cid,five\n4,Dee,20\n")

	p := weaver.NewPipeline(
		file.CSV[Order](path("orders.csv")),
		weaver.Map(bill),
		file.NDJSON[Invoice](path("invoices.ndjson")),
	)
	p.DeadLetter = file.NDJSON[weaver.Rejected[Order]](path("rejected.ndjson"))
	if err := p.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	show(path("invoices.ndjson"))

	rejected := weaver.Copy(
		file.NDJSON[weaver.Rejected[Order]](path("rejected.ndjson")),
		weaver.SinkFunc[weaver.Rejected[Order]](func(_ context.Context, b *weaver.Batch[weaver.Rejected[Order]]) error {
			for _, r := range b.Records {
				if r.Value.Value == nil {
					fmt.Printf("not understood: %s\n", r.Value.Raw)
				} else {
					fmt.Printf("refused: %+v\n", *r.Value.Value)
				}
			}
			return nil
		}),
	)
	if err := rejected.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// {"order":1,"total":12}
	// {"order":4,"total":24}
	// not understood: 3,Cid,five
	// refused: {ID:2 Customer:Smith, Bob Price:-1}
}

// A file remembers, in another one beside it, how far the pipeline had come. The same run a second time finds nothing new to do, and a third one only what was added
// in the meantime.
func Example_runTwice() {
	path, remove := folder()
	defer remove()
	write(path("orders.csv"), "id,customer,price\n1,Ann,10\n2,Bob,20\n")
	run := func() {
		p := weaver.NewPipeline(file.CSV[Order](path("orders.csv")), weaver.Map(bill), file.NDJSON[Invoice](path("invoices.ndjson")))
		if err := p.Run(context.Background()); err != nil {
			fmt.Println(err)
		}
		show(path("invoices.ndjson"))
	}
	fmt.Println("first:")
	run()
	fmt.Println("second:")
	run()
	write(path("orders.csv"), "id,customer,price\n1,Ann,10\n2,Bob,20\n3,Cid,30\n")
	fmt.Println("third:")
	run()
	// Output:
	// first:
	// {"order":1,"total":12}
	// {"order":2,"total":24}
	// second:
	// {"order":1,"total":12}
	// {"order":2,"total":24}
	// third:
	// {"order":1,"total":12}
	// {"order":2,"total":24}
	// {"order":3,"total":36}
}
