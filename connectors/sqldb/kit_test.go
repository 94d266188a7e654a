package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

// place is a database of a test's own.
type place struct {
	t    testing.TB
	name string
	url  string // how the driver reaches it
	pool *sql.DB
	db   *Database
}

// kinds of databases, by name.
var places = map[string]func(testing.TB) *place{"sqlite": newSQLite, "mysql": newMySQL, "postgres": newPostgres} //nolint:gochecknoglobals // constant

// everywhere runs a test for each database.
func everywhere(t *testing.T, test func(t *testing.T, p *place)) {
	t.Helper()
	for name, open := range places {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func sqliteDSN(path string) string {
	return "file:" + path + "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)"
}

func newSQLite(t testing.TB) *place {
	t.Helper()
	dsn := sqliteDSN(filepath.Join(t.TempDir(), "test.db"))
	pool, err := sql.Open("sqlite", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, pool.Close()) })
	return &place{t: t, name: "sqlite", url: dsn, pool: pool, db: Open(pool, SQLite)}
}

// server returns the address of a server.
func server(t testing.TB, variable, service string) string {
	t.Helper()
	address := os.Getenv(variable)
	if address == "" {
		why := fmt.Sprintf("there is no server: run internal/services/with %s -- go test ./..., or set %s", service, variable)
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	return address
}

func newMySQL(t testing.TB) *place {
	t.Helper()
	dsn := server(t, "WEAVER_TEST_MYSQL", "mysql")
	config, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	admin, err := sql.Open("mysql", dsn)
	require.NoError(t, err)
	name := "test_" + strconv.FormatUint(rand.Uint64(), 36)
	_, err = admin.ExecContext(t.Context(), "CREATE DATABASE "+name)
	require.NoError(t, err)
	config.DBName = name
	pool, err := sql.Open("mysql", config.FormatDSN())
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, pool.Close())
		_, err := admin.ExecContext(context.Background(), "DROP DATABASE "+name)
		assert.NoError(t, err)
		assert.NoError(t, admin.Close())
	})
	return &place{t: t, name: "mysql", url: config.FormatDSN(), pool: pool, db: Open(pool, MySQL)}
}

func newPostgres(t testing.TB) *place {
	t.Helper()
	url := server(t, "WEAVER_TEST_POSTGRES", "postgres")
	admin, err := sql.Open("pgx", url)
	require.NoError(t, err)
	name := "test_" + strconv.FormatUint(rand.Uint64(), 36)
	_, err = admin.ExecContext(t.Context(), "CREATE SCHEMA "+name)
	require.NoError(t, err)
	separator := "?"
	if strings.Contains(url, "?") {
		separator = "&"
	}
	url += separator + "search_path=" + name
	pool, err := sql.Open("pgx", url)
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, pool.Close())
		_, err := admin.ExecContext(context.Background(), "DROP SCHEMA "+name+" CASCADE")
		assert.NoError(t, err)
		assert.NoError(t, admin.Close())
	})
	return &place{t: t, name: "postgres", url: url, pool: pool, db: Open(pool, Postgres)}
}

// exec carries out statements, one at a time.
func (p *place) exec(statements ...string) {
	p.t.Helper()
	for _, s := range statements {
		_, err := p.pool.ExecContext(p.t.Context(), s)
		require.NoError(p.t, err, s)
	}
}

// text returns what a query that gives one text gives.
func (p *place) text(query string, args ...any) string {
	p.t.Helper()
	var s sql.NullString
	require.NoError(p.t, p.pool.QueryRowContext(p.t.Context(), query, args...).Scan(&s), query)
	if !s.Valid {
		return "NULL"
	}
	return s.String
}

// lines returns the rows of a query, each as its values with bars between them.
func (p *place) lines(query string, args ...any) []string {
	p.t.Helper()
	rows, err := p.pool.QueryContext(p.t.Context(), query, args...)
	require.NoError(p.t, err, query)
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	require.NoError(p.t, err)
	var out []string
	for rows.Next() {
		values := make([]sql.NullString, len(names))
		dest := make([]any, len(names))
		for i := range values {
			dest[i] = &values[i]
		}
		require.NoError(p.t, rows.Scan(dest...))
		var parts []string
		for _, v := range values {
			if v.Valid {
				parts = append(parts, v.String)
			} else {
				parts = append(parts, "NULL")
			}
		}
		out = append(out, strings.Join(parts, "|"))
	}
	require.NoError(p.t, rows.Err())
	return out
}

// quick makes a pipeline that tries again soon, and tells nobody.
func quick[In, Out any](p *weaver.Pipeline[In, Out]) *weaver.Pipeline[In, Out] {
	p.Retry.Initial, p.Retry.Max, p.Log = time.Millisecond, 10*time.Millisecond, slog.New(slog.DiscardHandler)
	return p
}

var errEOF = io.EOF //nolint:gochecknoglobals,errname // constant

// again opens the MySQL database once more, with other options.
func (p *place) again(options string) *sql.DB {
	p.t.Helper()
	config, err := mysql.ParseDSN(os.Getenv("WEAVER_TEST_MYSQL"))
	require.NoError(p.t, err)
	config.DBName = p.text("SELECT DATABASE()")
	dsn := config.FormatDSN()
	if before, _, found := strings.Cut(dsn, "?"); found {
		dsn = before
	}
	pool, err := sql.Open("mysql", dsn+"?"+options)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { assert.NoError(p.t, pool.Close()) })
	return pool
}

// as opens the MySQL database as another user.
func (p *place) as(user, password string) *sql.DB {
	p.t.Helper()
	config, err := mysql.ParseDSN(os.Getenv("WEAVER_TEST_MYSQL"))
	require.NoError(p.t, err)
	config.DBName, config.User, config.Passwd = p.text("SELECT DATABASE()"), user, password
	pool, err := sql.Open("mysql", config.FormatDSN())
	require.NoError(p.t, err)
	p.t.Cleanup(func() { assert.NoError(p.t, pool.Close()) })
	return pool
}
