package postgres

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// follower runs a follower of table late, and returns what it has read by now.
func follower(t *testing.T, p *place, set func(*Source[late])) (names func() []string) {
	t.Helper()
	src := NewSource[late](p.db(), "late")
	src.Follow, src.PollEvery, src.Slack = true, 5*time.Millisecond, 50*time.Millisecond
	set(src)
	sink := weavertest.NewSink[late]()
	r := run(t, weaver.Source[late](src), weaver.Sink[late](sink), nil)
	t.Cleanup(func() { require.NoError(t, r.end()) })
	return func() []string {
		var names []string
		for _, v := range sink.Values() {
			names = append(names, v.Name)
		}
		return names
	}
}

const (
	soon  = time.Minute
	tick  = 5 * time.Millisecond
	while = 400 * time.Millisecond // in which a follower looks several times
)

// TestFollowWaits: what is committed isn't read while a transaction is open that may write what comes before it.
func TestFollowWaits(t *testing.T) {
	t.Parallel()
	const partitioned = `CREATE TABLE parent (id bigserial, name text NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (id)) PARTITION BY RANGE (id);
		CREATE TABLE late PARTITION OF parent FOR VALUES FROM (0) TO (1000000)`
	const parent = `CREATE TABLE late (id bigserial, name text NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (id)) PARTITION BY RANGE (id);
		CREATE TABLE child PARTITION OF late FOR VALUES FROM (0) TO (1000000)`
	const stamps = "CREATE TABLE late (id bigserial PRIMARY KEY, name text NOT NULL, at timestamp NOT NULL DEFAULT now()::timestamp)"
	at := func(s *Source[late]) { s.Cursor = "at" }
	tests := []struct {
		name, table string
		set         func(*Source[late])
		open        string // in a transaction that stays open
		prepare     bool
		before      string // likewise, before its end
		want        []string
	}{
		{"insert", lateTable, nil, "INSERT INTO late (name) VALUES ('late')", false, "", []string{"late", "quick"}},
		{"insert, prepared", lateTable, nil, "INSERT INTO late (name) VALUES ('late')", true, "", []string{"late", "quick"}},
		{"insert by the parent", partitioned, nil, "INSERT INTO parent (name) VALUES ('late')", false, "", []string{"late", "quick"}},
		{"about to insert by the parent", partitioned, nil, "LOCK TABLE ONLY parent IN ROW EXCLUSIVE MODE; SELECT nextval('parent_id_seq')", false, "INSERT INTO parent (id, name) VALUES (currval('parent_id_seq'), 'late')", []string{"late", "quick"}},
		{"insert into a child", parent, nil, "INSERT INTO child (id, name) VALUES (nextval('late_id_seq'), 'late')", false, "", []string{"late", "quick"}},
		{"two ranges", lateTable, func(s *Source[late]) { s.Ranges = 2 }, "INSERT INTO late (name) VALUES ('late')", false, "", []string{"late", "quick"}},
		{"begun", lateTable, at, "SELECT now()", false, "INSERT INTO late (name) VALUES ('late')", []string{"late", "quick"}},
		{"begun, prepared", lateTable, at, "INSERT INTO late (name) VALUES ('late')", true, "", []string{"late", "quick"}},
		{"begun, no time zone", stamps, at, "SELECT now()", false, "INSERT INTO late (name) VALUES ('late')", []string{"late", "quick"}},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			p.exec(c.table)
			open := p.connect(p.url)
			do := func(sql string) {
				_, err := open.Exec(t.Context(), sql)
				require.NoError(t, err)
			}
			do("BEGIN")
			do(c.open)
			names := follower(t, p, func(s *Source[late]) {
				if c.set != nil {
					c.set(s)
				}
			})
			p.exec("INSERT INTO late (name) VALUES ('quick')")
			require.Never(t, func() bool { return len(names()) > 0 }, while, tick)
			if c.before != "" {
				do(c.before)
			}
			commit := "COMMIT"
			if c.prepare {
				do("PREPARE TRANSACTION '" + p.schema + "'")
				commit = "COMMIT PREPARED '" + p.schema + "'"
				time.Sleep(while)
				if len(names()) > 0 {
					do("ROLLBACK PREPARED '" + p.schema + "'")
					t.Fatalf("%q was read while a transaction is prepared", names())
				}
			}
			do(commit)
			require.Eventually(t, func() bool { return len(names()) == len(c.want) }, soon, tick)
			require.Equal(t, c.want, names())
		})
	}
}

