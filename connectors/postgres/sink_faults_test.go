package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/weavertest"
)

func sales(n int) []sale {
	all := make([]sale, n)
	for i := range all {
		all[i] = saleOf(i)
	}
	return all
}

// pipelineOf copies sales into a sink in batches of 5,000, quick to try again.
func pipelineOf(values []sale, s weaver.Sink[sale]) *weaver.Pipeline[sale, sale] {
	src := weavertest.NewSource(values...)
	p := weaver.Copy[sale](src, s)
	p.Name = "sales"
	p.BatchSize, p.BatchBytes = 5000, 64<<20
	p.Log = slog.New(slog.DiscardHandler)
	p.Retry = retry.Policy{Initial: 5 * time.Millisecond, Max: 50 * time.Millisecond}
	p.Require = weaver.ExactlyOnce
	return p
}

// requireSales checks that a table has the sales, each once.
func requireSales(t *testing.T, p *place, table string, want []sale) {
	t.Helper()
	got, err := p.salesOf(t.Context(), table)
	require.NoError(t, err)
	require.Len(t, got, len(want))
	for i := range want {
		if got[i].text() != want[i].text() {
			t.Fatalf("row %d is %s, want %s", i, got[i].text(), want[i].text())
		}
	}
}

// TestOneBadRow: of 5,000 rows one can't be written.
func TestOneBadRow(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		name string
		want string
	}{
		"constraint": {"forbidden", "sales_name_check"},
		"trigger":    {"explode", "boom (SQLSTATE P0001)"},
		"deferred":   {"later", "not later (SQLSTATE P0001)"},
		"NUL":        {"N\x00L", "has a NUL"},
	} {
		for _, mode := range []Mode{Upsert, Insert} {
			t.Run(fmt.Sprint(name, mode), func(t *testing.T) {
				t.Parallel()
				p := newPlace(t)
				p.exec(fmt.Sprintf(saleTable, "sales") + `; ALTER TABLE sales ADD CHECK (name <> 'forbidden');
					CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.name = ''explode'' THEN RAISE ''boom''; END IF; RETURN NEW; END';
					CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.name = ''later'' THEN RAISE ''not later''; END IF; RETURN NULL; END';
					CREATE TRIGGER f BEFORE INSERT ON sales FOR EACH ROW EXECUTE FUNCTION f();
					CREATE CONSTRAINT TRIGGER g AFTER INSERT ON sales DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION g()`)
				all := sales(5000)
				all[3210].Name = test.name
				s := NewSink[sale](p.db(), "sales")
				s.Mode = mode
				dead := weavertest.NewDeadLetters[sale]()
				run := pipelineOf(all, s)
				run.DeadLetter = dead
				require.NoError(t, run.Run(t.Context()))
				letters := dead.Values()
				require.Len(t, letters, 1)
				require.Equal(t, int64(3210), letters[0].Seq)
				require.Contains(t, letters[0].Error, test.want)
				requireSales(t, p, "sales", append(append([]sale(nil), all[:3210]...), all[3211:]...))
			})
		}
	}
}

// TestFatal: what somebody must see to stops the pipeline at once, and says what it is.
func TestFatal(t *testing.T) {
	t.Parallel()
	const canary = "Hunter2canary"
	p := newPlace(t)
	p.exec(fmt.Sprintf(saleTable, "sales") + "; CREATE ROLE " + p.schema + " LOGIN PASSWORD '" + canary + "'; GRANT USAGE, CREATE ON SCHEMA " + p.schema + " TO " + p.schema)
	p.cleanup("REASSIGN OWNED BY " + p.schema + " TO CURRENT_USER; DROP OWNED BY " + p.schema + "; DROP ROLE " + p.schema)
	_, host, _ := strings.Cut(p.url, "@")
	as := func(user, password string) string { return "postgres://" + user + ":" + password + "@" + host }
	for name, test := range map[string]struct {
		url, table, want string
	}{
		"no table":      {p.url, "none", "there is no such table"},
		"permission":    {as(p.schema, canary), "sales", "permission denied for table sales"},
		"password":      {as(p.schema, canary+"x"), "sales", "password authentication failed"},
		"user":          {as("nobody_such", canary), "sales", "password authentication failed"},
		"database":      {strings.Replace(p.url, "/postgres?", "/none_such?", 1), "sales", "does not exist"},
		"no DSN":        {" ", "sales", "the DSN is empty"},
		"no such words": {"host=127.0.0.1 password=" + canary + " sslmode=" + canary, "sales", "can't be parsed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := NewSink[sale](DSN(test.url), test.table)
			s.Checkpoints = "c_" + strings.ReplaceAll(name, " ", "_")
			err := pipelineOf(sales(3), s).Run(t.Context())
			require.ErrorContains(t, err, test.want)
			require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
			require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err.Error()), canary)
		})
	}
}

