package crash

import (
	"errors"
	"fmt"
	"iter"
	"strings"
)

// What can be wrong with an output. The error of Check is each of those that it found.
var (
	ErrLost    = errors.New("lost")         // it should be there and isn't
	ErrDoubled = errors.New("doubled")      // it is there more than once
	ErrOrder   = errors.New("out of order") // it is behind one that it should be before
	ErrAltered = errors.New("altered")      // it isn't as it was made
	ErrTorn    = errors.New("torn")         // it is no whole record
	ErrForeign = errors.New("foreign")      // it doesn't belong there
)

// kinds are in the order they are told in.
var kinds = [...]error{ErrLost, ErrDoubled, ErrOrder, ErrAltered, ErrTorn, ErrForeign}

// Order says which records of an output have to be in the order of their numbers. Where records may be repeated, this
// is about the first time each of them comes, and about the very last record: that must not be an old one.
type Order uint8

// Total is the zero value.
const (
	Total  Order = iota // all
	PerKey              // those that share a key
	None                // none
)

// Rules say what is right for one output. The zero value is exactly once, in order, all of them.
type Rules struct {
	Only    func(n int64) bool // which records belong there; default all
	Order   Order              // default Total
	Repeats bool               // at-least-once: records may be there more than once; default false
	Torn    bool               // what a kill left half written may be there, if the whole record follows; default false
}

// Tally counts what is in an output.
type Tally struct {
	Wanted  int64 // records that should be there
	Items   int64 // that were looked at, whatever they are
	Lost    int64
	Doubled int64 // items that are repeats
	Order   int64
	Altered int64
	Torn    int64
	Foreign int64
}

// of returns the count of each of kinds.
func (t *Tally) of() [len(kinds)]int64 {
	return [...]int64{t.Lost, t.Doubled, t.Order, t.Altered, t.Torn, t.Foreign}
}

// Offence is one kind of what is wrong.
type Offence struct {
	Kind  error  // ErrLost and so on
	Count int64  // how many of them there are
	N     int64  // number of the first record; 0 if it has none
	Item  int64  // where that is in the output, the first is 1; 0 if it isn't there
	Why   string // more about it, may be empty
}

// CheckError says what is wrong with an output. It is each of the kinds of its Offences.
type CheckError struct {
	Ledger   Ledger
	Tally    Tally
	Offences []Offence // at most one a kind
}

// Error tells the first offence of each kind.
func (e *CheckError) Error() string {
	parts := make([]string, len(e.Offences))
	for i, o := range e.Offences {
		first := fmt.Sprintf("record %d", o.N)
		if o.N == 0 {
			first = "one"
		}
		if o.Item > 0 {
			first += fmt.Sprintf(" as item %d", o.Item)
		}
		if o.Why != "" {
			first += " (" + o.Why + ")"
		}
		parts[i] = fmt.Sprintf("%d %v, the first is %s", o.Count, o.Kind, first)
	}
	return fmt.Sprintf("crash: seed %d: of %d records and %d items: %s", e.Ledger.Seed, e.Tally.Wanted, e.Tally.Items, strings.Join(parts, "; "))
}

// Unwrap returns the kinds.
func (e *CheckError) Unwrap() []error {
	kinds := make([]error, len(e.Offences))
	for i, o := range e.Offences {
		kinds[i] = o.Kind
	}
	return kinds
}

// Numbers makes what Check takes of numbers alone, for an output that says no more.
func Numbers(seq iter.Seq[int64]) iter.Seq2[int64, error] {
	return func(yield func(int64, error) bool) {
		for n := range seq {
			if !yield(n, nil) {
				return
			}
		}
	}
}

