package postgres

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/retry"
	serdejson "github.com/bohica-labs/dataweaver/serde/json"
	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

// crashRecord is a record of a ledger as a row.
type crashRecord struct {
	N    int64  `db:"n" json:"n"`
	Key  string `db:"key" json:"key"`
	Data string `db:"data" json:"data"`
	Sum  uint32 `db:"sum" json:"sum"`
}

const crashTable = "CREATE TABLE %s (n bigint PRIMARY KEY, key text NOT NULL, data text NOT NULL, sum bigint NOT NULL)"

// ownServer starts a server of the test's own, which can be crashed beside others, and returns its URL and how it is crashed.
func ownServer(t *testing.T) (url string, restart func() error) {
	t.Helper()
	server(t) // skips where there is none
	dir, err := os.MkdirTemp("", "weaver-postgres-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711)) // the server may be another user's
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	script, err := filepath.Abs("../../internal/services/postgres.sh")
	require.NoError(t, err)
	out, err := exec.Command("bash", script, dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() {
		out, err := exec.Command(filepath.Join(dir, "stop")).CombinedOutput()
		require.NoError(t, err, "%s", out)
	})
	address, err := os.ReadFile(filepath.Join(dir, "address"))
	require.NoError(t, err)
	return strings.TrimSpace(string(address)), func() error {
		return exec.Command(filepath.Join(dir, "restart")).Run()
	}
}

// crashCopy is what the child runs.
func crashCopy(url string, source weaver.Source[crashRecord], mode Mode) error {
	return crashRun(context.Background(), url, source, mode)
}

func crashRun(ctx context.Context, url string, source weaver.Source[crashRecord], mode Mode) error {
	sink := NewSink[crashRecord](DSN(url), "target")
	sink.Mode, sink.CommitRows = mode, 500
	p := weaver.Copy(source, weaver.Sink[crashRecord](sink))
	p.Name, p.Require = "crash", weaver.ExactlyOnce
	p.BatchSize, p.CheckpointInterval = 100, 20*time.Millisecond
	p.RateLimit.Records = 4_000
	p.Retry = retry.Policy{Initial: 10 * time.Millisecond, Max: 200 * time.Millisecond}
	return p.Run(ctx)
}

// TestCrashExactlyOnce kills a pipeline, crashes the server below it and cuts its connections, and requires that in the end the table
// is the generator's, row for row.
func TestCrashExactlyOnce(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]func(dir, url string) (weaver.Source[crashRecord], Mode){
		"file to table": func(dir, _ string) (weaver.Source[crashRecord], Mode) {
			in := file.NDJSON[crashRecord](filepath.Join(dir, "in.ndjson"))
			in.Codec = serdejson.Codec[crashRecord]{}
			return in, Insert
		},
		"table to table": func(_, url string) (weaver.Source[crashRecord], Mode) {
			src := NewSource[crashRecord](DSN(url), "origin")
			src.PageRows, src.Ranges = 1000, 2
			return src, Insert
		},
		"table to table, upserts": func(_, url string) (weaver.Source[crashRecord], Mode) {
			src := NewSource[crashRecord](DSN(url), "origin")
			src.PageRows = 1000
			return src, Upsert
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := crash.Child(t, func(_ context.Context, dir string) error {
				url, err := os.ReadFile(filepath.Join(dir, "url"))
				if err != nil {
					return err
				}
				src, mode := source(dir, string(url))
				return crashCopy(string(url), src, mode)
			})
			url, restart := ownServer(t)
			require.NoError(t, os.WriteFile(filepath.Join(child.Dir, "url"), []byte(url), 0o600))
			l := crash.Ledger{Seed: rand.Uint64(), Records: 20_000}
			kills, crashes := 8, int64(2)
			if os.Getenv("WEAVER_PROOF") != "" {
				l.Records, kills, crashes = 200_000, 100, 10
			}
			o := &crashed{t: t, url: url, restart: restart, every: l.Records / (crashes + 1)}
			o.fill(filepath.Join(child.Dir, "in.ndjson"), l)
			check := func() error {
				tally, err := l.Check(crash.Rules{Order: crash.None}, l.Verified(o.output()))
				t.Logf("%+v", tally)
				return err
			}
			plan := crash.Plan{
				Kills: kills, Seed: l.Seed, Total: l.Records, Patience: time.Minute, Timeout: 20 * time.Minute, Progress: o.progress,
				Again: func() error { return errors.Join(check(), o.empty()) },
			}
			report, err := plan.Run(t.Context(), child)
			t.Logf("%v; the server crashed %d times under it, connections were cut %d times", report, o.crashes, o.cuts)
			require.NoError(t, err)
			require.GreaterOrEqual(t, o.crashes, crashes)
			require.NoError(t, check(), "seed %d", l.Seed)
		})
	}
}

