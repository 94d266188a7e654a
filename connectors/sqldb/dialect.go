package sqldb

import (
	"context"
	"database/sql"
	"time"

	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// Dialect is what differs from one database to another. It has no state and is safe for concurrent use. [SQLite], [MySQL] and
// [Postgres] are the ones there are; another one is a type with these methods, or one that embeds one of them and has some
// methods of its own.
//
// A Dialect knows a database, and no driver: what drivers do differently (a DECIMAL as bytes or as text, a bool as 0 or 1), it
// takes as it comes.
type Dialect interface {
	// Name is what errors call the database.
	Name() string
	// Traits says what the database can do.
	Traits() Traits
	// Quote returns a name as an identifier. What can't be a name in the database is an error that says why.
	Quote(name string) (string, error)
	// Placeholder is what stands for the nth argument of a statement, from 1.
	Placeholder(n int) string

	// Describe looks up a table in a schema; "": where the connection looks. A table that isn't there is nil. Kinds are for
	// Kind to say.
	Describe(ctx context.Context, q Queryer, schema, table string) (*Table, error)
	// Kind says what the values of a type are. The type is as Describe tells it, or as the driver names it for a column of a
	// query. What it doesn't know is row.KindText, or row.KindNull where values may be of any kind.
	Kind(typ string) row.Kind
	// Type returns the type that a new column is made with; key: it is part of the primary key. An error says why it has none.
	Type(c row.Column, key bool) (string, error)

	// Select returns the expression that selects a column by its quoted name: the name itself, or what keeps the driver from
	// giving less than what is there.
	Select(c *Column, quoted string) string
	// Value returns what a driver's value of a column is; [Value] does most of it. It may point into src.
	Value(c *Column, src any) (row.Value, error)
	// Argument returns a value as the driver takes it: nil, int64, float64, bool, string, []byte, or what all drivers of the
	// database take. The value is of the column's kind, or NULL, or of any where the column has none. A value that the column
	// would change is an error that says what to do.
	Argument(c *Column, v row.Value) (any, error)

	// Upsert returns what follows the values of an INSERT that replaces the rows which are there by key. Names are quoted, set
	// are the columns other than the key's.
	Upsert(t *Table, key, set []string) string
	// Classify returns the class of an error of the driver. Unmarked is an outage, which is waited for; retry.ClassPoison is a
	// record's fault.
	Classify(err error) retry.Class

	// Session sets up a connection that is ours until end is called, which undoes it; nil: it can't be undone, so that the
	// connection is closed and not used by others again.
	Session(ctx context.Context, conn *sql.Conn, s Session) (end func(context.Context) error, err error)
	// Checkpoints is the statement that creates the table of checkpoints, of this quoted name, if there is none. It has the
	// columns
	//
	//	key      bytes, Traits.Key and 32 at most, the primary key
	//	version  an integer of 64 bits, NOT NULL
	//	value    bytes
	//	owner    text, 255 characters at most; left out where the Dialect is no Killer
	Checkpoints(table string) string
}

// Killer is a Dialect that can end the connection of a writer whose split another has taken over, which may hold locks in a
// transaction that it never ends: the process stands still, or the network is gone.
type Killer interface {
	// Owner returns what identifies the connection, however often its number is used again; "": nothing can.
	Owner(ctx context.Context, conn *sql.Conn) (string, error)
	// Kill ends the connection of an owner if it is there.
	Kill(ctx context.Context, conn *sql.Conn, owner string) error
}

// Follower is a Dialect that knows the transactions which are under way, so that no row is missed which is committed late.
type Follower interface {
	// Writers returns what identifies the transactions that may still commit rows to a table with values of a cursor drawn
	// before it was called. For the time of a clock these are more than for a counter. More than these is slower and
	// right. Table is nil for a query.
	Writers(ctx context.Context, conn *sql.Conn, t *Table, clock bool) ([]string, error)
	// Settles is how long before Writers is called the last value must have been drawn: a transaction may not show at once.
	Settles() time.Duration
}

// Queryer asks questions. It is an *sql.DB, *sql.Conn or *sql.Tx.
type Queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Traits say what a database can do.
type Traits struct {
	Variables int      // that a statement has at most
	Key       int      // how many bytes a key of a checkpoint has at most; a longer one is hashed
	Rows      int      // that an INSERT is best given at a time; a power of two
	Bytes     int      // that the arguments of a statement have at most; one row may have more
	Begin     []string // the statements that begin a transaction that writes; those that set it up come first

	// Undoes: a statement that fails changes nothing, and the transaction goes on. Otherwise it does only from a savepoint.
	Undoes bool
	// Stacks: a savepoint of a name that is there doesn't replace it, so that it must be released.
	Stacks bool
	// RowValues: (a, b) > (?, ?) uses an index on a and b. Otherwise it is written out.
	RowValues bool
	// Resolution is how far the clock's values that two transactions write may be apart and look the same: the
	// resolution of times in this database.
	Resolution time.Duration
}

// Session is what a connection is set up with. No time is without a bound.
type Session struct {
	Statement time.Duration // each statement
	Lock      time.Duration // waiting for each lock
	Write     bool          // it writes
}

// Table is a table as a Dialect describes it.
type Table struct {
	Schema, Name string
	Columns      []Column
	Key          []string   // the primary key's columns in its order; nil: there is none
	Unique       [][]string // other unique keys, of plain columns over all rows
	Overlaps     bool       // there are unique keys besides, which Unique doesn't have
}

// Column is a column of a table or of a query.
type Column struct {
	row.Column      // Type is the type as SQL writes it
	Default    bool // an INSERT may leave it out, and for a column of the key it may be NULL
	Generated  bool // it can't be written
	Digits     int  // behind the point, of a decimal number or of a second; -1: as many as there are
}

// Column returns the column with a name; nil: there is none.
func (t *Table) Column(name string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}

// Names returns the names of all columns.
func (t *Table) Names() []string {
	names := make([]string, len(t.Columns))
	for i := range t.Columns {
		names[i] = t.Columns[i].Name
	}
	return names
}
