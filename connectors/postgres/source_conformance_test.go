package postgres

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/row"
	"github.com/bohica-labs/dataweaver/weavertest"
)

func TestSourceContract(t *testing.T) {
	t.Parallel()
	const n = 40
	p := newPlace(t)
	p.items(n)
	for _, ranges := range []int{1, 4} {
		for _, follow := range []bool{false, true} {
			for _, cursor := range []string{"", "at"} {
				t.Run(fmt.Sprint(ranges, follow, cursor), func(t *testing.T) {
					t.Parallel()
					want := map[string][]weaver.Record[item]{"": wantItems(1, n, cursor != "")}
					if ranges == 4 {
						want = map[string][]weaver.Record[item]{}
						for i := range 4 {
							want[fmt.Sprint(i+1, "/4")] = wantItems(i*n/4+1, (i+1)*n/4, cursor != "")
						}
					}
					require.NoError(t, weavertest.TestSource(t.Context(), weavertest.SourceCase[item]{
						New: func(context.Context) (weaver.Source[item], error) {
							s := NewSource[item](p.db(), "items")
							s.PageRows, s.Ranges, s.Follow, s.Cursor, s.PollEvery = 3, ranges, follow, cursor, 20*time.Millisecond
							return s, nil
						},
						Want: want, Endless: follow, Equal: sameItem, Patience: time.Minute,
					}))
				})
			}
		}
	}
}

func TestSourceContractRows(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.items(7)
	cols, err := row.NewColumns(row.Column{Name: "id"}, row.Column{Name: "name"}, row.Column{Name: "at"})
	require.NoError(t, err)
	var want []weaver.Record[row.Row]
	for _, r := range wantItems(1, 7, false) {
		want = append(want, weaver.Record[row.Row]{
			Value: row.Row{Columns: cols, Values: []row.Value{row.Int(r.Value.ID), row.Text(r.Value.Name), row.Time(r.Value.At)}},
			Key:   r.Key,
		})
	}
	for _, follow := range []bool{false, true} {
		require.NoError(t, weavertest.TestSource(t.Context(), weavertest.SourceCase[row.Row]{
			New: func(context.Context) (weaver.Source[row.Row], error) {
				s := NewSource[row.Row](p.db(), "items")
				s.PageRows, s.Follow, s.PollEvery = 2, follow, 20*time.Millisecond
				return s, nil
			},
			Want: map[string][]weaver.Record[row.Row]{"": want}, Endless: follow, Equal: sameRow, Patience: time.Minute,
		}))
	}
}
