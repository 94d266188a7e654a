package file

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/jszwec/csvutil"

	weaver "github.com/bohica-labs/dataweaver"
)

type benchOrder struct {
	ID       int64   `csv:"id" json:"id"`
	Customer string  `csv:"customer" json:"customer"`
	Country  string  `csv:"country" json:"country"`
	Price    float64 `csv:"price" json:"price"`
	Quantity int     `csv:"quantity" json:"quantity"`
}

const benchRecords = 20_000

func benchFile(b *testing.B, name string, line func(i int) string, header string) string {
	b.Helper()
	var buf bytes.Buffer
	buf.WriteString(header)
	for i := range benchRecords {
		buf.WriteString(line(i))
	}
	path := filepath.Join(b.TempDir(), name)
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

func csvLine(i int) string {
	return fmt.Sprintf("%d,Customer %d,NL,%d.95,%d\n", i+1_000_000, i, i%1000, i%10)
}

func jsonLine(i int) string {
	return fmt.Sprintf(`{"id":%d,"customer":"Customer %d","country":"NL","price":%d.95,"quantity":%d}`+"\n", i+1_000_000, i, i%1000, i%10)
}

// readAll reads a source as a pipeline does, in batches of 512.
func readAll[T any](b *testing.B, src weaver.Source[T], batch *weaver.Batch[T]) {
	b.Helper()
	r, err := src.OpenReader(b.Context(), weaver.Lane{})
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for !errors.Is(err, io.EOF) {
		batch.Reset()
		if _, err = r.Read(b.Context(), batch); err != nil && !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
		n += len(batch.Records)
	}
	if err := r.Close(); err != nil || n != benchRecords {
		b.Fatal(n, err)
	}
}

func perRecord(b *testing.B, records int) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(records), "ns/record")
}

func BenchmarkReadCSV(b *testing.B) {
	path := benchFile(b, "orders.csv", csvLine, "id,customer,country,price,quantity\n")
	b.Run("hand", func(b *testing.B) {
		b.ReportAllocs()
		batch := make([]benchOrder, 512)
		for b.Loop() {
			f, err := os.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			cr := csv.NewReader(bufio.NewReaderSize(f, readBytes))
			cr.ReuseRecord = true
			dec, err := csvutil.NewDecoder(cr)
			n := 0
			for ; err == nil; n++ {
				v := &batch[n%512]
				*v = benchOrder{}
				err = dec.Decode(v)
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
			if n-1 != benchRecords {
				b.Fatal(n, err)
			}
		}
		perRecord(b, benchRecords)
	})
	b.Run("weaver", func(b *testing.B) {
		b.ReportAllocs()
		batch := weaver.NewBatch[benchOrder](512, 1<<20)
		for b.Loop() {
			readAll(b, CSV[benchOrder](path), batch)
		}
		perRecord(b, benchRecords)
	})
}

func BenchmarkReadLines(b *testing.B) {
	path := benchFile(b, "lines", jsonLine, "")
	b.Run("hand", func(b *testing.B) {
		b.ReportAllocs()
		batch := make([][]byte, 0, 512)
		var arena []byte
		for b.Loop() {
			f, err := os.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			sc := bufio.NewScanner(f)
			sc.Buffer(make([]byte, readBytes), 1<<20)
			n := 0
			for ; sc.Scan(); n++ {
				if len(batch) == 512 {
					batch, arena = batch[:0], arena[:0]
				}
				start := len(arena)
				arena = append(arena, sc.Bytes()...)
				batch = append(batch, arena[start:])
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
			if n != benchRecords {
				b.Fatal(n, sc.Err())
			}
		}
		perRecord(b, benchRecords)
	})
	b.Run("weaver", func(b *testing.B) {
		b.ReportAllocs()
		batch := weaver.NewBatch[[]byte](512, 1<<20)
		for b.Loop() {
			readAll(b, Lines(path), batch)
		}
		perRecord(b, benchRecords)
	})
}

func BenchmarkReadNDJSON(b *testing.B) {
	path := benchFile(b, "orders.ndjson", jsonLine, "")
	b.Run("hand", func(b *testing.B) {
		b.ReportAllocs()
		batch := make([]benchOrder, 512)
		for b.Loop() {
			f, err := os.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			sc := bufio.NewScanner(f)
			sc.Buffer(make([]byte, readBytes), 1<<20)
			n := 0
			for ; sc.Scan(); n++ {
				v := &batch[n%512]
				*v = benchOrder{}
				if err := json.Unmarshal(sc.Bytes(), v); err != nil {
					b.Fatal(err)
				}
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
		}
		perRecord(b, benchRecords)
	})
	b.Run("weaver", func(b *testing.B) {
		b.ReportAllocs()
		batch := weaver.NewBatch[benchOrder](512, 1<<20)
		for b.Loop() {
			readAll(b, NDJSON[benchOrder](path), batch)
		}
		perRecord(b, benchRecords)
	})
}

// The floor of a write is encoding into a buffer and write(2); both end with one fsync.
func BenchmarkWriteNDJSON(b *testing.B) {
	dir := b.TempDir()
	batch := weaver.NewBatch[benchOrder](0, 0)
	for i := range 512 {
		batch.Add().Value = benchOrder{ID: int64(i), Customer: "Customer", Country: "NL", Price: 9.95, Quantity: 3}
	}
	const batches = 10 * benchRecords / 512
	b.Run("hand", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f, err := os.Create(filepath.Join(dir, "hand"))
			if err != nil {
				b.Fatal(err)
			}
			w := bufio.NewWriterSize(f, defaultBufferBytes)
			enc := json.NewEncoder(w)
			for range batches {
				for i := range batch.Records {
					if err := enc.Encode(&batch.Records[i].Value); err != nil {
						b.Fatal(err)
					}
				}
			}
			if err := errors.Join(w.Flush(), f.Sync(), f.Close()); err != nil {
				b.Fatal(err)
			}
		}
		perRecord(b, 512*batches)
	})
	b.Run("weaver", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f := NDJSON[benchOrder](filepath.Join(dir, "weaver"))
			w := open(b, f, weaver.Lane{})
			for range batches {
				if err := w.Write(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			if err := errors.Join(w.Flush(b.Context()), w.Close(), os.Remove(filepath.Join(dir, "weaver"))); err != nil {
				b.Fatal(err)
			}
		}
		perRecord(b, 512*batches)
	})
}

// A file copied through a pipeline, against the loop that somebody writes by hand for it.
func BenchmarkCopyLines(b *testing.B) {
	path := benchFile(b, "lines", jsonLine, "")
	out := filepath.Join(b.TempDir(), "out")
	b.Run("hand", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			in, err := os.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			f, err := os.Create(out)
			if err != nil {
				b.Fatal(err)
			}
			w := bufio.NewWriterSize(f, defaultBufferBytes)
			sc := bufio.NewScanner(in)
			sc.Buffer(make([]byte, readBytes), 1<<20)
			for sc.Scan() {
				if _, err := w.Write(sc.Bytes()); err != nil {
					b.Fatal(err)
				}
				if err := w.WriteByte('\n'); err != nil {
					b.Fatal(err)
				}
			}
			if err := errors.Join(sc.Err(), w.Flush(), f.Close(), in.Close()); err != nil {
				b.Fatal(err)
			}
		}
		perRecord(b, benchRecords)
	})
	b.Run("weaver", func(b *testing.B) {
		benchCopy(b, func() weaver.Sink[[]byte] { return to(Lines(stdio), create(b, out)) }, Lines(path))
	})
}

