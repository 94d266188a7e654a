package postgres

import (
	"bytes"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// account is a small row of a struct.
type account struct {
	ID   int64
	Name string
	Note *string
}

const accountTable = "CREATE TABLE t (id bigint PRIMARY KEY, name text, note text, extra text DEFAULT 'kept', UNIQUE (name))"

func TestUpsertAndDelete(t *testing.T) {
	t.Parallel()
	note := "n"
	type ops []weaver.Record[account]
	up := func(id int64, name string, note *string) weaver.Record[account] {
		return weaver.Record[account]{Value: account{id, name, note}}
	}
	del := func(r weaver.Record[account]) weaver.Record[account] {
		r.Op = weaver.Delete
		return r
	}
	for name, test := range map[string]struct {
		batches []ops
		want    []string
	}{
		"twice in a batch":       {[]ops{{up(1, "a", nil), up(2, "b", &note), up(1, "c", &note), up(1, "d", nil)}}, []string{"1|d|∅|kept", "2|b|n|kept"}},
		"update":                 {[]ops{{up(1, "a", &note)}, {up(1, "b", nil)}}, []string{"1|b|∅|kept"}},
		"empty is not NULL":      {[]ops{{up(1, "", new(string))}}, []string{"1|||kept"}},
		"delete":                 {[]ops{{up(1, "a", nil), up(2, "b", nil)}, {del(up(1, "", nil)), del(up(3, "", nil))}}, []string{"2|b|∅|kept"}},
		"delete by Record.Key":   {[]ops{{up(1, "a", nil), up(2, "b", nil)}, {{Op: weaver.Delete, Key: []byte("2")}}}, []string{"1|a|∅|kept"}},
		"upsert, then delete":    {[]ops{{up(1, "a", nil), up(2, "b", nil), del(up(1, "", nil)), del(up(1, "", nil))}}, []string{"2|b|∅|kept"}},
		"delete, then upsert":    {[]ops{{up(1, "a", nil)}, {del(up(1, "", nil)), up(1, "b", nil), del(up(2, "", nil)), up(1, "c", nil)}}, []string{"1|c|∅|kept"}},
		"again and again":        {[]ops{{up(1, "a", nil), del(up(1, "", nil)), up(1, "b", nil), del(up(1, "", nil)), up(1, "c", nil)}}, []string{"1|c|∅|kept"}},
		"a place that gets free": {[]ops{{up(1, "a", nil)}, {up(2, "a", nil), del(up(1, "", nil))}}, []string{"2|a|∅|kept"}},
		"update is upsert":       {[]ops{{{Op: weaver.Update, Value: account{ID: 1, Name: "a"}}, {Op: weaver.Insert, Value: account{ID: 2, Name: "b"}}}}, []string{"1|a|∅|kept", "2|b|∅|kept"}},
		"nothing but deletes":    {[]ops{{del(up(9, "", nil))}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			p.exec(accountTable)
			w, _ := openWriter(t, NewSink[account](p.db(), "t"), "t")
			for _, records := range test.batches {
				b := weaver.NewBatch[account](0, 0)
				for _, r := range records {
					*b.Add() = r
				}
				require.NoError(t, w.Write(t.Context(), b))
			}
			require.NoError(t, w.Commit(t.Context(), nil))
			require.Equal(t, test.want, p.rows("SELECT * FROM t ORDER BY id"))
		})
	}
}

// TestManyKeys: many keys in a batch, each several times, also where some come back after they were deleted. A map is the oracle.
func TestManyKeys(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec("CREATE TABLE t (a int, b text, n bigint, PRIMARY KEY (a, b))")
	type pairKey struct {
		A int32
		B string
	}
	type pair struct {
		A int32
		B string
		N int64
	}
	w, _ := openWriter(t, NewSink[pair](p.db(), "t"), "t")
	want := map[pairKey]int64{}
	x := uint32(1)
	for n := range int64(4) {
		b := weaver.NewBatch[pair](0, 0)
		for i := range int64(5000) {
			x = x*1664525 + 1013904223
			k := pairKey{int32(x>>8)%40 + 1, strings.Repeat("k", int(x>>16)%50)}
			r := b.Add()
			r.Value = pair{k.A, k.B, n*5000 + i}
			want[k] = r.Value.N
			if x>>30 == 0 {
				r.Op = weaver.Delete
				delete(want, k)
				if i%2 == 0 {
					r.Value = pair{}
					r.Key = row.AppendKey(nil, row.Int(int64(k.A)), row.Text(k.B))
				}
			}
		}
		require.NoError(t, w.Write(t.Context(), b))
	}
	require.NoError(t, w.Commit(t.Context(), nil))
	got := map[pairKey]int64{}
	rows, err := p.conn.Query(t.Context(), "SELECT a, b, n FROM t")
	require.NoError(t, err)
	for rows.Next() {
		var k pairKey
		var n int64
		require.NoError(t, rows.Scan(&k.A, &k.B, &n))
		got[k] = n
	}
	require.NoError(t, rows.Err())
	require.Equal(t, want, got)
	require.Greater(t, len(want), 500)
}

// TestRowsOfManyShapes: rows with other columns each, as JSON has them.
func TestRowsOfManyShapes(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec("CREATE TABLE t (id int PRIMARY KEY, a int DEFAULT 7, b text, c text)")
	w, _ := openWriter(t, NewSink[map[string]any](p.db(), "t"), "t")
	put(t, w, map[string]any{"id": 1, "a": 1, "b": "x"}, map[string]any{"id": 2}, map[string]any{"id": 1, "b": "y"}, map[string]any{"id": 1, "c": nil, "a": nil}, map[string]any{"id": 2, "c": "z"})
	require.Equal(t, []string{"1|∅|y|∅", "2|7|∅|z"}, p.rows("SELECT * FROM t ORDER BY id"), "each has its effect")
	require.Contains(t, refused(t, w, map[string]any{"a": 1}), `column "id", which is part of the key`)
	require.Contains(t, refused(t, w, map[string]any{"id": nil}), "NULL, and the column is NOT NULL")
	require.Contains(t, refused(t, w, map[string]any{}), "nothing of it is a column")
	err := w.Write(t.Context(), batchOf(map[string]any{"id": 3, "d": 1, "e": 2}))
	require.ErrorContains(t, err, `has no column "d", "e": add it`)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))

	s := NewSink[row.Row](p.db(), "t")
	s.Unknown = Ignore
	shapes, _ := openWriter(t, s, "shapes")
	for i := range 2 * maxPlans { // it doesn't remember all the shapes there ever were
		put(t, shapes, rowOf(t, "id", 100, "x"+strconv.Itoa(i), 1))
	}
	require.LessOrEqual(t, len(shapes.plans), maxPlans)
	require.LessOrEqual(t, len(shapes.known), maxPlans)
	counted, err := shapes.exec(t.Context(), "SELECT (SELECT count(*) FROM pg_prepared_statements) + (SELECT count(*) FROM pg_type WHERE typname ~ 'weaver_row' AND typnamespace = pg_my_temp_schema())")
	require.NoError(t, err)
	require.Less(t, number(counted[0][0]), int64(3*maxPlans))
	require.Greater(t, shapes.made, 3*maxPlans, "or there is nothing to forget")
}

