package file

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
	"github.com/bohica-labs/dataweaver/retry"
)

// Bytes that are no UTF-8, and NUL, are a line's or a field's as any other; JSON has none.
func TestBytesThatAreNoText(t *testing.T) {
	t.Parallel()
	disk := newDisk(t, map[string]string{
		"lines":  "a\xff\xc3b\n\x00\n\xed\xa0\x80\n",
		"csv":    "id,name,price\n1,\xff\xc3(,2\n2,\"\x00\xfe\n\",3\n\x00,x,4\n",
		"ndjson": "{\"name\":\"\xff\"}\n{\"id\":1,\"name\":\"a\x00\"}\n{\"id\":2}\n",
		"json":   "[{\"name\":\"\xff\"},{\"id\":1,\"name\":\"a\x00\"},{\"id\":2}]",
	})
	items, _ := drain(t, on(Lines("lines"), disk), nil, 1)
	require.Equal(t, []string{"a\xff\xc3b", "\x00", "\xed\xa0\x80"}, values(items))
	items, _ = drain(t, on(CSV[order]("csv"), disk), nil, 1)
	require.Equal(t, []string{"{ID:1 Name:\xff\xc3( Price:2}", "{ID:2 Name:\x00\xfe\n Price:3}", ""}, values(items))
	require.Equal(t, "\x00,x,4", items[2].Raw)
	items, _ = drain(t, on(CSV[[]string]("csv"), disk), nil, 1)
	require.Equal(t, `["1" "\xff\xc3(" "2"]`, items[1].Value)
	for _, f := range []*File[order]{on(NDJSON[order]("ndjson"), disk), on(JSONArray[order]("json"), disk)} {
		items, _ = drain(t, f, nil, 1)
		require.Equal(t, []string{"", "", "{ID:2 Name: Price:0}"}, values(items))
		require.Equal(t, "{\"name\":\"\xff\"}", items[0].Raw)
		require.NotEmpty(t, items[1].Err)
	}
}

// A file as classic Mac OS wrote it would be one record.
func TestCarriageReturnsAlone(t *testing.T) {
	t.Parallel()
	mac := errCarriageReturns.Error() + rest
	for data, want := range map[string][]string{
		"a\rb\r":              nil,
		"a\rb":                nil,
		"\r\ra":               nil,
		"a\r":                 {"a"},
		"a":                   {"a"},
		"a\rb\n":              {"a\rb"},
		"a\nb\rc":             {"a", "b\rc"},
		"\r\n":                {""},
		"a\r\nb\rc\nd\r\r\ne": {"a", "b\rc", "d\r", "e"},
	} {
		for _, chunk := range []int{1, 100} {
			f := on(Lines("in"), newDisk(t, map[string]string{"in": data}))
			f.chunk = chunk
			items, positions := drain(t, f, nil, 100)
			if want == nil {
				require.Equal(t, []item{{Seq: 1, Raw: data, Err: mac}}, items, "%q", data)
				items, _ = drain(t, f, positions[0], 100)
				require.Empty(t, items, "it is said once")
				continue
			}
			require.Equal(t, want, values(items), "%q", data)
		}
	}
	rows := func(data string) []item {
		items, _ := drain(t, on(CSV[[]string]("in"), newDisk(t, map[string]string{"in": data})), nil, 100)
		return items
	}
	for _, data := range []string{"a,b\rc,d\r", "a,\"b\"\rc,d\r", "\"a\",b\rc", "\"a\r\",b\rc,\"d"} {
		require.Equal(t, []item{{Seq: 1, Raw: data, Err: mac}}, rows(data), "%q", data)
	}
	require.Equal(t, []item{{Seq: 1, Value: `["a" "b\rc"]`}}, rows("a,\"b\rc\""))
	require.Equal(t, []item{{Seq: 1, Value: `["a" "b\rc"]`}}, rows("a,b\rc\n"))

	disk := newDisk(t, map[string]string{"in": "id,name,price\r1,a,2\r"})
	_, err := on(CSV[order]("in"), disk).OpenReader(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, `the header: in:1 (byte 0): the file has carriage returns and no line feed`)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	items, _ := drain(t, on(NDJSON[order]("in"), newDisk(t, map[string]string{"in": "{\"id\":1}\r{\"id\":2}\r"})), nil, 1)
	require.Equal(t, mac, items[0].Err)
	f := on(Lines("in"), newDisk(t, map[string]string{"in": strings.Repeat("a\r", 2000)}))
	f.MaxRecordBytes, f.chunk = 20, 16
	items, _ = drain(t, f, nil, 1)
	require.Len(t, items, 1)
	require.Contains(t, items[0].Err, "longer than MaxRecordBytes, 20, and has carriage returns: is that the file has")
}

