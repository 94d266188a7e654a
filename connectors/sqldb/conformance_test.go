package sqldb

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/weavertest"
)

type item struct {
	ID   int64
	Name string
	Note *string
}

func itemRecord(i int) weaver.Record[item] {
	note := strings.Repeat("n", i)
	r := weaver.Record[item]{Value: item{ID: int64(i), Name: fmt.Sprintf("name %d", i)}}
	if i%2 == 0 {
		r.Value.Note = &note
	}
	return r
}

func (p *place) createItems(name string) {
	p.exec("CREATE TABLE " + name + " (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(100) NOT NULL, note VARCHAR(2000))")
}

func (p *place) items(ctx context.Context, table string) ([]weaver.Record[item], error) {
	rows, err := p.pool.QueryContext(ctx, "SELECT id, name, note FROM "+table+" ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []weaver.Record[item]
	for rows.Next() {
		var r weaver.Record[item]
		if err := rows.Scan(&r.Value.ID, &r.Value.Name, &r.Value.Note); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

func equalItems(a, b weaver.Record[item]) bool {
	if a.Value.ID != b.Value.ID || a.Value.Name != b.Value.Name || (a.Value.Note == nil) != (b.Value.Note == nil) {
		return false
	}
	return a.Value.Note == nil || *a.Value.Note == *b.Value.Note
}

// idle closes connections of the pool that wait for use.
func (p *place) idle() {
	p.pool.SetMaxIdleConns(0)
	p.pool.SetMaxIdleConns(2)
}

func TestSinkConformance(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Upsert, Insert} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			t.Parallel()
			everywhere(t, func(t *testing.T, p *place) {
				n := 0
				require.NoError(t, weavertest.TestSink(t.Context(), weavertest.SinkCase[item]{
					New: func(context.Context) (weaver.Sink[item], func(context.Context) ([]weaver.Record[item], error), error) {
						n++
						name := fmt.Sprintf("items%d", n)
						p.createItems(name)
						s := NewSink[item](p.db, name)
						s.Mode, s.Checkpoints = mode, fmt.Sprintf("checkpoints%d", n)
						return s, func(ctx context.Context) ([]weaver.Record[item], error) { return p.items(ctx, name) }, nil
					},
					Record: itemRecord,
					Poison: func() weaver.Record[item] {
						r := itemRecord(500)
						r.Value.Name = strings.Repeat("x", 101)
						if p.name == "sqlite" {
							r = weaver.Record[item]{Op: weaver.Delete}
						}
						return r
					},
					Equal:     equalItems,
					Unordered: true,
					Patience:  30 * time.Second,
					Idle:      p.idle,
				}))
			})
		})
	}
}

func TestSourceConformance(t *testing.T) {
	t.Parallel()
	for _, ranges := range []int{1, 3} {
		for _, follow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d ranges, follow %v", ranges, follow), func(t *testing.T) {
				t.Parallel()
				everywhere(t, func(t *testing.T, p *place) {
					want := map[string][]weaver.Record[item]{}
					p.createItems("items")
					const n = 30
					for i := range n {
						r := itemRecord(i)
						note := "NULL"
						if r.Value.Note != nil {
							note = "'" + *r.Value.Note + "'"
						}
						p.exec(fmt.Sprintf("INSERT INTO items VALUES (%d, '%s', %s)", i, r.Value.Name, note))
						split := ""
						if ranges > 1 {
							split = fmt.Sprintf("%d/%d", min((i-1)/9, 2)+1, ranges)
							if i == 0 {
								split = "1/3"
							}
						}
						r.Key = fmt.Append(nil, i)
						want[split] = append(want[split], r)
					}
					require.NoError(t, weavertest.TestSource(t.Context(), weavertest.SourceCase[item]{
						New: func(context.Context) (weaver.Source[item], error) {
							s := NewSource[item](p.db, "items")
							s.Ranges, s.Follow, s.PollEvery = ranges, follow, 10*time.Millisecond
							return s, nil
						},
						Want: want, Endless: follow, Equal: func(a, b weaver.Record[item]) bool { return equalItems(a, b) && string(a.Key) == string(b.Key) },
						Patience: 30 * time.Second, Idle: p.idle,
					}))
				})
			})
		}
	}
}

func TestStoreConformance(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		n := 0
		require.NoError(t, weavertest.TestCheckpointStore(t.Context(), weavertest.StoreCase{
			New: func(context.Context) (checkpoint.Store, error) {
				n++
				s := NewStore(p.db)
				s.Table = fmt.Sprintf("checkpoints%d", n)
				return s, nil
			},
			Reopen: func(_ context.Context, s checkpoint.Store) (checkpoint.Store, error) {
				again := NewStore(Open(p.pool, p.db.dialect))
				again.Table = s.(*Store).Table
				return again, nil
			},
			Patience: 30 * time.Second, Idle: p.idle,
		}))
	})
}
