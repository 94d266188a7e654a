package weaver_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
)

// seen is a deduplication: a bit a number, so its snapshot is as large as it is told to be.
type seen struct{ bits []byte }

func (s *seen) Process(_ context.Context, in *weaver.Batch[int], out *weaver.Emitter[int]) error {
	for i, r := range in.Records {
		at, bit := r.Value/8%len(s.bits), byte(1)<<(r.Value%8)
		if s.bits[at]&bit == 0 {
			s.bits[at] |= bit
			out.Next(i).Value = r.Value
		}
	}
	return nil
}

func (s *seen) Snapshot() ([]byte, error) { return bytes.Clone(s.bits), nil }

type dedup struct{ size int }

func (d dedup) OpenStage(_ context.Context, at weaver.Lane) (weaver.Stage[int, int], error) {
	if at.State != nil {
		return &seen{at.State}, nil
	}
	return &seen{make([]byte, d.size)}, nil
}

// A large state is saved less often instead of taking the lane's time: WEAVER_PROOF=1 does it with 200 MiB (the race detector multiplies it).
func TestProofLargeState(t *testing.T) {
	size, n := 16<<20, 2_000_000
	if os.Getenv("WEAVER_PROOF") != "" {
		size, n = 200<<20, 40_000_000
	}
	src := weaver.SourceFunc[int](func(_ context.Context, after weaver.Position, b *weaver.Batch[int]) (weaver.Position, error) {
		i := 0
		if after != nil {
			i = int(binary.BigEndian.Uint64(after))
		}
		for ; !b.Full() && i < n; i++ {
			b.Add().Value = i / 2 // each number twice
		}
		p := binary.BigEndian.AppendUint64(nil, uint64(i))
		if i == n {
			return p, io.EOF
		}
		return p, nil
	})
	count := 0
	p := weaver.NewPipeline(src, weaver.Processor[int, int](dedup{size}), weaver.SinkFunc[int](func(_ context.Context, b *weaver.Batch[int]) error {
		count += len(b.Records)
		return nil
	}))
	p.Name = "dedup"
	p.Checkpoint = checkpoint.NewMemory()
	p.CheckpointInterval = 10 * time.Millisecond
	saves := 0
	p.Observer = &weaver.Observer{Checkpoint: func(weaver.CheckpointInfo) { saves++ }}
	start := time.Now()
	require.NoError(t, p.Run(t.Context()))
	took := time.Since(start)
	require.Equal(t, n/2, count)
	require.Positive(t, saves)
	state, _, err := p.Checkpoint.Load(t.Context(), "dedup")
	require.NoError(t, err)
	require.Greater(t, len(state), size, "the snapshot is in the checkpoint")
	t.Log(strconv.Itoa(size>>20)+" MiB of state:", saves, "checkpoints in", took, "slowest", p.Stats().Checkpoint.Latency.Max)
}
