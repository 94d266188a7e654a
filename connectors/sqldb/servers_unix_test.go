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

// ownMySQL starts a server of the test's own, which can be crashed beside others, and returns its DSN and how it is crashed.
func ownMySQL(t *testing.T) (dsn string, restart func() error) {
	t.Helper()
	server(t, "WEAVER_TEST_MYSQL", "mysql") // skips where there is none
	dir, err := os.MkdirTemp("", "weaver-mysql-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711)) // the server may be another user's
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	script, err := filepath.Abs("../../internal/services/mysql.sh")
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

const mysqlLedger = "CREATE TABLE ledger (n BIGINT NOT NULL, `key` VARCHAR(100) NOT NULL, data TEXT NOT NULL, sum BIGINT UNSIGNED NOT NULL) CHARACTER SET utf8mb4"

// intoMySQL is what a child runs: a table without a key, so that what is written twice is there twice.
func intoMySQL(ctx context.Context, dir string) error {
	dsn, err := os.ReadFile(filepath.Join(dir, "dsn"))
	if err != nil {
		return err
	}
	pool, err := sql.Open("mysql", string(dsn))
	if err != nil {
		return err
	}
	s := NewSink[crash.Record](Open(pool, MySQL), "ledger")
	s.Mode = Insert
	p := crashPipeline(weaver.Copy(file.NDJSON[crash.Record](filepath.Join(dir, "in")), s))
	p.RateLimit.Records, p.CheckpointInterval, p.Retry.Max = 2_500, 20*time.Millisecond, 200*time.Millisecond
	return errors.Join(p.Run(ctx), pool.Close())
}

func writeLedger(t *testing.T, dir, dsn string, l crash.Ledger) *sql.DB {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dsn"), []byte(dsn), 0o600))
	f, err := os.Create(filepath.Join(dir, "in"))
	require.NoError(t, err)
	encoder := json.NewEncoder(f)
	for r := range l.All() {
		require.NoError(t, encoder.Encode(r))
	}
	require.NoError(t, f.Close())
	pool, err := sql.Open("mysql", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	_, err = pool.ExecContext(t.Context(), mysqlLedger)
	require.NoError(t, err)
	return pool
}

// mysqlRows yields what is in the table.
func mysqlRows(t *testing.T, pool *sql.DB) (records []crash.Record) {
	t.Helper()
	rows, err := pool.QueryContext(t.Context(), "SELECT n, `key`, data, sum FROM ledger ORDER BY n")
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r crash.Record
		require.NoError(t, rows.Scan(&r.N, &r.Key, &r.Data, &r.Sum))
		records = append(records, r)
	}
	require.NoError(t, rows.Err())
	return records
}

func checkLedger(t *testing.T, l crash.Ledger, pool *sql.DB) {
	t.Helper()
	tally, err := l.Check(crash.Rules{}, l.Verified(func(yield func(crash.Record, error) bool) {
		for _, r := range mysqlRows(t, pool) {
			if !yield(r, nil) {
				return
			}
		}
	}))
	t.Logf("%+v", tally)
	require.NoError(t, err, "seed %d", l.Seed)
}

// TestCrashMySQL kills a pipeline, kills the server below it and cuts its connections, and requires that in the end the table is the
// generator's, row for row.
func TestCrashMySQL(t *testing.T) {
	t.Parallel()
	child := crash.Child(t, intoMySQL)
	dsn, restart := ownMySQL(t)
	l, kills := crashPlan(t)
	pool := writeLedger(t, child.Dir, dsn, l)
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
				cutConnections(t, pool)
			}
			_ = pool.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM ledger").Scan(&at) // it may be down
			return at, nil
		},
	}
	report, err := plan.Run(t.Context(), child)
	t.Logf("%v; the server crashed %d times under it, connections were cut %d times", report, crashes, cuts)
	require.NoError(t, err, "WEAVER_TEST_SEED=%d", l.Seed)
	require.GreaterOrEqual(t, crashes, int64(2))
	require.Eventually(t, func() bool { return pool.PingContext(t.Context()) == nil }, 30*time.Second, 10*time.Millisecond)
	checkLedger(t, l, pool)
}

// cutConnections ends all connections but those of the test's pool, as far as can be told.
func cutConnections(t *testing.T, pool *sql.DB) {
	t.Helper()
	conn, err := pool.Conn(t.Context())
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	for _, s := range killOthers(t, conn) {
		_, _ = conn.ExecContext(t.Context(), s) // it may be gone
	}
}

// killOthers returns the statements that end all other connections; none where the server is down.
func killOthers(t *testing.T, conn *sql.Conn) (kill []string) {
	t.Helper()
	rows, err := conn.QueryContext(t.Context(), "SELECT CONCAT('KILL ', id) FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'root'")
	if err != nil {
		return nil
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var s string
		if rows.Scan(&s) == nil {
			kill = append(kill, s)
		}
	}
	_ = rows.Err()
	return kill
}

// TestCrashZombieMySQL stops a process in the middle of its work, lets another one take over, and wakes the first up: it must find
// that it was overtaken, and change nothing.
func TestCrashZombieMySQL(t *testing.T) {
	t.Parallel()
	child := crash.Child(t, intoMySQL)
	p := newMySQL(t)
	l := crash.Ledger{Seed: 1, Records: 4_000}
	pool := writeLedger(t, child.Dir, p.dsn(), l)
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
		require.Eventually(t, func() bool { return count() > before+200 }, 30*time.Second, time.Millisecond)
		require.NoError(t, zombie.Process.Signal(syscall.SIGSTOP))

		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		err = intoMySQL(ctx, child.Dir)
		cancel()
		require.NoError(t, err)
		require.Less(t, time.Since(began), 10*time.Second, "what the zombie had locked is free soon")
		after := count()

		require.NoError(t, zombie.Process.Signal(syscall.SIGCONT))
		require.Error(t, zombie.Wait())
		require.Contains(t, said.String(), weaver.ErrFenced.Error())
		require.Equal(t, after, count())
	}
	require.NoError(t, intoMySQL(t.Context(), child.Dir))
	checkLedger(t, l, pool)
}
