package weaver

import (
	"math/bits"
	"sync"
	"time"

	"github.com/bohica-labs/dataweaver/retry"
)

// Stats is a snapshot of a pipeline: plain values, the caller's own.
type Stats struct {
	Pipeline   string
	Read       StageStats
	Process    StageStats
	Write      StageStats
	Checkpoint StageStats // flush, commit, store and acknowledgement
	DeadLetter StageStats
	Filtered   int64 // inputs of which nothing became
	InFlight   InFlight
	Recoveries int64       // lanes opened again at their last durable checkpoint
	Lanes      []LaneStats // that are open, by split
}

// InFlight is what was read and is not yet written.
type InFlight struct {
	Batches int
	Bytes   int64
}

// StageStats are the counters of one stage, over all lanes, since Run began.
type StageStats struct {
	Batches int64
	Records int64 // that went well
	Bytes   int64 // beside the records themselves
	Errors  ErrorCounts
	Retries int64
	Latency Latency // of a batch; of tiny ones that are quick only a sample is timed
}

// ErrorCounts counts errors by class; unmarked ones count as what they were taken for.
type ErrorCounts struct {
	Transient, Throttled, Poison, Fatal int64
}

// Latency tells percentiles, exact to an eighth.
type Latency struct {
	P50, P95, P99, Max time.Duration
}

// LaneStats is how far one lane is. What is acknowledged or saved is durable; what is saved need not be acknowledged
// yet.
type LaneStats struct {
	Split           string
	Acked           Position // last position the Reader was told is durable; nil: none in this Run
	Saved           Position // last position in the sink's or the store's checkpoint; nil: none
	Settled         int64    // records settled since the lane was first opened in this Run
	InFlightBatches int
	Lag             Lag
	Progress        Progress
}

func (c *ErrorCounts) add(class retry.Class, n int64) {
	switch class {
	case retry.ClassThrottled:
		c.Throttled += n
	case retry.ClassPoison:
		c.Poison += n
	case retry.ClassFatal:
		c.Fatal += n
	case retry.ClassUnmarked, retry.ClassTransient:
		c.Transient += n
	}
}

func (c *ErrorCounts) merge(o ErrorCounts) {
	c.Transient += o.Transient
	c.Throttled += o.Throttled
	c.Poison += o.Poison
	c.Fatal += o.Fatal
}

// stageTally is what StageStats is made of. Guarded by its owner's lock.
type stageTally struct {
	batches, records, bytes, retries int64
	errors                           ErrorCounts
	latency                          histogram
}

func (t *stageTally) add(records, bytes int) {
	t.batches++
	t.records += int64(records)
	t.bytes += int64(bytes)
}

// tally counts for a lane, or for what lanes share. One that a closed lane leaves behind goes on with the next.
type tally struct {
	mu                                           sync.Mutex
	read, process, write, checkpoint, deadletter stageTally
	filtered, recoveries                         int64
}

func (t *tally) stage(name string) *stageTally {
	switch name {
	case StageProcess:
		return &t.process
	case StageWrite:
		return &t.write
	case StageFlush, StageCommit, StageCheckpoint, StageAck:
		return &t.checkpoint
	case StageDeadLetter:
		return &t.deadletter
	default:
		return &t.read
	}
}

// statsSum adds tallies up.
type statsSum struct {
	Stats
	read, process, write, checkpoint, deadletter histogram
}

func (s *statsSum) add(t *tally) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, x := range []struct {
		from *stageTally
		to   *StageStats
		h    *histogram
	}{
		{&t.read, &s.Read, &s.read},
		{&t.process, &s.Process, &s.process},
		{&t.write, &s.Write, &s.write},
		{&t.checkpoint, &s.Checkpoint, &s.checkpoint},
		{&t.deadletter, &s.DeadLetter, &s.deadletter},
	} {
		x.to.Batches += x.from.batches
		x.to.Records += x.from.records
		x.to.Bytes += x.from.bytes
		x.to.Retries += x.from.retries
		x.to.Errors.merge(x.from.errors)
		x.h.merge(&x.from.latency)
	}
	s.Filtered += t.filtered
	s.Recoveries += t.recoveries
}

func (s *statsSum) finish() Stats {
	s.Read.Latency = s.read.latency()
	s.Process.Latency = s.process.latency()
	s.Write.Latency = s.write.latency()
	s.Checkpoint.Latency = s.checkpoint.latency()
	s.DeadLetter.Latency = s.deadletter.latency()
	return s.Stats
}

// histogram counts durations in buckets of which eight make a power of two, so a bucket is an eighth wide at most.
type histogram struct {
	counts [histogramBuckets]uint32
	max    time.Duration
}

const histogramBuckets = 8 * 40 // up to 2^42 ns, over an hour

func bucketOf(d time.Duration) int {
	n := uint64(max(d, 0))
	if n < 8 {
		return int(n)
	}
	shift := bits.Len64(n) - 4 // n>>shift is 8 to 15
	return min(8*shift+int(n>>shift), histogramBuckets-1)
}

// bucketTop is the largest duration in bucket i.
func bucketTop(i int) time.Duration {
	if i < 16 {
		return time.Duration(i)
	}
	shift := i/8 - 1
	return time.Duration((uint64(i%8+9) << shift) - 1)
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.max = max(h.max, d)
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.max = max(h.max, o.max)
}

func (h *histogram) latency() Latency {
	total := 0
	for _, n := range h.counts {
		total += int(n)
	}
	at := func(part float64) time.Duration {
		left := int(part*float64(total) + 0.5)
		for i, n := range h.counts {
			if left -= int(n); left <= 0 {
				return min(bucketTop(i), h.max)
			}
		}
		return h.max
	}
	if total == 0 {
		return Latency{}
	}
	return Latency{P50: at(0.5), P95: at(0.95), P99: at(0.99), Max: h.max}
}
