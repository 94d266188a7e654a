package postgres

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
)

// Store keeps checkpoints in a table, for sinks that don't keep them themselves. It is a [checkpoint.Store], safe for
// concurrent use. The table is the one that sinks use too: under the key of a sink's split (its pipeline, a slash and the
// split) a Store loads that sink's envelope without taking the split over; saving there does take it over.
//
// A Store of a DSN holds one connection from its first use on, which Close gives up. The fields may be set until then.
type Store struct {
	Schema         string        // of the table; default: the first in search_path
	Table          string        // made if it isn't there; default weaver_checkpoints
	ConnectTimeout time.Duration // default 10 s
	Timeout        time.Duration // of a statement; default 1 min

	db    Database
	mu    sync.Mutex // one call at a time
	conn  *pgx.Conn  // nil: none
	ready bool       // the table is there
}

var _ checkpoint.Store = (*Store)(nil)

// NewStore returns a store in a database.
func NewStore(db Database) *Store { return &Store{db: db} }

const defaultStoreTimeout = time.Minute

// Load implements checkpoint.Store.
func (s *Store) Load(ctx context.Context, key string) (value []byte, v checkpoint.Version, err error) {
	if len(key) > checkpoint.MaxKeyBytes {
		return nil, 0, keyTooLong(key)
	}
	err = s.use(ctx, func(ctx context.Context, conn *pgconn.PgConn, table string) error {
		value, v = nil, 0
		r, err := queryKey(ctx, conn, "SELECT version::text, value FROM "+table+" WHERE key = $1", storedKey(key))
		if err != nil || len(r.Rows) == 0 {
			return err
		}
		n, err := strconv.ParseInt(string(r.Rows[0][0]), 10, 64)
		value, v = r.Rows[0][1], checkpoint.Version(n)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("postgres: loading a checkpoint: %w", classify(err))
	}
	return value, v, nil
}

// Save implements checkpoint.Store.
func (s *Store) Save(ctx context.Context, key string, value []byte, v checkpoint.Version) (checkpoint.Version, error) {
	switch {
	case len(key) > checkpoint.MaxKeyBytes:
		return 0, keyTooLong(key)
	case len(value) > maxField:
		return 0, retry.Fatal(fmt.Errorf("postgres: the checkpoint %s has %d bytes, and PostgreSQL takes less than 1 GiB", tables.Brief(key), len(value)))
	}
	if value == nil {
		value = []byte{}
	}
	saved := false
	err := s.use(ctx, func(ctx context.Context, conn *pgconn.PgConn, table string) error {
		// An INSERT that finds a row does nothing, like an UPDATE that finds another version.
		sql := "UPDATE " + table + " SET value = $2, version = version + 1 WHERE key = $1 AND version = $3"
		params := [][]byte{storedKey(key), value, strconv.AppendInt(nil, int64(v), 10)}
		if v == 0 {
			sql = "INSERT INTO " + table + " (key, value, version) VALUES ($1, $2, 1) ON CONFLICT (key) DO NOTHING"
			params = params[:2]
		}
		formats := []int16{formatBinary, formatBinary, formatText}[:len(params)]
		r := conn.ExecParams(ctx, sql, params, nil, formats, nil).Read()
		saved = r.CommandTag.RowsAffected() == 1
		return r.Err
	})
	switch {
	case err != nil:
		return 0, fmt.Errorf("postgres: saving a checkpoint: %w", classify(err))
	case !saved:
		return 0, fmt.Errorf("postgres: the checkpoint %s isn't of version %d: %w", tables.Brief(key), v, checkpoint.ErrConflict)
	}
	return v + 1, nil
}

func keyTooLong(key string) error {
	return retry.Fatal(fmt.Errorf("postgres: the checkpoint's key %s has %d bytes, %d are allowed", tables.Brief(key), len(key), checkpoint.MaxKeyBytes))
}

// use calls f with a connection. One that was kept since an earlier call may be dead without anybody having noticed: f is called again if
// nothing of it has been sent.
func (s *Store) use(ctx context.Context, f func(ctx context.Context, conn *pgconn.PgConn, table string) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	setup := session{connect: s.ConnectTimeout, statement: orDefault(s.Timeout, defaultStoreTimeout), lock: s.Timeout, set: []string{"default_transaction_isolation = 'read committed'"}}
	table := checkpointTable{schema: s.Schema, name: s.Table}
	for {
		kept := s.conn != nil
		if !kept {
			conn, err := s.db.connect(ctx, setup)
			if err != nil {
				return err
			}
			s.conn = conn
		}
		err := s.once(ctx, setup, table, f)
		if s.db.pool != nil || s.conn.IsClosed() || err != nil {
			s.hangUp()
		}
		if kept && err != nil && ctx.Err() == nil && pgconn.SafeToRetry(err) {
			continue
		}
		return err
	}
}

func (s *Store) once(ctx context.Context, setup session, table checkpointTable, f func(context.Context, *pgconn.PgConn, string) error) error {
	ctx, cancel := setup.bound(ctx)
	defer cancel()
	if !s.ready {
		for _, name := range []string{s.Schema, s.Table} {
			if name == "" {
				continue
			}
			if err := checkName("Store's", name); err != nil {
				return err
			}
		}
		if err := table.ensure(ctx, s.conn); err != nil {
			return err
		}
		s.ready = true
	}
	err := f(ctx, s.conn.PgConn(), table.sql())
	if sqlState(err) == codeUndefinedTable {
		s.ready = false // somebody has dropped it
	}
	return err
}

func (s *Store) hangUp() {
	if s.conn != nil {
		hangUp(s.conn)
		s.conn = nil
	}
}

// Close closes the connection. Another call connects again.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangUp()
	return nil
}
