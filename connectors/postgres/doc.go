// Package postgres reads and writes tables of PostgreSQL.
//
// # Writing
//
// A [Sink] writes into one table. Its writers keep the checkpoint in the same transaction, so that a pipeline whose source
// can be read again is exactly-once: a crash, a connection that is cut before or after a commit, a server that restarts, and a writer
// that was overtaken and comes back, neither lose nor double a row. Inside weaver.Tee, and for dead letters, it is at-least-once.
//
// In Upsert mode a record becomes the row with its key, and a Delete deletes that; of a key that comes twice in a batch the
// last record wins. In Insert mode each record is another row, by COPY. 5,000 rows or more a batch (Pipeline.BatchSize) and a
// commit (Sink.CommitRows) are what both are made for.
//
// A value is converted to its column's type only if it says the same afterwards: a number that is out of range or has more
// digits than numeric(12,2) is an error, as is a text with a NUL. But what of a time is finer than PostgreSQL's microseconds is
// cut off. Types that have no kind in package row (interval, inet, ranges) are written from their text.
//
// What a record is to blame for (data, constraints, a trigger that raises) is poison: only that record is dead-lettered, with the
// database's error, which may show its values. Deadlocks, serialization failures, timeouts and lost connections are tried
// again. A missing table or column, a missing permission and a wrong password stop the pipeline.
//
// A writer needs INSERT on its table, for Upsert also SELECT, UPDATE and DELETE, and CREATE on the schema or a table of checkpoints that is there; TEMPORARY on the database,
// which everyone has by default; and a session of its own: a pooler in between must pool sessions, not transactions. Where
// several writers are to be told apart as one takes over from another, they should be one role's: a session of another role can't be ended
// or seen, so that its locks are waited for.
//
// # Reading
//
// A [Source] reads a table or a query in pages, each of which begins behind the last key of the one before: no OFFSET, no statement
// that runs for hours, and a position that is exact to the row. It is no snapshot: rows that change while the table is read are
// seen before or after their change. With Ranges it reads that many ranges of keys in parallel; with a Plan they stay what they are
// from one run to the next.
//
// With Follow it goes on with what is written later, by a column that grows (Cursor), without missing rows that are committed
// late, and wakes up at once with Notify. What can't be read exactly into T is rejected.
//
// A reader needs SELECT on the table, and a session of its own.
//
// # Checkpoints
//
// A [Store] keeps checkpoints for sinks of other kinds, in the table that sinks use.
package postgres