func BenchmarkCSVToNDJSON(b *testing.B) {
	path := benchFile(b, "orders.csv", csvLine, "id,customer,country,price,quantity\n")
	out := filepath.Join(b.TempDir(), "out")
	b.Run("hand", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			in, err := os.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			f := create(b, out)
			w := bufio.NewWriterSize(f, defaultBufferBytes)
			enc := json.NewEncoder(w)
			cr := csv.NewReader(bufio.NewReaderSize(in, readBytes))
			cr.ReuseRecord = true
			_, err = cr.Read()
			for err == nil {
				var row []string
				if row, err = cr.Read(); err != nil {
					break
				}
				o := benchOrder{Customer: row[1], Country: row[2]}
				var errs [3]error
				o.ID, errs[0] = strconv.ParseInt(row[0], 10, 64)
				o.Price, errs[1] = strconv.ParseFloat(row[3], 64)
				o.Quantity, errs[2] = strconv.Atoi(row[4])
				if err = errors.Join(errs[:]...); err == nil {
					err = enc.Encode(&o)
				}
			}
			if !errors.Is(err, io.EOF) {
				b.Fatal(err)
			}
			if err := errors.Join(w.Flush(), f.Close(), in.Close()); err != nil {
				b.Fatal(err)
			}
		}
		perRecord(b, benchRecords)
	})
	b.Run("weaver", func(b *testing.B) {
		benchCopy(b, func() weaver.Sink[benchOrder] { return to(NDJSON[benchOrder](stdio), create(b, out)) }, CSV[benchOrder](path))
	})
}

func create(b *testing.B, path string) *os.File {
	b.Helper()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	return f
}

// benchCopy writes what doesn't wait for a disk, as the loops do.
func benchCopy[T any](b *testing.B, sink func() weaver.Sink[T], src weaver.Source[T]) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		p := weaver.Copy(src, sink())
		if err := p.Run(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	perRecord(b, benchRecords)
}
