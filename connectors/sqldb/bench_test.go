package sqldb

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/csv"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
)

// order is a row of the benchmarks.
type order struct {
	ID       int64   `csv:"id"`
	Customer string  `csv:"customer"`
	Email    string  `csv:"email"`
	Country  string  `csv:"country"`
	Product  string  `csv:"product"`
	Quantity int64   `csv:"quantity"`
	Price    float64 `csv:"price"`
	Paid     bool    `csv:"paid"`
	Ordered  string  `csv:"ordered"`
	Note     string  `csv:"note"`
}

const benchRows = 200_000

const orderColumns = "id, customer, email, country, product, quantity, price, paid, ordered, note"

// orders writes a CSV file of benchRows orders.
func orders(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "orders.csv")
	f, err := os.Create(path)
	require.NoError(b, err)
	w := bufio.NewWriter(f)
	_, _ = fmt.Fprintln(w, strings.ReplaceAll(orderColumns, " ", ""))
	for i := range benchRows {
		_, _ = fmt.Fprintf(w, "%d,customer %d,c%d@example.com,DE,product number %d,%d,%d.5,%v,2024-05-%02d 12:00:00,a note that is not very long\n", i, i%5000, i%5000, i%300, i%9, i%1000, i%2 == 0, i%28+1)
	}
	require.NoError(b, w.Flush())
	require.NoError(b, f.Close())
	return path
}

func benchTable(name string) string {
	text := "TEXT"
	if name == "mysql" {
		text = "VARCHAR(100)"
	}
	return "CREATE TABLE orders (id BIGINT NOT NULL PRIMARY KEY, " + strings.ReplaceAll("customer T, email T, country T, product T", "T", text) + ", quantity BIGINT, price DOUBLE PRECISION, paid BOOLEAN, ordered " + text + ", note " + text + ")"
}

// eachOrder reads the CSV file by hand.
func eachOrder(b *testing.B, path string, each func(*order)) {
	f, err := os.Open(path)
	require.NoError(b, err)
	defer func() { _ = f.Close() }()
	r := csv.NewReader(bufio.NewReaderSize(f, 64<<10))
	r.ReuseRecord = true
	_, err = r.Read()
	require.NoError(b, err)
	for {
		rec, err := r.Read()
		if err == io.EOF {
			return
		}
		require.NoError(b, err)
		var o order
		o.ID, _ = strconv.ParseInt(rec[0], 10, 64)
		o.Customer, o.Email, o.Country, o.Product = rec[1], rec[2], rec[3], rec[4]
		o.Quantity, _ = strconv.ParseInt(rec[5], 10, 64)
		o.Price, _ = strconv.ParseFloat(rec[6], 64)
		o.Paid = rec[7] == "true"
		o.Ordered, o.Note = rec[8], rec[9]
		each(&o)
	}
}

func perRow(b *testing.B, start time.Time) {
	b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(b.N)/benchRows, "ns/row")
}

// round is how often the rows have been written.
var round int64 //nolint:gochecknoglobals // of benchmarks, one after the other

func benchPipeline(b *testing.B, p *place, path string, mode Mode) {
	s := NewSink[order](p.db, "orders")
	s.Mode = mode
	s.CommitRows = 5000
	round++
	differ := weaver.Map(func(o order) (order, error) {
		o.Quantity += round // as an upsert that changes nothing costs no fsync
		return o, nil
	})
	pipe := weaver.NewPipeline(file.CSV[order](path), differ, s)
	pipe.Name, pipe.Log, pipe.Require = fmt.Sprint("bench", b.N, time.Now().UnixNano()), slog.New(slog.DiscardHandler), weaver.ExactlyOnce
	require.NoError(b, pipe.Run(b.Context()))
}

func BenchmarkSQLiteInsert(b *testing.B) {
	path := orders(b)
	fresh := func(b *testing.B) *place {
		b.StopTimer()
		defer b.StartTimer()
		p := newSQLite(b)
		_, err := p.pool.ExecContext(b.Context(), benchTable("sqlite"))
		require.NoError(b, err)
		return p
	}
	b.Run("dataweaver", func(b *testing.B) {
		b.ReportAllocs()
		start := time.Now()
		for b.Loop() {
			benchPipeline(b, fresh(b), path, Insert)
		}
		perRow(b, start)
	})
	b.Run("handwritten", func(b *testing.B) {
		b.ReportAllocs()
		start := time.Now()
		for b.Loop() {
			p := fresh(b)
			var tx *sql.Tx
			var insert *sql.Stmt
			n := 0
			commit := func() {
				if tx != nil {
					require.NoError(b, tx.Commit())
				}
				tx = nil
			}
			eachOrder(b, path, func(o *order) {
				var err error
				if tx == nil {
					tx, err = p.pool.BeginTx(context.Background(), nil)
					require.NoError(b, err)
					insert, err = tx.Prepare("INSERT INTO orders VALUES (?,?,?,?,?,?,?,?,?,?)") //nolint:sqlclosecheck // Commit does
					require.NoError(b, err)
				}
				_, err = insert.Exec(o.ID, o.Customer, o.Email, o.Country, o.Product, o.Quantity, o.Price, o.Paid, o.Ordered, o.Note)
				if err != nil {
					b.Fatal(err)
				}
				if n++; n%5000 == 0 {
					commit()
				}
			})
			commit()
		}
		perRow(b, start)
	})
	b.Run("sqlite3 import", func(b *testing.B) {
		program, err := exec.LookPath("sqlite3")
		if err != nil {
			b.Skip("there is no sqlite3")
		}
		start := time.Now()
		for b.Loop() {
			db := filepath.Join(b.TempDir(), "x.db")
			cmd := exec.CommandContext(b.Context(), program, db)
			cmd.Stdin = strings.NewReader("PRAGMA journal_mode=WAL;\nPRAGMA synchronous=FULL;\n" + benchTable("sqlite") + ";\n.mode csv\n.import --skip 1 " + path + " orders\n")
			out, err := cmd.CombinedOutput()
			require.NoError(b, err, string(bytes.TrimSpace(out)))
		}
		perRow(b, start)
	})
}

