package file

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/serde"
)

// located is a record as a plain reader finds it.
type located struct {
	offset, line int64
	value        string
	bad          bool
	rest         bool // nor is anything behind it
}

func isUTF16(data string) bool {
	return strings.HasPrefix(data, "\xff\xfe") || strings.HasPrefix(data, "\xfe\xff")
}

// plainLines is the reference for lines: all in memory, cut at line ends.
func plainLines(data string, limit int) []located {
	if isUTF16(data) || !strings.Contains(data, "\n") && strings.Contains(trimLineEnd(data), "\r") && len(trimLineEnd(data)) <= limit {
		return []located{{line: 1, bad: true, rest: true}}
	}
	var all []located
	var offset int64
	for i, line := range strings.SplitAfter(data, "\n") {
		if line == "" {
			break
		}
		body := strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		l := located{offset: offset, line: int64(i + 1), value: body, bad: len(body) > limit}
		if l.bad {
			l.value = ""
		}
		all = append(all, l)
		offset += int64(len(line))
	}
	return all
}

// plainRows is the reference for CSV: encoding/csv, started anew on the next line where it has an error.
func plainRows(data string, limit int) []located {
	var all []located
	var offset, line int64 = 0, 1
	if mark := "\ufeff"; strings.HasPrefix(data, mark) {
		offset = int64(len(mark))
	}
	if rest := data[offset:]; isUTF16(rest) || !strings.Contains(rest, "\n") && outside(trimLineEnd(rest)) && len(trimLineEnd(rest)) <= limit {
		return []located{{offset: offset, line: 1, bad: true, rest: true}}
	}
	width := 0
	for offset < int64(len(data)) {
		rest := data[offset:]
		first := len(rest)
		if n := strings.IndexByte(rest, '\n'); n >= 0 {
			first = n + 1
		}
		if strings.Trim(rest[:first], "\n") == "" || rest[:first] == "\r\n" || rest[:first] == "\r" {
			offset, line = offset+int64(first), line+1
			continue
		}
		r := csv.NewReader(strings.NewReader(rest))
		r.FieldsPerRecord = -1
		fields, err := r.Read()
		size := first
		l := located{offset: offset, line: line}
		if err == nil && width == 0 {
			// The width is that of the first row, unless it is too long.
			if body := trimLineEnd(rest[:r.InputOffset()]); len(body) <= limit {
				width = len(fields)
			}
		}
		switch body := trimLineEnd(rest[:r.InputOffset()]); {
		case err != nil, len(body) > limit:
			l.bad = true
		default:
			size = int(r.InputOffset())
			if l.bad = len(fields) != width; !l.bad {
				l.value = show(fields)
			}
		}
		all = append(all, l)
		line += int64(strings.Count(rest[:size], "\n"))
		offset += int64(size)
	}
	return all
}

// outside reports whether there is a carriage return outside of quotation marks.
func outside(row string) bool {
	for i, part := range strings.Split(row, `"`) {
		if i%2 == 0 && strings.Contains(part, "\r") {
			return true
		}
	}
	return false
}

