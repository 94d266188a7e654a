package weaver_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// IDs are any bytes.
func TestLeasedIDs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newLeaseGroup(0)
		ids := []string{"", "\"", "\"a\"", "\xff", "\xfe", "ü", "a/b", "<&>", "\x00", "\\xff", "\"\\xff\""}
		for _, id := range ids {
			g.source.Add(id)
		}
		slices.Sort(ids)
		a := g.member(t, 0)
		synctest.Wait()
		require.Equal(t, ids, g.of(a))
		b := g.member(t, 0)
		after(leaseTTL)
		all := append(g.of(a), g.of(b)...)
		slices.Sort(all)
		require.Equal(t, ids, all)
		require.Equal(t, []int{6, 5}, g.sizes(a, b))
		g.check(t)
	})
}

func TestLeasedForeignRecord(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"":                                    "no record of leases",
		"\x01abc":                             "no record of leases",
		`{"version":2}`:                       "of version 2",
		`{"members":[]}`:                      "no record of leases",
		`{"members":{"x":{"holds":[1]}}}`:     "no record of leases",
		`{"members":{"x":{"holds":["\"a"]}}}`: "no record of leases",
	} {
		store := checkpoint.NewMemory()
		_, err := store.Save(t.Context(), "g/leases", []byte(value), 0)
		require.NoError(t, err)
		p := weaver.Copy[int](weaver.Leased(list(1), store, "g"), weavertest.NewSink[int]())
		err = p.Run(t.Context())
		require.ErrorContains(t, err, want, value)
		require.ErrorContains(t, err, `"g/leases"`)
	}
}

func FuzzLeaseRecord(f *testing.F) {
	f.Add([]byte(`{"version":1,"members":{"m1":{"session":"x","beat":3,"ttl_ns":1000,"holds":["a","\"\\xff\""],"done":["b"]},"m2":{}}}`))
	f.Add([]byte(`{"version":1,"members":{"me":{"session":"","holds":["a","b"]}}}`))
	f.Add([]byte(`{"version":1,"members":{"x":{"ttl_ns":-9223372036854775808,"holds":["a"]},"y":{"holds":["a"],"done":["a"]}}}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		synctest.Test(t, func(t *testing.T) {
			store := checkpoint.NewMemory()
			_, err := store.Save(t.Context(), "g/leases", value, 0)
			require.NoError(t, err)
			in := newSpoken()
			b := newBoard()
			l := &line{Store: store}
			src := weaver.Leased[string](in, l, "g")
			src.Owner = "me"
			m := b.join(t, src, l, 0)
			in.says <- adds("a", "b", "c")
			after(3 * leaseTTL)
			if m.failure() == nil && !slices.Equal(b.of(m), []string{"a", "b", "c"}) {
				require.Contains(t, string(value), "ttl_ns", "whoever is in the record is dead")
			}
			b.check(t)
		})
	})
}
