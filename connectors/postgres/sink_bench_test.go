package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/row"
)

type wide struct {
	ID     int64
	Name   string
	City   string
	Amount int64
	Count  int32
	Ratio  float64
	Active bool
	At     time.Time
	Price  string
	Note   string
}

const (
	wideTable   = "CREATE TABLE %s (id bigint PRIMARY KEY, name text, city text, amount bigint, count int, ratio float8, active bool, at timestamptz, price text, note text)"
	wideRows    = 5000
	wideColumns = "id, name, city, amount, count, ratio, active, at, price, note"
	wideSet     = "name = excluded.name, city = excluded.city, amount = excluded.amount, count = excluded.count, ratio = excluded.ratio, active = excluded.active, at = excluded.at, price = excluded.price, note = excluded.note"
)

func wideOf(i int) wide {
	return wide{
		ID: int64(i), Name: fmt.Sprintf("customer %d", i), City: "Berlin", Amount: int64(i) * 37, Count: int32(i % 1000), Ratio: float64(i) / 7,
		Active: i%2 == 0, At: time.Unix(1_700_000_000+int64(i), 0), Price: fmt.Sprintf("%d.%02d", i%10000, i%100), Note: "a note that is a little longer than the rest",
	}
}

// way writes rows into a table of sales and makes them durable, in a transaction of its own.
type way func(b *testing.B, p *place, table string) func(ctx context.Context, rows []wide)

// compare has ways take turns, each at a table of its own, and reports the rows a second of each, by the median, and how the first
// compares to the others. That way all of them meet the same noise. With existing the tables have the rows already.
func compare(b *testing.B, existing bool, names []string, ways ...way) {
	p := newPlace(b)
	const blocks = 20
	rows := make([]wide, blocks*wideRows)
	for i := range rows {
		rows[i] = wideOf(i)
	}
	writes := make([]func(ctx context.Context, rows []wide), len(ways))
	for i, open := range ways {
		table := "t" + strconv.Itoa(i)
		p.exec(fmt.Sprintf(wideTable, table))
		if existing {
			_, err := p.conn.CopyFrom(b.Context(), pgx.Identifier{table}, []string{"id"}, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) { return []any{rows[i].ID}, nil }))
			require.NoError(b, err)
			p.exec("VACUUM ANALYZE " + table)
		}
		writes[i] = open(b, p, table)
	}
	p.exec("CHECKPOINT")
	spent := make([][]time.Duration, len(ways))
	n := 0
	for b.Loop() {
		at := n % blocks * wideRows
		part := rows[at : at+wideRows]
		if !existing {
			for i := range part {
				part[i].ID = int64(n*wideRows + i)
			}
		}
		for turn := range writes {
			i := (turn + n) % len(writes)
			begin := time.Now()
			writes[i](b.Context(), part)
			spent[i] = append(spent[i], time.Since(begin))
		}
		n++
	}
	median := func(i int) float64 {
		slices.Sort(spent[i])
		return spent[i][n/2].Seconds()
	}
	for i := range ways {
		b.ReportMetric(wideRows/median(i), names[i]+"-rows/s")
		if i > 0 {
			b.ReportMetric(median(i)/median(0), "x-"+names[i])
		}
	}
}

// bySink is this package's way, exactly-once.
func bySink(mode Mode) way {
	return func(b *testing.B, p *place, table string) func(context.Context, []wide) {
		s := NewSink[wide](p.db(), table)
		s.Mode = mode
		w, err := s.OpenWriter(b.Context(), weaver.Lane{Pipeline: "bench"})
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, w.Close()) })
		keeper := w.(weaver.Checkpointer)
		_, err = keeper.Restore(b.Context())
		require.NoError(b, err)
		batch := weaver.NewBatch[wide](wideRows, 64<<20)
		envelope := make([]byte, 40)
		return func(ctx context.Context, rows []wide) {
			batch.Reset()
			for i := range rows {
				batch.Add().Value = rows[i]
			}
			require.NoError(b, w.Write(ctx, batch))
			require.NoError(b, keeper.Commit(ctx, envelope))
		}
	}
}

var wideNames = []string{"id", "name", "city", "amount", "count", "ratio", "active", "at", "price", "note"}

func copyRows(rows []wide) pgx.CopyFromSource {
	return pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		r := &rows[i]
		return []any{r.ID, r.Name, r.City, r.Amount, r.Count, r.Ratio, r.Active, r.At, r.Price, r.Note}, nil
	})
}

