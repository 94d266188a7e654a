package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// batchOf makes a batch.
func batchOf[T any](records ...weaver.Record[T]) *weaver.Batch[T] {
	b := weaver.NewBatch[T](0, 0)
	for _, r := range records {
		*b.Add() = r
	}
	return b
}

// flushed writes records with a writer of its own, and makes them durable.
func flushed[T any](t *testing.T, s *Sink[T], records ...weaver.Record[T]) error {
	t.Helper()
	w, err := s.OpenWriter(t.Context(), weaver.Lane{Pipeline: "p"})
	if err != nil {
		return err
	}
	defer func() { require.NoError(t, w.Close()) }()
	if err := w.Write(t.Context(), batchOf(records...)); err != nil {
		return err
	}
	return w.(weaver.Flusher).Flush(t.Context())
}

// Of 5,000 rows in one batch, those that the database refuses go to the dead letters and the others are written.
func TestBadRowsAreFound(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		p.exec("CREATE TABLE orders (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(100) NOT NULL, note VARCHAR(2000) UNIQUE, CHECK (id <> 2500 AND id <> 4999))")
		var records []weaver.Record[item]
		for i := range 5000 {
			r := itemRecord(i % 100)
			r.Value.ID, r.Value.Note = int64(i), nil
			records = append(records, r)
		}
		twice := "twice"
		records[7].Value.Note, records[4000].Value.Note = &twice, &twice // unique
		source := weavertest.NewSource[item]()
		source.Add("", records...)
		letters := weavertest.NewDeadLetters[item]()
		pipe := quick(weaver.Copy(source, NewSink[item](p.db, "orders")))
		pipe.Name, pipe.BatchSize, pipe.DeadLetter, pipe.Require = "bad", 5000, letters, weaver.ExactlyOnce
		require.NoError(t, pipe.Run(t.Context()))
		require.NoError(t, source.Check())
		var ids []int64
		for _, l := range letters.Values() {
			ids = append(ids, l.Value.ID)
			require.NotEmpty(t, l.Error)
		}
		require.ElementsMatch(t, []int64{2500, 4000, 4999}, ids)
		require.Equal(t, "4997", p.text("SELECT COUNT(*) FROM orders"))
		require.Equal(t, "7", p.text("SELECT id FROM orders WHERE note = 'twice'"))
	})
}

func TestLastWinsAndDeletes(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		p.exec("CREATE TABLE pairs (a BIGINT NOT NULL, b VARCHAR(20) NOT NULL, v VARCHAR(20), PRIMARY KEY (a, b))", "INSERT INTO pairs VALUES (1, 'x', 'old'), (2, 'y', 'old'), (3, 'z', 'kept'), (4, 'o,\"', 'old')")
		type pair struct {
			A    int64
			B, V string
		}
		s := NewSink[pair](p.db, "pairs")
		rec := func(op weaver.Op, a int64, b, v string) weaver.Record[pair] {
			return weaver.Record[pair]{Op: op, Value: pair{a, b, v}}
		}
		require.NoError(t, flushed(t, s,
			rec(weaver.Upsert, 1, "x", "one"), rec(weaver.Upsert, 5, "n", "one"), rec(weaver.Delete, 5, "n", ""), rec(weaver.Upsert, 1, "x", "two"),
			rec(weaver.Delete, 2, "y", ""), rec(weaver.Upsert, 6, "n", "one"), rec(weaver.Delete, 7, "n", ""), rec(weaver.Upsert, 7, "n", "again"),
			weaver.Record[pair]{Op: weaver.Delete, Key: row.AppendKey(nil, row.Int(4), row.Text(`o,"`))},
			rec(weaver.Update, 6, "n", "two"),
		))
		require.Equal(t, []string{"1|x|two", "3|z|kept", "6|n|two", "7|n|again"}, p.lines("SELECT a, b, v FROM pairs ORDER BY a"))

		err := flushed(t, s, rec(weaver.Upsert, 9, "n", "no"), weaver.Record[pair]{Op: weaver.Delete})
		var batch *weaver.BatchError
		require.ErrorAs(t, err, &batch)
		require.True(t, batch.RolledBack)
		require.Len(t, batch.Records, 1)
		require.Equal(t, 1, batch.Records[0].Index)
		require.ErrorContains(t, batch.Records[0].Err, "a Delete without a key")
		require.Equal(t, retry.ClassPoison, retry.ClassOf(batch.Records[0].Err))

		p.exec("CREATE TABLE one (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(9) NOT NULL)")
		n := 0
		var many []weaver.Record[map[string]any]
		for ; n < 1500; n++ {
			many = append(many, weaver.Record[map[string]any]{Value: map[string]any{"id": n, "name": fmt.Sprint(n)}})
		}
		rows := NewSink[map[string]any](p.db, "one")
		require.NoError(t, flushed(t, rows, many...))
		require.Equal(t, "1500", p.text("SELECT COUNT(*) FROM one"))
		for i := range many {
			if i%3 == 0 {
				many[i] = weaver.Record[map[string]any]{Op: weaver.Delete, Key: fmt.Append(nil, i)}
			} else {
				many[i].Value["name"] = "new"
			}
		}
		require.NoError(t, flushed(t, rows, many...))
		require.Equal(t, "1000", p.text("SELECT COUNT(*) FROM one WHERE name = 'new'"))
		require.Equal(t, "1000", p.text("SELECT COUNT(*) FROM one"))

		rows.Mode = Insert
		require.ErrorAs(t, flushed(t, rows, many[0]), &batch)
		require.ErrorContains(t, batch.Records[0].Err, "Mode Insert")
	})
}

