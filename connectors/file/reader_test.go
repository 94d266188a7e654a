package file

import (
	"context"
	stdjson "encoding/json"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/json"
)

type order struct {
	ID    int64   `csv:"id" json:"id"`
	Name  string  `csv:"name" json:"name"`
	Price float64 `csv:"price" json:"price"`
}

func TestLines(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data string
		want []string
	}{
		"empty":          {"", []string{}},
		"one":            {"a\n", []string{"a"}},
		"no end":         {"a\nb", []string{"a", "b"}},
		"crlf":           {"a\r\nb\r\n", []string{"a", "b"}},
		"mixed":          {"a\r\nb\nc\r\n", []string{"a", "b", "c"}},
		"empty lines":    {"\n\na\n\r\n", []string{"", "", "a", ""}},
		"cr inside":      {"a\rb\n\r\r\n", []string{"a\rb", "\r"}},
		"cr at the end":  {"a\r", []string{"a"}},
		"spaces":         {" a \n\t\n", []string{" a ", "\t"}},
		"nul":            {"\x00\n\xff\xfe\n", []string{"\x00", "\xff\xfe"}},
		"mark":           {"\ufeffa\n", []string{"\ufeffa"}},
		"longer than in": {strings.Repeat("x", 5000) + "\ny", []string{strings.Repeat("x", 5000), "y"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := on(Lines("in"), newDisk(t, map[string]string{"in": c.data}))
			f.chunk = 7
			for _, size := range []int{1, 2, 100} {
				items, _ := drain(t, f, nil, size)
				require.Equal(t, c.want, values(items))
				for i, item := range items {
					require.Equal(t, int64(i+1), item.Seq)
				}
			}
		})
	}
}

func TestLongLinesAreRejected(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 1000)
	for _, end := range []string{"\n", "\r\n"} {
		data := strings.Join([]string{"a", long, strings.Repeat("b", 100), strings.Repeat("c", 101), "d", long}, end)
		f := on(Lines("in"), newDisk(t, map[string]string{"in": data}))
		f.MaxRecordBytes, f.chunk = 100, 16
		items, positions := drain(t, f, nil, 1)
		require.Len(t, items, 6)
		require.Equal(t, []string{"a", "", strings.Repeat("b", 100), "", "d", ""}, values(items))
		for i, line := range map[int]int64{1: 2, 3: 4, 5: 6} {
			require.Equal(t, line, items[i].Seq)
			require.Contains(t, items[i].Err, "longer than MaxRecordBytes, 100")
			require.LessOrEqual(t, len(items[i].Raw), rejectedBytes)
			require.NotEmpty(t, items[i].Raw)
		}
		for i, p := range positions {
			rest, _ := drain(t, f, p, 1)
			require.Equal(t, items[min(i+1, len(items)):], append([]item{}, rest...))
		}
	}
}

func TestAReaderKeepsToItsMemory(t *testing.T) {
	t.Parallel()
	f := on(Lines("in"), newDisk(t, map[string]string{"in": strings.Repeat("x", 1<<20) + "\ny\n"}))
	f.MaxRecordBytes, f.chunk = 1000, 64
	r, err := f.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	defer r.Close()
	_, err = r.Read(t.Context(), weaver.NewBatch[[]byte](0, 0))
	require.Equal(t, io.EOF, err)
	require.LessOrEqual(t, len(r.(*reader[[]byte]).stream.in.buf), 4096)
}

func TestNDJSON(t *testing.T) {
	t.Parallel()
	data := "\ufeff" + `{"id":9007199254740993,"name":"Ann","price":1}` + "\n\n  \t\r\n" +
		`{"id":"x"}` + "\n" + `{"id":2}` + "\r\n" + `{"id":3} {"id":4}` + "\n[\n" + `{"id":5}`
	f := on(NDJSON[order]("in"), newDisk(t, map[string]string{"in": data}))
	items, _ := drain(t, f, nil, 100)
	require.Equal(t, []item{
		{Seq: 1, Value: "{ID:9007199254740993 Name:Ann Price:1}"},
		{Seq: 5, Value: "{ID:2 Name: Price:0}"},
		{Seq: 8, Value: "{ID:5 Name: Price:0}"},
		{Seq: 4, Raw: `{"id":"x"}`, Err: "json: cannot unmarshal string into Go struct field order.id of type int64"},
		{Seq: 6, Raw: `{"id":3} {"id":4}`, Err: "invalid character '{' after top-level value"},
		{Seq: 7, Raw: "[", Err: "unexpected end of JSON input"},
	}, items)
}

