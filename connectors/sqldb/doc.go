// Package sqldb reads and writes tables of databases that database/sql speaks to: SQLite, MySQL, MariaDB, PostgreSQL, and any
// other for which there is a [Dialect].
//
// The driver is the user's, who imports and opens it; this package imports none:
//
//	pool, err := sql.Open("sqlite", "file:shop.db?_pragma=journal_mode(WAL)")
//	db := sqldb.Open(pool, sqldb.SQLite)
//	pipeline := weaver.Copy(file.CSV[Order]("orders.csv"), sqldb.NewSink[Order](db, "orders"))
//	pipeline.Name = "orders"
//
// # Guarantees
//
// A [Sink] is exactly-once: its writers keep the pipeline's position in a table of the same database, and commit it with the
// rows. Each commit is upon the version of the position that its writer knows, so that after a crash, a reply that was lost, or
// a takeover no row is missing and none is there twice. A writer whose split another one has taken over is told so
// (weaver.ErrFenced), and its connection is ended, as it may hold locks; where the database can't do that (SQLite), another
// process that stands still within a transaction has to be ended by somebody.
//
// A [Source] reads a table by its key, in pages, and goes on where it has ended. With Follow it reads what is written later, and
// misses no row that is committed late; see [Source.Cursor].
//
// A [Store] keeps checkpoints of other sinks.
//
// # Values
//
// Rows are structs, row.Row or maps, see package row. A value is written as what it is or refused: a number or a time with more
// digits than its column has, a text that is no number, NaN where there is none. It is read as the column's kind, whatever the
// driver makes of it, or as it is where a column holds anything.
//
// # Errors
//
// Constraint and data errors are poison; a missing table, privilege or password is fatal; anything else, such as a lock, a
// deadlock or a lost connection, is waited for and tried again. The Dialect says which is which.
//
// # A dialect of one's own
//
// A Dialect is a type of some twenty small methods without state. Most databases resemble one that is there: embed it, and
// change what differs.
//
//	type cockroach struct{ sqldb.Dialect }
//
//	func (cockroach) Name() string { return "CockroachDB" }
//
//	db := sqldb.Open(pool, cockroach{sqldb.Postgres})
//
// So embedded it is no [Killer] and no [Follower], unless it has their methods: takeovers wait for locks then, and Follow needs
// [Source.Slack]. The suites of package weavertest (TestSink, TestSource, TestCheckpointStore) tell whether it is right.
package sqldb
