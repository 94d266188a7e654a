package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// TestKeyset reads tables by keys of all sorts, in pages of several sizes, and goes on at every position.
func TestKeyset(t *testing.T) {
	t.Parallel()
	const words = `SELECT w FROM (VALUES ('a'), ('A'), ('b'), ('B'), ('ä'), ('Ä'), ('z'), (''), (' '), ('a b'), ('a-b'), ('ab'), ('~'), ('''"\'), ('ß'), ('ss'), ('日本')) v(w)`
	edges := func(bits int) string {
		return fmt.Sprintf("SELECT v FROM (SELECT (-(2::numeric^%d))::bigint + g AS v FROM generate_series(0, 3) g UNION ALL SELECT g FROM generate_series(-3, 3) g UNION ALL SELECT (2::numeric^%d - 1)::bigint - g FROM generate_series(0, 3) g) x", bits-1, bits-1)
	}
	tests := []struct {
		name, table, fill, query string
		key                      []string
	}{
		{"bigint", "k bigint PRIMARY KEY", edges(64), "", nil},
		{"integer", "k integer PRIMARY KEY", edges(32), "", nil},
		{"smallint", "k smallint PRIMARY KEY", edges(16), "", nil},
		{"text, default collation", "k text PRIMARY KEY", words, "", nil},
		{"text, C", `k text COLLATE "C" PRIMARY KEY`, words, "", nil},
		{"text, ICU", `k text COLLATE "de-x-icu" PRIMARY KEY`, words, "", nil},
		{"text, ICU, nondeterministic", `k text COLLATE anycase PRIMARY KEY`, words + " WHERE w NOT IN ('A', 'B', 'Ä')", "", nil},
		{"varchar", "k varchar(10) PRIMARY KEY", words, "", nil},
		{"char", "k char(10) PRIMARY KEY", words + " WHERE w <> ' '", "", nil},
		{"uuid", "k uuid PRIMARY KEY", "SELECT md5(g::text)::uuid FROM generate_series(1, 50) g", "", nil},
		{"bytea", "k bytea PRIMARY KEY", `SELECT decode(lpad(to_hex(g * 7), 4, '0'), 'hex') FROM generate_series(0, 50) g UNION ALL SELECT '\x'`, "", nil},
		{"numeric", "k numeric PRIMARY KEY", "SELECT v::numeric FROM unnest('{0,0.1,0.01,-1,1e50,-1e50,1e-50,NaN,Infinity,-Infinity,100,99.99}'::numeric[]) v", "", nil},
		{"double", "k double precision PRIMARY KEY", "SELECT v FROM unnest('{0,0.1,-1,1e300,5e-324,NaN,Infinity,-Infinity}'::float8[]) v", "", nil},
		{"real", "k real PRIMARY KEY", "SELECT v FROM unnest('{0,0.1,-1,3e38,1e-45,NaN,Infinity,-Infinity}'::float4[]) v", "", nil},
		{"boolean", "k boolean PRIMARY KEY", "VALUES (true), (false)", "", nil},
		{"date", "k date PRIMARY KEY", "SELECT v FROM unnest('{-infinity,4713-01-01 BC,1999-12-31,2000-01-01,2024-02-29,5874897-12-31,infinity}'::date[]) v", "", nil},
		{"timestamp", "k timestamp PRIMARY KEY", "SELECT v FROM unnest('{-infinity,4713-01-01 BC,1999-12-31 23:59:59.999999,2000-01-01,294276-12-31 23:59:59.999999,infinity}'::timestamp[]) v", "", nil},
		{"timestamptz", "k timestamptz PRIMARY KEY", "SELECT v FROM unnest('{-infinity,1999-12-31 23:59:59.999999+02,2000-01-01Z,2024-01-01 00:00:00.000001Z,infinity}'::timestamptz[]) v", "", nil},
		{"time", "k time PRIMARY KEY", "SELECT v FROM unnest('{00:00,24:00,12:34:56.789012}'::time[]) v", "", nil},
		{"interval", "k interval PRIMARY KEY", "SELECT g * interval '1 day 1 s' FROM generate_series(-5, 5) g", "", nil},
		{"inet", "k inet PRIMARY KEY", "SELECT '10.0.0.0'::inet + g FROM generate_series(1, 20) g", "", nil},
		{"enum", "k mood PRIMARY KEY", "VALUES ('ok'::mood), ('sad'), ('happy')", "", nil},
		{"oid", "k oid PRIMARY KEY", "SELECT v::oid FROM unnest('{0,1,4294967295,2147483648}'::bigint[]) v", "", nil},
		{"domain", "k positive PRIMARY KEY", "SELECT g FROM generate_series(1, 20) g", "", nil},
		{"composite", "a int, b text, c date, PRIMARY KEY (b, a, c)", "SELECT x, y, '2024-01-01'::date + z FROM generate_series(1, 3) x, (VALUES ('a'), ('B'), ('')) v(y), generate_series(0, 2) z", "", nil},
		{"unique index", "id int NOT NULL, k text NOT NULL UNIQUE", "SELECT 1, w FROM (" + words + ") x", "", []string{"k"}},
		{"unique and more", "id int NOT NULL, k text NOT NULL UNIQUE", "SELECT length(w), w FROM (" + words + ") x", "", []string{"id", "k"}},
		{"partitioned", "k int, x int, PRIMARY KEY (k, x)) PARTITION BY RANGE (k", "SELECT g, g FROM generate_series(0, 99) g", "", nil},
		{"query", "k int PRIMARY KEY, v int", "SELECT g, -g FROM generate_series(1, 60) g", `SELECT k * 2 AS "the key", v FROM %s WHERE v < -7 -- some`, []string{"the key"}},
		{"query, two columns", "k int PRIMARY KEY, v int", "SELECT g, -g FROM generate_series(5, 14) g", `SELECT a.k AS a, b.k AS b FROM %[1]s a JOIN %[1]s b ON a.k / 10 = b.k / 10`, []string{"b", "a"}},
		{"view", "k int PRIMARY KEY", "SELECT g FROM generate_series(1, 30) g", "", []string{"k"}},
		{"hostile name", `"k""; DROP TABLE x; --" int PRIMARY KEY`, "SELECT g FROM generate_series(1, 30) g", "", nil},
	}
	p := newPlace(t)
	p.exec(`CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE DOMAIN positive AS int CHECK (value > 0);
		CREATE COLLATION anycase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`)
	for i, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := *p
			p.t, p.conn = t, p.connect(p.url)
			name := fmt.Sprint("k", i)
			p.exec(fmt.Sprintf("CREATE TABLE %s (%s)", name, c.table))
			if c.name == "partitioned" {
				p.exec(fmt.Sprintf("CREATE TABLE %[1]s_a PARTITION OF %[1]s FOR VALUES FROM (0) TO (50); CREATE TABLE %[1]s_b PARTITION OF %[1]s FOR VALUES FROM (50) TO (100)", name))
			}
			p.exec(fmt.Sprintf("INSERT INTO %s %s", name, c.fill))
			if c.name == "view" {
				p.exec(fmt.Sprintf("CREATE VIEW %[1]s_v AS SELECT * FROM %[1]s", name))
				name += "_v"
			}
			src := NewSource[row.Row](p.db(), name)
			src.Key = c.key
			if c.query != "" {
				src = &Source[row.Row]{db: p.db(), Query: fmt.Sprintf(c.query, name), Key: c.key}
			}
			var want []string
			var all []mark
			for _, size := range []int{defaultPageRows, 1, 2, 7} {
				src.PageRows = size
				records, marks := readAll(t, src, lane(nil), 1)
				if want == nil {
					want = keysOf(records)
					all = marks
				}
				require.Equal(t, want, keysOf(records), "pages of %d", size)
			}
			var n int
			require.NoError(t, p.conn.QueryRow(t.Context(), "SELECT count(*) FROM "+from(src)).Scan(&n))
			require.Len(t, want, n)
			require.Len(t, unique(want), n)
			src.PageRows = 7
			for _, m := range all {
				records, _ := readAll(t, src, lane(m.position), 0)
				require.Equal(t, want[m.records:], keysOf(records), "behind %d records", m.records)
			}
		})
	}
}

