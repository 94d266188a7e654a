package file

import (
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// hostile returns values that are meant to be more than a part of a name, no two the same.
func hostile() []string {
	long := strings.Repeat("x", 255)
	all := []string{
		// Nothing, and what looks like it.
		"", " ", "  ", "\t", ".", "..", "...", "....", ". ", " .", ".. ", "..\t", "-", "--", "_", "~",
		// Ways out.
		"../", "../..", "../../../../../../etc/passwd", "/..", "/../x", "./../x", "x/../../y", "..//..", "....//....//", "..;/", "..\\", "..\\..\\windows", ".\\..\\x", "\\..\\x", "..\\/..\\/",
		"%2e%2e%2f", "%2e%2e/", "..%2f", "%2E%2E", "%252e%252e%252f", "..%5c", "..%c0%af", "..%ef%bc%8f", "\xc0\xae\xc0\xae\xc0\xaf", "\xe0\x80\xae\xe0\x80\xae/", "．．／", "‥／", "..∕..", "..⁄..",
		"..\x00/x", "x\x00.csv", "x/..", "a/./b", "a//b", "a/", "/a", "//a", "///", "./a", "./", "/.",
		// Absolute, and drives, shares and devices of all kinds.
		"/", "/etc/passwd", "/dev/null", "/proc/self/mem", "C:", "C:\\", "C:/", "c:x", "C:\\Windows\\System32", "\\\\server\\share", "//server/share", "\\\\?\\C:\\x", "\\\\.\\PhysicalDrive0",
		"\\\\?\\UNC\\server\\share", "\\??\\C:\\x", "file:///etc/passwd", "\\", "\\\\", "x:stream", "x::$DATA", "x.txt:stream:$DATA", ":", "::", "~root", "~/.ssh/id_rsa", "$HOME", "${HOME}", "%TEMP%", "%SystemRoot%",
		"CON", "con", "Con", "PRN", "AUX", "NUL", "nul", "COM0", "COM1", "com1", "COM9", "LPT1", "LPT9", "COM¹", "COM²", "LPT³", "CONIN$", "CONOUT$", "CLOCK$", "CON.txt", "nul.", "NUL .txt", "NUL.tar.gz", "aux.c",
		"CON ", "CON:", "COM1.x.y", "CO", "CONX", "C%4fN", "ＣＯＮ", "PROGRA~1", "LONGNA~1.TXT",
		// Control characters, and what ends a line somewhere.
		"\x00", "\x00\x00", "\x01", "\x07", "\x08", "\n", "\r", "\r\n", "\x0b", "\x0c", "\x1b", "\x1b[2J", "\x1b]0;x\x07", "\x7f", "\u0080", "\u0085", "\u2028", "\u2029", "a\nb", "a\rb", "a\x00b", "\x04", "\x1a",
		// Long.
		long, long + "x", long + "y", strings.Repeat("x", 256), strings.Repeat("x", 4096), strings.Repeat("x", 70_000), strings.Repeat("ü", 200), strings.Repeat("../", 100), strings.Repeat("%", 200), strings.Repeat("a/", 2000),
		strings.Repeat("x", 198), strings.Repeat("x", 199), strings.Repeat("x", 200), strings.Repeat("x", 201), strings.Repeat("x", 100) + "." + strings.Repeat("y", 100), strings.Repeat(".", 300),
		// What looks alike: composed and decomposed, capitals, letters of other scripts, and what can't be seen.
		"é", "e\u0301", "ß", "SS", "ss", "ſs", "ﬁ", "fi", "Å", "Å", "A\u030a", "İ", "i", "I", "ı", "K", "K", "k", "а", "a", "A", "ａ", "ο", "o", "O", "0", "σ", "ς", "ﷺ", "각", "각",
		"\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u034f", "\u180e", "a\u200b", "\u00a0", "\u3000", "\u2003",
		"\u202e", "\u202egpj.exe", "\u202d", "\u2066x\u2069", "\u200f", "\u200e", "\u061c", "txt\u202e.exe", "👩\u200d👧", "👩", "👧", "\U000e0041", "\U0010ffff", "\ufffe", "\uffff", "\ufffd",
		// No text at all.
		"\xff", "\xfe\xff", "\xff\xfe", "\x80", "\xc3", "\xc3\x28", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf0\x28\x8c\x28", "a\xffb", "\xc0\x80", "\xef\xbf\xbd\xff",
		// What systems reserve, and shells, patterns and templates read.
		"<", ">", "\"", "|", "?", "*", "a*", "[a-z]", "{a,b}", "!", "!x", "#", "&", "&&", ";", "; rm -rf /", "`id`", "$(id)", "'", "''", "\\'", "^", "=", "+", "@", ",", "(", ")", "(x)", "-rf", "--help", "-",
		"{part}", "{{part}}", "{", "}", "{}", "{key}", "{time:2006}", "{../}", "%s", "%d", "%n", "%", "%%", "%2", "%zz", "%00", "%2F", "%empty", "%null", "%~", "%~0000", "<nil>", "null", "NULL", "undefined",
		// Hidden, temporary, and names of our own.
		".hidden", ".git", ".bashrc", "..hidden", ".weaver", ".WEAVER", ".weaver/parts/state", "weaver", "state", "lock", "manifest", "parts", "1.part", "000001", "000001.part", ".weaver-00000000-0000.tmp", "_SUCCESS", "_temporary",
		"_manifest", "desktop.ini", "Thumbs.db", ".DS_Store", "._x", "x~", "#x#", "x.swp", "x.tmp", "x.", "x..", "x ", "x. .", " x", "x.gz", "x.csv", "x.checkpoint", "x/x.checkpoint", "lost+found", "$MFT", "$Recycle.Bin",
	}
	seen := map[string]bool{}
	var once []string
	for _, v := range all {
		if !seen[v] {
			seen[v] = true
			once = append(once, v)
		}
	}
	return once
}

var harmless = regexp.MustCompile(`^[A-Za-z0-9_=+@%][A-Za-z0-9_=+@%~.-]*$`)

// checkElement is what every element must be whatever a record says.
func checkElement(t testing.TB, e, of string) {
	t.Helper()
	require.LessOrEqual(t, len(e), 200, "%.100q", of)
	require.Regexp(t, harmless, e, "%.100q", of)
	require.False(t, strings.HasSuffix(e, "."), "%.100q", of)
	require.NotRegexp(t, `(?i)^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)`, e, "%.100q", of)
}

// raw can hold what is no text.
type raw struct {
	Value []byte `json:"value"`
	N     int    `json:"n"`
}

type named struct {
	Value string `json:"value"`
	N     int    `json:"n"`
}

// Whatever records say, they land in the root folder, each in files of its own, and can be read back.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	values := hostile()
	require.GreaterOrEqual(t, len(values), 250)
	t.Logf("%d values", len(values))
	for _, template := range []string{"{value}/{part}.ndjson", "{value}-{part}.ndjson", "{key}/{value}/x{part}.ndjson", "x.{part}.{key}"} {
		base := t.TempDir()
		root := filepath.Join(base, "a", "b", "root")
		p := Parts(NDJSON[raw](filepath.Join(root, filepath.FromSlash(template))))
		p.MaxOpen, p.MaxParts, p.each.Sync = 8, 100, SyncNever
		w, _ := keepParts(t, p, weaver.Lane{})
		b := weaver.NewBatch[raw](0, 0)
		for round := range 2 {
			for i, v := range values {
				r := b.Add()
				r.Value, r.Key = raw{[]byte(v), round*len(values) + i}, []byte(v)
			}
		}
		require.NoError(t, w.Write(t.Context(), b))
		require.NoError(t, w.Commit(t.Context(), []byte("x")))
		require.NoError(t, w.Close())

		// Nothing but the root folder has come to be.
		var outside []string
		require.NoError(t, filepath.WalkDir(base, func(path string, _ os.DirEntry, err error) error {
			if !strings.HasPrefix(path, root) {
				outside = append(outside, path)
			}
			return err
		}))
		require.Equal(t, []string{base, filepath.Join(base, "a"), filepath.Join(base, "a", "b")}, outside)

		parts, err := ReadManifest(root)
		require.NoError(t, err)
		found := map[int]string{}
		byDir, byValue := map[string]string{}, map[string]string{}
		for _, part := range parts {
			name, err := filepath.Rel(root, part.Path)
			require.NoError(t, err)
			for _, e := range strings.Split(filepath.ToSlash(name), "/") {
				checkElement(t, e, name)
			}
			key := regexp.MustCompile(`\d{6}`).ReplaceAllString(name, "")
			r, err := NDJSON[raw](part.Path).OpenReader(t.Context(), weaver.Lane{})
			require.NoError(t, err)
			got := weaver.NewBatch[raw](0, 0)
			_, _ = r.Read(t.Context(), got)
			require.NoError(t, r.Close())
			require.Len(t, got.Records, int(part.Records))
			for _, x := range got.Records {
				require.NotContains(t, found, x.Value.N)
				found[x.Value.N] = name
				want := values[x.Value.N%len(values)]
				require.Equal(t, want, string(x.Value.Value))
				if before, ok := byDir[key]; ok {
					require.Equal(t, before, want, "two values share %s", name)
				}
				if before, ok := byValue[want]; ok {
					require.Equal(t, before, key, "one value has two names")
				}
				byDir[key], byValue[want] = want, key
			}
		}
		require.Len(t, found, 2*len(values))
		require.Len(t, byDir, len(values))
	}
}

