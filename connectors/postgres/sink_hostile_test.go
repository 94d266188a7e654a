package postgres

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// hostileTexts are 300 names and values that mean something to a parser somewhere, all different.
func hostileTexts() []string {
	texts := []string{
		"", " ", "  ", "\t", "\n", "\r\n", "\x00", "a\x00b", "\x01", "\x7f", "'", "''", `"`, `""`, "`", `\`, `\\`, `\'`, `\"`, "$", "$$", "$1", "$tag$", "%", "%s", "%d%n", "{}", "{a,b}", "[]", "()", "(1,2)", ";", "--", "-- x", "/*", "*/", "/* x */",
		"a.b", ".", "..", "a b", "A", "É", "é", "e\u0301", "ü", "ß", "ı", "İ", "名前", "😀", "\u202e", "\u200b", "\ufeff", "\u2028", "\uffff", "\U0010ffff", "\xff", "\xc3\x28", "\xed\xa0\x80", "\xf8\x88\x80\x80\x80", "\xc0\x80", "\\.", "\\N", "NULL", "null", "true", "NaN",
		"select", "SELECT", "table", "user", "order", "group", "from", "where", "default", "primary", "references", "current_user", "all", "and", "array", "as", "case", "check", "column", "do", "else", "end", "false", "for", "grant", "having", "in", "into", "limit", "not", "offset", "on", "or", "some", "then", "to", "union", "unique", "using", "when", "with",
		"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "oid", "pg_class", "pg_catalog.pg_class", "information_schema.tables", "excluded", "r", "t", "f0", "a", "saved",
		"U&\"d\\0061t\"", "E'x'", "B'1'", "X'1F'", "1", "1a", "-1", "1.5", "a,b", "a;b", "a\tb", "1e5", "0x10", "+", "*", "a*", "a/b", "../../etc/passwd", "a:b", "a::int", "a=b", "a<b>", "a|b", "a&b", "a!b", "a?b", "a#b", "a@b", "a^b", "a~b", "http://x/?a=b&c=d", "<script>alert(1)</script>",
	}
	for _, injection := range []string{
		"DROP TABLE canary", "DELETE FROM canary", "UPDATE canary SET n = 2", "TRUNCATE canary", "INSERT INTO canary VALUES (9)", "ALTER TABLE canary RENAME TO gone", "SELECT pg_terminate_backend(pg_backend_pid())", "COMMIT; DROP TABLE canary",
	} {
		for _, form := range []string{
			"%s", "; %s; --", "'; %s; --", `"; %s; --`, `""; %s; --`, `\'; %s; --`, `\"; %s; --`, "x'); %s; --", `x"); %s; --`, "$$; %s; $$", "*/ %s /*", "\n%s\n", `a" (id) VALUES (1); %s; --`, "{'; %s}", "1::int); %s; --", "\\.\n%s;",
		} {
			texts = append(texts, fmt.Sprintf(form, injection))
		}
	}
	for _, n := range []int{62, 63, 64, 100, 1000, 8000} {
		texts = append(texts, strings.Repeat("x", n), strings.Repeat("\"", n), strings.Repeat("ü", n/2)+strings.Repeat("y", n%2))
	}
	seen := map[string]bool{}
	var all []string
	for _, text := range texts {
		if !seen[text] {
			seen[text] = true
			all = append(all, text)
		}
	}
	return all
}

// legalName reports whether PostgreSQL can have it as a name.
func legalName(s string) bool {
	return s != "" && len(s) <= 63 && utf8.ValidString(s) && !strings.Contains(s, "\x00")
}

// systemColumn reports whether every table has a column of that name, which nobody may make.
func systemColumn(s string) bool {
	return slices.Contains([]string{"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"}, s)
}