func TestUnknownColumns(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	open := func(t *testing.T, unknown Unknown, table string) (*writer[row.Row], error) {
		p.exec("CREATE TABLE " + table + " (id int PRIMARY KEY)")
		s := NewSink[row.Row](p.db(), table)
		s.Unknown = unknown
		w, _ := openWriter(t, s, table)
		put(t, w, rowOf(t, "id", 1))
		return w, w.Write(t.Context(), batchOf(rowOf(t, "id", 2, "N ew", "x", "m", 5, "tags", []string{"a"}), rowOf(t, "id", 3)))
	}
	t.Run("stop", func(t *testing.T) {
		_, err := open(t, Stop, "stop")
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
		require.ErrorContains(t, err, `has no column "N ew", "m", "tags"`)
	})
	t.Run("reject", func(t *testing.T) {
		_, err := open(t, Reject, "reject")
		var batch *weaver.BatchError
		require.ErrorAs(t, err, &batch)
		require.True(t, batch.RolledBack)
		require.Len(t, batch.Records, 1)
		require.Equal(t, 0, batch.Records[0].Index)
		require.Equal(t, retry.ClassPoison, retry.ClassOf(batch.Records[0].Err))
	})
	t.Run("ignore", func(t *testing.T) {
		w, err := open(t, Ignore, "ignore")
		require.NoError(t, err)
		require.NoError(t, w.Commit(t.Context(), nil))
		require.Equal(t, []string{"1", "2", "3"}, p.rows("SELECT * FROM ignore ORDER BY id"))
	})
	t.Run("add", func(t *testing.T) {
		w, err := open(t, AddColumn, "add")
		require.NoError(t, err)
		require.NoError(t, w.Commit(t.Context(), nil))
		require.Equal(t, []string{"1|∅|∅|∅", "2|x|5|{a}", "3|∅|∅|∅"}, p.rows("SELECT * FROM add ORDER BY id"))
		put(t, w, rowOf(t, "id", 4, "m", 6))
		require.Equal(t, "6", p.one("SELECT m FROM add WHERE id = 4"))
	})
	t.Run("struct", func(t *testing.T) {
		p.exec("CREATE TABLE s (id bigint PRIMARY KEY, name text)")
		s := NewSink[account](p.db(), "s")
		_, err := s.OpenWriter(t.Context(), weaver.Lane{})
		require.ErrorContains(t, err, `has no column "note"`)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
		s.Unknown = AddColumn
		w, _ := openWriter(t, s, "s")
		note := "n"
		put(t, w, account{1, "a", &note})
		require.Equal(t, "1|a|n", p.one("SELECT * FROM s"))
	})
}

