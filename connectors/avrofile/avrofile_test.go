package avrofile_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/linkedin/goavro/v2"
	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/avrofile"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde/avro"
)

func TestRoundTripAndResumeAtEachRecord(t *testing.T) {
	t.Parallel()
	for _, compression := range compressions {
		t.Run(string(compression), func(t *testing.T) {
			t.Parallel()
			f := avrofile.New(in(t, "x.avro"), orderCodec(t), avrofile.Options{Compression: compression, Meta: map[string][]byte{"who": []byte("me")}})
			f.BufferBytes = 300
			want := orders(0, 60)
			store(t, f, 13, want[:30]...)
			store(t, f, 7, want[30:]...) // continues it
			require.Equal(t, want, values(t, f))
			for _, size := range []int{1, 4} {
				all, at := drain(t, f, nil, size)
				for i, p := range at {
					rest, _ := drain(t, f, p, 9)
					done := min(len(all), (i+1)*size)
					require.Equal(t, all[done:], append([]item[order]{}, rest...), "position %d", i)
				}
				require.EqualValues(t, 60, all[59].Seq)
			}
		})
	}
}

func TestGenericRoundTrip(t *testing.T) {
	t.Parallel()
	codec, err := avro.NewGeneric(orderSchema)
	require.NoError(t, err)
	path := in(t, "x.avro")
	var want []any
	for _, o := range orders(0, 20) {
		want = append(want, native(o))
	}
	store(t, avrofile.NewGeneric(path, codec, avrofile.Options{Compression: avrofile.Snappy}), 6, want...)
	require.Equal(t, want, values(t, avrofile.NewGeneric(path, codec, avrofile.Options{})))
	require.Equal(t, want, values(t, avrofile.NewGeneric(path, nil, avrofile.Options{})), "by its own schema")
	require.Equal(t, orders(0, 20), values(t, avrofile.New(path, orderCodec(t), avrofile.Options{})))

	_, err = avrofile.NewGeneric(path, nil, avrofile.Options{}).OpenWriter(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, "files of this kind can't be written")
}

func TestGoavroReadsWhatIsWritten(t *testing.T) {
	t.Parallel()
	for _, compression := range []avrofile.Compression{"", avrofile.Deflate, avrofile.Snappy} { // goavro has no zstandard
		path := in(t, "x.avro")
		store(t, avrofile.New(path, orderCodec(t), avrofile.Options{Compression: compression, Meta: map[string][]byte{"who": []byte("me")}}), 11, orders(0, 50)...)
		data, err := os.Open(path)
		require.NoError(t, err)
		r, err := goavro.NewOCFReader(data)
		require.NoError(t, err)
		require.Equal(t, "me", string(r.MetaData()["who"]))
		n := 0
		for ; r.Scan(); n++ {
			v, err := r.Read()
			require.NoError(t, err)
			require.Equal(t, native(orderOf(n)), v)
		}
		require.NoError(t, r.Err())
		require.Equal(t, 50, n)
		require.NoError(t, data.Close())
	}
}

// goavroFile writes a container with goavro, in blocks of so many records.
func goavroFile(t testing.TB, path, compression, schema string, each int, values ...any) {
	t.Helper()
	var out bytes.Buffer
	w, err := goavro.NewOCFWriter(goavro.OCFConfig{W: &out, Schema: schema, CompressionName: compression})
	require.NoError(t, err)
	for len(values) > 0 {
		n := min(each, len(values))
		require.NoError(t, w.Append(values[:n]))
		values = values[n:]
	}
	put(t, path, out.String())
}

func TestWhatGoavroWritesIsReadAndContinued(t *testing.T) {
	t.Parallel()
	var all []any
	for _, o := range orders(0, 40) {
		all = append(all, native(o))
	}
	for _, compression := range []string{"null", "deflate", "snappy"} {
		path := in(t, "x.avro")
		goavroFile(t, path, compression, orderSchema, 9, all...)
		f := avrofile.New(path, orderCodec(t), avrofile.Options{Compression: avrofile.Zstandard})
		require.Equal(t, orders(0, 40), values(t, f))

		w, err := f.OpenWriter(t.Context(), weaver.Lane{})
		require.NoError(t, err)
		_, err = w.(weaver.Checkpointer).Restore(t.Context())
		require.ErrorContains(t, err, "holds what no earlier run of a pipeline wrote")
		require.NoError(t, w.Close())

		f.IfExists = file.Append
		store(t, f, 5, orders(40, 12)...)
		require.Equal(t, orders(0, 52), values(t, f))
		r, err := goavro.NewOCFReader(bytes.NewReader([]byte(slurp(t, path))))
		require.NoError(t, err)
		require.Equal(t, compression, r.CompressionName(), "as it was")
		n := 0
		for ; r.Scan(); n++ {
			v, err := r.Read()
			require.NoError(t, err)
			require.Equal(t, native(orderOf(n)), v)
		}
		require.NoError(t, r.Err())
		require.Equal(t, 52, n)
	}
}