// What was not cut or replaced is percent-encoded: the value can be read back from the name.
func TestEscape(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"":            "%empty",
		"DE":          "DE",
		"a-b_c.d=e+f": "a-b_c.d=e+f",
		"..":          "%2E%2E",
		".x.":         "%2Ex%2E",
		"-x":          "%2Dx",
		"a/b":         "a%2Fb",
		"ü":           "%C3%BC",
		"%":           "%25",
		"\x00":        "%00",
	} {
		require.Equal(t, want, string(appendEscaped(nil, value, 200)))
	}
	seen := map[string]string{}
	for _, limit := range []int{minValue, 200} {
		clear(seen)
		for _, v := range hostile() {
			e := string(appendEscaped([]byte("before/"), []byte(v), limit))
			require.True(t, strings.HasPrefix(e, "before/"))
			e = e[len("before/"):]
			require.LessOrEqual(t, len(e), limit)
			require.NotContains(t, seen, e)
			seen[e] = v
			if !strings.Contains(e, cutMark) && e != emptyValue {
				back, err := url.PathUnescape(e)
				require.NoError(t, err)
				require.Equal(t, v, back)
			}
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, v := range hostile() {
		f.Add(v, "x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		n, err := newNaming[named]("{value}/{part}", kindNDJSON, nil)
		require.NoError(t, err)
		element := func(v string) string {
			name, err := n.name(nil, &weaver.Record[named]{Value: named{Value: v}}, time.Time{})
			require.NoError(t, err)
			e, _, _ := strings.Cut(string(name), "/")
			checkElement(t, e, v)
			return e
		}
		if x, y := element(a), element(b); (x == y) != (a == b) {
			t.Fatalf("%q and %q are %q and %q", a, b, x, y)
		}
	})
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 4, 5, 6, 7, 8e6, time.FixedZone("", 2*3600))
	seen := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	r := &weaver.Record[visit]{
		Key:   []byte("k/1"),
		Time:  at,
		Value: visit{Country: "DE", Page: "/", User: &user{ID: -5, Seen: seen}, Tags: map[string]string{"a.b": "x", "c": "y"}, N: 7},
	}
	for template, want := range map[string][2]string{
		"{part}":                        {".", "\x00"},
		"/{part}":                       {"/", "\x00"},
		"/x/y/{part}.csv":               {"/x/y", "\x00.csv"},
		"../x/{part}":                   {"../x", "\x00"},
		"x/a{{b}}/{{{country}}}{part}":  {"x/a{b}", "{DE}\x00"},
		"x/{time:2006/01/02T15}/{part}": {"x", "2026/03/04T03/\x00"},
		"x/{time:15:04:05.000}-{part}":  {"x", "03%3A06%3A07.008-\x00"},
		"x/{now:2006}-{key}/{part}":     {"x", "2026-k%2F1/\x00"},
		"{Country}{N}/{user.id}{part}":  {".", "DE7/%2D5\x00"},
		"{user.seen}-{part}":            {".", "2020-01-02T03%3A04%3A05Z-\x00"},
		"{tags.c}{tags.none}{part}":     {".", "y%null\x00"},
		"{.n}//./{part}":                {".", "7/\x00"},
		"CO{n}.{part}":                  {".", "CO7.\x00"},
		"COM{n}.{part}":                 {".", "%43OM7.\x00"},
	} {
		n, err := newNaming[visit](template, kindNDJSON, nil)
		require.NoError(t, err, template)
		require.Equal(t, filepath.FromSlash(want[0]), n.root, template)
		for range 2 {
			name, err := n.name(nil, r, at)
			require.NoError(t, err)
			require.Equal(t, want[1], string(name), template)
		}
	}
	empty := &weaver.Record[visit]{}
	n, err := newNaming[visit]("{user.id}{part}", kindNDJSON, nil)
	require.NoError(t, err)
	name, err := n.name(nil, empty, at)
	require.NoError(t, err)
	require.Equal(t, "%null\x00", string(name))

	require.Equal(t, "a-000012/000012", numbered("a-\x00/\x00", 12))
	require.Equal(t, "18446744073709551615", numbered("\x00", math.MaxUint64))
}

