package postgres

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// TestSourceChanges: what becomes of a follower whose table is altered.
func TestSourceChanges(t *testing.T) {
	t.Parallel()
	type thing struct {
		ID    int64
		Name  string
		Note  *string
		Other *int64
	}
	for _, c := range []struct {
		name, alter, insert string
		fails               string // "": it goes on
		rows                func(t *testing.T, before, after row.Row)
	}{
		{name: "added", alter: "ALTER TABLE things ADD more int DEFAULT 7", insert: "name, more) VALUES ('after', 8", rows: func(t *testing.T, before, after row.Row) {
			require.Equal(t, -1, before.Columns.Index("more"))
			require.Equal(t, int64(8), after.Get("more").Int())
			require.Equal(t, 6, after.Columns.Len())
		}},
		{name: "dropped, not needed", alter: "ALTER TABLE things DROP spare", insert: "name) VALUES ('after'", rows: func(t *testing.T, _, after row.Row) {
			require.Equal(t, -1, after.Columns.Index("spare"))
		}},
		{name: "added and dropped", alter: "ALTER TABLE things DROP spare, ADD another int", insert: "name, another) VALUES ('after', 3", rows: func(t *testing.T, _, after row.Row) {
			require.Equal(t, int64(3), after.Get("another").Int())
		}},
		{name: "dropped, needed", alter: "ALTER TABLE things DROP note", insert: "name) VALUES ('after'", fails: "Note"},
		{name: "renamed column", alter: "ALTER TABLE things RENAME name TO label", insert: "label) VALUES ('after'", fails: "Name"},
		{name: "retyped alike", alter: "ALTER TABLE things ALTER name TYPE varchar(50)", insert: "name) VALUES ('after'", rows: func(t *testing.T, _, after row.Row) {
			require.Equal(t, "character varying(50)", after.Columns.At(1).Type)
		}},
		{name: "retyped wider key", alter: "ALTER TABLE things ALTER id TYPE bigint", insert: "name) VALUES ('after'"},
		{name: "retyped otherwise", alter: "ALTER TABLE things ALTER name TYPE int USING 1", insert: "name) VALUES (5", rows: func(t *testing.T, _, after row.Row) {
			require.Equal(t, int64(5), after.Get("name").Int())
		}},
		{name: "retyped to what a field can't be", alter: "ALTER TABLE things ALTER other TYPE uuid USING NULL", insert: "name) VALUES ('after'", fails: `"other"`, rows: func(t *testing.T, _, after row.Row) {
			require.Equal(t, row.KindUUID, after.Columns.At(3).Kind)
		}},
		{name: "renamed table", alter: "ALTER TABLE things RENAME TO stuff", fails: "renamed"},
		{name: "dropped table", alter: "DROP TABLE things", fails: "dropped"},
		{name: "key retyped", alter: "ALTER TABLE things ALTER id DROP DEFAULT; ALTER TABLE things ALTER id TYPE text", fails: `"id"`},
	} {
		t.Run(c.name+"/struct", func(t *testing.T) {
			t.Parallel()
			sink, _, err := change[thing](t, c.alter, c.insert, c.fails)
			if c.fails == "" {
				require.NoError(t, err)
				require.Len(t, sink.Values(), 2)
				return
			}
			require.Equal(t, retry.ClassFatal, retry.ClassOf(err), "%v", err)
			require.ErrorContains(t, err, c.fails)
			require.Len(t, sink.Values(), 1)
		})
		t.Run(c.name+"/row", func(t *testing.T) {
			t.Parallel()
			fails := c.fails
			if c.rows != nil || c.insert != "" {
				fails = "" // a Row takes all there is
			}
			sink, _, err := change[row.Row](t, c.alter, c.insert, fails)
			if fails != "" {
				require.ErrorContains(t, err, fails)
				return
			}
			require.NoError(t, err)
			require.Len(t, sink.Values(), 2)
			if c.rows != nil {
				c.rows(t, sink.Values()[0], sink.Values()[1])
			}
		})
	}
}

// change follows a table that is altered.
func change[T any](t *testing.T, alter, insert, fails string) (*weavertest.Sink[T], *place, error) {
	t.Helper()
	p := newPlace(t)
	p.exec("CREATE TABLE things (id serial PRIMARY KEY, name text, note text, other int, spare int); INSERT INTO things (name) VALUES ('before')")
	src := NewSource[T](p.db(), "things")
	src.Follow, src.PollEvery = true, tick
	sink := weavertest.NewSink[T]()
	sink.Mode = weavertest.Transactional
	r := run(t, weaver.Source[T](src), weaver.Sink[T](sink), nil)
	require.NoError(t, sink.Wait(t.Context(), 1))
	p.exec(alter)
	if insert != "" {
		p.exec("INSERT INTO things (" + insert + ")")
	}
	if fails != "" {
		select {
		case err := <-r.done:
			return sink, p, err
		case <-time.After(soon):
			t.Fatal("it goes on")
		}
	}
	require.NoError(t, sink.Wait(t.Context(), 2))
	return sink, p, r.end()
}

// TestSourceChangesWithinPages: a table that is altered while it is read is read to its end, once.
func TestSourceChangesWithinPages(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	const n = 3000
	p.exec(fmt.Sprintf("CREATE TABLE c (id int PRIMARY KEY, a text, b int); INSERT INTO c SELECT g, 'a' || g, g FROM generate_series(1, %d) g", n))
	src := NewSource[row.Row](p.db(), "c")
	src.PageRows = 10
	r, err := src.OpenReader(t.Context(), lane(nil))
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	alters := []string{
		"ALTER TABLE c ADD x int DEFAULT 1", "ALTER TABLE c DROP b", "ALTER TABLE c ALTER a TYPE varchar(20)", "ALTER TABLE c RENAME a TO z",
		"ALTER TABLE c ADD b numeric DEFAULT 5", "ALTER TABLE c ALTER id TYPE bigint",
	}
	seen := map[*row.Columns]bool{}
	b := weaver.NewBatch[row.Row](1, 0)
	for i := range n {
		if i%400 == 399 && len(alters) > 0 {
			p.exec(alters[0])
			alters = alters[1:]
		}
		b.Reset()
		_, err := r.Read(t.Context(), b)
		require.NoError(t, err)
		require.Len(t, b.Records, 1)
		v := b.Records[0].Value
		require.Equal(t, int64(i+1), v.Get("id").Int())
		text := v.Get("a")
		if text.IsNull() {
			text = v.Get("z")
		}
		require.Equal(t, fmt.Sprint("a", i+1), text.Str())
		seen[v.Columns] = true
	}
	require.Empty(t, alters)
	require.GreaterOrEqual(t, len(seen), 4)
}
