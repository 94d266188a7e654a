package tables

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/row"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for says, w := range map[string]Wanted{
		"":                                  {Table: "t", Ranges: 1000},
		"neither a table nor a Query":       {},
		`both the table "t" and a Query`:    {Table: "t", Query: "SELECT 1", Key: []string{"a"}},
		"a Query needs Key":                 {Query: "SELECT 1"},
		"Ranges is 1001, at most 1000":      {Table: "t", Ranges: 1001},
		"both the table \"a\\x00b\" and a ": {Table: "a\x00b", Query: "SELECT 1"},
	} {
		if err := w.Check(); says == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, says)
		}
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	columns := []row.Column{
		{Name: "id", Kind: row.KindInt}, {Name: "name", Kind: row.KindText}, {Name: "at", Kind: row.KindTime}, {Name: "gone", Kind: row.KindBool},
	}
	fields := func(names []string) *row.Columns {
		require.Equal(t, []string{"id", "name", "at", "gone"}, names)
		c, err := row.NewColumns(row.Column{Name: "name"}, row.Column{Name: "missing"})
		require.NoError(t, err)
		return c
	}
	id, name := []string{"id"}, []string{"name"}
	for what, tt := range map[string]struct {
		w     Wanted
		key   []string
		want  Selection
		shown []string
		says  string
	}{
		"all":                 {key: id, want: Selection{Columns: []int{0, 1, 2, 3}, All: true, Key: []int{0}, Cursor: -1, Deleted: -1}, shown: []string{"id", "name", "at", "gone"}},
		"some":                {w: Wanted{Columns: []string{"at", "name"}}, key: id, want: Selection{Columns: []int{2, 1, 0}, Key: []int{2}, Cursor: -1, Deleted: -1}, shown: []string{"at", "name"}},
		"a struct":            {w: Wanted{Fields: fields, Deleted: "gone"}, key: name, want: Selection{Columns: []int{1, 3}, Key: []int{0}, Cursor: -1, Deleted: 1}, shown: name},
		"followed by its key": {w: Wanted{Columns: name, Follow: true}, key: id, want: Selection{Columns: []int{1, 0}, Key: []int{1}, Following: []int{1}, Cursor: 1, Deleted: -1}, shown: name},
		"followed by another": {w: Wanted{Columns: name, Follow: true, Cursor: "at"}, key: []string{"name", "id"}, want: Selection{Columns: []int{1, 0, 2}, Key: []int{0, 1}, Following: []int{2, 0, 1}, Cursor: 2, Deleted: -1}, shown: name},
		"a key of text":       {w: Wanted{Columns: name, Follow: true}, key: name, want: Selection{Columns: []int{1}, Key: []int{0}, Cursor: -1, Deleted: -1}, shown: name},
		"a key of two":        {w: Wanted{Columns: name, Follow: true}, key: []string{"id", "gone"}, want: Selection{Columns: []int{1, 0, 3}, Key: []int{1, 2}, Cursor: -1, Deleted: -1}, shown: name},
		"no such column":      {w: Wanted{Columns: []string{"x"}}, key: id, says: `there is no column "x", which Columns names`},
		"no such key":         {key: []string{"x"}, says: `there is no column "x", which Key names`},
		"no such cursor":      {w: Wanted{Cursor: "x"}, key: id, says: `there is no column "x", which Cursor names`},
		"no such mark":        {w: Wanted{Deleted: "x"}, key: id, says: `there is no column "x", which Deleted names`},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			got, err := tt.w.Select(columns, tt.key)
			if tt.says != "" {
				require.EqualError(t, err, tt.says)
				return
			}
			require.NoError(t, err)
			var shown []string
			for _, c := range got.Shown.All() {
				shown = append(shown, c.Name)
				require.Equal(t, c.Name == tt.key[0], c.Key && c.Name == tt.key[0])
			}
			require.Equal(t, tt.shown, shown)
			got.Shown = nil
			require.Equal(t, tt.want, got)
			require.Equal(t, tt.want.Key, got.Order(false))
			require.Equal(t, tt.want.Following, got.Order(true))
		})
	}
}

func TestSplits(t *testing.T) {
	t.Parallel()
	ranges := Ranges([][]row.Value{{row.Int(5)}})
	for _, tt := range []struct {
		ranges []Range
		want   []weaver.Split
	}{
		{nil, []weaver.Split{{Bounded: true}}},
		{ranges, []weaver.Split{{ID: "1/3", Bounded: true, Handle: ranges[0]}, {ID: "2/3", Bounded: true, Handle: ranges[1]}}},
	} {
		s := Splits(tt.ranges, 3, true)
		change, err := s.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, weaver.Change{Add: tt.want}, change)
		_, err = s.Next(t.Context())
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, s.Close())
	}
}