// TestNoSecretInErrors: whatever is wrong with a DSN, its password isn't said.
func TestNoSecretInErrors(t *testing.T) {
	t.Parallel()
	const canary = "Hunter2canary"
	for _, dsn := range []string{
		"postgres://u:" + canary + "@127.0.0.1:1/db",
		"postgres://u:" + canary + "@127.0.0.1:x/db",
		"postgres://u:a@" + canary + "@127.0.0.1:1/db",
		"postgres://u:5/" + canary + "@127.0.0.1:1/db",
		"postgres://u:%zz" + canary + "@127.0.0.1:1/db",
		"postgres://u:a b" + canary + "@127.0.0.1:1/db",
		"postgres://u:" + canary + "@127.0.0.1:1/db?sslmode=bad",
		"postgres://u:" + canary + "@127.0.0.1:1/db?connect_timeout=x",
		"postgres://u:" + canary + "@[::1/db",
		"postgres://u:" + canary + "@no.such.host.invalid/db",
		"postgresql://127.0.0.1:1/db?user=u&password=" + canary,
		"postgres://u@127.0.0.1:1/db?password=" + canary + "&sslmode=bad",
		"host=127.0.0.1 port=1 user=u password=" + canary,
		"host=127.0.0.1 port=x user=u password='" + canary + "'",
		"host=127.0.0.1 password='a b" + canary,
		"host=127.0.0.1 password = a\\ " + canary + " sslmode=bad",
		"u:" + canary + "@127.0.0.1/db",
		"mysql://u:" + canary + "@127.0.0.1/db",
		"password=" + canary,
		canary,
	} {
		s := NewSink[sale](DSN(dsn), "sales")
		s.ConnectTimeout = 2 * time.Second
		_, err := s.OpenWriter(t.Context(), weaver.Lane{})
		require.Error(t, err, dsn)
		for e := err; e != nil; e = errors.Unwrap(e) {
			require.NotContains(t, e.Error(), canary, dsn)
		}
		require.NotContains(t, fmt.Sprintf("%v %+v", err, err), canary, dsn)
		_, _, err = NewStore(DSN(dsn)).Load(t.Context(), "k")
		require.Error(t, err, dsn)
		require.NotContains(t, err.Error(), canary, dsn)
	}
}

// TestLostConnections: the sessions of a run are ended again and again.
func TestLostConnections(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(strings.Replace(fmt.Sprintf(saleTable, "sales"), " PRIMARY KEY", "", 1))
	all := sales(20_000)
	s := NewSink[sale](DSN(withParameter(p.url, "application_name", p.schema)), "sales")
	s.Mode = Insert
	s.CommitRows = 500
	run := pipelineOf(all, s)
	run.BatchSize = 250
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int)
	killer := p.connect(p.url)
	go func() {
		n := 0
		for ctx.Err() == nil {
			var hit int
			err := killer.QueryRow(context.Background(), "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1 AND state <> 'idle'", p.schema).Scan(&hit)
			if err == nil {
				n += hit
			}
			time.Sleep(20 * time.Millisecond)
		}
		ended <- n
	}()
	err := run.Run(t.Context())
	cancel()
	require.Positive(t, <-ended, "no session was ended")
	require.NoError(t, err)
	requireSales(t, p, "sales", all)
}

