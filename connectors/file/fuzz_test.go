package file

import (
	"bytes"
	"encoding/csv"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

// located is a record as a plain reader finds it.
type located struct {
	offset, line int64
	value        string
	bad          bool
}

// plainLines is the reference for lines: all in memory, cut at line ends.
func plainLines(data string, limit int) []located {
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
				got = append(got, located{offset: re.Offset, line: re.Line, bad: true})
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
		if parsed.done {
			require.Equal(t, size, parsed.offset)
		}
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
