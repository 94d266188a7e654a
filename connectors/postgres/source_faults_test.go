package postgres

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// scissors stands between a client and a server, and cuts each connection after so many bytes from the server.
type scissors struct {
	listener net.Listener
	server   string
	wg       sync.WaitGroup

	mu    sync.Mutex
	after func() int64 // negative: never
	cuts  int
}

// cutAfter returns a URL by which the server is reached through scissors.
func cutAfter(t testing.TB, server string, after func() int64) (string, *scissors) {
	t.Helper()
	u, err := url.Parse(server)
	require.NoError(t, err)
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &scissors{listener: l, server: u.Host, after: after}
	s.wg.Go(s.accept)
	t.Cleanup(func() {
		_ = l.Close()
		s.wg.Wait()
	})
	u.Host = l.Addr().String()
	return u.String(), s
}

func (s *scissors) accept() {
	for {
		client, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() { s.serve(client) })
	}
}

func (s *scissors) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	var dialer net.Dialer
	server, err := dialer.DialContext(context.Background(), "tcp", s.server)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	s.mu.Lock()
	limit := s.after()
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	if limit < 0 {
		_, _ = io.Copy(client, server)
	} else if n, _ := io.CopyN(client, server, limit); n == limit {
		s.mu.Lock()
		s.cuts++
		s.mu.Unlock()
	}
	_ = client.Close()
	<-done
}

// TestSourceCut: whatever happens to connections, each row arrives once in a sink that is exactly-once.
func TestSourceCut(t *testing.T) {
	t.Parallel()
	const n = 20_000
	p := newPlace(t)
	p.items(n)
	for _, ranges := range []int{1, 3} {
		for _, follow := range []bool{false, true} {
			t.Run(fmt.Sprint(ranges, follow), func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(1, uint64(ranges)))
				left := 25
				address, cutter := cutAfter(t, p.url, func() int64 {
					if left--; left < 0 {
						return -1
					}
					return 2_000 + random.Int64N(200_000)
				})
				src := NewSource[item](DSN(address), "items")
				src.PageRows, src.Ranges, src.Follow, src.PollEvery, src.Plan = 1000, ranges, follow, tick, checkpoint.NewMemory()
				sink := weavertest.NewSink[item]()
				sink.Mode = weavertest.Transactional
				r := run(t, weaver.Source[item](src), weaver.Sink[item](sink), func(p *weaver.Pipeline[item, item]) { p.BatchSize = 100 })
				waitFor(t, sink, n)
				if follow {
					require.NoError(t, r.end())
				} else {
					require.NoError(t, <-r.done)
				}
				ids := map[int64]int{}
				for _, v := range sink.Values() {
					ids[v.ID]++
				}
				require.Len(t, ids, n)
				require.Len(t, sink.Values(), n)
				cutter.mu.Lock()
				t.Logf("%d cuts", cutter.cuts)
				require.Greater(t, cutter.cuts, 2)
				cutter.mu.Unlock()
			})
		}
	}
}

// TestSourceTerminated: sessions that an administrator ends are begun anew.
func TestSourceTerminated(t *testing.T) {
	t.Parallel()
	const n = 20_000
	p := newPlace(t)
	p.items(n)
	src := NewSource[item](DSN(withParameter(p.url, "application_name", p.schema)), "items")
	src.PageRows, src.Follow, src.PollEvery, src.Cursor, src.Slack = 200, true, tick, "at", tick
	sink := weavertest.NewSink[item]()
	sink.Mode = weavertest.Transactional
	r := run(t, weaver.Source[item](src), weaver.Sink[item](sink), func(p *weaver.Pipeline[item, item]) { p.BatchSize = 100 })
	ended := 0
	for began := time.Now(); time.Since(began) < 2*time.Second || ended == 0 && time.Since(began) < time.Minute; {
		ended += len(p.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '" + p.schema + "' AND state = 'active'"))
		time.Sleep(tick)
	}
	p.exec("INSERT INTO items (name) VALUES ('last')")
	waitFor(t, sink, n+1)
	require.NoError(t, r.end())
	require.Len(t, sink.Values(), n+1)
	t.Logf("%d sessions ended", ended)
	require.Positive(t, ended)
}

// TestSourceNoSecret: a password is in no error.
func TestSourceNoSecret(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	u, err := url.Parse(p.url)
	require.NoError(t, err)
	u.User = url.UserPassword("postgres", "canary-7331")
	for _, address := range []string{u.String(), strings.Replace(u.String(), u.Port(), "1", 1), u.String() + "&sslmode=wrong", "postgres://x:canary-7331@[::1/"} {
		_, err := NewSource[item](DSN(address), "items").OpenReader(t.Context(), lane(nil))
		require.Error(t, err)
		require.NotContains(t, err.Error(), "canary")
	}
}
