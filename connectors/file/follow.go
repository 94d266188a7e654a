package file

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Start says where a followed file is begun that was never read before.
type Start uint8

const (
	// Beginning reads all that the file holds.
	Beginning Start = iota
	// End reads what comes after the last line end that is there. Lines are counted from there.
	End
)

// String returns the name of the constant.
func (s Start) String() string { return nameOf("Start", s, "Beginning", "End") }

// Order says in which order the files of a split are read.
type Order uint8

const (
	// ByName is the order of their names.
	ByName Order = iota
	// ByTime is the order in which they were last modified, and of their names where that is the same.
	ByTime
)

// String returns the name of the constant.
func (o Order) String() string { return nameOf("Order", o, "ByName", "ByTime") }

// Finished says what becomes of a file all of whose records are durable.
type Finished uint8

const (
	// Leave leaves it where it is.
	Leave Finished = iota
	// Move moves it to the folder MoveTo, where it gets another name if its own is taken.
	Move
	// Delete removes it.
	Delete
)

// String returns the name of the constant.
func (f Finished) String() string { return nameOf("Finished", f, "Leave", "Move", "Delete") }

// Vanished says what comes of it if something of a followed file is lost before it was read.
type Vanished uint8

const (
	// Warn tells it to Lane.Log, and what there is is read on.
	Warn Vanished = iota
	// Fail ends the pipeline with an ErrVanished.
	Fail
)

// String returns the name of the constant.
func (v Vanished) String() string { return nameOf("Vanished", v, "Warn", "Fail") }

func nameOf[N ~uint8](kind string, n N, names ...string) string {
	if int(n) < len(names) {
		return names[n]
	}
	return kind + "(" + strconv.Itoa(int(n)) + ")"
}

// following is what a File has for following that isn't its configuration, and what tests set.
type following struct {
	hub      hub
	identify func(fs.FileInfo) identity // in place of the system's
	pace     pace
}

// pace is how often a follower looks, and how long it waits. The zero value stands for the defaults.
type pace struct {
	poll      time.Duration // how often a file is looked at that was written to a moment ago
	restTold  time.Duration // and at most, where the system tells of changes
	rest      time.Duration // and where it doesn't
	quiet     time.Duration // how long a rotated file must not have grown before the next one is read
	patience  time.Duration // how long one that goes on growing is read although there is a next one
	withdrawn time.Duration // how long a path must be gone before its split ends
}

func (p pace) filled() pace {
	return pace{
		poll:      or(p.poll, 25*time.Millisecond),
		restTold:  or(p.restTold, time.Second),
		rest:      or(p.rest, 250*time.Millisecond),
		quiet:     or(p.quiet, 250*time.Millisecond),
		patience:  or(p.patience, time.Minute),
		withdrawn: or(p.withdrawn, 2*time.Second),
	}
}

const (
	defaultPollEvery = time.Second
	defaultMaxOpen   = 512
)

// tracks reports whether each file has an entry of its own in positions, so that the order of names means nothing.
func (f *File[T]) tracks() bool {
	return f.Follow && f.Buckets > 0 || !f.Follow && (f.Order != ByName || f.Finished != Leave)
}

// validateFollow checks the fields that following and tidying away have.
func (f *File[T]) validateFollow() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if f.From > End {
		bad("field From is %v: no such choice", f.From)
	}
	if f.Order > ByTime {
		bad("field Order is %v: no such choice", f.Order)
	}
	if f.Finished > Delete {
		bad("field Finished is %v: no such choice", f.Finished)
	}
	if f.Vanished > Fail {
		bad("field Vanished is %v: no such choice", f.Vanished)
	}
	if f.PollEvery < 0 {
		bad("field PollEvery is %v: must not be negative", f.PollEvery)
	}
	if f.FinishedAfter < 0 {
		bad("field FinishedAfter is %v: must not be negative", f.FinishedAfter)
	}
	if f.MaxOpen < 0 {
		bad("field MaxOpen is %d: must not be negative", f.MaxOpen)
	}
	if (f.Finished == Move) != (f.MoveTo != "") {
		bad("field MoveTo is %q and Finished is %v: set MoveTo with Move, and only then", f.MoveTo, f.Finished)
	}
	if f.FS != nil && (f.Follow || f.Finished != Leave) {
		errs = append(errs, errors.New("field FS is set: only files of the operating system can be followed, moved or deleted"))
	}
	if f.path == stdio && (f.Follow || f.Finished != Leave || f.Order != ByName) {
		errs = append(errs, errors.New("fields Follow, Order and Finished are not for standard input, which ends when it is closed"))
	}
	if f.kind == kindArray && f.Follow {
		errs = append(errs, errors.New("field Follow is set, but an array is one value that ends: write file.NDJSON to what is followed"))
	}
	if f.Order != ByName && f.Follow && f.Buckets == 0 {
		errs = append(errs, errors.New("field Order is set, but each followed path is a split of its own: set Buckets to read many files in turn"))
	}
	if f.Follow && f.Buckets > 0 && f.Finished != Leave && f.FinishedAfter == 0 {
		errs = append(errs, errors.New("fields Follow, Buckets and Finished are set: set FinishedAfter, which says when a file is finished"))
	}
	if f.Follow && f.Buckets > 0 && f.From != Beginning {
		errs = append(errs, errors.New("fields From and Buckets are both set: From is for followed paths that are splits of their own"))
	}
	if !f.Follow {
		for _, option := range []struct {
			name string
			set  bool
		}{
			{"Rotated", f.Rotated != ""},
			{"From", f.From != Beginning},
			{"Vanished", f.Vanished != Warn},
			{"FinishedAfter", f.FinishedAfter != 0},
			{"PollEvery", f.PollEvery != 0},
			{"MaxOpen", f.MaxOpen != 0},
		} {
			if option.set {
				bad("field %s is set, which is for Follow alone", option.name)
			}
		}
	}
	if _, err := path.Match(filepath.Base(f.Rotated), ""); err != nil {
		bad("field Rotated is %q: %w", f.Rotated, err)
	}
	if strings.ContainsAny(filepath.Dir(f.Rotated), meta) {
		bad("field Rotated is %q: only its last element may be a pattern", f.Rotated)
	}
	return errors.Join(errs...)
}
