package sqldb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// Pages of any size, of keys of several columns, give all rows once and in order, from any position.
func TestKeyset(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		p.exec("CREATE TABLE grid (a BIGINT NOT NULL, b VARCHAR(20) NOT NULL, c DATE NOT NULL, PRIMARY KEY (a, b, c))")
		var want []string
		for i := range 60 {
			a, b, c := i/12, fmt.Sprintf("k%d", i/4%3), fmt.Sprintf("2024-01-%02d", i%4+1)
			p.exec(fmt.Sprintf("INSERT INTO grid VALUES (%d, '%s', '%s')", a, b, c))
			want = append(want, fmt.Sprintf(`["%d","%s","%s"]`, a, b, c))
		}
		for _, source := range []*Source[row.Row]{NewSource[row.Row](p.db, "grid"), {db: p.db, Query: "SELECT c, a, b FROM grid -- all", Key: []string{"a", "b", "c"}}} {
			for _, size := range []int{1, 3, 7, 100} {
				var got []string
				var position weaver.Position
				r, err := source.OpenReader(t.Context(), weaver.Lane{})
				require.NoError(t, err)
				for {
					b := weaver.NewBatch[row.Row](size, 0)
					at, err := r.Read(t.Context(), b)
					if errors.Is(err, errEOF) {
						break
					}
					require.NoError(t, err)
					for _, rec := range b.Records {
						got = append(got, string(rec.Key))
						require.Equal(t, int64(len(got)), rec.Seq)
					}
					if len(got)%3 == 0 { // another reader goes on
						position = append(position[:0], at...)
						require.NoError(t, r.Close())
						r, err = source.OpenReader(t.Context(), weaver.Lane{Position: position})
						require.NoError(t, err)
					}
				}
				require.NoError(t, r.Close())
				require.Equal(t, want, got)
			}
		}
	})
}

func TestSourceRefuses(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		p.createItems("items")
		p.exec("CREATE TABLE nokey (id BIGINT, name VARCHAR(9), at TIMESTAMP NULL)", "INSERT INTO nokey (id, name) VALUES (1, 'a'), (1, 'b'), (NULL, 'c')")
		p.exec("INSERT INTO items VALUES (1, 'a', NULL), (2, 'b', NULL)")
		refused := func(s *Source[row.Row], part string) {
			t.Helper()
			r, err := s.OpenReader(t.Context(), weaver.Lane{})
			if err == nil {
				_, err = r.Read(t.Context(), weaver.NewBatch[row.Row](1, 0))
				require.NoError(t, r.Close())
			}
			require.ErrorContains(t, err, part)
			require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
		}
		refused(NewSource[row.Row](p.db, "none"), "no such table")
		refused(NewSource[row.Row](p.db, "nokey"), "no primary key")
		refused(&Source[row.Row]{db: p.db, name: "nokey", Key: []string{"id"}}, "NULL")
		refused(&Source[row.Row]{db: p.db, Query: "SELECT * FROM nokey WHERE id IS NOT NULL", Key: []string{"id"}}, "two rows with the same key")
		refused(&Source[row.Row]{db: p.db, Query: "SELECT * FROM nokey"}, "needs Key")
		refused(&Source[row.Row]{db: p.db, name: "items", Key: []string{"nope"}}, `no column "nope"`)
		refused(&Source[row.Row]{db: p.db, name: "items", Columns: []string{"nope"}}, `no column "nope"`)
		refused(&Source[row.Row]{db: p.db, name: "items", Key: []string{"name"}, Follow: true}, "Follow needs Cursor")
		refused(&Source[row.Row]{db: p.db, name: "items", Ranges: 5000}, "at most 1000")
		r, err := NewSource[row.Row](p.db, "items").OpenReader(t.Context(), weaver.Lane{})
		require.NoError(t, err)
		at, err := r.Read(t.Context(), weaver.NewBatch[row.Row](1, 0))
		require.NoError(t, err)
		at = append(weaver.Position(nil), at...)
		require.NoError(t, r.Close())
		_, err = (&Source[row.Row]{db: p.db, name: "items", Key: []string{"name"}}).OpenReader(t.Context(), weaver.Lane{Position: at})
		require.ErrorContains(t, err, "begin anew")
		_, err = (&Source[row.Row]{db: p.db, name: "items", Follow: true}).OpenReader(t.Context(), weaver.Lane{Position: at})
		require.ErrorContains(t, err, "made without Follow")
		_, err = NewSource[row.Row](p.db, "items").OpenReader(t.Context(), weaver.Lane{Position: weaver.Position("nonsense")})
		require.ErrorContains(t, err, "none of this source's")
	})
}

