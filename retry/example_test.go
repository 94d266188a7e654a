package retry_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bohica-labs/dataweaver/retry"
)

func Example() {
	policy := retry.Policy{MaxAttempts: 4, Initial: time.Millisecond}
	calls := 0
	err := policy.Do(context.Background(), func(context.Context) error {
		calls++
		if calls < 3 {
			return errors.New("connection refused") // unmarked: worth another try
		}
		return nil
	})
	fmt.Println(calls, err)

	calls = 0
	err = policy.Do(context.Background(), func(context.Context) error {
		calls++
		return retry.Permanent(errors.New("no such column"))
	})
	fmt.Println(calls, err)
	// Output:
	// 3 <nil>
	// 1 no such column
}

// A loop of one's own, which goes on as long as it likes and starts over after a success.
func ExamplePolicy_NewBackoff() {
	policy := retry.Policy{Initial: time.Second, Jitter: retry.NoJitter}
	backoff := policy.NewBackoff()
	for _, err := range []error{
		errors.New("timeout"),
		errors.New("timeout"),
		retry.After(errors.New("too many requests"), time.Minute),
		nil,
		errors.New("timeout"),
	} {
		if err == nil {
			backoff.Reset()
			continue
		}
		wait, _ := backoff.Next(err)
		fmt.Println(wait, err)
	}
	// Output:
	// 1s timeout
	// 2s timeout
	// 1m0s too many requests
	// 1s timeout
}
