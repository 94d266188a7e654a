package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bohica-labs/dataweaver/retry"
)

// Database is a database of PostgreSQL and how it is reached. Nothing is connected by making one. It is safe for concurrent
// use.
type Database struct {
	pool *pgxpool.Pool
	dsn  string
}

// DSN is the database of a connection string: a URL, postgres://user:password@host:port/database?sslmode=verify-full, or
// words like host=… user=…. What it leaves out comes from the variables PGHOST, PGUSER, PGPASSWORD and so on, as with psql.
//
// Each reader and each writer has a connection of its own.
func DSN(dsn string) Database { return Database{dsn: dsn} }

// Pool is the database of a pool. Each reader and each writer takes a connection out of it for good, and closes it at the end:
// what was set in its session never comes back into the pool.
func Pool(pool *pgxpool.Pool) Database { return Database{pool: pool} }

// Defaults of a session's timeouts.
const (
	defaultConnectTimeout   = 10 * time.Second
	defaultStatementTimeout = 5 * time.Minute
	defaultLockTimeout      = 30 * time.Second
	idleTimeout             = 2 * time.Minute // of a session within a transaction, after which the server ends it
	timeoutMargin           = 5 * time.Second // by which we wait longer than the server
	applicationName         = "dataweaver"
)

// session is what a connection is made with. No time is without a bound: what isn't positive is the default.
type session struct {
	connect   time.Duration // until it is connected, and set up
	statement time.Duration // each statement, at the server
	lock      time.Duration // waiting for each lock
	set       []string      // more that is set, like "default_transaction_read_only = on"
}

// withDefaults fills in what isn't set.
func (s session) withDefaults() session {
	s.connect = orDefault(s.connect, defaultConnectTimeout)
	s.statement = orDefault(s.statement, defaultStatementTimeout)
	s.lock = orDefault(s.lock, defaultLockTimeout)
	return s
}

// bound ends ctx a little later than the server gives up a statement: for servers and networks that say nothing any more.
func (s session) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := s.withDefaults().statement + timeoutMargin
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("postgres: no answer for %v", limit))
}

// sql is what sets the session up.
func (s session) sql() string {
	s = s.withDefaults()
	var b strings.Builder
	b.WriteString("SET client_encoding = 'UTF8'; SET standard_conforming_strings = on")
	for _, t := range []struct {
		name string
		d    time.Duration
	}{{"statement_timeout", s.statement}, {"lock_timeout", s.lock}, {"idle_in_transaction_session_timeout", idleTimeout}} {
		b.WriteString("; SET " + t.name + " = " + strconv.FormatInt(max(t.d.Milliseconds(), 1), 10))
	}
	for _, set := range s.set {
		b.WriteString("; SET " + set)
	}
	return b.String()
}

func orDefault[N time.Duration | int](n, otherwise N) N {
	if n > 0 {
		return n
	}
	return otherwise
}

// connect returns a connection that is the caller's, who closes it. Errors are classified, and have no secret.
func (db Database) connect(ctx context.Context, s session) (*pgx.Conn, error) {
	s = s.withDefaults()
	bounded, cancel := context.WithTimeoutCause(ctx, s.connect, fmt.Errorf("postgres: not connected after %v (ConnectTimeout)", s.connect))
	defer cancel()
	conn, err := db.dial(bounded)
	if err != nil {
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case bounded.Err() != nil:
			return nil, fmt.Errorf("%w: %w", context.Cause(bounded), err)
		}
		return nil, err
	}
	if _, err := conn.PgConn().Exec(bounded, s.sql()).ReadAll(); err != nil {
		hangUp(conn)
		return nil, classify(fmt.Errorf("postgres: setting up the session: %w", err))
	}
	return conn, nil
}

func (db Database) dial(ctx context.Context) (*pgx.Conn, error) {
	if db.pool != nil {
		taken, err := db.pool.Acquire(ctx)
		if err != nil {
			return nil, classify(fmt.Errorf("postgres: no connection from the pool: %w", err))
		}
		return taken.Hijack(), nil
	}
	config, err := parseDSN(db.dsn)
	if err != nil {
		return nil, retry.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, classify(fmt.Errorf("postgres: %w", err))
	}
	return conn, nil
}

// hangUp closes a connection, without waiting for a server that doesn't answer.
func hangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), timeoutMargin)
	defer cancel()
	_ = conn.Close(ctx) // what wasn't committed is rolled back either way
}

// dsnReasons are why a DSN can't be parsed, as pgconn says it. More than this it might say with a piece of a password.
func dsnReasons() []string {
	return []string{
		"failed to parse as URL", "failed to parse as keyword/value", "failed to read service", "invalid sslcertmode", "invalid connect_timeout", "could not match",
		"invalid port", "failed to configure TLS", "unknown target_session_attrs", "invalid min_protocol_version", "invalid max_protocol_version", "min_protocol_version cannot be greater",
		"unknown channel_binding", "invalid require_auth",
	}
}

// parseDSN parses a connection string. Nothing of it is in an error: what can't be parsed can't be known to have no password.
func parseDSN(dsn string) (*pgx.ConnConfig, error) {
	if strings.TrimSpace(dsn) == "" {
		return nil, errors.New("postgres: the DSN is empty: postgres://user:password@host:5432/database")
	}
	if strayAt(dsn) {
		return nil, errors.New("postgres: the DSN has an @ that doesn't end the user's name and password: write @ in these as %40, / as %2F, : as %3A, % as %25")
	}
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		var parse *pgconn.ParseConfigError
		if errors.As(err, &parse) {
			text := err.Error()
			text = text[strings.LastIndex(text, "`: ")+1:]
			for _, reason := range dsnReasons() {
				if strings.Contains(text, reason) {
					return nil, fmt.Errorf("postgres: the DSN can't be parsed (%s): it is postgres://user:password@host:5432/database, with %%40 for @ and so on, or words like host=…", reason)
				}
			}
		}
		return nil, errors.New("postgres: the DSN can't be parsed: it is postgres://user:password@host:5432/database, with %40 for @ and so on, or words like host=…")
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = applicationName
	}
	return config, nil
}

// strayAt reports whether a URL's password has an @ or a / that wasn't escaped: the rest of it would be taken for a host or a
// database, whose names are in errors.
func strayAt(dsn string) bool {
	_, rest, isURL := strings.Cut(dsn, "://")
	if !isURL || !strings.HasPrefix(dsn, "postgres") {
		return false
	}
	rest, _, _ = strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	return strings.Count(authority, "@") > 1 || strings.Contains(path, "@")
}
