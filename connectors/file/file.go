package file

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"sync"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/internal/durable"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde"
)

// File is a file, or as a source also a pattern that several match: a weaver.Source and a weaver.Sink at once. It is made by CSV, NDJSON, Lines, JSONArray, Fixed, Prefixed and Blocks. Set
// fields before it is used; then it is safe for concurrent use.
//
// One File may be read by many and written by one pipeline. A path belongs in one File: two Files that write to one path keep each other out as two
// processes do, by a lock.
type File[T any] struct {
	// Parallel makes each file that the pattern matches a split of its own, read at the same time as others. Default: all are one split, read one after
	// the other in the order of their names.
	Parallel bool

	// Buckets, if positive, makes so many splits of the files that the pattern matches: each file falls to one of them by its name, and those of one are read in the
	// order of their names. It is for very many files, and must stay the same as long as there are positions. Default: see Parallel.
	Buckets int

	// Follow makes a source that doesn't end: it goes on with what is appended to its files and with new files that match, until the pipeline is stopped or
	// told to finish. Each path is a split of its own, unless Buckets is set. See Following in the package's comment. Default: a source ends.
	Follow bool

	// Rotated is a pattern for where the older generations of a followed path are, in the folder of the path unless it is absolute. {name} stands for the last
	// element of the path, {stem} for that without its extension, {ext} for the extension: "{stem}-*{ext}", "old/{name}.*". Only the last element may have wildcards.
	// Default: the name itself with something like .1, -20261123, .2026-11-23T10-00.gz or .old behind it.
	Rotated string

	// From says where a path is begun that is followed for the first time. Default Beginning.
	From Start

	// Order says in which order the files of a split are read. With ByTime, positions have an entry for each file. Default ByName.
	Order Order

	// Finished says what becomes of a file that is read to its end, once all that came of it is durable. With Follow, that is one that was rotated away, or
	// FinishedAfter. A file that has grown or was replaced meanwhile is left alone. Default Leave.
	Finished Finished

	// MoveTo is the folder that Move moves files to, on the same file system. It is made if it isn't there. No default.
	MoveTo string

	// FinishedAfter is how long a followed file must not have grown to be finished: what it has of a last line is then a record. Should it grow again, it is
	// read on. Default 0: a file is finished when it was rotated away.
	FinishedAfter time.Duration

	// Vanished says what comes of it if something of a followed file is lost, as far as that can be known: it was cut, replaced or deleted before it was read to its end,
	// or was written to after it was left for the next one. With Fail the pipeline ends with an ErrVanished, and so does each later run that misses it. To go on, run once
	// with Warn. Default Warn.
	Vanished Vanished

	// PollEvery is how often a followed pattern is looked up, at most so often that it takes a twentieth of the time. Default 1 s.
	PollEvery time.Duration

	// MaxOpen is how many followed files are open at the same time. Those that are idle are closed when others need to be opened. Default 512.
	MaxOpen int

	// FS is where a source finds its files, by paths with slashes as io/fs has them. Files that don't implement io.Seeker are resumed by reading them from their beginning. A sink has no use for
	// it. Default: the operating system's.
	FS fs.FS

	// MaxRecordBytes is how long a record may be that is read, without its line end. A longer one is rejected with its beginning, and reading goes on with the
	// next line. Default 1 MiB.
	MaxRecordBytes int

	// Comma is what separates fields of CSV, one ASCII character. Default ','.
	Comma rune

	// NoHeader says that the first row of a CSV is a record like the others: none with the names of the columns is read or written. Default: there is
	// one, unless T is []string.
	NoHeader bool

	// Columns names the columns of a CSV, in their order. A source needs it with NoHeader, where the order is not that of T's fields; a sink writes these
	// columns. Default: what the header says, or T's fields; where T is row.Row, a sink writes the columns of its first row.
	Columns []string

	// AllowMissing lets fields of T be zero for which a CSV has no column. Default: that is an error, fields with the tag `csv:"-"` excepted.
	AllowMissing bool

	// RefuseUnknown makes it an error if a CSV has a column for which T has no field. Default: the column is ignored.
	RefuseUnknown bool

	// Codec reads and writes the values of NDJSON, JSONArray, Fixed and Prefixed. Default json.Codec of package serde/json; for Fixed and Prefixed none,
	// where T is []byte, and it must be set for any other T. While what a serde.Remote codec needs is out, no record is rejected: the lane waits and tries again.
	Codec serde.Codec[T]

	// IfExists says what becomes of a file that is there already, when a pipeline starts to write. Default Refuse.
	IfExists IfExists

	// BufferBytes is how much a writer collects before it calls the operating system, and how much a block of Blocks has. Default 1 MiB; 256 KiB where the
	// file is compressed or has blocks, and for each part of Parts.
	BufferBytes int

	// Compression is how files are stored. A File that is read takes what it finds, whatever this says; see the package's comment for what is written. Default Auto: by the
	// end of the path.
	Compression Compression

	// CompressionLevel is how much time is spent on making what is written smaller: 1 to 9 for Gzip, 1 to 22 for Zstd. Default 0: what these hold to be a good
	// mean.
	CompressionLevel int

	// Sync is when what is written is made durable against a loss of power. Default SyncCommits.
	Sync SyncPolicy

	// Perm is for files that are made, before umask. Default 0o644.
	Perm fs.FileMode

	following following

	path   string
	kind   kind
	blocks int // of a file of blocks, whose kind is what its BlockLayout calls itself: how many bytes a buffer and a record may have; 0: of any other
	fsys   durable.FS
	chunk  int // that a reader reads at once; 0: readBytes

	mu     sync.Mutex
	std    standard
	sink   sinkState[T]
	format func(*File[T]) (format[T], error)
}