// A record that would replace a row by another unique key than that of Upsert is refused.
func TestAnotherUniqueKey(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		p.exec("CREATE TABLE people (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(50) NOT NULL UNIQUE, note VARCHAR(50))", "INSERT INTO people VALUES (1, 'ada', 'old'), (2, 'bob', 'old')")
		s := NewSink[item](p.db, "people")
		rec := func(id int64, name string) weaver.Record[item] {
			return weaver.Record[item]{Value: item{ID: id, Name: name}}
		}
		require.NoError(t, flushed(t, s, rec(1, "ada"), rec(3, "carl")))
		err := flushed(t, s, rec(9, "bob"))
		var batch *weaver.BatchError
		require.ErrorAs(t, err, &batch)
		require.Equal(t, retry.ClassPoison, retry.ClassOf(err))
		require.Equal(t, []string{"1|ada|NULL", "2|bob|old", "3|carl|NULL"}, p.lines("SELECT id, name, note FROM people ORDER BY id"))
		s.Key = []string{"name"}
		require.NoError(t, flushed(t, s, rec(2, "bob")))
		require.Equal(t, "NULL", p.text("SELECT note FROM people WHERE id = 2"))
		s.Key = []string{"note"}
		require.ErrorContains(t, flushed(t, s, rec(2, "bob")), "no unique index on \"note\"")
	})
}

func TestChecksAtOpen(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		p.createItems("items")
		p.exec("CREATE TABLE nokey (id BIGINT, name VARCHAR(9))")
		open := func(s weaver.Sink[item]) error {
			w, err := s.OpenWriter(t.Context(), weaver.Lane{})
			if err == nil {
				require.NoError(t, w.Close())
			}
			return err
		}
		refused := func(err error, parts ...string) {
			t.Helper()
			require.Error(t, err)
			require.Equal(t, retry.ClassFatal, retry.ClassOf(err), "%v", err)
			for _, part := range parts {
				require.ErrorContains(t, err, part)
			}
		}
		require.NoError(t, open(NewSink[item](p.db, "items")))
		require.NoError(t, NewSink[item](p.db, "items").CheckHealth(t.Context()))
		refused(open(NewSink[item](p.db, "none")), "no such table", "Create")
		refused(open(NewSink[item](p.db, "nokey")), "no primary key", "Sink.Key")
		refused(open(NewSink[item](p.db, "")), "is empty")
		refused(open(NewSink[item](nil, "items")), "no database")

		type wrong struct {
			ID   time.Time
			Name string
		}
		_, err := NewSink[wrong](p.db, "items").OpenWriter(t.Context(), weaver.Lane{})
		refused(err, `"id"`, "field ID (time.Time)", "can't be")
		type less struct{ ID int64 }
		_, err = NewSink[less](p.db, "items").OpenWriter(t.Context(), weaver.Lane{})
		refused(err, `"name"`, "NOT NULL")
		type more struct {
			ID          int64
			Name, Extra string
		}
		_, err = NewSink[more](p.db, "items").OpenWriter(t.Context(), weaver.Lane{})
		refused(err, `"extra"`, "Sink.Unknown")
		ignoring := NewSink[more](p.db, "items")
		ignoring.Unknown = Ignore
		require.NoError(t, flushed(t, ignoring, weaver.Record[more]{Value: more{1, "a", "b"}}))
		adding := NewSink[more](p.db, "items")
		adding.Unknown = AddColumn
		require.NoError(t, flushed(t, adding, weaver.Record[more]{Value: more{2, "a", "b"}}))
		require.Equal(t, []string{"1|a|NULL", "2|a|b"}, p.lines("SELECT id, name, extra FROM items ORDER BY id"))
	})
}

