// Package weavertest helps to test what is built on weaver: mocks of both ends of a pipeline, and suites that check
// whether a connector keeps its contract.
//
// # Testing a pipeline
//
// [Source] and [Sink] stand in for the real ends. A Source is given records, a Sink keeps what is written; both
// misbehave where a [Fault] tells them to and take note of what was opened, read, acknowledged, written and closed:
//
//	source := weavertest.NewSource(1, 2, 3)
//	sink := weavertest.NewSink[string]()
//	sink.Faults = []weavertest.Fault{{At: 1, Times: 3, Err: errors.New("connection refused")}}
//	p := weaver.NewPipeline(source, weaver.Map(format), sink)
//	err := p.Run(ctx)
//	// compare sink.Values()
//
// A Sink is plain, a weaver.Flusher or a weaver.Checkpointer (Sink.Mode); a Checkpointer fences earlier owners, and
// what it has committed outlives its writers, so that exactly-once can be tested by running a pipeline again.
// [NewDeadLetters] makes a Sink for Pipeline.DeadLetter. Check, of both, tells what the caller did that the contract
// forbids, which matters to whoever drives connectors without a Pipeline.
//
// # Time
//
// Nothing here, and nothing in the engine, needs the real clock. Inside of [testing/synctest.Test] a pipeline that
// sits out an outage with backoffs of minutes runs in milliseconds, and always in the same way:
//
//	synctest.Test(t, func(t *testing.T) {
//		sink.Faults = []weavertest.Fault{{Times: 20, Err: errors.New("connection refused")}}
//		start := time.Now()
//		require.NoError(t, p.Run(t.Context()))
//		require.Greater(t, time.Since(start), 2*time.Minute) // of the virtual clock
//	})
//
// An endless pipeline is run in a goroutine; Sink.Wait and Source.WaitAcked tell when it has come far enough to be
// stopped. Connectors that do real I/O cannot be used there: a goroutine that waits for a network keeps the clock still.
//
// # Testing a connector
//
// [TestSource], [TestSink], [TestFramework] and [TestCheckpointStore] are to connectors what testing/fstest.TestFS is to
// file systems. Each takes a case that says how to make what is tested, checks one rule of the contract after the
// other, and returns nil or the first broken rule as a [*RuleError]:
//
//	func TestContract(t *testing.T) {
//		err := weavertest.TestSource(t.Context(), weavertest.SourceCase[Order]{New: newSource, Want: want})
//		require.NoError(t, err)
//	}
//
// A rule that cannot apply is left out by its name (Skip). Run the suites with the race detector: some rules make calls
// beside each other only for its sake.
package weavertest