// Ranges are kept by the plan; without one they may move, and then nothing is read.
func TestRangesArePlanned(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		p.createItems("items")
		for i := range 40 {
			p.exec(fmt.Sprintf("INSERT INTO items VALUES (%d, 'n', NULL)", i*i-100))
		}
		run := func(plan checkpoint.Store, store checkpoint.Store) error {
			s := NewSource[item](p.db, "items")
			s.Ranges, s.Plan = 4, plan
			sink := NewSink[item](p.db, "copy")
			sink.Create, sink.Key = true, []string{"id"}
			pipe := quick(weaver.Copy(s, sink))
			pipe.Name, pipe.BatchSize = "ranges", 3
			return pipe.Run(t.Context())
		}
		plan := NewStore(p.db)
		require.NoError(t, run(plan, nil))
		require.Equal(t, "40", p.text("SELECT COUNT(*) FROM copy"))
		p.exec("INSERT INTO items VALUES (100000, 'late', NULL)")
		require.NoError(t, run(plan, nil), "the boundaries are those of before")
		require.Equal(t, "41", p.text("SELECT COUNT(*) FROM copy"))
		require.ErrorContains(t, run(nil, nil), "set Plan")
	})
}

// Rows that change while they are followed are read again; deleted ones are Deletes.
func TestFollowChanges(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		p.exec("CREATE TABLE src (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(20), version BIGINT NOT NULL, gone BOOLEAN NOT NULL)", "CREATE TABLE dst (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(20))")
		p.exec("INSERT INTO src VALUES (1, 'a', 1, FALSE), (2, 'b', 2, FALSE), (3, 'c', 3, TRUE)")
		type change struct {
			ID int64
			V  *string
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := NewSource[change](p.db, "src")
		s.Follow, s.Cursor, s.Deleted, s.PollEvery = true, "version", "gone", 5*time.Millisecond
		pipe := quick(weaver.Copy(s, NewSink[change](p.db, "dst")))
		pipe.Name, pipe.CheckpointInterval = "follow", 5*time.Millisecond
		done := make(chan error, 1)
		go func() { done <- pipe.Run(ctx) }()
		becomes := func(want ...string) {
			t.Helper()
			require.Eventually(t, func() bool {
				got := p.lines("SELECT id, v FROM dst ORDER BY id")
				return fmt.Sprint(got) == fmt.Sprint(want)
			}, 30*time.Second, 10*time.Millisecond)
		}
		becomes("1|a", "2|b")
		p.exec("UPDATE src SET v = 'new', version = 4 WHERE id = 1", "INSERT INTO src VALUES (4, 'd', 5, FALSE)")
		becomes("1|new", "2|b", "4|d")
		p.exec("UPDATE src SET gone = TRUE, version = 6 WHERE id = 2")
		becomes("1|new", "4|d")
		cancel()
		require.NoError(t, <-done)
	})
}

