package main

// memory1 is the cost of the engine where every record is a batch, as from a source that trickles.
func memory1() scenario {
	return scenario{
		name:     "memory-1",
		what:     "the same in batches of 1",
		records:  500_000,
		bars:     []bar{speedAtLeast(1.3)},
		ours:     func(n int) (outcome, error) { return runMemory(n, 1) },
		baseline: func(n int) (outcome, error) { return runHandwritten(n, 1, 1) },
	}
}