// Maps come with columns that the table lacks: what was staged before is written again.
func TestColumnsAppear(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		for _, unknown := range []Unknown{Stop, Reject, Ignore, AddColumn} {
			table := fmt.Sprintf("drift%d", unknown)
			var values []map[string]any
			for i := range 100 {
				m := map[string]any{"id": i, "a": fmt.Sprint("a", i)}
				if i >= 50 {
					m["b"] = float64(i) / 2
				}
				values = append(values, m)
			}
			s := NewSink[map[string]any](p.db, table)
			s.Create, s.Key, s.Unknown = true, []string{"id"}, unknown
			letters := weavertest.NewDeadLetters[map[string]any]()
			pipe := quick(weaver.Copy(weavertest.NewSource(values...), s))
			pipe.Name, pipe.BatchSize, pipe.DeadLetter, pipe.CheckpointInterval = table, 10, letters, time.Hour
			err := pipe.Run(t.Context())
			count := p.text("SELECT COUNT(*) FROM " + table)
			switch unknown {
			case Stop:
				require.ErrorContains(t, err, `no column "b"`)
			case Reject:
				require.NoError(t, err)
				require.Len(t, letters.Values(), 50)
				require.Equal(t, "50", count)
			case Ignore:
				require.NoError(t, err)
				require.Equal(t, "100", count)
			case AddColumn:
				require.NoError(t, err)
				require.Equal(t, "100", count)
				require.Equal(t, []string{"50"}, p.lines("SELECT COUNT(b) FROM "+table))
			}
		}
	})
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		p.createItems("items")
		s := NewSink[item](p.db, "items")
		s.DryRun = true
		pipe := weaver.Copy(weavertest.NewSource(itemRecord(1).Value, itemRecord(2).Value), s)
		pipe.Name = "dry"
		require.NoError(t, pipe.Run(t.Context()))
		require.Equal(t, "0", p.text("SELECT COUNT(*) FROM items"))
		_, version, err := NewStore(p.db).Load(t.Context(), "dry")
		require.NoError(t, err)
		require.Zero(t, version)
	})
}

// A Store sees what a Sink has committed, under the pipeline's name.
func TestStoreSeesTheSink(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		p.createItems("items")
		pipe := weaver.Copy(weavertest.NewSource(itemRecord(1).Value), NewSink[item](p.db, "items"))
		pipe.Name = strings.Repeat("long ", 400)
		require.NoError(t, pipe.Run(t.Context()))
		value, version, err := NewStore(p.db).Load(t.Context(), pipe.Name)
		require.NoError(t, err)
		require.NotEmpty(t, value)
		require.Positive(t, version)
	})
}