// IfExists says what becomes of a file that is there already.
type IfExists uint8

const (
	// Refuse starts on a file that is missing or empty, or that an earlier run of the pipeline wrote, which is continued (see the package's comment). Any
	// other is an error. Where the pipeline keeps no checkpoint in this file, as for dead letters, Refuse is Append.
	Refuse IfExists = iota
	// Append keeps what is there and adds to it.
	Append
	// Overwrite starts anew with each Run, which forgets what was there and how far an earlier run had come.
	Overwrite
)

// String returns the name of the constant.
func (e IfExists) String() string {
	switch e {
	case Refuse:
		return "Refuse"
	case Append:
		return "Append"
	case Overwrite:
		return "Overwrite"
	}
	return "IfExists(" + strconv.Itoa(int(e)) + ")"
}

// kind is the family of formats that the fields for one of them belong to.
type kind string

const (
	kindCSV    kind = "CSV"
	kindNDJSON kind = "NDJSON"
	kindLines  kind = "Lines"
	kindArray  kind = "JSONArray"
	kindFixed  kind = "Fixed"
	kindPrefix kind = "Prefixed"
)

// CSV returns a File of comma-separated values (RFC 4180), one row a record. T is a struct, whose fields are matched to the columns that the first row names,
// by their tag `csv:"name"` or their own name (see github.com/jszwec/csvutil for all that tags can say), or []string, which is a row as it is, the first
// row included, or row.Row, whatever columns there are; see Rows in the package's comment.
func CSV[T any](path string) *File[T] {
	return &File[T]{path: path, kind: kindCSV, fsys: durable.OS(), format: newCSV[T]}
}

// NDJSON returns a File of one JSON value a line (https://github.com/ndjson/ndjson-spec). Empty lines are ignored.
func NDJSON[T any](path string) *File[T] {
	return &File[T]{path: path, kind: kindNDJSON, fsys: durable.OS(), format: newNDJSON[T]}
}

// Lines returns a File of lines, each a record without its line end, which is LF or CRLF. Empty lines are records.
func Lines(path string) *File[[]byte] {
	return &File[[]byte]{path: path, kind: kindLines, fsys: durable.OS(), format: newLines}
}

// JSONArray returns a File of one JSON array (RFC 8259), each element of it a record; Seq counts them from 1. It is read element by element and may be of any length.
// It can't be written: use NDJSON.
//
// An element that isn't JSON, or doesn't fit T, is rejected alone as long as its brackets and quotation marks are closed. Where a comma or the [ or ] of the array is
// missing, something comes behind that, or an element is longer than MaxRecordBytes, the rest of the file is rejected as one.
func JSONArray[T any](path string) *File[T] {
	return &File[T]{path: path, kind: kindArray, fsys: durable.OS(), format: newJSONArray[T]}
}

