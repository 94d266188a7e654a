package crash

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Plan says when a program is killed, and when to give up. It is a value that Run doesn't change.
//
// Kills are spread over the output: the next one comes when what is left has shrunk by a random share, so that those
// that are left fit in. A program that is much faster than it is watched, every millisecond at best, ends before it was
// killed often enough. Pipeline.RateLimit makes it slower, a small CheckpointInterval its output steadier, and Again lets
// it begin anew.
type Plan struct {
	// Progress tells how far the output has come, in any unit: the number of the last record, records, bytes. It is
	// asked every millisecond, while the program runs. It may go back when a program starts again. LastLine makes one
	// for files. It must be set.
	Progress func() (int64, error)

	// Total is what Progress tells of a complete output. It must be set.
	Total int64

	// Kills is how often the program is killed at a moment that counts: after it made progress since it was started, and
	// before the output is complete. Default 10.
	Kills int

	// Early is how often it is killed besides, after some of those kills, at a random moment of its start, when it takes
	// up what the one before has left. Default a quarter of Kills; negative: never.
	Early int

	// Jitter is how long at most, a random time, the program runs on after the progress that the kill was waiting for, so
	// that kills come at any moment of a write or a commit, and not only right behind one. Default as long as two steps of
	// the output take, as far as has been seen, but no longer than 2 s, nor than the kill's share of the time that the rest
	// of the output takes; and half of that each time the program has begun anew (Again); negative: none.
	Jitter time.Duration

	// Seed makes the random moments.
	Seed uint64

	// Patience is how long the program may go on without any progress. Default 30 s.
	Patience time.Duration

	// Timeout is how long all of it may take. Default 5 min.
	Timeout time.Duration

	// AfterKill is called after each kill, when the program is dead and before it is started again, with what there was of
	// the output before the kill; an error ends the Run. It may look at what is there, but must leave it alone. Default none.
	AfterKill func(Kill) error

	// Again is called when the program has come to its end before it was killed often enough. It looks at the output,
	// which is complete, and takes it and all positions away, so that the program begins anew; an error ends the Run. That
	// happens 10 times at most. Default none: too few kills are an error.
	Again func() error
}

// Kill is one kill.
type Kill struct {
	Life     int   // how often the program had been started, 1 the first time
	Progress int64 // that it had made in all
	Counts   bool  // it came between the first write of that life and the end of the output
}

// Report is what a Run did.
type Report struct {
	Kills []Kill // all of them, those that don't count included
	Lives int    // how often the program was started
	Again int    // how often it began anew because it had come to its end
	Took  time.Duration
}

// Counted returns how many kills count.
func (r Report) Counted() int {
	n := 0
	for _, k := range r.Kills {
		if k.Counts {
			n++
		}
	}
	return n
}

// String is for logs: 10 kills at 812, 1920, …; 2 others; 13 lives in 1.2s.
func (r Report) String() string {
	var b strings.Builder
	counted := r.Counted()
	fmt.Fprintf(&b, "%d kills", counted)
	const most = 12
	told := 0
	for _, k := range r.Kills {
		if !k.Counts {
			continue
		}
		switch told++; {
		case told == 1:
			fmt.Fprintf(&b, " at %d", k.Progress)
		case told <= most:
			fmt.Fprintf(&b, ", %d", k.Progress)
		case told == most+1:
			b.WriteString(", …")
		}
	}
	fmt.Fprintf(&b, "; %d others; %d lives in %v", len(r.Kills)-counted, r.Lives, r.Took.Round(time.Millisecond))
	if r.Again > 0 {
		fmt.Fprintf(&b, "; %d times anew", r.Again)
	}
	return b.String()
}

// filled returns p with defaults.
func (p Plan) filled() (Plan, error) {
	var errs []error
	bad := func(field string, value any, why string) {
		errs = append(errs, fmt.Errorf("crash: Plan.%s is %v: %s", field, value, why))
	}
	if p.Progress == nil {
		errs = append(errs, errors.New("crash: Plan.Progress is nil: set it (LastLine makes one for a file)"))
	}
	if p.Total < 2 {
		bad("Total", p.Total, "must be at least 2, what Progress tells of a complete output")
	}
	if p.Kills < 0 {
		bad("Kills", p.Kills, "must not be negative")
	}
	if p.Patience < 0 {
		bad("Patience", p.Patience, "must not be negative")
	}
	if p.Timeout < 0 {
		bad("Timeout", p.Timeout, "must not be negative")
	}
	p.Kills = or(p.Kills, defaultKills)
	p.Early = max(0, or(p.Early, (p.Kills+3)/4))
	p.Patience = time.Duration(or(int64(p.Patience), int64(defaultPatience)))
	p.Timeout = time.Duration(or(int64(p.Timeout), int64(defaultTimeout)))
	return p, errors.Join(errs...)
}

const (
	defaultKills    = 10
	greatestJitter  = 2 * time.Second
	defaultPatience = 30 * time.Second
	defaultTimeout  = 5 * time.Minute
	mostAgain       = 10
)
