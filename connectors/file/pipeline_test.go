package file

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
)

// TestCrashPipeline pulls the plug on a whole pipeline at every operation on its disk, starts it again on what is left, and requires that in the end each
// record is in the output once, and each that is poison in the dead letters at least once.
func TestCrashPipeline(t *testing.T) {
	t.Parallel()
	const records = 30
	var input strings.Builder
	want, poison := []string{}, 0
	input.WriteString("id,name,price\n")
	for i := range records {
		switch {
		case i%10 == 3:
			fmt.Fprintf(&input, "%d,%s,?\n", i, "bad")
			poison++
		case i%10 == 7:
			fmt.Fprintf(&input, "%d,%s,NaN\n", i, "not in JSON")
			poison++
		default:
			fmt.Fprintf(&input, "%d,\"a\nb\",%d\n", i, i)
			want = append(want, fmt.Sprintf(`{"id":%d,"name":"a\nb","price":%d}`, i, i))
		}
	}
	run := func(disk *durabletest.Disk, crashAt int) error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		disk.Fail(func(o durabletest.Op) error {
			if o.N >= crashAt {
				cancel()
				return durabletest.ErrPowerLoss
			}
			return nil
		})
		p := weaver.Copy(on(CSV[order]("in.csv"), disk), on(NDJSON[order]("out.ndjson"), disk))
		p.Name = "p"
		p.DeadLetter = on(NDJSON[weaver.Rejected[order]]("rejected.ndjson"), disk)
		p.BatchSize = 4
		p.CheckpointInterval = time.Nanosecond
		p.StopTimeout = time.Nanosecond
		p.Require = weaver.ExactlyOnce
		p.Scribble = true
		return p.Run(ctx)
	}
	begin := func() *durabletest.Disk { return newDisk(t, map[string]string{"in.csv": input.String()}) }

	disk := begin()
	require.NoError(t, run(disk, math.MaxInt))
	total := disk.Count()
	step := rounds(7, 1)
	for n := begin().Count(); n < total; n += step {
		for seed := range uint64(rounds(2, 8)) {
			disk := begin()
			_ = run(disk, n)
			after := disk.Crash(seed)
			_ = run(after, int(seed)*20+n%50)
			after = after.Crash(seed + 1)
			require.NoError(t, run(after, math.MaxInt), "at %d, seed %d", n, seed)
			require.Equal(t, strings.Join(want, "\n")+"\n", content(t, after, "out.ndjson"), "at %d, seed %d", n, seed)
			items, _ := drain(t, on(NDJSON[weaver.Rejected[order]]("rejected.ndjson"), after), nil, 0)
			require.GreaterOrEqual(t, len(items), poison)
		}
	}
}

func TestPipelineTwice(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"in": "a\nb\n"})
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	for range 3 {
		p := weaver.Copy(Lines(in), Lines(out))
		require.NoError(t, p.Run(t.Context()))
		items, _ := drain(t, Lines(out), nil, 0)
		require.Equal(t, []string{"a", "b"}, values(items))
	}
	p := weaver.Copy(Lines(in), Lines(filepath.Join(dir, "missing", "out")))
	err := p.Run(t.Context())
	require.ErrorContains(t, err, "make the folder first")
	var e *weaver.Error
	require.True(t, errors.As(err, &e))
	require.Equal(t, weaver.StageWrite, e.Stage)
	require.Contains(t, e.Connector, "file.Lines")
}
