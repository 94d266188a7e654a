package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

func TestSourceDeleted(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(`CREATE TABLE d (id int PRIMARY KEY, gone boolean, gone_at timestamptz);
		INSERT INTO d VALUES (1, false, NULL), (2, true, now()), (3, NULL, NULL), (4, true, 'infinity')`)
	for _, column := range []string{"gone", "gone_at"} {
		src := NewSource[struct{ ID int }](p.db(), "d") // the column isn't in the struct
		src.Deleted = column
		records, _ := readAll(t, src, lane(nil), 0)
		var ops []weaver.Op
		for _, r := range records {
			ops = append(ops, r.Op)
		}
		require.Equal(t, []weaver.Op{weaver.Upsert, weaver.Delete, weaver.Upsert, weaver.Delete}, ops)
		require.Equal(t, []string{"1", "2", "3", "4"}, keysOf(records))
	}
}

func TestSourceColumns(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(`CREATE TABLE c (a int, b text, "C" int, PRIMARY KEY (b, a)); INSERT INTO c VALUES (1, 'x', 2)`)
	src := NewSource[row.Row](p.db(), "c")
	src.Columns = []string{"C"}
	records, _ := readAll(t, src, lane(nil), 0)
	require.Equal(t, 1, records[0].Value.Columns.Len())
	require.Equal(t, int64(2), records[0].Value.Get("C").Int())
	require.Equal(t, `["x","1"]`, string(records[0].Key))
	require.Equal(t, row.Column{Name: "C", Kind: row.KindInt, Type: "integer", Nullable: true}, records[0].Value.Columns.At(0))

	maps, _ := readAll(t, NewSource[map[string]any](p.db(), "c"), lane(nil), 0)
	require.Equal(t, map[string]any{"a": int64(1), "b": "x", "C": int64(2)}, maps[0].Value)

	for _, c := range []struct {
		columns []string
		want    string
	}{{[]string{"none"}, "no column"}, {[]string{"a", "a"}, "twice"}, {[]string{""}, "empty"}} {
		src.Columns = c.columns
		_, err := src.OpenReader(t.Context(), lane(nil))
		require.ErrorContains(t, err, c.want)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
}

// TestSourceRejects: a row that T can't hold is rejected, and the others are read.
func TestSourceRejects(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec("CREATE TABLE r (id bigint PRIMARY KEY, n bigint); INSERT INTO r VALUES (1, 1), (2, 300), (3, NULL), (4, 4)")
	type small struct {
		ID int64
		N  int8
	}
	records, marks, rejects, err := tryRead(t.Context(), NewSource[small](p.db(), "r"), lane(nil), 1)
	require.NoError(t, err)
	require.Equal(t, []string{"1", "4"}, keysOf(records))
	require.Len(t, rejects, 2)
	require.ErrorContains(t, rejects[0].Err, `"n"`)
	require.Equal(t, int64(2), rejects[0].Seq)
	require.Contains(t, string(rejects[0].Raw), "300")
	require.Len(t, marks, 5)

	type wrong struct {
		ID time.Time
		N  int8
	}
	_, _, _, err = tryRead(t.Context(), NewSource[wrong](p.db(), "r"), lane(nil), 1)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	require.ErrorContains(t, err, `"id"`)
	type more struct{ ID, N, M int64 }
	require.ErrorContains(t, NewSource[more](p.db(), "r").CheckHealth(t.Context()), "M")
	require.NoError(t, NewSource[small](p.db(), "r").CheckHealth(t.Context()))
	require.Error(t, NewSource[small](p.db(), "q").CheckHealth(t.Context()))
	_, err = NewSource[int](p.db(), "r").OpenReader(t.Context(), lane(nil))
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
}

// TestSourcePool: a connection is taken out of the pool for good.
func TestSourcePool(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.items(10)
	pool, err := pgxpool.New(t.Context(), p.url)
	require.NoError(t, err)
	defer pool.Close()
	records, _ := readAll(t, NewSource[item](Pool(pool), "items"), lane(nil), 3)
	require.Len(t, records, 10)
	var readOnly string
	require.NoError(t, pool.QueryRow(t.Context(), "SHOW default_transaction_read_only").Scan(&readOnly))
	require.Equal(t, "off", readOnly)
}

func TestSourcePositions(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.items(10)
	src := NewSource[item](p.db(), "items")
	_, marks := readAll(t, src, lane(nil), 3)
	open := func(set func(*Source[item]), at weaver.Position) error {
		s := *src
		set(&s)
		r, err := s.OpenReader(t.Context(), lane(at))
		if err == nil {
			require.NoError(t, r.Close())
		}
		return err
	}
	for _, c := range []struct {
		name, want string
		set        func(*Source[item])
		at         weaver.Position
	}{
		{"foreign", "none of this source's", func(*Source[item]) {}, weaver.Position("x")},
		{"empty", "none of this source's", func(*Source[item]) {}, weaver.Position{}},
		{"cut", "none of this source's", func(*Source[item]) {}, marks[0].position[:len(marks[0].position)-1]},
		{"longer", "none of this source's", func(*Source[item]) {}, append(append(weaver.Position{}, marks[0].position...), 0)},
		{"later release", "version 9", func(*Source[item]) {}, append(weaver.Position{9}, marks[0].position[1:]...)},
		{"followed now", "without Follow", func(s *Source[item]) { s.Follow = true }, marks[0].position},
	} {
		err := open(c.set, c.at)
		require.ErrorContains(t, err, c.want, c.name)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
	p.exec("ALTER TABLE items ALTER id DROP IDENTITY; ALTER TABLE items ALTER id TYPE text")
	require.ErrorContains(t, open(func(*Source[item]) {}, marks[0].position), `column "id"`)
}

func TestSourceLag(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(lateTable)
	p.exec("INSERT INTO late (name, at) VALUES ('x', now() - interval '1 hour')")
	src := NewSource[late](p.db(), "late")
	src.Follow, src.Cursor, src.PollEvery = true, "at", tick
	r, err := src.OpenReader(t.Context(), lane(nil))
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	lags, ok := weaver.As[weaver.LagReporter](r)
	require.True(t, ok)
	require.Equal(t, weaver.UnknownLag, lags.Lag())
	b := weaver.NewBatch[late](1, 0)
	_, err = r.Read(t.Context(), b)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return lags.Lag() == weaver.Lag{} }, soon, tick)

	open := p.connect(p.url) // from now on nothing more is read
	_, err = open.Exec(t.Context(), "BEGIN; SELECT now()")
	require.NoError(t, err)
	p.exec("INSERT INTO late (name) VALUES ('y')")
	require.Eventually(t, func() bool { return lags.Lag().Time > 50*time.Minute }, soon, tick)
	_, err = open.Exec(t.Context(), "COMMIT")
	require.NoError(t, err)
	b.Reset()
	_, err = r.Read(t.Context(), b)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return lags.Lag() == weaver.Lag{} }, soon, tick)
}

