package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// database is a schema of the test's own.
func database(t *testing.T) string {
	t.Helper()
	address := os.Getenv("WEAVER_TEST_POSTGRES")
	if address == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("WEAVER_TEST_POSTGRES is not set: run make test")
		}
		t.Skip("needs a server: run internal/services/with postgres -- bash -c 'cd examples/postgres && go test .'")
	}
	c, err := pgx.Connect(t.Context(), address)
	require.NoError(t, err)
	schema := fmt.Sprintf("example_%x", rand.Uint64())
	_, err = c.Exec(t.Context(), "create schema "+schema)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx := context.Background()
		_, err := c.Exec(ctx, "drop schema "+schema+" cascade")
		require.NoError(t, err)
		require.NoError(t, c.Close(ctx))
	})
	return address + "&search_path=" + schema
}

// The example is stopped twice, and comes to its end with each day once.
func TestRun(t *testing.T) {
	t.Parallel()
	dsn, dir := database(t), filepath.Join(t.TempDir(), "weather")
	var report bytes.Buffer
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		require.NoError(t, run(ctx, dsn, dir, 1000, &report))
		cancel()
	}
	require.NoError(t, run(t.Context(), dsn, dir, 0, &report))
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
	require.NoError(t, run(t.Context(), dsn, dir, 0, &report))
	require.True(t, strings.HasPrefix(report.String(), "0 rows read"), report.String())
}

func TestNoDatabase(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, run(t.Context(), "", t.TempDir(), 0, nil), "-dsn")
}

func weatherOf(t *testing.T) string {
	t.Helper()
	text, err := data.ReadFile("data/seattle-weather.csv")
	require.NoError(t, err)
	return string(text)
}
