package avrofile_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/avrofile"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/serde/avro"
)

// Each bit of a file in turn is another: what is read is the records of the blocks that are whole, the header's aside, and everything else is rejected or another value; and from each
// position on the same comes.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	for _, compression := range []avrofile.Compression{avrofile.Snappy, avrofile.Zstandard, avrofile.Null} {
		t.Run(string(compression), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "x.avro")
			store(t, avrofile.New(path, orderCodec(t), avrofile.Options{Compression: compression}), 4, orders(0, 16)...)
			whole := slurp(t, path)
			_, header, err := avro.ParseHeader([]byte(whole), avro.Limits{})
			require.NoError(t, err)
			f := avrofile.New(path, orderCodec(t), avrofile.Options{})
			for at := header; at < len(whole); at++ {
				for _, bit := range []byte{0, 1, 6} {
					put(t, path, whole[:at]+string(whole[at]^1<<bit)+whole[at+1:])
					items, _ := drain(t, f, nil, 3)
					var intact, bad int
					for _, x := range items {
						switch {
						case x.Err != "":
							bad++
							require.Contains(t, x.Err, path+": record ")
						case x.Value.ID >= 0 && x.Value.ID < 16 && show(x.Value) == show(orderOf(int(x.Value.ID))):
							intact++
						}
					}
					if compression != avrofile.Null {
						require.True(t, bad > 0 || intact == 16, "byte %d, bit %d", at, bit) // not each bit of a frame says something
						require.GreaterOrEqual(t, intact, 8, "byte %d, bit %d", at, bit)     // a mark that is damaged takes the block behind it with it
					} else {
						require.GreaterOrEqual(t, intact, 8-1, "byte %d, bit %d", at, bit)
					}
					if (at+int(bit))%7 == 0 {
						fuzzFile(t, f, 3)
					}
				}
			}
		})
	}
}

func show(o order) string {
	note := ""
	if o.Note != nil {
		note = *o.Note
	}
	o.Note = nil
	return fmt.Sprint(o, note)
}

// What a file says of itself takes no memory.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	codec := orderCodec(t)
	h := avro.Header{Schema: codec.Schema(), Sync: avro.NewSync()}
	head, err := h.Append(nil)
	require.NoError(t, err)
	zstandard := h
	zstandard.Codec = "zstandard"
	packed, err := zstandard.Append(nil)
	require.NoError(t, err)
	c, err := avro.NewCompression("zstandard", avro.Limits{MaxData: 1 << 30})
	require.NoError(t, err)
	bomb, err := c.Append(nil, make([]byte, 200<<20))
	require.NoError(t, err)
	whole := func(head []byte, count int64, stored []byte) string {
		out := binary.AppendVarint([]byte(string(head)), count)
		out = binary.AppendVarint(out, int64(len(stored)))
		return string(append(append(out, stored...), h.Sync[:]...))
	}
	var one []byte
	one, err = codec.Append(nil, orderOf(1))
	require.NoError(t, err)
	good := whole(nil, 1, one)
	for name, tt := range map[string]struct {
		content string
		records int
		want    string
	}{
		"no container":              {"id,shop\n1,a\n", 0, "it doesn't begin with Obj"},
		"a schema that is none":     {strings.Replace(string(head), `"record"`, `"recort"`, 1), 0, "avro: schema"},
		"a header without an end":   {"Obj\x01" + string(binary.AppendVarint(nil, 1<<40)), 0, "the file ends within its header"},
		"a long header":             {"Obj\x01\x02" + string(binary.AppendVarint(nil, 1<<40)) + strings.Repeat("x", 1<<10), 0, "header"},
		"a huge count":              {string(binary.AppendVarint(head[:len(head):len(head)], 1<<60)) + "\x02x" + string(h.Sync[:]) + good, 1, "records"},
		"a negative count":          {whole(head, -5, one) + good, 1, "block of -5 records"},
		"a huge size":               {string(head) + "\x02" + string(binary.AppendVarint(nil, 1<<40)) + string(h.Sync[:]) + good, 1, "larger than MaxBlock"},
		"a size beyond the file":    {string(head) + "\x02" + string(binary.AppendVarint(nil, 60<<20)) + string(h.Sync[:]) + good, 1, "said to be longer than the rest of the file"},
		"a bomb":                    {whole(packed, 1, bomb) + whole(nil, 1, bomb), 0, "MaxData"},
		"more records than bytes":   {whole(head, 60<<20, one) + good, 1, "isn't enough for so many"},
		"more records than it has":  {whole(head, 900_000, one) + good, 2, "where it ends isn't known"},
		"fewer records than it has": {whole(head, 0, one) + good, 1, "bytes behind the 0 records"},
		"nothing but marks":         {string(head) + strings.Repeat(string(h.Sync[:]), 1000), 0, "block"},
	} {
		path := put(t, in(t, "x.avro"), tt.content)
		f := avrofile.New(path, codec, avrofile.Options{})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		items, _ := drain(t, f, nil, 100)
		runtime.ReadMemStats(&after)
		var records int
		var errs []string
		for _, x := range items {
			if x.Err == "" {
				records++
			} else {
				errs = append(errs, x.Err)
			}
		}
		require.Equal(t, tt.records, records, name)
		require.NotEmpty(t, errs, name)
		require.Contains(t, errs[0], tt.want, name)
		if name != "a bomb" && name != "nothing but marks" {
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20), name) // by other tests as well, which run at the same time
		}
	}
}

