package weavertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// glance is how long a call that should wait is watched before its ctx ends.
const glance = 10 * time.Millisecond

// defaultPatience is how long a rule may take, and a call whose ctx has ended.
const defaultPatience = 10 * time.Second

// RuleError is the first rule of the contract that a connector breaks.
type RuleError struct {
	Rule   string // its name, as in the doc of the suite and in the case's Skip
	Detail string // what was expected and what happened
	Err    error  // what a call returned, if that is what is wrong; else nil
}

// Error names the rule and what happened.
func (e *RuleError) Error() string {
	return fmt.Sprintf("weavertest: rule %q is broken: %s", e.Rule, e.Detail)
}

// Unwrap returns Err.
func (e *RuleError) Unwrap() error { return e.Err }

// rule is one rule of a suite, which a run of R checks.
type rule[R any] struct {
	name  string
	check func(run R, ctx context.Context) error // a method expression
}

// suite runs rules in order until one is broken.
type suite[R any] struct {
	rules    []rule[R]
	skip     []string
	patience time.Duration
	idle     func()                                 // before goroutines are counted; may be nil
	begin    func(ctx context.Context) (R, error)   // before each rule
	end      func(ctx context.Context, run R) error // after each rule; may be nil
}

const ruleLeak = "leak"

func (s suite[R]) run(ctx context.Context) error {
	if s.patience == 0 {
		s.patience = defaultPatience
	}
	for _, name := range s.skip {
		if name != ruleLeak && !slices.ContainsFunc(s.rules, func(r rule[R]) bool { return r.name == name }) {
			return fmt.Errorf("weavertest: Skip names rule %q, which there isn't", name)
		}
	}
	for _, r := range s.rules {
		if slices.Contains(s.skip, r.name) {
			continue
		}
		if err := s.one(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func (s suite[R]) one(ctx context.Context, r rule[R]) error {
	run, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf("weavertest: before rule %q: New: %w", r.name, err)
	}
	ruleCtx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	label := strconv.FormatInt(ruleCount.Add(1), 10)
	done := make(chan error, 1)
	go pprof.Do(ruleCtx, pprof.Labels(leakLabel, label), func(ctx context.Context) {
		defer func() {
			if v := recover(); v != nil {
				done <- fmt.Errorf("panic: %v\n%s", v, debug.Stack())
			}
		}()
		done <- r.check(run, ctx)
	})
	select {
	case err = <-done:
	case <-ruleCtx.Done():
		select {
		case err = <-done:
		case <-time.After(s.patience):
			return &RuleError{Rule: r.name, Detail: fmt.Sprintf("a call goes on %v after its ctx has ended", s.patience)}
		}
	}
	if err == nil && s.end != nil {
		err = s.end(ctx, run)
	}
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("weavertest: stopped in rule %q: %w", r.name, context.Cause(ctx))
		}
		detail := err.Error()
		if errors.Is(err, context.DeadlineExceeded) {
			detail = fmt.Sprintf("not through after %v: %s", s.patience, detail)
		}
		return &RuleError{Rule: r.name, Detail: detail, Err: errors.Unwrap(err)}
	}
	if slices.Contains(s.skip, ruleLeak) {
		return nil
	}
	if s.idle != nil {
		s.idle()
	}
	if left := leaked(label, s.patience); left != "" {
		return &RuleError{Rule: ruleLeak, Detail: fmt.Sprintf("after rule %q, with everything closed, this goroutine goes on:\n%s", r.name, left)}
	}
	return nil
}

// leakLabel marks the goroutines of a rule and all that they start, so that tests beside it don't disturb.
const leakLabel = "weavertest-rule"

var ruleCount atomic.Int64

// leaked waits until no goroutine of the rule is left, or returns the stack of one that doesn't end.
func leaked(label string, patience time.Duration) string {
	deadline := time.Now().Add(min(patience, 5*time.Second))
	for wait := time.Millisecond; ; wait *= 2 {
		left := labelled(label)
		if left == "" || !time.Now().Before(deadline) {
			return left
		}
		<-time.After(wait)
	}
}

// labelled returns the stack of a goroutine with the label, if there is one.
func labelled(label string) string {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return ""
	}
	mark := fmt.Sprintf("%q:%q", leakLabel, label)
	for part := range strings.SplitSeq(profile.String(), "\n\n") {
		if strings.Contains(part, mark) {
			return part
		}
	}
	return ""
}

// errNil stands for nil where an error was expected.
var errNil = errors.New("nil")

// orNil makes err fit to be wrapped.
func orNil(err error) error {
	if err == nil {
		return errNil
	}
	return err
}

// quiet is the Log of lanes that a suite opens.
var quiet = slog.New(slog.DiscardHandler)

// short is a value for people.
func short(v any) string {
	s := fmt.Sprintf("%+v", v)
	switch p := v.(type) {
	case []byte:
		s = fmt.Sprintf("%q", p)
	case string:
		s = strconv.Quote(p)
	}
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return s
}
