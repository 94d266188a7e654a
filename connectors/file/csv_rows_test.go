package file

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// readRows reads a file whole, and returns its rows and what was rejected.
func readRows(t testing.TB, f *File[row.Row]) (rows []row.Row, rejected []string) {
	t.Helper()
	r, err := f.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	b := weaver.NewBatch[row.Row](3, 0)
	for err == nil {
		b.Reset()
		_, err = r.Read(t.Context(), b)
		for i := range b.Records {
			rows = append(rows, b.Records[i].Value)
		}
		for _, x := range b.Rejects() {
			rejected = append(rejected, x.Err.Error())
		}
	}
	return rows, rejected
}

func csvOn(t testing.TB, data string) *File[row.Row] {
	t.Helper()
	return on(CSV[row.Row]("a.csv"), newDisk(t, map[string]string{"a.csv": data}))
}

func TestReadRows(t *testing.T) {
	t.Parallel()
	rows, rejected := readRows(t, csvOn(t, "\ufeffid,name,\"a,b\"\n1,Ann,\n2,\"\",x\n3,,\"\"\n4,\"x\"\"y\",\"a\nb\"\n5,5\n,,\n6,7,8,9\n\"\",z,\"\r\n"))
	require.Len(t, rejected, 3)
	require.Contains(t, rejected[0], "the row has 2 fields instead of 3")
	require.Contains(t, rejected[1], "the row has 4 fields instead of 3")
	require.Contains(t, rejected[2], "a quotation mark is not closed")
	text := row.Text
	require.Equal(t, [][]row.Value{
		{text("1"), text("Ann"), {}},
		{text("2"), text(""), text("x")},
		{text("3"), {}, text("")},
		{text("4"), text(`x"y`), text("a\nb")},
		{{}, {}, {}},
	}, valuesOf(rows))
	for _, r := range rows {
		require.Same(t, rows[0].Columns, r.Columns)
	}
	require.Equal(t, row.Column{Name: "a,b", Kind: row.KindText, Nullable: true}, rows[0].Columns.At(2))

	// One column: an empty line is no row.
	rows, _ = readRows(t, csvOn(t, "a\n1\n\n\"\"\n"))
	require.Equal(t, [][]row.Value{{text("1")}, {text("")}}, valuesOf(rows))

	f := csvOn(t, "1;\"\"\n;2\n")
	f.NoHeader, f.Columns, f.Comma = true, []string{"x", "y"}, ';'
	rows, _ = readRows(t, f)
	require.Equal(t, [][]row.Value{{text("1"), text("")}, {{}, text("2")}}, valuesOf(rows))
	require.Equal(t, "y", rows[0].Columns.At(1).Name)

	rows, _ = readRows(t, csvOn(t, ""))
	require.Empty(t, rows)
}

func valuesOf(rows []row.Row) [][]row.Value {
	var all [][]row.Value
	for _, r := range rows {
		all = append(all, r.Values)
	}
	return all
}

func TestRowsOfSeveralFiles(t *testing.T) {
	t.Parallel()
	f := on(CSV[row.Row]("*.csv"), newDisk(t, map[string]string{"1.csv": "a,b\n1,2\n", "2.csv": "a,b\n3,4\n", "3.csv": "b,c\n5,6\n"}))
	rows, _ := readRows(t, f)
	require.Len(t, rows, 3)
	require.Same(t, rows[0].Columns, rows[1].Columns)
	require.Equal(t, row.Text("6"), rows[2].Get("c"))
}

func TestRowsThatCannotBe(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		"a,a\n1,2\n": `two columns are called "a": rename one of them`,
		"a,\n1,2\n":  "column 2 has no name",
	} {
		_, err := csvOn(t, data).OpenReader(t.Context(), weaver.Lane{})
		require.ErrorContains(t, err, want)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
	f := csvOn(t, "")
	f.NoHeader = true
	_, err := f.OpenReader(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, "set Columns")
	f.Columns = []string{"a", ""}
	_, err = f.OpenReader(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, "field Columns: row: column 2 has no name")
	_, err = Parts(on(CSV[row.Row]("out/{part}.csv"), durabletest.New())).OpenWriter(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, "field Columns is not set")
}

