package weaver_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/retry"
)

func TestExactlyOnceIsRefused(t *testing.T) {
	t.Parallel()
	p := hushed(weaver.NewPipeline(intQueue{&ints{n: 5, acks: true}}, weaver.Map(pass), &kept{commits: true}))
	p.Require = weaver.ExactlyOnce
	require.ErrorContains(t, p.Run(t.Context()), "queue")

	for _, sink := range []weaver.Sink[int]{&sunk[int]{}, &kept{}} {
		p = hushed(weaver.NewPipeline(&ints{n: 5}, weaver.Map(pass), sink))
		p.Require = weaver.ExactlyOnce
		err := p.Run(t.Context())
		require.ErrorContains(t, err, "no Checkpointer")
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	}
	k := &kept{commits: true}
	p = hushed(weaver.NewPipeline(&ints{n: 5}, weaver.Map(pass), k))
	p.Require = weaver.ExactlyOnce
	require.NoError(t, p.Run(t.Context()))
	require.Equal(t, below(5), k.all())
}

// sums keeps a running sum and tells it at the end.
type sums struct{}

type sumStage struct{ sum int }

func (sums) OpenStage(_ context.Context, at weaver.Lane) (weaver.Stage[int, int], error) {
	return &sumStage{posInt(at.State)}, nil
}

func (s *sumStage) Process(_ context.Context, in *weaver.Batch[int], out *weaver.Emitter[int]) error {
	for i := range in.Records {
		s.sum += in.Records[i].Value
	}
	if in.End {
		out.Next(-1).Value = s.sum
	}
	return nil
}

func (s *sumStage) Snapshot() ([]byte, error) { return intPos(s.sum), nil }

func TestStateNeedsAKeeper(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]*weaver.Pipeline[int, int]{
		"nobody": weaver.NewPipeline(&ints{n: 5}, sums{}, weaver.Sink[int](&sunk[int]{})),
		"acker":  weaver.NewPipeline(&ints{n: 5, acks: true}, sums{}, weaver.Sink[int](&kept{})),
		"then":   weaver.NewPipeline(&ints{n: 5}, weaver.Then(weaver.Map(pass), weaver.Processor[int, int](sums{})), weaver.Sink[int](&sunk[int]{})),
		"queue":  weaver.NewPipeline(intQueue{&ints{n: 5, acks: true}}, sums{}, weaver.Sink[int](&kept{commits: true})),
	} {
		err := hushed(p).Run(t.Context())
		require.ErrorContains(t, err, "state", name)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err), name)
	}
}

func TestMissingParts(t *testing.T) {
	t.Parallel()
	source, sink := &ints{n: 1}, &sunk[int]{}
	for name, p := range map[string]*weaver.Pipeline[int, int]{
		"Source":    weaver.NewPipeline(nil, weaver.Map(pass), weaver.Sink[int](sink)),
		"Process":   weaver.NewPipeline(source, weaver.Processor[int, int](nil), weaver.Sink[int](sink)),
		"Sink":      weaver.NewPipeline(source, weaver.Map(pass), weaver.Sink[int](nil)),
		"a nil *S":  weaver.NewPipeline((*ints)(nil), weaver.Map(pass), weaver.Sink[int](sink)),
		"nil func":  weaver.NewPipeline(source, weaver.Processor[int, int](weaver.StageFunc[int, int](nil)), weaver.Sink[int](sink)),
		"nil funcs": weaver.NewPipeline(source, weaver.Map(pass), weaver.Sink[int](weaver.SinkFunc[int](nil))),
	} {
		require.ErrorContains(t, hushed(p).Run(t.Context()), "is nil", name)
	}
}

func TestNegativeNumbersAreRefused(t *testing.T) {
	t.Parallel()
	p := hushed(weaver.NewPipeline(&ints{n: 1}, weaver.Map(pass), &sunk[int]{}))
	p.BatchSize, p.Writers, p.StopTimeout, p.RateLimit.Records, p.Checkpoint = -1, -2, -3, -4, checkpoint.NewMemory()
	err := p.Run(t.Context())
	for _, field := range []string{"BatchSize is -1", "Writers is -2", "StopTimeout is -3", "RateLimit.Records is -4", "Name is empty"} {
		require.ErrorContains(t, err, field)
	}
}

func TestEmptySource(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, end := range []weaver.Position{nil, intPos(0)} {
			for _, sink := range []weaver.Sink[int]{&sunk[int]{}, &kept{}, &kept{commits: true}} {
				source := &ints{n: 0, acks: true}
				source.end = func() (weaver.Position, error) { return end, io.EOF }
				require.NoError(t, hushed(weaver.NewPipeline(source, weaver.Map(pass), sink)).Run(t.Context()))
			}
		}
	})
}

// parts is a source of so many bounded splits.
type parts struct {
	*ints
	ids    []weaver.Split
	failed int // how often Next fails first
}

type partSession struct{ s *parts }

func (s *parts) Splits(context.Context) (weaver.Splits, error) { return &partSession{s}, nil }

func (p *partSession) Next(context.Context) (weaver.Change, error) {
	if p.s.failed > 0 {
		p.s.failed--
		return weaver.Change{}, errOut
	}
	if p.s.ids == nil {
		return weaver.Change{}, io.EOF
	}
	add := p.s.ids
	p.s.ids = nil
	return weaver.Change{Add: add}, nil
}

func (*partSession) Close() error { return nil }

func TestNoSplits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sink := &sunk[int]{}
		source := &parts{ints: &ints{n: 5}, failed: 3}
		require.NoError(t, hushed(weaver.NewPipeline(source, weaver.Map(pass), sink)).Run(t.Context()))
		require.Empty(t, sink.all())
	})
}

func TestSplitAddedTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		source := &parts{ints: &ints{n: 5, every: time.Hour}, ids: []weaver.Split{{ID: "a"}, {ID: "a"}}}
		err := hushed(weaver.NewPipeline(source, weaver.Map(pass), &sunk[int]{})).Run(t.Context())
		require.ErrorContains(t, err, `"a"`)
		require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	})
}

// lettersOf is a dead-letter sink whose writers commit and don't flush.
type lettersOf struct {
	weaver.Sink[weaver.Rejected[int]]
}

type letterCommitter struct {
	weaver.Writer[weaver.Rejected[int]]
}

func (lettersOf) OpenWriter(context.Context, weaver.Lane) (weaver.Writer[weaver.Rejected[int]], error) {
	return letterCommitter{sunkWriter[weaver.Rejected[int]]{&sunk[weaver.Rejected[int]]{}}}, nil
}

func (letterCommitter) Due() bool                               { return false }
func (letterCommitter) Restore(context.Context) ([]byte, error) { return nil, nil }
func (letterCommitter) Commit(context.Context, []byte) error    { return nil }

// What is staged there would never be made durable.
func TestDeadLettersThatOnlyCommitAreRefused(t *testing.T) {
	t.Parallel()
	p := hushed(weaver.NewPipeline(&ints{n: 5}, weaver.Map(func(int) (int, error) { return 0, errOut }), &sunk[int]{}))
	p.DeadLetter = lettersOf{}
	require.ErrorContains(t, p.Run(t.Context()), "Flusher")
}