// A table that changes while it is followed: a column that is added comes, one that is needed and dropped stops the pipeline.
func TestSourceSchemaChanges(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		p.createItems("items")
		p.exec("INSERT INTO items VALUES (1, 'a', NULL)")
		read := func(r weaver.Reader[row.Row]) (*weaver.Batch[row.Row], error) {
			b := weaver.NewBatch[row.Row](10, 0)
			_, err := r.Read(t.Context(), b)
			return b, err
		}
		s := NewSource[row.Row](p.db, "items")
		s.Follow, s.PollEvery = true, 5*time.Millisecond
		r, err := s.OpenReader(t.Context(), weaver.Lane{})
		require.NoError(t, err)
		b, err := read(r)
		require.NoError(t, err)
		require.Equal(t, 3, b.Records[0].Value.Columns.Len())
		p.exec("ALTER TABLE items ADD COLUMN extra BIGINT")
		time.Sleep(lookEvery)
		p.exec("INSERT INTO items VALUES (2, 'b', NULL, 7)")
		b, err = read(r)
		require.NoError(t, err)
		require.Equal(t, "7", b.Records[0].Value.Get("extra").String())
		require.NoError(t, r.Close())

		typed := NewSource[item](p.db, "items")
		typed.Follow, typed.PollEvery = true, 5*time.Millisecond
		q, err := typed.OpenReader(t.Context(), weaver.Lane{})
		require.NoError(t, err)
		_, err = q.Read(t.Context(), weaver.NewBatch[item](10, 0))
		require.NoError(t, err)
		p.exec("ALTER TABLE items DROP COLUMN note", "INSERT INTO items VALUES (3, 'c', 7)")
		_, err = q.Read(t.Context(), weaver.NewBatch[item](10, 0))
		require.ErrorContains(t, err, "note")
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err), "%v", err)
		require.NoError(t, q.Close())
		p.exec("ALTER TABLE items RENAME TO elsewhere")
		_, err = typed.OpenReader(t.Context(), weaver.Lane{})
		require.ErrorContains(t, err, "no such table")
	})
}

// Many writers commit in another order than that in which they have drawn their values: a follower misses none.
func TestLateCommits(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"id", "at"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			everywhere(t, func(t *testing.T, p *place) {
				if testing.Short() {
					t.Skip("it takes some time")
				}
				rows, writers := 2000, 10
				if p.name == "mysql" || os.Getenv("WEAVER_PROOF") != "" {
					rows, writers = 10_000, 30
				}
				if p.name == "sqlite" {
					rows, writers = 300, 3 // each commit waits for the disk
				}
				p.exec(map[string]string{
					"sqlite":   "CREATE TABLE log (id INTEGER PRIMARY KEY AUTOINCREMENT, at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, w INTEGER NOT NULL)",
					"mysql":    "CREATE TABLE log (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), w BIGINT NOT NULL, KEY (at))",
					"postgres": "CREATE TABLE log (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), w bigint NOT NULL)",
				}[p.name])
				type entry struct{ ID int64 }
				s := NewSource[entry](p.db, "log")
				s.Follow, s.PollEvery = true, 10*time.Millisecond
				if by == "at" {
					s.Cursor = "at"
				}
				sink := weavertest.NewSink[entry]()
				pipe := quick(weaver.Copy(s, sink))
				pipe.Name, pipe.CheckpointInterval, pipe.Checkpoint = "late", 20*time.Millisecond, checkpoint.NewMemory()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- pipe.Run(ctx) }()

				var left atomic.Int64
				left.Store(int64(rows))
				var wg sync.WaitGroup
				errs := make([]error, writers)
				begin := map[string]string{"sqlite": "BEGIN IMMEDIATE", "mysql": "START TRANSACTION", "postgres": "BEGIN"}[p.name]
				for w := range writers {
					wg.Go(func() {
						rng := rand.New(rand.NewPCG(uint64(w), 7))
						errs[w] = func() error {
							c, err := p.pool.Conn(ctx)
							if err != nil {
								return err
							}
							defer func() { _ = c.Close() }()
							for left.Load() > 0 {
								if _, err := c.ExecContext(ctx, begin); err != nil {
									return err
								}
								n := 1 + rng.IntN(8)
								for range n {
									if _, err := c.ExecContext(ctx, fmt.Sprintf("INSERT INTO log (w) VALUES (%d)", w)); err != nil {
										return err
									}
									if rng.IntN(20) == 0 && p.name != "sqlite" {
										time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
									}
								}
								end := "COMMIT"
								if rng.IntN(6) == 0 {
									end, n = "ROLLBACK", 0
								}
								if _, err := c.ExecContext(ctx, end); err != nil {
									return err
								}
								left.Add(int64(-n))
							}
							return nil
						}()
					})
				}
				wg.Wait()
				require.NoError(t, errors.Join(errs...))
				var want int
				require.NoError(t, p.pool.QueryRowContext(ctx, "SELECT COUNT(*) FROM log").Scan(&want))
				waited, stop := context.WithTimeout(ctx, 60*time.Second)
				defer stop()
				require.NoError(t, sink.Wait(waited, want))
				cancel()
				require.NoError(t, <-done)
				seen := map[int64]bool{}
				for _, e := range sink.Values() {
					require.False(t, seen[e.ID], "row %d came twice", e.ID)
					seen[e.ID] = true
				}
				require.Len(t, seen, want)
			})
		})
	}
}

