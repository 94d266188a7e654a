package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func rows(t *testing.T, name string) [][]string {
	t.Helper()
	f, err := os.Open(filepath.Join("data", name))
	require.NoError(t, err)
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	return all[1:]
}

// expected counts by hand, in loops, what the pipelines are to find out.
func expected(t *testing.T) (states map[string]State, rejected map[string]string, inside int) {
	t.Helper()
	airports := make(map[string][]string)
	for _, row := range rows(t, "airports.csv") {
		airports[row[0]] = row
	}
	states = make(map[string]State)
	rejected = map[string]string{ // those of flights-broken.csv, less the first row, which can be mended
		"SEA,PDX,many": `cannot unmarshal "many"`,
		"SEA,PDX":      "the row has 2 fields instead of 3",
		"SEA,XXX,5":    "there is no airport XXX",
		"SEA,GEG,-3":   "flown -3 times",
	}
	for _, row := range append(rows(t, "flights-airport.csv"), []string{"SEA", "PDX", "12"}) {
		from, to := airports[row[0]], airports[row[1]]
		for _, a := range [][]string{to, from} {
			if a[3] == "NA" {
				rejected[strings.Join(row, ",")] = "nobody knows which state " + a[0]
			}
		}
		if rejected[strings.Join(row, ",")] != "" {
			continue
		}
		if from[3] == to[3] {
			inside++
			continue
		}
		n, err := strconv.Atoi(row[2])
		require.NoError(t, err)
		s := states[from[3]]
		s.State = from[3]
		s.Flights += n
		s.Routes++
		s.LongestKM = max(s.LongestKM, angle(t, from, to)*6371)
		states[s.State] = s
	}
	return states, rejected, inside
}

// angle is that between two airports as seen from the centre of the earth, by the spherical law of cosines.
func angle(t *testing.T, a, b []string) float64 {
	t.Helper()
	var x [4]float64
	for i, s := range []string{a[5], a[6], b[5], b[6]} {
		deg, err := strconv.ParseFloat(s, 64)
		require.NoError(t, err)
		x[i] = deg * math.Pi / 180
	}
	return math.Acos(math.Sin(x[0])*math.Sin(x[2]) + math.Cos(x[0])*math.Cos(x[2])*math.Cos(x[3]-x[1]))
}

func TestRun(t *testing.T) {
	states, rejected, inside := expected(t)
	dir := t.TempDir()
	t.Chdir(t.TempDir()) // it doesn't matter where
	for range 2 {        // nor how often
		var out bytes.Buffer
		require.NoError(t, run(t.Context(), dir, &out))

		content, err := os.ReadFile(filepath.Join(dir, "states.ndjson"))
		require.NoError(t, err)
		last := math.MaxInt
		lines := strings.Split(strings.TrimSpace(string(content)), "\n")
		require.Len(t, lines, len(states))
		for _, line := range lines {
			var got State
			require.NoError(t, json.Unmarshal([]byte(line), &got))
			want := states[got.State]
			require.Equal(t, want.Flights, got.Flights, got.State)
			require.Equal(t, want.Routes, got.Routes, got.State)
			require.InDelta(t, want.LongestKM, got.LongestKM, 0.1, got.State)
			require.LessOrEqual(t, got.Flights, last, "the busiest first")
			last = got.Flights
		}

		require.Contains(t, out.String(), fmt.Sprintf("5371 rows read, %d routes within a state left out, %d rows rejected\n", inside, len(rejected)))
		_, letters, found := strings.Cut(out.String(), "Dead letters, in ")
		require.True(t, found)
		named := strings.Split(strings.TrimSpace(letters), "\n")[1:]
		require.Len(t, named, len(rejected))
		for row, why := range rejected {
			require.Contains(t, letters, fmt.Sprintf("  %-14s ", row))
			require.Contains(t, letters, why)
		}
	}
}

func TestRunInANewFolder(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("TMP", os.Getenv("TMPDIR")) // on Windows
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), "", &out))
	require.Contains(t, out.String(), "rows read")
}
