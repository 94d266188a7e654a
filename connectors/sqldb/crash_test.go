package sqldb

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

func crashPlan(t *testing.T) (crash.Ledger, int) {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("WEAVER_TEST_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	l, kills := crash.Ledger{Seed: seed, Records: 8_000, Keys: 20}, 4
	if os.Getenv("WEAVER_PROOF") != "" {
		l.Records, kills = 100_000, 50
	}
	return l, kills
}

func openSQLite(path string) (*sql.DB, error) { return sql.Open("sqlite", sqliteDSN(path)) }

func crashPipeline[In, Out any](p *weaver.Pipeline[In, Out]) *weaver.Pipeline[In, Out] {
	p.Name, p.BatchSize, p.CheckpointInterval, p.Require = "crash", 64, 2*time.Millisecond, weaver.ExactlyOnce
	p.RateLimit.Records = 8_000
	p.Retry.Initial = time.Millisecond
	return p
}

// ledgerRows yields what is in the table, in the order of insertion.
func ledgerRows(pool *sql.DB) iter.Seq2[crash.Record, error] {
	return func(yield func(crash.Record, error) bool) {
		rows, err := pool.QueryContext(context.Background(), "SELECT n, key, data, sum FROM ledger ORDER BY rowid")
		if err != nil {
			yield(crash.Record{}, err)
			return
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var r crash.Record
			err := rows.Scan(&r.N, &r.Key, &r.Data, &r.Sum)
			if !yield(r, err) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(crash.Record{}, err)
		}
	}
}

// TestCrashFileToSQLite kills a pipeline into a table that has no key again and again: each record must be there once.
func TestCrashFileToSQLite(t *testing.T) {
	t.Parallel()
	child := crash.Child(t, func(ctx context.Context, dir string) error {
		pool, err := openSQLite(filepath.Join(dir, "out.db"))
		if err != nil {
			return err
		}
		s := NewSink[crash.Record](Open(pool, SQLite), "ledger")
		s.Mode = Insert
		return errors.Join(crashPipeline(weaver.Copy(file.NDJSON[crash.Record](filepath.Join(dir, "in")), s)).Run(ctx), pool.Close())
	})
	l, kills := crashPlan(t)
	f, err := os.Create(filepath.Join(child.Dir, "in"))
	require.NoError(t, err)
	encoder := json.NewEncoder(f)
	for r := range l.All() {
		require.NoError(t, encoder.Encode(r))
	}
	require.NoError(t, f.Close())
	pool, err := openSQLite(filepath.Join(child.Dir, "out.db"))
	require.NoError(t, err)
	defer func() { require.NoError(t, pool.Close()) }()
	_, err = pool.ExecContext(t.Context(), "CREATE TABLE ledger (n INTEGER NOT NULL, key TEXT NOT NULL, data TEXT NOT NULL, sum INTEGER NOT NULL)")
	require.NoError(t, err)
	check := func() error {
		tally, err := l.Check(crash.Rules{}, l.Verified(ledgerRows(pool)))
		t.Logf("%+v", tally)
		return err
	}
	plan := crash.Plan{
		Kills: kills, Seed: l.Seed, Total: l.Records, Timeout: 10 * time.Minute,
		Progress: func() (n int64, err error) {
			err = pool.QueryRowContext(context.Background(), "SELECT COUNT(*) FROM ledger").Scan(&n)
			return n, err
		},
		Again: func() error {
			err := check()
			_, e := pool.ExecContext(context.Background(), "DELETE FROM ledger")
			_, f := pool.ExecContext(context.Background(), "DELETE FROM weaver_checkpoints")
			return errors.Join(err, e, f)
		},
	}
	report, err := plan.Run(t.Context(), child)
	t.Logf("%d records: %v", l.Records, report)
	require.NoError(t, err, "WEAVER_TEST_SEED=%d", l.Seed)
	require.NoError(t, check(), "WEAVER_TEST_SEED=%d", l.Seed)
}

// TestCrashSQLiteToFile kills a pipeline that reads a table.
func TestCrashSQLiteToFile(t *testing.T) {
	t.Parallel()
	child := crash.Child(t, func(ctx context.Context, dir string) error {
		pool, err := openSQLite(filepath.Join(dir, "in.db"))
		if err != nil {
			return err
		}
		toLine := weaver.Map(func(r crash.Record) ([]byte, error) { return r.AppendLine(nil), nil })
		p := weaver.NewPipeline(NewSource[crash.Record](Open(pool, SQLite), "ledger"), toLine, file.Lines(filepath.Join(dir, "out")))
		return errors.Join(crashPipeline(p).Run(ctx), pool.Close())
	})
	l, kills := crashPlan(t)
	pool, err := openSQLite(filepath.Join(child.Dir, "in.db"))
	require.NoError(t, err)
	_, err = pool.ExecContext(t.Context(), "CREATE TABLE ledger (n INTEGER PRIMARY KEY, key TEXT NOT NULL, data TEXT NOT NULL, sum INTEGER NOT NULL)")
	require.NoError(t, err)
	b := batchOf[crash.Record]()
	for r := range l.All() {
		b.Add().Value = r
	}
	w, err := NewSink[crash.Record](Open(pool, SQLite), "ledger").OpenWriter(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	require.NoError(t, w.Write(t.Context(), b))
	require.NoError(t, w.(weaver.Flusher).Flush(t.Context()))
	require.NoError(t, w.Close())
	require.NoError(t, pool.Close())
	out := filepath.Join(child.Dir, "out")
	check := func() error {
		tally, err := l.Check(crash.Rules{}, l.Verified(crash.Lines(out, crash.ParseLine)))
		t.Logf("%+v", tally)
		return err
	}
	plan := crash.Plan{
		Kills: kills, Seed: l.Seed, Total: l.Records, Timeout: 10 * time.Minute,
		Progress: crash.LastLine(out, func(line []byte) (int64, error) {
			r, err := crash.ParseLine(line)
			return r.N, err
		}),
		Again: func() error {
			err := check()
			files, _ := filepath.Glob(out + "*")
			hidden, _ := filepath.Glob(filepath.Join(child.Dir, ".weaver*"))
			for _, name := range append(files, hidden...) {
				err = errors.Join(err, os.RemoveAll(name))
			}
			return err
		},
	}
	report, err := plan.Run(t.Context(), child)
	t.Logf("%d records: %v", l.Records, report)
	require.NoError(t, err, "WEAVER_TEST_SEED=%d", l.Seed)
	require.NoError(t, check(), "WEAVER_TEST_SEED=%d", l.Seed)
}