func from[T any](s *Source[T]) string {
	if s.Query != "" {
		return "(" + s.Query + "\n) x"
	}
	return quote(s.name)
}

func unique(keys []string) map[string]bool {
	m := map[string]bool{}
	for _, k := range keys {
		m[k] = true
	}
	return m
}

// TestKeysetResume goes on at every position of some hundred rows.
func TestKeysetResume(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec("CREATE TABLE k (a int, b text, PRIMARY KEY (a, b)); INSERT INTO k SELECT g / 7, md5(g::text) FROM generate_series(1, 200) g")
	src := NewSource[row.Row](p.db(), "k")
	src.PageRows = 20
	records, marks := readAll(t, src, lane(nil), 1)
	want := keysOf(records)
	require.Len(t, marks, 201)
	require.Len(t, unique(want), 200)
	for _, m := range marks {
		rest, _ := readAll(t, src, lane(m.position), 0)
		require.Equal(t, want[m.records:], keysOf(rest))
		if len(rest) > 0 {
			require.Equal(t, int64(m.records+1), rest[0].Seq)
		}
	}
}

// TestKeysetRefuses: a key by which rows might be missed is refused, and says why.
func TestKeysetRefuses(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(`CREATE TABLE nokey (a int); CREATE TABLE nullable (a int UNIQUE); CREATE TABLE several (a int NOT NULL); INSERT INTO several VALUES (1), (1), (2);
		CREATE TABLE partial (a int NOT NULL); CREATE UNIQUE INDEX ON partial (a) WHERE a > 0;
		CREATE SEQUENCE drawn; CREATE TABLE js (a jsonb PRIMARY KEY); CREATE VIEW nulls AS SELECT NULL::int AS a UNION ALL SELECT 1`)
	tests := []struct {
		name string
		src  *Source[row.Row]
		want string
	}{
		{"no key", NewSource[row.Row](p.db(), "nokey"), "no primary key"},
		{"nullable", &Source[row.Row]{db: p.db(), name: "nullable", Key: []string{"a"}}, "may be NULL"},
		{"not unique", &Source[row.Row]{db: p.db(), name: "several", Key: []string{"a"}}, "no unique index"},
		{"partial index", &Source[row.Row]{db: p.db(), name: "partial", Key: []string{"a"}}, "no unique index"},
		{"no such column", &Source[row.Row]{db: p.db(), name: "several", Key: []string{"x"}}, `no column "x"`},
		{"no such table", NewSource[row.Row](p.db(), "nowhere"), "no such table"},
		{"json", NewSource[row.Row](p.db(), "js"), "no type for a key"},
		{"twice within a page", &Source[row.Row]{db: p.db(), Query: "SELECT a FROM several", Key: []string{"a"}}, "two rows with the same key"},
		{"twice at a page's edge", &Source[row.Row]{db: p.db(), Query: "SELECT a FROM several", Key: []string{"a"}, PageRows: 1}, "two rows with the same key"},
		{"NULL in a view", &Source[row.Row]{db: p.db(), name: "nulls", Key: []string{"a"}}, "is NULL"},
		{"query without a key", &Source[row.Row]{db: p.db(), Query: "SELECT 1 AS a"}, "needs Key"},
		{"syntax", &Source[row.Row]{db: p.db(), Query: "SELEC 1 AS a", Key: []string{"a"}}, "syntax error"},
		{"two columns of a name", &Source[row.Row]{db: p.db(), Query: "SELECT 1 AS a, 2 AS a", Key: []string{"a"}}, "two columns"},
		{"parameter", &Source[row.Row]{db: p.db(), Query: "SELECT $1::int AS a", Key: []string{"a"}}, "parameter $1"},
		{"two statements", &Source[row.Row]{db: p.db(), Query: "SELECT 1 AS a) x; DROP TABLE several; --", Key: []string{"a"}}, "syntax error"},
		{"nothing", &Source[row.Row]{db: p.db()}, "neither"},
		{"both", &Source[row.Row]{db: p.db(), name: "several", Query: "SELECT 1"}, "both"},
		{"a query that writes", &Source[row.Row]{db: p.db(), Query: "SELECT nextval('drawn') AS a", Key: []string{"a"}}, "read-only"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, _, _, err := tryRead(t.Context(), c.src, lane(nil), 0)
			require.Error(t, err)
			require.Equal(t, retry.ClassFatal, retry.ClassOf(err), err)
			require.Contains(t, err.Error(), c.want)
			var _ weaver.Source[row.Row] = c.src
		})
	}
	require.Equal(t, 3, p.count("several"))
}

