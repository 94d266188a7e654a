package crash_test

import (
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seed is WEAVER_TEST_SEED, or 1.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := os.Getenv("WEAVER_TEST_SEED")
	if s == "" {
		return 1
	}
	n, err := strconv.ParseUint(s, 10, 64)
	require.NoError(t, err)
	return n
}

// scale picks a size: the second with WEAVER_PROOF=1.
func scale[N int | int64](short, proof N) N {
	if os.Getenv("WEAVER_PROOF") == "1" {
		return proof
	}
	return short
}
