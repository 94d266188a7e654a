//go:build unix

package sqldb

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

// served is a kind of server that tests crash.
type served struct {
	name, variable, driver string
	dialect                Dialect
	ledger                 string // a table without a key, so that what is written twice is there twice
	rows                   string // reads it
	kill                   string // gives the statements that end all connections but the one that asks
	place                  func(testing.TB) *place
}

var servers = []served{ //nolint:gochecknoglobals // constant
	{
		name: "mysql", variable: "WEAVER_TEST_MYSQL", driver: "mysql", dialect: MySQL, place: newMySQL,
		ledger: "CREATE TABLE ledger (n BIGINT NOT NULL, `key` VARCHAR(100) NOT NULL, data TEXT NOT NULL, sum BIGINT UNSIGNED NOT NULL) CHARACTER SET utf8mb4",
		rows:   "SELECT n, `key`, data, sum FROM ledger ORDER BY n",
		kill:   "SELECT CONCAT('KILL ', id) FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'root'",
	},
	{
		name: "postgres", variable: "WEAVER_TEST_POSTGRES", driver: "pgx", dialect: Postgres, place: newPostgres,
		ledger: `CREATE TABLE ledger (n bigint NOT NULL, key text NOT NULL, data text NOT NULL, sum bigint NOT NULL)`,
		rows:   `SELECT n, key, data, sum FROM ledger ORDER BY n`,
		kill:   "SELECT 'SELECT pg_terminate_backend(' || pid || ')' FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()",
	},
}

// own starts a server of the test's own, which can be crashed beside others, and returns how it is reached and how it is crashed.
func (s *served) own(t *testing.T) (url string, restart func() error) {
	t.Helper()
	server(t, s.variable, s.name) // skips where there is none
	dir, err := os.MkdirTemp("", "weaver-"+s.name+"-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711)) // the server may be another user's
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	script, err := filepath.Abs("../../internal/services/" + s.name + ".sh")
	require.NoError(t, err)
	out, err := exec.Command("bash", script, dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() {
		out, err := exec.Command(filepath.Join(dir, "stop")).CombinedOutput()
		require.NoError(t, err, "%s", out)
	})
	address, err := os.ReadFile(filepath.Join(dir, "address"))
	require.NoError(t, err)
	return strings.TrimSpace(string(address)), func() error { return exec.Command(filepath.Join(dir, "restart")).Run() }
}

// copy is what a child runs.
func (s *served) copy(ctx context.Context, dir string) error {
	url, err := os.ReadFile(filepath.Join(dir, "url"))
	if err != nil {
		return err
	}
	pool, err := sql.Open(s.driver, string(url))
	if err != nil {
		return err
	}
	sink := NewSink[crash.Record](Open(pool, s.dialect), "ledger")
	sink.Mode = Insert
	p := crashPipeline(weaver.Copy(file.NDJSON[crash.Record](filepath.Join(dir, "in")), sink))
	p.RateLimit.Records, p.CheckpointInterval, p.Retry.Max = 2_500, 20*time.Millisecond, 200*time.Millisecond
	return errors.Join(p.Run(ctx), pool.Close())
}

// write prepares a child: the file that it reads, and the table.
func (s *served) write(t *testing.T, dir, url string, l crash.Ledger) *sql.DB {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "url"), []byte(url), 0o600))
	f, err := os.Create(filepath.Join(dir, "in"))
	require.NoError(t, err)
	encoder := json.NewEncoder(f)
	for r := range l.All() {
		require.NoError(t, encoder.Encode(r))
	}
	require.NoError(t, f.Close())
	pool, err := sql.Open(s.driver, url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	_, err = pool.ExecContext(t.Context(), s.ledger)
	require.NoError(t, err)
	return pool
}

// check compares the table with the ledger.
func (s *served) check(t *testing.T, l crash.Ledger, pool *sql.DB) error {
	t.Helper()
	tally, err := l.Check(crash.Rules{}, l.Verified(func(yield func(crash.Record, error) bool) {
		rows, err := pool.QueryContext(t.Context(), s.rows)
		if err != nil {
			yield(crash.Record{}, err)
			return
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var r crash.Record
			if err := rows.Scan(&r.N, &r.Key, &r.Data, &r.Sum); !yield(r, err) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(crash.Record{}, err)
		}
	}))
	t.Logf("%+v", tally)
	return err
}

