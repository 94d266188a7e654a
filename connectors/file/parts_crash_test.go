package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
	"github.com/bohica-labs/dataweaver/retry"
)

// partHistory writes numbered records to parts as the engine would, over failures and losses of power, and knows what must be there.
type partHistory struct {
	t     *testing.T
	rng   *rand.Rand
	ext   string
	disk  *durabletest.Disk
	acked int // what a Commit that returned nil had
	tried int // what the last Commit had that was begun
}

// keyOf spreads records over four names.
func keyOf(i int) string { return []string{"a", "a", "b", "../c", "a", "d"}[i%6] }

func (h *partHistory) sink() *PartSink[[]byte] {
	p := Parts(on(h.each("root/{key}/x-{part}"+h.ext), h.disk))
	p.MaxRecords, p.MaxBytes, p.MaxOpen, p.MaxParts = int64(1+h.rng.IntN(12)), int64(50+h.rng.IntN(1000)), 1+h.rng.IntN(3), 1+h.rng.IntN(5)
	if h.rng.IntN(3) == 0 {
		p.MaxAge = 1 // all are old at each commit, and right behind
	}
	p.each.BufferBytes = 1 + h.rng.IntN(300)
	return p
}

func (h *partHistory) each(path string) *File[[]byte] {
	if strings.HasPrefix(h.ext, ".tiny") {
		return tinyBlocks(path)
	}
	return Lines(path)
}

// check finds each record below n once: in parts that are complete, or that the state names, in order within each name.
func (h *partHistory) check(n int, atEnd bool) {
	t := h.t
	t.Helper()
	names, data := complete(t, h.disk, "root")
	var listed []string
	for _, p := range partsOf(t, h.disk, "root") {
		name, err := filepath.Rel("root", p.Path)
		require.NoError(t, err)
		listed = append(listed, name)
		require.Equal(t, crcOf(content(t, h.disk, p.Path)), p.CRC32C)
	}
	slices.Sort(listed)
	require.Equal(t, names, listed, "the manifest has what is there")
	state, found, err := readState(h.disk, "root/.weaver/parts/state")
	require.NoError(t, err)
	require.True(t, found)
	if atEnd {
		require.Empty(t, state.Open)
		require.Empty(t, temps(t, h.disk, "root/.weaver/parts"))
	}
	require.Len(t, temps(t, h.disk, "root/.weaver/parts"), len(state.Open))
	for _, e := range state.Open {
		stored := content(t, h.disk, fmt.Sprintf("root/.weaver/parts/%d.part", e.Number))
		names = append(names, e.name())
		data[e.name()] = unpack(t, e.name(), stored)
	}
	slices.Sort(names)
	seen := map[int]bool{}
	last := map[string]int{}
	for _, name := range names {
		key := path.Dir(name)
		text := data[name]
		if strings.HasPrefix(h.ext, ".tiny") {
			text = tinyLines(t, text)
		}
		for line := range strings.Lines(text) {
			number, _, _ := strings.Cut(line, " ")
			i, err := strconv.Atoi(number)
			require.NoError(t, err)
			require.Equal(t, string(appendEscaped(nil, keyOf(i), 200)), key)
			require.False(t, seen[i], "record %d is there twice", i)
			require.Greater(t, i, last[key]-1, "out of order in %s", name)
			seen[i], last[key] = true, i
		}
	}
	require.Len(t, seen, n)
	for i := range n {
		require.True(t, seen[i], "record %d of %d is lost", i, n)
	}
}

