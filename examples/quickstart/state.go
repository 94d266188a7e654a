package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	weaver "github.com/bohica-labs/dataweaver"
)

// State is what is known about a state in the end.
type State struct {
	State     string  `json:"state"`
	Flights   int     `json:"flights"`
	Routes    int     `json:"routes"`
	Longest   string  `json:"longest"`
	LongestKM float64 `json:"longest_km"`
}

// addUp is a processor with state: it sees every route before it has anything to say. The pipeline keeps its snapshots
// together with the positions, so that it goes on exactly where it was after a crash.
func addUp() weaver.Processor[Route, State] { return adder{} }

type adder struct{}

// OpenStage starts with what the last snapshot says, which is nothing at first.
func (adder) OpenStage(_ context.Context, at weaver.Lane) (weaver.Stage[Route, State], error) {
	s := &sums{byState: make(map[string]State)}
	if at.State == nil {
		return s, nil
	}
	return s, json.Unmarshal(at.State, &s.byState)
}

type sums struct{ byState map[string]State }

// Process adds a batch to the sums. At the end of the input it emits them.
func (s *sums) Process(_ context.Context, in *weaver.Batch[Route], out *weaver.Emitter[State]) error {
	for _, r := range in.Records {
		sum := s.byState[r.Value.From]
		sum.State = r.Value.From
		sum.Flights += r.Value.Count
		sum.Routes++
		if r.Value.KM > sum.LongestKM {
			sum.LongestKM, sum.Longest = r.Value.KM, fmt.Sprintf("%s to %s", r.Value.Origin, r.Value.Destination)
		}
		s.byState[sum.State] = sum
	}
	if in.End {
		for _, sum := range slices.SortedFunc(maps.Values(s.byState), func(a, b State) int { return b.Flights - a.Flights }) {
			out.Next(-1).Value = sum // made from state, not from one of the records
		}
		clear(s.byState)
	}
	return nil
}

// Snapshot makes this a weaver.Snapshotter.
func (s *sums) Snapshot() ([]byte, error) { return json.Marshal(s.byState) }