type embedded struct {
	*order
	Raw   []byte  `csv:"raw"`
	Ratio float32 `csv:"ratio"`
	OK    bool
	Any   any
	At    *time.Time `csv:"at"`
	Kind  kind       `csv:"kind"`
}

func TestFieldsOfRecords(t *testing.T) {
	t.Parallel()
	nameOf := func(err error, name []byte) string {
		if err != nil {
			return err.Error()
		}
		return strings.TrimSuffix(string(name), "\x00")
	}
	at := time.Unix(0, 0).UTC()
	v := embedded{order: &order{ID: 3, Name: "n"}, Raw: []byte("r w"), Ratio: 0.5, OK: true, Any: map[string]any{"a": map[string]any{"b": 1.5}}, At: &at, Kind: "k"}
	for field, want := range map[string]string{
		"id": "3", "raw": "r%20w", "ratio": "0.5", "OK": "true", "Any.a.b": "1.5", "Any.a.c": "%null", "Any.a": "{Any.a} in the path: a map[string]interface {} can't be a part of a name",
		"Any.a.b.c": "{Any.a.b.c} in the path: a float64 has no fields", "at": "1970-01-01T00%3A00%3A00Z", "kind": "k",
	} {
		n, err := newNaming[embedded]("{"+field+"}{part}", kindCSV, nil)
		require.NoError(t, err)
		name, err := n.name(nil, &weaver.Record[embedded]{Value: v}, at)
		require.Equal(t, want, nameOf(err, name), field)
	}
	n, err := newNaming[embedded]("{id}{part}", kindCSV, nil)
	require.NoError(t, err)
	name, err := n.name(nil, &weaver.Record[embedded]{}, at)
	require.Equal(t, "%null", nameOf(err, name), "nil is embedded")

	m, err := newNaming[map[string]any]("{a.b}-{c}{part}", kindNDJSON, nil)
	require.NoError(t, err)
	name, err = m.name(nil, &weaver.Record[map[string]any]{Value: map[string]any{"a": map[string]any{"b": "x"}, "c": nil}}, at)
	require.Equal(t, "x-%null", nameOf(err, name))
	ints, err := newNaming[map[kind]int]("{a}{part}", kindNDJSON, nil)
	require.NoError(t, err)
	name, err = ints.name(nil, &weaver.Record[map[kind]int]{Value: map[kind]int{"a": 4}}, at)
	require.Equal(t, "4", nameOf(err, name))

	rows, err := newNaming[[]string]("{b}{part}", kindCSV, []string{"a", "b"})
	require.NoError(t, err)
	name, err = rows.name(nil, &weaver.Record[[]string]{Value: []string{"x", "y"}}, at)
	require.Equal(t, "y", nameOf(err, name))
	name, err = rows.name(nil, &weaver.Record[[]string]{Value: []string{"x"}}, at)
	require.Equal(t, "%null", nameOf(err, name))
	_, err = newNaming[[]string]("{c}{part}", kindCSV, []string{"a", "b"})
	require.ErrorContains(t, err, `no column is called "c"`)
	_, err = newNaming[[]byte]("{c}{part}", kindLines, nil)
	require.ErrorContains(t, err, "a []uint8 has no fields")

	w, _ := keepParts(t, Parts(on(NDJSON[map[string]any]("out/{a}{part}"), durabletest.New())), weaver.Lane{})
	var partial *weaver.BatchError
	require.ErrorAs(t, w.Write(t.Context(), batchOf(map[string]any{"a": []any{1}})), &partial)
	require.Equal(t, retry.ClassPoison, retry.ClassOf(partial.Records[0].Err))
	require.NoError(t, w.Close())
}