// TestCommitsAreCut: the connection is lost right before or right after each third commit. The table has no key that would hide a
// row that came twice.
func TestCommitsAreCut(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Insert, Upsert} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			table := fmt.Sprintf(saleTable, "sales") + "; CREATE TABLE seen (id bigint); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS " +
				"'BEGIN INSERT INTO seen VALUES (NEW.id); RETURN NULL; END'; CREATE TRIGGER f AFTER INSERT OR UPDATE ON sales FOR EACH ROW EXECUTE FUNCTION f()"
			if mode == Insert {
				table = strings.Replace(table, " PRIMARY KEY", "", 1)
			}
			p.exec(table)
			all := sales(5000)
			through, url := newProxy(t, p.url, func(commit int) cut { return [...]cut{never, afterCommit, beforeCommit, never}[commit%4] })
			s := NewSink[sale](DSN(url), "sales")
			s.Mode = mode
			s.CommitRows = 100
			run := pipelineOf(all, s)
			run.BatchSize = 50
			require.NoError(t, run.Run(t.Context()))
			requireSales(t, p, "sales", all)
			require.Equal(t, "5000|5000", p.one("SELECT count(*), count(DISTINCT id) FROM seen"), "each row was written in one committed transaction")
			through.mu.Lock()
			defer through.mu.Unlock()
			require.GreaterOrEqual(t, through.cuts[beforeCommit], 10)
			require.GreaterOrEqual(t, through.cuts[afterCommit], 10)
		})
	}
}

// TestZombie: a writer that was overtaken changes nothing any more, whether its session was ended or not.
func TestZombie(t *testing.T) {
	t.Parallel()
	for name, hidden := range map[string]bool{"its session is ended": false, "its session can't be seen": true} {
		for _, call := range []string{"Write", "Commit"} {
			t.Run(name+" "+call, func(t *testing.T) {
				t.Parallel()
				p := newPlace(t)
				p.exec(fmt.Sprintf(saleTable, "sales"))
				s := NewSink[sale](p.db(), "sales")
				old, _ := openWriter(t, s, "z")
				put(t, old, saleOf(0))
				stale := saleOf(1)
				stale.Name = "stale"
				require.NoError(t, old.Write(t.Context(), batchOf(stale)), "a transaction that holds locks")
				if hidden {
					p.exec("UPDATE weaver_checkpoints SET owner_pid = NULL")
				}

				begin := time.Now()
				w, envelope := openWriter(t, s, "z")
				require.Equal(t, "e", string(envelope))
				fresh := saleOf(1)
				if hidden {
					fresh = saleOf(2) // nobody waits for the lock
				}
				put(t, w, fresh)
				require.Less(t, time.Since(begin), 15*time.Second)

				var err error
				if call == "Write" {
					if err = old.Write(t.Context(), batchOf(saleOf(5))); hidden {
						require.NoError(t, err, "it can't know yet")
						err = old.Commit(t.Context(), []byte("late"))
					}
				} else {
					err = old.Commit(t.Context(), []byte("late"))
				}
				require.ErrorIs(t, err, weaver.ErrFenced)
				require.ErrorIs(t, old.Commit(t.Context(), []byte("later")), weaver.ErrFenced)
				require.NoError(t, old.Close())
				requireSales(t, p, "sales", []sale{saleOf(0), fresh})
				put(t, w, saleOf(3))
				require.Equal(t, "e", p.one("SELECT convert_from(value, 'UTF8') FROM weaver_checkpoints"))
			})
		}
	}
}