// The quick way to write JSON is the same as the codec's.
func TestNDJSONWithAndWithoutACodec(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"<&>\u2028\n\ufffd", "\xff", `\ufffd`} {
		v := order{ID: 1 << 60, Name: name, Price: 1e21}
		quick, err := newJSONLines[order]().append([]byte("x"), &v)
		plain, plainErr := codecLines[order]{codec: json.Codec[order]{}}.append([]byte("x"), &v)
		require.Equal(t, string(plain), string(quick))
		require.Equal(t, plainErr, err)
	}

	// A codec of somebody else may write several lines.
	indented := codecLines[order]{codec: json.Codec[order]{Marshal: func(v any) ([]byte, error) { return stdjson.MarshalIndent(v, "", "  ") }}}
	got, err := indented.append([]byte("x"), &order{ID: 1})
	require.NoError(t, err)
	require.Equal(t, `x{"id":1,"name":"","price":0}`+"\n", string(got))
	text := codecLines[string]{codec: serde.Funcs[string]{AppendFunc: func(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }}}
	in := "a\nb"
	_, err = text.append(nil, &in)
	require.ErrorContains(t, err, "a line cannot contain a line end")
}

func TestARejectSaysWhere(t *testing.T) {
	t.Parallel()
	bad := "{" + strings.Repeat("\x1b", 300)
	f := on(NDJSON[order]("in.ndjson"), newDisk(t, map[string]string{"in.ndjson": "{}\n" + bad + "\n"}))
	r, err := f.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	defer r.Close()
	b := weaver.NewBatch[order](0, 0)
	_, err = r.Read(t.Context(), b)
	require.Equal(t, io.EOF, err)
	for _, x := range b.Rejects() {
		require.Equal(t, bad, string(x.Raw))
		var re *RecordError
		require.ErrorAs(t, x.Err, &re)
		require.Equal(t, "in.ndjson", re.Path)
		require.Equal(t, int64(2), re.Line)
		require.Equal(t, int64(3), re.Offset)
		require.True(t, strings.HasPrefix(x.Err.Error(), `in.ndjson:2 (byte 3): invalid character`), x.Err)
		require.NotContains(t, x.Err.Error(), "\x1b")
		require.LessOrEqual(t, strings.Count(x.Err.Error(), `\x1b`), 128+1)
	}
}

func TestCSV(t *testing.T) {
	t.Parallel()
	data := "\ufeffid,name,price,note\r\n" +
		"1,Ann,1.5,\r\n" +
		"\r\n" +
		"2,\"Bob \"\"the\nBuilder\"\"\",2,x\r\n" +
		"3,short\r\n" +
		"4,D,4,long,er\r\n" +
		"five,E,5,\r\n" +
		"6,F\"G,6,\r\n" +
		"7,\"H\"I,7,\r\n" +
		"8,\"never closed,8,\r\n" +
		"9,J,9,last"
	f := on(CSV[order]("in"), newDisk(t, map[string]string{"in": data}))
	items, positions := drain(t, f, nil, 1)
	want := []item{
		{Seq: 2, Value: "{ID:1 Name:Ann Price:1.5}"},
		{Seq: 4, Value: "{ID:2 Name:Bob \"the\nBuilder\" Price:2}"},
		{Seq: 6, Raw: "3,short", Err: "the row has 2 fields instead of 4"},
		{Seq: 7, Raw: "4,D,4,long,er", Err: "the row has 5 fields instead of 4"},
		{Seq: 8, Raw: "five,E,5,"},
		{Seq: 9, Raw: `6,F"G,6,`, Err: errBareQuote.Error()},
		{Seq: 10, Raw: `7,"H"I,7,`, Err: errQuoteTail.Error()},
		{Seq: 11, Raw: `8,"never closed,8,`, Err: errQuoteUnclosed.Error()},
		{Seq: 12, Value: "{ID:9 Name:J Price:9}"},
	}
	require.Contains(t, items[4].Err, `"id"`)
	items[4].Err = ""
	require.Equal(t, want, items)
	for i, p := range positions {
		rest, _ := drain(t, f, p, 100)
		require.ElementsMatch(t, values(want[min(i+1, len(want)):]), values(rest), "after %d", i)
	}
}