func TestTypesAreCheckedAtOpen(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(`CREATE TABLE t (id bigint PRIMARY KEY, name numeric(12,2), note date);
		CREATE TABLE needs (id bigint PRIMARY KEY, name text, note text, must int NOT NULL);
		CREATE TABLE keyless (id bigint, name text, note text);
		CREATE TABLE deferred (id bigint PRIMARY KEY DEFERRABLE, name text, note text);
		CREATE VIEW v AS SELECT * FROM keyless`)
	type wrong struct {
		ID   time.Time
		Name string
		Note []byte
	}
	open := func(s weaver.Sink[account]) error {
		_, err := s.OpenWriter(t.Context(), weaver.Lane{})
		return err
	}
	_, err := NewSink[wrong](p.db(), "t").OpenWriter(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, `column "id" of table "`+p.schema+`"."t" is a bigint, which field ID (time.Time), a time, can't be`)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	_, err = NewSink[int](p.db(), "t").OpenWriter(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, "a int is no row")
	require.ErrorContains(t, open(NewSink[account](p.db(), "needs")), `column "must" of`)
	require.ErrorContains(t, open(NewSink[account](p.db(), "keyless")), "it has no primary key: set Sink.Key")
	require.ErrorContains(t, open(NewSink[account](p.db(), "deferred")), "no unique index")
	require.ErrorContains(t, open(NewSink[account](p.db(), "v")), "no table but a view")
	for want, set := range map[string]func(*Sink[account]){
		`no column "x", which is in Sink.Key`: func(s *Sink[account]) { s.Key = []string{"x"} },
		`no unique index on ("name")`:         func(s *Sink[account]) { s.Key = []string{"name"} },
		`"id" stands twice`:                   func(s *Sink[account]) { s.Key = []string{"id", "id"} },
		"Sink.Mode is 9":                      func(s *Sink[account]) { s.Mode = 9 },
		"Sink.Unknown is 9":                   func(s *Sink[account]) { s.Unknown = 9 },
		"Sink.Mode is Insert":                 func(s *Sink[account]) { s.Mode, s.Key = Insert, []string{"id"} },
		"Sink.Schema":                         func(s *Sink[account]) { s.Schema = "a\x00" },
	} {
		s := NewSink[account](p.db(), "keyless")
		set(s)
		err := open(s)
		require.ErrorContains(t, err, want)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
	require.NoError(t, NewSink[account](p.db(), "t").CheckHealth(t.Context()))
	require.ErrorIs(t, NewSink[account](p.db(), "none").CheckHealth(t.Context()), errNoTable)
}

// TestSpecialColumns: what the table computes, and identities.
func TestSpecialColumns(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Upsert, Insert} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			p.exec(`CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n bigint GENERATED BY DEFAULT AS IDENTITY, name text, upper text GENERATED ALWAYS AS (upper(name)) STORED)`)
			type full struct {
				ID, N       int64
				Name, Upper string
			}
			s := NewSink[full](p.db(), "t")
			s.Mode = mode
			w, _ := openWriter(t, s, "t")
			put(t, w, full{5, 6, "a", "ignored"})
			if mode == Upsert {
				put(t, w, full{5, 7, "b", "ignored"})
				require.Equal(t, "5|7|b|B", p.one("SELECT * FROM t"))
				return
			}
			require.Equal(t, "5|6|a|A", p.one("SELECT * FROM t"))
			type some struct{ Name string }
			s2 := NewSink[some](p.db(), "t")
			s2.Mode = Insert
			w2, _ := openWriter(t, s2, "t2")
			put(t, w2, some{"c"}, some{"d"})
			require.Equal(t, []string{"1|1|c", "2|2|d"}, p.rows("SELECT id, n, name FROM t WHERE id < 5 ORDER BY id"))
			for _, op := range []weaver.Op{weaver.Delete, weaver.Update} {
				b := batchOf(some{"e"})
				b.Records[0].Op = op
				err := w2.Write(t.Context(), b)
				require.ErrorContains(t, err, "Sink.Mode is Insert")
				var batch *weaver.BatchError
				require.ErrorAs(t, err, &batch)
			}
		})
	}
	t.Run("policies", func(t *testing.T) {
		t.Parallel()
		p := newPlace(t)
		p.exec("CREATE TABLE t (id bigint, name text, note text); ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE ROLE r_" + p.schema + " LOGIN PASSWORD 'x'; GRANT ALL ON t TO r_" + p.schema +
			"; GRANT USAGE, CREATE ON SCHEMA " + p.schema + " TO r_" + p.schema + "; CREATE POLICY p ON t WITH CHECK (id < 10)")
		p.cleanup("DROP OWNED BY r_" + p.schema + "; DROP ROLE r_" + p.schema)
		_, host, _ := strings.Cut(p.url, "@")
		s := NewSink[account](DSN("postgres://r_"+p.schema+":x@"+host), "t")
		s.Mode = Insert
		w, _ := openWriter(t, s, "t")
		put(t, w, account{1, "a", nil})
		require.Equal(t, "1|a|∅", p.one("SELECT * FROM t"))
		err := w.Write(t.Context(), batchOf(account{10, "a", nil}))
		require.ErrorContains(t, err, "row-level security")
	})
}

