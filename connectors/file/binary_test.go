package file

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde"
)

func TestFixed(t *testing.T) {
	t.Parallel()
	for data, want := range map[string][]item{
		"":              nil,
		"\xff\xfe\nbcd": {{Seq: 1, Value: "\xff\xfe\n"}, {Seq: 2, Value: "bcd"}},
		"abc\n\r\x00":   {{Seq: 1, Value: "abc"}, {Seq: 2, Value: "\n\r\x00"}},
		"ab":            {{Seq: 1, Raw: "ab", Err: "the file ends within a record: it has 2 bytes of 3" + rest}},
		"abcd":          {{Seq: 1, Value: "abc"}, {Seq: 2, Raw: "d", Offset: 3, Err: "the file ends within a record: it has 1 bytes of 3" + rest}},
	} {
		for _, chunk := range []int{1, 2, 100} {
			f := on(Fixed[[]byte]("in", 3), newDisk(t, map[string]string{"in": data}))
			f.chunk = chunk
			items, positions := drain(t, f, nil, 1)
			require.Equal(t, want, items, "%q", data)
			for i, p := range positions {
				again, _ := drain(t, f, p, 1)
				from := min(i+1, len(want))
				if i == len(positions)-1 {
					from = len(want)
				}
				require.Equal(t, values(want[from:]), values(again), "%q from %d", data, i)
			}
		}
	}
}

func TestPrefixed(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200)
	lengths := map[Prefix]func(n int) string{
		Uvarint:  func(n int) string { return string(binary.AppendUvarint(nil, uint64(n))) },
		Uint16BE: func(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) },
		Uint16LE: func(n int) string { return string(binary.LittleEndian.AppendUint16(nil, uint16(n))) },
		Uint32BE: func(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) },
		Uint32LE: func(n int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) },
		Uint64BE: func(n int) string { return string(binary.BigEndian.AppendUint64(nil, uint64(n))) },
		Uint64LE: func(n int) string { return string(binary.LittleEndian.AppendUint64(nil, uint64(n))) },
	}
	for prefix, length := range lengths {
		t.Run(prefix.String(), func(t *testing.T) {
			t.Parallel()
			two := length(2) + "a\n" + length(0) + length(200) + long
			good := []item{{Seq: 1, Value: "a\n"}, {Seq: 2, Value: ""}, {Seq: 3, Value: long}}
			at := int64(len(two))
			for name, c := range map[string]struct {
				data   string
				reject string
			}{
				"good":     {two, ""},
				"empty":    {"", ""},
				"torn":     {two + length(200) + "abc", "the file ends within a record: it has 3 bytes of 200"},
				"torn off": {two + length(200), "the file ends within a record: it has 0 bytes of 200"},
				"too long": {two + length(201) + long + "x" + length(1) + "b", "the length of the record is 201, which is more than MaxRecordBytes, 200"},
			} {
				for _, chunk := range []int{1, 3, 1000} {
					f := on(Prefixed[[]byte]("in", prefix), newDisk(t, map[string]string{"in": c.data}))
					f.MaxRecordBytes, f.chunk = 200, chunk
					want := good
					if c.data == "" {
						want = nil
					}
					items, positions := drain(t, f, nil, 1)
					if c.reject != "" {
						last := items[len(items)-1]
						require.True(t, strings.HasPrefix(c.data[at:], last.Raw))
						require.NotEmpty(t, last.Raw)
						want = append(want[:3:3], item{Seq: 4, Offset: at, Raw: last.Raw, Err: c.reject + rest})
					}
					require.Equal(t, want, items, name)
					for i, p := range positions {
						again, _ := drain(t, f, p, 1)
						from := min(i+1, len(want))
						if i == len(positions)-1 {
							from = len(want)
						}
						require.Equal(t, values(want[from:]), values(again), "%s from %d", name, i)
					}
				}
			}
			w := on(Prefixed[[]byte]("out", prefix), durabletest.New())
			require.Equal(t, two, written(t, w, []byte("a\n"), nil, []byte(long)))
		})
	}
	for data, want := range map[string]string{
		"\x80":                                     errLengthTorn.Error(),
		strings.Repeat("\x80", 9):                  errLengthTorn.Error(),
		strings.Repeat("\x80", 10):                 errLength.Error(),
		strings.Repeat("\xff", 100):                errLength.Error(),
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01": "the length of the record is 18446744073709551615, which is more than MaxRecordBytes, 1048576",
	} {
		items, _ := drain(t, on(Prefixed[[]byte]("in", Uvarint), newDisk(t, map[string]string{"in": data})), nil, 1)
		require.Len(t, items, 1)
		require.Equal(t, want+rest, items[0].Err)
	}
	f := on(Prefixed[[]byte]("in.bin", Uvarint), newDisk(t, map[string]string{"in.bin": "\x01a\x05"}))
	r, err := f.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	defer r.Close()
	b := weaver.NewBatch[[]byte](0, 0)
	_, _ = r.Read(t.Context(), b)
	require.ErrorContains(t, b.Rejects()[0].Err, "in.bin: record 2 (byte 2): the file ends within a record")
}

