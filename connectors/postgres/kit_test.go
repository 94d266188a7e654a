package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// server returns the URL of a server's superuser.
func server(t testing.TB) string {
	t.Helper()
	url := os.Getenv("WEAVER_TEST_POSTGRES")
	if url == "" {
		const why = "there is no PostgreSQL: run internal/services/with postgres -- go test ./..., or set WEAVER_TEST_POSTGRES to the URL of a superuser"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	return url
}

// place is a schema of a test's own, and a connection to look at it with.
type place struct {
	t      testing.TB
	schema string
	url    string // with the schema as search path
	conn   *pgx.Conn
}

// newPlace makes a schema, which is dropped with all that is in it when the test ends.
func newPlace(t testing.TB) *place {
	t.Helper()
	p := &place{t: t, schema: "test_" + strconv.FormatUint(rand.Uint64(), 36)}
	p.url = withParameter(server(t), "search_path", p.schema)
	p.conn = p.connect(p.url)
	p.exec("CREATE SCHEMA " + p.schema)
	p.cleanup("DROP SCHEMA " + p.schema + " CASCADE")
	return p
}

// cleanup runs statements, as one transaction, when the test ends. What the test has just stopped may still be at work, and other
// tests change the same catalogs: what the server refuses is tried again for a while. (A FailNow in the Cleanup of a test with
// subtests fails without a word: this isn't one.)
func (p *place) cleanup(sql string) {
	p.t.Helper()
	p.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for {
			_, err := p.conn.PgConn().Exec(ctx, sql).ReadAll()
			if _, refused := errors.AsType[*pgconn.PgError](err); !refused || ctx.Err() != nil {
				assert.NoError(p.t, err, sql)
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
}

// withParameter adds a parameter to a URL.
func withParameter(url, name, value string) string {
	separator := "?"
	if strings.Contains(url, "?") {
		separator = "&"
	}
	return url + separator + name + "=" + value
}

// db is the database, as a user's.
func (p *place) db() Database { return DSN(p.url) }

// connect opens a connection that the test's end closes.
func (p *place) connect(url string) *pgx.Conn {
	p.t.Helper()
	conn, err := pgx.Connect(p.t.Context(), url)
	require.NoError(p.t, err)
	p.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	})
	return conn
}

// exec runs statements.
func (p *place) exec(sql string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the test's has ended in Cleanup
	defer cancel()
	_, err := p.conn.PgConn().Exec(ctx, sql).ReadAll()
	require.NoError(p.t, err, sql)
}

// rows returns a query's rows, each as its columns' text with | between them and ∅ for NULL.
func (p *place) rows(sql string) []string {
	p.t.Helper()
	rows, err := p.lines(p.t.Context(), sql)
	require.NoError(p.t, err, sql)
	return rows
}

func (p *place) lines(ctx context.Context, sql string) ([]string, error) {
	results, err := p.conn.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, r := range results {
		for _, values := range r.Rows {
			texts := make([]string, len(values))
			for i, v := range values {
				texts[i] = string(v)
				if v == nil {
					texts[i] = "∅"
				}
			}
			lines = append(lines, strings.Join(texts, "|"))
		}
	}
	return lines, nil
}

// one returns a query's only row.
func (p *place) one(sql string) string {
	p.t.Helper()
	rows := p.rows(sql)
	require.Len(p.t, rows, 1, sql)
	return rows[0]
}

// count returns how many rows a table has.
func (p *place) count(table string) int {
	p.t.Helper()
	n, err := strconv.Atoi(p.one(fmt.Sprintf("SELECT count(*) FROM %s", table)))
	require.NoError(p.t, err)
	return n
}
