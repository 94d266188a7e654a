package memory

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

func TestPositionIsFixed(t *testing.T) {
	t.Parallel()
	p := make([]byte, positionBytes)
	encodePosition(p, 0x0102030405060708, 515)
	require.Equal(t, []byte{1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 2, 3}, p)
}

func FuzzPosition(f *testing.F) {
	f.Add([]byte{1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 2, 3})
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, positionBytes))
	f.Fuzz(func(t *testing.T, p []byte) {
		life, offset, err := decodePosition(weaver.Position(p))
		if err != nil {
			return
		}
		require.GreaterOrEqual(t, offset, int64(0))
		require.LessOrEqual(t, offset, int64(math.MaxInt64))
		again := make([]byte, positionBytes)
		encodePosition(again, life, offset)
		require.Equal(t, p, again)
	})
}
