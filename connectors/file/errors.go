package file

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde"
)

// RecordError says which record of a file could not be read, and why.
type RecordError struct {
	Path    string
	Line    int64  // on which the record begins, the first is 1; 0 where records are no lines
	Record  int64  // which one it is, the first is 1, where records are no lines: JSONArray, Fixed, Prefixed, Blocks
	Offset  int64  // at which it begins, or the block that it is in, in bytes
	Excerpt string // how it begins, quoted, 128 bytes at most
	Err     error
}

// Error is one line: path:line (byte offset): why: excerpt; or path: record number and so on.
func (e *RecordError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: record %d (byte %d): %v: %s", e.Path, e.Record, e.Offset, e.Err, e.Excerpt)
	}
	return fmt.Sprintf("%s:%d (byte %d): %v: %s", e.Path, e.Line, e.Offset, e.Err, e.Excerpt)
}

// Unwrap returns why.
func (e *RecordError) Unwrap() error { return e.Err }

func recordError(path string, line, offset int64, raw []byte, err error) error {
	return &RecordError{Path: path, Line: line, Offset: offset, Excerpt: serde.Excerpt(raw), Err: err}
}

// advice marks those errors of the operating system as fatal that somebody has to do something about, and says what. Any other, such as one of a disk that
// is full or a share that is away, may pass.
func advice(err error, missing string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return retry.Fatal(fmt.Errorf("%w: %s", err, missing))
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return retry.Fatal(fmt.Errorf("%w: give the user that this program runs as the right to do it, or another path", err))
	case errors.Is(err, syscall.EISDIR):
		return retry.Fatal(fmt.Errorf("%w: give the path of a file in it", err))
	case errors.Is(err, syscall.ENOTDIR):
		return retry.Fatal(fmt.Errorf("%w: a part of the path before the last is no folder", err))
	}
	return err
}
