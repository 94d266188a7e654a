package crash_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

// numbers returns those of a ledger.
func numbers(l crash.Ledger) []int64 {
	all := make([]int64, l.Records)
	for i := range all {
		all[i] = int64(i) + 1
	}
	return all
}

func TestCheckNumbers(t *testing.T) {
	t.Parallel()
	even := func(n int64) bool { return n%2 == 0 }
	for _, tt := range []struct {
		name  string
		rules crash.Rules
		items []int64
		want  []error
		text  string
		tally crash.Tally
	}{
		{name: "all", items: []int64{1, 2, 3, 4, 5, 6}, tally: crash.Tally{Wanted: 6, Items: 6}},
		{
			name: "lost", items: []int64{1, 2, 4, 6}, want: []error{crash.ErrLost}, tally: crash.Tally{Wanted: 6, Items: 4, Lost: 2},
			text: "crash: seed 7: of 6 records and 4 items: 2 lost, the first is record 3",
		},
		{
			name: "lost at the end", items: []int64{1, 2, 3, 4, 5}, want: []error{crash.ErrLost}, tally: crash.Tally{Wanted: 6, Items: 5, Lost: 1},
			text: "crash: seed 7: of 6 records and 5 items: 1 lost, the first is record 6",
		},
		{
			name: "nothing", want: []error{crash.ErrLost}, tally: crash.Tally{Wanted: 6, Lost: 6},
			text: "crash: seed 7: of 6 records and 0 items: 6 lost, the first is record 1",
		},
		{
			name: "doubled", items: []int64{1, 2, 3, 2, 3, 4, 5, 6}, want: []error{crash.ErrDoubled}, tally: crash.Tally{Wanted: 6, Items: 8, Doubled: 2},
			text: "crash: seed 7: of 6 records and 8 items: 2 doubled, the first is record 2 as item 4",
		},
		{name: "doubled, which is right", rules: crash.Rules{Repeats: true}, items: []int64{1, 2, 3, 2, 3, 4, 5, 6}, tally: crash.Tally{Wanted: 6, Items: 8, Doubled: 2}},
		{
			name: "an old one last", rules: crash.Rules{Repeats: true}, items: []int64{1, 2, 3, 4, 5, 6, 5}, want: []error{crash.ErrOrder},
			tally: crash.Tally{Wanted: 6, Items: 7, Doubled: 1, Order: 1},
			text:  "crash: seed 7: of 6 records and 7 items: 1 out of order, the first is record 5 as item 7 (it is the last one, and record 6 came before it)",
		},
		{
			name: "swapped", items: []int64{1, 3, 2, 4, 5, 6}, want: []error{crash.ErrOrder}, tally: crash.Tally{Wanted: 6, Items: 6, Order: 1},
			text: "crash: seed 7: of 6 records and 6 items: 1 out of order, the first is record 2 as item 3 (it comes after record 3)",
		},
		{name: "swapped, which is right", rules: crash.Rules{Order: crash.None}, items: []int64{6, 3, 2, 4, 5, 1}, tally: crash.Tally{Wanted: 6, Items: 6}},
		{
			name: "foreign", items: []int64{1, 2, 3, 4, 5, 6, 7, 0, -1}, want: []error{crash.ErrForeign}, tally: crash.Tally{Wanted: 6, Items: 9, Foreign: 3},
			text: "crash: seed 7: of 6 records and 9 items: 3 foreign, the first is record 7 as item 7",
		},
		{
			name: "what was to be left out", rules: crash.Rules{Only: even}, items: []int64{2, 3, 4, 6}, want: []error{crash.ErrForeign},
			tally: crash.Tally{Wanted: 3, Items: 4, Foreign: 1},
			text:  "crash: seed 7: of 3 records and 4 items: 1 foreign, the first is record 3 as item 2",
		},
		{
			name: "everything", items: []int64{1, 1, 5, 3, 9}, want: []error{crash.ErrLost, crash.ErrDoubled, crash.ErrOrder, crash.ErrForeign},
			tally: crash.Tally{Wanted: 6, Items: 5, Lost: 3, Doubled: 1, Order: 1, Foreign: 1},
			text: "crash: seed 7: of 6 records and 5 items: 3 lost, the first is record 2; 1 doubled, the first is record 1 as item 2; " +
				"1 out of order, the first is record 3 as item 4 (it comes after record 5); 1 foreign, the first is record 9 as item 5",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := crash.Ledger{Seed: 7, Records: 6}
			tally, err := l.Check(tt.rules, crash.Numbers(slices.Values(tt.items)))
			require.Equal(t, tt.tally, tally)
			requireKinds(t, err, tt.want...)
			if tt.text != "" {
				require.EqualError(t, err, tt.text)
			}
		})
	}
}