func trimLineEnd(s string) string { return strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r") }

// compare reads data record by record, and then the rest from each position.
func compare[T any](t *testing.T, f *File[T], want []located, size int64, normal func(T) T) {
	t.Helper()
	read := func(from weaver.Position) ([]located, []weaver.Position) {
		r, err := f.OpenReader(t.Context(), weaver.Lane{Position: from})
		require.NoError(t, err)
		defer r.Close()
		var got []located
		var positions []weaver.Position
		b := weaver.NewBatch[T](1, 0)
		for {
			b.Reset()
			p, err := r.Read(t.Context(), b)
			require.True(t, err == nil || err == io.EOF, "%v", err) //nolint:errorlint // as it is
			for _, rec := range b.Records {
				got = append(got, located{line: rec.Seq, value: show(normal(rec.Value))})
			}
			for _, x := range b.Rejects() {
				var re *RecordError
				require.ErrorAs(t, x.Err, &re)
				got = append(got, located{offset: re.Offset, line: re.Line + re.Record, bad: true, rest: strings.HasSuffix(re.Err.Error(), rest)})
			}
			positions = append(positions, bytes.Clone(p))
			if err != nil {
				return got, positions
			}
		}
	}
	same := func(want, got []located, msg ...any) {
		require.Len(t, got, len(want), msg...)
		for i := range want {
			if !want[i].bad {
				got[i].offset = want[i].offset // which a record doesn't have
			}
			require.Equal(t, want[i], got[i], msg...)
		}
	}
	got, positions := read(nil)
	same(want, got)
	for i, p := range positions {
		parsed, err := parsePosition(p)
		require.NoError(t, err)
		if i+1 < len(want) {
			require.LessOrEqual(t, parsed.offset, want[i+1].offset)
		}
		require.Equal(t, i == len(positions)-1, parsed.done)
		if parsed.done && !parsed.refused {
			require.Equal(t, size, parsed.offset)
		}
		require.Equal(t, parsed.refused, i+1 >= len(want) && len(want) > 0 && want[len(want)-1].rest)
		rest, _ := read(p)
		same(want[min(i+1, len(want)):], rest, "from %d", i)
	}
}

func FuzzLines(f *testing.F) {
	for _, s := range []string{"", "\n", "a", "a\r\nb\n\nc", "\r\r\n\r", "aaaaaaaaaaaaaaaa\nb\naaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "\x00\n\ufeff\n"} {
		f.Add(s, uint8(1), uint8(10))
		f.Add(s, uint8(64), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data string, chunk, limit uint8) {
		file := on(Lines("in"), newDisk(t, map[string]string{"in": data}))
		file.chunk, file.MaxRecordBytes = int(chunk)+1, int(limit)+1
		compare(t, file, plainLines(data, file.MaxRecordBytes), int64(len(data)), func(v []byte) []byte { return v })
	})
}

func FuzzRows(f *testing.F) {
	for _, s := range []string{
		"", "a,b\n1,2\n", "a,\"b\nc\"\r\n\"x\"\"y\",\n", "a\n\"b\nc\nd\"e\nf", "\ufeffa,b\n\n\r\n1\n1,2,3\n1,2", "\"\"\n\"\",\"\"\"\"\n", "\"a\"\r", "\"a\r\nb\"\r\n", "a\"b\n,\r\n\",", "\"a\",\"",
	} {
		f.Add(s, uint8(1), uint8(200))
		f.Add(s, uint8(64), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data string, chunk, limit uint8) {
		file := on(CSV[[]string]("in"), newDisk(t, map[string]string{"in": data}))
		file.chunk, file.MaxRecordBytes = int(chunk)+1, int(limit)+1
		want := plainRows(data, file.MaxRecordBytes)
		compare(t, file, want, int64(len(data)), func(v []string) []string {
			out := make([]string, len(v))
			for i := range v {
				out[i] = strings.ReplaceAll(v[i], "\r\n", "\n") // encoding/csv does so; here they stay
			}
			return out
		})
	})
}

// plainArray is the reference for JSON arrays: a json.Decoder. What it can't read is none of its business; whole says that there is nothing such.
func plainArray(data string) (all []located, whole bool) {
	skip := 0
	if strings.HasPrefix(data, "\ufeff") {
		skip = len("\ufeff")
	}
	dec := json.NewDecoder(strings.NewReader(data[skip:]))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, strings.Trim(data[skip:], " \t\r\n") == ""
	}
	for dec.More() {
		var v json.RawMessage
		if dec.Decode(&v) != nil {
			return all, false
		}
		next := data[skip:][dec.InputOffset():]
		if scalar := !strings.ContainsRune(`}]"`, rune(v[len(v)-1])); scalar && (next == "" || !strings.ContainsRune(",] \t\r\n", rune(next[0]))) {
			return all, false // there is more of that number, or may be
		}
		all = append(all, located{offset: dec.InputOffset() - int64(len(v)) + int64(skip), line: int64(len(all) + 1), value: string(v)})
	}
	if _, err := dec.Token(); err != nil {
		return all, false
	}
	return all, strings.Trim(data[skip:][dec.InputOffset():], " \t\r\n") == ""
}

func FuzzJSONArray(f *testing.F) {
	for _, s := range []string{
		"", "[]", " [ 1 , \"a\\\"]\",{\"b\":[{}]} ,null,\n-1.5e+3] ", "[1,]", "[1 2]", "[1]2", "[{]},1]", "\ufeff[\"\\\\\",\"\\u0022\"]", "[[],[[]],\"", "x", "[,", "[tru\"e,1]", "[\"\x01\"]",
	} {
		f.Add(s, uint8(0), uint8(200))
		f.Add(s, uint8(64), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data string, chunk, limit uint8) {
		file := on(JSONArray[json.RawMessage]("in"), newDisk(t, map[string]string{"in": data}))
		file.chunk, file.MaxRecordBytes = int(chunk)+1, len(data)+1
		file.Codec = serde.Funcs[json.RawMessage]{DecodeFunc: func(data []byte, v *json.RawMessage) error {
			if !json.Valid(data) {
				return errors.New("no JSON")
			}
			*v = bytes.Clone(data)
			return nil
		}}
		want, whole := plainArray(data)
		got, positions := locate(t, file, nil)
		// What a decoder reads is what is read, up to where it gives up; and where it doesn't, nothing is rejected.
		require.GreaterOrEqual(t, len(got), len(want))
		for i, w := range want {
			require.Equal(t, w.value, got[i].value)
			require.Equal(t, w.line, got[i].line)
		}
		bad := slices.IndexFunc(got, func(l located) bool { return l.bad })
		require.Equal(t, whole, bad < 0, "%q", got)
		resumes(t, file, got, positions)

		// With a limit: the same, up to the first record that is longer.
		file.MaxRecordBytes = int(limit) + 1
		limited, positions := locate(t, file, nil)
		for i, l := range limited {
			if l.rest {
				break
			}
			require.Equal(t, got[i], l)
			require.LessOrEqual(t, len(l.value), file.MaxRecordBytes)
		}
		if n := len(limited); n < len(got) {
			require.True(t, limited[n-1].rest)
		}
		resumes(t, file, limited, positions)
	})
}

