package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/internal/durable/durabletest"
)

// TestCrashPipeline pulls the plug on a whole pipeline at every operation on its disk, starts it again on what is left, and requires that in the end each
// record is in the output once, and each that is poison in the dead letters at least once.
func TestCrashPipeline(t *testing.T) {
	t.Parallel()
	const records = 30
	var input strings.Builder
	var want, poison []string
	input.WriteString("id,name,price\n")
	for i := range records {
		switch i % 10 {
		case 3:
			fmt.Fprintf(&input, "%d,bad,?\n", i)
			poison = append(poison, fmt.Sprintf("%d,bad,?", i))
		case 7:
			fmt.Fprintf(&input, "%d,not in JSON,0\n", i)
			poison = append(poison, fmt.Sprintf("%d,not in JSON,0", i))
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
		spoil := weaver.Map(func(o order) (order, error) {
			if o.Name == "not in JSON" {
				o.Price = math.NaN()
			}
			return o, nil
		})
		p := weaver.NewPipeline(on(CSV[order]("in.csv"), disk), spoil, on(NDJSON[order]("out.ndjson"), disk))
		p.Name = "p"
		p.DeadLetter = on(NDJSON[weaver.Rejected[order]]("rejected.ndjson"), disk)
		p.BatchSize = 4
		p.CheckpointInterval = time.Nanosecond
		p.StopTimeout = time.Nanosecond
		p.Require = weaver.ExactlyOnce
		p.Scribble = true
		p.Log = slog.New(slog.DiscardHandler)
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
			require.Subset(t, rejected(t, after), poison)
		}
	}
}

// rejected returns the input of all dead letters.
func rejected(t *testing.T, disk *durabletest.Disk) []string {
	t.Helper()
	r, err := on(NDJSON[weaver.Rejected[order]]("rejected.ndjson"), disk).OpenReader(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	defer r.Close()
	b := weaver.NewBatch[weaver.Rejected[order]](0, 0)
	_, err = r.Read(t.Context(), b)
	require.Equal(t, io.EOF, err)
	var all []string
	for _, rec := range b.Records {
		if v := rec.Value.Value; v != nil {
			all = append(all, fmt.Sprintf("%d,%s,%v", v.ID, v.Name, v.Price))
		} else {
			all = append(all, string(rec.Value.Raw))
		}
	}
	return all
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

func TestReadCheckpoint(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"in": "a\nbb\n"})
	out := filepath.Join(dir, "out")
	_, err := ReadCheckpoint(out)
	require.ErrorIs(t, err, fs.ErrNotExist)

	p := weaver.Copy(Lines(filepath.Join(dir, "in")), Lines(out))
	p.Name = "p"
	require.NoError(t, p.Run(t.Context()))
	c, err := ReadCheckpoint(out)
	require.NoError(t, err)
	require.NotEmpty(t, c.Envelope)
	c.Envelope = nil
	require.Equal(t, Checkpoint{Length: 5, Pipeline: "p", Epoch: 1}, c)

	realFile(t, out+sidecarSuffix, "damaged")
	_, err = ReadCheckpoint(out)
	require.ErrorContains(t, err, "is damaged")
}

func TestSeveralSplitsIntoOneFile(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"a.txt": "a\nb\n", "b.txt": "c\n"})
	f := Lines(filepath.Join(dir, "*.txt"))
	f.Parallel = true
	out := filepath.Join(dir, "out")
	p := weaver.Copy(f, weaver.Tee[[]byte](Lines(out)))
	p.Name = "p"
	p.Checkpoint = checkpoint.NewMemory()
	require.NoError(t, p.Run(t.Context()))
	require.NoError(t, p.Run(t.Context()), "again: all has been read")
	items, _ := drain(t, Lines(out), nil, 0)
	require.ElementsMatch(t, []string{"a", "b", "c"}, values(items))
}
