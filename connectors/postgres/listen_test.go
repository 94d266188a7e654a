package postgres

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// TestNotify: a notification wakes reading, also after the connection that waits for it was lost.
func TestNotify(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(lateTable)
	src := NewSource[late](DSN(withParameter(p.url, "application_name", p.schema)), "late")
	src.Follow, src.PollEvery, src.Notify = true, time.Minute, `late "rows"`
	sink := weavertest.NewSink[late]()
	r := run(t, weaver.Source[late](src), weaver.Sink[late](sink), nil)
	listening := "SELECT pid FROM pg_stat_activity WHERE application_name = '" + p.schema + "' AND query LIKE 'LISTEN%'"
	n := 0
	insert := func() time.Duration {
		n++
		began := time.Now()
		p.exec(`INSERT INTO late (name) VALUES ('x'); NOTIFY "late ""rows"""`)
		require.NoError(t, sink.Wait(t.Context(), n))
		return time.Since(began)
	}
	require.Eventually(t, func() bool { return len(p.rows(listening)) == 1 }, soon, tick)
	var latencies []time.Duration
	for range 20 {
		latencies = append(latencies, insert())
		time.Sleep(2 * tick)
	}
	slices.Sort(latencies)
	t.Logf("from INSERT to the sink: median %v, longest %v", latencies[10], latencies[19])
	require.Less(t, latencies[10], 10*time.Second, "it isn't the poll")

	before := p.one(listening)
	p.exec("SELECT pg_terminate_backend(" + before + ")")
	p.exec("INSERT INTO late (name) VALUES ('unheard')") // its notification, if there was one, is lost
	n++
	require.Eventually(t, func() bool { pids := p.rows(listening); return len(pids) == 1 && pids[0] != before }, soon, tick)
	require.NoError(t, sink.Wait(t.Context(), n)) // a listener that is back looks
	insert()
	require.NoError(t, r.end())
}

// TestNotifyDown: without a connection that listens, the table is polled.
func TestNotifyDown(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.exec(lateTable)
	url := withParameter(p.url, "application_name", p.schema)
	src := NewSource[late](DSN(url), "late")
	src.Follow, src.PollEvery, src.Notify = true, 20*time.Millisecond, "late"
	sink := weavertest.NewSink[late]()
	r := run(t, weaver.Source[late](src), weaver.Sink[late](sink), nil)
	done := make(chan struct{})
	killer := p.connect(p.url)
	go func() {
		defer close(done)
		for range 50 {
			_, _ = killer.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND query LIKE 'LISTEN%'", p.schema)
			time.Sleep(tick)
		}
	}()
	for i := range 10 {
		p.exec("INSERT INTO late (name) VALUES ('x')")
		require.NoError(t, sink.Wait(t.Context(), i+1))
	}
	<-done
	require.NoError(t, r.end())
}
