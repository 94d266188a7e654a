package file

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

// TestLargeFilesOfLines reads what is read into a batch's own memory: lines of any length, with all that isn't a plain line in between.
func TestLargeFilesOfLines(t *testing.T) {
	t.Parallel()
	for name, odd := range map[string]int{"plain": 0, "a few odd ones": 500, "many odd ones": 5} {
		for _, mean := range []int{20, 200, 3000} {
			t.Run(fmt.Sprintf("%s of %d", name, mean), func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(1, uint64(mean)))
				var data []byte
				var want []item
				const longest = 10_000
				for len(data) < 3<<20 {
					line := fmt.Appendf(nil, "%d:", len(want))
					line = append(line, bytes.Repeat([]byte{'a' + byte(len(want)%26)}, random.IntN(2*mean))...)
					end, reject := "\n", false
					if odd > 0 && random.IntN(odd) == 0 {
						switch random.IntN(4) {
						case 0:
							line = nil
						case 1:
							line = append([]byte("  "), line...)
						case 2:
							end = "\r\n"
						case 3:
							line, reject = bytes.Repeat([]byte("long"), longest), true
						}
					}
					want = append(want, item{Seq: int64(len(want) + 1), Value: string(line)})
					if reject {
						want[len(want)-1].Value = ""
					}
					data = append(append(data, line...), end...)
				}
				f := on(Lines("in"), newDisk(t, map[string]string{"in": string(data)}))
				f.MaxRecordBytes = longest
				for _, size := range []int{100, 512, 5000} {
					items, positions := drain(t, f, nil, size)
					require.True(t, slices.Equal(want, plainItems(items)))
					for range 5 {
						p := positions[random.IntN(len(positions))]
						items, _ := drain(t, f, p, size)
						rest := plainItems(items)
						require.True(t, slices.Equal(want[len(want)-len(rest):], rest))
						if len(rest) > 0 {
							m, err := parsePosition(p)
							require.NoError(t, err)
							require.Equal(t, m.line, rest[0].Seq)
						}
					}
				}
			})
		}
	}
}

// plainItems leaves out how rejected records look and puts them where they were.
func plainItems(items []item) []item {
	out := []item{}
	for _, i := range items {
		out = append(out, item{Seq: i.Seq, Value: i.Value})
	}
	slices.SortFunc(out, func(a, b item) int { return cmp.Compare(a.Seq, b.Seq) }) // rejects come last in their batch
	return out
}

// TestWhatWasReadIsRemembered is about what comes right before a position, which tells a file from another one.
func TestWhatWasReadIsRemembered(t *testing.T) {
	t.Parallel()
	var data []byte
	for i := range 50_000 {
		data = fmt.Appendf(data, "line %d\n", i)
	}
	f := on(Lines("in"), newDisk(t, map[string]string{"in": string(data)}))
	opened, err := f.OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	defer func() { require.NoError(t, opened.Close()) }()
	r, ok := weaver.As[*reader[[]byte]](opened)
	require.True(t, ok)
	b := weaver.NewBatch[[]byte](2000, 0)
	for err == nil {
		at := r.stream.in.offset
		require.Equal(t, string(data[max(0, at-pastBytes):at]), string(r.stream.in.past()), "before byte %d", at)
		b.Reset()
		_, err = r.Read(t.Context(), b)
	}
}
