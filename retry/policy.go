package retry

import (
	"fmt"
	"math"
	"time"
)

// What a Policy's zero fields stand for.
const (
	defaultMaxAttempts = 5
	defaultInitial     = 100 * time.Millisecond
	defaultMax         = 30 * time.Second
	defaultMultiplier  = 2
)

// Jitter says how a computed wait is spread, so that many who failed together do not come back together.
type Jitter uint8

const (
	// FullJitter waits uniformly anywhere in (0, interval]. See Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
	FullJitter Jitter = iota
	// NoJitter waits the interval exactly.
	NoJitter
)

// Policy says how often something is tried and how long to wait in between. The zero value is the default policy. It is a value that nothing here
// changes: it may be shared and used concurrently, as long as its owner leaves the map alone.
//
// The interval starts at Initial and is multiplied after each failure until it reaches Max.
type Policy struct {
	// MaxAttempts is how often one record or call is tried, the first time included: 1 never tries again, a negative number tries without end.
	// Default: 5.
	MaxAttempts int
	// Initial is the interval after the first failure. Default: 100ms, or Max if that is less.
	Initial time.Duration
	// Max is where the interval stops growing. Default: 30s, or Initial if that is more.
	Max time.Duration
	// Multiplier is what the interval grows by; 1 keeps it constant. Default: 2.
	Multiplier float64
	// Jitter is how the interval becomes a wait. Default: FullJitter.
	Jitter Jitter
	// MaxElapsed is the time since the first failure after which it gives up. Default: 0, no bound.
	MaxElapsed time.Duration
	// PerClass replaces the whole policy for errors of one class: fields that are zero there have the defaults named here, not this policy's values. A
	// nested PerClass is ignored. Poison and fatal errors are never tried again and have no policy. Default: none.
	PerClass map[Class]Policy
}

// For returns the policy that applies to errors of class c, with the defaults filled in and PerClass nil. Values that [Policy.Validate] refuses are
// replaced by defaults too, so that no wait is ever negative.
func (p Policy) For(c Class) Policy {
	if own, ok := p.PerClass[c]; ok {
		p = own
	}
	p.PerClass = nil
	if p.MaxAttempts == 0 {
		p.MaxAttempts = defaultMaxAttempts
	}
	if p.Multiplier < 1 || math.IsNaN(p.Multiplier) || math.IsInf(p.Multiplier, 0) {
		p.Multiplier = defaultMultiplier
	}
	if p.Max <= 0 {
		p.Max = max(defaultMax, p.Initial)
	}
	if p.Initial <= 0 {
		p.Initial = min(defaultInitial, p.Max)
	}
	p.Max = max(p.Max, p.Initial)
	p.MaxElapsed = max(p.MaxElapsed, 0)
	return p
}

// Attempts returns how often something is tried that fails with class c, the first time included; less than 0 is no bound. Poison and fatal are always 1.
func (p Policy) Attempts(c Class) int {
	if !c.retries() {
		return 1
	}
	if own, ok := p.PerClass[c]; ok {
		p = own
	}
	if p.MaxAttempts == 0 {
		return defaultMaxAttempts
	}
	return p.MaxAttempts
}

// Validate returns an error that names the first field, and its value, that makes no sense.
func (p Policy) Validate() error {
	if err := p.validate("retry.Policy"); err != nil {
		return err
	}
	for i := range math.MaxUint8 + 1 { // in order, so that the same policy always gets the same error
		c := Class(i)
		own, ok := p.PerClass[c]
		if !ok {
			continue
		}
		name := fmt.Sprintf("retry.Policy.PerClass[%v]", c)
		if i >= classes {
			return fmt.Errorf("%s: there is no such class", name)
		}
		if !c.retries() {
			return fmt.Errorf("%s: %v errors are never tried again", name, c)
		}
		if err := own.validate(name); err != nil {
			return err
		}
	}
	return nil
}

func (p Policy) validate(name string) error {
	switch {
	case p.Initial < 0:
		return fmt.Errorf("%s.Initial is %v, want 0 (the default) or more", name, p.Initial)
	case p.Max < 0:
		return fmt.Errorf("%s.Max is %v, want 0 (the default) or more", name, p.Max)
	case p.Max > 0 && p.Max < p.Initial:
		return fmt.Errorf("%s.Max is %v, want at least Initial, %v", name, p.Max, p.Initial)
	case p.Multiplier != 0 && p.Multiplier < 1 || math.IsNaN(p.Multiplier) || math.IsInf(p.Multiplier, 0):
		return fmt.Errorf("%s.Multiplier is %v, want 0 (the default) or a number of at least 1", name, p.Multiplier)
	case p.Jitter > NoJitter:
		return fmt.Errorf("%s.Jitter is %d, want FullJitter or NoJitter", name, p.Jitter)
	case p.MaxElapsed < 0:
		return fmt.Errorf("%s.MaxElapsed is %v, want 0 (no bound) or more", name, p.MaxElapsed)
	}
	return nil
}
