package postgres

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/tables"
)

// defaultCheckpoints is the table's name.
const defaultCheckpoints = "weaver_checkpoints"

// checkpointTable is where checkpoints are, those of sinks and those of a Store alike.
type checkpointTable struct{ schema, name string }

func (c checkpointTable) sql() string {
	if c.name == "" {
		c.name = defaultCheckpoints
	}
	return qualified(c.schema, c.name)
}

// ensure makes the table if it isn't there. Somebody else may be making it at the same time.
func (c checkpointTable) ensure(ctx context.Context, conn *pgx.Conn) error {
	const attempts = 3
	var err error
	for range attempts {
		var there bool
		if err := conn.QueryRow(ctx, "SELECT pg_catalog.to_regclass($1::text) IS NOT NULL", pgx.QueryExecModeExec, c.sql()).Scan(&there); err != nil {
			return classify(fmt.Errorf("postgres: looking up the table of checkpoints: %w", err))
		}
		if there {
			return nil
		}
		_, err = conn.PgConn().Exec(ctx, "CREATE TABLE IF NOT EXISTS "+c.sql()+
			" (key bytea PRIMARY KEY, version bigint NOT NULL, value bytea, owner_pid integer, owner_start timestamptz)").ReadAll()
		if state := sqlState(err); err != nil && state != codeUnique && state != codeDuplicateTable {
			break
		}
	}
	if err != nil {
		return classify(fmt.Errorf("postgres: making the table of checkpoints, %s: %w", c.sql(), err))
	}
	return nil
}

// maxPlainKey is how long a key is kept as it is: what an index can hold is less than a page.
const maxPlainKey = 1024

// storedKey is what is in the column for a key: the key, or of a long one its beginning and its SHA-256, which no short one is.
func storedKey(key string) []byte {
	if len(key) <= maxPlainKey {
		return append(make([]byte, 0, len(key)), key...)
	}
	sum := sha256.Sum256([]byte(key))
	return append([]byte(key[:maxPlainKey]), sum[:]...)
}

// keeper keeps the checkpoint of one split in the transaction of its records.
//
// Each Restore and each commit raises the version, and a commit is upon the version that its keeper knows. So one that was
// overtaken can't commit, however late it comes. And a commit whose reply was lost is either in the table or not when the
// next Restore reads it, as that waits for whoever holds the row.
type keeper struct {
	db      Database
	session session
	log     *slog.Logger
	conn    *pgx.Conn
	table   checkpointTable
	key     string

	version int64
	owner   string // the process that serves this session, and when it began
}

const commitStatement = "weaver_commit"

// restore takes the split over and returns its envelope.
func (k *keeper) restore(ctx context.Context) ([]byte, error) {
	if err := k.table.ensure(ctx, k.conn); err != nil {
		return nil, err
	}
	key, t := storedKey(k.key), k.table.sql()
	// An owner before us that hangs may hold locks on rows. It is this very process or none: another one may have got its number.
	_, err := k.query(ctx, "SELECT pg_catalog.pg_terminate_backend(a.pid) FROM "+t+" t JOIN pg_catalog.pg_stat_activity a ON a.pid = t.owner_pid AND a.backend_start = t.owner_start "+
		"WHERE t.key = $1 AND a.pid <> pg_catalog.pg_backend_pid()", key)
	if err != nil {
		if sqlState(err) != codePrivilege {
			return nil, classify(fmt.Errorf("postgres: ending the session of an earlier owner: %w", err))
		}
		k.log.Warn("postgres: the session of an earlier owner can't be ended: its locks are waited for", "error", err)
	}
	r, err := k.query(ctx, "INSERT INTO "+t+" AS t (key, version, owner_pid, owner_start) SELECT $1, 1, a.pid, a.backend_start "+
		"FROM (SELECT pg_catalog.pg_backend_pid() AS me) m LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = m.me "+
		"ON CONFLICT (key) DO UPDATE SET version = t.version + 1, owner_pid = excluded.owner_pid, owner_start = excluded.owner_start "+
		"RETURNING version::text, value, "+ownerSQL, key)
	if err != nil {
		return nil, classify(fmt.Errorf("postgres: taking over the checkpoint in %s: %w", t, err))
	}
	if len(r.Rows) != 1 || len(r.Rows[0]) != 3 {
		return nil, fmt.Errorf("postgres: the checkpoint in %s has %d rows", t, len(r.Rows))
	}
	if k.version, err = strconv.ParseInt(string(r.Rows[0][0]), 10, 64); err != nil {
		return nil, fmt.Errorf("postgres: the version of a checkpoint in %s: %w", t, err)
	}
	k.owner = string(r.Rows[0][2])
	_, err = k.conn.PgConn().Prepare(ctx, commitStatement, "WITH saved AS (UPDATE "+t+" SET value = $3, version = version + 1 "+
		"WHERE key = $1 AND version = $2 RETURNING 1) SELECT 1 / count(*) FROM saved", nil)
	if err != nil {
		return nil, classify(fmt.Errorf("postgres: %s is no table of checkpoints: %w", t, err))
	}
	return r.Rows[0][1], nil
}

