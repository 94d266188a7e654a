package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// line is what a row is to become, put together by hand.
func line(row []string) string {
	number := func(s string) string { return strings.TrimSuffix(s, ".0") }
	return fmt.Sprintf(`{"date":%q,"rain_mm":%s,"high":%s,"low":%s,"wind":%s,"weather":%q}`+"\n",
		row[0], number(row[1]), number(row[2]), number(row[3]), number(row[4]), row[5])
}

func TestRun(t *testing.T) {
	t.Parallel()
	rows, err := csv.NewReader(bytes.NewReader(weather)).ReadAll()
	require.NoError(t, err)
	var want strings.Builder
	for _, row := range rows[1:] {
		want.WriteString(line(row))
	}

	out := filepath.Join(t.TempDir(), "days.ndjson")
	var report bytes.Buffer
	require.NoError(t, run(t.Context(), "", out, &report))
	requireFile(t, out, want.String())
	require.Equal(t, fmt.Sprintf("%d rows read, 0 rejected, the others are in %s\n", len(rows)-1, out), report.String())
}

// What has the wrong type is put aside, each row for itself, and a second run converts what was added.
func TestConvert(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.csv"), filepath.Join(dir, "out.ndjson")
	good := []string{"2012-02-29", "0.0", "-5.0", "1e1", "4.7", "sun"}
	rows := "date,precipitation,temp_max,temp_min,wind,weather\n" +
		"2012-02-30,0.0,1,1,1,sun\n" +
		strings.Join(good, ",") + "\n" +
		"2012-03-01,much,1,1,1,rain\n" +
		"2012-03-01,1,1,1,1,hail\n" +
		"2012-03-01,1,1,1\n"
	require.NoError(t, os.WriteFile(in, []byte(rows), 0o600))
	stats, err := convert(t.Context(), in, out)
	require.NoError(t, err)
	require.EqualValues(t, 4, stats.DeadLetter.Records)
	good[3] = "10"
	requireFile(t, out, line(good))

	rejected, err := os.ReadFile(out + ".rejected")
	require.NoError(t, err)
	letters := strings.Split(strings.TrimSuffix(string(rejected), "\n"), "\n")
	require.Len(t, letters, 4)
	for i, want := range []string{"day out of range", `"much"`, `"hail" is none of`, "4 fields instead of 6"} {
		var letter struct{ Error string }
		require.NoError(t, json.Unmarshal([]byte(letters[i]), &letter))
		require.Contains(t, letter.Error, want)
	}

	require.NoError(t, os.WriteFile(in, []byte(rows+"2012-03-02,0.1,1,1,1,fog\n"), 0o600))
	_, err = convert(t.Context(), in, out)
	require.NoError(t, err)
	requireFile(t, out, line(good)+line([]string{"2012-03-02", "0.1", "1", "1", "1", "fog"}))
}

func requireFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := strings.SplitAfter(string(got), "\n")
	for i, w := range strings.SplitAfter(want, "\n") {
		require.Less(t, i, len(lines))
		require.Equal(t, w, lines[i])
	}
	require.Len(t, lines, strings.Count(want, "\n")+1)
}
