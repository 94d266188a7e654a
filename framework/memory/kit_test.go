package memory

import (
	"context"
	"io"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

func create(t *testing.T, fw *Framework, s weaver.Stream) {
	t.Helper()
	require.NoError(t, fw.CreateStream(t.Context(), s))
}

func batch(values ...string) *weaver.Batch[[]byte] {
	b := weaver.NewBatch[[]byte](0, 0)
	for _, v := range values {
		b.Add().Value = []byte(v)
	}
	return b
}

func keyed(key string, values ...string) *weaver.Batch[[]byte] {
	b := batch(values...)
	for i := range b.Records {
		b.Records[i].Key = []byte(key)
	}
	return b
}

func write(t *testing.T, fw *Framework, stream string, b *weaver.Batch[[]byte]) {
	t.Helper()
	w, err := fw.Produce(stream).OpenWriter(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	require.NoError(t, w.Write(t.Context(), b))
	require.NoError(t, w.Close())
}

func join(t *testing.T, c *Consumer) weaver.Splits {
	t.Helper()
	n, err := c.Splits(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = n.Close() })
	return n
}

func next(t *testing.T, n weaver.Splits) weaver.Change {
	t.Helper()
	c, err := n.Next(t.Context())
	require.NoError(t, err)
	return c
}

func ids(splits []weaver.Split) []string {
	var out []string
	for _, s := range splits {
		out = append(out, s.ID)
	}
	return out
}

// open opens a split as the engine does, handle included.
func open(t *testing.T, c *Consumer, sp weaver.Split, at weaver.Position) weaver.Reader[[]byte] {
	t.Helper()
	r, err := c.OpenReader(t.Context(), weaver.Lane{Split: sp, Position: at})
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func split(i int) weaver.Split { return weaver.Split{ID: strconv.Itoa(i)} }

// read returns the values of one Read.
func read(t *testing.T, r weaver.Reader[[]byte]) ([]string, weaver.Position) {
	t.Helper()
	b := weaver.NewBatch[[]byte](0, 0)
	p, err := r.Read(t.Context(), b)
	require.NoError(t, err)
	var out []string
	for _, rec := range b.Records {
		out = append(out, string(rec.Value))
	}
	return out, append(weaver.Position(nil), p...)
}

// rest reads what is there now.
func rest(t *testing.T, r weaver.Reader[[]byte]) []string {
	t.Helper()
	require.NoError(t, r.(weaver.Finisher).Finish(t.Context()))
	var out []string
	for {
		b := weaver.NewBatch[[]byte](2, 0)
		_, err := r.Read(t.Context(), b)
		for _, rec := range b.Records {
			out = append(out, string(rec.Value))
		}
		if err != nil {
			require.Equal(t, io.EOF, err)
			return out
		}
	}
}

func ack(t *testing.T, r weaver.Reader[[]byte], p weaver.Position) {
	t.Helper()
	require.NoError(t, r.(weaver.Acker).Ack(t.Context(), p))
}

// async calls f and returns where its error arrives.
func async(ctx context.Context, f func(context.Context) error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	return done
}
