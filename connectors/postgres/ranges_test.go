package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// TestRanges: ranges have about equally many rows, and each row is in one.
func TestRanges(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, table, fill, query string }{
		{"bigint", "k bigint PRIMARY KEY", "SELECT g FROM generate_series(1, %d) g", ""},
		{"bigint, skewed", "k bigint PRIMARY KEY", "SELECT CASE WHEN g %% 10 = 0 THEN g::bigint * 1000000000 ELSE g END FROM generate_series(1, %d) g", ""},
		{"text", "k text PRIMARY KEY", "SELECT md5(g::text) FROM generate_series(1, %d) g", ""},
		{"uuid", "k uuid PRIMARY KEY", "SELECT md5(g::text)::uuid FROM generate_series(1, %d) g", ""},
		{"timestamptz", "k timestamptz PRIMARY KEY", "SELECT now() + g * interval '1 s' FROM generate_series(1, %d) g", ""},
		{"composite", "a int, b text, PRIMARY KEY (a, b)", "SELECT g / 1000, md5(g::text) FROM generate_series(1, %d) g", ""},
		{"query", "k bigint PRIMARY KEY", "SELECT g FROM generate_series(1, %d) g", "SELECT k, k AS again FROM %s WHERE k %% 2 = 0"},
		{"view", "k bigint PRIMARY KEY", "SELECT g FROM generate_series(1, %d) g", ""},
	}
	p := newPlace(t)
	for i, c := range tests {
		for _, n := range []int{1000, 120_000} { // of the larger ones a sample is taken
			if n > 1000 && i >= 3 && c.name != "composite" {
				continue
			}
			t.Run(fmt.Sprint(c.name, " ", n), func(t *testing.T) {
				t.Parallel()
				p := *p
				p.t, p.conn = t, p.connect(p.url)
				name := fmt.Sprint("r", i, "_", n)
				p.exec(fmt.Sprintf("CREATE TABLE %s (%s)", name, c.table))
				p.exec(fmt.Sprintf("INSERT INTO "+name+" "+c.fill, n))
				p.exec("ANALYZE " + name)
				if c.name == "view" {
					p.exec(fmt.Sprintf("CREATE VIEW %[1]s_v AS SELECT * FROM %[1]s", name))
					name += "_v"
				}
				src := NewSource[row.Row](p.db(), name)
				if c.query != "" {
					src = &Source[row.Row]{db: p.db(), Query: fmt.Sprintf(c.query, name)}
				}
				if c.query != "" || c.name == "view" {
					src.Key = []string{"k"}
				}
				src.Ranges = 5
				splits := splitsOf(t, src)
				require.Len(t, splits, 5)
				var keys []string
				var sizes []int
				for _, s := range splits {
					at := lane(nil)
					at.Split = s
					records, _ := readAll(t, src, at, 0)
					sizes = append(sizes, len(records))
					keys = append(keys, keysOf(records)...)
				}
				var want int
				require.NoError(t, p.conn.QueryRow(t.Context(), "SELECT count(*) FROM "+from(src)).Scan(&want))
				require.Len(t, keys, want)
				require.Len(t, unique(keys), want)
				require.Greater(t, slices.Min(sizes), want/5*7/10, "%v", sizes)
				require.Equal(t, rangesOf(splits), rangesOf(splitsOf(t, src)), "the same table has the same ranges")
			})
		}
	}
}

func TestRangesOfFewRows(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec("CREATE TABLE few (k int PRIMARY KEY)")
	for n := range 4 {
		if n > 0 {
			p.exec(fmt.Sprintf("INSERT INTO few VALUES (%d)", n))
		}
		src := NewSource[row.Row](p.db(), "few")
		src.Ranges = 3
		splits := splitsOf(t, src)
		require.Len(t, splits, max(n, 1))
		var keys []string
		for _, s := range splits {
			at := lane(nil)
			at.Split = s
			records, _ := readAll(t, src, at, 0)
			keys = append(keys, keysOf(records)...)
		}
		require.Len(t, keys, n)
	}
}

// copyTable runs a pipeline of row.Row to a transactional sink to its end.
func copyTable(ctx context.Context, src weaver.Source[row.Row], sink weaver.Sink[row.Row]) error {
	p := weaver.Copy(src, sink)
	p.Log = slog.New(slog.DiscardHandler)
	return p.Run(ctx)
}

// TestRangesPlan: with Plan, a pipeline that runs again goes on where each range has ended, whatever has become of the table.
func TestRangesPlan(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec("CREATE TABLE grows (k int PRIMARY KEY, v text); INSERT INTO grows SELECT g, 'a' FROM generate_series(1, 1000) g")
	src := NewSource[row.Row](p.db(), "grows")
	src.Ranges, src.Plan = 4, checkpoint.NewMemory()
	sink := weavertest.NewSink[row.Row]()
	sink.Mode = weavertest.Transactional
	for i := range 3 {
		require.NoError(t, copyTable(t.Context(), src, sink))
		require.Len(t, sink.Values(), 1000*(i+1))
		p.exec(fmt.Sprintf("INSERT INTO grows SELECT g, 'b' FROM generate_series(%d, %d) g", 1000*(i+1)+1, 1000*(i+2)))
	}
	keys := map[int64]bool{}
	for _, v := range sink.Values() {
		keys[v.Get("k").Int()] = true
	}
	require.Len(t, keys, 3000)
}

// TestRangesWithoutPlan: nothing is read a second time, or left out, in silence.
func TestRangesWithoutPlan(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec("CREATE TABLE grows (k int PRIMARY KEY); INSERT INTO grows SELECT g FROM generate_series(1, 1000) g")
	src := NewSource[row.Row](p.db(), "grows")
	src.Ranges = 4
	sink := weavertest.NewSink[row.Row]()
	sink.Mode = weavertest.Transactional
	require.NoError(t, copyTable(t.Context(), src, sink))
	require.NoError(t, copyTable(t.Context(), src, sink), "the table is the same")
	require.Len(t, sink.Values(), 1000)
	p.exec("INSERT INTO grows SELECT g FROM generate_series(1001, 2000) g")
	err := copyTable(t.Context(), src, sink)
	require.Error(t, err)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	require.Contains(t, err.Error(), "set Plan")
	require.Len(t, sink.Values(), 1000)
}
