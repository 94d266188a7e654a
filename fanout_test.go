package weaver_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// script is a sink whose writers say what they are told to, and note what they were given.
type script struct {
	name    string
	answers []func(b *weaver.Batch[int]) error // to one Write after the other; then nil
	buffers bool
	due     bool
	flush   error
	health  error
	open    error

	log *[]string // shared by the sinks of a test
}

func (s *script) String() string                    { return s.name }
func (s *script) CheckHealth(context.Context) error { return s.health }

func (s *script) OpenWriter(_ context.Context, at weaver.Lane) (weaver.Writer[int], error) {
	s.note("open %v", at.Resume)
	if s.open != nil {
		return nil, s.open
	}
	if s.buffers {
		return scriptFlusher{scriptWriter{s}}, nil
	}
	return scriptWriter{s}, nil
}

func (s *script) note(format string, args ...any) {
	*s.log = append(*s.log, s.name+" "+fmt.Sprintf(format, args...))
}

type scriptWriter struct{ s *script }

func (w scriptWriter) Write(_ context.Context, b *weaver.Batch[int]) error {
	values := make([]int, len(b.Records))
	for i := range b.Records {
		values[i] = b.Records[i].Value
	}
	w.s.note("write %v", values)
	if len(w.s.answers) == 0 {
		return nil
	}
	answer := w.s.answers[0]
	w.s.answers = w.s.answers[1:]
	return answer(b)
}

func (w scriptWriter) Close() error {
	w.s.note("close")
	return nil
}

type scriptFlusher struct{ scriptWriter }

func (w scriptFlusher) Due() bool { return w.s.due }

func (w scriptFlusher) Flush(context.Context) error {
	w.s.note("flush")
	return w.s.flush
}

// onlyCommits is a Checkpointer that can't be flushed.
type onlyCommits struct{ scriptWriter }

func (onlyCommits) Due() bool                               { return false }
func (onlyCommits) Restore(context.Context) ([]byte, error) { return nil, nil }
func (onlyCommits) Commit(context.Context, []byte) error    { return nil }

func say(err error) func(*weaver.Batch[int]) error {
	return func(*weaver.Batch[int]) error { return err }
}

// named is a BatchError about these records.
func named(common error, each map[int]error) *weaver.BatchError {
	e := &weaver.BatchError{Err: common}
	for _, i := range slices.Sorted(maps.Keys(each)) {
		e.Records = append(e.Records, weaver.RecordError{Index: i, Err: each[i]})
	}
	return e
}

func rolledBack(e *weaver.BatchError) *weaver.BatchError {
	e.RolledBack = true
	return e
}

func batchOf(values ...int) *weaver.Batch[int] {
	b := weaver.NewBatch[int](0, 0)
	for _, v := range values {
		b.Add().Value = v
	}
	return b
}

var (
	errBad     = errors.New("bad record")
	errBusy    = errors.New("busy")
	errOutage  = errors.New("out of reach")
	errCommon  = errors.New("what they have in common")
	errDestroy = errors.New("no such table")
)

// outcome is a BatchError in short: the class of each named record, by its index.
func outcome(t *testing.T, err error) (each map[int]retry.Class, rolledBack bool, why retry.Class) {
	t.Helper()
	var partial *weaver.BatchError
	require.ErrorAs(t, err, &partial)
	each = make(map[int]retry.Class)
	for _, r := range partial.Records {
		require.NotContains(t, each, r.Index, "named twice")
		each[r.Index] = retry.ClassOf(r.Err)
	}
	return each, partial.RolledBack, retry.ClassOf(partial.Err)
}