// TestDeadlock: the one whom the server picks gets an error that is tried again.
func TestDeadlock(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(fmt.Sprintf(saleTable, "sales"))
	s := NewSink[sale](p.db(), "sales")
	a, _ := openWriter(t, s, "a")
	b, _ := openWriter(t, s, "b")
	require.NoError(t, a.Write(t.Context(), batchOf(saleOf(1))))
	require.NoError(t, b.Write(t.Context(), batchOf(saleOf(2))))
	errs := make(chan error, 2)
	go func() { errs <- a.Write(t.Context(), batchOf(saleOf(2))) }()
	go func() { errs <- b.Write(t.Context(), batchOf(saleOf(1))) }()
	err := <-errs
	require.Equal(t, "40P01", sqlState(err), err)
	require.Equal(t, retry.ClassUnmarked, retry.ClassOf(err))
	var batch *weaver.BatchError
	require.NotErrorAs(t, err, &batch)
	broken := a
	if a.err == nil {
		broken = b
	}
	require.NoError(t, broken.Close(), "which lets go of its locks")
	require.NoError(t, <-errs)
}

// TestTableChanges: a table is altered under a writer that has a plan.
func TestTableChanges(t *testing.T) {
	t.Parallel()
	type small struct {
		ID int32
		N  int32
	}
	for name, test := range map[string]struct {
		sql   string
		class retry.Class // of the next Write; unmarked: none
		want  string
	}{
		"added":        {"ALTER TABLE t ADD COLUMN more text DEFAULT 'x'", retry.ClassUnmarked, ""},
		"same size":    {"ALTER TABLE t ALTER n TYPE real", retry.ClassTransient, "was altered"},
		"wider":        {"ALTER TABLE t ALTER n TYPE bigint", retry.ClassTransient, "was altered"},
		"swapped":      {"ALTER TABLE t RENAME n TO x; ALTER TABLE t ADD n int", retry.ClassUnmarked, ""},
		"column gone":  {"ALTER TABLE t DROP COLUMN n", retry.ClassTransient, "was altered"},
		"table gone":   {"DROP TABLE t", retry.ClassFatal, "dropped or renamed"},
		"renamed":      {"ALTER TABLE t RENAME TO u", retry.ClassFatal, "dropped or renamed"},
		"another's":    {"ALTER TABLE t RENAME TO u; CREATE TABLE t (id real PRIMARY KEY, n real)", retry.ClassTransient, "was altered"},
		"another type": {"ALTER TABLE t ALTER n TYPE date USING NULL", retry.ClassTransient, "was altered"},
	} {
		for _, mode := range []Mode{Insert, Upsert} {
			t.Run(fmt.Sprint(name, mode), func(t *testing.T) {
				t.Parallel()
				p := newPlace(t)
				p.exec("CREATE TABLE t (id int PRIMARY KEY, n int)")
				s := NewSink[small](p.db(), "t")
				s.Mode = mode
				w, _ := openWriter(t, s, "t")
				put(t, w, small{1, 1_000_000_001})
				p.exec(test.sql)
				err := w.Write(t.Context(), batchOf(small{2, 7}))
				wrong := test.class
				if mode == Upsert && (name == "same size" || name == "wider" || name == "another's") {
					wrong = retry.ClassUnmarked // a statement says what it means, and the server converts it
				}
				if wrong == retry.ClassUnmarked {
					require.NoError(t, err)
					require.NoError(t, w.Commit(t.Context(), nil))
					require.Equal(t, "7", p.one("SELECT n FROM t WHERE id = 2"))
					return
				}
				require.Equal(t, wrong, retry.ClassOf(err), err)
				require.ErrorContains(t, err, test.want)
			})
		}
	}
}

// TestStoreOfAnotherSink: a sink that keeps no checkpoint itself uses the store.
func TestStoreOfAnotherSink(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	out := weavertest.NewSink[sale]()
	store := NewStore(p.db())
	defer store.Close()
	for _, n := range []int{100, 250} {
		run := pipelineOf(sales(n), out)
		run.Require = 0
		run.BatchSize = 10
		run.Checkpoint = store
		require.NoError(t, run.Run(t.Context()))
	}
	require.Len(t, out.Values(), 250, "the second run goes on where the first one ended")
	require.Equal(t, "1", p.one("SELECT count(*) FROM weaver_checkpoints WHERE key = 'sales' AND version > 1"))
}
