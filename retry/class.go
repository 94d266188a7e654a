package retry

import "strconv"

// Class says what can be done about an error. The zero value is what an error has that nobody marked: whoever handles it decides.
type Class uint8

// The classes, from the mildest to the gravest.
const (
	ClassUnmarked  Class = iota // nobody said
	ClassTransient              // may pass by itself: a network, a lock, a restart
	ClassThrottled              // the other side asks for patience, and may say how long
	ClassPoison                 // this input can never work, others may
	ClassFatal                  // nothing will work until somebody changes something
)

const classes = int(ClassFatal) + 1

// String returns the word for c that logs and metrics use.
func (c Class) String() string {
	switch c {
	case ClassUnmarked:
		return "unmarked"
	case ClassTransient:
		return "transient"
	case ClassThrottled:
		return "throttled"
	case ClassPoison:
		return "poison"
	case ClassFatal:
		return "fatal"
	}
	return "Class(" + strconv.Itoa(int(c)) + ")"
}

// retries reports whether the same call may work later. A class that this package does not know counts as unmarked.
func (c Class) retries() bool { return c != ClassPoison && c != ClassFatal }

// ClassOf returns the class of err: the outermost mark's, where an error with a method RetryClass() Class counts as marked unless that returns
// ClassUnmarked. Of errors that are joined side by side the gravest class wins. Without any mark, and for nil, it is ClassUnmarked.
func ClassOf(err error) Class {
	for err != nil {
		if m, ok := err.(interface{ RetryClass() Class }); ok {
			if c := m.RetryClass(); c != ClassUnmarked && int(c) < classes {
				return c
			}
		}
		switch w := err.(type) { //nolint:errorlint // the chain is walked here, step by step
		case interface{ Unwrap() error }:
			err = w.Unwrap()
		case interface{ Unwrap() []error }:
			gravest := ClassUnmarked
			for _, e := range w.Unwrap() {
				gravest = max(gravest, ClassOf(e))
			}
			return gravest
		default:
			return ClassUnmarked
		}
	}
	return ClassUnmarked
}