func TestAnUnknownCodecEndsThePipeline(t *testing.T) {
	t.Parallel()
	h := avro.Header{Schema: `"string"`, Codec: "bzip2"}
	head, err := h.Append(nil)
	require.NoError(t, err)
	_, err = avrofile.NewGeneric(put(t, in(t, "x.avro"), string(head)), nil, avrofile.Options{}).OpenReader(t.Context(), weaver.Lane{})
	require.ErrorContains(t, err, `x.avro: avro: codec "bzip2": only null`)
}

// FuzzFile reads whatever comes, from the beginning and from each position, in the same records.
func FuzzFile(f *testing.F) {
	codec := orderCodec(f)
	for _, compression := range compressions {
		path := in(f, "x.avro")
		store(f, avrofile.New(path, codec, avrofile.Options{Compression: compression}), 2, orders(0, 5)...)
		f.Add([]byte(slurp(f, path)), uint8(1))
	}
	f.Add([]byte("Obj\x01\x00"), uint8(3))
	limits := avro.Limits{MaxHeader: 1 << 16, MaxBlock: 1 << 16, MaxData: 1 << 16, MaxEmpty: 1 << 10}
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		disk := fstest.MapFS{"x.avro": &fstest.MapFile{Data: data}}
		typed := avrofile.New("x.avro", codec, avrofile.Options{Limits: limits})
		typed.FS = disk
		fuzzFile(t, typed, int(size))
		generic := avrofile.NewGeneric("x.avro", nil, avrofile.Options{Limits: limits})
		generic.FS = disk
		fuzzFile(t, generic, int(size))
	})
}

func fuzzFile[T any](t *testing.T, f *file.File[T], size int) {
	t.Helper()
	all, at, err := tryDrain(t, f, nil, size%7+1)
	if err != nil {
		return // an unknown codec, another schema
	}
	for i, p := range at {
		if i > 3 && i < len(at)-3 {
			continue
		}
		rest, _, err := tryDrain(t, f, p, 3)
		require.NoError(t, err)
		require.LessOrEqual(t, len(rest), len(all))
		left := all[len(all)-len(rest):]
		require.ElementsMatch(t, left, rest)
	}
}

// tryDrain returns what came as text, since NaN isn't equal to itself.
func tryDrain[T any](t *testing.T, f *file.File[T], from weaver.Position, size int) (items []string, at []weaver.Position, err error) {
	t.Helper()
	r, err := f.OpenReader(t.Context(), weaver.Lane{Position: from})
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	b := weaver.NewBatch[T](size, 0)
	for {
		b.Reset()
		p, err := r.Read(t.Context(), b)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, nil, err
		}
		for _, rec := range b.Records {
			text := fmt.Sprintf("%#v", rec.Value)
			if o, ok := any(rec.Value).(order); ok {
				text = show(o)
			}
			items = append(items, fmt.Sprint(rec.Seq, " ", text))
		}
		for _, x := range b.Rejects() {
			items = append(items, fmt.Sprint(x.Seq, x.Err))
		}
		at = append(at, append(weaver.Position{}, p...))
		if err != nil {
			return items, at, nil
		}
	}
}