func TestColumnsOfRows(t *testing.T) {
	t.Parallel()
	columns, err := row.NewColumns(
		row.Column{Name: "country", Kind: row.KindText}, row.Column{Name: "a.b"}, row.Column{Name: "at"}, row.Column{Name: "raw"}, row.Column{Name: "list"}, row.Column{Name: "doc"}, row.Column{Name: "none"},
	)
	require.NoError(t, err)
	list, err := row.Text("{1}").ConvertArray(row.KindInt)
	require.NoError(t, err)
	doc, err := row.Text("{}").Convert(row.KindJSON)
	require.NoError(t, err)
	r := &weaver.Record[row.Row]{Value: row.Row{Columns: columns, Values: []row.Value{
		row.Text("D/E"), row.Int(-7), row.Time(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)), row.Bytes("r w"), list, doc, {},
	}}}
	for column, want := range map[string]string{
		"country": "D%2FE", "a.b": "%2D7", "at": "2026-03-04T05%3A06%3A07Z", "raw": "r%20w", "none": "%null",
		"list": "can't be a part of a name", "doc": "can't be a part of a name",
		"land": `{land} in the path: no column is called "land", but there are "country" "a.b"`,
	} {
		n, err := newNaming[row.Row]("{"+column+"}{part}", kindNDJSON, nil)
		require.NoError(t, err)
		name, err := n.name(nil, r, time.Time{})
		if err != nil {
			require.ErrorContains(t, err, want)
			continue
		}
		require.Equal(t, want, strings.TrimSuffix(string(name), "\x00"), column)
	}
	n, err := newNaming[row.Row]("{country}{part}", kindNDJSON, nil)
	require.NoError(t, err)
	_, err = n.name(nil, &weaver.Record[row.Row]{}, time.Time{})
	require.ErrorContains(t, err, "nor anything else")
	_, err = newNaming[row.Row]("{}{part}", kindNDJSON, nil)
	require.Error(t, err)
}

