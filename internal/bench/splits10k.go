package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

const (
	maxLanes = 256
	// engineGoroutines are those that are not lanes: writers, tickers, whoever waits for splits.
	engineGoroutines = 16
)

// splits10k is what it costs to open, read, acknowledge and close a split.
func splits10k() scenario {
	return scenario{
		name:    "splits-10k",
		what:    "10,000 bounded splits of one record each, with MaxLanes 256",
		records: 10_000,
		bars:    []bar{elapsedAtMost(100 * time.Millisecond), goroutinesAtMost(maxLanes + engineGoroutines)},
		ours:    runSplits,
	}
}

func runSplits(n int) (outcome, error) {
	before := runtime.NumGoroutine()
	source, sink := &manySplits{n: n}, &tally{}
	p := weaver.NewPipeline[Rec, Rec](source, weaver.Map(mapTaxedValue), sink)
	p.MaxLanes = maxLanes
	err := p.Run(context.Background())
	return outcome{
		goroutines: int(source.peak.Load()) - before,
		verify: func() error {
			if acked := source.acked.Load(); sink.count != n || acked != int64(n) {
				return fmt.Errorf("of %d splits %d arrived, %d are acknowledged", n, sink.count, acked)
			}
			return nil
		},
	}, err
}

// manySplits has n splits of one record, and watches how many goroutines there are whenever one is read.
type manySplits struct {
	n     int
	acked atomic.Int64
	peak  atomic.Int64
}

func (m *manySplits) Splits(context.Context) (weaver.Splits, error) {
	return &splitList{n: m.n}, nil
}

type splitList struct {
	n    int
	told bool
}

func (l *splitList) Next(context.Context) (weaver.Change, error) {
	if l.told {
		return weaver.Change{}, io.EOF
	}
	l.told = true
	add := make([]weaver.Split, l.n)
	for i := range add {
		add[i] = weaver.Split{ID: strconv.Itoa(i), Bounded: true}
	}
	return weaver.Change{Add: add}, nil
}

func (l *splitList) Close() error { return nil }

func (m *manySplits) OpenReader(_ context.Context, at weaver.Lane) (weaver.Reader[Rec], error) {
	id, err := strconv.ParseInt(at.Split.ID, 10, 64)
	return &splitReader{source: m, id: id}, err
}

type splitReader struct {
	source *manySplits
	id     int64
}

func (r *splitReader) Read(_ context.Context, b *weaver.Batch[Rec]) (weaver.Position, error) {
	for now := int64(runtime.NumGoroutine()); ; {
		peak := r.source.peak.Load()
		if now <= peak || r.source.peak.CompareAndSwap(peak, now) {
			break
		}
	}
	rec := b.Add()
	rec.Value = recAt(r.id)
	rec.Seq = r.id
	return weaver.Position{1}, io.EOF
}

func (r *splitReader) Ack(context.Context, weaver.Position) error {
	r.source.acked.Add(1)
	return nil
}

func (r *splitReader) Close() error { return nil }
