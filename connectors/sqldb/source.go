package sqldb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// Source reads the rows of a table or of a query: in pages, each of which begins behind the last key of the one before, so that
// a page at the end costs as much as one at the beginning, no statement runs long, and reading goes on where it has ended.
//
// The key must tell rows apart and have no NULL; an index on it makes pages cheap. Rows that are inserted while the table is
// read are read if their key comes later.
//
// With Follow, reading goes on with what is written later; see [Source.Cursor].
//
// A record's Key is the row's by [row.AppendKey], its Time is the cursor's if that is a time, its Seq counts the rows of the
// split. A row that T can't hold is rejected; a table that T can't hold stops the pipeline.
//
// The columns of a struct are read, and no others: a column that is added later makes no difference, one that a field needs
// must be there. A row.Row has all columns, also those that are added while it is read.
//
// Nothing is read ahead: between two calls of Read no statement is open and no lock is held.
type Source[T any] struct {
	// Schema is where the table is; default: where the connection looks. For MySQL it is a database.
	Schema string
	// Query is a SELECT that is read in place of a table. Each page runs it anew, within a condition on the key.
	Query string
	// Key names the columns that tell rows apart, in the order in which they are read; default: the primary key. A Query
	// needs it.
	Key []string
	// Columns are read; default: those T has fields for, or all where T is made at run time.
	Columns []string
	// PageRows is how many rows are asked for at a time, at most; default 10,000. A page is no larger than a batch.
	PageRows int
	// Ranges is in how many ranges of keys the table is read in parallel; default 1. More need a key of one integer.
	Ranges int
	// Plan keeps where the ranges begin, so that they are the same when the pipeline runs again. Without it they are looked
	// for each time, and a pipeline whose table has changed in between can't go on: it stops, before anything is lost.
	Plan checkpoint.Store

	// Follow makes reading go on with rows that are written later, until the pipeline is stopped. With Ranges, each range is
	// read in the order of the key at first, and followed then.
	Follow bool
	// Cursor names the column to follow: one that new rows, and changed ones if these are to be read, have a greater value in
	// than all that were there before. It has no NULL, has an index, and is
	//
	//   - an integer that the database draws in the statement that writes the row (AUTO_INCREMENT, INTEGER PRIMARY KEY, a
	//     sequence); default: the key, if it is one integer
	//   - or a time of the server's clock: CURRENT_TIMESTAMP
	//
	// No row is missed because it is committed later than one with a greater value: rows are read up to a value only once
	// all transactions that might write a lesser one have ended, as far as the Dialect is a [Follower]. A transaction that
	// stays open holds reading up, and is logged. Where the values are times of which two transactions may have the same, rows
	// are read when the clock has moved on: for a column of whole seconds that is a second later.
	//
	// That can't be known of values that an application draws before it writes: see Slack.
	Cursor string
	// Slack is how long ago the greatest value must have been seen before rows are read up to it, besides: for values that
	// applications draw, from a clock of their own or a block of numbers. Default 0. Where the Dialect is no Follower, and for
	// MySQL without the privilege PROCESS, it is all there is, and must be set.
	Slack time.Duration
	// PollEvery is how often the table is asked for new rows; default 1 s.
	PollEvery time.Duration
	// Deleted names a column that says that the row is deleted: a boolean that is true, or anything that isn't NULL. Such rows
	// are Deletes.
	Deleted string

	// ConnectTimeout bounds waiting for a connection of the pool; default 10 s.
	ConnectTimeout time.Duration
	// StatementTimeout bounds each statement, a page at most; default 5 min.
	StatementTimeout time.Duration
	// LockTimeout bounds waiting for a lock, which somebody has who alters the table; default 30 s.
	LockTimeout time.Duration

	db       *Database
	name     string
	complain time.Duration // in tests
}

var (
	_ weaver.Source[int]   = (*Source[int])(nil)
	_ weaver.Splitter      = (*Source[int])(nil)
	_ weaver.HealthChecker = (*Source[int])(nil)
)

// NewSource returns a Source that reads a table. The name is one identifier, however it is written; see Schema. It is "" where
// there is a Query.
func NewSource[T any](db *Database, table string) *Source[T] { return &Source[T]{db: db, name: table} }

// String names the source.
func (s *Source[T]) String() string {
	if s.Query != "" {
		return "sqldb.Source(query)"
	}
	return fmt.Sprintf("sqldb.Source(%s)", tables.Brief(s.name))
}

