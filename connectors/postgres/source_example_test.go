package postgres_test

import (
	"fmt"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/connectors/postgres"
	"github.com/bohica-labs/dataweaver/row"
)

// A table whose columns nobody has written down becomes files, by four ranges of its key at a time.
func ExampleSource() {
	orders := postgres.NewSource[row.Row](postgres.DSN("postgres://weaver@db.example/shop"), "orders")
	orders.Ranges = 4
	orders.Plan = checkpoint.NewMemory() // a store that lasts, for a pipeline that is run again
	p := weaver.Copy(orders, file.Parts(file.NDJSON[row.Row]("orders/{split}-{part}.ndjson")))
	p.Name = "orders"
	fmt.Println(orders) // p.Run(ctx) reads them
	// Output: postgres.Source("orders")
}

// What is written to a table later, and what is changed or marked as deleted, is read within milliseconds.
func ExampleSource_follow() {
	type Customer struct {
		ID        int64
		Email     string
		UpdatedAt time.Time
	}
	customers := postgres.NewSource[Customer](postgres.DSN("postgres://weaver@db.example/shop"), "customers")
	customers.Follow, customers.Cursor = true, "updated_at"
	customers.Deleted = "deleted_at"
	customers.Notify = "customers" // a trigger runs NOTIFY customers
	fmt.Println(customers)
	// Output: postgres.Source("customers")
}
