package sqldb_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"

	_ "modernc.org/sqlite"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/sqldb"
)

// A table is copied into another one, which is made of the columns that there are: no struct is needed for that, but it is
// shorter with one.
func Example() {
	pool, err := sql.Open("sqlite", "file:example?mode=memory&cache=shared")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = pool.Close() }()
	_, err = pool.Exec(`CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, cents INTEGER);
		INSERT INTO orders VALUES (1, 'Ada', 1250), (2, 'Grace', 99), (3, 'Ada', 700)`)
	if err != nil {
		fmt.Println(err)
		return
	}

	type Order struct {
		ID       int64
		Customer string
		Cents    int64
	}
	db := sqldb.Open(pool, sqldb.SQLite)
	sink := sqldb.NewSink[Order](db, "large_orders")
	sink.Create = true
	sink.Key = []string{"id"}
	large := weaver.Filter(func(o Order) (bool, error) { return o.Cents >= 500, nil })
	pipeline := weaver.NewPipeline(sqldb.NewSource[Order](db, "orders"), large, sink)
	pipeline.Name = "large"
	pipeline.Require = weaver.ExactlyOnce
	pipeline.Log = slog.New(slog.DiscardHandler)
	if err := pipeline.Run(context.Background()); err != nil {
		fmt.Println(err)
		return
	}

	rows, err := pool.Query("SELECT id, customer, cents FROM large_orders ORDER BY id")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var o Order
		if err := rows.Scan(&o.ID, &o.Customer, &o.Cents); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(o.ID, o.Customer, o.Cents)
	}
	// Output:
	// 1 Ada 1250
	// 3 Ada 700
}
