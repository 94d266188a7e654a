package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bohica-labs/dataweaver/retry"
)

// Database is a database and how it is spoken to. It is safe for concurrent use. Sources and sinks of one database share one:
// a writer that takes over a split ends an earlier one of the same Database at once, whose locks it would have to wait for
// otherwise.
type Database struct {
	db      *sql.DB
	dialect Dialect

	mu     sync.Mutex
	owners map[string]evictable // writers that have restored a split, by their checkpoint
}

// evictable is a writer that loses its split.
type evictable interface{ evict(ctx context.Context) }

// Open returns the database of a pool of connections. It opens nothing, and never closes the pool.
//
// Each reader and each writer takes a connection out of the pool for as long as it is open. A pool that is bounded
// (SetMaxOpenConns) needs one for each of them, and one more.
func Open(db *sql.DB, d Dialect) *Database {
	return &Database{db: db, dialect: d, owners: map[string]evictable{}}
}

// Defaults of a session's timeouts.
const (
	defaultConnectTimeout   = 10 * time.Second
	defaultStatementTimeout = 5 * time.Minute
	defaultLockTimeout      = 30 * time.Second
	timeoutMargin           = 5 * time.Second
)

// limits are the timeouts of a source or a sink. No time is without a bound: what isn't positive is the default.
type limits struct{ connect, statement, lock time.Duration }

func (l limits) withDefaults() limits {
	l.connect = orDefault(l.connect, defaultConnectTimeout)
	l.statement = orDefault(l.statement, defaultStatementTimeout)
	l.lock = orDefault(l.lock, defaultLockTimeout)
	return l
}

func orDefault[N time.Duration | int](n, otherwise N) N {
	if n > 0 {
		return n
	}
	return otherwise
}

// connection is a connection of the pool that has one owner.
type connection struct {
	*sql.Conn
	db     *Database
	limits limits
	end    func(context.Context) error // undoes what the session was set up with; nil: nothing can
	broken bool
}

// connect takes a connection out of the pool and sets it up. Errors are classified.
func (db *Database) connect(ctx context.Context, l limits, write bool) (*connection, error) {
	l = l.withDefaults()
	bounded, cancel := context.WithTimeoutCause(ctx, l.connect,
		fmt.Errorf("sqldb: no connection after %v (ConnectTimeout): each reader and each writer needs one of the pool's", l.connect))
	defer cancel()
	conn, err := db.db.Conn(bounded)
	if err != nil {
		return nil, db.failed(ctx, bounded, fmt.Errorf("sqldb: connecting: %w", err))
	}
	c := &connection{Conn: conn, db: db, limits: l, broken: true}
	end, err := db.dialect.Session(bounded, conn, Session{Statement: l.statement, Lock: l.lock, Write: write})
	if err != nil {
		err = db.failed(ctx, bounded, fmt.Errorf("sqldb: setting up the session: %w", err))
		_ = c.release()
		return nil, err
	}
	c.end, c.broken = end, false
	return c, nil
}

// bound ends ctx a little later than the database gives up a statement.
func (c *connection) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := c.limits.statement + timeoutMargin
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("sqldb: no answer for %v (StatementTimeout)", limit))
}

// exec carries out a statement, within StatementTimeout.
func (c *connection) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	bounded, cancel := c.bound(ctx)
	defer cancel()
	result, err := c.ExecContext(bounded, query, args...)
	if err != nil {
		return nil, c.db.failed(ctx, bounded, err)
	}
	return result, nil
}

// one asks for one row and reports whether there is one, within StatementTimeout.
func (c *connection) one(ctx context.Context, query string, args []any, dest ...any) (bool, error) {
	bounded, cancel := c.bound(ctx)
	defer cancel()
	err := c.QueryRowContext(bounded, query, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, c.db.failed(ctx, bounded, err)
}

// release gives the connection back to the pool as it was, or closes it.
func (c *connection) release() error {
	ctx, cancel := context.WithTimeout(context.Background(), timeoutMargin)
	defer cancel()
	if !c.broken && c.end != nil && c.end(ctx) == nil {
		return c.Close()
	}
	_ = c.Raw(func(any) error { return driver.ErrBadConn }) // so that the pool closes it
	if err := c.Close(); err != nil && !errors.Is(err, sql.ErrConnDone) {
		return err
	}
	return nil
}

// failed classifies the error of something that was done within bounded, which ends by itself; ctx is the caller's.
func (db *Database) failed(ctx, bounded context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case bounded.Err() != nil:
		return fmt.Errorf("%w: %w", context.Cause(bounded), err)
	}
	return db.classify(err)
}

// classify marks an error by its class. What is marked already stays as it is.
func (db *Database) classify(err error) error {
	if err == nil || retry.ClassOf(err) != retry.ClassUnmarked || errors.Is(err, driver.ErrBadConn) {
		return err
	}
	return retry.Mark(err, db.dialect.Classify(err)) // unmarked is no mark
}

// own makes w the owner of a checkpoint, and evicts the one before.
func (db *Database) own(ctx context.Context, id string, w evictable) {
	db.mu.Lock()
	before := db.owners[id]
	db.owners[id] = w
	db.mu.Unlock()
	if before != nil && before != w {
		before.evict(ctx)
	}
}

// disown forgets that w owns a checkpoint.
func (db *Database) disown(id string, w evictable) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.owners[id] == w {
		delete(db.owners, id)
	}
}
