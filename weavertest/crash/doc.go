// Package crash shows whether a pipeline survives kill -9.
//
// A test runs its own binary again as a child process, which runs the pipeline. A [Plan] kills the child without a
// warning, again and again while the output grows, and starts it again each time, until it comes to its end by itself.
// A [Ledger] has made the numbered records of the input, so it knows what must have become of them: it counts what was
// lost, doubled, put out of order, altered or torn.
//
//	func TestOrdersSurvive(t *testing.T) {
//		child := crash.Child(t, func(ctx context.Context, dir string) error {
//			return orders(dir).Run(ctx) // in the child, which ends here
//		})
//		ledger := crash.Ledger{Seed: 1, Records: 100_000}
//		writeInput(t, child.Dir, ledger)
//		out := filepath.Join(child.Dir, "out.ndjson")
//		plan := crash.Plan{Kills: 20, Total: ledger.Records, Progress: crash.LastLine(out, number)}
//		_, err := plan.Run(t.Context(), child)
//		require.NoError(t, err)
//		_, err = ledger.Check(crash.Rules{}, ledger.Verified(crash.Lines(out, record)))
//		require.NoError(t, err)
//	}
//
// # What it doesn't show
//
// A killed process loses its memory and nothing else: what it had handed to the operating system is still written. So
// this says nothing about a loss of power, and an fsync that is missing goes unnoticed.
package crash
