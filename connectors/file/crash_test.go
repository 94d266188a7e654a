package file

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
)

// testSeed repeats a run, and proof makes it long.
func testSeed(t *testing.T) uint64 {
	t.Helper()
	if s := os.Getenv("WEAVER_TEST_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		return n
	}
	return rand.Uint64()
}

func rounds(short, long int) int {
	if os.Getenv("WEAVER_PROOF") != "" {
		return long
	}
	return short
}

// history writes numbered records as the engine would, over failures and losses of power, and knows what must be there.
type history struct {
	t     *testing.T
	rng   *rand.Rand
	csv   bool
	tiny  bool // blocks, whose records are the lines of the others
	disk  *durabletest.Disk
	acked int // what a Commit that returned nil had
	tried int // what the last Commit had that was begun
}

// crashRow is longer for some, so that a record goes over sectors and buffers.
func crashRow(i int) []string {
	return []string{strconv.Itoa(i), strings.Repeat("x\n\"", i%97*i%3)}
}

// expected is what the file holds after n records.
func (h *history) expected(n int, committed bool) string {
	if !committed {
		return ""
	}
	out := []byte("number,text\n")
	if !h.csv {
		out = nil
	}
	for i := range n {
		if h.csv {
			out = appendRow(out, crashRow(i), ',')
		} else {
			out = fmt.Appendf(out, "%q\n", crashRow(i))
		}
	}
	return string(out)
}

// run takes the file over, checks it, and writes and commits until an error, which power that goes makes, or a random end.
func (h *history) run(steps int) error {
	if h.csv {
		f := on(CSV[[]string]("out"), h.disk)
		f.Columns = []string{"number", "text"}
		return life(h, f, steps, crashRow)
	}
	f := on(Lines("out"), h.disk)
	if h.tiny {
		f = on(tinyBlocks("out"), h.disk)
	}
	return life(h, f, steps, func(i int) []byte { return fmt.Appendf(nil, "%q", crashRow(i)) })
}

func life[T any](h *history, f *File[T], steps int, value func(int) T) error {
	f.BufferBytes = 1 + h.rng.IntN(2000)
	x, err := f.OpenWriter(h.t.Context(), weaver.Lane{Pipeline: "p"})
	if err != nil {
		return err
	}
	defer x.Close()
	w := x.(*writer[T])
	envelope, err := w.Restore(h.t.Context())
	if err != nil {
		return err
	}
	n := 0
	if envelope != nil {
		n = int(binary.BigEndian.Uint32(envelope))
	}
	require.GreaterOrEqual(h.t, n, h.acked, "a commit is lost")
	require.LessOrEqual(h.t, n, h.tried, "a commit of nothing")
	data, err := durable.ReadFile(h.disk, "out")
	if err != nil {
		return err
	}
	got := string(data)
	if h.tiny {
		got = tinyLines(h.t, got)
	}
	require.Equal(h.t, h.expected(n, envelope != nil), got, "after %d records", n)
	h.acked, h.tried = n, n
	for range steps {
		switch h.rng.IntN(4) {
		case 0:
			h.tried = n
			if err := w.Commit(h.t.Context(), binary.BigEndian.AppendUint32(nil, uint32(n))); err != nil {
				return err
			}
			h.acked = n
		default:
			b := weaver.NewBatch[T](0, 0)
			for range h.rng.IntN(8) {
				b.Add().Value = value(n)
				n++
			}
			if err := w.Write(h.t.Context(), b); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestCrashCheckpointer pulls the plug at every operation of random histories, several times in a row, and looks at what many seeds leave: the file holds the
// records of its envelope, each once, and no commit that returned is lost.
func TestCrashCheckpointer(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	for round := range rounds(1, 60) {
		for _, kind := range []string{"lines", "CSV", "blocks"} {
			begin := func() *history {
				return &history{t: t, rng: rand.New(rand.NewPCG(seed, uint64(round))), csv: kind == "CSV", tiny: kind == "blocks", disk: durabletest.New()}
			}
			h := begin()
			require.NoError(t, h.run(30))
			require.NoError(t, h.run(30))
			total := h.disk.Count()
			t.Logf("WEAVER_TEST_SEED=%d, round %d, %s: %d operations", seed, round, kind, total)
			for n := range total {
				h := begin()
				h.disk.CrashAt(n)
				if h.run(30) == nil {
					_ = h.run(30) // the last operation is a Close, which nobody waits for
				}
				for s := range uint64(rounds(2, 12)) {
					after := *h
					after.crashOn(s, 4)
				}
			}
		}
	}
}

// crashOn starts again on what a crash leaves, and crashes again, some times.
func (h *history) crashOn(seed uint64, times int) {
	h.disk = h.disk.Crash(seed)
	h.rng = rand.New(rand.NewPCG(seed, uint64(h.disk.Count())))
	for range times {
		h.disk.CrashAt(h.rng.IntN(60))
		err := h.run(20)
		for err == nil {
			err = h.run(20)
		}
		h.disk = h.disk.Crash(h.rng.Uint64())
	}
	require.NoError(h.t, h.run(10))
}

// TestCrashFlusher does the same with a writer that keeps no checkpoint: what was flushed is there, and whatever a crash leaves of the rest spoils no record that
// comes later.
func TestCrashFlusher(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	t.Logf("WEAVER_TEST_SEED=%d", seed)
	for round := range uint64(rounds(100, 20_000)) {
		rng := rand.New(rand.NewPCG(seed, round))
		disk := durabletest.New()
		flushed := map[string]bool{}
		next := 0
		for range 4 {
			disk.CrashAt(rng.IntN(80))
			for {
				if err := appendSome(t, disk, rng, &next, flushed); err != nil {
					break
				}
			}
			disk = disk.Crash(rng.Uint64())
		}
		require.NoError(t, appendSome(t, disk, rng, &next, flushed))
		items, _ := drain(t, on(CSV[[]string]("out"), disk), nil, 0)
		found := map[string]bool{}
		for _, i := range items {
			found[i.Value] = true
		}
		for v := range flushed {
			require.True(t, found[v], "%s of round %d is lost", v, round)
		}
	}
}

func appendSome(t *testing.T, disk *durabletest.Disk, rng *rand.Rand, next *int, flushed map[string]bool) error {
	t.Helper()
	f := on(CSV[[]string]("out"), disk)
	f.Columns = []string{"number", "text"}
	f.BufferBytes = 1 + rng.IntN(2000)
	x, err := f.OpenWriter(t.Context(), weaver.Lane{Resume: true})
	if err != nil {
		return err
	}
	defer x.Close()
	var accepted []string
	for range 10 {
		b := weaver.NewBatch[[]string](0, 0)
		for range rng.IntN(5) {
			b.Add().Value = crashRow(*next)
			accepted = append(accepted, show(crashRow(*next)))
			*next++
		}
		if err := x.Write(t.Context(), b); err != nil {
			return err
		}
		if rng.IntN(3) == 0 {
			if err := x.(weaver.Flusher).Flush(t.Context()); err != nil {
				return err
			}
			for _, v := range accepted {
				flushed[v] = true
			}
		}
	}
	return nil
}
