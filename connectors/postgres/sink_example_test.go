package postgres_test

import (
	"context"
	"fmt"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/connectors/postgres"
)

// Order is a row of the table orders.
type Order struct {
	ID    int64
	Total string `db:"total_eur"` // a numeric, exact
	Note  *string
}

// Lines of a file become rows, each once, however often the pipeline is stopped and started.
func ExampleNewSink() {
	sink := postgres.NewSink[Order](postgres.DSN("postgres://shop@localhost/shop"), "orders")
	sink.Create, sink.Key = true, []string{"id"}
	sink.CommitRows = 5000

	p := weaver.Copy(file.CSV[Order]("orders.csv"), sink)
	p.Name, p.BatchSize = "orders", 5000
	fmt.Println(sink)

	run := func(ctx context.Context) error { return p.Run(ctx) }
	_ = run // in a program: if err := run(ctx); err != nil …
	// Output: postgres.Sink("orders")
}