// Check compares an output with what the Ledger says must be in it. Items yields the numbers of the records as they are
// in the output; an error that is ErrAltered or ErrTorn stands for one that can't be used, and any other ends the check
// and is returned. What rules don't allow is a *CheckError. It takes a byte a record and 16 a key.
func (l Ledger) Check(rules Rules, items iter.Seq2[int64, error]) (Tally, error) {
	c := checker{ledger: l, rules: rules, seen: make([]byte, l.Records+1), domains: make(map[uint64]*domain)}
	for n, err := range items {
		if err := c.item(n, err); err != nil {
			return c.tally, err
		}
	}
	return c.tally, c.end()
}

// checker is one Check.
type checker struct {
	ledger  Ledger
	rules   Rules
	tally   Tally
	seen    []byte             // by number: 1 where it was there
	domains map[uint64]*domain // by key, or one for all
	first   [len(kinds)]Offence
}

// domain is what has to be in order.
type domain struct {
	greatest int64
	last     int64
	lastItem int64
}

// note counts an offence.
func (c *checker) note(kind int, o Offence) {
	if c.first[kind].Kind == nil {
		o.Kind = kinds[kind]
		c.first[kind] = o
	}
}

func (c *checker) item(n int64, err error) error {
	c.tally.Items++
	at := Offence{N: n, Item: c.tally.Items}
	switch {
	case errors.Is(err, ErrAltered):
		c.tally.Altered++
		at.Why = err.Error()
		c.note(3, at)
		return nil
	case errors.Is(err, ErrTorn):
		c.tally.Torn++
		at.N, at.Why = 0, err.Error()
		c.note(4, at)
		return nil
	case err != nil:
		return fmt.Errorf("crash: after %d items of the output: %w", c.tally.Items-1, err)
	case !c.belongs(n):
		c.tally.Foreign++
		c.note(5, at)
		return nil
	}
	d := c.domain(n)
	if c.seen[n] != 0 {
		c.tally.Doubled++
		c.note(1, at)
	} else if d != nil && n < d.greatest {
		c.tally.Order++
		at.Why = fmt.Sprintf("it comes after record %d", d.greatest)
		c.note(2, at)
	}
	c.seen[n] = 1
	if d != nil {
		d.greatest = max(d.greatest, n)
		d.last, d.lastItem = n, c.tally.Items
	}
	return nil
}

func (c *checker) belongs(n int64) bool {
	return n >= 1 && n <= c.ledger.Records && (c.rules.Only == nil || c.rules.Only(n))
}

// domain returns what n has to be in order with; nil: nothing.
func (c *checker) domain(n int64) *domain {
	key := uint64(0)
	switch c.rules.Order {
	case Total:
	case PerKey:
		key = c.ledger.key(n)
	default:
		return nil
	}
	d := c.domains[key]
	if d == nil {
		d = &domain{}
		c.domains[key] = d
	}
	return d
}

func (c *checker) end() error {
	for n := int64(1); n <= c.ledger.Records; n++ {
		if !c.belongs(n) {
			continue
		}
		c.tally.Wanted++
		if c.seen[n] == 0 {
			c.tally.Lost++
			c.note(0, Offence{N: n})
		}
	}
	stale := Offence{}
	for _, d := range c.domains {
		if !c.rules.Repeats || d.last == d.greatest {
			continue
		}
		c.tally.Order++
		if stale.N == 0 || d.lastItem < stale.Item {
			stale = Offence{N: d.last, Item: d.lastItem, Why: fmt.Sprintf("it is the last one, and record %d came before it", d.greatest)}
		}
	}
	if stale.N != 0 {
		c.note(2, stale)
	}
	failed := &CheckError{Ledger: c.ledger, Tally: c.tally}
	for i, count := range c.tally.of() {
		if count == 0 || kinds[i] == ErrDoubled && c.rules.Repeats || kinds[i] == ErrTorn && c.rules.Torn { //nolint:errorlint // they are these values
			continue
		}
		o := c.first[i]
		o.Count = count
		failed.Offences = append(failed.Offences, o)
	}
	if failed.Offences == nil {
		return nil
	}
	return failed
}
