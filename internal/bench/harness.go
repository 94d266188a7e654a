package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// scenario is one comparison.
type scenario struct {
	name     string
	what     string // what is compared with what, for -list
	records  int    // a run
	bars     []bar
	ours     side
	baseline side // nil: the bars are absolute

	pairs  int     // at most; 0: as many as are asked for
	memory *folder // where its inputs are, if ours is run once more to see how much memory it takes
}

// side runs one side of a comparison over n records.
type side func(n int) (outcome, error)

// outcome is what a run tells beside its duration.
type outcome struct {
	verify     func() error // holds what came out against what went in; outside of the time that counts
	goroutines int          // at most at a time beyond those that ran before; 0: not watched
	checkpoint int          // bytes of the largest; 0: not watched
}

// sample is one run, measured.
type sample struct {
	ns         float64 // a record
	allocs     float64 // a record
	elapsed    time.Duration
	goroutines int
	checkpoint int
}

// measured is a scenario's result: medians, and the most of goroutines, checkpoints and memory.
type measured struct {
	ns         float64
	allocs     float64
	baseline   float64 // ns a record; 0: there is none
	speed      float64
	elapsed    time.Duration
	goroutines int
	checkpoint int
	resident   int64 // bytes; 0: not watched
}

// measure warms both sides up and then runs them in pairs, taking turns in who goes first.
func (s scenario) measure(pairs int) (measured, error) {
	if s.pairs > 0 {
		pairs = min(pairs, s.pairs)
	}
	sides := []side{s.ours}
	if s.baseline != nil {
		sides = append(sides, s.baseline)
	}
	for _, f := range sides {
		if _, err := sampleOf(f, s.records); err != nil {
			return measured{}, err
		}
	}
	samples := make([][]sample, len(sides))
	for pair := range pairs {
		for i := range sides {
			who := (i + pair) % len(sides)
			one, err := sampleOf(sides[who], s.records)
			if err != nil {
				return measured{}, err
			}
			samples[who] = append(samples[who], one)
		}
	}
	ours := samples[0]
	m := measured{
		ns:         medianOf(ours, func(x sample) float64 { return x.ns }),
		allocs:     medianOf(ours, func(x sample) float64 { return x.allocs }),
		elapsed:    time.Duration(medianOf(ours, func(x sample) float64 { return float64(x.elapsed) })),
		goroutines: slices.MaxFunc(ours, func(a, b sample) int { return a.goroutines - b.goroutines }).goroutines,
		checkpoint: slices.MaxFunc(ours, func(a, b sample) int { return a.checkpoint - b.checkpoint }).checkpoint,
	}
	if s.memory != nil {
		var err error
		if m.resident, err = s.peak(s.memory); err != nil {
			return measured{}, err
		}
	}
	if s.baseline != nil {
		ratios := make([]float64, pairs)
		for i := range ratios {
			ratios[i] = samples[1][i].ns / ours[i].ns
		}
		m.baseline = medianOf(samples[1], func(x sample) float64 { return x.ns })
		m.speed = median(ratios)
	}
	return m, nil
}

func sampleOf(f side, n int) (sample, error) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	out, err := f(n)
	elapsed := time.Since(began)
	runtime.ReadMemStats(&after)
	if err != nil {
		return sample{}, err
	}
	if err := out.verify(); err != nil {
		return sample{}, err
	}
	return sample{
		ns:         float64(elapsed) / float64(n),
		allocs:     float64(after.Mallocs-before.Mallocs) / float64(n),
		elapsed:    elapsed,
		goroutines: out.goroutines,
		checkpoint: out.checkpoint,
	}, nil
}

func medianOf(samples []sample, of func(sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	return median(values)
}

// median sorts values.
func median(values []float64) float64 {
	slices.Sort(values)
	half := len(values) / 2
	if len(values)%2 == 1 {
		return values[half]
	}
	return (values[half-1] + values[half]) / 2
}

const header = "name            ns/record  allocs/record    baseline   speed  bar"

// line is a row under header.
func (s scenario) line(m measured) string {
	baseline, speed := "-", "-"
	if s.baseline != nil {
		baseline, speed = fmt.Sprintf("%.2f", m.baseline), fmt.Sprintf("%.2f", m.speed)
	}
	verdicts := make([]string, len(s.bars))
	for i, b := range s.bars {
		text, met := b(m)
		verdicts[i] = text + " ok"
		if !met {
			verdicts[i] = text + " MISS"
		}
	}
	return fmt.Sprintf("%-14s %10.2f %14.4f %11s %7s  %s", s.name, m.ns, m.allocs, baseline, speed, strings.Join(verdicts, ", "))
}

// bar is what a result is held to: a text, and whether it is met.
type bar func(m measured) (string, bool)

// speedAtLeast holds the throughput against the baseline's.
func speedAtLeast(least float64) bar {
	return func(m measured) (string, bool) {
		return fmt.Sprintf("speed >= %.2f", least), m.speed >= least
	}
}

// allocsAtMost counts allocations a record. The runtime's own during a run are in the fifth decimal.
func allocsAtMost(most float64) bar {
	return func(m measured) (string, bool) {
		return fmt.Sprintf("allocs <= %g", most), m.allocs < most+0.00005
	}
}

// overheadAtMost holds the difference to the baseline, in nanoseconds a record.
func overheadAtMost(most float64) bar {
	return func(m measured) (string, bool) {
		over := m.ns - m.baseline
		return fmt.Sprintf("overhead %.1f ns <= %g", over, most), over <= most
	}
}

func elapsedAtMost(most time.Duration) bar {
	return func(m measured) (string, bool) {
		return fmt.Sprintf("%v <= %v", m.elapsed.Round(100*time.Microsecond), most), m.elapsed <= most
	}
}

func goroutinesAtMost(most int) bar {
	return func(m measured) (string, bool) {
		return fmt.Sprintf("%d goroutines <= %d", m.goroutines, most), m.goroutines <= most
	}
}

func checkpointAtMost(most int) bar {
	return func(m measured) (string, bool) {
		return fmt.Sprintf("checkpoint %d bytes <= %d", m.checkpoint, most), m.checkpoint <= most
	}
}

// residentAtMost holds the memory of a process that runs our side and nothing else. Where the system doesn't tell, it is not met.
func residentAtMost(most int64) bar {
	return func(m measured) (string, bool) {
		return fmt.Sprintf("%d MiB resident <= %d", m.resident>>20, most>>20), m.resident > 0 && m.resident <= most
	}
}