func TestUTF16(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"\xff\xfei\x00d\x00\n\x00", "\xfe\xff\x00i\x00d\x00\n", "\xff\xfe\x00\x00", "\xff\xfe"} {
		disk := newDisk(t, map[string]string{"in": data})
		_, err := on(CSV[order]("in"), disk).OpenReader(t.Context(), weaver.Lane{})
		require.ErrorContains(t, err, "the header: in:1 (byte 0): the file is UTF-16 or UTF-32")
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
		lines := on(Lines("in"), disk)
		for _, chunk := range []int{1, 100} {
			lines.chunk = chunk
			items, positions := drain(t, lines, nil, 1)
			require.Equal(t, []item{{Seq: 1, Raw: data, Err: errUTF16.Error() + rest}}, items)
			again, _ := drain(t, lines, positions[0], 1)
			require.Empty(t, again, "it is said once")
		}
		for _, src := range []weaver.Source[order]{on(NDJSON[order]("in"), disk), on(JSONArray[order]("in"), disk)} {
			items, _ := drain(t, src, nil, 1)
			require.Len(t, items, 1)
			require.Equal(t, errUTF16.Error()+rest, items[0].Err)
		}
		items, _ := drain(t, on(CSV[[]string]("in"), disk), nil, 1)
		require.Len(t, items, 1)
		require.Equal(t, errUTF16.Error()+rest, items[0].Err)
		items, _ = drain(t, on(Fixed[[]byte]("in", 1), disk), nil, 1)
		require.Len(t, items, len(data), "bytes are bytes")
	}
}

func TestNothingInAFile(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"", "\ufeff", "\ufeff\n", "id,name,price", "id,name,price\n", "\ufeffid,name,price\r\n\r\n\r\n"} {
		disk := newDisk(t, map[string]string{"in": data})
		items, positions := drain(t, on(CSV[order]("in"), disk), nil, 1)
		require.Empty(t, items, "%q", data)
		items, _ = drain(t, on(CSV[order]("in"), disk), positions[0], 1)
		require.Empty(t, items, "%q", data)
		if strings.Contains(data, "i") {
			continue
		}
		for _, f := range []*File[order]{NDJSON[order]("in"), JSONArray[order]("in")} {
			items, _ := drain(t, on(f, disk), nil, 1)
			require.Empty(t, items, "%q", data)
		}
	}
	disk := newDisk(t, map[string]string{"in": ""})
	for _, f := range []*File[[]byte]{Lines("in"), Fixed[[]byte]("in", 7), Prefixed[[]byte]("in", Uint32BE)} {
		items, _ := drain(t, on(f, disk), nil, 1)
		require.Empty(t, items)
	}
}

// generated is a file system of one file that is made as it is read.
type generated struct{ in func() io.Reader }

type generatedFile struct {
	io.Reader
	onlyInput
}

func (g generatedFile) Read(p []byte) (int, error) { return g.Reader.Read(p) }

func (g generated) Open(string) (fs.File, error) { return generatedFile{Reader: g.in()}, nil }

// A huge record costs no more memory than MaxRecordBytes says, about.
func TestHugeRecordsInLittleMemory(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	for name, c := range map[string]struct {
		file *File[[]byte]
		in   endless
		want []string // reject first, as a batch has them behind
	}{
		"lines":    {Lines("in"), endless{pattern: "x", close: "\nend\n"}, []string{"end", ""}},
		"csv":      {nil, endless{open: "x,y\na,\"", pattern: "x,", close: "\"\nb,c\n"}, []string{`["x" "y"]`, `["b" "c"]`, ""}},
		"array":    {JSONArray[[]byte]("in"), endless{open: `["`, pattern: "x", close: `",1]`}, []string{""}},
		"prefixed": {Prefixed[[]byte]("in", Uint32LE), endless{open: "\x00\x00\x00\x04", pattern: "x", close: "\x01\x00\x00\x00x"}, []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.in.n, c.in.piece = size, 1<<20
			open := func() io.Reader {
				in := c.in
				return &in
			}
			var items []item
			var memory int
			if c.file == nil {
				items, memory = readHuge(t, CSV[[]string]("in"), open)
			} else {
				items, memory = readHuge(t, c.file, open)
			}
			require.Equal(t, c.want, values(items))
			last := items[len(items)-1]
			require.Contains(t, last.Err, "than MaxRecordBytes, 1048576")
			require.LessOrEqual(t, len(last.Raw), rejectedBytes)
			require.LessOrEqual(t, memory, 4<<20)
		})
	}
}

