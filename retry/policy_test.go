package retry_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/retry"
)

func TestPolicyFor(t *testing.T) {
	t.Parallel()
	defaults := retry.Policy{MaxAttempts: 5, Initial: 100 * time.Millisecond, Max: 30 * time.Second, Multiplier: 2}
	require.Equal(t, defaults, retry.Policy{}.For(retry.ClassUnmarked))

	p := retry.Policy{
		MaxAttempts: -1, Initial: time.Second, MaxElapsed: time.Hour, Jitter: retry.NoJitter, Multiplier: 3,
		PerClass: map[retry.Class]retry.Policy{
			retry.ClassThrottled: {Max: time.Minute, PerClass: map[retry.Class]retry.Policy{retry.ClassThrottled: {MaxAttempts: 9}}},
		},
	}
	require.Equal(t, retry.Policy{
		MaxAttempts: -1, Initial: time.Second, Max: 30 * time.Second, Multiplier: 3, Jitter: retry.NoJitter, MaxElapsed: time.Hour,
	}, p.For(retry.ClassTransient))
	throttled := defaults
	throttled.Max = time.Minute
	require.Equal(t, throttled, p.For(retry.ClassThrottled), "the defaults, and nothing of the policy around it")

	require.Equal(t, 50*time.Millisecond, retry.Policy{Max: 50 * time.Millisecond}.For(0).Initial)
	require.Equal(t, time.Hour, retry.Policy{Initial: time.Hour}.For(0).Max)

	for c, want := range map[retry.Class]int{
		retry.ClassUnmarked: -1, retry.ClassTransient: -1, retry.ClassThrottled: 5, retry.ClassPoison: 1, retry.ClassFatal: 1,
	} {
		require.Equal(t, want, p.Attempts(c), c)
	}
	require.Equal(t, 5, retry.Policy{}.Attempts(retry.ClassUnmarked))
	require.Equal(t, 1, retry.Policy{MaxAttempts: 1}.Attempts(retry.ClassTransient))
}

func TestPolicyValidate(t *testing.T) {
	t.Parallel()
	for _, p := range []retry.Policy{
		{},
		{MaxAttempts: -1, Multiplier: 1, Jitter: retry.NoJitter},
		{Initial: time.Hour},
		{Max: time.Millisecond},
		{Initial: time.Second, Max: time.Second},
		{PerClass: map[retry.Class]retry.Policy{retry.ClassUnmarked: {}, retry.ClassTransient: {}, retry.ClassThrottled: {MaxAttempts: -1}}},
	} {
		require.NoError(t, p.Validate())
	}
	for want, p := range map[string]retry.Policy{
		"retry.Policy.Initial is -1ns, want":                   {Initial: -1},
		"retry.Policy.Max is -1s, want":                        {Max: -time.Second},
		"retry.Policy.Max is 1s, want at least Initial, 2s":    {Initial: 2 * time.Second, Max: time.Second},
		"retry.Policy.Multiplier is 0.5, want":                 {Multiplier: 0.5},
		"retry.Policy.Multiplier is -2, want":                  {Multiplier: -2},
		"retry.Policy.Multiplier is NaN, want":                 {Multiplier: math.NaN()},
		"retry.Policy.Multiplier is +Inf, want":                {Multiplier: math.Inf(1)},
		"retry.Policy.Multiplier is -Inf, want":                {Multiplier: math.Inf(-1)},
		"retry.Policy.Jitter is 2, want":                       {Jitter: 2},
		"retry.Policy.MaxElapsed is -1m0s, want":               {MaxElapsed: -time.Minute},
		"retry.Policy.PerClass[throttled].Initial is -1ns":     {PerClass: map[retry.Class]retry.Policy{retry.ClassThrottled: {Initial: -1}}},
		"retry.Policy.PerClass[poison]: poison errors are":     {PerClass: map[retry.Class]retry.Policy{retry.ClassPoison: {}}},
		"retry.Policy.PerClass[Class(9)]: there is no such":    {PerClass: map[retry.Class]retry.Policy{9: {}}},
		"retry.Policy.PerClass[Class(255)]: there is no such":  {PerClass: map[retry.Class]retry.Policy{255: {}}},
		"retry.Policy.PerClass[unmarked].MaxElapsed is -1ns, ": {PerClass: map[retry.Class]retry.Policy{0: {MaxElapsed: -1}, 4: {}}},
	} {
		require.ErrorContains(t, p.Validate(), want)
	}
}