// cut ends all connections but one of the test's pool, as far as can be told.
func (s *served) cut(t *testing.T, pool *sql.DB) {
	t.Helper()
	conn, err := pool.Conn(t.Context())
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	rows, err := conn.QueryContext(t.Context(), s.kill)
	if err != nil {
		return
	}
	defer func() { _ = rows.Close() }()
	var kill []string
	for rows.Next() {
		var statement string
		if rows.Scan(&statement) == nil {
			kill = append(kill, statement)
		}
	}
	if rows.Err() != nil || rows.Close() != nil {
		return
	}
	for _, statement := range kill {
		_, _ = conn.ExecContext(t.Context(), statement) // it may be gone
	}
}

// TestCrashServers kills a pipeline, kills the server below it and cuts its connections, and requires that in the end the table is the
// generator's, row for row.
func TestCrashServers(t *testing.T) {
	t.Parallel()
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			child := crash.Child(t, s.copy)
			url, restart := s.own(t)
			l, kills := crashPlan(t)
			pool := s.write(t, child.Dir, url, l)
			check := func() error {
				require.Eventually(t, func() bool { return pool.PingContext(t.Context()) == nil }, time.Minute, 10*time.Millisecond)
				return s.check(t, l, pool)
			}
			crashes, cuts, at := int64(0), int64(0), int64(0)
			every := l.Records / 3
			plan := crash.Plan{
				Kills: kills, Seed: l.Seed, Total: l.Records, Patience: time.Minute, Timeout: 10 * time.Minute,
				Progress: func() (int64, error) {
					switch {
					case at >= (crashes+1)*every:
						crashes++
						if err := restart(); err != nil {
							return 0, err
						}
					case at >= every/4+cuts*every/2:
						cuts++
						s.cut(t, pool)
					}
					_ = pool.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM ledger").Scan(&at) // it may be down
					return at, nil
				},
				Again: func() error {
					err := check()
					for _, table := range []string{"ledger", defaultCheckpoints} {
						_, e := pool.ExecContext(t.Context(), "DELETE FROM "+table)
						err = errors.Join(err, e)
					}
					at = 0
					return err
				},
			}
			report, err := plan.Run(t.Context(), child)
			t.Logf("%v; the server crashed %d times under it, connections were cut %d times", report, crashes, cuts)
			require.NoError(t, err, "WEAVER_TEST_SEED=%d", l.Seed)
			require.GreaterOrEqual(t, crashes, int64(2))
			require.NoError(t, check(), "WEAVER_TEST_SEED=%d", l.Seed)
		})
	}
}

// TestCrashZombie stops a process in the middle of its work, lets another one take over, and wakes the first up: it must find
// that it was overtaken, and change nothing.
func TestCrashZombie(t *testing.T) {
	t.Parallel()
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			child := crash.Child(t, s.copy)
			p := s.place(t)
			l := crash.Ledger{Seed: 1, Records: 4_000}
			pool := s.write(t, child.Dir, p.url, l)
			count := func() (n int) {
				require.NoError(t, pool.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM ledger").Scan(&n))
				return n
			}
			for range 3 {
				zombie := child.Command()
				in, err := zombie.StdinPipe() // whose end would end it
				require.NoError(t, err)
				defer func() { _ = in.Close() }()
				var said bytes.Buffer
				zombie.Stdout, zombie.Stderr = &said, &said
				before := count()
				require.NoError(t, zombie.Start())
				require.Eventually(t, func() bool { return count() > before+200 }, time.Minute, time.Millisecond)
				require.NoError(t, zombie.Process.Signal(syscall.SIGSTOP))

				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
				err = s.copy(ctx, child.Dir)
				cancel()
				require.NoError(t, err)
				require.Less(t, time.Since(began), 15*time.Second, "what the zombie had locked is free soon")
				after := count()

				require.NoError(t, zombie.Process.Signal(syscall.SIGCONT))
				require.Error(t, zombie.Wait())
				require.Contains(t, said.String(), weaver.ErrFenced.Error())
				require.Equal(t, after, count())
			}
			require.NoError(t, s.copy(t.Context(), child.Dir))
			require.NoError(t, s.check(t, l, pool))
		})
	}
}
