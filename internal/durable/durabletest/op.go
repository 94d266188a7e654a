package durabletest

import (
	"errors"
	"fmt"
)

// The kinds of Op, as they are called in package durable. The first group changes something or makes it durable, the second only looks.
const (
	Create   = "create" // OpenFile that makes a file or empties one
	Mkdir    = "mkdir"
	Link     = "link"
	Rename   = "rename"
	Remove   = "remove"
	Write    = "write" // also WriteAt
	Truncate = "truncate"
	Sync     = "sync"
	SyncDir  = "syncdir"

	Open    = "open" // any other OpenFile
	Read    = "read" // also ReadAt
	ReadDir = "readdir"
	Stat    = "stat"
	Close   = "close"
)

// Op is one operation on a Disk. MkdirAll is an Op for each folder that it makes, none where all are there.
type Op struct {
	N    int    // how many came before
	Kind string // Create …
	Name string // the absolute, clean name, with slashes
	To   string // the new name of Link and Rename
	Size int    // of Write and Read, in bytes; of Truncate, the new size
}

// String is the Op as one short line for a test's log.
func (o Op) String() string {
	s := fmt.Sprintf("%d %s %s", o.N, o.Kind, o.Name)
	if o.To != "" {
		s += " to " + o.To
	}
	if o.Size != 0 {
		s += fmt.Sprintf(" (%d)", o.Size)
	}
	return s
}

// Changes reports whether o changes something or makes it durable. A crash before an operation that only looks leaves the same as one after it.
func (o Op) Changes() bool {
	switch o.Kind {
	case Create, Mkdir, Link, Rename, Remove, Write, Truncate, Sync, SyncDir:
		return true
	}
	return false
}

// ErrPowerLoss is what every operation on a Disk, and on a file opened on it, returns from the moment of its crash.
var ErrPowerLoss = errors.New("the power is gone")

// ShortWrite is an error for [Disk.Fail] that makes a write take the first Keep bytes and then fail with Err; of other operations it is Err.
type ShortWrite struct {
	Keep int
	Err  error
}

func (s *ShortWrite) Error() string { return s.Err.Error() }
func (s *ShortWrite) Unwrap() error { return s.Err }

// FailAt is for [Disk.Fail]: operation n fails with err, all others succeed.
func FailAt(n int, err error) func(Op) error {
	return func(o Op) error {
		if o.N == n {
			return err
		}
		return nil
	}
}

// FailFrom is for [Disk.Fail]: operation n and all after it fail with err, as on a disk that stays full.
func FailFrom(n int, err error) func(Op) error {
	return func(o Op) error {
		if o.N >= n {
			return err
		}
		return nil
	}
}