func TestFilesOfDifferentSchemas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	goavroFile(t, filepath.Join(dir, "1.avro"), "deflate", `{"type":"record","name":"order","fields":[{"name":"id","type":"int"},{"name":"gone","type":"string"}]}`, 2,
		map[string]any{"id": 1, "gone": "x"}, map[string]any{"id": 2, "gone": "y"}, map[string]any{"id": 3, "gone": "z"})
	goavroFile(t, filepath.Join(dir, "2.avro"), "snappy", `{"type":"record","name":"order","fields":[{"name":"name","type":"string"},{"name":"id","type":"long"}]}`, 5,
		map[string]any{"id": 4, "name": "four"})
	type now struct {
		ID   int64  `avro:"id"`
		Name string `avro:"name"`
	}
	codec, err := avro.New[now](`{"type":"record","name":"order","fields":[{"name":"id","type":"long"},{"name":"name","type":"string","default":"none"}]}`)
	require.NoError(t, err)
	f := avrofile.New(filepath.Join(dir, "*.avro"), codec, avrofile.Options{})
	want := []now{{1, "none"}, {2, "none"}, {3, "none"}, {4, "four"}}
	require.Equal(t, want, values(t, f))
	_, at := drain(t, f, nil, 1)
	for i, p := range at[:4] {
		rest, _ := drain(t, f, p, 1)
		require.Len(t, rest, 3-i)
	}

	goavroFile(t, filepath.Join(dir, "3.avro"), "null", `{"type":"record","name":"order","fields":[{"name":"id","type":"string"}]}`, 5, map[string]any{"id": "five"})
	r, err := f.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	defer r.Close()
	b := weaver.NewBatch[now](0, 0)
	_, err = r.Read(t.Context(), b)
	require.ErrorContains(t, err, "3.avro: it was written with a schema that can't be read as avrofile_test.now")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	var differs *avro.IncompatibleError
	require.ErrorAs(t, err, &differs)
}

func TestAnotherSchemaIsNotAppended(t *testing.T) {
	t.Parallel()
	path := in(t, "x.avro")
	store(t, avrofile.New(path, orderCodec(t), avrofile.Options{}), 5, orders(0, 5)...)
	for _, tt := range []struct{ schema, want string }{
		{`{"type":"record","name":"order","fields":[{"name":"id","type":"long"}]}`, "extra field"},
		{`{"type":"record","name":"order","fields":[{"name":"shop","type":"string"},{"name":"id","type":"long"},{"name":"raw","type":"bytes"},
			{"name":"lines","type":{"type":"array","items":"double"}},{"name":"note","type":["null","string"]},{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}}]}`, "names, or the order of fields"},
		{`{"type":"record","name":"order","fields":[{"name":"id","type":"long"},{"name":"shop","type":"string"},{"name":"raw","type":"bytes"},
			{"name":"lines","type":{"type":"array","items":"double"}},{"name":"note","type":["null","string"]},{"name":"at","type":"long"}]}`, `its logical types are [".at timestamp-millis"] and not []`},
	} {
		codec, err := avro.NewGeneric(tt.schema)
		require.NoError(t, err)
		w, err := avrofile.NewGeneric(path, codec, avrofile.Options{}).OpenWriter(t.Context(), weaver.Lane{Pipeline: "p"})
		require.NoError(t, err)
		_, err = w.(weaver.Checkpointer).Restore(t.Context())
		require.ErrorContains(t, err, "x.avro can't be continued: it was written with another schema than what is to be added: ")
		require.ErrorContains(t, err, tt.want)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
		require.NoError(t, w.Close())
	}
	withDoc, err := avro.New[order](`{"doc":"the same, told otherwise",` + orderSchema[1:])
	require.NoError(t, err)
	store(t, avrofile.New(path, withDoc, avrofile.Options{}), 5, orders(5, 3)...)
	require.Equal(t, orders(0, 8), values(t, avrofile.New(path, withDoc, avrofile.Options{})))
}