// Defaults and bounds of the options.
const (
	defaultPageRows  = 10_000
	defaultPollEvery = time.Second
	defaultComplain  = time.Minute
)

// origin is what a Source reads, whatever T is. It doesn't change.
type origin struct {
	db     *Database
	limits limits
	tables.Wanted
	schema      string
	pageRows    int
	slack, poll time.Duration
	complain    time.Duration // how long a transaction holds reading up until that is logged
}

// origin checks the options.
func (s *Source[T]) origin() (*origin, *row.Shape[T], error) {
	shape, err := row.ShapeOf[T]()
	if err != nil {
		return nil, nil, retry.Fatal(err)
	}
	o := &origin{
		db: s.db, schema: s.Schema, complain: orDefault(s.complain, defaultComplain),
		Wanted:   tables.Wanted{Table: s.name, Query: s.Query, Columns: s.Columns, Key: s.Key, Follow: s.Follow, Cursor: s.Cursor, Deleted: s.Deleted, Ranges: orDefault(s.Ranges, 1)},
		pageRows: orDefault(s.PageRows, defaultPageRows), slack: max(s.Slack, 0), poll: orDefault(s.PollEvery, defaultPollEvery),
		limits: limits{s.ConnectTimeout, s.StatementTimeout, s.LockTimeout},
	}
	if shape.Columns() != nil {
		o.Fields = shape.Match
	}
	return o, shape, o.check()
}

func (o *origin) check() error {
	if o.db == nil || o.db.db == nil || o.db.dialect == nil {
		return retry.Fatal(errors.New("sqldb: the source has no database: make one with Open"))
	}
	if err := o.Check(); err != nil {
		return retry.Fatal(fmt.Errorf("sqldb: %w", err))
	}
	for what, names := range map[string][]string{"a name in Key": o.Key, "a name in Columns": o.Columns} {
		if _, err := o.db.quoteAll(what, names); err != nil {
			return err
		}
	}
	for what, name := range map[string]string{"Cursor": o.Cursor, "Deleted": o.Deleted, "the schema": o.schema, "the table": o.Table} {
		if name == "" {
			continue
		}
		if _, err := o.db.quote(what, name); err != nil {
			return err
		}
	}
	return nil
}

// String names what is read in errors.
func (o *origin) String() string {
	if o.Query != "" {
		return "the Query"
	}
	return "table " + tables.Brief(o.Table)
}

// CheckHealth implements weaver.HealthChecker: it connects and looks the table up.
func (s *Source[T]) CheckHealth(ctx context.Context) error {
	r, err := s.open(ctx, weaver.Lane{})
	if err != nil {
		return err
	}
	return r.Close()
}

// OpenReader implements weaver.Source.
func (s *Source[T]) OpenReader(ctx context.Context, at weaver.Lane) (weaver.Reader[T], error) {
	return s.open(ctx, at)
}

func (s *Source[T]) open(ctx context.Context, at weaver.Lane) (*reader[T], error) {
	o, shape, err := s.origin()
	if err != nil {
		return nil, err
	}
	log := at.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	bounds, _ := at.Split.Handle.(tables.Range)
	start := tables.Position{Range: bounds}
	if at.Position != nil {
		if start, err = tables.ParsePosition(at.Position); err != nil {
			return nil, retry.Fatal(fmt.Errorf("sqldb: reading %s: %w", o, err))
		}
		if !start.Range.Equal(bounds) {
			return nil, retry.Fatal(fmt.Errorf("sqldb: reading %s: the ranges of keys are others than when the checkpoint was made: set Plan to a checkpoint store, which keeps them, and begin anew without the checkpoint", o))
		}
	}
	conn, err := o.db.connect(ctx, o.limits, false)
	if err != nil {
		return nil, err
	}
	r := &reader[T]{o: o, shape: shape, log: log, conn: conn, traits: o.db.dialect.Traits(), at: start, finished: make(chan struct{})}
	if err := r.prepare(ctx, at.Position != nil); err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

// Splits implements weaver.Splitter.
func (s *Source[T]) Splits(ctx context.Context) (weaver.Splits, error) {
	o, _, err := s.origin()
	if err != nil {
		return nil, err
	}
	var ranges []tables.Range
	if o.Ranges > 1 {
		if ranges, err = o.ranges(ctx, s.Plan); err != nil {
			return nil, err
		}
	}
	return tables.Splits(ranges, o.Ranges, !o.Follow), nil
}
