package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
// The key must tell rows apart and be NOT NULL; an index on it makes pages cheap. Rows that are inserted while the table is read
// are read if their key comes later.
//
// With Follow, reading goes on with what is written later; see [Source.Cursor].
//
// A record's Key is the row's by [row.AppendKey], its Time is the cursor's if that is a time, its Seq counts the rows of the
// split. A row that T can't hold is rejected; a table that T can't hold stops the pipeline.
//
// The columns of a struct are read, and no others: a column that is added later makes no difference, one that a field needs
// must be there. A row.Row has all columns, also those that are added while it is read.
//
// What is read is kept in memory up to some 8 MiB for each split, and one row.
type Source[T any] struct {
	// Schema is where the table is; default: the search path says it.
	Schema string
	// Query is a SELECT that is read in place of a table. Each page runs it anew, within a condition on the key; and once, when
	// reading begins, to see that no key is NULL.
	Query string
	// Key names the columns that tell rows apart, in the order in which they are read; default: the primary key. A Query
	// needs it.
	Key []string
	// Columns are read; default: those T has fields for, or all where T is made at run time.
	Columns []string
	// PageRows is how many rows are asked for at a time, at most; default 10,000. Wide rows make pages smaller.
	PageRows int
	// Ranges is in how many ranges of keys the table is read in parallel; default 1.
	Ranges int
	// Plan keeps where the ranges begin, so that they are the same when the pipeline runs again. Without it they are looked
	// for each time, and a pipeline whose table has changed in between can't go on: it stops, before anything is lost.
	Plan checkpoint.Store

	// Follow makes reading go on with rows that are written later, until the pipeline is stopped. With Ranges, each is
	// read in the order of the key at first, and followed then.
	Follow bool
	// Cursor names the column to follow: one that new rows, and changed ones if these are to be read, have a greater value in
	// than all that were there before. It is NOT NULL, has an index, and is
	//
	//   - an integer drawn from a sequence, by a default or a trigger, in the statement that writes the row; default: the key,
	//     if it is one integer
	//   - or a timestamp, with a time zone or without, of the server's clock: now() as well as clock_timestamp()
	//
	// No row is missed because it is committed later than one with a greater value: rows are read up to a value only once
	// all transactions that might write a lesser one have ended. These are all that have written to the table; for
	// timestamps, views and queries, all of the database. A transaction that stays open holds reading up, and is logged.
	//
	// That can't be known of values that an application draws before it writes: from its own clock, or from a sequence by a
	// statement before. Nor of a sequence with a CACHE, which is refused.
	Cursor string
	// Slack is how old a timestamp must be to be read: clocks of applications may go wrong by that much. Default 100 ms, in
	// which the server has surely begun a transaction whose time it has read.
	Slack time.Duration
	// PollEvery is how often the table is asked for new rows; default 1 s.
	PollEvery time.Duration
	// Notify is a channel that a trigger, or whoever writes, notifies (NOTIFY): it makes reading look at once.
	Notify string
	// Deleted names a column that says that the row is deleted: a boolean that is true, or anything that isn't NULL. Such rows
	// are Deletes.
	Deleted string

	// ConnectTimeout bounds connecting; default 10 s.
	ConnectTimeout time.Duration
	// StatementTimeout bounds each statement, a page at most; default 5 min.
	StatementTimeout time.Duration
	// LockTimeout bounds waiting for a lock, which somebody has who alters the table; default 30 s.
	LockTimeout time.Duration

	db       Database
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
func NewSource[T any](db Database, table string) *Source[T] { return &Source[T]{db: db, name: table} }

// String names the source.
func (s *Source[T]) String() string {
	if s.Query != "" {
		return "postgres.Source(query)"
	}
	return fmt.Sprintf("postgres.Source(%s)", tables.Brief(s.name))
}

// Defaults and bounds of the options.
const (
	defaultPageRows  = 10_000
	defaultPollEvery = time.Second
	defaultSlack     = 100 * time.Millisecond
)

// origin is what a Source reads, whatever T is. It doesn't change.
type origin struct {
	db      Database
	session session
	tables.Wanted
	schema      string
	pageRows    int
	slack, poll time.Duration
	notify      string
	complain    time.Duration // how long a transaction holds reading up until that is logged
}

// origin checks the options.
func (s *Source[T]) origin() (*origin, *row.Shape[T], error) {
	shape, err := row.ShapeOf[T]()
	if err != nil {
		return nil, nil, retry.Fatal(err)
	}
	o := &origin{
		db: s.db, schema: s.Schema, notify: s.Notify, complain: orDefault(s.complain, complain),
		Wanted:   tables.Wanted{Table: s.name, Query: s.Query, Columns: s.Columns, Key: s.Key, Follow: s.Follow, Cursor: s.Cursor, Deleted: s.Deleted, Ranges: orDefault(s.Ranges, 1)},
		pageRows: orDefault(s.PageRows, defaultPageRows), slack: orDefault(s.Slack, defaultSlack), poll: orDefault(s.PollEvery, defaultPollEvery),
		session: session{
			connect: s.ConnectTimeout, statement: s.StatementTimeout, lock: s.LockTimeout,
			// What has no binary format here comes as its text, which must say all there is to say.
			set: []string{"default_transaction_read_only = on", "DateStyle = 'ISO, YMD'", "IntervalStyle = 'postgres'", "extra_float_digits = 3", "bytea_output = 'hex'"},
		},
	}
	if shape.Columns() != nil {
		o.Fields = shape.Match
	}
	return o, shape, o.check()
}

func (o *origin) check() error {
	if err := o.Check(); err != nil {
		return retry.Fatal(fmt.Errorf("postgres: %w", err))
	}
	if o.notify != "" && !o.Follow {
		return retry.Fatal(errors.New("postgres: Notify is for Follow"))
	}
	for what, names := range map[string][]string{"Key": o.Key, "Columns": o.Columns} {
		if err := checkNames("a name in "+what, names); err != nil {
			return err
		}
	}
	for what, name := range map[string]string{"Cursor": o.Cursor, "Deleted": o.Deleted, "Notify": o.notify} {
		if name == "" {
			continue
		}
		if err := checkName(what, name); err != nil {
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
	return "table " + qualified(o.schema, o.Table)
}

// CheckHealth implements weaver.HealthChecker: it connects and looks the table up.
func (s *Source[T]) CheckHealth(ctx context.Context) error {
	o, shape, err := s.origin()
	if err != nil {
		return err
	}
	conn, err := o.db.connect(ctx, o.session)
	if err != nil {
		return err
	}
	defer release(conn)
	rel, err := o.describe(ctx, conn)
	if err != nil {
		return err
	}
	l, err := o.layout(rel)
	if err != nil {
		return err
	}
	_, err = scannerFor(shape, o, l)
	return err
}

// OpenReader implements weaver.Source.
func (s *Source[T]) OpenReader(ctx context.Context, at weaver.Lane) (weaver.Reader[T], error) {
	o, shape, err := s.origin()
	if err != nil {
		return nil, err
	}
	log := at.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	bounds, _ := at.Split.Handle.(tables.Range)
	f, err := o.open(ctx, bounds, at.Position, log)
	if err != nil {
		return nil, err
	}
	r := &reader[T]{fetcher: f, shape: shape, seq: f.start.Seq}
	if at.Position != nil {
		r.position = slices.Clone(at.Position)
	}
	if err := r.use(f.layout); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	f.begin()
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
