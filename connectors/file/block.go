package file

import (
	"errors"
	"fmt"

	"github.com/bohica-labs/dataweaver/internal/durable"
)

// BlockLayout is what makes a File of a format whose files are a header and then blocks, each of which holds several records, and ends with a mark that is hardly ever found
// anywhere else. The object container files of Avro are such files. It is for packages that bring a format; see connectors/avrofile for one.
//
// Its functions may be called by several goroutines at once. What they return is used by one at a time.
type BlockLayout[T any] struct {
	// Name is how errors call what makes such Files, as in avrofile.New.
	Name string

	// MaxHeader is how many bytes a header may have. A longer one is damage.
	MaxHeader int

	// MaxBlock is how many bytes a block may have, as it is stored and as its records are together. What is written stays below half of it: BufferBytes and each
	// record may have a quarter.
	MaxBlock int

	// Decoder reads the header that head begins with, and returns what reads the blocks behind it and how long it is. ErrMore: head ends within it. An error that is
	// marked retry.Permanent says that it is damaged: the file is rejected. Any other ends the pipeline. Nothing of head is kept.
	Decoder func(head []byte) (d BlockDecoder[T], size int, err error)

	// Encoder returns what writes a new file where head is empty. Otherwise head is how a file begins that is there already and is to be continued: with its header,
	// and its mark. ErrMore: head ends within that. Any other error says why it can't be continued. Nothing of head is kept. Nil: such files can't be written.
	Encoder func(head []byte) (BlockEncoder[T], error)
}

// ErrMore is what a BlockLayout returns for data that ends before what is to be read of it does.
var ErrMore = errors.New("file: more data is needed")

// Block is a block as it is stored.
type Block struct {
	Count  int    // of records
	Size   int    // of all of it, the mark included, in bytes
	Stored []byte // what there is of its records: a part of the data in which it was found
}

// BlockDecoder reads the blocks of one file. Whatever the data, it takes memory within the limits of its layout alone, and doesn't panic.
type BlockDecoder[T any] interface {
	// Mark returns what each block ends with; never empty. Behind damage, reading goes on behind the next mark.
	Mark() []byte
	// Find finds the block that data begins with. ErrMore: data ends within it, and Size is how much is needed at least. Any other error: none begins there, or
	// it isn't followed by the mark.
	Find(data []byte) (Block, error)
	// Unpack returns the records of a block, one behind the other. They are valid until the next call, and as long as Stored is. An error is damage.
	Unpack(Block) ([]byte, error)
	// Decode sets *v, which is zero, to the record that data begins with, and returns how long that is. Nothing of data is kept.
	Decode(data []byte, v *T) (size int, err error)
	// Skip returns how long the record is that data begins with. An error says that this can't be known: what is behind it in the block is lost.
	Skip(data []byte) (size int, err error)
}

// BlockEncoder writes the blocks of one file.
type BlockEncoder[T any] interface {
	// Header returns what the file begins with.
	Header() []byte
	// Mark returns what each block ends with; never empty.
	Mark() []byte
	// Append appends a record to those of a block, dst. After an error, what is in dst up to its length is as it was.
	Append(dst []byte, v *T) ([]byte, error)
	// Block appends a block of so many records, which are one behind the other.
	Block(dst, records []byte, count int) ([]byte, error)
}

// Blocks returns a File of blocks. It reads and writes, with all that a File promises: Seq counts records from 1, a position may be in the middle of a block, and what is durable ends with a
// whole block. Field Codec is not for it. A block is written when it has BufferBytes of records, by default 256 KiB, and whenever records become durable.
//
// A block that is damaged is rejected as one, and so is a record of it that can't be decoded, or the rest of the block if nothing says where that ends. A file that ends within a block, or whose
// header is damaged, is rejected from there on.
func Blocks[T any](path string, layout BlockLayout[T]) *File[T] {
	return &File[T]{path: path, kind: kind(layout.Name), blocks: max(1, layout.MaxBlock/4), fsys: durable.OS(), format: func(f *File[T]) (format[T], error) { return newBlocks(f, &layout) }}
}

func newBlocks[T any](f *File[T], layout *BlockLayout[T]) (format[T], error) {
	switch {
	case layout.Name == "" || layout.Decoder == nil || layout.MaxHeader <= 0 || layout.MaxBlock <= 0:
		return format[T]{}, errors.New("the BlockLayout lacks Name, Decoder, MaxHeader or MaxBlock")
	case f.BufferBytes > f.blocks:
		return format[T]{}, fmt.Errorf("field BufferBytes is %d: must not be more than a quarter of what a block may have, which is %d", f.BufferBytes, layout.MaxBlock)
	}
	return format[T]{layout: layout, encoder: &blockRecords[T]{layout: layout}, number: true}, nil
}