func BenchmarkMySQLUpsert(b *testing.B) {
	path := orders(b)
	p := newMySQL(b)
	_, err := p.pool.ExecContext(b.Context(), benchTable("mysql"))
	require.NoError(b, err)
	benchPipeline(b, p, path, Upsert) // the rows are there
	b.Run("dataweaver", func(b *testing.B) {
		b.ReportAllocs()
		start := time.Now()
		for b.Loop() {
			benchPipeline(b, p, path, Upsert)
		}
		perRow(b, start)
	})
	b.Run("handwritten", func(b *testing.B) {
		b.ReportAllocs()
		start := time.Now()
		for b.Loop() {
			const at = 500
			round++
			var set []string
			for _, c := range strings.Split(orderColumns, ", ")[1:] {
				set = append(set, c+" = VALUES("+c+")")
			}
			row := "(?,?,?,?,?,?,?,?,?,?)"
			upsert, err := p.pool.Prepare("INSERT INTO orders (" + orderColumns + ") VALUES " + row + strings.Repeat(","+row, at-1) + " ON DUPLICATE KEY UPDATE " + strings.Join(set, ", "))
			require.NoError(b, err)
			var args []any
			var tx *sql.Tx
			n := 0
			eachOrder(b, path, func(o *order) {
				var err error
				if tx == nil {
					tx, err = p.pool.BeginTx(context.Background(), nil)
					require.NoError(b, err)
				}
				args = append(args, o.ID, o.Customer, o.Email, o.Country, o.Product, o.Quantity+round, o.Price, o.Paid, o.Ordered, o.Note)
				n++
				if n%at == 0 {
					if _, err := tx.Stmt(upsert).Exec(args...); err != nil { //nolint:sqlclosecheck // Commit does
						b.Fatal(err)
					}
					args = args[:0]
				}
				if n%5000 == 0 {
					require.NoError(b, tx.Commit())
					tx = nil
				}
			})
			require.NoError(b, upsert.Close())
		}
		perRow(b, start)
	})
}

// BenchmarkWrite writes batches without a pipeline.
func BenchmarkWrite(b *testing.B) {
	p := newSQLite(b)
	_, err := p.pool.ExecContext(b.Context(), benchTable("sqlite"))
	require.NoError(b, err)
	s := NewSink[order](p.db, "orders")
	w, err := s.OpenWriter(b.Context(), weaver.Lane{})
	require.NoError(b, err)
	batch := weaver.NewBatch[order](0, 0)
	const size = 512
	for i := range size {
		batch.Add().Value = order{ID: int64(i), Customer: "customer", Email: "c@example.com", Country: "DE", Product: "product number", Quantity: 5, Price: 9.5, Ordered: "2024-05-01 12:00:00", Note: "a note that is not very long"}
	}
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, w.Write(b.Context(), batch))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/row")
	require.NoError(b, w.(weaver.Flusher).Flush(b.Context()))
	require.NoError(b, w.Close())
}

// BenchmarkRead reads a table.
func BenchmarkRead(b *testing.B) {
	path := orders(b)
	p := newSQLite(b)
	_, err := p.pool.ExecContext(b.Context(), benchTable("sqlite"))
	require.NoError(b, err)
	benchPipeline(b, p, path, Insert)
	b.Run("dataweaver", func(b *testing.B) {
		b.ReportAllocs()
		start := time.Now()
		for b.Loop() {
			r, err := NewSource[order](p.db, "orders").OpenReader(b.Context(), weaver.Lane{})
			require.NoError(b, err)
			batch := weaver.NewBatch[order](512, 0)
			for err == nil {
				batch.Reset()
				_, err = r.Read(b.Context(), batch)
			}
			require.ErrorIs(b, err, io.EOF)
			require.NoError(b, r.Close())
		}
		perRow(b, start)
	})
	b.Run("handwritten", func(b *testing.B) {
		b.ReportAllocs()
		start := time.Now()
		for b.Loop() {
			rows, err := p.pool.Query("SELECT " + orderColumns + " FROM orders ORDER BY id")
			require.NoError(b, err)
			for rows.Next() {
				var o order
				if err := rows.Scan(&o.ID, &o.Customer, &o.Email, &o.Country, &o.Product, &o.Quantity, &o.Price, &o.Paid, &o.Ordered, &o.Note); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, rows.Close()) //nolint:sqlclosecheck // within a loop
		}
		perRow(b, start)
	})
}
