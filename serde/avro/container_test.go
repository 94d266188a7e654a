package avro_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/linkedin/goavro/v2"
	"github.com/stretchr/testify/require"
	"github.com/twmb/avro/ocf"

	"github.com/bohica-labs/dataweaver/serde/avro"
)

var compressions = []string{"null", "deflate", "snappy", "zstandard"}

func ExampleBlockReader() {
	codec, err := avro.New[string](`"string"`)
	if err != nil {
		fmt.Println(err)
		return
	}
	header := &avro.Header{Schema: codec.Schema(), Codec: "deflate", Sync: avro.NewSync()}
	file, err := header.Append(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	writer, err := avro.NewBlockWriter(header, avro.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, names := range [][]string{{"Ann", "Bob"}, {"Cem"}} {
		var records []byte
		for _, name := range names {
			records, _ = codec.Append(records, name)
		}
		file, _ = writer.Append(file, len(names), records)
	}

	reader, err := avro.NewBlockReader(bytes.NewReader(file), avro.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for {
		block, err := reader.Next()
		if err != nil {
			fmt.Println(err)
			return
		}
		err = block.Records(0, codec.Skip, func(index int, data []byte) ([]byte, error) {
			var name string
			rest, err := codec.DecodeNext(data, &name)
			fmt.Println(index, name)
			return rest, err
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// 0 Ann
	// 1 Bob
	// 0 Cem
	// EOF
}

// written returns a container of so many blocks, whose n-th record is the n-th number as a text, and where the blocks begin.
func written(t testing.TB, compression string, counts ...int) ([]byte, []int64) {
	t.Helper()
	c := newCodec[string](t, `"string"`)
	header := &avro.Header{Schema: c.Schema(), Codec: compression, Sync: [16]byte{1, 2, 3}, Meta: map[string][]byte{"b": []byte("2"), "a": []byte("1")}}
	file, err := header.Append(nil)
	require.NoError(t, err)
	w, err := avro.NewBlockWriter(header, avro.Limits{})
	require.NoError(t, err)
	var starts []int64
	n := 0
	for _, count := range counts {
		starts = append(starts, int64(len(file)))
		var records []byte
		for range count {
			records, err = c.Append(records, fmt.Sprint("record ", n))
			require.NoError(t, err)
			n++
		}
		file, err = w.Append(file, count, records)
		require.NoError(t, err)
	}
	return file, starts
}

// readAll returns the records of r, the first ones of the first block aside.
func readAll(t testing.TB, r *avro.BlockReader, first int) ([]string, error) {
	t.Helper()
	c := newCodec[string](t, `"string"`)
	var all []string
	for {
		b, err := r.Next()
		if err != nil {
			return all, err
		}
		err = b.Records(first, c.Skip, func(_ int, data []byte) ([]byte, error) {
			var s string
			rest, err := c.DecodeNext(data, &s)
			all = append(all, s)
			return rest, err
		})
		if err != nil {
			return all, err
		}
		first = 0
	}
}

func TestContainer(t *testing.T) {
	t.Parallel()
	for _, compression := range compressions {
		file, starts := written(t, compression, 3, 1, 2000)
		for name, src := range map[string]io.Reader{
			"whole": bytes.NewReader(file), "byte by byte": iotest.OneByteReader(bytes.NewReader(file)), "halves": iotest.HalfReader(bytes.NewReader(file)),
			"with the error": iotest.DataErrReader(bytes.NewReader(file)),
		} {
			r, err := avro.NewBlockReader(src, avro.Limits{})
			require.NoError(t, err)
			h := r.Header()
			require.Equal(t, &avro.Header{Schema: `"string"`, Codec: compression, Sync: [16]byte{1, 2, 3}, Meta: map[string][]byte{"b": []byte("2"), "a": []byte("1")}}, h)
			all, err := readAll(t, r, 0)
			require.ErrorIs(t, err, io.EOF, name)
			require.Len(t, all, 2004)
			require.Equal(t, "record 2003", all[2003])
		}
		for block, before := range []int{0, 3, 4} {
			for _, index := range []int{0, 1} {
				r, err := avro.NewBlockReaderAt(bytes.NewReader(file), starts[block], avro.Limits{})
				require.NoError(t, err)
				all, err := readAll(t, r, index)
				require.ErrorIs(t, err, io.EOF)
				require.Len(t, all, 2004-before-index)
				require.Equal(t, fmt.Sprint("record ", before+index), all[0])
			}
		}
		r, err := avro.NewBlockReaderAt(bytes.NewReader(file), int64(len(file)), avro.Limits{})
		require.NoError(t, err)
		_, err = r.Next()
		require.ErrorIs(t, err, io.EOF)
	}
}

// unread is a ReaderAt that mustn't be read in a range.
type unread struct {
	io.ReaderAt
	from, to int64
	t        *testing.T
}

func (u unread) ReadAt(p []byte, off int64) (int, error) {
	if off >= u.from && off < u.to {
		u.t.Errorf("read at %d", off)
	}
	return u.ReaderAt.ReadAt(p, off)
}

func TestResumingReadsNothingBefore(t *testing.T) {
	t.Parallel()
	counts := make([]int, 50)
	for i := range counts {
		counts[i] = 1000
	}
	file, starts := written(t, "null", counts...)
	at := starts[45]
	r, err := avro.NewBlockReaderAt(unread{bytes.NewReader(file), 64 << 10, at - 16, t}, at, avro.Limits{})
	require.NoError(t, err)
	b, err := r.Next()
	require.NoError(t, err)
	require.Equal(t, at, b.Offset)
	require.Equal(t, starts[46], b.End)
	for _, wrong := range []int64{1, at - 1, at + 1, at + 20, int64(len(file)) + 5} {
		_, err := avro.NewBlockReaderAt(bytes.NewReader(file), wrong, avro.Limits{})
		require.Error(t, err, wrong)
	}
}

// Every container that is cut off is one that ends too early, or one block shorter.
func TestTruncatedContainers(t *testing.T) {
	t.Parallel()
	for _, compression := range compressions {
		file, starts := written(t, compression, 2, 2)
		for n := range file {
			r, err := avro.NewBlockReader(bytes.NewReader(file[:n]), avro.Limits{})
			if err != nil {
				require.Less(t, int64(n), starts[0])
				require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%d", n)
				continue
			}
			all, err := readAll(t, r, 0)
			switch {
			case int64(n) == starts[0], int64(n) == starts[1]:
				require.Equal(t, io.EOF, err)
			default:
				require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			}
			require.Len(t, all, map[bool]int{true: 2, false: 0}[int64(n) >= starts[1]])
		}
	}
}

// A bit that flips in a block is seen or changes nothing, except in the data of null and deflate, which have no checksum.
func TestDamagedContainers(t *testing.T) {
	t.Parallel()
	for _, compression := range compressions {
		file, starts := written(t, compression, 20)
		whole, err := avro.NewBlockReader(bytes.NewReader(file), avro.Limits{})
		require.NoError(t, err)
		want, _ := readAll(t, whole, 0)
		for at := int(starts[0]); at < len(file); at++ {
			for bit := range 8 {
				bad := bytes.Clone(file)
				bad[at] ^= 1 << bit
				r, err := avro.NewBlockReader(bytes.NewReader(bad), avro.Limits{})
				require.NoError(t, err)
				got, err := readAll(t, r, 0)
				if (compression == "snappy" || compression == "zstandard") && errors.Is(err, io.EOF) {
					require.Equal(t, want, got, "%s: byte %d, bit %d", compression, at, bit) // such as the bit that says whether there is a checksum
				}
				_, again := r.Next()
				if errors.Is(err, io.EOF) {
					require.ErrorIs(t, again, io.EOF)
				}
			}
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	bomb := bytes.Repeat([]byte{2, 'a'}, 1<<20)
	for _, compression := range compressions {
		header := &avro.Header{Schema: `"string"`, Codec: compression, Sync: [16]byte{9}}
		file, err := header.Append(nil)
		require.NoError(t, err)
		w, err := avro.NewBlockWriter(header, avro.Limits{})
		require.NoError(t, err)
		file, err = w.Append(file, 1<<20, bomb)
		require.NoError(t, err)
		for _, l := range []avro.Limits{{MaxData: 1 << 20}, {MaxHeader: 20}, {MaxBlock: 20}, {MaxData: 2<<20 - 1}} {
			r, err := avro.NewBlockReader(bytes.NewReader(file), l)
			if l.MaxHeader > 0 {
				require.ErrorContains(t, err, "MaxHeader")
				continue
			}
			require.NoError(t, err)
			_, err = r.Next()
			require.ErrorContains(t, err, "Max", compression)
			_, again := r.Next()
			require.Equal(t, err, again)
			w, err := avro.NewBlockWriter(header, l)
			require.NoError(t, err)
			_, err = w.Append(nil, 1<<20, bomb)
			require.ErrorContains(t, err, "Max", compression)
		}
		r, err := avro.NewBlockReader(bytes.NewReader(file), avro.Limits{MaxData: 2 << 20})
		require.NoError(t, err)
		_, err = r.Next()
		require.NoError(t, err)
	}
}

// What a container declares is not allocated before it comes. Not parallel: it measures.
func TestDeclaredBlocks(t *testing.T) {
	header := &avro.Header{Schema: `"null"`, Sync: [16]byte{9}}
	file, err := header.Append(nil)
	require.NoError(t, err)
	for _, block := range []string{"\x02\xfe\xff\xff\x3f", "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00" + string(header.Sync[:]), "\x01\x00", "\x02\x01"} {
		took := allocated(func() {
			r, err := avro.NewBlockReader(bytes.NewReader(append(bytes.Clone(file), block...)), avro.Limits{})
			require.NoError(t, err)
			_, err = r.Next()
			require.Error(t, err)
			require.NotErrorIs(t, err, io.EOF)
		})
		require.Less(t, took, uint64(8<<20), "%q", block)
	}
	w, err := avro.NewBlockWriter(header, avro.Limits{})
	require.NoError(t, err)
	nulls, err := w.Append(nil, 1000, nil)
	require.NoError(t, err)
	r, err := avro.NewBlockReader(bytes.NewReader(append(bytes.Clone(file), nulls...)), avro.Limits{})
	require.NoError(t, err)
	b, err := r.Next()
	require.NoError(t, err)
	require.Equal(t, 1000, b.Count)
	for _, bad := range []int{-1, 0, 1<<20 + 1} {
		_, err = w.Append(nil, bad, []byte("x"))
		require.Error(t, err)
	}
	none, err := w.Append(nil, 0, nil)
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestRecordsThatDontFitTheCount(t *testing.T) {
	t.Parallel()
	c := newCodec[string](t, `"string"`)
	next := func(_ int, data []byte) ([]byte, error) { return c.DecodeNext(data, new(string)) }
	b := avro.Block{Count: 2, Data: []byte("\x02a\x02b\x02c")}
	require.ErrorContains(t, b.Records(0, c.Skip, next), "2 bytes behind the 2 records")
	b.Count = 4
	require.Error(t, b.Records(0, c.Skip, next))
	require.Error(t, b.Records(9, c.Skip, next))
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	_, err := (&avro.Header{}).Append(nil)
	require.ErrorContains(t, err, "Schema")
	_, err = (&avro.Header{Schema: `"int"`, Meta: map[string][]byte{"avro.codec": nil}}).Append(nil)
	require.ErrorContains(t, err, "reserved")
	_, err = avro.NewBlockWriter(&avro.Header{Codec: "bzip2"}, avro.Limits{})
	require.ErrorContains(t, err, `"bzip2"`)
	for data, want := range map[string]string{
		"PK\x03\x04": "no object container", "Obj\x02": "no object container", "Obj\x01\x00" + strings.Repeat("s", 16): "without avro.schema",
		"Obj\x01\x04\x02a\x02b\x02a\x02c\x00": "twice", "Obj\x01\x02\x01": "negative",
	} {
		_, _, err := avro.ParseHeader([]byte(data), avro.Limits{})
		require.ErrorContains(t, err, want)
	}
	_, _, err = avro.ParseHeader([]byte("Ob"), avro.Limits{})
	require.ErrorIs(t, err, avro.ErrMore)
	// A map may be in blocks that say how long they are.
	h, n, err := avro.ParseHeader([]byte("Obj\x01\x01\x22\x16avro.schema\x0a\"int\"\x00"+strings.Repeat("s", 16)+"behind"), avro.Limits{})
	require.NoError(t, err)
	require.Equal(t, `"int"`, h.Schema)
	require.Equal(t, "null", h.Codec)
	require.Equal(t, 4+2+18+1+16, n)
	require.NotEqual(t, avro.NewSync(), avro.NewSync())
}

// An outage of the source isn't damage: Next goes on where it was.
func TestSourceErrors(t *testing.T) {
	t.Parallel()
	file, _ := written(t, "null", 2, 2)
	src := &flaky{Reader: iotest.OneByteReader(bytes.NewReader(file)), every: 7}
	_, err := avro.NewBlockReader(src, avro.Limits{})
	require.ErrorIs(t, err, errFlaky)
	both := &flaky{Reader: iotest.OneByteReader(bytes.NewReader(file)), every: len(file) - 10}
	r, err := avro.NewBlockReader(both, avro.Limits{})
	require.NoError(t, err)
	records := 0
	for {
		b, err := r.Next()
		if errors.Is(err, errFlaky) {
			continue
		}
		if err != nil {
			require.Equal(t, io.EOF, err)
			break
		}
		records += b.Count
	}
	require.Equal(t, 4, records)
}

var errFlaky = errors.New("flaky")

type flaky struct {
	io.Reader
	every, calls int
}

func (f *flaky) Read(p []byte) (int, error) {
	if f.calls++; f.calls%f.every == 0 {
		return 0, errFlaky
	}
	return f.Reader.Read(p)
}

// goavro reads what we write and the other way round.
func TestInteropWithGoavro(t *testing.T) {
	t.Parallel()
	g := newGeneric(t, orderSchema)
	typed := newCodec[order](t, orderSchema)
	data, err := typed.Append(nil, sampleOrder())
	require.NoError(t, err)
	var native any
	require.NoError(t, g.Decode(data, &native))
	for _, compression := range []string{"null", "deflate", "snappy"} { // it has no zstandard
		var theirs bytes.Buffer
		w, err := goavro.NewOCFWriter(goavro.OCFConfig{W: &theirs, Schema: orderSchema, CompressionName: compression})
		require.NoError(t, err)
		require.NoError(t, w.Append([]any{native, native}))
		require.NoError(t, w.Append([]any{native}))
		r, err := avro.NewBlockReader(&theirs, avro.Limits{})
		require.NoError(t, err)
		reads, err := typed.WithWriter(r.Header().Schema)
		require.NoError(t, err)
		require.Equal(t, []order{sampleOrder(), sampleOrder(), sampleOrder()}, orders(t, r, reads), compression)

		ours, err := goavro.NewOCFReader(bytes.NewReader(orderFile(t, typed, compression)))
		require.NoError(t, err)
		n := 0
		for ours.Scan() {
			v, err := ours.Read()
			require.NoError(t, err)
			require.Equal(t, native, v)
			n++
		}
		require.NoError(t, ours.Err())
		require.Equal(t, 3, n)
	}
}

// The same with the container package of the library for types, which has zstandard.
func TestInteropWithTheLibrary(t *testing.T) {
	t.Parallel()
	typed := newCodec[order](t, orderSchema)
	zstd, err := ocf.ZstdCodec(nil, nil)
	require.NoError(t, err)
	defer func() { _ = zstd }()
	for compression, opt := range map[string]ocf.Codec{"zstandard": zstd, "snappy": ocf.SnappyCodec(), "deflate": ocf.DeflateCodec(6)} {
		var theirs bytes.Buffer
		w, err := ocf.NewWriter(&theirs, libSchema(t), ocf.WithCodec(opt))
		require.NoError(t, err)
		o := sampleOrder()
		for range 3 {
			require.NoError(t, w.Encode(&o))
		}
		require.NoError(t, w.Close())
		r, err := avro.NewBlockReader(&theirs, avro.Limits{})
		require.NoError(t, err)
		require.Equal(t, compression, r.Header().Codec)
		require.Equal(t, []order{sampleOrder(), sampleOrder(), sampleOrder()}, orders(t, r, typed))

		ours, err := ocf.NewReader(bytes.NewReader(orderFile(t, typed, compression)))
		require.NoError(t, err)
		for range 3 {
			var o order
			require.NoError(t, ours.Decode(&o))
			require.Equal(t, sampleOrder(), o)
		}
		require.ErrorIs(t, ours.Decode(new(order)), io.EOF)
		require.NoError(t, ours.Close())
	}
}

func orders(t *testing.T, r *avro.BlockReader, c *avro.Codec[order]) []order {
	t.Helper()
	var got []order
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		require.NoError(t, err)
		require.NoError(t, b.Records(0, c.Skip, func(_ int, data []byte) ([]byte, error) {
			var o order
			rest, err := c.DecodeNext(data, &o)
			got = append(got, o)
			return rest, err
		}))
	}
}

func orderFile(t *testing.T, c *avro.Codec[order], compression string) []byte {
	t.Helper()
	header := &avro.Header{Schema: orderSchema, Codec: compression, Sync: avro.NewSync()}
	file, err := header.Append(nil)
	require.NoError(t, err)
	w, err := avro.NewBlockWriter(header, avro.Limits{})
	require.NoError(t, err)
	for _, n := range []int{2, 1} {
		var records []byte
		for range n {
			records, err = c.Append(records, sampleOrder())
			require.NoError(t, err)
		}
		file, err = w.Append(file, n, records)
		require.NoError(t, err)
	}
	return file
}

func FuzzContainer(f *testing.F) {
	for _, compression := range compressions {
		file, _ := written(f, compression, 2, 3)
		f.Add(file)
		f.Add(file[:len(file)-5])
	}
	limits := avro.Limits{MaxHeader: 4 << 10, MaxBlock: 64 << 10, MaxData: 64 << 10, MaxEmpty: 1000}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := avro.NewBlockReader(bytes.NewReader(data), limits)
		if err != nil {
			return
		}
		end := int64(-1)
		for {
			b, err := r.Next()
			if err != nil {
				if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					require.True(t, end < 0 || end == int64(len(data)))
				}
				break
			}
			require.Greater(t, b.End, b.Offset)
			require.True(t, end < 0 || b.Offset == end)
			require.LessOrEqual(t, len(b.Data), 64<<10)
			end = b.End
			again, err := avro.NewBlockReaderAt(bytes.NewReader(data), b.Offset, limits)
			require.NoError(t, err)
			same, err := again.Next()
			require.NoError(t, err)
			require.Equal(t, b, same)
		}
		h := r.Header()
		stored, err := h.Append(nil)
		if err != nil {
			return
		}
		back, _, err := avro.ParseHeader(stored, avro.Limits{})
		require.NoError(t, err)
		require.Equal(t, h, back)
	})
}
