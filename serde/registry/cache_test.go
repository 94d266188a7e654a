package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/retry"
)

// lookups counts what a cache asks for.
type lookups struct {
	mu   sync.Mutex
	made int
	err  error
	wait time.Duration
}

func (l *lookups) fetch(ctx context.Context) (*Schema, error) {
	l.mu.Lock()
	l.made++
	n, err := l.made, l.err
	l.mu.Unlock()
	if l.wait > 0 {
		if serr := retry.Sleep(ctx, l.wait); serr != nil {
			return nil, serr
		}
	}
	if err != nil {
		return nil, err
	}
	return &Schema{ID: n}, nil
}

func TestCacheRemembers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cache{size: 10, missing: 10 * time.Second}
		ask := func(k key, l *lookups) (*Schema, error) { return c.get(t.Context(), k, l.fetch) }

		var ids, latest lookups
		for range 3 {
			s, err := ask(key{what: byID, id: 1}, &ids)
			require.NoError(t, err)
			require.Equal(t, 1, s.ID)
			_, err = ask(key{what: byLatest, subject: "s"}, &latest)
			require.NoError(t, err)
			time.Sleep(freshLatest/2 + 1)
		}
		require.Equal(t, 1, ids.made, "for ever")
		require.Equal(t, 2, latest.made, "for a minute")

		none := lookups{err: fmt.Errorf("x: %w", ErrNotFound)}
		for range 5 {
			_, err := ask(key{what: byID, id: 404}, &none)
			require.ErrorIs(t, err, ErrNotFound)
			time.Sleep(3 * time.Second)
		}
		require.Equal(t, 2, none.made, "for ten seconds")

		out := lookups{err: errors.New("out")}
		for range 3 {
			_, err := ask(key{what: byID, id: 500}, &out)
			require.Equal(t, out.err, err)
		}
		require.Equal(t, 3, out.made, "not at all")
		require.Empty(t, c.flights)
	})
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := &cache{size: 3, missing: time.Hour}
	var l lookups
	for i := range 100 {
		_, err := c.get(t.Context(), key{what: byID, id: i}, l.fetch)
		require.NoError(t, err)
		_, err = c.get(t.Context(), key{what: byID, id: 0}, l.fetch)
		require.NoError(t, err)
	}
	require.Equal(t, 100, l.made, "what is used stays")
	require.Len(t, c.entries, 3)
	require.Equal(t, 3, c.recent.Len())
}

func TestCacheAsksOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, err := range []error{nil, errors.New("out")} {
			c := &cache{size: 10}
			l := lookups{wait: time.Second, err: err}
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					_, got := c.get(t.Context(), key{id: 7}, l.fetch)
					require.Equal(t, err, got)
				})
			}
			wg.Wait()
			require.Equal(t, 1, l.made)
		}
	})
}

// Whoever makes the lookup may give up: another one of those who wait makes it then. And whoever waits may give up as well.
func TestCacheGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cache{size: 10}
		l := lookups{wait: time.Hour}
		first, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = c.get(first, key{id: 7}, l.fetch) })
		synctest.Wait()
		wg.Go(func() {
			s, err := c.get(t.Context(), key{id: 7}, l.fetch)
			if err != nil || s.ID != 2 {
				t.Error(s, err)
			}
		})
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		_, err := c.get(short, key{id: 7}, l.fetch)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, retry.ClassTransient, retry.ClassOf(err))
		cancel()
		wg.Wait()
		require.Equal(t, 2, l.made)
	})
}

func TestCacheSurvivesAPanic(t *testing.T) {
	t.Parallel()
	c := &cache{size: 10}
	require.Panics(t, func() {
		_, _ = c.get(t.Context(), key{id: 7}, func(context.Context) (*Schema, error) { panic("x") })
	})
	var l lookups
	_, err := c.get(t.Context(), key{id: 7}, l.fetch)
	require.NoError(t, err)
}

// Data with more schemas than anybody has doesn't fill the memory.
func TestReadersAreBounded(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"schema":"{}","schemaType":"JSON"}`))
	}))
	defer server.Close()
	client := New(server.URL)
	defer client.Close()
	client.Schemas = 10
	c := JSON[int](client, nil, "")
	for id := range maxReaders + 50 {
		var v int
		require.NoError(t, c.Decode(append(appendHeader(nil, id), '7'), &v))
		require.Equal(t, 7, v)
	}
	require.Len(t, *c.readers.Load(), maxReaders)
	require.Len(t, client.cache.entries, 10)
}