// requireKinds wants err to be all of kinds and no other.
func requireKinds(t *testing.T, err error, kinds ...error) {
	t.Helper()
	if len(kinds) == 0 {
		require.NoError(t, err)
		return
	}
	for _, kind := range []error{crash.ErrLost, crash.ErrDoubled, crash.ErrOrder, crash.ErrAltered, crash.ErrTorn, crash.ErrForeign} {
		require.Equal(t, slices.Contains(kinds, kind), errors.Is(err, kind), "%v: %v", kind, err)
	}
}

func TestCheckOrderPerKey(t *testing.T) {
	t.Parallel()
	l := crash.Ledger{Seed: seed(t), Records: 1000, Keys: 7}
	byKey := make(map[string][]int64)
	for r := range l.All() {
		byKey[r.Key] = append(byKey[r.Key], r.N)
	}
	require.Len(t, byKey, 7)
	rng := rand.New(rand.NewPCG(seed(t), 3))
	left := make(map[string][]int64)
	var keys []string
	for key, ns := range byKey {
		left[key] = ns
		keys = append(keys, key)
	}
	slices.Sort(keys)
	var items []int64
	for len(keys) > 0 {
		i := rng.IntN(len(keys))
		items = append(items, left[keys[i]][0])
		if left[keys[i]] = left[keys[i]][1:]; len(left[keys[i]]) == 0 {
			keys = slices.Delete(keys, i, i+1)
		}
	}
	_, err := l.Check(crash.Rules{Order: crash.PerKey}, crash.Numbers(slices.Values(items)))
	require.NoError(t, err)
	_, err = l.Check(crash.Rules{}, crash.Numbers(slices.Values(items)))
	requireKinds(t, err, crash.ErrOrder)

	ns := byKey[l.Record(1).Key]
	a, b := slices.Index(items, ns[3]), slices.Index(items, ns[4])
	items[a], items[b] = items[b], items[a]
	tally, err := l.Check(crash.Rules{Order: crash.PerKey}, crash.Numbers(slices.Values(items)))
	requireKinds(t, err, crash.ErrOrder)
	require.EqualValues(t, 1, tally.Order)
}

// Whatever is done to an output at random, Check counts it.
func TestCheckRandomDamage(t *testing.T) {
	t.Parallel()
	l := crash.Ledger{Seed: seed(t), Records: 300, Keys: 5}
	for round := range uint64(scale(300, 5000)) {
		rng := rand.New(rand.NewPCG(seed(t), round))
		items := numbers(l)
		want := crash.Tally{Wanted: l.Records}
		for range rng.IntN(4) {
			i := rng.IntN(len(items))
			items = slices.Delete(items, i, i+1)
			want.Lost++
		}
		for range rng.IntN(4) {
			items = slices.Insert(items, len(items), items[rng.IntN(len(items))])
			want.Doubled++
		}
		want.Items = int64(len(items))
		tally, err := l.Check(crash.Rules{}, crash.Numbers(slices.Values(items)))
		require.Equal(t, want, tally, "WEAVER_TEST_SEED=%d, round %d", seed(t), round)
		require.Equal(t, want.Lost > 0, errors.Is(err, crash.ErrLost))
		require.Equal(t, want.Doubled > 0, errors.Is(err, crash.ErrDoubled))
	}
}

func TestCheckStopsAtOtherErrors(t *testing.T) {
	t.Parallel()
	l := crash.Ledger{Records: 3}
	_, err := l.Check(crash.Rules{}, func(yield func(int64, error) bool) {
		_ = yield(1, nil) && yield(0, io.ErrClosedPipe) && yield(2, nil)
	})
	require.ErrorIs(t, err, io.ErrClosedPipe)
	require.ErrorContains(t, err, "after 1 items")
}