func openScripts(t *testing.T, sink weaver.Sink[int]) weaver.Writer[int] {
	t.Helper()
	w, err := sink.OpenWriter(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	return w
}

func TestTeeWrite(t *testing.T) {
	t.Parallel()
	type want struct {
		calls      []string
		each       map[int]retry.Class
		rolledBack bool
		why        retry.Class
		broken     error // the error is none about the batch
		class      retry.Class
	}
	for name, test := range map[string]struct {
		a, b error
		want want
	}{
		"all is well": {
			want: want{calls: []string{"a write [10 11 12 13]", "b write [10 11 12 13]"}},
		},
		"the first refuses one: the second is spared it": {
			a: named(nil, map[int]error{1: retry.Permanent(errBad)}),
			want: want{
				calls: []string{"a write [10 11 12 13]", "b write [10 12 13]"},
				each:  map[int]retry.Class{1: retry.ClassPoison},
			},
		},
		"both refuse some: the second's indexes are of what it was given": {
			a: named(nil, map[int]error{1: retry.Permanent(errBad)}),
			b: named(nil, map[int]error{1: retry.Transient(errBusy), 2: errBusy}),
			want: want{
				calls: []string{"a write [10 11 12 13]", "b write [10 12 13]"},
				each:  map[int]retry.Class{1: retry.ClassPoison, 2: retry.ClassTransient, 3: retry.ClassUnmarked},
			},
		},
		"records without a class have that of their own sink's batch": {
			a: named(retry.Permanent(errCommon), map[int]error{0: errBad, 1: retry.Transient(errBusy)}),
			b: named(retry.Transient(errCommon), map[int]error{0: errBusy, 1: retry.Fatal(errDestroy)}),
			want: want{
				calls: []string{"a write [10 11 12 13]", "b write [12 13]"},
				each: map[int]retry.Class{
					0: retry.ClassPoison, 1: retry.ClassTransient, 2: retry.ClassTransient, 3: retry.ClassFatal,
				},
			},
		},
		"the first refuses all: there is nothing for the second": {
			a: named(nil, map[int]error{0: errBad, 1: errBad, 2: errBad, 3: errBad}),
			want: want{
				calls: []string{"a write [10 11 12 13]"},
				each:  map[int]retry.Class{0: 0, 1: 0, 2: 0, 3: 0},
			},
		},
		"the first rolls back and says why": {
			a: rolledBack(named(nil, map[int]error{2: retry.Permanent(errBad)})),
			want: want{
				calls: []string{"a write [10 11 12 13]"},
				each:  map[int]retry.Class{2: retry.ClassPoison}, rolledBack: true,
			},
		},
		"the second rolls back and says why": {
			a: named(nil, map[int]error{0: retry.Transient(errBusy)}),
			b: rolledBack(named(nil, map[int]error{2: retry.Permanent(errBad)})),
			want: want{
				calls: []string{"a write [10 11 12 13]", "b write [11 12 13]"},
				each:  map[int]retry.Class{0: retry.ClassTransient, 3: retry.ClassPoison}, rolledBack: true,
			},
		},
		"the second rolls back and doesn't know why: all records are in doubt": {
			a: named(nil, map[int]error{0: retry.Transient(errBusy)}),
			b: rolledBack(named(retry.Permanent(errCommon), nil)),
			want: want{
				calls: []string{"a write [10 11 12 13]", "b write [11 12 13]"},
				each:  map[int]retry.Class{}, rolledBack: true, why: retry.ClassPoison,
			},
		},
		"the first is out: the second isn't called": {
			a: errOutage,
			want: want{
				calls: []string{"a write [10 11 12 13]"}, broken: errOutage,
			},
		},
		"the second is out: that counts, whatever the first has named": {
			a: named(nil, map[int]error{0: retry.Permanent(errBad)}),
			b: retry.Fatal(errDestroy),
			want: want{
				calls: []string{"a write [10 11 12 13]", "b write [11 12 13]"}, broken: errDestroy, class: retry.ClassFatal,
			},
		},
		"a BatchError that makes no sense, also where its index exists in the whole": {
			a: named(nil, map[int]error{0: errBad}),
			b: named(nil, map[int]error{3: errBad}),
			want: want{
				calls: []string{"a write [10 11 12 13]", "b write [11 12 13]"}, broken: nil, class: retry.ClassFatal,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log []string
			a := &script{name: "a", log: &log, answers: []func(*weaver.Batch[int]) error{say(test.a)}}
			b := &script{name: "b", log: &log, answers: []func(*weaver.Batch[int]) error{say(test.b)}}
			w := openScripts(t, weaver.Tee[int](a, b))
			log = nil
			err := w.Write(t.Context(), batchOf(10, 11, 12, 13))
			require.Equal(t, test.want.calls, log)
			switch {
			case test.want.each != nil:
				each, back, why := outcome(t, err)
				require.Equal(t, test.want.each, each)
				require.Equal(t, test.want.rolledBack, back)
				require.Equal(t, test.want.why, why)
			case test.want.broken != nil || test.want.class != 0:
				var partial *weaver.BatchError
				require.Error(t, err)
				require.False(t, errors.As(err, &partial), "would be taken for a partial failure: %v", err)
				require.Equal(t, test.want.class, retry.ClassOf(err))
				if test.want.broken != nil {
					require.ErrorIs(t, err, test.want.broken)
				}
			default:
				require.NoError(t, err)
			}
			log = nil
			a.answers = []func(*weaver.Batch[int]) error{say(named(nil, map[int]error{0: errBad}))}
			b.answers = nil
			each, _, _ := outcome(t, w.Write(t.Context(), batchOf(20, 21)))
			require.Equal(t, map[int]retry.Class{0: retry.ClassUnmarked}, each)
			require.Equal(t, []string{"a write [20 21]", "b write [21]"}, log, "nothing of the batch before is left")
			require.NoError(t, w.Close())
		})
	}
}

func TestTeeKeepsTheWaitOfAThrottledBatch(t *testing.T) {
	t.Parallel()
	var log []string
	throttled := named(retry.After(errBusy, 7*time.Second), map[int]error{0: errBusy})
	a := &script{name: "a", log: &log, answers: []func(*weaver.Batch[int]) error{say(throttled)}}
	err := openScripts(t, weaver.Tee[int](a)).Write(t.Context(), batchOf(1, 2))
	var partial *weaver.BatchError
	require.ErrorAs(t, err, &partial)
	require.Equal(t, retry.ClassThrottled, retry.ClassOf(partial.Records[0].Err))
	wait, told := retry.Delay(partial.Records[0].Err)
	require.True(t, told)
	require.Equal(t, 7*time.Second, wait)
	require.ErrorContains(t, partial.Records[0].Err, "sink 1 of the Tee (a)")
}

func TestRouteWrite(t *testing.T) {
	t.Parallel()
	parity := func(r *weaver.Record[int]) string {
		switch {
		case r.Value < 0:
			panic("negative")
		case r.Value >= 100:
			return fmt.Sprintf("hundreds-%d", r.Value)
		case r.Value%2 == 0:
			return "even"
		default:
			return "odd"
		}
	}
	type want struct {
		calls      []string
		each       map[int]retry.Class
		rolledBack bool
		why        retry.Class
		broken     error
		class      retry.Class
	}
	for name, test := range map[string]struct {
		in        []int
		even, odd error
		want      want
	}{
		"each to its own, in order": {
			in:   []int{1, 2, 4, 3, 6, 5},
			want: want{calls: []string{"odd write [1 3 5]", "even write [2 4 6]"}},
		},
		"all to one": {
			in:   []int{2, 4},
			want: want{calls: []string{"even write [2 4]"}},
		},
		"no such route, and a panic": {
			in: []int{100, 2, -1, 3, 101, 102, 4},
			want: want{
				calls: []string{"even write [2 4]", "odd write [3]"},
				each:  map[int]retry.Class{0: retry.ClassPoison, 2: retry.ClassPoison, 4: retry.ClassPoison, 5: retry.ClassPoison},
			},
		},
		"nothing but unknown routes": {
			in:   []int{100},
			want: want{each: map[int]retry.Class{0: retry.ClassPoison}},
		},
		"each refuses some: indexes are those of the batch": {
			in:   []int{1, 2, 3, 4, 100, 5, 6},
			odd:  named(retry.Transient(errCommon), map[int]error{1: errBusy}),
			even: named(retry.Permanent(errCommon), map[int]error{0: errBad, 2: errBad}),
			want: want{
				calls: []string{"odd write [1 3 5]", "even write [2 4 6]"},
				each: map[int]retry.Class{
					2: retry.ClassTransient, 1: retry.ClassPoison, 6: retry.ClassPoison, 4: retry.ClassPoison,
				},
			},
		},
		"one rolls back: it can only be said of the whole": {
			in:  []int{2, 1, 4, 3},
			odd: rolledBack(named(nil, map[int]error{1: retry.Permanent(errBad)})),
			want: want{
				calls: []string{"even write [2 4]", "odd write [1 3]"},
				each:  map[int]retry.Class{3: retry.ClassPoison}, rolledBack: true,
			},
		},
		"the first rolls back: the others are not called": {
			in:   []int{2, 1},
			even: rolledBack(named(errBusy, nil)),
			want: want{calls: []string{"even write [2]"}, each: map[int]retry.Class{}, rolledBack: true},
		},
		"one is out": {
			in:  []int{2, 1, 100},
			odd: retry.Transient(errOutage),
			want: want{
				calls: []string{"even write [2]", "odd write [1]"}, broken: errOutage, class: retry.ClassTransient,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log []string
			even := &script{name: "even", log: &log, answers: []func(*weaver.Batch[int]) error{say(test.even)}}
			odd := &script{name: "odd", log: &log, answers: []func(*weaver.Batch[int]) error{say(test.odd)}}
			w := openScripts(t, weaver.Route(parity, map[string]weaver.Sink[int]{"even": even, "odd": odd}))
			log = nil
			err := w.Write(t.Context(), batchOf(test.in...))
			require.Equal(t, test.want.calls, log)
			switch {
			case test.want.each != nil:
				each, back, why := outcome(t, err)
				require.Equal(t, test.want.each, each)
				require.Equal(t, test.want.rolledBack, back)
				require.Equal(t, test.want.why, why)
			case test.want.broken != nil:
				var partial *weaver.BatchError
				require.ErrorIs(t, err, test.want.broken)
				require.False(t, errors.As(err, &partial))
				require.Equal(t, test.want.class, retry.ClassOf(err))
			default:
				require.NoError(t, err)
			}
			log, even.answers, odd.answers = nil, nil, nil
			require.NoError(t, w.Write(t.Context(), batchOf(8, 9)), "nothing of the batch before is left")
			require.Equal(t, []string{"even write [8]", "odd write [9]"}, log)
			require.NoError(t, w.Close())
		})
	}
}

func TestRouteNamesTheUnknownRoute(t *testing.T) {
	t.Parallel()
	var log []string
	long := strings.Repeat("x", 1000)
	sink := weaver.Route(func(r *weaver.Record[int]) string {
		return map[int]string{1: "nowhere", 2: long}[r.Value]
	}, map[string]weaver.Sink[int]{"a": &script{name: "a", log: &log}, "b": &script{name: "b", log: &log}})
	err := openScripts(t, sink).Write(t.Context(), batchOf(1, 2))
	var partial *weaver.BatchError
	require.ErrorAs(t, err, &partial)
	require.EqualError(t, partial.Records[0].Err, `there is no route "nowhere", only a, b`)
	require.Less(t, len(partial.Records[1].Err.Error()), 200)
}

func TestFanoutFlush(t *testing.T) {
	t.Parallel()
	parity := func(r *weaver.Record[int]) string { return []string{"b", "c"}[r.Value%2] }
	var log []string
	plain := &script{name: "a", log: &log}
	even := &script{name: "b", log: &log, buffers: true}
	odd := &script{name: "c", log: &log, buffers: true, due: true}

	t.Run("of plain ones is none", func(t *testing.T) {
		for _, sink := range []weaver.Sink[int]{
			weaver.Tee[int](plain, plain), weaver.Route(parity, map[string]weaver.Sink[int]{"b": plain}),
		} {
			_, flushes := weaver.As[weaver.Flusher](openScripts(t, sink))
			require.False(t, flushes)
		}
	})
	t.Run("asks and flushes those that were given something", func(t *testing.T) {
		w := openScripts(t, weaver.Route(parity, map[string]weaver.Sink[int]{"a": plain, "b": even, "c": odd}))
		f, flushes := weaver.As[weaver.Flusher](w)
		require.True(t, flushes)
		log = nil
		require.NoError(t, w.Write(t.Context(), batchOf(2)))
		require.False(t, f.Due(), "c has nothing")
		require.NoError(t, f.Flush(t.Context()))
		require.NoError(t, w.Write(t.Context(), batchOf(3)))
		require.True(t, f.Due())
		require.NoError(t, f.Flush(t.Context()))
		require.False(t, f.Due())
		require.NoError(t, f.Flush(t.Context()))
		require.Equal(t, []string{"b write [2]", "b flush", "c write [3]", "c flush"}, log)
	})
	t.Run("ends with the first that fails", func(t *testing.T) {
		even.flush = retry.Permanent(errBad)
		w := openScripts(t, weaver.Tee[int](plain, even, odd))
		f, flushes := weaver.As[weaver.Flusher](w)
		require.True(t, flushes)
		log = nil
		require.NoError(t, w.Write(t.Context(), batchOf(2)))
		err := f.Flush(t.Context())
		require.ErrorIs(t, err, errBad)
		require.Equal(t, retry.ClassPoison, retry.ClassOf(err))
		require.ErrorContains(t, err, "sink 2 of the Tee (b)")
		require.Equal(t, []string{"a write [2]", "b write [2]", "c write [2]", "b flush"}, log)
	})
}

func TestFanoutOpen(t *testing.T) {
	t.Parallel()
	pick := func(*weaver.Record[int]) string { return "a" }
	var log []string
	a := &script{name: "a", log: &log, health: errOutage}
	out := &script{name: "b", log: &log, open: retry.Transient(errOutage)}
	commits := openerFunc(func() weaver.Writer[int] { return onlyCommits{scriptWriter{a}} })
	var none *script
	for name, test := range map[string]struct {
		sink  weaver.Sink[int]
		class retry.Class
		says  string
		calls []string
	}{
		"Tee of none":           {weaver.Tee[int](), retry.ClassFatal, "no sink", nil},
		"Tee of nil":            {weaver.Tee[int](a, none), retry.ClassFatal, "sink 2 of the Tee (nil): the Sink is nil", []string{"a open false", "a close"}},
		"Tee of one that's out": {weaver.Tee[int](a, out), retry.ClassTransient, "sink 2 of the Tee (b): out of reach", []string{"a open false", "b open false", "a close"}},
		"Tee, only commits":     {weaver.Tee[int](commits), retry.ClassFatal, "no Flusher", []string{"a close"}},
		"Tee, no Writer":        {weaver.Tee[int](openerFunc(func() weaver.Writer[int] { return nil })), retry.ClassFatal, "neither a Writer nor an error", nil},
		"Route of none":         {weaver.Route(pick, nil), retry.ClassFatal, "no sink", nil},
		"Route without a pick":  {weaver.Route(nil, map[string]weaver.Sink[int]{"a": a}), retry.ClassFatal, "is nil", nil},
		"Route to one that's out": {
			weaver.Route(pick, map[string]weaver.Sink[int]{"x": a, "y": out}), retry.ClassTransient,
			`route "y" (b): out of reach`,
			[]string{"a open false", "b open false", "a close"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			log = nil
			w, err := test.sink.OpenWriter(t.Context(), weaver.Lane{})
			require.Nil(t, w)
			require.ErrorContains(t, err, test.says)
			require.Equal(t, test.class, retry.ClassOf(err))
			require.Equal(t, test.calls, log)
		})
	}
	t.Run("health", func(t *testing.T) {
		for _, sink := range []weaver.Sink[int]{weaver.Tee[int](a, out), weaver.Route(pick, map[string]weaver.Sink[int]{"x": a, "y": out})} {
			h, ok := weaver.As[weaver.HealthChecker](sink)
			require.True(t, ok)
			require.ErrorIs(t, h.CheckHealth(t.Context()), errOutage)
		}
	})
	t.Run("names", func(t *testing.T) {
		require.Equal(t, "weaver.Tee(a, nil)", fmt.Sprint(weaver.Tee[int](a, none)))
		require.Equal(t, "weaver.Route(x, y)", fmt.Sprint(weaver.Route(pick, map[string]weaver.Sink[int]{"y": out, "x": a})))
	})
}

type openerFunc func() weaver.Writer[int]

func (f openerFunc) OpenWriter(context.Context, weaver.Lane) (weaver.Writer[int], error) {
	return f(), nil
}

var quiet = slog.New(slog.DiscardHandler)

// upTo is the values from 0 up to n.
func upTo(n int) []int {
	values := make([]int, n)
	for i := range values {
		values[i] = i
	}
	return values
}

// counts says how often each value is there.
func counts(values []int) map[int]int {
	m := make(map[int]int)
	for _, v := range values {
		m[v]++
	}
	return m
}

// deadInts is a sink for dead letters that copies what they point to, which the engine uses again.
func deadInts() *weavertest.DeadLetters[int] {
	letters := weavertest.NewDeadLetters[int]()
	letters.Clone = func(l weaver.Rejected[int]) weaver.Rejected[int] {
		v := *l.Value
		l.Value = &v
		return l
	}
	return letters
}

// refuseOnce is a Refuse that lets a record that fails transiently pass at its second attempt, and every multiple of
// poison never.
func refuseOnce(transient, poison int) func(weaver.Record[int]) error {
	seen := make(map[int]bool)
	return func(r weaver.Record[int]) error {
		switch {
		case poison > 0 && r.Value%poison == 0:
			return retry.Permanent(errBad)
		case transient > 0 && r.Value%transient == 0 && !seen[r.Value]:
			seen[r.Value] = true
			return retry.Transient(errBusy)
		}
		return nil
	}
}

// TestTeeLosesNothing runs pipelines with faults in one branch: whatever happens, both sinks have every record that is
// not in the dead letters.
func TestTeeLosesNothing(t *testing.T) {
	t.Parallel()
	const n = 2000
	for _, refusal := range []weavertest.Refusal{weavertest.Named, weavertest.NamedAll, weavertest.Unnamed, weavertest.AtFlush, weavertest.WriteBroken} {
		for _, mode := range []weavertest.Mode{weavertest.Plain, weavertest.Buffered, weavertest.Transactional} {
			if refusal == weavertest.AtFlush && mode == weavertest.Plain {
				continue
			}
			for _, second := range []bool{false, true} {
				t.Run(fmt.Sprintf("refusal %d mode %d second %v", refusal, mode, second), func(t *testing.T) {
					t.Parallel()
					src := weavertest.NewSource(upTo(n)...)
					good, bad := weavertest.NewSink[int](), weavertest.NewSink[int]()
					bad.Mode, bad.Refusal = mode, refusal
					bad.Refuse = refuseOnce(0, 701) // 0, 701, 1402
					if refusal == weavertest.Named || refusal == weavertest.NamedAll {
						bad.Refuse = refuseOnce(97, 701)
					}
					bad.Faults = []weavertest.Fault{
						{On: weavertest.CallWrite, At: 300, Err: errOutage},
						{On: weavertest.CallWrite, At: 900, Err: errOutage, Lost: true},
						{On: weavertest.CallFlush, At: 2, Err: errOutage},
						{On: weavertest.CallFlush, At: 4, Err: errOutage, Lost: true},
						{On: weavertest.CallOpen, At: 1, Err: errOutage},
					}
					sinks := []weaver.Sink[int]{bad, good}
					if second {
						sinks = []weaver.Sink[int]{good, bad}
					}
					letters := deadInts()
					p := weaver.Copy(src, weaver.Tee(sinks...))
					p.DeadLetter = letters
					p.BatchSize = 50
					p.Retry = retry.Policy{Initial: 1, Max: 1}
					p.Scribble, p.Log = true, quiet
					require.NoError(t, p.Run(t.Context()))
					dead := make(map[int]bool)
					for _, l := range letters.Values() {
						dead[*l.Value] = true
					}
					require.Equal(t, map[int]bool{0: true, 701: true, 1402: true}, dead)
					for _, s := range []*weavertest.Sink[int]{good, bad} {
						require.NoError(t, s.Check())
						got := counts(s.Values())
						for i := range n {
							if !dead[i] {
								require.Positive(t, got[i], "record %d is missing", i)
							}
						}
					}
					require.NoError(t, src.Check())
					require.Equal(t, n, src.Acked(""))
				})
			}
		}
	}
}

func TestRouteLosesNothing(t *testing.T) {
	t.Parallel()
	const n = 2000
	for _, refusal := range []weavertest.Refusal{weavertest.Named, weavertest.NamedAll, weavertest.Unnamed, weavertest.AtFlush, weavertest.WriteBroken} {
		for _, mode := range []weavertest.Mode{weavertest.Plain, weavertest.Buffered, weavertest.Transactional} {
			if refusal == weavertest.AtFlush && mode == weavertest.Plain {
				continue
			}
			t.Run(fmt.Sprintf("refusal %d mode %d", refusal, mode), func(t *testing.T) {
				t.Parallel()
				src := weavertest.NewSource(upTo(n)...)
				even, odd := weavertest.NewSink[int](), weavertest.NewSink[int]()
				odd.Mode, odd.Refusal = mode, refusal
				odd.Refuse = refuseOnce(0, 701) // 701: 0 and 1402 are even
				odd.Faults = []weavertest.Fault{
					{On: weavertest.CallWrite, At: 300, Err: errOutage},
					{On: weavertest.CallWrite, At: 600, Err: errOutage, Lost: true},
					{On: weavertest.CallFlush, At: 2, Err: errOutage},
				}
				letters := deadInts()
				p := weaver.Copy(src, weaver.Route(func(r *weaver.Record[int]) string {
					switch {
					case r.Value%500 == 499:
						return "lost"
					case r.Value%2 == 0:
						return "even"
					}
					return "odd"
				}, map[string]weaver.Sink[int]{"even": even, "odd": odd}))
				p.DeadLetter = letters
				p.BatchSize = 50
				p.Retry = retry.Policy{Initial: 1, Max: 1}
				p.Scribble, p.Log = true, quiet
				require.NoError(t, p.Run(t.Context()))
				dead := make(map[int]bool)
				for _, l := range letters.Values() {
					dead[*l.Value] = true
				}
				require.Equal(t, map[int]bool{499: true, 701: true, 999: true, 1499: true, 1999: true}, dead)
				for parity, s := range []*weavertest.Sink[int]{even, odd} {
					require.NoError(t, s.Check())
					got := counts(s.Values())
					for i := range n {
						if !dead[i] && i%2 == parity {
							require.Positive(t, got[i], "record %d is missing", i)
						} else {
							require.Zero(t, got[i], "record %d is in the wrong place", i)
						}
					}
				}
				require.Equal(t, n, src.Acked(""))
			})
		}
	}
}

// TestTeeKeepsOrderOfAKey lets the second of two sinks refuse records for a while: in both, the last record of each key
// must be the last one read.
func TestTeeKeepsOrderOfAKey(t *testing.T) {
	t.Parallel()
	const n, keys = 1000, 7
	src := weavertest.NewSource[int]()
	for i := range n {
		src.Add("", weaver.Record[int]{Value: i, Key: fmt.Append(nil, i%keys)})
	}
	first, second := weavertest.NewSink[int](), weavertest.NewSink[int]()
	first.Refuse = refuseOnce(31, 0)
	second.Refuse = refuseOnce(13, 0)
	p := weaver.Copy(src, weaver.Tee[int](first, second))
	p.Retry, p.Log = retry.Policy{Initial: 1, Max: 1}, quiet
	p.BatchSize = 100
	require.NoError(t, p.Run(t.Context()))
	for _, s := range []*weavertest.Sink[int]{first, second} {
		last := make(map[int]int)
		for _, v := range s.Values() {
			last[v%keys] = v
		}
		for i := n - keys; i < n; i++ {
			require.Equal(t, i, last[i%keys])
		}
	}
}

func TestTeeOfDeadLetters(t *testing.T) {
	t.Parallel()
	plain, buffered := deadInts(), deadInts()
	buffered.Mode = weavertest.Buffered
	buffered.Faults = []weavertest.Fault{{On: weavertest.CallFlush, Err: errOutage}}
	out := weavertest.NewSink[int]()
	p := weaver.NewPipeline(weavertest.NewSource(upTo(100)...), weaver.Filter(func(i int) (bool, error) {
		if i%10 == 3 {
			return false, errBad
		}
		return true, nil
	}), out)
	p.DeadLetter = weaver.Tee[weaver.Rejected[int]](plain, buffered)
	p.Retry, p.Log = retry.Policy{Initial: 1, Max: 1}, quiet
	require.NoError(t, p.Run(t.Context()))
	for _, letters := range []*weavertest.DeadLetters[int]{plain, buffered} {
		got := make(map[int]bool)
		for _, l := range letters.Values() {
			got[*l.Value] = true
		}
		require.Len(t, got, 10)
	}
	require.Len(t, counts(out.Values()), 90)
}

func TestTeeOfCheckpointersIsRefusedExactlyOnce(t *testing.T) {
	t.Parallel()
	out := weavertest.NewSink[int]()
	out.Mode = weavertest.Transactional
	p := weaver.Copy(weavertest.NewSource(1, 2), weaver.Tee[int](out))
	p.Require = weaver.ExactlyOnce
	require.ErrorContains(t, p.Run(t.Context()), "ExactlyOnce")
	require.NoError(t, out.Check())
}
