package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/json"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// want is what is to be printed, put together by hand.
func want(t *testing.T) []string {
	t.Helper()
	raw, err := data.ReadFile("data/seattle-weather.csv")
	require.NoError(t, err)
	rows, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	require.NoError(t, err)
	var lines []string
	for _, row := range rows[1:] {
		rain, err := strconv.ParseFloat(row[1], 64)
		require.NoError(t, err)
		wind, err := strconv.ParseFloat(row[4], 64)
		require.NoError(t, err)
		switch {
		case wind >= 8:
			lines = append(lines, fmt.Sprintf("%s: storm, %.1f m/s", row[0], wind))
		case rain >= 40:
			lines = append(lines, fmt.Sprintf("%s: flood, %.1f mm", row[0], rain))
		}
	}
	require.NotEmpty(t, lines)
	return lines
}

func TestInMemory(t *testing.T) {
	t.Parallel()
	check(t, Options{Framework: "memory"})
}

func TestOnKafka(t *testing.T) {
	t.Parallel()
	addr := os.Getenv("WEAVER_TEST_KAFKA")
	if addr == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("WEAVER_TEST_KAFKA is not set: run make test")
		}
		t.Skip("needs a broker: run internal/services/with kafka -- go test ./examples/kafka")
	}
	o := Options{Framework: "kafka", Brokers: addr, Prefix: fmt.Sprintf("example-%x-", rand.Uint64())}
	check(t, o)

	fw, err := open(o)
	require.NoError(t, err)
	var letters []weaver.Rejected[[]byte]
	p := weaver.NewPipeline(fw.Consume(o.Prefix+"weather-rejected", ""), serde.Decode(json.Codec[weaver.Rejected[[]byte]]{}),
		weaver.SinkFunc[weaver.Rejected[[]byte]](func(_ context.Context, b *weaver.Batch[weaver.Rejected[[]byte]]) error {
			for i := range b.Records {
				letters = append(letters, b.Records[i].Value)
			}
			return nil
		}))
	p.Bounded = true
	require.NoError(t, p.Run(t.Context()))
	require.NoError(t, fw.Close())
	require.Len(t, letters, 1)
	require.Contains(t, letters[0].Error, "leap day")
	require.Equal(t, o.Prefix+"weather", strings.Split(letters[0].Split, "/")[0])
}

func check(t *testing.T, o Options) {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), o, o.Prefix+"assess", false, &out))
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	slices.Sort(got)
	require.Equal(t, want(t), got)
}

func TestUnknownFramework(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, run(t.Context(), Options{Framework: "x"}, "g", false, nil), `-framework is "x"`)
}