func columnsOf(t testing.TB, names ...string) *row.Columns {
	t.Helper()
	c, err := textColumns(names)
	require.NoError(t, err)
	return c
}

// writeRows writes each row in a batch of its own, and returns what was wrong with them.
func writeRows(t testing.TB, f *File[row.Row], rows ...row.Row) []string {
	t.Helper()
	w, err := f.OpenWriter(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close()) }()
	var failed []string
	for _, r := range rows {
		b := weaver.NewBatch[row.Row](1, 0)
		b.Add().Value = r
		if err := w.Write(t.Context(), b); err != nil {
			var be *weaver.BatchError
			require.ErrorAs(t, err, &be)
			require.Len(t, be.Records, 1)
			require.Equal(t, retry.ClassPoison, retry.ClassOf(be.Records[0].Err))
			failed = append(failed, be.Records[0].Err.Error())
		}
	}
	if flusher, ok := w.(weaver.Flusher); ok {
		require.NoError(t, flusher.Flush(t.Context()))
	}
	return failed
}

func TestWriteRows(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	f := on(CSV[row.Row]("a.csv"), disk)
	abc, ca := columnsOf(t, "a", "b", "c"), columnsOf(t, "c", "a")
	failed := writeRows(t, f,
		row.Row{Columns: abc, Values: []row.Value{row.Int(1)}},
		row.Row{},
		row.Row{Columns: abc, Values: []row.Value{row.Int(1), row.Text(""), {}}},
		row.Row{Columns: ca, Values: []row.Value{row.Text("x,\"y\""), row.Bool(true)}},
		row.Row{Columns: columnsOf(t, "a", "d", "e"), Values: []row.Value{row.Int(1), {}, {}}},
		row.Row{Columns: abc, Values: []row.Value{row.Decimal("1.50"), row.Bytes("\x01"), row.List(&row.Array{Elem: row.KindInt, Values: []row.Value{row.Int(1), {}}})}},
		row.Row{Columns: ca, Values: []row.Value{row.Time(time.Unix(0, 5)), row.Text(`\.`)}},
	)
	require.Equal(t, []string{
		"the row has 3 columns, and 1 values",
		"a row of CSV has one field at least",
		`the row has the column "d" "e", which the file has not: its columns are those of its first row; set Columns, or leave it out`,
	}, failed)
	const first = "a,b,c\n1,\"\",\ntrue,,\"x,\"\"y\"\"\"\n1.50,\\x01,\"{1,NULL}\"\n\"\\.\",,1970-01-01T00:00:00.000000005Z\n"
	require.Equal(t, first, content(t, disk, "a.csv"))

	// What is there already says what the columns are, to all writers.
	f = on(CSV[row.Row]("a.csv"), disk)
	require.Empty(t, writeRows(t, f, row.Row{Columns: ca, Values: []row.Value{row.Int(7), row.Int(8)}}))
	require.Equal(t, first+"8,,7\n", content(t, disk, "a.csv"))

	// One column.
	f = on(CSV[row.Row]("b.csv"), disk)
	require.Equal(t, []string{"a row whose one column is NULL would be an empty line, which is no row of CSV"},
		writeRows(t, f, row.Row{Columns: columnsOf(t, "x"), Values: []row.Value{{}}}, row.Row{Columns: columnsOf(t, "x"), Values: []row.Value{row.Text("")}}))
	require.Equal(t, "x\n\"\"\n", content(t, disk, "b.csv"))

	// Columns, with a header and without.
	for noHeader, want := range map[bool]string{false: "c;z;a\n1;;2\n", true: "1;;2\n"} {
		f = on(CSV[row.Row](fmt.Sprint(noHeader)), disk)
		f.Columns, f.NoHeader, f.Comma = []string{"c", "z", "a"}, noHeader, ';'
		require.Empty(t, writeRows(t, f, row.Row{Columns: ca, Values: []row.Value{row.Int(1), row.Int(2)}}))
		require.Equal(t, want, content(t, disk, fmt.Sprint(noHeader)))
	}

	// A file that is none of these.
	put(t, disk, "c.csv", "a,a\n1,2\n")
	w, err := on(CSV[row.Row]("c.csv"), disk).OpenWriter(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	b := weaver.NewBatch[row.Row](1, 0)
	b.Add().Value = row.Row{Columns: ca, Values: []row.Value{{}, {}}}
	err = w.Write(t.Context(), b)
	require.ErrorContains(t, err, `c.csv can't be continued: row: column "a" stands twice`)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	require.NoError(t, w.Close())
}

// Writers that share a file write one header, whoever comes first, and none where there is one.
func TestRowsOfSeveralWriters(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	ab, ba := columnsOf(t, "a", "b"), columnsOf(t, "b", "a")
	share := func(columns ...*row.Columns) {
		t.Helper()
		f := on(CSV[row.Row]("a.csv"), disk)
		var writers []weaver.Writer[row.Row]
		for range columns {
			w, err := f.OpenWriter(t.Context(), weaver.Lane{})
			require.NoError(t, err)
			writers = append(writers, w)
		}
		for i, w := range writers {
			b := weaver.NewBatch[row.Row](1, 0)
			b.Add().Value = row.Row{Columns: columns[i], Values: []row.Value{row.Int(int64(i)), {}}}
			require.NoError(t, w.Write(t.Context(), b))
		}
		for i := range writers { // the first that wrote is the last to flush
			require.NoError(t, writers[len(writers)-1-i].(weaver.Flusher).Flush(t.Context()))
		}
		for _, w := range writers {
			require.NoError(t, w.Close())
		}
	}
	share(ab, ba, ba)
	require.Equal(t, "a,b\n,2\n,1\n0,\n", content(t, disk, "a.csv"))
	share(ba, ba)
	require.Equal(t, "a,b\n,2\n,1\n0,\n,1\n,0\n", content(t, disk, "a.csv"))
}

func TestRowsToStandardOutput(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f := CSV[row.Row](stdio)
	f.std.output = &out
	require.Empty(t, writeRows(t, f, row.Row{Columns: columnsOf(t, "a", "b"), Values: []row.Value{row.Int(1), {}}}))
	require.Empty(t, writeRows(t, f, row.Row{Columns: columnsOf(t, "b", "a"), Values: []row.Value{row.Int(2), {}}}))
	require.Equal(t, "a,b\n1,\n,2\n", out.String())
}

// A pipeline that is run again goes on under the header that is there; compressed, and from any kind of file to any other.
func TestRowsThroughPipelines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	realFile(t, at("in.csv"), "id,name,note\n1,Ann,\"\"\n2,,\"x\ny\"\n")
	run := func(src weaver.Source[row.Row], sink weaver.Sink[row.Row]) {
		t.Helper()
		require.NoError(t, weaver.Copy(src, sink).Run(t.Context()))
	}
	in, out := CSV[row.Row](at("in.csv")), CSV[row.Row](at("out.csv.gz"))
	run(in, out)
	realFile(t, at("in.csv"), "id,name,note\n1,Ann,\"\"\n2,,\"x\ny\"\n3,\"Zoë\",\n")
	run(in, CSV[row.Row](at("out.csv.gz")))
	want := [][]row.Value{{row.Text("1"), row.Text("Ann"), row.Text("")}, {row.Text("2"), {}, row.Text("x\ny")}, {row.Text("3"), row.Text("Zoë"), {}}}
	rows, rejected := readRows(t, CSV[row.Row](at("out.csv.gz")))
	require.Empty(t, rejected)
	require.Equal(t, want, valuesOf(rows))

	run(CSV[row.Row](at("out.csv.gz")), NDJSON[row.Row](at("out.ndjson")))
	rows, _ = readRows(t, NDJSON[row.Row](at("out.ndjson")))
	require.Equal(t, want, valuesOf(rows))
	require.Equal(t, rows[0].Columns, rows[2].Columns) // the same pointer as a rule: the codec's memory is the garbage collector's to take

	realFile(t, at("in.json"), `[{"id":1,"tags":["a"]} , {"id":2.50,"tags":null}, {"id":3,"id":4}, 5]`)
	rows, rejected = readRows(t, JSONArray[row.Row](at("in.json")))
	require.Equal(t, [][]row.Value{{row.Int(1), row.JSON(`["a"]`)}, {row.Decimal("2.50"), {}}}, valuesOf(rows))
	require.Len(t, rejected, 2)

	parts := CSV[row.Row](at("parts/{part}.csv"))
	parts.Columns = []string{"note", "id"}
	p := Parts(parts)
	p.MaxRecords = 2
	require.NoError(t, weaver.NewPipeline(CSV[row.Row](at("out.csv.gz")), weaver.Map(func(r row.Row) (row.Row, error) {
		return row.Row{Columns: columnsOf(t, "id", "note"), Values: []row.Value{r.Get("id"), r.Get("note")}}, nil
	}), p).Run(t.Context()))
	all := CSV[row.Row](at("parts/*.csv"))
	rows, _ = readRows(t, all)
	require.Equal(t, [][]row.Value{{row.Text(""), row.Text("1")}, {row.Text("x\ny"), row.Text("2")}, {{}, row.Text("3")}}, valuesOf(rows))
}