// locate reads data record by record, from a position on.
func locate[T any](t *testing.T, f *File[T], from weaver.Position) ([]located, []weaver.Position) {
	t.Helper()
	r, err := f.OpenReader(t.Context(), weaver.Lane{Position: from})
	require.NoError(t, err)
	defer r.Close()
	var got []located
	var positions []weaver.Position
	b := weaver.NewBatch[T](1, 0)
	for {
		b.Reset()
		p, err := r.Read(t.Context(), b)
		require.True(t, err == nil || err == io.EOF, "%v", err) //nolint:errorlint // as it is
		for _, rec := range b.Records {
			got = append(got, located{line: rec.Seq, value: fmt.Sprintf("%s", any(rec.Value))})
		}
		for _, x := range b.Rejects() {
			var re *RecordError
			require.ErrorAs(t, x.Err, &re)
			got = append(got, located{offset: re.Offset, line: re.Record, bad: true, rest: strings.HasSuffix(re.Err.Error(), rest)})
		}
		positions = append(positions, bytes.Clone(p))
		if err != nil {
			return got, positions
		}
	}
}

// resumes reads the rest from each position.
func resumes[T any](t *testing.T, f *File[T], want []located, positions []weaver.Position) {
	t.Helper()
	for i, p := range positions {
		again, _ := locate(t, f, p)
		from := min(i+1, len(want))
		if i == len(positions)-1 {
			from = len(want)
		}
		require.Equal(t, append([]located{}, want[from:]...), append([]located{}, again...), "from %d", i)
	}
}

func FuzzFixed(f *testing.F) {
	f.Add("abcdefg", uint8(2), uint8(0))
	f.Add("\xff\xfe\n\r\n", uint8(0), uint8(3))
	f.Fuzz(func(t *testing.T, data string, size, chunk uint8) {
		n := int(size) + 1
		file := on(Fixed[[]byte]("in", n), newDisk(t, map[string]string{"in": data}))
		file.chunk = int(chunk) + 1
		var want []located
		for i := 0; i < len(data); i += n {
			l := located{line: int64(i/n + 1), value: data[i:min(i+n, len(data))]}
			if len(data)-i < n {
				l = located{offset: int64(i), line: l.line, bad: true, rest: true}
			}
			want = append(want, l)
		}
		got, positions := locate(t, file, nil)
		require.Equal(t, want, got)
		resumes(t, file, got, positions)
	})
}

func FuzzPrefixed(f *testing.F) {
	for p := range prefixes {
		for _, s := range []string{"", "\x01a\x00\x02bc", "\x00\x01a\x00\x02bc\x01\x00", "\x00\x00\x00\x01a", "\x01\x00\x00\x00a\x00", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", "\xff\x7f"} {
			f.Add(s, uint8(p), uint8(1), uint8(100))
		}
	}
	f.Fuzz(func(t *testing.T, data string, prefix, chunk, limit uint8) {
		p := Prefix(prefix % uint8(len(prefixes)))
		file := on(Prefixed[[]byte]("in", p), newDisk(t, map[string]string{"in": data}))
		file.chunk, file.MaxRecordBytes = int(chunk)+1, int(limit)+1
		var want []located
		for r := strings.NewReader(data); r.Len() > 0; {
			l := located{offset: r.Size() - int64(r.Len()), line: int64(len(want) + 1), bad: true, rest: true}
			var n uint64
			var err error
			read := func(v any, o binary.ByteOrder) { err = binary.Read(r, o, v) }
			var n16 uint16
			var n32 uint32
			switch p {
			case Uvarint:
				n, err = binary.ReadUvarint(r)
			case Uint16BE:
				read(&n16, binary.BigEndian)
			case Uint16LE:
				read(&n16, binary.LittleEndian)
			case Uint32BE:
				read(&n32, binary.BigEndian)
			case Uint32LE:
				read(&n32, binary.LittleEndian)
			case Uint64BE:
				read(&n, binary.BigEndian)
			case Uint64LE:
				read(&n, binary.LittleEndian)
			}
			n += uint64(n16) + uint64(n32)
			if err == nil && n <= uint64(file.MaxRecordBytes) && n <= uint64(r.Len()) {
				body := make([]byte, n)
				_, _ = io.ReadFull(r, body)
				l = located{line: l.line, value: string(body)}
			}
			if want = append(want, l); l.bad {
				break
			}
		}
		got, positions := locate(t, file, nil)
		require.Equal(t, want, got)
		resumes(t, file, got, positions)
	})
}