// Fixed returns a File of records that have size bytes each; Seq counts them from 1. T is []byte, or anything with field Codec set. What is left at the end of a
// file and is no whole record is rejected. A value of any other size can't be written.
func Fixed[T any](path string, size int) *File[T] {
	return &File[T]{path: path, kind: kindFixed, fsys: durable.OS(), format: func(f *File[T]) (format[T], error) { return newFixed(f, size) }}
}

// Prefixed returns a File of records with their length, in bytes, before each; Seq counts them from 1. T is []byte, or anything with field Codec set. A length that makes no
// sense, or is beyond MaxRecordBytes, leaves no way to find the next record: the rest of the file is rejected as one.
func Prefixed[T any](path string, prefix Prefix) *File[T] {
	return &File[T]{path: path, kind: kindPrefix, fsys: durable.OS(), format: func(f *File[T]) (format[T], error) { return newPrefixed(f, prefix) }}
}

var (
	_ weaver.Source[int] = (*File[int])(nil)
	_ weaver.Sink[int]   = (*File[int])(nil)
	_ weaver.Splitter    = (*File[int])(nil)
	_ weaver.Queue       = (*File[int])(nil)
	_ fmt.Stringer       = (*File[int])(nil)
)

// String names the File in errors: file.CSV "orders.csv".
func (f *File[T]) String() string { return fmt.Sprintf("%s %q", f.constructor(), f.path) }

func (f *File[T]) constructor() string {
	if f.blocks > 0 {
		return string(f.kind)
	}
	return "file." + string(f.kind)
}

const (
	defaultRecordBytes = 1 << 20
	defaultBufferBytes = 1 << 20
	smallBufferBytes   = 256 << 10 // of what takes longer: a writer that is busy with a large one holds up the reader
	defaultPerm        = 0o644
)

func or[N int | fs.FileMode | rune | time.Duration](value, standard N) N {
	if value == 0 {
		return standard
	}
	return value
}

// validate checks the fields. What it returns is fatal.
func (f *File[T]) validate() error {
	var errs []error
	bad := func(field string, value any, why string) {
		errs = append(errs, fmt.Errorf("field %s is %v: %s", field, value, why))
	}
	if f.format == nil {
		return retry.Fatal(errors.New("file: this File was not made by a constructor, such as file.CSV"))
	}
	if f.path == "" {
		errs = append(errs, errors.New("the path is empty"))
	}
	if f.MaxRecordBytes < 0 {
		bad("MaxRecordBytes", f.MaxRecordBytes, "must not be negative")
	}
	if f.BufferBytes < 0 {
		bad("BufferBytes", f.BufferBytes, "must not be negative")
	}
	if f.Buckets < 0 {
		bad("Buckets", f.Buckets, "must not be negative")
	}
	if f.path == stdio && f.FS == nil && (f.Parallel || f.Buckets > 0) {
		errs = append(errs, errors.New("fields Parallel and Buckets are not for standard input, which is one split"))
	}
	if f.Buckets > 0 && f.Parallel {
		errs = append(errs, errors.New("fields Parallel and Buckets are both set: choose one"))
	}
	if err := f.validateFollow(); err != nil {
		errs = append(errs, err)
	}
	if f.IfExists > Overwrite {
		bad("IfExists", f.IfExists, "no such choice")
	}
	if f.kind != kindCSV {
		for _, option := range []struct {
			name string
			set  bool
		}{
			{"Comma", f.Comma != 0},
			{"NoHeader", f.NoHeader},
			{"Columns", f.Columns != nil},
			{"AllowMissing", f.AllowMissing},
			{"RefuseUnknown", f.RefuseUnknown},
		} {
			if option.set {
				errs = append(errs, fmt.Errorf("field %s is set, which is for file.CSV alone", option.name))
			}
		}
	}
	if (f.kind == kindCSV || f.kind == kindLines || f.blocks > 0) && f.Codec != nil {
		errs = append(errs, fmt.Errorf("field Codec is set, which %s has no use for", f.constructor()))
	}
	if err := errors.Join(errs...); err != nil {
		return retry.Fatal(fmt.Errorf("%s: %w", f, err))
	}
	return nil
}

// open returns the format, after a look at the fields.
func (f *File[T]) open() (format[T], error) {
	if err := f.validate(); err != nil {
		return format[T]{}, err
	}
	made, err := f.format(f)
	if err != nil {
		return format[T]{}, retry.Fatal(fmt.Errorf("%s: %w", f, err))
	}
	made.codec = f.Codec
	return made, nil
}
