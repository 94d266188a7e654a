package tested_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/examples/tested"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/weavertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rainy is n days with more rain from day to day: 0, 1, 2 mm and so on.
func rainy(n int) []tested.Day {
	days := make([]tested.Day, n)
	for i := range days {
		days[i] = tested.Day{Date: fmt.Sprintf("day %d", i), Rain: float64(i)}
	}
	return days
}

// What goes in, what comes out, and what is dead-lettered.
func TestWarnings(t *testing.T) {
	t.Parallel()
	days := weavertest.NewSource(
		tested.Day{Date: "mon", Rain: 12},
		tested.Day{Date: "tue", Rain: 31.5},
		tested.Day{Date: "wed", Rain: -1},
		tested.Day{Date: "thu", Rain: 30},
	)
	warnings, letters := weavertest.NewSink[tested.Warning](), weavertest.NewDeadLetters[tested.Day]()

	require.NoError(t, tested.Warnings(days, warnings, letters).Run(t.Context()))

	require.Equal(t, []tested.Warning{{"tue", 31.5}, {"thu", 30}}, warnings.Values())
	dead := letters.Values()
	require.Len(t, dead, 1)
	require.Equal(t, int64(2), dead[0].Seq) // counted from 0
	require.Equal(t, "it rained -1 mm", dead[0].Error)
	require.Equal(t, 4, days.Acked("")) // a record that was skipped or dead-lettered is done, too
}

// The sink is out for a good while. In a bubble of synctest the pipeline waits by a virtual clock.
func TestWarningsOutlastAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		warnings := weavertest.NewSink[tested.Warning]()
		warnings.Faults = []weavertest.Fault{{At: 10, Times: 20, Err: errors.New("connection refused")}}
		p := tested.Warnings(weavertest.NewSource(rainy(100)...), warnings, nil)
		p.BatchSize = 10

		start := time.Now()
		require.NoError(t, p.Run(t.Context()))

		require.Greater(t, time.Since(start), time.Minute)
		require.Len(t, warnings.Values(), 70) // those of 30 mm and more, each once
	})
}

// The sink refuses one record: that one is dead-lettered, and its neighbours are written.
func TestWarningsThatNobodyTakes(t *testing.T) {
	t.Parallel()
	warnings, letters := weavertest.NewSink[tested.Warning](), weavertest.NewDeadLetters[tested.Day]()
	warnings.Refuse = func(r weaver.Record[tested.Warning]) error {
		if r.Value.Rain == 50 {
			return retry.Permanent(errors.New("value out of range"))
		}
		return nil
	}
	require.NoError(t, tested.Warnings(weavertest.NewSource(rainy(100)...), warnings, letters).Run(t.Context()))
	require.Len(t, warnings.Values(), 69)
	require.Len(t, letters.Values(), 1)
	require.Equal(t, weaver.StageWrite, letters.Values()[0].Stage)
}

// The process is stopped on the way and started again. A sink that keeps the checkpoint together with the records makes
// that exactly-once.
func TestWarningsGoOnWhereTheyWere(t *testing.T) {
	t.Parallel()
	days := weavertest.NewSource(rainy(1000)...)
	days.Endless = true
	warnings := weavertest.NewSink[tested.Warning]()
	warnings.Mode = weavertest.Transactional
	warnings.DueEvery = 100

	ctx, stop := context.WithCancel(t.Context())
	go func() {
		_ = warnings.Wait(ctx, 200)
		stop()
	}()
	p := tested.Warnings(days, warnings, nil)
	p.BatchSize = 10
	require.NoError(t, p.Run(ctx)) // stopping is no error
	require.GreaterOrEqual(t, len(warnings.Values()), 200)

	days.Endless = false
	require.NoError(t, tested.Warnings(days, warnings, nil).Run(t.Context()))
	require.Len(t, warnings.Values(), 970)
	require.NoError(t, errors.Join(days.Check(), warnings.Check()))
}

// The same pipeline on real data, with the connectors that it has in production. What is expected is counted without
// any of them.
func TestWarningsInSeattle(t *testing.T) {
	t.Parallel()
	const path = "../custom/data/seattle-weather.csv"
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	var want []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		row := strings.Split(lines.Text(), ",")
		if mm, err := strconv.ParseFloat(row[1], 64); err == nil && mm >= 30 {
			want = append(want, fmt.Sprintf(`{"date":%q,"rain":%v}`, row[0], mm))
		}
	}
	require.NotEmpty(t, want)

	out := filepath.Join(t.TempDir(), "warnings.ndjson")
	require.NoError(t, tested.Warnings(file.CSV[tested.Day](path), file.NDJSON[tested.Warning](out), nil).Run(t.Context()))
	got, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, strings.Join(want, "\n")+"\n", string(got))
}
