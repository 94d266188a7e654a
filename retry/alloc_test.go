package retry_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/retry"
)

//go:noinline
func nothing(context.Context) error { return nil }

//go:noinline
func number(context.Context) (int, error) { return 1, nil }

func TestSuccessAllocatesNothing(t *testing.T) { // not parallel: it counts allocations
	ctx := t.Context()
	p := retry.Policy{MaxAttempts: 3}
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if err := p.Do(ctx, nothing); err != nil {
			t.Error(err)
		}
	}))
	sum := 0
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		err := p.Do(ctx, func(context.Context) error { sum++; return nil }) // a closure
		v, err2 := retry.DoValue(ctx, p, number)
		sum += v
		if err != nil || err2 != nil {
			t.Error(err, err2)
		}
	}))
	b := p.NewBackoff()
	require.Zero(t, testing.AllocsPerRun(1000, b.Reset))
}

// What Do adds is its time less that of Direct.
func BenchmarkSuccess(b *testing.B) {
	ctx := b.Context()
	p := retry.Policy{MaxAttempts: 3}
	f := nothing
	b.Run("Direct", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = f(ctx)
		}
	})
	b.Run("Do", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = p.Do(ctx, f)
		}
	})
	b.Run("DoValue", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = retry.DoValue(ctx, p, number)
		}
	})
}

func BenchmarkFailure(b *testing.B) {
	b.ReportAllocs()
	backoff := retry.Policy{}.NewBackoff()
	for b.Loop() {
		backoff.Next(errPlain)
		backoff.Reset()
	}
}