// byCopyFrom is pgx's CopyFrom in a transaction.
func byCopyFrom(b *testing.B, p *place, table string) func(context.Context, []wide) {
	conn := p.connect(p.url)
	return func(ctx context.Context, rows []wide) {
		tx, err := conn.Begin(ctx)
		require.NoError(b, err)
		_, err = tx.CopyFrom(ctx, pgx.Identifier{table}, wideNames, copyRows(rows))
		require.NoError(b, err)
		require.NoError(b, tx.Commit(ctx))
	}
}

// byMerge is the usual way by hand: COPY into a temporary table, and a merge.
func byMerge(b *testing.B, p *place, table string) func(context.Context, []wide) {
	conn := p.connect(p.url)
	_, err := conn.Exec(b.Context(), "CREATE TEMP TABLE staged (LIKE "+table+")")
	require.NoError(b, err)
	return func(ctx context.Context, rows []wide) {
		tx, err := conn.Begin(ctx)
		require.NoError(b, err)
		_, err = tx.CopyFrom(ctx, pgx.Identifier{"staged"}, wideNames, copyRows(rows))
		require.NoError(b, err)
		_, err = tx.Exec(ctx, "INSERT INTO "+table+" ("+wideColumns+") SELECT "+wideColumns+" FROM staged ON CONFLICT (id) DO UPDATE SET "+wideSet)
		require.NoError(b, err)
		_, err = tx.Exec(ctx, "TRUNCATE staged")
		require.NoError(b, err)
		require.NoError(b, tx.Commit(ctx))
	}
}

// byArrays is an array for each column.
func byArrays(b *testing.B, p *place, table string) func(context.Context, []wide) {
	conn := p.connect(p.url)
	return func(ctx context.Context, rows []wide) {
		n := len(rows)
		ids, names, cities, amounts, counts := make([]int64, n), make([]string, n), make([]string, n), make([]int64, n), make([]int32, n)
		ratios, actives, ats, prices, notes := make([]float64, n), make([]bool, n), make([]time.Time, n), make([]string, n), make([]string, n)
		for i := range rows {
			r := &rows[i]
			ids[i], names[i], cities[i], amounts[i], counts[i] = r.ID, r.Name, r.City, r.Amount, r.Count
			ratios[i], actives[i], ats[i], prices[i], notes[i] = r.Ratio, r.Active, r.At, r.Price, r.Note
		}
		_, err := conn.Exec(ctx, "INSERT INTO "+table+" ("+wideColumns+") SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::int[], $6::float8[], $7::bool[], $8::timestamptz[], $9::text[], $10::text[]) "+
			"ON CONFLICT (id) DO UPDATE SET "+wideSet, ids, names, cities, amounts, counts, ratios, actives, ats, prices, notes)
		require.NoError(b, err)
	}
}

func BenchmarkInsert(b *testing.B) {
	compare(b, false, []string{"sink", "copyfrom"}, bySink(Insert), byCopyFrom)
}

func BenchmarkUpsert(b *testing.B) {
	compare(b, true, []string{"sink", "merge", "arrays"}, bySink(Upsert), byMerge, byArrays)
}

func BenchmarkUpsertNew(b *testing.B) {
	compare(b, false, []string{"sink", "merge", "arrays"}, bySink(Upsert), byMerge, byArrays)
}

// BenchmarkEncode is the sink's own share: rows to what is sent.
func BenchmarkEncode(b *testing.B) {
	b.ReportAllocs()
	shape, err := row.ShapeOf[wide]()
	require.NoError(b, err)
	p := &plan{copy: true}
	var s staging
	for i, c := range shape.Columns().All() {
		f, kind := formText, c.Kind
		switch kind {
		case row.KindInt:
			f = formInt8
		case row.KindFloat:
			f = formFloat8
		case row.KindBool:
			f = formBool
		case row.KindTime:
			f = formTimestamptz
		}
		p.targets = append(p.targets, newTarget(&column{name: c.Name, columnType: columnType{form: f, kind: kind}}, i))
	}
	rows := make([]wide, wideRows)
	for i := range rows {
		rows[i] = wideOf(i)
	}
	rower := shape.Rower(nil)
	var vals []row.Value
	for b.Loop() {
		s.reset()
		for i := range rows {
			_, vals, err = rower.Row(&rows[i], vals[:0])
			if err == nil {
				_, err = s.insert(p, vals)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*wideRows), "ns/row")
}
