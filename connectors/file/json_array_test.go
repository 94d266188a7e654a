package file

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde"
)

// verbatim keeps JSON values as they are, if they are JSON.
var verbatim = serde.Funcs[string]{
	AppendFunc: func(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil },
	DecodeFunc: func(data []byte, v *string) error {
		*v = string(data)
		return nil
	},
}

const rest = "; no record can be found behind that, so the rest of the file is rejected"

func TestJSONArray(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data   string
		want   []string
		reject string // of what comes behind
		at     int64  // where it was seen
	}{
		"empty file":          {data: ""},
		"space only":          {data: " \r\n\t "},
		"mark only":           {data: "\ufeff"},
		"empty array":         {data: "[]"},
		"empty with space":    {data: "\ufeff \n[ \n] \r\n"},
		"numbers":             {data: "[1,-2.5e3 , 3\n,4]", want: []string{"1", "-2.5e3", "3", "4"}},
		"literals":            {data: "[true,false ,null]\n", want: []string{"true", "false", "null"}},
		"strings":             {data: `["a","b\"c","\\","]","\\\"[{,","\u0022"]`, want: []string{`"a"`, `"b\"c"`, `"\\"`, `"]"`, `"\\\"[{,"`, `"\u0022"`}},
		"nested":              {data: `[ {"a":[1,{"b":"}]"}],"c":"\\"} , [[],[[]],{}] ]`, want: []string{`{"a":[1,{"b":"}]"}],"c":"\\"}`, `[[],[[]],{}]`}},
		"mark":                {data: "\ufeff[1]", want: []string{"1"}},
		"no array":            {data: `{"a":1}`, reject: errNoArray.Error(), at: 0},
		"ndjson":              {data: "\n{}\n{}\n", reject: errNoArray.Error(), at: 1},
		"no comma":            {data: "[1 2,3]", want: []string{"1"}, reject: errNoComma.Error(), at: 3},
		"no comma, nested":    {data: "[{}{}]", want: []string{"{}"}, reject: errNoComma.Error(), at: 3},
		"comma behind":        {data: "[1,]", want: []string{"1"}, reject: errNoElement.Error(), at: 3},
		"comma before":        {data: "[,1]", reject: errNoElement.Error(), at: 1},
		"two commas":          {data: "[1,,2]", want: []string{"1"}, reject: errNoElement.Error(), at: 3},
		"one too many":        {data: "[{}},{}]", want: []string{"{}"}, reject: errNoComma.Error(), at: 3},
		"behind the end":      {data: "[1] 2", want: []string{"1"}, reject: errBehind.Error(), at: 4},
		"two arrays":          {data: "[][1]", reject: errBehind.Error(), at: 2},
		"two arrays of one":   {data: "[1][2]", want: []string{"1"}, reject: errBehind.Error(), at: 3},
		"no end":              {data: `[{"a":1}`, want: []string{`{"a":1}`}, reject: errNoEnd.Error(), at: 8},
		"no end but a comma":  {data: "[1,2, ", want: []string{"1", "2"}, reject: errNoEnd.Error(), at: 6},
		"no end, only begun":  {data: " [", reject: errNoEnd.Error(), at: 2},
		"ends in a number":    {data: "[1,23", want: []string{"1"}, reject: errNoEnd.Error(), at: 3},
		"ends in a string":    {data: `[1,"a\`, want: []string{"1"}, reject: errNoEnd.Error(), at: 3},
		"ends in an object":   {data: `[1,{"a":[`, want: []string{"1"}, reject: errNoEnd.Error(), at: 3},
		"too long":            {data: "[1," + strings.Repeat("[", 40) + strings.Repeat("]", 40) + ",2]", want: []string{"1"}, reject: "the record is longer than MaxRecordBytes, 30", at: 3},
		"too long to see":     {data: "[1," + strings.Repeat("[", 400) + strings.Repeat("]", 400) + ",2]", want: []string{"1"}, reject: "the record is longer than MaxRecordBytes, 30", at: 3},
		"as long as may be":   {data: "[1,\"" + strings.Repeat("x", 28) + "\",2]", want: []string{"1", `"` + strings.Repeat("x", 28) + `"`, "2"}},
		"UTF-16":              {data: "\xff\xfe[\x00]\x00", reject: errUTF16.Error(), at: 0},
		"space in the middle": {data: "[1,\n" + strings.Repeat(" ", 20) + "2]", want: []string{"1", "2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, chunk := range []int{1, 2, 7, 100} {
				for _, size := range []int{1, 2, 100} {
					f := on(JSONArray[string]("in"), newDisk(t, map[string]string{"in": c.data}))
					f.Codec, f.MaxRecordBytes, f.chunk = verbatim, 30, chunk
					want := []item{}
					for i, v := range c.want {
						want = append(want, item{Seq: int64(i + 1), Value: v})
					}
					if c.reject != "" {
						raw := c.data[c.at:]
						i := item{Seq: int64(len(want) + 1), Err: c.reject + rest, Raw: raw, Offset: c.at}
						want = append(want, i)
					}
					items, positions := drain(t, f, nil, size)
					if n := len(items); c.reject != "" && n == len(want) { // as much of it as was there
						require.True(t, strings.HasPrefix(want[n-1].Raw, items[n-1].Raw), items[n-1].Raw)
						want[n-1].Raw = items[n-1].Raw
					}
					require.Equal(t, want, append([]item{}, items...))
					for i, p := range positions {
						again, _ := drain(t, f, p, 100)
						from := min((i+1)*size, len(want))
						if i == len(positions)-1 {
							from = len(want) // nothing is rejected twice
						}
						for j := range again { // rejects come in other pieces
							again[j].Raw = want[from+j].Raw
						}
						require.Equal(t, want[from:], append([]item{}, again...), "chunk %d, size %d, from %d", chunk, size, i)
					}
				}
			}
		})
	}
}

// What is wrong with one element is its own business.
func TestJSONArrayOfWrongElements(t *testing.T) {
	t.Parallel()
	data := "[\n" + strings.Join([]string{`{"id":1}`, `{"id":"x"}`, `{"id":2 "x"}`, `{"id":3}`, "7", "nul", `{"id":4}`}, ",\n") + "\n]\n"
	f := on(JSONArray[order]("in.json"), newDisk(t, map[string]string{"in.json": data}))
	items, _ := drain(t, f, nil, 100)
	require.Equal(t, []string{"{ID:1 Name: Price:0}", "{ID:3 Name: Price:0}", "{ID:4 Name: Price:0}", "", "", "", ""}, values(items))
	var seqs []int64
	for _, i := range items {
		seqs = append(seqs, i.Seq)
	}
	require.Equal(t, []int64{1, 4, 7, 2, 3, 5, 6}, seqs)
	require.Equal(t, `{"id":2 "x"}`, items[4].Raw)

	r, err := f.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	defer r.Close()
	b := weaver.NewBatch[order](0, 0)
	_, _ = r.Read(t.Context(), b)
	require.Contains(t, b.Rejects()[0].Err.Error(), fmt.Sprintf(`in.json: record 2 (byte %d): `, strings.Index(data, `{"id":"x"`)))
}

// A file that was cut short and is completed is read on where it was cut.
func TestJSONArrayThatIsCompleted(t *testing.T) {
	t.Parallel()
	whole := `[{"a":1}, {"a":2}, 345, "x"]`
	for n := range len(whole) {
		disk := newDisk(t, map[string]string{"in": whole[:n]})
		f := on(JSONArray[string]("in"), disk)
		f.Codec = verbatim
		before, positions := drain(t, f, nil, 100)
		got := []string{}
		for _, i := range before {
			if i.Err == "" {
				got = append(got, i.Value)
			}
		}
		put(t, disk, "in", whole)
		after, _ := drain(t, f, positions[len(positions)-1], 100)
		require.Equal(t, []string{`{"a":1}`, `{"a":2}`, "345", `"x"`}, append(got, values(after)...), "cut at %d", n)
	}
}

func TestJSONArrayIsNotWritten(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"out", stdio} {
		_, err := on(JSONArray[order](path), durabletest.New()).OpenWriter(t.Context(), weaver.Lane{})
		require.ErrorContains(t, err, "write file.NDJSON")
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
}

func TestOtherFilesAreReadBehindOneThatIsRejected(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"a.json": "[1,2", "b.json": "x", "c.json": "[3]"})
	f := JSONArray[string](dir + "/*.json")
	f.Codec = verbatim
	items, positions := drain(t, f, nil, 1)
	require.Equal(t, []string{"1", "", "", "3"}, values(items))
	for i, p := range positions {
		again, _ := drain(t, f, p, 1)
		require.Equal(t, values(items)[min(i+1, 4):], values(again), "%d", i)
	}
}

// endless reads a pattern for ever, so many bytes, a small piece at a time.
type endless struct {
	open, pattern, close string
	n, at                int
	piece                int
}

func (e *endless) Read(p []byte) (int, error) {
	p = p[:min(len(p), e.piece)]
	for i := range p {
		switch n := e.at + i; {
		case n < len(e.open):
			p[i] = e.open[n]
		case n < len(e.open)+e.n:
			p[i] = e.pattern[(n-len(e.open))%len(e.pattern)]
		case n < len(e.open)+e.n+len(e.close):
			p[i] = e.close[n-len(e.open)-e.n]
		default:
			e.at += i
			if i == 0 {
				return 0, io.EOF
			}
			return i, nil
		}
	}
	e.at += len(p)
	return len(p), nil
}

// One long record that comes in small pieces costs what its length says, and not its square: each framing looks at nothing twice.
func TestLongRecordsTakeLinearTime(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		framing framing
		in      endless
	}{
		"line":             {lineFraming{}, endless{pattern: "x", close: "\n"}},
		"row":              {rowFraming{','}, endless{pattern: "abc,", close: "\n"}},
		"quoted":           {rowFraming{','}, endless{open: `a,"`, pattern: "x", close: "\"\n"}},
		"quoted lines":     {rowFraming{','}, endless{open: `a,"`, pattern: "x\n", close: "\"\n"}},
		"quoted marks":     {rowFraming{','}, endless{open: `a,"`, pattern: `""`, close: "\"\n"}},
		"fields":           {rowFraming{','}, endless{open: `"a"`, pattern: `,"b",c`, close: "\n"}},
		"string":           {arrayFraming{}, endless{open: `["`, pattern: "x", close: `"]`}},
		"escapes":          {arrayFraming{}, endless{open: `["`, pattern: `\\`, close: `"]`}},
		"marks":            {arrayFraming{}, endless{open: `["`, pattern: `\"`, close: `"]`}},
		"strings":          {arrayFraming{}, endless{open: `[[1`, pattern: `,"\n"`, close: `]]`}},
		"brackets":         {arrayFraming{}, endless{open: `[[1`, pattern: `,[{}]`, close: `]]`}},
		"number":           {arrayFraming{}, endless{open: `[`, pattern: `1`, close: `]`}},
		"space":            {arrayFraming{}, endless{open: `[`, pattern: ` `, close: `1]`}},
		"prefixed":         {prefixFraming{Uint32LE, 1 << 30}, endless{open: "\x00\x00\x80\x00", pattern: `1`}},
		"quote not closed": {rowFraming{','}, endless{open: `"`, pattern: "abc\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			const size, piece = 8 << 20, 64
			c.in.n, c.in.piece = size, piece
			in := input{chunk: piece}
			in.reset(&c.in, 0)
			s := scan{first: true}
			looks := 0
			start := time.Now()
			for {
				looks++
				if _, ok := c.framing.next(in.data(), in.eof, &s); ok {
					break
				}
				require.False(t, in.eof)
				require.NoError(t, in.more())
			}
			require.Greater(t, looks, size/piece)
			// Looking at everything each time would be 512 GiB. (Milliseconds, in fact; the bound is for slow machines.)
			require.Less(t, time.Since(start), 30*time.Second)
		})
	}
}
