package crash_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/weavertest/crash"
)

// The check of an output needs no more than the numbers that were found in it.
func ExampleLedger_Check() {
	ledger := crash.Ledger{Seed: 1, Records: 6}
	found := []int64{1, 2, 4, 5, 2, 6}

	tally, err := ledger.Check(crash.Rules{}, crash.Numbers(slices.Values(found)))
	fmt.Println(err)
	fmt.Println("lost", tally.Lost, errors.Is(err, crash.ErrLost))

	// At-least-once allows records to come twice, not to get lost.
	_, err = ledger.Check(crash.Rules{Repeats: true}, crash.Numbers(slices.Values(found)))
	fmt.Println(err)
	// Output:
	// crash: seed 1: of 6 records and 6 items: 1 lost, the first is record 3; 1 doubled, the first is record 2 as item 5
	// lost 1 true
	// crash: seed 1: of 6 records and 6 items: 1 lost, the first is record 3
}

// A test of a pipeline that copies lines. What a file says of the records is what a database would be asked for.
func ExampleChild() {
	test := func(t *testing.T) {
		child := crash.Child(t, func(ctx context.Context, dir string) error {
			p := weaver.Copy(file.Lines(dir+"/in"), file.Lines(dir+"/out"))
			p.RateLimit.Records = 50_000
			return p.Run(ctx)
		})
		ledger := crash.Ledger{Seed: 1, Records: 20_000}
		// … write child.Dir + "/in" …
		out := child.Dir + "/out"
		plan := crash.Plan{Total: ledger.Records, Progress: crash.LastLine(out, func(line []byte) (int64, error) {
			r, err := crash.ParseLine(line)
			return r.N, err
		})}
		report, err := plan.Run(t.Context(), child)
		if err != nil {
			t.Fatal(err)
		}
		t.Log(report)
		if _, err := ledger.Check(crash.Rules{}, ledger.Verified(crash.Lines(out, crash.ParseLine))); err != nil {
			t.Fatal(err)
		}
	}
	_ = test // TestPipelineSurvives(t *testing.T)
}