// After a crash, and whatever comes first then, the rows that count are whole and under the header of the first run.
func TestRowsAreContinued(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	ab, ba := columnsOf(t, "a", "b"), columnsOf(t, "b", "a")
	write := func(envelope string, commit bool, rows ...row.Row) {
		t.Helper()
		w, err := on(CSV[row.Row]("a.csv"), disk).OpenWriter(t.Context(), weaver.Lane{Pipeline: "p"})
		require.NoError(t, err)
		c := w.(weaver.Checkpointer)
		got, err := c.Restore(t.Context())
		require.NoError(t, err)
		require.Equal(t, envelope, string(got))
		b := weaver.NewBatch[row.Row](10, 0)
		for _, r := range rows {
			b.Add().Value = r
		}
		require.NoError(t, w.Write(t.Context(), b))
		if commit {
			require.NoError(t, c.Commit(t.Context(), []byte(envelope+".")))
		}
		require.NoError(t, w.Close())
	}
	write("", false, row.Row{Columns: ba, Values: []row.Value{row.Int(0), row.Int(0)}})
	write("", true)
	write(".", true, row.Row{Columns: ab, Values: []row.Value{row.Int(1), row.Int(2)}})
	write("..", false, row.Row{Columns: ba, Values: []row.Value{row.Int(9), row.Int(9)}})
	write("..", true, row.Row{Columns: ba, Values: []row.Value{row.Int(4), row.Int(3)}})
	require.Equal(t, "a,b\n1,2\n3,4\n", content(t, disk, "a.csv"))
}

