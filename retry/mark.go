package retry

import "time"

// Mark returns err with class c: [ClassOf] reports c whatever err was marked with before. The text stays err's own, and errors.Is and errors.As find err
// and all that it wraps. Nil stays nil, and ClassUnmarked returns err as it is.
func Mark(err error, c Class) error {
	if err == nil || c == ClassUnmarked {
		return err
	}
	return &marked{err: err, class: c}
}

// Transient marks err as one that may pass by itself. Nil stays nil.
func Transient(err error) error { return Mark(err, ClassTransient) }

// Permanent marks err as poison: this input can never work, however often it is tried, but others may. Nil stays nil.
func Permanent(err error) error { return Mark(err, ClassPoison) }

// Fatal marks err as one after which nothing will work until somebody changes something: wrong credentials, a missing table. Nil stays nil.
func Fatal(err error) error { return Mark(err, ClassFatal) }

// After marks err as throttled, with the time that the other side wants to be left alone. A negative d counts as 0, which leaves the wait to the policy.
// Nil stays nil.
func After(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &told{marked: marked{err: err, class: ClassThrottled}, wait: d}
}

// Delay returns how long err asks to wait: what [After] was given, or what the outermost error with a method RetryAfter() time.Duration returns (negative
// counts as 0). Of errors that are joined side by side the longest wait wins. It is false if nobody said.
func Delay(err error) (time.Duration, bool) {
	for err != nil {
		if t, ok := err.(interface{ RetryAfter() time.Duration }); ok {
			return max(t.RetryAfter(), 0), true
		}
		switch w := err.(type) { //nolint:errorlint // the chain is walked here, step by step
		case interface{ Unwrap() error }:
			err = w.Unwrap()
		case interface{ Unwrap() []error }:
			var longest time.Duration
			found := false
			for _, e := range w.Unwrap() {
				if d, ok := Delay(e); ok {
					longest, found = max(longest, d), true
				}
			}
			return longest, found
		default:
			return 0, false
		}
	}
	return 0, false
}

type marked struct {
	err   error
	class Class
}

func (m *marked) Error() string     { return m.err.Error() }
func (m *marked) Unwrap() error     { return m.err }
func (m *marked) RetryClass() Class { return m.class }

type told struct {
	marked
	wait time.Duration
}

func (t *told) RetryAfter() time.Duration { return t.wait }
