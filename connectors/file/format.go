package file

import (
	"io"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/serde"
)

// format is all that differs from one kind of file to another. Positions, resuming, rejecting and durability know nothing of it. It belongs to one reader or
// one writer.
type format[T any] struct {
	framing framing
	decoder decoder[T]
	encoder encoder[T]
	many    manyDecoder[T]  // nil: none
	codec   serde.Codec[T]  // with which framing and decoder, or encoder, were made; nil: with none
	layout  *BlockLayout[T] // of files of blocks, for which framing and decoder are nil; nil: of any other
	lines   bool            // records are lines: a line end behind a record is part of it, and the next one begins a record, whatever is wrong with this one
	prefix  int             // how long what belongs to a record and comes before its value is at most, where that isn't counted as part of it
	number  bool            // Seq, and errors, say which record of its file it is, and not on which line it begins
	mark    byte            // where lines: a line without it, that doesn't begin with white space, is a record; 0: all such lines are
	bom     bool            // a byte order mark at the beginning is skipped
}

// framing finds where records begin and end. It keeps nothing from one record to the next, so that any record's begin is a place to resume at.
type framing interface {
	// next returns the first record of data, which begins where a record begins; false if its end is not in data, which it always is at the end of the file
	// unless there is none. It is then called again with the same s and with more data, and looks at none of it twice.
	next(data []byte, eof bool, s *scan) (frame, bool)
}

// scan is what a framing knows of the record that data begins with. But for first it is zero where nothing was seen of that yet, and what it means is the
// framing's own business.
type scan struct {
	first  bool // it is the first of its file, a header included
	at     int  // of data that was looked at
	body   int  // where in data the value begins; 0: that was not seen yet
	depth  int
	lines  int
	phase  uint8
	quoted bool
	ended  bool // there is no other record in the file, whatever else there is
	bad    error
}

// frame is one record among others.
type frame struct {
	lead  int   // what comes before its value: what separates it from the one before, its length
	body  int   // the value
	size  int   // all of it, with lead and its line end
	lines int   // line ends in size; 1 where records are numbered
	blank bool  // nothing that could be a record
	bad   error // why this is none; size is then the line it begins on
	rest  bool  // where bad: what is behind it can't be found. It was seen at lead
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

// manyDecoder is for values that are what the lines say, byte by byte: most of the time goes into what is done for each of them.
type manyDecoder[T any] interface {
	// decodeMany adds records of the lines with which data begins to b, until it is full, and returns how long these lines are and how many. It leaves what isn't
	// a plain line, in data as a whole, not empty, not longer than longest and without white space before it. Line is the number of the first. Where owned, data
	// is b's memory, and is not copied.
	decodeMany(b *weaver.Batch[T], data []byte, owned bool, line int64, longest int) (size, lines int)
}

// manyEncoder is the same for an encoder.
type manyEncoder[T any] interface {
	// appendMany appends records until dst is as long as limit. It returns how many; all before the first one that has an error.
	appendMany(dst []byte, records []weaver.Record[T], limit int) ([]byte, int)
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

// cutter is a mender of records that can't be ended, only taken back.
type cutter interface {
	mender
	// whole returns how much of a file of so many bytes is whole records.
	whole(r io.ReaderAt, size int64) (int64, error)
}

// headerUse is what the first record of a file is to a decoder.
type headerUse uint8

const (
	noHeader    headerUse = iota // a record like any other
	firstRecord                  // a record like any other, which says something about all
	ownRecord                    // a header, and no record
)