// A transaction that stays open holds reading up, which is logged, once.
func TestOpenTransactionIsLogged(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) *place{"mysql": newMySQL, "postgres": newPostgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := open(t)
			p.createItems("items")
			other, err := p.pool.Conn(t.Context())
			require.NoError(t, err)
			defer func() { require.NoError(t, other.Close()) }()
			do := func(sql string) {
				_, err := other.ExecContext(t.Context(), sql)
				require.NoError(t, err)
			}
			do("BEGIN")
			do("INSERT INTO items VALUES (1, 'late', NULL)")
			p.exec("INSERT INTO items VALUES (2, 'quick', NULL)")
			s := NewSource[item](p.db, "items")
			s.Follow, s.PollEvery, s.complain = true, 5*time.Millisecond, 300*time.Millisecond
			var log bytes.Buffer
			r, err := s.OpenReader(t.Context(), weaver.Lane{Log: slog.New(slog.NewTextHandler(&log, nil))})
			require.NoError(t, err)
			defer func() { require.NoError(t, r.Close()) }()
			b := weaver.NewBatch[item](10, 0)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err = r.Read(ctx, b)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Empty(t, b.Records)
			require.Equal(t, 1, strings.Count(log.String(), "a transaction that stays open holds up reading"), log.String())
			do("COMMIT")
			_, err = r.Read(t.Context(), b)
			require.NoError(t, err)
			require.Len(t, b.Records, 2)
		})
	}
}

// Without the privilege to see transactions, Slack is asked for.
func TestMySQLWithoutProcess(t *testing.T) {
	t.Parallel()
	p := newMySQL(t)
	p.createItems("items")
	p.exec("INSERT INTO items VALUES (1, 'a', NULL)")
	name := p.text("SELECT DATABASE()")
	p.exec("CREATE USER '"+name+"'@'127.0.0.1' IDENTIFIED BY 'canary'", "GRANT SELECT ON "+name+".* TO '"+name+"'@'127.0.0.1'")
	t.Cleanup(func() { _, _ = p.pool.ExecContext(context.Background(), "DROP USER '"+name+"'@'127.0.0.1'") })
	pool := p.as(name, "canary")
	s := NewSource[item](Open(pool, MySQL), "items")
	s.Follow = true
	read := func() (int, error) {
		r, err := s.OpenReader(t.Context(), weaver.Lane{})
		require.NoError(t, err)
		defer func() { require.NoError(t, r.Close()) }()
		b := weaver.NewBatch[item](0, 0)
		_, err = r.Read(t.Context(), b)
		return len(b.Records), err
	}
	_, err := read()
	require.ErrorContains(t, err, "PROCESS")
	require.ErrorContains(t, err, "Slack")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	s.Slack = 100 * time.Millisecond
	n, err := read()
	require.NoError(t, err)
	require.Equal(t, 1, n)

	for _, wrong := range []string{"wrong-canary-password"} {
		_, err := NewSource[item](Open(p.as(name, wrong), MySQL), "items").OpenReader(t.Context(), weaver.Lane{})
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err), "%v", err)
		require.NotContains(t, err.Error(), wrong)
	}
}