// TestHostileNames has 300 of them be tables, columns and data: each is quoted, or refused with an error that isn't the parser's, and none is carried out.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec("CREATE TABLE canary (n int); INSERT INTO canary VALUES (1)")
	texts := hostileTexts()
	require.GreaterOrEqual(t, len(texts), 300)
	refusals := 0
	for i, text := range texts {
		for _, mode := range []Mode{Upsert, Insert}[:1+(i+2)%3/2] {
			// As table, column and value at once, made by the sink.
			s := NewSink[row.Row](p.db(), text)
			s.Create, s.Mode, s.Schema, s.Checkpoints = true, mode, p.schema, "cp"
			if mode == Insert {
				s.Create = false // it is there
			}
			if text == "canary" || text == "cp" {
				continue
			}
			column, value := text, text
			if column == "id" {
				continue
			}
			cols, err := row.NewColumns(row.Column{Name: "id", Kind: row.KindInt, Key: true}, row.Column{Name: orText(column), Kind: row.KindText, Nullable: true})
			require.NoError(t, err)
			w, err := s.OpenWriter(t.Context(), weaver.Lane{Pipeline: text})
			if err == nil {
				_, err = w.(weaver.Checkpointer).Restore(t.Context())
				require.NoError(t, err, "%q is a pipeline's name", text)
				if err = w.Write(t.Context(), batchOf(row.Row{Columns: cols, Values: []row.Value{row.Int(int64(mode)), row.Text(value)}})); err == nil {
					err = w.(weaver.Checkpointer).Commit(t.Context(), []byte(text))
				}
				require.NoError(t, w.Close())
			}
			if !legalName(text) || systemColumn(text) {
				require.Error(t, err, "%q", text)
				require.Contains(t, []retry.Class{retry.ClassFatal, retry.ClassPoison}, retry.ClassOf(err), "%q: %v", text, err)
				require.NotContains(t, sqlState(err), "42601", "no syntax error: %q", text)
				refusals++
				continue
			}
			require.NoError(t, err, "%q", text)
			var got string
			require.NoError(t, p.conn.QueryRow(t.Context(), "SELECT "+quote(text)+" FROM "+qualified(p.schema, text)+" WHERE id = "+row.Int(int64(mode)).String()).Scan(&got))
			require.Equal(t, value, got)
		}
		if i%50 == 0 {
			require.Equal(t, "1", p.one("SELECT n FROM canary"))
		}
	}
	require.Positive(t, refusals)
	require.Equal(t, "1", p.one("SELECT n FROM canary"))
	require.Equal(t, []string{"canary"}, p.rows("SELECT relname FROM pg_class WHERE relname ~ '^(canary|gone)$' AND relnamespace = '"+p.schema+"'::regnamespace"))
}

// orText is a name for what can't be one in a Columns.
func orText(s string) string {
	if s == "" {
		return "x"
	}
	return s
}

// TestHostileValues has them be keys and values of one batch, which come back as they were, and keys of deletes.
func TestHostileValues(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec("CREATE TABLE canary (n int); INSERT INTO canary VALUES (1); CREATE TABLE t (id text PRIMARY KEY, v text[], j jsonb)")
	type values struct {
		ID string
		V  []string
		J  map[string]string
	}
	var good []values
	for _, text := range hostileTexts() {
		if utf8.ValidString(text) && !strings.Contains(text, "\x00") && len(text) < 2000 {
			good = append(good, values{ID: text, V: []string{text, text}, J: map[string]string{text: text}})
		}
	}
	w, _ := openWriter(t, NewSink[values](p.db(), "t"), "t")
	put(t, w, good...)
	for _, v := range good {
		var got, of string
		require.NoError(t, p.conn.QueryRow(t.Context(), "SELECT v[2], j->>$1::text FROM t WHERE id = $1::text", v.ID).Scan(&got, &of))
		require.Equal(t, v.ID, got)
		require.Equal(t, v.ID, of)
	}
	b := weaver.NewBatch[values](0, 0)
	for _, v := range good {
		r := b.Add()
		r.Op = weaver.Delete
		if r.Key = []byte(v.ID); len(r.Key) == 0 {
			b.Records = b.Records[:len(b.Records)-1] // no key at all
		}
	}
	require.NoError(t, w.Write(t.Context(), b))
	require.NoError(t, w.Commit(t.Context(), nil))
	require.Equal(t, "", p.one("SELECT id FROM t"))
	require.Equal(t, "1", p.one("SELECT n FROM canary"))
}