const ownerSQL = "pg_catalog.concat(owner_pid, '/', extract(epoch FROM owner_start))"

// look returns the envelope and changes nothing.
func (k *keeper) look(ctx context.Context) ([]byte, error) {
	var there bool
	err := k.conn.QueryRow(ctx, "SELECT pg_catalog.to_regclass($1::text) IS NOT NULL", pgx.QueryExecModeExec, k.table.sql()).Scan(&there)
	if err != nil {
		return nil, classify(fmt.Errorf("postgres: looking up the table of checkpoints: %w", err))
	}
	if !there {
		return nil, nil
	}
	r, err := k.query(ctx, "SELECT value FROM "+k.table.sql()+" WHERE key = $1", storedKey(k.key))
	if err != nil {
		return nil, classify(fmt.Errorf("postgres: looking at the checkpoint: %w", err))
	}
	if len(r.Rows) == 0 {
		return nil, nil
	}
	return r.Rows[0][0], nil
}

// query runs a statement with a key. All its results but bytea are text.
func (k *keeper) query(ctx context.Context, sql string, key []byte) (*pgconn.Result, error) {
	return queryKey(ctx, k.conn.PgConn(), sql, key)
}

// commit ends the transaction together with the envelope, in one round trip. What the server hasn't got of it, it doesn't do.
func (k *keeper) commit(ctx context.Context, envelope []byte, open bool) error {
	if envelope == nil {
		envelope = []byte{}
	}
	pipe := k.conn.PgConn().StartPipeline(ctx)
	pipe.SendQueryPrepared(commitStatement, [][]byte{storedKey(k.key), strconv.AppendInt(nil, k.version, 10), envelope}, []int16{formatBinary, formatText, formatBinary}, nil)
	if open {
		pipe.SendQueryParams("COMMIT", nil, nil, nil, nil)
	}
	err := pipe.Sync()
	if err == nil {
		err = k.saved(pipe)
	}
	if err == nil && open {
		err = committed(pipe)
	}
	if closing := pipe.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return classify(fmt.Errorf("postgres: committing: %w", err))
	}
	k.version++
	return nil
}

// saved reads whether the envelope is saved.
func (k *keeper) saved(pipe *pgconn.Pipeline) error {
	_, err := finish(pipe)
	if sqlState(err) == codeDivisionByZero { // no row has the version
		return fmt.Errorf("%w: the checkpoint of %s in %s isn't of version %d any more", weaver.ErrFenced, tables.Brief(k.key), k.table.sql(), k.version)
	}
	return err
}

// committed reads what became of COMMIT, which is a rollback without an error where the transaction had failed.
func committed(pipe *pgconn.Pipeline) error {
	tag, err := finish(pipe)
	if err == nil && tag.String() != "COMMIT" {
		err = fmt.Errorf("the server says %s", tag)
	}
	return err
}

// finish reads the result of one statement.
func finish(pipe *pgconn.Pipeline) (pgconn.CommandTag, error) {
	r, err := pipe.GetResults()
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	reader, ok := r.(*pgconn.ResultReader)
	if !ok {
		return pgconn.CommandTag{}, fmt.Errorf("a %T instead of a statement's result", r)
	}
	return reader.Close()
}

// isFenced asks, over another connection, whether somebody else has taken over. If nobody can say, it is false.
func (k *keeper) isFenced(ctx context.Context) bool {
	conn, err := k.db.connect(ctx, k.session)
	if err != nil {
		return false
	}
	defer hangUp(conn)
	ctx, cancel := k.session.bound(ctx)
	defer cancel()
	r, err := queryKey(ctx, conn.PgConn(), "SELECT "+ownerSQL+"::text, ''::bytea FROM "+k.table.sql()+" WHERE key = $1", storedKey(k.key))
	if err != nil || len(r.Rows) != 1 {
		return false
	}
	return string(r.Rows[0][0]) != k.owner
}

// queryKey runs a statement whose first parameter is a checkpoint's key, as bytes, and others text. All of its columns come as text, but value.
func queryKey(ctx context.Context, conn *pgconn.PgConn, sql string, key []byte) (*pgconn.Result, error) {
	r := conn.ExecParams(ctx, sql, [][]byte{key}, nil, []int16{formatBinary}, []int16{formatBinary}).Read()
	return r, r.Err
}
