package retry_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/retry"
)

var errPlain = errors.New("plain")

// waits returns what Next says n times, without any time passing.
func waits(b *retry.Backoff, err error, n int) []time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		all[i], _ = b.Next(err)
	}
	return all
}

func TestBackoffInterval(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	for name, test := range map[string]struct {
		p    retry.Policy
		want []time.Duration
	}{
		"doubles":  {retry.Policy{Max: time.Second}, []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, time.Second, time.Second}},
		"triples":  {retry.Policy{Initial: ms, Multiplier: 3}, []time.Duration{ms, 3 * ms, 9 * ms, 27 * ms}},
		"constant": {retry.Policy{Initial: 7 * ms, Multiplier: 1}, []time.Duration{7 * ms, 7 * ms, 7 * ms}},
		"at once":  {retry.Policy{Initial: time.Hour}, []time.Duration{time.Hour, time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.p.Jitter = retry.NoJitter
			b := test.p.NewBackoff()
			require.Equal(t, test.want, waits(b, errPlain, len(test.want)))
			require.Equal(t, len(test.want), b.Failures())
			b.Reset()
			require.Zero(t, b.Failures())
			require.Zero(t, b.Elapsed())
			require.Equal(t, test.want, waits(b, retry.Fatal(errPlain), len(test.want)), "from the start again, whatever the class")
		})
	}
}

// TestBackoffBounds: whatever the policy, valid or not, a wait is in (0, interval], and the interval never shrinks nor grows beyond Max.
func TestBackoffBounds(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	durations := []time.Duration{0, 1, 2, 1000, time.Millisecond, time.Hour, math.MaxInt64/2 - 1, math.MaxInt64 / 2, math.MaxInt64 - 1, math.MaxInt64, -1, math.MinInt64}
	multipliers := []float64{0, 1, 1.0000001, 1.3, 1.9999999, 2, 3, 1e300, math.MaxFloat64, math.Inf(1), math.NaN(), 0.5, -1}
	for range 2000 {
		if i := rng.IntN(5); i < 3 { // instead of the special ones
			durations[0], durations[1], multipliers[0] = time.Duration(rng.Int64()>>i), time.Duration(rng.Int64()), 1+rng.ExpFloat64()
		}
		p := retry.Policy{
			Initial:    durations[rng.IntN(len(durations))],
			Max:        durations[rng.IntN(len(durations))],
			Multiplier: multipliers[rng.IntN(len(multipliers))],
			MaxElapsed: durations[rng.IntN(2)*rng.IntN(len(durations))],
		}
		full := p.For(retry.ClassUnmarked)
		require.NoError(t, full.Validate(), "what For returns is always sound")
		jittered, exact := p.NewBackoff(), retry.Policy{Initial: p.Initial, Max: p.Max, Multiplier: p.Multiplier, Jitter: retry.NoJitter}.NewBackoff()
		last := time.Duration(0)
		for range 80 {
			interval, ok := exact.Next(errPlain)
			if !ok || interval < max(last-last>>50, 1) || // months are rounded a little, by floating point
				interval > full.Max {
				t.Fatalf("interval %d after %d, %t, of %+v", interval, last, ok, p)
			}
			last = interval
			if wait, ok := jittered.Next(errPlain); ok && wait <= 0 || wait > interval {
				t.Fatalf("wait %d of interval %d, %t, of %+v", wait, interval, ok, p)
			}
		}
	}
}

func TestBackoffJitterIsUniform(t *testing.T) {
	t.Parallel()
	const n = 20_000
	var sum time.Duration
	var tenths [10]int
	p := retry.Policy{Initial: time.Second, Multiplier: 1}
	b := p.NewBackoff()
	for range n {
		wait, _ := b.Next(errPlain)
		sum += wait
		tenths[min(wait*10/time.Second, 9)]++
	}
	require.InDelta(t, 0.5, (sum / n).Seconds(), 0.02) // ten standard deviations
	for _, count := range tenths {
		require.InDelta(t, n/10, count, 430) // likewise
	}
	tiny := retry.Policy{Initial: 1, Max: 1}.NewBackoff()
	require.Equal(t, []time.Duration{1, 1, 1}, waits(tiny, errPlain, 3), "never 0")
}

func TestBackoffTold(t *testing.T) {
	t.Parallel()
	p := retry.Policy{Initial: time.Second, Max: 2 * time.Second} // with jitter
	b := p.NewBackoff()
	for range 100 {
		for _, told := range []time.Duration{time.Millisecond, time.Hour} { // less than computed and beyond Max
			wait, ok := b.Next(retry.After(errPlain, told))
			require.True(t, ok)
			require.Equal(t, told, wait)
		}
	}
	exact := retry.Policy{Initial: time.Second, Jitter: retry.NoJitter}.NewBackoff()
	require.Equal(t, []time.Duration{time.Second, 2 * time.Second}, waits(exact, retry.After(errPlain, 0), 2), "0 does not mean at once")
}

func TestBackoffPerClass(t *testing.T) {
	t.Parallel()
	p := retry.Policy{Initial: time.Second, Jitter: retry.NoJitter, PerClass: map[retry.Class]retry.Policy{
		retry.ClassThrottled: {Initial: time.Minute, Jitter: retry.NoJitter, MaxElapsed: 10 * time.Hour},
	}}
	b := p.NewBackoff()
	throttled := retry.Mark(errPlain, retry.ClassThrottled)
	var got []time.Duration
	for _, err := range []error{errPlain, throttled, retry.Transient(errPlain), throttled, errPlain} {
		wait, ok := b.Next(err)
		require.True(t, ok)
		got = append(got, wait)
	}
	require.Equal(t, []time.Duration{time.Second, time.Minute, 2 * time.Second, time.Minute, 4 * time.Second}, got)
	require.Equal(t, 5, b.Failures())
}

func TestBackoffMaxElapsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := retry.Policy{Initial: time.Second, Multiplier: 1, Jitter: retry.NoJitter, MaxElapsed: 2500 * time.Millisecond}
		b := p.NewBackoff()
		time.Sleep(time.Hour) // it counts from the first failure
		for _, want := range []time.Duration{time.Second, time.Second, 500 * time.Millisecond} {
			wait, ok := b.Next(errPlain)
			require.True(t, ok)
			require.Equal(t, want, wait, "the last one is cut")
			time.Sleep(wait)
		}
		require.Equal(t, p.MaxElapsed, b.Elapsed())
		wait, ok := b.Next(errPlain)
		require.False(t, ok)
		require.Zero(t, wait)

		b.Reset()
		_, ok = b.Next(retry.After(errPlain, p.MaxElapsed))
		require.True(t, ok)
		_, ok = b.Next(retry.After(errPlain, p.MaxElapsed+1))
		require.False(t, ok, "what would lead beyond is not cut but pointless")
	})
}
