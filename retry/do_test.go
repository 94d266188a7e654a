package retry_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/retry"
)

// failing returns a function that fails with each of errs in turn and then succeeds, and where it counts its calls.
func failing(errs ...error) (f func(context.Context) error, calls *int) {
	calls = new(int)
	return func(context.Context) error {
		*calls++
		if *calls > len(errs) {
			return nil
		}
		return errs[*calls-1]
	}, calls
}

func TestDo(t *testing.T) {
	t.Parallel()
	exact := retry.Policy{Initial: time.Second, Jitter: retry.NoJitter}
	for name, test := range map[string]struct {
		p     retry.Policy
		errs  []error
		calls int
		takes time.Duration
		want  string // the error; "": none
	}{
		"succeeds":        {exact, nil, 1, 0, ""},
		"in the end":      {exact, []error{errPlain, retry.Transient(errPlain), retry.After(errPlain, time.Minute)}, 4, 63 * time.Second, ""},
		"poison":          {exact, []error{errPlain, retry.Permanent(io.EOF)}, 2, time.Second, "EOF"},
		"fatal":           {exact, []error{retry.Fatal(io.EOF)}, 1, 0, "EOF"},
		"gives up":        {exact, []error{errPlain, errPlain, errPlain, errPlain, io.EOF}, 5, 15 * time.Second, "gave up after 5 attempts in 15s: EOF"},
		"never again":     {retry.Policy{MaxAttempts: 1}, []error{io.EOF}, 1, 0, "gave up after 1 attempt in 0s: EOF"},
		"without end":     {retry.Policy{MaxAttempts: -1, Initial: 1, Max: 1}, make1000(errPlain), 1001, 1000, ""},
		"no time":         {retry.Policy{MaxAttempts: -1, Initial: time.Second, Multiplier: 1, Jitter: retry.NoJitter, MaxElapsed: 3 * time.Second}, make1000(io.EOF), 4, 3 * time.Second, "gave up after 4 attempts in 3s: EOF"},
		"told too long":   {retry.Policy{MaxElapsed: time.Second}, []error{retry.After(io.EOF, time.Hour)}, 1, 0, "gave up after 1 attempt in 0s: EOF"},
		"class has fewer": {retry.Policy{Initial: 1, Max: 1, PerClass: map[retry.Class]retry.Policy{retry.ClassThrottled: {MaxAttempts: 2}}}, []error{errPlain, errPlain, retry.After(io.EOF, 1)}, 3, 2, "gave up after 3 attempts in 0s: EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				f, calls := failing(test.errs...)
				err := test.p.Do(t.Context(), f)
				require.Equal(t, test.takes, time.Since(start))
				require.Equal(t, test.calls, *calls)
				if test.want == "" {
					require.NoError(t, err)
					return
				}
				require.EqualError(t, err, test.want)
				require.ErrorIs(t, err, io.EOF)
				require.Equal(t, retry.ClassOf(test.errs[test.calls-1]), retry.ClassOf(err), "giving up does not change the class")
				var gave *retry.GiveUpError
				if errors.As(err, &gave) {
					require.Equal(t, test.calls, gave.Attempts)
					require.Equal(t, test.takes, gave.Elapsed)
					require.NoError(t, gave.Cause)
				}
			})
		})
	}
}

func make1000(err error) []error {
	errs := make([]error, 1000)
	for i := range errs {
		errs[i] = err
	}
	return errs
}

func TestDoEnds(t *testing.T) {
	t.Parallel()
	why := errors.New("why")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(90*time.Second, func() { cancel(why) })
		p := retry.Policy{Initial: time.Minute, Jitter: retry.NoJitter}
		start := time.Now()
		f, calls := failing(io.EOF, io.ErrUnexpectedEOF, nil)
		err := p.Do(ctx, f)
		require.Equal(t, 90*time.Second, time.Since(start))
		require.Equal(t, 2, *calls)
		require.ErrorIs(t, err, why)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.EqualError(t, err, "gave up after 2 attempts in 1m30s because of: why: unexpected EOF")

		f, calls = failing(io.EOF, nil)
		err = p.Do(ctx, f)
		require.ErrorIs(t, err, why)
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, 1, *calls, "one call, also when it is over already")

		err = p.Do(ctx, context.Cause)
		require.EqualError(t, err, "gave up after 1 attempt in 0s: why")
		require.NoError(t, p.Do(ctx, func(context.Context) error { return nil }))
	})
}

func TestDoValue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		count := func(context.Context) (int, error) {
			calls++
			if calls < 3 {
				return -calls, io.EOF
			}
			return calls, nil
		}
		v, err := retry.DoValue(t.Context(), retry.Policy{}, count)
		require.NoError(t, err)
		require.Equal(t, 3, v)
		v, err = retry.DoValue(t.Context(), retry.Policy{}, count)
		require.NoError(t, err)
		require.Equal(t, 4, v)

		calls = 0
		v, err = retry.DoValue(t.Context(), retry.Policy{MaxAttempts: 2}, count)
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, -2, v)
	})
}

func TestSleep(t *testing.T) {
	t.Parallel()
	why := errors.New("why")
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		require.NoError(t, retry.Sleep(t.Context(), time.Hour))
		require.Equal(t, time.Hour, time.Since(start))
		require.NoError(t, retry.Sleep(t.Context(), 0))
		require.NoError(t, retry.Sleep(t.Context(), -time.Hour))

		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(why) })
		require.ErrorIs(t, retry.Sleep(ctx, time.Hour), why)
		require.Equal(t, time.Hour+time.Minute, time.Since(start))
		for _, d := range []time.Duration{-1, 0, 1} {
			require.ErrorIs(t, retry.Sleep(ctx, d), why)
		}
		require.Equal(t, time.Hour+time.Minute, time.Since(start))
	})

	ended, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	for range 1000 {
		require.ErrorIs(t, retry.Sleep(ended, 1), why, "not now and then the timer")
	}
}
