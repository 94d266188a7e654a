package tables

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/row"
)

func TestLastWins(t *testing.T) {
	t.Parallel()
	var l LastWins
	for range 3 {
		l.Reset()
		keys := []string{"a", "b", "a", "", "c", "a", "", "b\x00"}
		for _, k := range keys {
			l.Add(func(dst []byte) []byte { return append(dst, k...) })
		}
		var replaced []int
		for i := range keys {
			if l.Replaced(i) {
				replaced = append(replaced, i)
			}
		}
		require.True(t, l.Any())
		require.Equal(t, []int{0, 2, 3}, replaced)
		l.Reset()
		for i := range 1000 {
			l.Add(func(dst []byte) []byte { return strconv.AppendInt(dst, int64(i), 10) })
		}
		require.False(t, l.Any())
	}
}

func TestDeleteKey(t *testing.T) {
	t.Parallel()
	kinds := []row.Kind{row.KindInt, row.KindText}
	for name, test := range map[string]struct {
		values []row.Value
		key    []byte
		want   string
		fails  string
	}{
		"values":         {values: []row.Value{row.Int(5), row.Text("x")}, want: `["5","x"]`},
		"one is zero":    {values: []row.Value{row.Int(0), row.Text("x")}, key: []byte("ignored"), want: `["0","x"]`},
		"the key":        {values: []row.Value{row.Int(0), row.Text("")}, key: []byte(`["7","y"]`), want: `["7","y"]`},
		"no values":      {key: []byte(`["7",""]`), want: `["7",""]`},
		"nothing":        {values: []row.Value{{}, {}}, fails: "without a key"},
		"half":           {values: []row.Value{row.Int(1), {}}, fails: "NULL"},
		"another kind":   {values: []row.Value{row.Text("x"), row.Text("y")}, fails: "can't be converted"},
		"no key of ours": {key: []byte("7"), fails: "no JSON array"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := DeleteKey(nil, test.values, test.key, kinds)
			if test.fails != "" {
				require.ErrorContains(t, err, test.fails)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, string(row.AppendKey(nil, got...)))
		})
	}
}
