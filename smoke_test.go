package weaver_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/stretchr/testify/require"
)

func counting(n int) weaver.SourceFunc[int] {
	return func(_ context.Context, after weaver.Position, b *weaver.Batch[int]) (weaver.Position, error) {
		i := 0
		if after != nil {
			i = int(binary.BigEndian.Uint64(after))
		}
		for !b.Full() && i < n {
			b.Add().Value = i
			i++
		}
		pos := binary.BigEndian.AppendUint64(nil, uint64(i))
		if i == n {
			return pos, io.EOF
		}
		return pos, nil
	}
}

func TestSmoke(t *testing.T) {
	for _, bs := range []int{1, 7, 512} {
		var got []int
		fails := 0
		p := weaver.NewPipeline[int, int](counting(10000), weaver.Map(func(i int) (int, error) {
			if i%1000 == 7 {
				return 0, errors.New("bad")
			}
			return 2 * i, nil
		}),
			weaver.SinkFunc[int](func(_ context.Context, b *weaver.Batch[int]) error {
				fails++
				if fails%50 == 3 {
					return errors.New("outage")
				}
				for i := range b.Records {
					got = append(got, b.Records[i].Value)
				}
				return nil
			}))
		p.Retry = retry.Policy{Initial: 1, Max: 1}
		var dead []int
		p.DeadLetter = weaver.SinkFunc[weaver.Rejected[int]](func(_ context.Context, b *weaver.Batch[weaver.Rejected[int]]) error {
			for i := range b.Records {
				dead = append(dead, *b.Records[i].Value.Value)
			}
			return nil
		})
		p.BatchSize = bs
		require.NoError(t, p.Run(t.Context()))
		require.Len(t, got, 9990)
		require.Len(t, dead, 10)
		t.Logf("%+v", p.Stats())
	}
}
