package checkpoint

import (
	"fmt"
	"path/filepath"
)

// CorruptError says that the current value of a key is damaged: a file that was cut, overwritten, or altered on its medium. It is no business of a program to
// choose what to lose, so nothing is read in its place: its text says what a person can do.
type CorruptError struct {
	Key     string
	Path    string  // the damaged file
	Version Version // that it should hold

	Previous        string  // the newest older file that is good; "" if there is none
	PreviousVersion Version // that it holds; 0 if there is none

	Err error // what is wrong
}

// Error says which file is damaged, how, and what to do about it.
func (e *CorruptError) Error() string {
	s := fmt.Sprintf("checkpoint: %s, version %d of key %s, is damaged: %v; ", e.Path, e.Version, quote(e.Key), e.Err)
	switch {
	case e.Previous == "":
		return s + "no older version is there: restore it from a backup, or to start from the beginning remove " + filepath.Dir(e.Path)
	case e.PreviousVersion == e.Version-1:
		return s + fmt.Sprintf("to go back to version %d, which is good, remove that file (the older one is %s)", e.PreviousVersion, e.Previous)
	default:
		return s + fmt.Sprintf("to go back to version %d, which is good, remove all files of later versions (it is %s)", e.PreviousVersion, e.Previous)
	}
}

// Unwrap returns what is wrong with the file.
func (e *CorruptError) Unwrap() error { return e.Err }
