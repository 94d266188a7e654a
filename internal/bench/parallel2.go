package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

// parallel2 shows that two workers do twice the work although order is kept.
func parallel2() scenario {
	return scenario{
		name:     "parallel-2",
		what:     "2 us of work a record on Parallelism 2, in order, against two bare goroutines with half of the range each",
		records:  200_000,
		bars:     []bar{speedAtLeast(0.95)},
		ours:     runParallel,
		baseline: runBare,
	}
}

const workMicros = 2

func runParallel(n int) (outcome, error) {
	spins := workMicros * spinsPerMicro()
	source, sink := newMemory(n), &orderedTally{}
	work := func(r Rec) (Rec, error) { return spun(r, spins), nil }
	p := weaver.NewPipeline[Rec, Rec](source, weaver.Map(work), sink)
	p.Parallelism = 2
	err := p.Run(context.Background())
	return outcome{verify: func() error {
		return errors.Join(
			checkRun("weaver", n, sink.count, source.reader.acked),
			checkSpun("weaver", sink.sum, n),
		)
	}}, err
}

func runBare(n int) (outcome, error) {
	spins := workMicros * spinsPerMicro()
	var sums [2]struct {
		total float64
		_     [120]byte // neither shares a cache line with the other
	}
	var wg sync.WaitGroup
	for half := range sums {
		wg.Go(func() {
			var total float64
			for i := n * half / 2; i < n*(half+1)/2; i++ {
				total += spun(recAt(int64(i)), spins).Amount
			}
			sums[half].total = total
		})
	}
	wg.Wait()
	return outcome{verify: func() error {
		return checkSpun("bare goroutines", sums[0].total+sums[1].total, n)
	}}, nil
}

// orderedTally is a tally that insists on order.
type orderedTally struct{ tally }

func (t *orderedTally) OpenWriter(context.Context, weaver.Lane) (weaver.Writer[Rec], error) {
	return t, nil
}

func (t *orderedTally) Write(ctx context.Context, b *weaver.Batch[Rec]) error {
	for i := range b.Records {
		if id := b.Records[i].Value.ID; id != int64(t.count+i) {
			return fmt.Errorf("out of order: record %d arrived as number %d", id, t.count+i)
		}
	}
	return t.tally.Write(ctx, b)
}

// spun works for a while on a record. What it adds is a small whole number, so that a sum has no rounding and doesn't
// depend on the order.
//
//go:noinline
func spun(r Rec, spins int) Rec {
	x := uint64(r.ID) | 1
	for range spins {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	// x is never 0, and the compiler doesn't know it.
	r.Amount = math.Min(float64(x), 1) + float64(r.ID&7)
	return r
}

func checkSpun(who string, sum float64, n int) error {
	var want float64
	for i := range n {
		want += 1 + float64(i&7)
	}
	if sum != want {
		return fmt.Errorf("%s: the sum is %v, want %v", who, sum, want)
	}
	return nil
}

// spinsPerMicro is how many rounds of spun take a microsecond here: the fastest of several tries, since whatever else
// runs only makes it slower.
var spinsPerMicro = sync.OnceValue(func() int {
	const rounds = 5_000_000
	fastest := time.Duration(math.MaxInt64)
	for id := range int64(9) {
		began := time.Now()
		spun(Rec{ID: id}, rounds)
		fastest = min(fastest, time.Since(began))
	}
	return max(1, int(rounds*time.Microsecond/fastest))
})