// written writes values and returns what the file then holds.
func written[T any](t *testing.T, f *File[T], values ...T) string {
	t.Helper()
	w := open(t, f, weaver.Lane{})
	b := weaver.NewBatch[T](0, 0)
	for _, v := range values {
		b.Add().Value = v
	}
	require.NoError(t, w.Write(t.Context(), b))
	require.NoError(t, w.Flush(t.Context()))
	require.NoError(t, w.Close())
	return content(t, f.fsys, f.path)
}

var word = serde.Funcs[uint32]{
	AppendFunc: func(dst []byte, v uint32) ([]byte, error) { return binary.BigEndian.AppendUint32(dst, v), nil },
	DecodeFunc: func(data []byte, v *uint32) error {
		if len(data) != 4 || data[0] != 0 {
			return errors.New("no word")
		}
		*v = binary.BigEndian.Uint32(data)
		return nil
	},
}

func TestBinaryWithACodec(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	fixed, prefixed := on(Fixed[uint32]("fixed", 4), disk), on(Prefixed[uint32]("prefixed", Uint16LE), disk)
	fixed.Codec, prefixed.Codec = word, word
	require.Equal(t, "\x00\x00\x00\x01\x01\x00\x00\x02", written(t, fixed, 1, 1<<24+2))
	require.Equal(t, "\x04\x00\x00\x00\x00\x01\x04\x00\x01\x00\x00\x02", written(t, prefixed, 1, 1<<24+2))
	for _, f := range []*File[uint32]{fixed, prefixed} {
		put(t, disk, f.path, content(t, disk, f.path)+strings.Repeat(content(t, disk, f.path), 2))
		items, _ := drain(t, f, nil, 1)
		require.Equal(t, []string{"1", "", "1", "", "1", ""}, values(items))
		require.Equal(t, "no word", items[1].Err)
	}
}

func TestBinaryPoison(t *testing.T) {
	t.Parallel()
	poisons := func(f *File[[]byte], want string, values ...string) {
		w := open(t, f, weaver.Lane{})
		defer w.Close()
		b := weaver.NewBatch[[]byte](0, 0)
		for _, v := range values {
			b.Add().Value = []byte(v)
		}
		err := w.Write(t.Context(), b)
		var be *weaver.BatchError
		require.ErrorAs(t, err, &be)
		require.Len(t, be.Records, 1)
		require.Equal(t, 1, be.Records[0].Index)
		require.ErrorContains(t, be.Records[0].Err, want)
		require.Equal(t, retry.ClassPoison, retry.ClassOf(be.Records[0].Err))
	}
	poisons(on(Fixed[[]byte]("out", 3), durabletest.New()), "the record has 2 bytes instead of 3", "abc", "ab", "abc")
	poisons(on(Prefixed[[]byte]("out", Uint16BE), durabletest.New()), "the record has 65536 bytes, and a length that is Uint16BE is 65535 at most", "", strings.Repeat("x", 1<<16), strings.Repeat("x", 1<<16-1))
}

