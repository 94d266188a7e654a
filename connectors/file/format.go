package file

import weaver "github.com/bohica-labs/dataweaver"

// format is all that differs from one kind of file to another. Positions, resuming, rejecting and durability know nothing of it. It belongs to one reader or
// one writer.
type format[T any] struct {
	framing framing
	decoder decoder[T]
	encoder encoder[T]
	lines   bool // records are lines: a line end behind a record is part of it
	mark    byte // where lines: a line without it, that doesn't begin with white space, is a record; 0: all such lines are
	bom     bool // a byte order mark at the beginning is skipped
}

// framing finds where records begin and end. It keeps nothing from one call to the next, so that any record's begin is a place to resume at.
type framing interface {
	// next returns the first record of data, which begins where a record begins; false if its end is not in data, which it always is at the end of the file
	// unless there is none.
	next(data []byte, eof bool) (frame, bool)
}

// frame is one record among others.
type frame struct {
	size  int   // with its line end
	body  int   // without it
	lines int   // line ends in size
	blank bool  // nothing that could be a record
	bad   error // why this is none; size is then the line it begins on
}

// decoder makes values of framed records.
type decoder[T any] interface {
	// headed says what the first record of a file is to it.
	headed() headerUse
	// begin is called for each file, before decode, with the first record where headed asks for it; nil: there is none. It doesn't keep it.
	begin(header []byte) error
	// decode sets *v, which is zero, to what body says. Memory that lives as long as b comes from b; body is overwritten later.
	decode(b *weaver.Batch[T], body []byte, v *T) error
}

// encoder makes records of values.
type encoder[T any] interface {
	// header returns what a file begins with, complete with its line end; nil: nothing.
	header() ([]byte, error)
	// append appends a record and its line end to dst. After an error, what is in dst up to its length is as it was.
	append(dst []byte, v *T) ([]byte, error)
	mender
}

// mender knows how to end a record that somebody else began.
type mender interface {
	// mend returns what to append to a file, that isn't empty and ends with last, so that the next record is not part of one before. Quotes counts the
	// quotation marks in the file.
	mend(last byte, quotes func() (int64, error)) (string, error)
}

// headerUse is what the first record of a file is to a decoder.
type headerUse uint8

const (
	noHeader    headerUse = iota // a record like any other
	firstRecord                  // a record like any other, which says something about all
	ownRecord                    // a header, and no record
)
