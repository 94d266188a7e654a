package sqldb

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// hostile are 300 names that mean something else where they aren't quoted.
func hostile() []string {
	seeds := []string{
		`a"b`, `"`, `""`, "a`b", "`", "``", `a'b`, `'`, `\`, `\'`, `\"`, `a\`, "a b", " a", "a ", "a;b", "--", "a--b", "/*", "*/", "/**/", "#", "?", "$1", ":a", "@a", "%s", "%", "_", "a.b", ".", "..", "[a]", "]", "(", ")", "a,b",
		"select", "SELECT", "table", "from", "order", "group", "key", "value", "version", "index", "user", "null", "true", "default", "values", "check", "primary", "t", "rowid", "excluded", "oid", "ctid",
		"'; DROP TABLE canary; --", `"; DROP TABLE canary; --`, "`; DROP TABLE canary; -- x", `") VALUES (1); DROP TABLE canary; --`, "1; DROP TABLE canary", "' OR '1'='1", `" OR "1"="1`, "${jndi}", "{{.}}", "$$", "$a$",
		"ü", "日本語", "emoji😀", "é", "e\u0301", "\u200b", "\u202eabc", "\ufeff", "ſ", "İ", "ß", "\u00a0", "\u2028", "a\tb", "a\nb", "a\r\nb", "\x01", "\x1b[31m", "\x7f", "\\x00", "\\u0000", "a\x00b", "\x00", "\xff", "\xc0\x80", "\xed\xa0\x80",
		strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("a", 65), strings.Repeat("ü", 32), strings.Repeat("ü", 64), strings.Repeat(`"`, 31), strings.Repeat(`"`, 63), strings.Repeat("`", 64), strings.Repeat("x", 10_000),
		"0", "1a", "-1", "1e5", "0x1", "N'a'", "x'00'", "E'a'", "U&\"a\"", "!", "~", "^", "&", "|", "<>", "==", "||", "::text", "->", "+", "=",
	}
	all := append([]string{}, seeds...)
	for i := 0; len(all) < 300; i++ {
		all = append(all, fmt.Sprintf("%s%d%s", seeds[i%len(seeds)], i, seeds[(i*7+3)%len(seeds)]))
	}
	return all
}

// Names and values are quoted, or refused with a fatal error (names) or poison (values), and never executed.
func TestProofHostile(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		p.exec("CREATE TABLE canary (id BIGINT NOT NULL PRIMARY KEY)", "INSERT INTO canary VALUES (1)")
		p.exec("CREATE TABLE vals (id VARCHAR(12000) NOT NULL, n BIGINT NOT NULL PRIMARY KEY)")
		taken, refused := 0, 0
		vals := NewSink[map[string]any](p.db, "vals")
		written := map[string]string{}
		for i, name := range hostile() {
			if err := flushed(t, vals, weaver.Record[map[string]any]{Value: map[string]any{"n": i, "id": name}}); err == nil {
				written[fmt.Sprint(i)] = name
			} else {
				require.NotEqual(t, retry.ClassFatal, retry.ClassOf(err), "%q: %v", name, err)
				require.NotEqual(t, retry.ClassUnmarked, retry.ClassOf(err), "%q: %v", name, err)
			}
			if i >= 100 && p.name != "sqlite" && i%8 != 0 && os.Getenv("WEAVER_PROOF") == "" {
				continue // names: a few of those that are made of others, for the servers' sake
			}
			cols, err := row.NewColumns(row.Column{Name: "id", Kind: row.KindInt}, row.Column{Name: name, Kind: row.KindText, Nullable: true})
			if err != nil {
				continue
			}
			s := NewSink[row.Row](p.db, name)
			s.Create, s.Key, s.Checkpoints = true, []string{"id"}, name+"c"
			err = flushed(t, s, weaver.Record[row.Row]{Value: row.Row{Columns: cols, Values: []row.Value{row.Int(1), row.Text(name + "'")}}})
			if err != nil {
				c := retry.ClassOf(err)
				require.True(t, c == retry.ClassFatal || c == retry.ClassPoison, "%q: %v %v", name, c, err)
				refused++
				continue
			}
			taken++
			got := rowsOf(t, NewSource[row.Row](p.db, name))
			require.Len(t, got, 1, "%q", name)
			require.Equal(t, name+"'", got[0].Value.Get(name).Str())
			_, err = NewStore(Open(p.pool, p.db.dialect)).Save(t.Context(), name, []byte(name), 0)
			require.NoError(t, err)
			quoted, err := p.db.dialect.Quote(name)
			require.NoError(t, err)
			p.exec("DROP TABLE " + quoted)
		}
		t.Logf("%d names taken, %d refused, %d values written", taken, refused, len(written))
		require.Greater(t, taken, 70)
		require.Positive(t, refused)
		require.Greater(t, len(written), 250)
		for _, r := range rowsOf(t, NewSource[row.Row](p.db, "vals")) {
			require.Equal(t, written[r.Value.Get("n").String()], r.Value.Get("id").Str())
		}
		require.Equal(t, "1", p.text("SELECT COUNT(*) FROM canary"))
	})
}