func TestBinaryFields(t *testing.T) {
	t.Parallel()
	fails := func(want string, err error) {
		require.ErrorContains(t, err, want)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
	opening := func(f interface{ open() error }) error { return f.open() }
	fails("field Codec is nil", opening(opener[int]{Fixed[int]("x", 1)}))
	fails("they make a int", opening(opener[int]{Prefixed[int]("x", Uvarint)}))
	fails("the size of a record is 0", opening(opener[[]byte]{Fixed[[]byte]("x", 0)}))
	fails("from 1 to MaxRecordBytes, which is "+strconv.Itoa(1<<20), opening(opener[[]byte]{Fixed[[]byte]("x", 1<<20+1)}))
	fails("the prefix is Prefix(7): no such choice", opening(opener[[]byte]{Prefixed[[]byte]("x", 7)}))
	lines := Lines("x")
	lines.Codec = serde.Funcs[[]byte]{}
	fails("field Codec is set, which file.Lines has no use for", opening(opener[[]byte]{lines}))
}

type opener[T any] struct{ f *File[T] }

func (o opener[T]) open() error {
	_, err := o.f.open()
	return err
}

// What a crash leaves of a last record is cut off before another one is appended: nobody could tell them apart.
func TestBinaryIsAppendedBehindWholeRecords(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("y", readBytes)
	bigger := string(binary.BigEndian.AppendUint32(nil, uint32(len(big)))) + big
	for name, c := range map[string]struct {
		file   func(string) *File[[]byte]
		before string
		after  string
		fatal  string
	}{
		"fixed, whole":        {before: "abcdef", after: "abcdefnew"},
		"fixed, torn":         {before: "abcde", after: "abcnew"},
		"fixed, nothing else": {before: "a", after: "new"},
		"prefixed, whole":     {file: prefixed32, before: "\x00\x00\x00\x01a", after: "\x00\x00\x00\x01a\x00\x00\x00\x03new"},
		"prefixed, torn":      {file: prefixed32, before: "\x00\x00\x00\x01a\x00\x00\x00\x02b", after: "\x00\x00\x00\x01a\x00\x00\x00\x03new"},
		"prefixed, as long":   {file: prefixed32, before: "\x00\x00\x00\x01a\x00\x00\x00\x05bcd", after: "\x00\x00\x00\x01a\x00\x00\x00\x03new"},
		"prefixed, length":    {file: prefixed32, before: "\x00\x00\x00\x01a\x00\x00", after: "\x00\x00\x00\x01a\x00\x00\x00\x03new"},
		"prefixed, much":      {file: prefixed32, before: bigger + bigger + bigger + bigger[:9], after: bigger + bigger + bigger + "\x00\x00\x00\x03new"},
		"prefixed, other":     {file: prefixed32, before: "a text, and no such file", fatal: "it is no file of such records"},
		"varints, other": {
			file:   func(path string) *File[[]byte] { return Prefixed[[]byte](path, Uvarint) },
			before: "\x01a" + strings.Repeat("\xff", 20), fatal: "at byte 2: the length in front of the record is no unsigned varint",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := newDisk(t, map[string]string{"out": c.before})
			f := Fixed[[]byte]("out", 3)
			if c.file != nil {
				f = c.file("out")
			}
			on(f, disk)
			f.IfExists = Append
			w := open(t, f, weaver.Lane{})
			b := weaver.NewBatch[[]byte](0, 0)
			b.Add().Value = []byte("new")
			err := w.Write(t.Context(), b)
			if c.fatal != "" {
				require.ErrorContains(t, err, c.fatal)
				require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
				require.NoError(t, w.Close())
				require.Equal(t, c.before, content(t, disk, "out"), "it is left alone")
				return
			}
			require.NoError(t, err)
			require.NoError(t, w.Flush(t.Context()))
			require.Equal(t, c.after, content(t, disk.Crash(0), "out"), "durable")
		})
	}

	// A pipeline that begins to keep its checkpoint in somebody else's file cuts nothing off it: no crash of its own has left that.
	disk := newDisk(t, map[string]string{"out": "abcde"})
	f := on(Fixed[[]byte]("out", 3), disk)
	f.IfExists = Append
	w := open(t, f, weaver.Lane{})
	_, err := w.Restore(t.Context())
	require.ErrorContains(t, err, "out ends within a record: 2 bytes behind the last whole one")
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	require.NoError(t, w.Close())
	require.Equal(t, "abcde", content(t, disk, "out"))
}

func prefixed32(path string) *File[[]byte] { return Prefixed[[]byte](path, Uint32BE) }
