package checkpoint

import (
	"errors"
	"fmt"
	"path"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
)

// TestSaveInterrupted lets another process make some saves between any two operations of one save. The one must not succeed upon a version that was no longer
// current, and must not spoil what the others have saved.
func TestSaveInterrupted(t *testing.T) {
	t.Parallel()
	for _, before := range []int{0, 1, 2, 5} {
		for saves := 1; saves <= 5; saves++ {
			t.Run(fmt.Sprintf("%d after %d", saves, before), func(t *testing.T) {
				t.Parallel()
				conflicts, successes := 0, 0
				for n, done := 0, false; !done; n++ {
					disk := filled(t, before)
					at, mine := disk.Count()+n, Version(before+1)
					var upon Version // that the first of the others' saves replaced
					done = true
					disk.Fail(func(o durabletest.Op) error {
						if o.N != at {
							return nil
						}
						done = false
						others := on(disk, "data/positions")
						for i := range saves {
							_, v, err := others.Load(t.Context(), "k")
							require.NoError(t, err)
							if i == 0 {
								upon = v
							}
							_, err = others.Save(t.Context(), "k", fmt.Append(nil, "other ", i), v)
							require.NoError(t, err)
						}
						return nil
					})
					v, err := on(disk, "data/positions").Save(t.Context(), "k", []byte("mine"), Version(before))
					disk.Fail(nil)

					value, last, loadErr := on(disk, "data/positions").Load(t.Context(), "k")
					require.NoError(t, loadErr)
					if done {
						require.NoError(t, err)
						break
					}
					require.Equal(t, upon+Version(saves), last)
					require.Equal(t, fmt.Sprint("other ", saves-1), string(value))
					if err == nil {
						successes++
						require.Equal(t, mine, v)
						require.Equal(t, mine, upon, "the others came after it")
					} else {
						conflicts++
						require.ErrorIs(t, err, ErrConflict)
						if upon == mine { // which was current: only two who overtook it can have hidden that
							require.GreaterOrEqual(t, saves, 2)
						}
					}
					require.NoError(t, tidy(disk, "k"))
					_, err = on(disk, "data/positions").Save(t.Context(), "k", []byte("after"), last)
					require.NoError(t, err)
					require.NoError(t, tidy(disk, "k"))
				}
				require.Positive(t, conflicts)
				require.Positive(t, successes)
			})
		}
	}
}

// TestLoadInterrupted lets another process save between any two operations of a load: what that reads may be gone or replaced by then.
func TestLoadInterrupted(t *testing.T) {
	t.Parallel()
	for saves := range 4 {
		for n, done := 0, false; !done; n++ {
			disk := filled(t, 3)
			at := disk.Count() + n
			done = true
			disk.Fail(func(o durabletest.Op) error {
				if o.N != at {
					return nil
				}
				done = false
				for i := range saves {
					_, err := on(disk, "data/positions").Save(t.Context(), "k", fmt.Append(nil, i+4), Version(i+3))
					require.NoError(t, err)
				}
				return nil
			})
			value, v, err := on(disk, "data/positions").Load(t.Context(), "k")
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(v), string(value))
			require.GreaterOrEqual(t, v, Version(3))
		}
	}
}

// TestLoadOvertaken lets others save twice whenever a load has found a version to read, for a while: it goes after them.
func TestLoadOvertaken(t *testing.T) {
	t.Parallel()
	disk := filled(t, 1)
	next := Version(1)
	disk.Fail(func(o durabletest.Op) error {
		if o.Kind != durabletest.Stat || next > 8 || parseVersion(path.Base(o.Name)) != next {
			return nil
		}
		for range 2 {
			next++
			_, err := on(disk, "data/positions").Save(t.Context(), "k", nil, next-1)
			require.NoError(t, err)
		}
		return nil
	})
	_, v, err := on(disk, "data/positions").Load(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, Version(9), v)
}

// TestTempOfAnother leaves alone the temporary file of a save that is at work on the next version, and clears away those of saves that are lost.
func TestTempOfAnother(t *testing.T) {
	t.Parallel()
	disk := filled(t, 3)
	dir := on(disk, "data/positions").folder("k")
	for _, v := range []Version{2, 3, 4, 5} {
		_, err := dir.writeTemp(content{key: "k", version: v})
		require.NoError(t, err)
	}
	_, err := on(disk, "data/positions").Save(t.Context(), "k", nil, 3)
	require.NoError(t, err)
	l, err := dir.list()
	require.NoError(t, err)
	require.Equal(t, []Version{3, 4}, l.versions)
	require.Len(t, l.temps, 1)
	require.Equal(t, Version(5), parseTemp(l.temps[0]))
}

// TestNoLinksExclusive: where names are taken by rename, one of two who save upon the same version gets it.
func TestNoLinksExclusive(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	store := on(disk, "data/positions")
	inside := false
	disk.Fail(func(o durabletest.Op) error {
		if o.Kind != durabletest.Link {
			return nil
		}
		if !inside {
			inside = true
			_, err := store.Save(t.Context(), "k", []byte("other"), 0)
			require.NoError(t, err)
		}
		return errors.ErrUnsupported
	})
	_, err := store.Save(t.Context(), "k", []byte("mine"), 0)
	require.ErrorIs(t, err, ErrConflict)
	value, v, err := store.Load(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, Version(1), v)
	require.Equal(t, "other", string(value))
	require.NoError(t, tidy(disk, "k"))
}
