package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

// memory is a source of n generated records in one split. It has one Reader a run, which remembers what was
// acknowledged.
type memory struct {
	n      int64
	keys   [][]byte // dealt out in turn; their number is a power of two
	reader memoryReader
}

func newMemory(n int) *memory {
	return &memory{n: int64(n), keys: [][]byte{[]byte("customer-17")}}
}

func (m *memory) OpenReader(_ context.Context, at weaver.Lane) (weaver.Reader[Rec], error) {
	if at.Position != nil {
		return nil, fmt.Errorf("opened again at %x: a benchmark must not recover", at.Position)
	}
	m.reader = memoryReader{memory: m}
	return &m.reader, nil
}

type memoryReader struct {
	*memory
	next     int64
	position [8]byte
	acked    uint64 // the last position
}

func (r *memoryReader) Read(_ context.Context, b *weaver.Batch[Rec]) (weaver.Position, error) {
	now, next := time.Now(), r.next
	for !b.Full() && next < r.n {
		rec := b.Add()
		rec.Value = recAt(next)
		rec.Key = r.keys[next&int64(len(r.keys)-1)]
		rec.Time = now
		rec.Seq = next
		next++
	}
	r.next = next
	binary.BigEndian.PutUint64(r.position[:], uint64(r.next))
	if r.next == r.n {
		return r.position[:], io.EOF
	}
	return r.position[:], nil
}

// Ack may run beside Read; acked is looked at after the pipeline has ended.
func (r *memoryReader) Ack(_ context.Context, p weaver.Position) error {
	r.acked = binary.BigEndian.Uint64(p)
	return nil
}

func (r *memoryReader) Close() error { return nil }

// tally is a sink that counts and adds up. It is its own, only Writer.
type tally struct {
	count int
	sum   float64
}

func (t *tally) OpenWriter(context.Context, weaver.Lane) (weaver.Writer[Rec], error) { return t, nil }

func (t *tally) Write(_ context.Context, b *weaver.Batch[Rec]) error {
	for i := range b.Records {
		t.count++
		t.sum += b.Records[i].Value.Amount
	}
	return nil
}

func (t *tally) Close() error { return nil }

// mapTaxedValue is taxed in the shape of weaver.Map.
func mapTaxedValue(r Rec) (Rec, error) { return taxed(r), nil }

// runMemory moves n records through one Map.
func runMemory(n, batchSize int) (outcome, error) {
	source, sink := newMemory(n), &tally{}
	p := weaver.NewPipeline[Rec, Rec](source, weaver.Map(mapTaxedValue), sink)
	p.BatchSize = batchSize
	err := p.Run(context.Background())
	return outcome{verify: func() error {
		return errors.Join(
			checkRun("weaver", n, sink.count, source.reader.acked),
			checkTotal("weaver", sink.sum, n),
		)
	}}, err
}

// checkRun reports records that did not arrive, or that were not acknowledged.
func checkRun(who string, n, arrived int, acked uint64) error {
	if arrived != n || acked != uint64(n) {
		return fmt.Errorf("%s: of %d records %d arrived, position %d is acknowledged", who, n, arrived, acked)
	}
	return nil
}
