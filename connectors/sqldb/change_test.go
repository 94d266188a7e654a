package sqldb

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// A table that is altered under a writer: what was committed stays, and what can't go on any more says why when it is opened again.
func TestSinkSchemaChanges(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		quoted := func(name string) string {
			q, err := p.db.dialect.Quote(name)
			require.NoError(t, err)
			return q
		}
		retyped := map[string]string{
			"mysql": "ALTER TABLE %s MODIFY COLUMN id INT NOT NULL", "postgres": "ALTER TABLE %s ALTER COLUMN id TYPE integer",
			"sqlite": "DROP INDEX IF EXISTS %s", // it can't
		}
		for _, c := range []struct {
			name, alter string
			broken      string // what the error says; "": it goes on
		}{
			{"added", "ALTER TABLE %s ADD COLUMN extra INTEGER", ""},
			{"retyped", retyped[p.name], ""},
			{"dropped", "ALTER TABLE %s DROP COLUMN " + quoted("name"), "name"},
			{"renamed column", "ALTER TABLE %s RENAME COLUMN " + quoted("name") + " TO other", "name"},
			{"renamed table", "ALTER TABLE %s RENAME TO " + quoted("gone "+p.name), "renamed_table"},
		} {
			table := map[string]string{"added": "added", "retyped": "retyped", "dropped": "dropped", "renamed column": "renamed_column", "renamed table": "renamed_table"}[c.name]
			p.createItems(table)
			sink := NewSink[item](p.db, table)
			open := func() (*writer[item], error) {
				w, err := sink.OpenWriter(t.Context(), weaver.Lane{Pipeline: table})
				if err != nil {
					return nil, err
				}
				_, err = w.(weaver.Checkpointer).Restore(t.Context())
				require.NoError(t, err)
				return w.(*writer[item]), nil
			}
			write := func(w *writer[item], n int) error {
				if err := w.Write(t.Context(), batchOf(itemRecord(n))); err != nil {
					return err
				}
				return w.Commit(t.Context(), []byte{byte(n)})
			}
			w, err := open()
			require.NoError(t, err)
			require.NoError(t, write(w, 1))
			p.exec(strings.Replace(c.alter, "%s", quoted(table), 1))
			err = write(w, 2)
			require.NoError(t, w.Close())
			if c.broken == "" {
				require.NoError(t, err, c.name)
				require.Equal(t, []string{"1", "2"}, p.lines("SELECT id FROM "+table+" ORDER BY id"))
				continue
			}
			require.Error(t, err, c.name)
			require.NotEqual(t, retry.ClassPoison, retry.ClassOf(err), "%s: no record is to blame: %v", c.name, err)
			_, err = open()
			require.ErrorContains(t, err, c.broken, c.name)
			require.Equal(t, retry.ClassFatal, retry.ClassOf(err), "%s: %v", c.name, err)
			if c.name == "renamed table" {
				table = quoted("gone " + p.name)
			}
			require.Equal(t, []string{"1"}, p.lines("SELECT id FROM "+table), "what was committed")
		}
	})
}
