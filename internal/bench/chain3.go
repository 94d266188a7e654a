package main

import (
	"context"
	"fmt"

	weaver "github.com/bohica-labs/dataweaver"
)

// chain3 is what it costs to write three small processors rather than a large one.
func chain3() scenario {
	return scenario{
		name:    "chain-3",
		what:    "Then(Map, Filter, Map) against one MapRecord that does the same",
		records: 3_000_000,
		bars:    []bar{speedAtLeast(0.6)},
		ours: func(n int) (outcome, error) {
			return runChain(n, weaver.Then(
				weaver.Then(weaver.Map(mapTaxedValue), weaver.Filter(kept)),
				weaver.Map(mapTaxedValue),
			))
		},
		baseline: func(n int) (outcome, error) {
			return runChain(n, weaver.MapRecord(func(_ context.Context, in, out *weaver.Record[Rec]) error {
				r := taxed(in.Value)
				if ok, err := kept(r); err != nil || !ok {
					return weaver.ErrSkip
				}
				out.Value = taxed(r)
				return nil
			}))
		},
	}
}

// kept drops one record in 16.
func kept(r Rec) (bool, error) { return r.ID&15 != 3, nil }

func runChain(n int, p weaver.Processor[Rec, Rec]) (outcome, error) {
	source, sink := newMemory(n), &tally{}
	err := weaver.NewPipeline[Rec, Rec](source, p, sink).Run(context.Background())
	return outcome{verify: func() error {
		dropped := (n + 12) / 16
		if sink.count != n-dropped {
			return fmt.Errorf("weaver: %d records arrived, want %d", sink.count, n-dropped)
		}
		return checkRun("weaver", n, n, source.reader.acked)
	}}, err
}
