package kafka

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// broker returns the address of a real broker.
func broker(t testing.TB) string {
	t.Helper()
	addr := os.Getenv("WEAVER_TEST_KAFKA")
	if addr == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("WEAVER_TEST_KAFKA is not set: run make test, or internal/services/with kafka -- go test ./framework/kafka")
		}
		t.Skip("needs a broker: run internal/services/with kafka -- go test ./framework/kafka")
	}
	return addr
}

// quiet is a log nobody reads.
var quiet = slog.New(slog.DiscardHandler)

// unique names a topic or a group that nobody else uses.
func unique(t testing.TB) string {
	return fmt.Sprintf("kafka-%s-%x", strings.NewReplacer("/", "-", "#", "-").Replace(t.Name()), rand.Uint64())
}
