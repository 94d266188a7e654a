package main

import (
	"context"
	"fmt"

	"github.com/bohica-labs/dataweaver/retry"
)

// retrySuccess is what a policy costs while nothing fails.
func retrySuccess() scenario {
	return scenario{
		name:    "retry",
		what:    "retry.Policy.Do of a call that succeeds, against the bare call",
		records: 20_000_000,
		bars:    []bar{overheadAtMost(5), allocsAtMost(0)},
		ours: func(n int) (outcome, error) {
			var c calls
			var p retry.Policy
			ctx, f := context.Background(), c.count
			for range n {
				if err := p.Do(ctx, f); err != nil {
					return outcome{}, err
				}
			}
			return outcome{verify: func() error { return c.check(n) }}, nil
		},
		baseline: func(n int) (outcome, error) {
			var c calls
			ctx, f := context.Background(), c.count
			for range n {
				if err := f(ctx); err != nil {
					return outcome{}, err
				}
			}
			return outcome{verify: func() error { return c.check(n) }}, nil
		},
	}
}

type calls struct{ made int }

func (c *calls) count(context.Context) error {
	c.made++
	return nil
}

func (c *calls) check(n int) error {
	if c.made != n {
		return fmt.Errorf("%d calls were made, want %d", c.made, n)
	}
	return nil
}
