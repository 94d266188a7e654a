package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/row"
	"github.com/bohica-labs/dataweaver/weavertest"
)

type sale struct {
	ID    int64
	Name  string
	Price row.Value
	Tags  []string
	At    time.Time
}

func saleOf(i int) sale {
	return sale{
		ID: int64(i) + 1, Name: "sale " + strconv.Itoa(i), Price: row.Decimal(strconv.Itoa(i) + ".25"), Tags: []string{"a", strconv.Itoa(i)},
		At: time.Date(2026, 1, 2, 3, 4, 5, i*1000, time.UTC),
	}
}

const saleTable = "CREATE TABLE %s (id bigint PRIMARY KEY, name text NOT NULL, price numeric(12,2), tags text[], at timestamptz)"

// text is an sale as the database shows it.
func (it sale) text() string {
	return fmt.Sprintf("%d|%s|%s|{%s}|%s", it.ID, it.Name, it.Price, strings.Join(it.Tags, ","), it.At.UTC().Format("2006-01-02 15:04:05.999999"))
}

func (it sale) row() row.Row {
	return row.Row{Columns: saleColumns(), Values: []row.Value{
		row.Int(it.ID), row.Text(it.Name), it.Price,
		row.List(&row.Array{Elem: row.KindText, Values: []row.Value{row.Text(it.Tags[0]), row.Text(it.Tags[1])}}), row.Time(it.At),
	}}
}

func saleColumns() *row.Columns {
	c, err := row.NewColumns(row.Column{Name: "id", Kind: row.KindInt}, row.Column{Name: "name", Kind: row.KindText}, row.Column{Name: "price", Kind: row.KindDecimal},
		row.Column{Name: "tags", Kind: row.KindArray, Elem: row.KindText}, row.Column{Name: "at", Kind: row.KindTime})
	if err != nil {
		panic(err)
	}
	return c
}

// salesOf reads a table of sales back, in the order of their ids.
func (p *place) salesOf(ctx context.Context, table string) ([]sale, error) {
	lines, err := p.lines(ctx, "SET TimeZone = 'UTC'; SELECT id, name, price, tags[1], tags[2], extract(epoch FROM at)::numeric FROM "+table+" ORDER BY id")
	if err != nil {
		return nil, err
	}
	var sales []sale
	for _, line := range lines {
		f := strings.Split(line, "|")
		id, err := strconv.ParseInt(f[0], 10, 64)
		if err != nil {
			return nil, err
		}
		var sec, micro int64
		if _, err := fmt.Sscanf(f[5], "%d.%d", &sec, &micro); err != nil {
			return nil, err
		}
		sales = append(sales, sale{ID: id, Name: f[1], Price: row.Decimal(f[2]), Tags: []string{f[3], f[4]}, At: time.Unix(sec, micro*1000).UTC()})
	}
	return sales, nil
}

func testSinkOf[T any](t *testing.T, pooled bool, set func(*Sink[T]), of func(sale) T) {
	t.Helper()
	p := newPlace(t)
	n := 0
	db := p.db()
	if pooled {
		pool, err := pgxpool.New(t.Context(), p.url)
		require.NoError(t, err)
		defer pool.Close()
		db = Pool(pool)
	}
	poison := saleOf(77)
	poison.Name = "NUL \x00"
	require.NoError(t, weavertest.TestSink(t.Context(), weavertest.SinkCase[T]{
		New: func(context.Context) (weaver.Sink[T], func(context.Context) ([]weaver.Record[T], error), error) {
			n++
			table := "sales_" + strconv.Itoa(n)
			p.exec(fmt.Sprintf(saleTable, table))
			s := NewSink[T](db, table)
			s.Checkpoints = "checkpoints_" + strconv.Itoa(n)
			set(s)
			return s, func(ctx context.Context) ([]weaver.Record[T], error) {
				sales, err := p.salesOf(ctx, table)
				var records []weaver.Record[T]
				for _, it := range sales {
					records = append(records, weaver.Record[T]{Value: of(it)})
				}
				return records, err
			}, nil
		},
		Record: func(i int) weaver.Record[T] { return weaver.Record[T]{Value: of(saleOf(i))} },
		Poison: func() weaver.Record[T] { return weaver.Record[T]{Value: of(poison)} },
		Equal: func(got, want weaver.Record[T]) bool {
			return fmt.Sprint(texts(got.Value)) == fmt.Sprint(texts(want.Value))
		},
		Patience: time.Minute,
	}))
}

func texts(v any) string {
	switch v := v.(type) {
	case sale:
		return v.text()
	case row.Row:
		var b strings.Builder
		for _, x := range v.Values {
			b.WriteString(x.String() + "|")
		}
		return b.String()
	}
	return fmt.Sprint(v)
}

func TestSinkKeepsTheContract(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Upsert, Insert} {
		for _, pooled := range []bool{false, true} {
			t.Run(fmt.Sprint(mode, pooled), func(t *testing.T) {
				t.Parallel()
				testSinkOf(t, pooled, func(s *Sink[sale]) { s.Mode = mode }, func(it sale) sale { return it })
			})
		}
		t.Run(fmt.Sprint(mode, " row"), func(t *testing.T) {
			t.Parallel()
			testSinkOf(t, false, func(s *Sink[row.Row]) { s.Mode = mode }, sale.row)
		})
	}
}

func TestStoreKeepsTheContract(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	n := 0
	var open []*Store
	defer func() {
		for _, s := range open {
			require.NoError(t, s.Close())
		}
	}()
	require.NoError(t, weavertest.TestCheckpointStore(t.Context(), weavertest.StoreCase{
		New: func(context.Context) (checkpoint.Store, error) {
			n++
			s := NewStore(p.db())
			s.Table = "checkpoints_" + strconv.Itoa(n)
			open = append(open, s)
			return s, nil
		},
		Reopen: func(_ context.Context, old checkpoint.Store) (checkpoint.Store, error) {
			s := NewStore(p.db())
			s.Table = old.(*Store).Table
			open = append(open, s)
			return s, nil
		},
		Patience: time.Minute,
	}))
}
