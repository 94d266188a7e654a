package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMask(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"login user=ann password=hunter2 ok":      "login user=ann password=*** ok",
		`token: "a b", next`:                      "token: ***, next",
		"Authorization: Bearer abc.def":           "Authorization: Bearer ***",
		"card 4111 1111 1111 1111 declined":       "card ****1111 declined",
		"order 4111111111111112 is no card":       "order 4111111111111112 is no card",
		"https://x/?api_key=k1&page=2":            "https://x/?api_key=***&page=2",
		"nothing to hide, 12 of 34":               "nothing to hide, 12 of 34",
		"the secret=s3cr3t, and the passwd = 'x'": "the secret=***, and the passwd = ***",
	} {
		require.Equal(t, want, mask(given))
	}
}

// TestArchive writes a log and rotates it while it is followed, in two runs.
func TestArchive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log, out := filepath.Join(dir, "app.log"), filepath.Join(dir, "archive")
	n, before := 0, 0
	write := func(lines int) {
		f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		require.NoError(t, err)
		for range lines {
			_, err := fmt.Fprintf(f, "2026-11-%02dT10:00:00Z INFO shop: order %d, token=t%d\n", 20+n/100, n, n)
			require.NoError(t, err)
			n++
		}
		require.NoError(t, f.Close())
	}
	rotate := func() {
		for i := 5; i > 0; i-- {
			_ = os.Rename(fmt.Sprint(log, ".", i), fmt.Sprint(log, ".", i+1))
		}
		require.NoError(t, os.Rename(log, log+".1"))
	}
	run := func(during func()) {
		p, err := archive(log, out)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		during()
		due := int64(n - before)
		require.Eventually(t, func() bool { return p.Stats().Read.Records >= due }, time.Minute, 5*time.Millisecond)
		before = n
		cancel()
		<-done
	}
	write(50)
	run(func() {
		require.Eventually(t, func() bool { _, err := os.Stat(out); return err == nil }, time.Minute, time.Millisecond)
		write(50)
		time.Sleep(200 * time.Millisecond)
		rotate()
		write(50)
	})
	rotate() // while nobody looks
	write(100)
	run(func() { write(50) })

	seen := make(map[string]int)
	parts, err := filepath.Glob(filepath.Join(out, "*", "*.zst"))
	require.NoError(t, err)
	for _, part := range parts {
		f, err := os.Open(part)
		require.NoError(t, err)
		defer f.Close()
		unpacked, err := zstd.NewReader(f)
		require.NoError(t, err)
		defer unpacked.Close()
		for dec := json.NewDecoder(unpacked); ; {
			var e Event
			err := dec.Decode(&e)
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			seen[e.Message]++
		}
	}
	for i := range n {
		require.Equal(t, 1, seen[fmt.Sprintf("order %d, token=***", i)], i)
	}
	require.Len(t, seen, n)
	for _, day := range []string{"2026-11-20", "2026-11-21", "2026-11-22"} {
		require.DirExists(t, filepath.Join(out, day))
	}
}