// A writer that has lost its split, and doesn't know it, changes nothing: here each has a Database of its own, as in two processes.
func TestZombie(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		p.createItems("items")
		ctx := t.Context()
		sink := func() *Sink[item] {
			s := NewSink[item](Open(p.pool, p.db.dialect), "items")
			s.LockTimeout = 200 * time.Millisecond
			return s
		}
		open := func(s *Sink[item]) (*writer[item], []byte) {
			w, err := s.OpenWriter(ctx, weaver.Lane{Pipeline: "z"})
			require.NoError(t, err)
			env, err := w.(weaver.Checkpointer).Restore(ctx)
			require.NoError(t, err)
			return w.(*writer[item]), env
		}
		old, env := open(sink())
		require.Nil(t, env)
		require.NoError(t, old.Write(ctx, batchOf(itemRecord(1))))
		require.NoError(t, old.Commit(ctx, []byte("one")))
		if p.name != "sqlite" { // where an open transaction keeps everybody out
			require.NoError(t, old.Write(ctx, batchOf(itemRecord(2))))
		}
		young, env := open(sink())
		require.Equal(t, "one", string(env))
		require.NoError(t, young.Write(ctx, batchOf(itemRecord(2))), "the lock on the row is gone")
		require.NoError(t, young.Commit(ctx, []byte("two")))
		if p.name == "sqlite" {
			require.NoError(t, old.Write(ctx, batchOf(itemRecord(2))))
		}
		require.ErrorIs(t, old.Commit(ctx, []byte("late")), weaver.ErrFenced)
		require.ErrorIs(t, old.Commit(ctx, []byte("late")), weaver.ErrFenced)
		require.NoError(t, old.Close())
		require.NoError(t, young.Write(ctx, batchOf(itemRecord(3))))
		require.NoError(t, young.Commit(ctx, []byte("three")))
		require.NoError(t, young.Close())
		require.Equal(t, []string{"1", "2", "3"}, p.lines("SELECT id FROM items ORDER BY id"))
		last, env := open(sink())
		require.Equal(t, "three", string(env))
		require.NoError(t, last.Close())
	})
}

// While a transaction is open elsewhere, SQLite's writers wait, and then fail with an error that is tried again.
func TestSQLiteIsBusy(t *testing.T) {
	t.Parallel()
	p := newSQLite(t)
	p.createItems("items")
	c, err := p.pool.Conn(t.Context())
	require.NoError(t, err)
	_, err = c.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	require.NoError(t, err)
	s := NewSink[item](p.db, "items")
	s.LockTimeout = 50 * time.Millisecond
	err = flushed(t, s, itemRecord(1))
	require.ErrorContains(t, err, "locked")
	require.Equal(t, retry.ClassUnmarked, retry.ClassOf(err))
	_, err = c.ExecContext(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, flushed(t, s, itemRecord(1)))
}

// A dialect of a third party is one that is there with something changed.
type ownDialect struct {
	Dialect
	begun *int
}

func (ownDialect) Name() string { return "OwnSQL" }

func (d ownDialect) Traits() Traits {
	*d.begun++
	traits := d.Dialect.Traits()
	traits.Variables, traits.Rows = 7, 64 // two rows of three columns at a time
	return traits
}

func TestOwnDialect(t *testing.T) {
	t.Parallel()
	p := newSQLite(t)
	p.createItems("items")
	begun := 0
	db := Open(p.pool, ownDialect{SQLite, &begun})
	s := NewSink[item](db, "items")
	var records []weaver.Record[item]
	for i := range 25 {
		records = append(records, itemRecord(i))
	}
	require.NoError(t, flushed(t, s, records...))
	require.Positive(t, begun)
	require.Equal(t, "25", p.text("SELECT COUNT(*) FROM items"))

	src := NewSource[item](db, "items")
	src.Follow = true // the interface Follower isn't there
	_, err := src.OpenReader(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, "OwnSQL")
	require.ErrorContains(t, err, "Slack")
}

func TestCloseTwiceAndCancelled(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		p.createItems("items")
		w, err := NewSink[item](p.db, "items").OpenWriter(t.Context(), weaver.Lane{Pipeline: "p"})
		require.NoError(t, err)
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("why")
		cancel(why)
		require.ErrorIs(t, w.Write(ctx, batchOf(itemRecord(1))), why)
		require.NoError(t, w.Close())
		require.NoError(t, w.Close())
		require.ErrorIs(t, w.Write(t.Context(), batchOf(itemRecord(1))), errClosed)
	})
}