// TestFollowComplains: a transaction that stays open is logged, once, with its process.
func TestFollowComplains(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(lateTable)
	open := p.connect(p.url)
	_, err := open.Exec(t.Context(), "BEGIN; INSERT INTO late (name) VALUES ('late')")
	require.NoError(t, err)
	src := NewSource[late](p.db(), "late")
	src.Follow, src.PollEvery, src.complain = true, tick, while
	sink := weavertest.NewSink[late]()
	log := &lines{}
	r := run(t, weaver.Source[late](src), weaver.Sink[late](sink), func(p *weaver.Pipeline[late, late]) { p.Log = slog.New(slog.NewTextHandler(log, nil)) })
	p.exec("INSERT INTO late (name) VALUES ('quick')")
	complaint := fmt.Sprintf("processes=[%d]", open.PgConn().PID())
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "transactions stay open") }, soon, tick)
	time.Sleep(while)
	require.Equal(t, 1, strings.Count(log.String(), complaint), log.String())
	require.Empty(t, sink.Values())
	_, err = open.Exec(t.Context(), "COMMIT")
	require.NoError(t, err)
	waitFor(t, sink, 2)
	require.NoError(t, r.end())
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestFollowDoesNotWait: for transactions that can't write what comes before.
func TestFollowDoesNotWait(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(lateTable + "; CREATE TABLE other (id int)")
	open := p.connect(p.url)
	_, err := open.Exec(t.Context(), "BEGIN; SELECT * FROM late; INSERT INTO other VALUES (1); SELECT nextval('late_id_seq')")
	require.NoError(t, err)
	names := follower(t, p, func(*Source[late]) {})
	p.exec("INSERT INTO late (name) VALUES ('quick')")
	require.Eventually(t, func() bool { return len(names()) == 1 }, soon, tick)
}

// TestFollowSlack: a time is read only when it is as old as Slack, and not before it has come.
func TestFollowSlack(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(lateTable)
	names := follower(t, p, func(s *Source[late]) { s.Cursor, s.Slack = "at", 700*time.Millisecond })
	p.exec("INSERT INTO late (name, at) VALUES ('2099', '2099-01-01'), ('infinity', 'infinity'), ('old', '2000-01-01'), ('now', now())")
	began := time.Now()
	require.Eventually(t, func() bool { return len(names()) == 2 }, soon, tick)
	require.Greater(t, time.Since(began), 500*time.Millisecond)
	p.exec("INSERT INTO late (name) VALUES ('later')")
	require.Eventually(t, func() bool { return len(names()) == 3 }, soon, tick)
	require.Equal(t, []string{"old", "now", "later"}, names())
}

// TestWaiting: a transaction that is prepared may go by another name.
func TestWaiting(t *testing.T) {
	t.Parallel()
	w := newWaiting(blockers{"3/1": "11", "3/2": "12", "-1/5": prepared})
	w.look(blockers{"3/1": "11", "3/2": "12", "-1/5": prepared, "3/9": "13", "-1/6": prepared}) // these are new, and nobody's
	require.Equal(t, blockers{"3/1": "11", "3/2": "12", "-1/5": prepared}, w.open)
	w.look(blockers{"3/1": "11", "-1/5": prepared, "-1/6": prepared, "-1/7": prepared}) // 3/2 may be either
	require.Equal(t, blockers{"3/1": "11", "-1/5": prepared, "-1/6": prepared, "-1/7": prepared}, w.open)
	w.look(blockers{"3/1": "11", "-1/7": prepared, "-1/8": prepared}) // prepared ones don't change their name again
	require.Equal(t, blockers{"3/1": "11", "-1/7": prepared}, w.open)
	w.look(blockers{"-1/7": prepared})
	require.Equal(t, blockers{"-1/7": prepared}, w.open)
	w.look(blockers{"-1/9": prepared})
	require.Empty(t, w.open)
}

// TestFollowRefuses: what can't be followed without missing rows is refused.
func TestFollowRefuses(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(`CREATE TABLE plain (id bigserial PRIMARY KEY, name text NOT NULL, day date NOT NULL DEFAULT now(), at timestamptz DEFAULT now());
		CREATE TABLE cached (id bigint GENERATED ALWAYS AS IDENTITY (CACHE 10) PRIMARY KEY);
		CREATE SEQUENCE drawn CACHE 5; CREATE TABLE defaulted (id bigint PRIMARY KEY DEFAULT nextval('drawn'));
		CREATE SEQUENCE down INCREMENT -1; CREATE TABLE descends (id bigint PRIMARY KEY DEFAULT nextval('down'));
		CREATE TABLE cycles (id bigint GENERATED ALWAYS AS IDENTITY (MAXVALUE 9 CYCLE) PRIMARY KEY);
		CREATE TABLE words (word text PRIMARY KEY); CREATE MATERIALIZED VIEW mat AS SELECT 1 AS id`)
	for i, c := range []struct{ table, cursor, want string }{
		{"plain", "name", "must be an integer or a timestamp"},
		{"plain", "day", "must be an integer or a timestamp"},
		{"plain", "at", "may be NULL"},
		{"plain", "none", "which Cursor names"},
		{"cached", "", "draws 10 values at a time"},
		{"defaulted", "id", "draws 5 values at a time"},
		{"descends", "", "descend"},
		{"cycles", "", "begins anew"},
		{"words", "", "without a Cursor"},
		{"mat", "id", "can't be followed"},
	} {
		t.Run(fmt.Sprint(i, c.table), func(t *testing.T) {
			t.Parallel()
			src := NewSource[map[string]any](p.db(), c.table)
			src.Follow, src.Cursor = true, c.cursor
			if c.table == "mat" {
				src.Key = []string{"id"}
			}
			_, err := src.OpenReader(t.Context(), lane(nil))
			require.Error(t, err)
			require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
			require.Contains(t, err.Error(), c.want)
		})
	}
}