func TestCreate(t *testing.T) {
	t.Parallel()
	type every struct {
		ID    int64
		U     uint64
		F     float32
		D     float64
		B     bool
		S     *string
		P     []byte
		T     time.Time
		ID2   [16]byte
		Tags  []string
		Other map[string]int
	}
	p := newPlace(t)
	s := NewSink[every](p.db(), "made")
	s.Create, s.Key = true, []string{"id"}
	require.NoError(t, s.CheckHealth(t.Context()))
	w, _ := openWriter(t, s, "t")
	put(t, w, every{ID: 1, U: 1<<64 - 1, Tags: []string{"x"}, Other: map[string]int{"a": 1}})
	require.Equal(t, []string{
		"b boolean t", "d double precision t", "f real t", "id bigint t", "id2 uuid t", "other jsonb f", "p bytea f", "s text f", "t timestamp with time zone t", "tags text[] f", "u numeric(20,0) t",
	}, p.rows("SELECT attname || ' ' || format_type(atttypid, atttypmod) || ' ' || CASE WHEN attnotnull THEN 't' ELSE 'f' END FROM pg_attribute WHERE attrelid = 'made'::regclass AND attnum > 0 ORDER BY attname"))
	require.Equal(t, "1|18446744073709551615", p.one("SELECT id, u FROM made"))
	again, _ := openWriter(t, s, "t")
	put(t, again, every{ID: 2})
	require.Equal(t, 2, p.count("made"))

	noKey := NewSink[every](p.db(), "other")
	noKey.Create = true
	_, err := noKey.OpenWriter(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, "nothing says what its key is")

	rows := NewSink[row.Row](p.db(), "rows")
	rows.Create = true
	rw, _ := openWriter(t, rows, "rows")
	cols, err := row.NewColumns(row.Column{Name: "k", Kind: row.KindText, Key: true, Type: "character varying(5)"}, row.Column{Name: "n", Kind: row.KindDecimal, Type: "numeric(12,2)", Nullable: true},
		row.Column{Name: "i", Kind: row.KindText, Type: "interval", Nullable: true}, row.Column{Name: "evil", Kind: row.KindText, Type: "text); DROP TABLE made; --", Nullable: true}, row.Column{Name: "later", Nullable: true})
	require.NoError(t, err)
	put(t, rw, row.Row{Columns: cols, Values: []row.Value{row.Text("a"), row.Decimal("1.5"), row.Text("1 day"), row.Text("e"), row.Bool(true)}})
	require.Equal(t, "a|1.50|1 day|e|t", p.one("SELECT * FROM rows"))
	require.Equal(t, 2, p.count("made"))
	_, err = NewSink[row.Row](p.db(), "rows2").OpenWriter(t.Context(), weaver.Lane{})
	require.ErrorIs(t, err, errNoTable, "only if it is asked for")
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(accountTable + "; INSERT INTO t VALUES (1, 'old'), (2, 'two')")
	for _, create := range []bool{false, true} {
		var log bytes.Buffer
		s := NewSink[account](p.db(), map[bool]string{true: "new", false: "t"}[create])
		s.DryRun, s.Create, s.Key = true, create, []string{"id"}
		opened, err := s.OpenWriter(t.Context(), weaver.Lane{Pipeline: "dry", Log: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, err)
		w := opened.(*writer[account])
		envelope, err := w.Restore(t.Context())
		require.NoError(t, err)
		require.Nil(t, envelope)
		for range 2 {
			b := batchOf(account{1, "new", nil}, account{3, "three", nil}, account{ID: 2})
			b.Records[2].Op = weaver.Delete
			require.NoError(t, w.Write(t.Context(), b))
			require.NoError(t, w.Commit(t.Context(), []byte("e")))
		}
		require.NoError(t, w.Close())
		if create {
			require.Contains(t, log.String(), "CREATE TABLE")
			require.Contains(t, log.String(), "inserted=2 updated=0 deleted=0")
		} else {
			require.Equal(t, 2, strings.Count(log.String(), "inserted=1 updated=1 deleted=1"), log.String())
		}
	}
	shapes := NewSink[map[string]any](p.db(), "t")
	shapes.DryRun = true
	w, _ := openWriter(t, shapes, "shapes")
	for range 2 { // what is made in a transaction that is rolled back is made again
		require.NoError(t, w.Write(t.Context(), batchOf(map[string]any{"id": 1, "name": "a"})))
		b := batchOf(map[string]any{"id": 2, "name": "b", "note": "c"}, map[string]any{"id": 1})
		b.Records[1].Op = weaver.Delete
		require.NoError(t, w.Write(t.Context(), b))
		require.Equal(t, counts{rows: 3, updated: 2, deleted: 1}, w.counts)
		require.NoError(t, w.Commit(t.Context(), nil))
	}
	require.Equal(t, []string{"1|old", "2|two"}, p.rows("SELECT id, name FROM t ORDER BY id"))
	require.Equal(t, "∅|∅", p.one("SELECT to_regclass('weaver_checkpoints'), to_regclass('new')"))
}

// TestFileWithStore: a file that is written at-least-once, with its checkpoint in the database.
func TestFileWithStore(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	store := NewStore(p.db())
	store.Schema = p.schema
	defer store.Close()
	path := t.TempDir() + "/out.ndjson"
	tee := weaver.Tee[sale](file.NDJSON[sale](path)) // which keeps no checkpoint of its own
	for _, n := range []int{100, 250} {
		run := pipelineOf(sales(n), tee)
		run.Require = 0
		run.Checkpoint = store
		require.NoError(t, run.Run(t.Context()))
	}
	value, version, err := store.Load(t.Context(), "sales")
	require.NoError(t, err)
	require.NotEmpty(t, value)
	require.Positive(t, version)
	back := p // rows of the file, by the database
	back.exec("CREATE TABLE lines (line jsonb)")
	in := NewSink[map[string]any](p.db(), "lines")
	in.Mode = Insert
	count := weaver.NewPipeline(file.NDJSON[map[string]any](path), weaver.Map(func(v map[string]any) (map[string]any, error) { return map[string]any{"line": v}, nil }), in)
	count.Name, count.Log = "lines", slog.New(slog.DiscardHandler)
	require.NoError(t, count.Run(t.Context()))
	require.Equal(t, "250", p.one("SELECT count(*) FROM lines"))
}
