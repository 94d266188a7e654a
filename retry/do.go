package retry

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Do calls f until it returns nil, p gives up, or ctx ends. Unmarked, transient and throttled errors are tried again as the policy for their class says;
// a poison or fatal error is returned at once, as it is. Giving up, for attempts, time or ctx, returns a [*GiveUpError] around f's last error.
//
// Do calls f at least once, also when ctx has ended already: that is for f to notice. It waits between calls and never during one.
func (p Policy) Do(ctx context.Context, f func(context.Context) error) error {
	err := f(ctx)
	if err == nil {
		return nil
	}
	return p.again(ctx, f, err)
}

// DoValue is [Policy.Do] for a function that returns a value. With an error, the value is what f returned last.
func DoValue[T any](ctx context.Context, p Policy, f func(context.Context) (T, error)) (T, error) {
	v, err := f(ctx)
	if err == nil {
		return v, nil
	}
	return valueAgain(ctx, p, f, v, err)
}

// valueAgain is apart from DoValue so that its closure costs nothing where nothing failed.
func valueAgain[T any](ctx context.Context, p Policy, f func(context.Context) (T, error), v T, err error) (T, error) {
	err = p.again(ctx, func(ctx context.Context) error {
		var err error
		v, err = f(ctx)
		return err
	}, err)
	return v, err
}

// again goes on after the first failure.
func (p Policy) again(ctx context.Context, f func(context.Context) error, err error) error {
	b := Backoff{policy: p}
	for {
		class := ClassOf(err)
		if !class.retries() {
			return err
		}
		wait, ok := b.Next(err)
		if n := p.Attempts(class); !ok || n > 0 && b.Failures() >= n {
			return &GiveUpError{Attempts: b.Failures(), Elapsed: b.Elapsed(), Err: err}
		}
		if cause := Sleep(ctx, wait); cause != nil {
			return &GiveUpError{Attempts: b.Failures(), Elapsed: b.Elapsed(), Err: err, Cause: cause}
		}
		if err = f(ctx); err == nil {
			return nil
		}
	}
}

// GiveUpError is what [Policy.Do] returns when it stops trying. errors.Is and errors.As see both Err and Cause, and so does [ClassOf].
type GiveUpError struct {
	Attempts int           // how often it was tried
	Elapsed  time.Duration // since the first failure
	Err      error         // the last failure
	Cause    error         // why ctx ended, if that is what stopped it; else nil
}

// Error says how much was tried, and the last failure.
func (e *GiveUpError) Error() string {
	plural := "s"
	if e.Attempts == 1 {
		plural = ""
	}
	s := fmt.Sprintf("gave up after %d attempt%s in %v", e.Attempts, plural, e.Elapsed.Round(time.Millisecond))
	if e.Cause != nil && !errors.Is(e.Err, e.Cause) {
		s += " because of: " + e.Cause.Error()
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns Err and, where there is one, Cause.
func (e *GiveUpError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Cause}
}

// Sleep waits for d, and returns nil, or until ctx ends, and returns why (context.Cause). A ctx that has ended already wins over any d. No timer is left.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
