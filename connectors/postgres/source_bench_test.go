package postgres

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/row"
)

// visit is a row of the benchmarks' table.
type visit struct {
	ID        int64     `json:"id"`
	UserID    string    `json:"user_id"`
	Name      string    `json:"name"`
	Email     string    `json:"email"`
	Country   string    `json:"country"`
	Amount    float64   `json:"amount"`
	Quantity  int       `json:"quantity"`
	Active    bool      `json:"active"`
	CreatedAt time.Time `json:"created_at"`
	Note      string    `json:"note"`
}

// visits makes a table of visits.
func (p *place) visits(n int) {
	p.t.Helper()
	p.exec(fmt.Sprintf(`CREATE TABLE visits (id bigint PRIMARY KEY, user_id text NOT NULL, name text NOT NULL, email text NOT NULL, country text NOT NULL,
		amount double precision NOT NULL, quantity integer NOT NULL, active boolean NOT NULL, created_at timestamptz NOT NULL, note text NOT NULL);
		INSERT INTO visits SELECT g, md5(g::text), 'name ' || g, 'somebody' || g || '@example.com', 'de', g / 7.0, g %% 100, g %% 3 = 0,
			'2024-01-01Z'::timestamptz + g * interval '1 ms', 'a note that is a little longer ' || g FROM generate_series(1, %d) g; ANALYZE visits`, n))
}

func benchRows() int {
	if n, err := strconv.Atoi(os.Getenv("WEAVER_BENCH_ROWS")); err == nil {
		return n
	}
	return 100_000
}

// BenchmarkSource reads a table, into nothing and into NDJSON, beside what is written by hand, and COPY.
func BenchmarkSource(b *testing.B) {
	p := newPlace(b)
	n := benchRows()
	p.visits(n)
	bench := func(name string, do func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				do(b)
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
	bench("read/struct", func(b *testing.B) { require.Equal(b, n, drain(b, NewSource[visit](p.db(), "visits"))) })
	bench("read/row", func(b *testing.B) { require.Equal(b, n, drain(b, NewSource[row.Row](p.db(), "visits"))) })
	bench("ndjson/ours", func(b *testing.B) {
		dir := b.TempDir()
		src := NewSource[visit](p.db(), "visits")
		src.Ranges = 2
		c := weaver.Copy(weaver.Source[visit](src), weaver.Sink[visit](file.Parts(file.NDJSON[visit](filepath.Join(dir, "{split}-{part}.ndjson")))))
		c.Log = slog.New(slog.DiscardHandler)
		require.NoError(b, c.Run(context.Background()))
	})
	bench("ndjson/hand", func(b *testing.B) {
		dir := b.TempDir()
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i := range 2 {
			wg.Go(func() {
				errs[i] = byHand(p.url, filepath.Join(dir, strconv.Itoa(i)), int64(n/2*i), int64(n/2+i*n))
			})
		}
		wg.Wait()
		require.NoError(b, errors.Join(errs...))
	})
	bench("copy", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "copy"))
		require.NoError(b, err)
		_, err = p.conn.PgConn().CopyTo(context.Background(), f, "COPY visits TO STDOUT")
		require.NoError(b, errors.Join(err, f.Close()))
	})
}

// drain reads all of a source as an engine would, and counts.
func drain[T any](b *testing.B, src *Source[T]) int {
	r, err := src.OpenReader(context.Background(), lane(nil))
	require.NoError(b, err)
	batch := weaver.NewBatch[T](1000, 1<<20)
	n := 0
	for {
		batch.Reset()
		_, err := r.Read(context.Background(), batch)
		n += len(batch.Records)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(b, err)
	}
	require.NoError(b, r.Close())
	return n
}

// byHand is what one would write with pgx.
func byHand(url, path string, after, last int64) error {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 256<<10)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for more := true; more; {
		more = false
		rows, err := c.Query(ctx, `SELECT id, user_id, name, email, country, amount, quantity, active, created_at, note FROM visits
			WHERE id > $1 AND id <= $2 ORDER BY id LIMIT 10000`, after, last)
		if err != nil {
			return err
		}
		var v visit
		_, err = pgx.ForEachRow(rows, []any{&v.ID, &v.UserID, &v.Name, &v.Email, &v.Country, &v.Amount, &v.Quantity, &v.Active, &v.CreatedAt, &v.Note}, func() error {
			after, more = v.ID, true
			return enc.Encode(&v)
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(w.Flush(), f.Close())
}
