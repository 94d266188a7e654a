package weaver_test

import (
	"context"
	"encoding/binary"
	"io"
	"sync/atomic"
	"testing"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

type benchRec struct {
	ID     int64
	Name   string
	Amount float64
}

type benchSource struct {
	n   int64
	key []byte
}

type benchReader struct {
	benchSource
	next int64
	pos  [8]byte
}

func (s benchSource) OpenReader(context.Context, weaver.Lane) (weaver.Reader[benchRec], error) {
	return &benchReader{benchSource: s}, nil
}
func (r *benchReader) Ack(context.Context, weaver.Position) error { return nil }
func (r *benchReader) Close() error                               { return nil }
func (r *benchReader) Read(_ context.Context, b *weaver.Batch[benchRec]) (weaver.Position, error) {
	now := time.Now()
	for !b.Full() && r.next < r.n {
		rec := b.Add()
		rec.Value = benchRec{ID: r.next, Name: "x", Amount: float64(r.next)}
		rec.Key = r.key
		rec.Time = now
		rec.Seq = r.next
		r.next++
	}
	binary.BigEndian.PutUint64(r.pos[:], uint64(r.next))
	if r.next == r.n {
		return r.pos[:], io.EOF
	}
	return r.pos[:], nil
}

func benchPipeline(b *testing.B, size int, p weaver.Processor[benchRec, benchRec], obs *weaver.Observer) {
	b.ReportAllocs()
	sum := 0.0
	pl := weaver.NewPipeline[benchRec, benchRec](benchSource{int64(b.N), []byte("key-1")}, p,
		weaver.SinkFunc[benchRec](func(_ context.Context, b *weaver.Batch[benchRec]) error {
			for i := range b.Records {
				sum += b.Records[i].Value.Amount
			}
			return nil
		}))
	pl.BatchSize = size
	pl.Observer = obs
	if err := pl.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func tax(r benchRec) (benchRec, error) { r.Amount = r.Amount*1.07 + 3; return r, nil }

func BenchmarkPipelineMap512(b *testing.B) { benchPipeline(b, 512, weaver.Map(tax), nil) }
func BenchmarkPipelineMap1(b *testing.B)   { benchPipeline(b, 1, weaver.Map(tax), nil) }
func BenchmarkPipelineChain512(b *testing.B) {
	benchPipeline(b, 512, weaver.Then(weaver.Then(weaver.Map(tax), weaver.Filter(func(r benchRec) (bool, error) { return r.ID%16 != 0, nil })), weaver.Map(tax)), nil)
}

// What it costs to watch every batch.
func BenchmarkPipelineMap512Observed(b *testing.B) { benchPipeline(b, 512, weaver.Map(tax), watch()) }
func BenchmarkPipelineMap1Observed(b *testing.B)   { benchPipeline(b, 1, weaver.Map(tax), watch()) }

func watch() *weaver.Observer {
	var records atomic.Int64
	return &weaver.Observer{
		Batch:      func(i weaver.BatchInfo) { records.Add(int64(i.Records)) },
		Checkpoint: func(weaver.CheckpointInfo) {},
		Progress:   func(weaver.ProgressInfo) {},
	}
}
