package postgres

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

func TestDescribe(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(`CREATE TYPE mood AS ENUM ('sad', 'ok');
		CREATE DOMAIN positive AS numeric(10,2) CHECK (VALUE > 0);
		CREATE DOMAIN dear AS positive;
		CREATE TABLE a (
			id bigint GENERATED ALWAYS AS IDENTITY, "Na""me" varchar(10) NOT NULL DEFAULT 'x', price dear, moods mood[], prices dear[], i interval, ii interval[],
			twice bigint GENERATED ALWAYS AS (id * 2) STORED, dropped int, m mood, c "char", PRIMARY KEY ("Na""me", id));
		ALTER TABLE a DROP COLUMN dropped;
		CREATE UNIQUE INDEX ON a (price) INCLUDE (i);
		CREATE UNIQUE INDEX ON a (price) WHERE id > 1;
		CREATE UNIQUE INDEX ON a (abs(price));
		ALTER TABLE a ADD UNIQUE (m) DEFERRABLE;
		CREATE VIEW v AS SELECT 1 AS one`)
	conn, err := p.db().connect(t.Context(), session{})
	require.NoError(t, err)
	defer hangUp(conn)
	for _, schema := range []string{"", p.schema} {
		tab, err := describe(t.Context(), conn, schema, "a")
		require.NoError(t, err)
		require.Equal(t, p.schema, tab.schema)
		require.Equal(t, []string{"id", `Na"me`, "price", "moods", "prices", "i", "ii", "twice", "m", "c"}, tab.names())
		require.Equal(t, []string{`Na"me`, "id"}, tab.key)
		require.Equal(t, [][]string{{`Na"me`, "id"}, {"price"}}, tab.unique)
		require.True(t, tab.isUnique([]string{"id", `Na"me`}))
		require.False(t, tab.isUnique([]string{"id"}))
		var kinds []string
		for i := range tab.columns {
			c := tab.columns[i].row()
			kinds = append(kinds, c.Kind.String()+" "+c.Elem.String()+" "+c.Type)
		}
		require.Equal(t, []string{
			"int null bigint", "text null character varying(10)", "decimal null dear", "array text mood[]", "array decimal dear[]", "text null interval", "text null interval[]",
			"int null bigint", "text null mood", `text null "char"`,
		}, kinds)
		id, twice := tab.column("id"), tab.column("twice")
		require.True(t, id.identity && id.hasDefault && id.notNull && id.key && !id.generated)
		require.True(t, twice.generated && twice.hasDefault && !twice.identity)
		require.Equal(t, row.Column{Name: `Na"me`, Kind: row.KindText, Type: "character varying(10)", Key: true}, tab.column(`Na"me`).row())
		require.Equal(t, int32(10<<16|2+4), tab.column("price").typmod, "of the domain's domain")
		require.Nil(t, tab.column("dropped"))
	}
	v, err := describe(t.Context(), conn, "", "v")
	require.NoError(t, err)
	require.Equal(t, "v", v.relkind)

	for name, want := range map[string]string{"none": "no such table", p.schema + ".a": "no such table", "A": "no such table"} {
		_, err = describe(t.Context(), conn, "", name)
		require.ErrorIs(t, err, errNoTable)
		require.ErrorContains(t, err, want)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
}