// FuzzNDJSON compares with lines that a json.Decoder reads one by one.
func FuzzNDJSON(f *testing.F) {
	for _, s := range []string{"", "{}\n\n [1] \r\nnull", "\ufeff1\n2 3\n\"a\n\"", "\xff\n\"\xff\"\n", "\t\n\r\n{\"a\":[\n"} {
		f.Add(s, uint8(1), uint8(200))
		f.Add(s, uint8(64), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data string, chunk, limit uint8) {
		file := on(NDJSON[[]byte]("in"), newDisk(t, map[string]string{"in": data}))
		file.chunk, file.MaxRecordBytes = int(chunk)+1, int(limit)+1
		file.Codec = serde.Funcs[[]byte]{DecodeFunc: func(data []byte, v *[]byte) error {
			if !json.Valid(data) || !utf8.Valid(data) {
				return errors.New("no JSON")
			}
			*v = bytes.Clone(data)
			return nil
		}}
		var skip int64
		if strings.HasPrefix(data, "\ufeff") {
			skip = int64(len("\ufeff"))
		}
		var want []located
		lines := plainLines(data[skip:], file.MaxRecordBytes)
		if strings.Trim(data[skip:], " \t\r\n") == "" {
			lines = nil
		}
		for _, l := range lines {
			l.offset += skip
			if !l.bad && strings.Trim(l.value, " \t\r") == "" {
				continue
			}
			if !l.bad && (!json.Valid([]byte(l.value)) || !utf8.ValidString(l.value)) {
				l.bad, l.value = true, ""
			}
			want = append(want, l)
		}
		compare(t, file, want, int64(len(data)), func(v []byte) []byte { return v })
	})
}

func FuzzRowsRoundTrip(f *testing.F) {
	f.Add("a", "b\"c", "d\ne")
	f.Add("", "", "")
	f.Add("\r", " ", "\\.")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		for _, row := range [][]string{{a, b, c}, {a}, {b, c}} {
			line := appendRow(nil, row, ',')
			file := on(CSV[[]string]("in"), newDisk(t, map[string]string{"in": string(line) + string(line)}))
			items, _ := drain(t, file, nil, 0)
			require.Equal(t, []item{{Seq: 1, Value: show(row)}, {Seq: items[1].Seq, Value: show(row)}}, items)

			if !strings.Contains(a+b+c, "\r\n") {
				got, err := csv.NewReader(bytes.NewReader(line)).Read()
				require.NoError(t, err)
				require.Equal(t, row, got)
			}
		}
	})
}

func FuzzPosition(f *testing.F) {
	f.Add([]byte(position{mark: mark{line: 1}}.append(nil)))
	f.Add([]byte(position{name: "a/b", done: true, mark: mark{offset: 1 << 40, line: 7, print: fingerprint{size: 1024, sum: 42}, member: member{stored: 3, offset: 5}}}.append(nil)))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePosition(data)
		if err != nil {
			require.Equal(t, position{}, p)
			return
		}
		require.Equal(t, data, []byte(p.append(nil)))
		require.GreaterOrEqual(t, p.offset, int64(p.print.size))
	})
}

func FuzzSidecar(f *testing.F) {
	f.Add(sidecar{}.encode())
	f.Add(sidecar{epoch: 3, owner: 9, length: 1 << 40, tail: 7, pipeline: "p", split: "s", envelope: []byte("e")}.encode())
	f.Add(sidecar{envelope: []byte{}}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeSidecar(data)
		if err != nil {
			require.Equal(t, sidecar{}, s)
			// With the right checksum at its end, so that what is inside gets its share.
			if len(data) >= sidecarHeader {
				again := sealed(bytes.Clone(data))
				if s, err := decodeSidecar(again); err == nil {
					require.Equal(t, again, s.encode())
				}
			}
			return
		}
		require.Equal(t, data, s.encode())
	})
}

func TestSidecarRefusesEveryFlippedBit(t *testing.T) {
	t.Parallel()
	data := sidecar{epoch: 3, owner: 9, length: 100, tail: 7, pipeline: "p", split: "s", envelope: []byte("e")}.encode()
	for i := range len(data) * 8 {
		flipped := bytes.Clone(data)
		flipped[i/8] ^= 1 << (i % 8)
		_, err := decodeSidecar(flipped)
		require.Error(t, err)
	}
	for i := range data {
		_, err := decodeSidecar(data[:i])
		require.Error(t, err)
	}
}
