package sqldb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// Mode says how records become rows.
type Mode uint8

// The modes.
const (
	Upsert Mode = iota // a record replaces the row with its key: the columns that it has
	Insert             // a record is a new row; a Delete is poison
)

// Unknown says what becomes of a record with a column that the table lacks.
type Unknown uint8

// What may become of it.
const (
	Stop      Unknown = iota // the pipeline stops
	Reject                   // the record is poison
	Ignore                   // the column is left out
	AddColumn                // the column is added to the table
)

// Sink writes records to a table, exactly once: its writers are a [weaver.Checkpointer], which keeps the pipeline's position in
// a table of the same database and commits it with the rows.
//
// T may be a struct, row.Row or map[string]any. Of a key that is in a batch more than once the last record wins; what a database
// takes for the same key although its text differs, it is told in order. A Delete deletes by the columns of the key in its Value
// or, where none of them is set, by Record.Key, see [row.AppendKey].
//
// A record that the database refuses is poison; the others of its batch are written. What can be seen before is refused without
// asking the database: a value that a column can't hold exactly, NULL where it may not be.
type Sink[T any] struct {
	// Schema is where the table is; default: where the connection looks. For MySQL it is a database.
	Schema string
	// Mode is how records become rows; default Upsert.
	Mode Mode
	// Key names the columns of Upsert and Delete; default: the primary key. There must be a unique index on them.
	Key []string
	// CommitRows is how many records a transaction has, about; default 10,000. The pipeline's CheckpointInterval commits too.
	CommitRows int
	// Create makes the table, if it isn't there, of the columns of T or, where these are known only at run time, of the first
	// record. Default: it must be there.
	Create bool
	// Unknown says what becomes of a record with a column that the table lacks; default Stop.
	Unknown Unknown
	// DryRun writes everything in transactions that are rolled back, and logs what would have been written. No checkpoint is
	// kept.
	DryRun bool
	// Checkpoints is the table of positions, which is created if it isn't there; default weaver_checkpoints.
	Checkpoints string

	// StatementTimeout bounds each statement; default 5 min.
	StatementTimeout time.Duration
	// LockTimeout bounds waiting for a lock; default 30 s.
	LockTimeout time.Duration
	// ConnectTimeout bounds waiting for a connection of the pool; default 10 s.
	ConnectTimeout time.Duration

	db   *Database
	name string
}

var (
	_ weaver.Sink[int]     = (*Sink[int])(nil)
	_ weaver.HealthChecker = (*Sink[int])(nil)
)

const (
	defaultCommitRows  = 10_000
	defaultCheckpoints = "weaver_checkpoints"
)

// NewSink returns a Sink that writes to a table. The name is one identifier, however it is written; see Schema.
func NewSink[T any](db *Database, table string) *Sink[T] { return &Sink[T]{db: db, name: table} }

// String names the sink.
func (s *Sink[T]) String() string { return fmt.Sprintf("sqldb.Sink(%s)", tables.Brief(s.name)) }

// CheckHealth implements weaver.HealthChecker: it connects and compares T with the table.
func (s *Sink[T]) CheckHealth(ctx context.Context) error {
	shape, o, err := s.options()
	if err != nil {
		return err
	}
	o.create = false
	t, err := openTarget(ctx, o, shape.Match, goTypes(shape))
	if err != nil {
		return err
	}
	defer func() { _ = t.conn.release() }()
	if t.table == nil && !s.Create {
		return t.missing()
	}
	return nil
}

// OpenWriter implements weaver.Sink. A table that T doesn't fit is a fatal error.
func (s *Sink[T]) OpenWriter(ctx context.Context, at weaver.Lane) (weaver.Writer[T], error) {
	shape, o, err := s.options()
	if err != nil {
		return nil, err
	}
	if at.Log != nil {
		o.log = at.Log
	}
	t, err := openTarget(ctx, o, shape.Match, goTypes(shape))
	if err != nil {
		return nil, err
	}
	w := &writer[T]{target: t, shape: shape, turn: make(chan struct{}, 1)}
	if t.table != nil {
		w.rower = shape.Rower(t.table.Names())
	}
	key := at.Pipeline
	if at.Split.ID != "" {
		key += "/" + at.Split.ID
	}
	w.fence.id = s.db.storedKey(key)
	return w, nil
}

// goTypes returns what describes T's columns by their index.
func goTypes[T any](shape *row.Shape[T]) func(int) string {
	return func(i int) string {
		if shape.Columns() == nil {
			return ""
		}
		return shape.GoType(shape.Columns().At(i).Name)
	}
}

// options are those of a Sink, whatever T is.
type options struct {
	db          *Database
	schema      string
	name        string
	mode        Mode
	key         []string
	commitRows  int
	create      bool
	unknown     Unknown
	dryRun      bool
	checkpoints string
	limits      limits
	log         *slog.Logger
}

func (s *Sink[T]) options() (*row.Shape[T], *options, error) {
	shape, err := row.ShapeOf[T]()
	if err != nil {
		return nil, nil, retry.Fatal(err)
	}
	o := &options{
		db: s.db, schema: s.Schema, name: s.name, mode: s.Mode, key: s.Key, commitRows: orDefault(s.CommitRows, defaultCommitRows),
		create: s.Create, unknown: s.Unknown, dryRun: s.DryRun, checkpoints: s.Checkpoints,
		limits: limits{s.ConnectTimeout, s.StatementTimeout, s.LockTimeout}, log: slog.New(slog.DiscardHandler),
	}
	if o.checkpoints == "" {
		o.checkpoints = defaultCheckpoints
	}
	switch {
	case s.db == nil || s.db.db == nil || s.db.dialect == nil:
		return nil, nil, retry.Fatal(errors.New("sqldb: the sink has no database: make one with Open"))
	case s.Mode > Insert:
		return nil, nil, retry.Fatal(fmt.Errorf("sqldb: Mode is %d: want Upsert or Insert", s.Mode))
	case s.Unknown > AddColumn:
		return nil, nil, retry.Fatal(fmt.Errorf("sqldb: Unknown is %d: want Stop, Reject, Ignore or AddColumn", s.Unknown))
	}
	if _, err := s.db.quoteAll("a name in Key", s.Key); err != nil {
		return nil, nil, err
	}
	if _, err := s.db.qualified(s.Schema, s.name); err != nil {
		return nil, nil, err
	}
	_, err = s.db.quote("Checkpoints", o.checkpoints)
	return shape, o, err
}