// life takes the parts over, checks them, and writes and commits until an error, or a random end.
func (h *partHistory) life(steps int, end bool) error {
	x, err := h.sink().OpenWriter(h.t.Context(), weaver.Lane{Pipeline: "p"})
	if err != nil {
		return err
	}
	w := x.(*partWriter[[]byte])
	envelope, err := w.Restore(h.t.Context())
	if err != nil {
		return errors.Join(err, w.Close())
	}
	n := 0
	if envelope != nil {
		n = int(binary.BigEndian.Uint32(envelope))
	}
	require.GreaterOrEqual(h.t, n, h.acked, "a commit is lost")
	require.LessOrEqual(h.t, n, h.tried, "a commit of nothing")
	h.acked, h.tried = n, n
	dirty := false
	for range steps {
		if h.rng.IntN(3) == 0 {
			h.tried = n
			if err := w.Commit(h.t.Context(), binary.BigEndian.AppendUint32(nil, uint32(n))); err != nil {
				return errors.Join(err, w.Close())
			}
			h.acked, dirty = n, false
			continue
		}
		b := weaver.NewBatch[[]byte](0, 0)
		for range h.rng.IntN(8) {
			r := b.Add()
			r.Key, r.Value = []byte(keyOf(n)), fmt.Appendf(nil, "%d %s", n, strings.Repeat("x", n%97*n%60))
			n++
			dirty = true
		}
		if err := w.Write(h.t.Context(), b); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	if end && dirty {
		h.tried = n
		if err := w.Commit(h.t.Context(), binary.BigEndian.AppendUint32(nil, uint32(n))); err != nil {
			return errors.Join(err, w.Close())
		}
		h.acked = n
	}
	return w.Close()
}

// settled ends a history in good order and looks at everything.
func (h *partHistory) settled() {
	h.t.Helper()
	require.NoError(h.t, h.life(0, true)) // it takes up what is left, and publishes it
	h.check(h.acked, true)
	require.NoError(h.t, h.life(5, true))
	h.check(h.acked, true)
}

// TestCrashParts pulls the plug at every operation of random histories, and again at random ones of those that follow.
func TestCrashParts(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	for round := range rounds(1, 8) {
		for _, ext := range []string{"", ".gz", ".zst", ".tiny", ".tiny.gz"} {
			begin := func() *partHistory {
				return &partHistory{t: t, rng: rand.New(rand.NewPCG(seed, uint64(round))), ext: ext, disk: durabletest.New()}
			}
			h := begin()
			require.NoError(t, h.life(12, false))
			require.NoError(t, h.life(12, true))
			h.check(h.acked, true)
			total := h.disk.Count()
			t.Logf("WEAVER_TEST_SEED=%d, round %d, %q: %d operations", seed, round, ext, total)
			step := rounds(31, 1)
			for n := int(seed % uint64(step)); n < total; n += step {
				h := begin()
				h.disk.CrashAt(n)
				if h.life(12, false) == nil {
					_ = h.life(12, true)
				}
				for s := range uint64(rounds(2, 8)) {
					after := *h
					after.disk = h.disk.Crash(s)
					after.rng = rand.New(rand.NewPCG(s, uint64(n)))
					for range 2 {
						after.disk.CrashAt(after.rng.IntN(200))
						for after.life(8, false) == nil { // until the power goes
						}
						after.disk = after.disk.Crash(after.rng.Uint64())
					}
					after.settled()
				}
			}
		}
	}
}

// At whatever operation the disk is full or broken, for once, the error says so and the writer that is opened next goes on with nothing lost and nothing doubled.
func TestFailuresOfTheDiskOfParts(t *testing.T) {
	t.Parallel()
	begin := func() *partHistory {
		return &partHistory{t: t, rng: rand.New(rand.NewPCG(1, 1)), ext: ".zst", disk: durabletest.New()}
	}
	well := begin()
	for range 3 {
		require.NoError(t, well.life(10, true))
	}
	hit := map[string]bool{}
	for _, failure := range []error{syscall.ENOSPC, &durabletest.ShortWrite{Keep: 5, Err: syscall.ENOSPC}, syscall.EIO} {
		for _, n := range someOfEachKind(well.disk.Ops(), rounds(19, 1)) {
			h := begin()
			h.disk.Fail(func(o durabletest.Op) error {
				if o.N != n {
					return nil
				}
				hit[kindOf(o)] = true
				return failure
			})
			failed := false
			for range 3 {
				if err := h.life(10, true); err != nil {
					require.False(t, failed, "%v at %d: once is enough: %v", failure, n, err)
					require.ErrorIs(t, err, failure)
					require.Equal(t, retry.ClassUnmarked, retry.ClassOf(err), "%v at %d: %v", failure, n, err)
					require.Contains(t, err.Error(), "root", "it names what")
					failed = true
				}
			}
			h.disk.Fail(nil)
			h.settled()
		}
	}
	requireKinds(t, hit, map[string][]string{
		"part":  {durabletest.Create, durabletest.Open, durabletest.Write, durabletest.Sync, durabletest.Close, durabletest.Link, durabletest.Remove, durabletest.Stat},
		"new":   {durabletest.Create, durabletest.Write, durabletest.Sync, durabletest.Close},
		"state": {durabletest.Open, durabletest.Read, durabletest.Rename, durabletest.Close},
		"other": {durabletest.Mkdir, durabletest.SyncDir, durabletest.ReadDir},
	})
}

// kindOf says what an operation is, and whether it is one on a part, on what is being written to take another file's place, or on the state or sidecar that it becomes.
func kindOf(o durabletest.Op) string {
	name := path.Base(o.Name)
	if o.Kind == durabletest.Rename {
		name = path.Base(o.To)
	}
	switch {
	case strings.HasSuffix(name, ".part"):
		return o.Kind + " part"
	case strings.HasSuffix(name, ".tmp"):
		return o.Kind + " new"
	case name == "state", strings.HasSuffix(name, sidecarSuffix):
		return o.Kind + " state"
	}
	return o.Kind + " other"
}

// requireKinds requires that there were these operations among those that failed, as kindOf says them.
func requireKinds(t *testing.T, hit map[string]bool, want map[string][]string) {
	t.Helper()
	for what, kinds := range want {
		for _, kind := range kinds {
			require.True(t, hit[kind+" "+what], "%s %s never failed: %v", kind, what, slices.Sorted(maps.Keys(hit)))
		}
	}
}

// someOfEachKind returns the numbers of every so manyth operation, of the first two and the last of each kind, and of one that comes behind all.
func someOfEachKind(ops []durabletest.Op, every int) (some []int) {
	first, last := map[string]int{}, map[string]int{}
	for n, o := range ops {
		last[kindOf(o)] = n
	}
	for n, o := range ops {
		kind := kindOf(o)
		if first[kind]++; n%every == 0 || first[kind] <= 2 || last[kind] == n {
			some = append(some, n)
		}
	}
	return append(some, len(ops))
}

// The same with writers that keep no checkpoint: what was flushed is published, by the next opening at the latest, and nothing twice.
func TestCrashPartsShared(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	t.Logf("WEAVER_TEST_SEED=%d", seed)
	for round := range uint64(rounds(60, 6000)) {
		rng := rand.New(rand.NewPCG(seed, round))
		disk := durabletest.New()
		flushed := map[string]bool{}
		next := 0
		life := func() error {
			p := Parts(on(Lines("root/{part}.gz"), disk))
			p.MaxRecords = int64(1 + rng.IntN(10))
			p.each.BufferBytes = 1 + rng.IntN(200)
			x, err := p.OpenWriter(t.Context(), weaver.Lane{Resume: true})
			if err != nil {
				return err
			}
			var accepted []string
			for range 10 {
				for range rng.IntN(5) {
					v := fmt.Sprintf("record %d", next)
					next++
					if err := x.Write(t.Context(), lines(v)); err != nil {
						return errors.Join(err, x.Close())
					}
					accepted = append(accepted, v)
				}
				if rng.IntN(3) == 0 {
					if err := x.(weaver.Flusher).Flush(t.Context()); err != nil {
						return errors.Join(err, x.Close())
					}
					for _, v := range accepted {
						flushed[v] = true
					}
				}
			}
			return x.Close()
		}
		for range 4 {
			disk.CrashAt(rng.IntN(150))
			for life() == nil { // until the power goes
			}
			disk = disk.Crash(rng.Uint64())
		}
		require.NoError(t, life())
		if len(flushed) == 0 {
			continue
		}
		found := map[string]bool{}
		names, data := complete(t, disk, "root")
		for _, name := range names {
			for line := range strings.Lines(data[name]) {
				line = strings.TrimSuffix(line, "\n")
				require.False(t, found[line], "%s is there twice", line)
				found[line] = true
			}
		}
		for v := range flushed {
			require.True(t, found[v], "%s of round %d is lost", v, round)
		}
	}
}

// What one writer has cut off, another publishes without it, although the first never came to make that durable.
func TestPartsStayCut(t *testing.T) {
	t.Parallel()
	disk := durabletest.New()
	sink := func(buffer int) *PartSink[[]byte] {
		p := Parts(on(Lines("root/{part}"), disk))
		p.each.BufferBytes = buffer
		return p
	}
	w, _ := keepParts(t, sink(1), weaver.Lane{})
	require.NoError(t, w.Write(t.Context(), lines("a")))
	require.NoError(t, w.Commit(t.Context(), []byte("1")))
	require.NoError(t, w.Write(t.Context(), lines("lost")))
	disk = disk.Crash(1) // keeps what was not committed, too
	w, _ = keepParts(t, sink(1000), weaver.Lane{})
	require.NoError(t, w.Write(t.Context(), lines("lost again"))) // and never written
	require.NoError(t, w.Close())
	w, _ = keepParts(t, sink(1000), weaver.Lane{})
	require.NoError(t, w.Close())
	_, data := complete(t, disk.Crash(0), "root")
	require.Equal(t, map[string]string{"000001": "a\n"}, data)
}