// TestKeysetComparesByCollation: a name in another collation than the column's would skip rows.
func TestKeysetSQL(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(`CREATE TABLE "a""b" (x int, "y""" text, at timestamptz NOT NULL, PRIMARY KEY (x, "y"""))`)
	o, _, err := (&Source[row.Row]{db: p.db(), name: `a"b`, Cursor: "at", Follow: true}).origin()
	require.NoError(t, err)
	rel, err := o.describe(t.Context(), p.conn)
	require.NoError(t, err)
	l, err := o.layout(rel)
	require.NoError(t, err)
	sql, args, err := (&page{layout: l, at: []row.Value{row.Int(1), row.Text("b")}, horizon: row.Instant(5, 0), limit: 9}).sql()
	require.NoError(t, err)
	require.Equal(t, strings.ReplaceAll(`SELECT t.* FROM "SCHEMA"."a""b" AS t WHERE t."at" <= $1 AND (t."x", t."y""") > ($2, $3) ORDER BY t."x", t."y""" LIMIT 9`, "SCHEMA", p.schema), sql)
	require.Len(t, args.values, 3)
	sql, _, err = (&page{layout: l, following: true, at: []row.Value{row.Instant(5, 0)}, limit: 9}).sql()
	require.NoError(t, err)
	require.Contains(t, sql, `WHERE t."at" > $1 ORDER BY t."at", t."x", t."y""" LIMIT 9`)
}