func readHuge[T any](t *testing.T, f *File[T], in func() io.Reader) ([]item, int) {
	t.Helper()
	f.FS = generated{in}
	r, err := f.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	defer r.Close()
	b := weaver.NewBatch[T](0, 0)
	_, err = r.Read(t.Context(), b)
	require.Equal(t, io.EOF, err)
	return itemsOf(b), cap(r.(*reader[T]).stream.in.buf)
}

// What happens to a file while it is read.
func TestAFileThatChangesWhileItIsRead(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("0123456789\n", 100)
	begin := func(t *testing.T) (path string, r weaver.Reader[[]byte], b *weaver.Batch[[]byte]) {
		t.Helper()
		path = realFile(t, filepath.Join(t.TempDir(), "in"), text)
		f := Lines(path)
		f.chunk = 64
		r, err := f.OpenReader(t.Context(), weaver.Lane{})
		require.NoError(t, err)
		t.Cleanup(func() { _ = r.Close() })
		b = weaver.NewBatch[[]byte](50, 0)
		_, err = r.Read(t.Context(), b)
		require.NoError(t, err)
		b = weaver.NewBatch[[]byte](0, 0)
		return path, r, b
	}
	t.Run("cut", func(t *testing.T) {
		t.Parallel()
		path, r, b := begin(t)
		require.NoError(t, os.Truncate(path, 110))
		_, err := r.Read(t.Context(), b)
		require.ErrorContains(t, err, "had 1100 bytes and has 110: it was cut while it was read")
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	})
	t.Run("replaced", func(t *testing.T) { // what is open is what is read
		t.Parallel()
		path, r, b := begin(t)
		other := realFile(t, path+".new", "x\n")
		if err := os.Rename(other, path); err != nil {
			t.Skip("this system doesn't replace open files")
		}
		_, err := r.Read(t.Context(), b)
		require.Equal(t, io.EOF, err)
		require.Len(t, b.Records, 50)
	})
	t.Run("removed", func(t *testing.T) {
		t.Parallel()
		path, r, b := begin(t)
		if err := os.Remove(path); err != nil {
			t.Skip("this system doesn't remove open files")
		}
		_, err := r.Read(t.Context(), b)
		require.Equal(t, io.EOF, err)
		require.Len(t, b.Records, 50)
	})
	t.Run("appended", func(t *testing.T) {
		t.Parallel()
		path, r, b := begin(t)
		realFile(t, path, text+"more\n")
		_, err := r.Read(t.Context(), b)
		require.Equal(t, io.EOF, err)
		require.Len(t, b.Records, 51)
	})
}

// A file that can't be read for a while is read on: nothing is lost, and nothing comes twice.
func TestInputErrorsPass(t *testing.T) {
	t.Parallel()
	const records = 9000
	var lines, array, fixed, table strings.Builder
	table.WriteString("name,id\n")
	var want []string
	for i := range records {
		v := fmt.Sprintf("%d", 1000+i)
		want = append(want, v)
		lines.WriteString(v + "\r\n")
		array.WriteString(map[bool]string{true: "[", false: ", "}[i == 0] + v)
		fixed.WriteString(v)
		fmt.Fprintf(&table, "\"a\n%s\",%s\n", v, v)
	}
	array.WriteString("]")
	for name, c := range map[string]struct {
		file *File[[]byte]
		data string
	}{
		"Lines":     {Lines("in"), lines.String()},
		"NDJSON":    {NDJSON[[]byte]("in"), lines.String()},
		"JSONArray": {JSONArray[[]byte]("in"), array.String()},
		"Fixed":     {Fixed[[]byte]("in", 4), fixed.String()},
		"Prefixed":  {Prefixed[[]byte]("in", Uint32BE), "\x00\x00\x00\x04" + strings.Join(want, "\x00\x00\x00\x04")},
		"gzip":      {Lines("in"), gzipped(t, sliced(lines.String(), 500, 1, 70)...)},
		"zstd":      {Lines("in"), zstandard(t, sliced(lines.String(), 500, 1, 70)...)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.file.kind == kindNDJSON || c.file.kind == kindArray {
				c.file.Codec = codecLines[[]byte]{codec: rawCodec{}}.codec
			}
			inputErrorsPass(t, c.file, c.data, Lines("out"), strings.Join(want, "\n")+"\n")
		})
	}
	t.Run("CSV", func(t *testing.T) {
		t.Parallel()
		inputErrorsPass(t, CSV[[]string]("in"), table.String(), CSV[[]string]("out"), table.String())
	})
	t.Run("CSV, gzip", func(t *testing.T) {
		t.Parallel()
		inputErrorsPass(t, CSV[[]string]("in"), gzipped(t, sliced(table.String(), 500, 1, 70)...), CSV[[]string]("out"), table.String())
	})
}

