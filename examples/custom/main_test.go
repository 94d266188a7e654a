package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	days, rainy := 0, 0
	for i, line := range strings.Split(strings.TrimSpace(weather), "\n") {
		if i == 0 {
			continue
		}
		days++
		if strings.Split(line, ",")[1] != "0.0" && !strings.HasPrefix(line, "2012-02-29") {
			rainy++
		}
	}
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Contains(t, out.String(), "rejected: 2012-02-29: 422 there is no day 2012-02-29\n")
	require.Contains(t, out.String(), fmt.Sprintf("%d days read, %d without rain, %d alerts posted\n", days, days-rainy-1, rainy))
}
