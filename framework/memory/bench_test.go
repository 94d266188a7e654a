package memory

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
)

const benchBatch = 512

func benchRecords() *weaver.Batch[[]byte] {
	b := weaver.NewBatch[[]byte](0, 0)
	value := bytes.Repeat([]byte("v"), 200)
	for i := range benchBatch {
		r := b.Add()
		r.Value, r.Key = value, value[:1+i%16]
	}
	return b
}

// cycle returns a function that writes, reads and acknowledges one batch.
func cycle(tb testing.TB) func() {
	fw := New()
	fw.MaxBytes = 4 << 20
	ctx := context.Background()
	require.NoError(tb, fw.CreateStream(ctx, weaver.Stream{Name: "s"}))
	r, err := fw.Consume("s", "g").OpenReader(ctx, weaver.Lane{Split: split(0)})
	require.NoError(tb, err)
	w, err := fw.Produce("s").OpenWriter(ctx, weaver.Lane{})
	require.NoError(tb, err)
	in, out := benchRecords(), weaver.NewBatch[[]byte](benchBatch, 0)
	return func() {
		if err := w.Write(ctx, in); err != nil {
			tb.Fatal(err)
		}
		out.Reset()
		p, err := r.Read(ctx, out)
		if err != nil || len(out.Records) != benchBatch {
			tb.Fatal(len(out.Records), err)
		}
		if err := r.(weaver.Acker).Ack(ctx, p); err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkStream counts what a record costs from Write to Ack.
func BenchmarkStream(b *testing.B) {
	f := cycle(b)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		f()
		n += benchBatch
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
}

func BenchmarkRead(b *testing.B) {
	fw := New()
	require.NoError(b, fw.CreateStream(b.Context(), weaver.Stream{Name: "s"}))
	w, err := fw.Produce("s").OpenWriter(b.Context(), weaver.Lane{})
	require.NoError(b, err)
	for range 64 {
		require.NoError(b, w.Write(b.Context(), benchRecords()))
	}
	out := weaver.NewBatch[[]byte](benchBatch, 0)
	b.ReportAllocs()
	n := 0
	var r weaver.Reader[[]byte]
	for b.Loop() {
		if n%(64*benchBatch) == 0 {
			r, err = fw.Consume("s", "").OpenReader(b.Context(), weaver.Lane{Split: split(0)})
			require.NoError(b, err)
		}
		out.Reset()
		if _, err := r.Read(b.Context(), out); err != nil {
			b.Fatal(err)
		}
		n += len(out.Records)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
}

// TestAllocations holds the hot path to a few allocations a batch, none a record.
func TestAllocations(t *testing.T) {
	f := cycle(t)
	for range 100 {
		f()
	}
	require.Less(t, testing.AllocsPerRun(100, f), 20.0)
}
