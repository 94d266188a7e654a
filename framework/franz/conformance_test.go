package franz

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// hasty is a Framework whose members notice rebalances soon.
type hasty struct{ *Framework }

func (h hasty) Consume(stream, group string) weaver.Source[[]byte] {
	return quick(h.Consumer(stream, group))
}

func frameworkCase(addrs ...string) weavertest.FrameworkCase {
	return weavertest.FrameworkCase{
		New:      func(context.Context) (weaver.Framework, error) { return hasty{New(addrs...)}, nil },
		Prefix:   unique("franz-"),
		Patience: 40 * time.Second,
	}
}

func TestFrameworkOnFake(t *testing.T) {
	t.Parallel()
	require.NoError(t, weavertest.TestFramework(t.Context(), frameworkCase(fake(t).ListenAddrs()...)))
}

func TestFrameworkOnKafka(t *testing.T) {
	t.Parallel()
	require.NoError(t, weavertest.TestFramework(t.Context(), frameworkCase(broker(t))))
}

// TestSourceKeepsTheContract checks what Consumer opens, without a group: with one, a second session of a rule would share
// the partitions with the first.
func TestSourceKeepsTheContract(t *testing.T) {
	t.Parallel()
	for name, addr := range brokers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fw := open(t, addr(t))
			topic := stream(t, fw, 1)
			b := weaver.NewBatch[[]byte](0, 0)
			var want []weaver.Record[[]byte]
			for i := range 9 {
				*b.Add() = sample(i)
				want = append(want, sample(i))
			}
			write(t, fw.Produce(topic), b)
			require.NoError(t, weavertest.TestSource(t.Context(), weavertest.SourceCase[[]byte]{
				New: func(context.Context) (weaver.Source[[]byte], error) { return quick(fw.Consumer(topic, "")), nil },
				Want: map[string][]weaver.Record[[]byte]{
					topic + "/0": want,
				},
				Endless:  true,
				Patience: 20 * time.Second,
			}))
		})
	}
}