// inputErrorsPass copies data through a pipeline while the disk fails at every ninth read of it, and at every third opening.
func inputErrorsPass[T any](t *testing.T, in *File[T], data string, out *File[T], want string) {
	t.Helper()
	disk := newDisk(t, map[string]string{"in": data})
	var reads, opens, failed atomic.Int64
	disk.Fail(func(o durabletest.Op) error {
		if o.Name != "/in" {
			return nil
		}
		if o.Kind == durabletest.Read && reads.Add(1)%9 == 0 || o.Kind == durabletest.Open && opens.Add(1)%3 == 2 {
			failed.Add(1)
			return syscall.EIO
		}
		return nil
	})
	in.chunk = 250
	p := quick(weaver.Copy(on(in, shortReads{disk, fingerprintBytes}), on(out, disk)))
	p.Retry.MaxAttempts = -1
	p.Require = weaver.ExactlyOnce
	p.CheckpointInterval = time.Nanosecond
	p.BatchSize = 97
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(t, p.Run(ctx))
	require.NoError(t, ctx.Err(), "it comes forward from one failure to the next")
	require.Greater(t, opens.Load(), int64(3))
	require.Greater(t, failed.Load(), int64(3))
	require.Equal(t, want, content(t, disk, "out"))
}

// shortReads has files of which a read returns so many bytes at most, as a network drive may.
type shortReads struct {
	durable.FS
	most int
}

func (s shortReads) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := s.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return shortFile{f, s.most}, nil
}

type shortFile struct {
	durable.File
	most int
}

func (f shortFile) Read(p []byte) (int, error) { return f.File.Read(p[:min(len(p), f.most)]) }

// rawCodec has bytes as they are.
type rawCodec struct{}

func (rawCodec) Append(dst []byte, v []byte) ([]byte, error) { return append(dst, v...), nil }

func (rawCodec) Decode(data []byte, v *[]byte) error {
	*v = append([]byte{}, data...)
	return nil
}

func TestErrorsOfTheFileSystem(t *testing.T) {
	t.Parallel()
	disk := newDisk(t, map[string]string{"a.txt": "x\n"})
	for _, c := range []struct {
		kind  string
		err   error
		class retry.Class
	}{
		{durabletest.ReadDir, fs.ErrPermission, retry.ClassFatal},
		{durabletest.ReadDir, syscall.EIO, retry.ClassUnmarked},
		{durabletest.Open, fs.ErrPermission, retry.ClassFatal},
		{durabletest.Open, syscall.EMFILE, retry.ClassUnmarked},
		{durabletest.Read, syscall.EIO, retry.ClassUnmarked},
	} {
		disk.Fail(func(o durabletest.Op) error {
			if o.Kind == c.kind {
				return c.err
			}
			return nil
		})
		_, err := on(Lines("*.txt"), disk).OpenReader(t.Context(), weaver.Lane{})
		require.ErrorIs(t, err, c.err)
		require.Equal(t, c.class, retry.ClassOf(err), "%s: %v", c.kind, c.err)
	}
}

func TestTables(t *testing.T) {
	t.Parallel()
	var names, row []string
	for i := range 10_000 {
		names, row = append(names, fmt.Sprintf("c%d", i)), append(row, fmt.Sprintf("\"v,\n%d\"", i))
	}
	wide := strings.Join(append(names, "name"), ",") + "\n" + strings.Join(append(row, "w"), ",") + "\n"
	disk := newDisk(t, map[string]string{
		"tsv":  "name\tid\tprice\na,b\t1\t2\n\"c\t\"\"d\"\t2\t3\n",
		"wide": wide,
		"line": "id,name,price\n" + strings.Repeat("1,\"a\r\n,\"\"\nb\",2\r\n", 200),
	})
	f := on(CSV[order]("tsv"), disk)
	f.Comma = '\t'
	items, _ := drain(t, f, nil, 1)
	require.Equal(t, []string{"{ID:1 Name:a,b Price:2}", "{ID:2 Name:c\t\"d Price:3}"}, values(items))

	f = on(CSV[order]("wide"), disk)
	f.AllowMissing = true
	items, _ = drain(t, f, nil, 1)
	require.Equal(t, []string{"{ID:0 Name:w Price:0}"}, values(items))

	for _, chunk := range []int{1, 2, 3, 5, 7, 11, 13} {
		f = on(CSV[order]("line"), disk)
		f.chunk = chunk
		items, _ = drain(t, f, nil, 13)
		require.Len(t, items, 200)
		for i, item := range items {
			require.Equal(t, "{ID:1 Name:a\r\n,\"\nb Price:2}", item.Value)
			require.Equal(t, int64(2+3*i), item.Seq)
		}
	}
}