func TestCSVColumns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data  string
		set   func(*File[order])
		want  []string
		fatal string
	}{
		"header only":      {data: "id,name,price\n", want: []string{}},
		"empty":            {data: "", want: []string{}},
		"mark only":        {data: "\ufeff", want: []string{}},
		"blank only":       {data: "\n\r\n", want: []string{}},
		"other order":      {data: "price,id,name\n1.5,2,x\n", want: []string{"{ID:2 Name:x Price:1.5}"}},
		"blank before":     {data: "\n\nid,name,price\n1,a,2\n", want: []string{"{ID:1 Name:a Price:2}"}},
		"missing":          {data: "id,name\n1,a\n", fatal: `no column "price"`},
		"missing allowed":  {data: "id,name\n1,a\n", set: func(f *File[order]) { f.AllowMissing = true }, want: []string{"{ID:1 Name:a Price:0}"}},
		"unknown":          {data: "id,name,price,x\n1,a,2,y\n", want: []string{"{ID:1 Name:a Price:2}"}},
		"unknown refused":  {data: "id,name,price,x\n", set: func(f *File[order]) { f.RefuseUnknown = true }, fatal: `the column "x"`},
		"duplicate":        {data: "id,name,price,id\n", fatal: `two columns are called "id"`},
		"bad quote":        {data: "id,na\"me,price\n", fatal: "the header"},
		"no header":        {data: "1,a,2\n", set: func(f *File[order]) { f.NoHeader = true }, want: []string{"{ID:1 Name:a Price:2}"}},
		"columns":          {data: "a,9,1,2\n", set: func(f *File[order]) { f.NoHeader, f.Columns = true, []string{"name", "?", "id", "price"} }, want: []string{"{ID:1 Name:a Price:2}"}},
		"semicolons":       {data: "id;name;price\n1;\"a;b\";2\n", set: func(f *File[order]) { f.Comma = ';' }, want: []string{"{ID:1 Name:a;b Price:2}"}},
		"too long":         {data: "id,name,price,xxxxxxxxxx\n1", set: func(f *File[order]) { f.MaxRecordBytes = 20 }, fatal: "longer than MaxRecordBytes, 20"},
		"wrong comma":      {set: func(f *File[order]) { f.Comma = '"' }, fatal: "field Comma"},
		"columns repeated": {set: func(f *File[order]) { f.Columns = []string{"a", "a"} }, fatal: "field Columns"},
		"codec":            {set: func(f *File[order]) { f.Codec = codecLines[order]{}.codec; f.MaxRecordBytes = -1 }, fatal: "field MaxRecordBytes is -1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := on(CSV[order]("in"), newDisk(t, map[string]string{"in": c.data}))
			if c.set != nil {
				c.set(f)
			}
			if c.fatal != "" {
				_, err := f.OpenReader(t.Context(), weaver.Lane{})
				require.ErrorContains(t, err, c.fatal)
				require.ErrorContains(t, err, `file.CSV "in"`)
				require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
				return
			}
			items, positions := drain(t, f, nil, 1)
			require.Equal(t, c.want, values(items))
			for i, p := range positions {
				rest, _ := drain(t, f, p, 1)
				require.Equal(t, c.want[min(i+1, len(items)):], values(rest))
			}
		})
	}
	_, err := CSV[int]("in").OpenReader(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, "can't be a int")
}

func TestCSVOfPointersAndRows(t *testing.T) {
	t.Parallel()
	disk := newDisk(t, map[string]string{"in": "id,name,price\n1,a,2\n3,b\n"})
	r, err := on(CSV[*order]("in"), disk).OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	b := weaver.NewBatch[*order](1, 0)
	_, err = r.Read(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, &order{ID: 1, Name: "a", Price: 2}, b.Records[0].Value)
	require.NoError(t, r.Close())

	items, _ := drain(t, on(CSV[[]string]("in"), disk), nil, 100)
	require.Equal(t, []string{`["id" "name" "price"]`, `["1" "a" "2"]`, ""}, values(items))
	require.Equal(t, "the row has 2 fields instead of 3", items[2].Err)
}

func TestResumeWhereAFileHadNoLineEnd(t *testing.T) {
	t.Parallel()
	disk := newDisk(t, map[string]string{"in": "a\nb"})
	f := on(Lines("in"), disk)
	_, positions := drain(t, f, nil, 100)
	end := positions[len(positions)-1]
	for added, want := range map[string][]item{
		"":           nil,
		"\n":         nil,
		"\r\n":       nil,
		"\nc\n":      {{Seq: 3, Value: "c"}},
		"\r\nc":      {{Seq: 3, Value: "c"}},
		"ee\nc\nd\n": {{Seq: 3, Value: "c"}, {Seq: 4, Value: "d"}, {Seq: 2, Raw: "ee", Err: errContinued.Error()}},
		"ee":         {{Seq: 2, Raw: "ee", Err: errContinued.Error()}},
	} {
		put(t, disk, "in", "a\nb"+added)
		items, _ := drain(t, f, end, 100)
		require.Equal(t, want, items, "%q", added)
	}
}