// TestFollowQuery: a query is followed as well, and waits for all transactions.
func TestFollowQuery(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(lateTable)
	src := &Source[late]{db: p.db(), Query: "SELECT id, name, at FROM late WHERE name <> 'no'", Key: []string{"id"}, Follow: true, PollEvery: tick}
	sink := weavertest.NewSink[late]()
	r := run(t, weaver.Source[late](src), weaver.Sink[late](sink), nil)
	p.exec("INSERT INTO late (name) VALUES ('a'), ('no'), ('b')")
	require.NoError(t, sink.Wait(t.Context(), 2))
	require.NoError(t, r.end())
}

// TestFollowFinish: Finish reads what is there, even if it must wait for it.
func TestFollowFinish(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(lateTable)
	open := p.connect(p.url)
	_, err := open.Exec(t.Context(), "BEGIN; INSERT INTO late (name) VALUES ('late')")
	require.NoError(t, err)
	p.exec("INSERT INTO late (name) VALUES ('quick')")
	src := NewSource[late](p.db(), "late")
	src.Follow, src.PollEvery = true, time.Minute
	r, err := src.OpenReader(t.Context(), lane(nil))
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	f, ok := weaver.As[weaver.Finisher](r)
	require.True(t, ok)
	require.NoError(t, f.Finish(t.Context()))
	committed := make(chan struct{})
	go func() {
		defer close(committed)
		time.Sleep(200 * time.Millisecond)
		_, _ = open.Exec(context.Background(), "COMMIT")
	}()
	defer func() { <-committed }()
	b := weaver.NewBatch[late](0, 0)
	for {
		_, err := r.Read(t.Context(), b)
		if err == io.EOF { //nolint:errorlint // the contract is io.EOF itself
			break
		}
		require.NoError(t, err)
	}
	require.Equal(t, []string{"1", "2"}, keysOf(b.Records))
}

// TestFollowAsAnyone: who follows needs no right but to read the table.
func TestFollowAsAnyone(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(lateTable)
	role := p.schema + "_reader"
	p.exec(fmt.Sprintf("CREATE ROLE %[1]s LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA %[2]s TO %[1]s; GRANT SELECT ON late TO %[1]s", role, p.schema))
	p.cleanup("DROP OWNED BY " + role + "; DROP ROLE " + role)
	u, err := url.Parse(p.url)
	require.NoError(t, err)
	u.User = url.UserPassword(role, "secret")
	for _, cursor := range []string{"id", "at"} {
		p.exec("TRUNCATE late")
		open := p.connect(p.url)
		_, err = open.Exec(t.Context(), "BEGIN; INSERT INTO late (name) VALUES ('late')")
		require.NoError(t, err)
		names := follower(t, p, func(s *Source[late]) { s.db, s.Cursor = DSN(u.String()), cursor })
		p.exec("INSERT INTO late (name) VALUES ('quick')")
		require.Never(t, func() bool { return len(names()) > 0 }, while, tick)
		_, err = open.Exec(t.Context(), "COMMIT")
		require.NoError(t, err)
		require.Eventually(t, func() bool { return len(names()) == 2 }, soon, tick)
	}
}

// TestFollowWaitsForItsDatabase: transactions of other databases don't hold a follower up.
func TestFollowWaitsForItsDatabase(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(lateTable)
	elsewhere, err := url.Parse(p.url)
	require.NoError(t, err)
	elsewhere.Path = "/template1"
	open := p.connect(elsewhere.String())
	_, err = open.Exec(t.Context(), "BEGIN; SELECT now()")
	require.NoError(t, err)
	names := follower(t, p, func(s *Source[late]) { s.Cursor = "at" })
	p.exec("INSERT INTO late (name) VALUES ('quick')")
	require.Eventually(t, func() bool { return len(names()) == 1 }, soon, tick)
}