// Rows of any values are read back as the same texts.
func TestRowsRoundTrip(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	parts := []string{"", "a", ",", "\"", "\n", "\r", "\r\n", " ", "\ufeff", ";", "ü", `\.`, "\x00", "\xff"}
	for _, comma := range ",;\t-.1" {
		for range 300 {
			var names []string
			for i := range 1 + r.IntN(4) {
				names = append(names, fmt.Sprint(i, parts[r.IntN(len(parts))]))
			}
			w := &tableWriter{comma: byte(comma)}
			cols := columnsOf(t, names...)
			header, err := w.propose(&row.Row{Columns: cols, Values: make([]row.Value, len(names))})
			require.NoError(t, err)
			require.NoError(t, w.adopt(bytesOf(header)))
			var want [][]row.Value
			data := header
			for range r.IntN(5) {
				v := row.Row{Columns: cols}
				for range names {
					x := row.Value{}
					switch r.IntN(4) {
					case 0:
						x = row.Text(strings.Repeat(parts[r.IntN(len(parts))], 1+r.IntN(2)) + parts[r.IntN(len(parts))])
					case 1:
						x = row.Float(r.NormFloat64())
					case 2:
						x = row.Instant(r.Int64N(1e10), 5)
					}
					v.Values = append(v.Values, x)
				}
				out, err := w.append(data, &v)
				if err != nil {
					require.Len(t, names, 1)
					require.True(t, v.Values[0].IsNull())
					continue
				}
				data = out
				for i, x := range v.Values {
					if !x.IsNull() {
						v.Values[i] = row.Text(x.String())
					}
				}
				want = append(want, v.Values)
			}
			f := csvOn(t, string(data))
			f.Comma = comma
			rows, rejected := readRows(t, f)
			require.Empty(t, rejected, "%q", data)
			require.Equal(t, want, valuesOf(rows), "%q", data)
			for _, x := range rows {
				require.True(t, sameNames(x.Columns, names))
			}
		}
	}
}

