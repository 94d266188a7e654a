package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// running is a pipeline that runs beside a test.
type running struct {
	stop context.CancelFunc
	done chan error
}

// run copies a source to a sink until the test, or stop, ends it.
func run[T any](t testing.TB, src weaver.Source[T], sink weaver.Sink[T], with func(*weaver.Pipeline[T, T])) *running {
	t.Helper()
	p := weaver.Copy(src, sink)
	p.Log = slog.New(slog.DiscardHandler)
	p.CheckpointInterval = 50 * time.Millisecond
	p.Retry = retry.Policy{Initial: 10 * time.Millisecond, Max: 100 * time.Millisecond}
	if with != nil {
		with(p)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{stop: stop, done: make(chan error, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.done <- p.Run(ctx)
	}()
	t.Cleanup(func() {
		r.stop()
		<-ended
	})
	return r
}

// end stops the pipeline, and returns what it has ended with.
func (r *running) end() error {
	r.stop()
	err := <-r.done
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// writers is how late commits are made: rows of table late, by many transactions at once, of which some roll back and some
// are prepared first.
type writers struct {
	p       *place
	n       int // of them
	rows    int // that are committed, at least
	insert  string
	longest time.Duration

	mu        sync.Mutex
	committed []string // what each committed row is
	count     atomic.Int64
}

// write runs the writers until there are enough rows.
func (w *writers) write(ctx context.Context) error {
	errs := make(chan error, w.n)
	for i := range w.n {
		go func() { errs <- w.writer(ctx, i) }()
	}
	var err error
	for range w.n {
		err = errors.Join(err, <-errs)
	}
	return err
}

func (w *writers) writer(ctx context.Context, id int) error {
	conn, err := pgx.Connect(ctx, w.p.url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.Background()) }()
	random := rand.New(rand.NewPCG(uint64(id), 1))
	for k := 0; w.count.Load() < int64(w.rows); k++ {
		if _, err := conn.Exec(ctx, "BEGIN"); err != nil {
			return err
		}
		var mine []string
		for j := range 1 + random.IntN(3) {
			name := fmt.Sprintf("%d-%d-%d", id, k, j)
			many := 1 + random.IntN(30)
			if _, err := conn.Exec(ctx, w.insert, name, many); err != nil {
				return err
			}
			for m := range many {
				mine = append(mine, fmt.Sprintf("%s-%d", name, m+1))
			}
			w.wait(ctx, random)
		}
		commit := "COMMIT"
		switch random.IntN(10) {
		case 0:
			commit = "ROLLBACK"
			mine = nil
		case 1:
			gid := fmt.Sprintf("%s-%d-%d", w.p.schema, id, k)
			if _, err := conn.Exec(ctx, "PREPARE TRANSACTION '"+gid+"'"); err != nil {
				if sqlState(err) == "53200" || sqlState(err) == "55000" { // max_prepared_transactions: it is rolled back
					continue
				}
				return err
			}
			w.wait(ctx, random)
			commit = "COMMIT PREPARED '" + gid + "'"
		}
		if _, err := conn.Exec(ctx, commit); err != nil {
			return err
		}
		w.mu.Lock()
		w.committed = append(w.committed, mine...)
		w.mu.Unlock()
		w.count.Add(int64(len(mine)))
	}
	return nil
}

func (w *writers) wait(ctx context.Context, random *rand.Rand) {
	d := time.Duration(random.Int64N(int64(5 * time.Millisecond)))
	if random.IntN(10) == 0 {
		d = time.Duration(random.Int64N(int64(w.longest)))
	}
	_ = sleep(ctx, d)
}

// late is a row of table late.
type late struct {
	ID   int64
	Name string
	At   time.Time
}

const lateTable = `CREATE TABLE late (id bigserial PRIMARY KEY, name text NOT NULL, at timestamptz NOT NULL DEFAULT now());
	CREATE INDEX ON late (at, id)`

// TestProofLateCommits: followers read each row once that is ever committed, in whichever order these commit.
func TestProofLateCommits(t *testing.T) {
	rows := 20_000
	if os.Getenv("WEAVER_PROOF") != "" {
		rows = 200_000
	}
	t.Run("sequence", func(t *testing.T) {
		lateCommits(t, rows, "INSERT INTO late (name) SELECT $1 || '-' || g FROM generate_series(1, $2::int) g", func(*Source[late]) {})
	})
	t.Run("sequence, two ranges", func(t *testing.T) {
		lateCommits(t, rows, "INSERT INTO late (name) SELECT $1 || '-' || g FROM generate_series(1, $2::int) g", func(s *Source[late]) { s.Ranges = 2 })
	})
	t.Run("now", func(t *testing.T) { // equal within a transaction
		lateCommits(t, rows, "INSERT INTO late (name) SELECT $1 || '-' || g FROM generate_series(1, $2::int) g", func(s *Source[late]) { s.Cursor = "at" })
	})
	t.Run("now, truncated", func(t *testing.T) { // equal among transactions, and out of order
		lateCommits(t, rows, `INSERT INTO late (name, at) SELECT $1 || '-' || g, CASE WHEN g % 2 = 0 THEN now() ELSE clock_timestamp() END FROM generate_series(1, $2::int) g`,
			func(s *Source[late]) { s.Cursor = "at" })
	})
}

func lateCommits(t *testing.T, rows int, insert string, set func(*Source[late])) {
	t.Helper()
	p := newPlace(t)
	p.exec(lateTable)
	p.exec("INSERT INTO late (name) SELECT 'before-' || g FROM generate_series(1, 100) g")
	src := NewSource[late](p.db(), "late")
	src.Follow, src.PollEvery, src.PageRows = true, 5*time.Millisecond, 500
	set(src)
	sink := weavertest.NewSink[late]()
	sink.Mode = weavertest.Transactional
	pipeline := run(t, src, sink, nil)
	w := &writers{p: p, n: 50, rows: rows, insert: insert, longest: 300 * time.Millisecond}
	began := time.Now()
	require.NoError(t, w.write(t.Context()))
	wrote := time.Since(began)
	want := w.committed
	for i := range 100 {
		want = append(want, fmt.Sprint("before-", i+1))
	}
	waitFor(t, sink, len(want))
	t.Logf("%d rows in %v, the last %v later", len(want), wrote, time.Since(began)-wrote)
	time.Sleep(100 * time.Millisecond) // what is doubled comes now
	require.NoError(t, pipeline.end())
	got := make([]string, 0, len(want))
	for _, v := range sink.Values() {
		got = append(got, v.Name)
	}
	slices.Sort(want)
	slices.Sort(got)
	missing, doubled := difference(want, got)
	require.Empty(t, missing, "missing %d of %d", len(missing), len(want))
	require.Empty(t, doubled)
	require.NoError(t, sink.Check())
}

// difference compares what is sorted.
func difference(want, got []string) (missing, doubled []string) {
	have := map[string]int{}
	for _, g := range got {
		have[g]++
	}
	for _, w := range want {
		if have[w] == 0 {
			missing = append(missing, w)
		}
		have[w]--
	}
	for name, n := range have {
		if n > 0 {
			doubled = append(doubled, name)
		}
	}
	return missing, doubled
}

// waitFor waits until a sink has so many records. If they don't come, what has come tells which are missing.
func waitFor[T any](t testing.TB, sink *weavertest.Sink[T], n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := sink.Wait(ctx, n); err != nil {
		t.Logf("%v", err)
	}
}
