package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The example is stopped twice, and comes to its end with each day once.
func TestRun(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "weather")
	var report bytes.Buffer
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		require.NoError(t, run(ctx, dir, 1000, &report))
		cancel()
	}
	require.NoError(t, run(t.Context(), dir, 0, &report))
	want := 0
	for line := range strings.Lines(weatherOf(t)) {
		if fields := strings.Split(line, ","); len(fields) > 1 && fields[1] != "0.0" && fields[0] != "date" {
			want++
		}
	}
	require.True(t, strings.HasSuffix(report.String(), fmt.Sprintf("the table holds 1461 days, %d of them wet\n", want)), report.String())
	rejected, err := os.ReadFile(filepath.Join(dir, "rejected.ndjson"))
	require.NoError(t, err)
	require.Equal(t, 2, bytes.Count(rejected, []byte("\n")), "%s", rejected)
	require.Contains(t, string(rejected), "the highest temperature of 2016-01-01 is 4.4, the lowest 7.2")

	report.Reset()
	require.NoError(t, run(t.Context(), dir, 0, &report))
	require.True(t, strings.HasPrefix(report.String(), "0 rows read"), report.String())
}

func weatherOf(t *testing.T) string {
	t.Helper()
	text, err := data.ReadFile("data/seattle-weather.csv")
	require.NoError(t, err)
	return string(text)
}
