package retry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bohica-labs/dataweaver/retry"
)

// own is an error that brings its class and its delay.
type own struct {
	class retry.Class
	wait  time.Duration
	err   error
}

func (o own) Error() string             { return "own" }
func (o own) Unwrap() error             { return o.err }
func (o own) RetryClass() retry.Class   { return o.class }
func (o own) RetryAfter() time.Duration { return o.wait }

func TestClassOf(t *testing.T) {
	t.Parallel()
	plain := errors.New("plain")
	for name, test := range map[string]struct {
		err  error
		want retry.Class
	}{
		"nil":               {nil, retry.ClassUnmarked},
		"plain":             {plain, retry.ClassUnmarked},
		"wrapped plain":     {fmt.Errorf("x: %w", plain), retry.ClassUnmarked},
		"context":           {context.Canceled, retry.ClassUnmarked},
		"transient":         {retry.Transient(plain), retry.ClassTransient},
		"poison":            {retry.Permanent(plain), retry.ClassPoison},
		"fatal":             {retry.Fatal(plain), retry.ClassFatal},
		"throttled":         {retry.After(plain, time.Second), retry.ClassThrottled},
		"throttled by mark": {retry.Mark(plain, retry.ClassThrottled), retry.ClassThrottled},
		"deep":              {fmt.Errorf("x: %w", fmt.Errorf("y: %w", retry.Fatal(plain))), retry.ClassFatal},
		"outermost wins":    {retry.Transient(fmt.Errorf("x: %w", retry.Fatal(plain))), retry.ClassTransient},
		"outermost is own":  {own{class: retry.ClassPoison, err: retry.Fatal(plain)}, retry.ClassPoison},
		"own knows nothing": {own{err: retry.Fatal(plain)}, retry.ClassFatal},
		"own knows another": {own{class: 77, err: retry.Fatal(plain)}, retry.ClassFatal},
		"no mark is none":   {retry.Mark(retry.Fatal(plain), retry.ClassUnmarked), retry.ClassFatal},
		"joined, gravest":   {errors.Join(retry.Transient(plain), retry.Fatal(plain), retry.Permanent(plain)), retry.ClassFatal},
		"joined, only one":  {errors.Join(plain, retry.Transient(plain)), retry.ClassTransient},
		"two verbs":         {fmt.Errorf("%w: %w", plain, retry.Permanent(plain)), retry.ClassPoison},
		"mark over joined":  {retry.Transient(errors.Join(retry.Fatal(plain), plain)), retry.ClassTransient},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, retry.ClassOf(test.err))
		})
	}
}

func TestMark(t *testing.T) {
	t.Parallel()
	path := &fs.PathError{Op: "open", Path: "x", Err: io.ErrUnexpectedEOF}
	for name, mark := range map[string]func(error) error{
		"Transient": retry.Transient,
		"Permanent": retry.Permanent,
		"Fatal":     retry.Fatal,
		"After":     func(err error) error { return retry.After(err, time.Second) },
		"Mark":      func(err error) error { return retry.Mark(err, retry.ClassThrottled) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, mark(nil))
			err := mark(path)
			require.EqualError(t, err, path.Error())
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			var as *fs.PathError
			require.ErrorAs(t, err, &as)
			require.Same(t, path, as)
		})
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	plain := errors.New("plain")
	for name, test := range map[string]struct {
		err  error
		want time.Duration
		ok   bool
	}{
		"nil":             {nil, 0, false},
		"plain":           {plain, 0, false},
		"marked":          {retry.Mark(plain, retry.ClassThrottled), 0, false},
		"told":            {retry.After(plain, time.Second), time.Second, true},
		"negative":        {retry.After(plain, -time.Second), 0, true},
		"wrapped":         {fmt.Errorf("x: %w", retry.After(plain, time.Second)), time.Second, true},
		"marked again":    {retry.Transient(retry.After(plain, time.Second)), time.Second, true},
		"own":             {own{wait: time.Minute}, time.Minute, true},
		"own negative":    {own{wait: -1}, 0, true},
		"outermost":       {retry.After(own{wait: time.Minute}, time.Second), time.Second, true},
		"joined, longest": {errors.Join(plain, retry.After(plain, 1), retry.After(plain, 3), retry.After(plain, 2)), 3, true},
		"joined, none":    {errors.Join(plain, plain), 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := retry.Delay(test.err)
			require.Equal(t, test.want, got)
			require.Equal(t, test.ok, ok)
		})
	}
}

func TestClassString(t *testing.T) {
	t.Parallel()
	for c, want := range []string{"unmarked", "transient", "throttled", "poison", "fatal", "Class(5)"} {
		require.Equal(t, want, retry.Class(c).String())
	}
}

func TestParseRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("here", 3600)) // 11:00 GMT
	for header, want := range map[string]time.Duration{
		"0":                               0,
		"120":                             2 * time.Minute,
		" 7\t":                            7 * time.Second,
		"007":                             7 * time.Second,
		"-5":                              0,
		"86400":                           24 * time.Hour,
		"86401":                           24 * time.Hour,
		"99999999999999999999999999":      24 * time.Hour,
		"-99999999999999999999999999":     0,
		"Sun, 01 Mar 2026 11:00:30 GMT":   30 * time.Second,
		"Sunday, 01-Mar-26 11:01:00 GMT":  time.Minute,
		"Sun Mar  1 11:00:05 2026":        5 * time.Second,
		"Sun, 01 Mar 2026 10:59:59 GMT":   0,
		"Fri, 31 Dec 9999 23:59:59 GMT":   24 * time.Hour,
		"Sat, 01 Jan 0000 00:00:00 GMT":   0,
		"Sunday, 06-Nov-94 08:49:37 GMT":  0,
		"Sun Nov  6 08:49:37 1994":        0,
		"  Sun, 01 Mar 2026 11:00:30 GMT": 30 * time.Second,
	} {
		got, ok := retry.ParseRetryAfter(header, now)
		require.True(t, ok, header)
		require.Equal(t, want, got, header)
	}
	for _, header := range []string{"", " ", "-", "+5", "--5", "1.5", "1e3", "5s", "soon", "0x10", "١", "Sun, 01 Mar 2026 11:00:30 CET", "2026-03-01T11:00:30Z"} {
		_, ok := retry.ParseRetryAfter(header, now)
		require.False(t, ok, header)
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "120", "-5", "99999999999999999999", "Sun, 01 Mar 2026 11:00:30 GMT", "Sunday, 01-Mar-26 11:01:00 GMT", "Sun Mar  1 11:00:05 2026"} {
		f.Add(s, int64(1_772_362_800))
	}
	f.Fuzz(func(t *testing.T, header string, now int64) {
		d, ok := retry.ParseRetryAfter(header, time.Unix(now, 0))
		if d < 0 || d > 24*time.Hour || !ok && d != 0 {
			t.Fatal(d, ok)
		}
	})
}