// A layout remembers its last result for as long as it would be the same.
func TestLayoutsRemember(t *testing.T) {
	t.Parallel()
	for _, layout := range []string{"2006", "2006-01-02", "2006-01-02T15", "15h04", "15:04:05", "05.000", ".000000000", "Jan _2", "PM", "x", "MST -0700", "Monday"} {
		l := newLayout(layout)
		at := time.Date(1969, 12, 30, 23, 0, 0, 0, time.UTC)
		for _, step := range []time.Duration{0, 1, 999, time.Second, 59 * time.Second, time.Minute, 59 * time.Minute, time.Hour, 7 * time.Hour, 24 * time.Hour, -1, -time.Hour, 40 * 24 * time.Hour, 30 * 365 * 24 * time.Hour} {
			for range 3 {
				at = at.Add(step)
				want := appendEscaped(nil, at.Format(layout), 200)
				require.Equal(t, string(want), string(l.append(nil, at.In(time.FixedZone("", 3600)), 200)), "%s of %s", layout, at)
			}
		}
	}
	require.Equal(t, int64(86400), newLayout("2006-01-02").every)
	require.Equal(t, int64(3600), newLayout("2006-01-02T15").every)
	require.Equal(t, int64(0), newLayout("05.000").every)
}

func TestNamesDontAllocate(t *testing.T) { //nolint:paralleltest // it counts allocations
	n, err := newNaming[visit]("x/{time:2006-01-02}/{country}-{user.id}-{key}-{part}", kindNDJSON, nil)
	require.NoError(t, err)
	r := &weaver.Record[visit]{Time: time.Now(), Key: []byte("london"), Value: visit{Country: "DE", User: &user{ID: 5}}}
	name, err := n.name(nil, r, r.Time)
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(100, func() { name, _ = n.name(name[:0], r, r.Time) }))
}