// TestSourceTimeouts: no statement goes on for ever, and ctx ends Read.
func TestSourceTimeouts(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	src := &Source[map[string]any]{db: p.db(), Query: "SELECT g, pg_sleep(g) FROM generate_series(0, 60, 20) g", Key: []string{"g"}}
	src.StatementTimeout = 300 * time.Millisecond
	began := time.Now()
	_, _, _, err := tryRead(t.Context(), src, lane(nil), 0)
	require.ErrorContains(t, err, "statement timeout")
	require.Equal(t, retry.ClassUnmarked, retry.ClassOf(err), "it is an outage")
	require.Less(t, time.Since(began), 15*time.Second)

	p.items(3)
	lock := p.connect(p.url)
	_, err = lock.Exec(t.Context(), "BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	locked := NewSource[item](p.db(), "items")
	r, err := locked.OpenReader(t.Context(), lane(nil))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began = time.Now()
	_, err = r.Read(ctx, weaver.NewBatch[item](0, 0))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, r.Close())
	require.Less(t, time.Since(began), 15*time.Second)

	locked.LockTimeout = 200 * time.Millisecond
	_, _, _, err = tryRead(t.Context(), locked, lane(nil), 0)
	require.ErrorContains(t, err, "lock timeout")
	require.Equal(t, retry.ClassUnmarked, retry.ClassOf(err))
}

// TestProofSourceMemory: however large a table is, reading it takes no more memory.
func TestProofSourceMemory(t *testing.T) {
	n := 300_000
	if os.Getenv("WEAVER_PROOF") != "" {
		n = 10_000_000
	}
	p := newPlace(t)
	p.exec(fmt.Sprintf("CREATE UNLOGGED TABLE big (id bigint PRIMARY KEY, name text NOT NULL, note text NOT NULL); INSERT INTO big SELECT g, md5(g::text), 'a note ' || g FROM generate_series(1, %d) g", n))
	type big struct {
		ID         int64
		Name, Note string
	}
	r, err := NewSource[big](p.db(), "big").OpenReader(t.Context(), lane(nil))
	require.NoError(t, err)
	b := weaver.NewBatch[big](1000, 1<<20)
	var most uint64
	read := 0
	began := time.Now()
	for step := 0; ; step++ {
		b.Reset()
		_, err := r.Read(t.Context(), b)
		for i := range b.Records {
			require.Equal(t, int64(read+i+1), b.Records[i].Value.ID)
		}
		read += len(b.Records)
		if step%max(n/20_000, 1) == 0 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
			if step%max(n/4_000, 1) == 0 {
				t.Logf("%9d rows: %.1f MiB of heap, %.1f MiB from the system; resident: %s", read, float64(m.HeapAlloc)/(1<<20), float64(m.Sys)/(1<<20), resident())
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	require.NoError(t, r.Close())
	require.Equal(t, n, read)
	t.Logf("%d rows in %v, at most %.1f MiB of heap", read, time.Since(began), float64(most)/(1<<20))
	require.Less(t, most, uint64(40<<20))
}

// resident is how much memory the process has, as the system counts it, where that can be read.
func resident() string {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	size, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(size)
}

// TestSourceWideRows: pages of wide rows are smaller, and a slow consumer doesn't make them pile up.
func TestSourceWideRows(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec("CREATE TABLE wide (id int PRIMARY KEY, data text NOT NULL); INSERT INTO wide SELECT g, repeat('x', CASE WHEN g < 600 THEN 10 ELSE 500000 END) FROM generate_series(1, 700) g")
	src := NewSource[row.Row](p.db(), "wide")
	r, err := src.OpenReader(t.Context(), lane(nil))
	require.NoError(t, err)
	f := r.(*reader[row.Row]).fetcher
	time.Sleep(500 * time.Millisecond)
	require.LessOrEqual(t, f.memory.Load(), int64(maxBlocks*blockBytes+2*500_000+1000))
	n := 0
	for {
		b := weaver.NewBatch[row.Row](10, 1<<20)
		_, err := r.Read(t.Context(), b)
		require.LessOrEqual(t, len(b.Records), 10)
		n += len(b.Records)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	require.Equal(t, 700, n)
	require.NoError(t, r.Close())
}
