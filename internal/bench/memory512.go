package main

// memory512 is the cost of the engine itself where batches are full.
func memory512() scenario {
	return scenario{
		name:     "memory-512",
		what:     "memory source, Map, counting sink in batches of 512, against the hand-written engine",
		records:  5_000_000,
		bars:     []bar{speedAtLeast(0.85), allocsAtMost(0.001)},
		ours:     func(n int) (outcome, error) { return runMemory(n, 512) },
		baseline: func(n int) (outcome, error) { return runHandwritten(n, 512, 1) },
	}
}
