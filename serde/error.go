package serde

import (
	"fmt"
	"strconv"

	"github.com/bohica-labs/dataweaver/retry"
)

// Error says which record could not be decoded or encoded.
type Error struct {
	Op      string // "decode" or "encode"
	Seq     int64  // the record's Seq, as its origin counts
	Excerpt string // of what could not be decoded, as Excerpt makes it; empty otherwise
	Err     error  // of the Codec
}

// Error is one line.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s seq %d: %v", e.Op, e.Seq, e.Err)
	if e.Excerpt != "" {
		s += ": " + e.Excerpt
	}
	return s
}

// Unwrap returns the Codec's error.
func (e *Error) Unwrap() error { return e.Err }

// poison marks a codec's error, unless the codec itself said that it is something else.
func poison(e *Error) error {
	if retry.ClassOf(e.Err) == retry.ClassUnmarked {
		return retry.Permanent(e)
	}
	return e // the mark is found through Unwrap
}

// excerptBytes is how much of a record an error shows at most.
const excerptBytes = 128

// Excerpt returns the beginning of data for an error: quoted, so that it can neither break a line nor drive a terminal, and never more than 128
// bytes of it, with a note how many there are.
func Excerpt(data []byte) string {
	if len(data) <= excerptBytes {
		return strconv.Quote(string(data))
	}
	return fmt.Sprintf("%q… (%d bytes)", data[:excerptBytes], len(data))
}