func TestParts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for from, n := range map[int]int{0: 50} {
		parts := file.Parts(avrofile.New(filepath.Join(dir, "{shop}-{part}.avro"), orderCodec(t), avrofile.Options{Compression: avrofile.Deflate}))
		parts.MaxRecords = 4
		x, err := parts.OpenWriter(t.Context(), weaver.Lane{Pipeline: "p"})
		require.NoError(t, err)
		w := x.(weaver.Checkpointer)
		_, err = w.Restore(t.Context())
		require.NoError(t, err)
		require.NoError(t, x.Write(t.Context(), batch(orders(from, n)...)))
		require.NoError(t, w.Commit(t.Context(), nil))
		require.NoError(t, x.Write(t.Context(), batch(orders(from+n, 1)...)))
		require.NoError(t, x.Close()) // with something that isn't committed: parts stay
	}
	parts := file.Parts(avrofile.New(filepath.Join(dir, "{shop}-{part}.avro"), orderCodec(t), avrofile.Options{Compression: avrofile.Deflate}))
	x, err := parts.OpenWriter(t.Context(), weaver.Lane{Pipeline: "p"})
	require.NoError(t, err)
	w := x.(weaver.Checkpointer)
	_, err = w.Restore(t.Context())
	require.NoError(t, err)
	require.NoError(t, x.Write(t.Context(), batch(orders(50, 50)...)))
	require.NoError(t, w.Commit(t.Context(), nil))
	require.NoError(t, x.Close())

	complete, err := file.ReadManifest(dir)
	require.NoError(t, err)
	seen := map[int64]bool{}
	continued := false
	for _, p := range complete {
		got := values(t, avrofile.New(p.Path, orderCodec(t), avrofile.Options{}))
		require.Len(t, got, int(p.Records))
		for _, o := range got {
			require.Equal(t, orderOf(int(o.ID)), o)
			require.Contains(t, filepath.Base(p.Path), fmt.Sprintf("shop%%20%d-", o.ID%7))
			require.False(t, seen[o.ID])
			seen[o.ID] = true
		}
		continued = continued || got[0].ID < 50 && got[len(got)-1].ID >= 50
	}
	require.Len(t, seen, 100)
	require.True(t, continued, "a part that an earlier run began")
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	path := in(t, "x.avro")
	for want, f := range map[string]*file.File[order]{
		`avrofile.New "` + path + `": Options.Compression: avro: codec "bzip2"`: avrofile.New(path, orderCodec(t), avrofile.Options{Compression: "bzip2"}),
		`Header.Meta has "avro.x"`: avrofile.New(path, orderCodec(t), avrofile.Options{Meta: map[string][]byte{"avro.x": nil}}),
		"there is no codec":        avrofile.New[order](path, nil, avrofile.Options{}),
	} {
		_, err := f.OpenWriter(t.Context(), weaver.Lane{})
		require.ErrorContains(t, err, want)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
	put(t, path, "Obj\x01")
	_, err := avrofile.New[order](path, nil, avrofile.Options{}).OpenReader(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, "there is no codec")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	_, err = os.Stat(path + ".checkpoint")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// Records of no bytes fill no buffer, so they are counted.
func TestRecordsWithoutBytes(t *testing.T) {
	t.Parallel()
	codec, err := avro.NewGeneric(`"null"`)
	require.NoError(t, err)
	f := avrofile.NewGeneric(in(t, "x.avro"), codec, avrofile.Options{})
	const n = 1<<18 + 1<<17
	store(t, f, n, make([]any, n)...)
	r, err := f.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	defer r.Close()
	b := weaver.NewBatch[any](n+1, 0)
	_, err = r.Read(t.Context(), b)
	require.True(t, errors.Is(err, io.EOF), err)
	require.Len(t, b.Records, n)
	require.Empty(t, b.Rejects())
}

// A larger record than a block may have, and one that may not be read, are not the end.
func TestLongRecords(t *testing.T) {
	t.Parallel()
	codec, err := avro.New[[]byte](`"bytes"`)
	require.NoError(t, err)
	path := in(t, "x.avro")
	f := avrofile.New(path, codec, avrofile.Options{Limits: avro.Limits{MaxData: 8 << 20}})
	x, err := f.OpenWriter(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	err = x.Write(t.Context(), batch([]byte("a"), make([]byte, 1<<20+1), make([]byte, 2<<20), []byte("b")))
	var bad *weaver.BatchError
	require.ErrorAs(t, err, &bad)
	require.Len(t, bad.Records, 1)
	require.Equal(t, 2, bad.Records[0].Index)
	require.NoError(t, x.(weaver.Flusher).Flush(t.Context()))
	require.NoError(t, x.Close())
	items, _ := drain(t, f, nil, 10)
	require.Len(t, items, 3)
	require.Contains(t, items[2].Err, "longer than MaxRecordBytes")
	f = avrofile.New(path, codec, avrofile.Options{})
	f.MaxRecordBytes = 2 << 20
	require.Len(t, values(t, f), 3)
}