// crashed is what the test does to the server, and what it sees of it.
type crashed struct {
	t       *testing.T
	url     string
	restart func() error
	conn    *pgx.Conn
	every   int64 // rows after which the server is crashed; its connections are cut three times as often
	at      int64
	asked   int

	crashes, cuts int64
}

// connect connects anew after a crash.
func (o *crashed) connect() (*pgx.Conn, error) {
	if o.conn != nil && !o.conn.IsClosed() {
		return o.conn, nil
	}
	conn, err := pgx.Connect(o.t.Context(), o.url)
	o.conn = conn
	return conn, err
}

// fill writes the ledger to a table and to a file.
func (o *crashed) fill(path string, l crash.Ledger) {
	o.t.Helper()
	conn, err := o.connect()
	require.NoError(o.t, err)
	o.t.Cleanup(func() { _ = o.conn.Close(context.Background()) })
	for _, table := range []string{"origin", "target"} {
		_, err := conn.Exec(o.t.Context(), strings.Replace(crashTable, "%s", table, 1))
		require.NoError(o.t, err)
	}
	f, err := os.Create(path)
	require.NoError(o.t, err)
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	next, stop := iter.Pull(l.All())
	defer stop()
	_, err = conn.CopyFrom(o.t.Context(), pgx.Identifier{"origin"}, []string{"n", "key", "data", "sum"}, pgx.CopyFromFunc(func() ([]any, error) {
		r, ok := next()
		if !ok {
			return nil, nil
		}
		return []any{r.N, r.Key, r.Data, int64(r.Sum)}, enc.Encode(crashRecord{r.N, r.Key, r.Data, r.Sum})
	}))
	require.NoError(o.t, err)
	require.NoError(o.t, w.Flush())
	require.NoError(o.t, f.Close())
}

// empty takes away what was written, and the checkpoints.
func (o *crashed) empty() error {
	conn, err := o.connect()
	if err == nil {
		_, err = conn.Exec(o.t.Context(), "TRUNCATE target, "+defaultCheckpoints)
	}
	o.at = 0
	return err
}

// progress is how many rows there are, now and then after a crash or a cut.
func (o *crashed) progress() (int64, error) {
	switch {
	case o.at >= (o.crashes+1)*o.every:
		o.crashes++
		if err := o.restart(); err != nil {
			return 0, err
		}
	case o.at >= o.every/6+o.cuts*o.every/3:
		o.cuts++
		if conn, err := o.connect(); err == nil {
			_, _ = conn.Exec(o.t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dataweaver'")
		}
	}
	if o.asked++; o.asked%10 != 1 { // a count is dear
		return o.at, nil
	}
	conn, err := o.connect()
	if err == nil {
		err = conn.QueryRow(o.t.Context(), "SELECT count(*) FROM target").Scan(&o.at)
	}
	if err != nil && conn != nil {
		_ = conn.Close(o.t.Context())
	}
	return o.at, nil //nolint:nilerr // it is down, and told so to the pipeline
}

// output yields the target.
func (o *crashed) output() iter.Seq2[crash.Record, error] {
	return func(yield func(crash.Record, error) bool) {
		_ = o.conn.Close(o.t.Context()) // which may be one of before a crash
		conn, err := o.connect()
		if err != nil {
			yield(crash.Record{}, err)
			return
		}
		rows, err := conn.Query(o.t.Context(), "SELECT n, key, data, sum FROM target ORDER BY n")
		if err != nil {
			yield(crash.Record{}, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			var r crash.Record
			var sum int64
			err := rows.Scan(&r.N, &r.Key, &r.Data, &sum)
			r.Sum = uint32(sum) //nolint:gosec // it was one
			if !yield(r, err) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(crash.Record{}, err)
		}
	}
}