func TestAReplacedFileIsNoticed(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789\n", 300)
	disk := newDisk(t, map[string]string{"in": long})
	f := on(Lines("in"), disk)
	_, positions := drain(t, f, nil, 1)
	for _, p := range positions {
		put(t, disk, "in", long+"more\n")
		r, err := f.OpenReader(t.Context(), weaver.Lane{Position: p})
		require.NoError(t, err)
		require.NoError(t, r.Close())

		put(t, disk, "in", "1"+long[1:])
		_, err = f.OpenReader(t.Context(), weaver.Lane{Position: p})
		require.ErrorContains(t, err, "it was replaced")
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
	put(t, disk, "in", long[:22])
	_, err := f.OpenReader(t.Context(), weaver.Lane{Position: positions[5]})
	require.ErrorContains(t, err, "in has 22 bytes, but was read up to byte 66")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))

	for _, p := range []weaver.Position{{}, {1}, {9, 9, 9}, []byte("garbage garbage")} {
		_, err = f.OpenReader(t.Context(), weaver.Lane{Position: p})
		require.ErrorContains(t, err, "the checkpoint has a position that this source can't have made")
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
}

func TestReadHeedsItsContext(t *testing.T) {
	t.Parallel()
	disk := newDisk(t, map[string]string{"in": strings.Repeat("x", 1<<20)})
	f := on(Lines("in"), disk)
	f.chunk = 1000
	r, err := f.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	reads := 0
	disk.Fail(func(o durabletest.Op) error {
		if o.Kind == durabletest.Read {
			if reads++; reads == 10 {
				cancel()
			}
		}
		return nil
	})
	_, err = r.Read(ctx, weaver.NewBatch[[]byte](0, 0))
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 10, reads)
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	disk := newDisk(t, map[string]string{"file": "x\n"})
	require.NoError(t, disk.MkdirAll("folder", 0o755))
	open := func(path string) error {
		_, err := on(Lines(path), disk).OpenReader(t.Context(), weaver.Lane{})
		return err
	}
	for path, want := range map[string]string{
		"missing":   "check the path",
		"folder":    "is a folder",
		"file/file": "is no folder",
		"":          "the path is empty",
		"no*match":  "no file matches the pattern",
		"bad[":      "syntax error in pattern",
	} {
		err := open(path)
		require.ErrorContains(t, err, want, path)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err), path)
	}
	require.ErrorIs(t, open("missing"), fs.ErrNotExist)

	disk.Fail(func(o durabletest.Op) error {
		if o.Kind == durabletest.Open {
			return fs.ErrPermission
		}
		return nil
	})
	err := open("file")
	require.ErrorContains(t, err, "give the user that this program runs as the right")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))

	broken := errors.New("the disk is broken")
	disk.Fail(func(o durabletest.Op) error {
		if o.Kind == durabletest.Read {
			return broken
		}
		return nil
	})
	err = open("file")
	require.ErrorIs(t, err, broken)
	require.Equal(t, retry.ClassUnmarked, retry.ClassOf(err))
}

func TestLagAndProgress(t *testing.T) {
	t.Parallel()
	f := on(Lines("in"), newDisk(t, map[string]string{"in": "aa\nbb\ncc\n"}))
	r, err := f.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	defer r.Close()
	lag, ok := weaver.As[weaver.LagReporter](r)
	require.True(t, ok)
	require.Equal(t, int64(9), lag.Lag().Bytes)
	progress, ok := weaver.As[weaver.ProgressReporter](r)
	require.True(t, ok)
	b := weaver.NewBatch[[]byte](1, 0)
	for _, want := range []int64{6, 3, 0} {
		b.Reset()
		_, err := r.Read(t.Context(), b)
		require.NoError(t, err)
		require.Equal(t, weaver.Lag{Records: -1, Bytes: want, Time: -1}, lag.Lag())
		require.Equal(t, weaver.Progress{Records: -1, TotalRecords: -1, Bytes: 9 - want, TotalBytes: 9}, progress.Progress())
	}
}

func TestAFieldThatNoRowCanFill(t *testing.T) {
	t.Parallel()
	type odd struct {
		C chan int `csv:"c"`
	}
	r, err := on(CSV[odd]("in"), newDisk(t, map[string]string{"in": "c\n1\n"})).OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	b := weaver.NewBatch[odd](0, 0)
	_, err = r.Read(t.Context(), b)
	require.Equal(t, io.EOF, err)
	for _, x := range b.Rejects() {
		require.Equal(t, retry.ClassFatal, retry.ClassOf(x.Err))
	}
	require.NoError(t, r.Close())
}