// A header that is longer than what is read of it at first.
func TestLongHeaderIsAdopted(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	var names []string
	for i := range 20_000 {
		names = append(names, fmt.Sprintf("column \"%d\"\nof many", i))
	}
	cols := columnsOf(t, names...)
	values := make([]row.Value, len(names))
	values[7] = row.Int(7)
	for range 2 {
		require.Empty(t, writeRows(t, on(CSV[row.Row]("a.csv"), disk), row.Row{Columns: cols, Values: values}))
	}
	f := on(CSV[row.Row]("a.csv"), disk)
	f.MaxRecordBytes = 16 << 20
	rows, _ := readRows(t, f)
	require.Len(t, rows, 2)
	require.True(t, rows[1].Columns.Len() == len(names) && rows[1].Values[7].Equal(row.Text("7")))
	w := &tableWriter{comma: ','}
	require.ErrorContains(t, w.adopt(bytesOf(nil)), "no header")
	require.ErrorContains(t, w.adopt(bytesOf([]byte("a\"b\n"))), "quotation mark")
	fails := errors.New("no disk")
	require.ErrorIs(t, w.adopt(func(int) ([]byte, error) { return nil, fails }), fails)
}

func FuzzTableRows(f *testing.F) {
	f.Add([]byte("a,b\n1,\"\"\n,\"x\"\"y\"\n"), byte(','))
	f.Add([]byte("\"a\n\";b\r\n;\r\n"), byte(';'))
	f.Fuzz(func(t *testing.T, data []byte, comma byte) {
		if comma == 0 || comma >= 0x80 || strings.IndexByte("\"\r\n", comma) >= 0 {
			comma = ','
		}
		d := &tableRows{rowParser: rowParser{comma: comma}}
		same := &rowParser{comma: comma}
		b := weaver.NewBatch[row.Row](0, 0)
		for begun := false; len(data) > 0; {
			fr, ok := rowFraming{comma}.next(data, true, &scan{})
			if !ok || fr.size == 0 {
				return
			}
			body := data[:fr.body]
			data = data[fr.size:]
			if fr.bad != nil || fr.blank {
				continue
			}
			fields := same.parse(body, nil)
			if !begun {
				if d.begin(body) != nil {
					return
				}
				require.Equal(t, len(fields), d.columns.Len())
				begun = true
				continue
			}
			var v row.Row
			err := d.decode(b, body, &v)
			require.Equal(t, len(fields) == d.columns.Len(), err == nil)
			if err != nil {
				continue
			}
			for i, s := range fields {
				require.Equal(t, s, v.Values[i].Str())
				require.True(t, s == "" || v.Values[i].Kind() == row.KindText)
			}
		}
	})
}

func BenchmarkCopyRows(b *testing.B) {
	path := benchFile(b, "orders.csv", csvLine, "id,customer,country,price,quantity\n")
	lines := benchFile(b, "orders.ndjson", jsonLine, "")
	out := filepath.Join(b.TempDir(), "out")
	b.Run("CSV to CSV", func(b *testing.B) {
		benchCopy(b, func() weaver.Sink[row.Row] { return to(CSV[row.Row](stdio), create(b, out)) }, CSV[row.Row](path))
	})
	b.Run("CSV to NDJSON", func(b *testing.B) {
		benchCopy(b, func() weaver.Sink[row.Row] { return to(NDJSON[row.Row](stdio), create(b, out)) }, CSV[row.Row](path))
	})
	b.Run("NDJSON to NDJSON", func(b *testing.B) {
		benchCopy(b, func() weaver.Sink[row.Row] { return to(NDJSON[row.Row](stdio), create(b, out)) }, NDJSON[row.Row](lines))
	})
	b.Run("maps, NDJSON to NDJSON", func(b *testing.B) {
		type m = map[string]any
		benchCopy(b, func() weaver.Sink[m] { return to(NDJSON[m](stdio), create(b, out)) }, NDJSON[m](lines))
	})
}
