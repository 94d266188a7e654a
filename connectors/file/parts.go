package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// PartSink is a weaver.Sink of many files, called parts, in a folder. It is made by Parts. Set fields before it is used; then it is safe for concurrent use.
//
// A part is written where nobody looks, in the folder ".weaver" of the root folder, and appears under its own name, whole, when it is complete: when it is large or old
// enough, when there are too many others, or when the writer is closed in good order, as it is at the end of a pipeline. Names are never used twice, and no file that is there is
// ever overwritten.
//
// A write that fails leaves nothing behind that counts, and what was committed is taken up by the next writer of the split.
type PartSink[T any] struct {
	// MaxBytes is how large a part may become, as it is stored: it is complete once it has so many. Default 256 MiB.
	MaxBytes int64

	// MaxRecords is how many records a part has at most. Default: any number.
	MaxRecords int64

	// MaxAge is how long after its first record a part is complete, at the next commit or, if nothing comes, by itself. Default 1 hour.
	MaxAge time.Duration

	// MaxOpen is how many parts of a split have a descriptor at the same time. So many times BufferBytes is also the memory that records of all parts are collected in: if they
	// need more, the part that has most is written to. With very many names at once, more of it makes writing faster, and files smaller that are compressed. Default 64.
	MaxOpen int

	// MaxParts is how many parts a split may have unfinished: of one more, the oldest is complete. A commit has to write down all of them, some 200 bytes each. Those that were begun
	// since the last commit may come on top. Default 1024.
	MaxParts int

	each *File[T]

	mu       sync.Mutex
	shared   *partSet // of the writers that keep no checkpoint; nil: nobody has it open
	sharedBy int
	keepers  int // writers that keep one
}

// Parts returns a sink that writes files like each, whose path is a template of their names:
//
//	file.Parts(file.NDJSON[Event]("logs/{time:2006-01-02}/{country}-{part}.ndjson.zst"))
//
// What comes before the first element with a placeholder, here "logs", is the root folder, which is made if it is missing. In the rest, braces stand for:
//
//	{part}         the number of the part, 000001 and so on, which is required: no two parts of a split have the same
//	{split}        the ID of the split, required if there are several
//	{time:layout}  Record.Time in UTC, in a layout of package time; a slash in it begins a folder
//	{now:layout}   the time at which a record is written, likewise
//	{key}          Record.Key
//	{name}         a field of the record by its tag (json, csv or avro) or its own name, a key of a map, or a column of a row.Row or a []string; names after dots lead further in.
//	               {.key} is a field that is called as one of the above
//
// Two braces stand for one. Records that differ in one of these go to different parts. What they say becomes part of a single name whatever it is: letters and digits and the
// like stand for themselves, all else is written as %XX, what is too long is cut and has its hash behind it. Nothing is a way out of the root folder, be it "..", a device of
// Windows or a symbolic link.
//
// Each gives the format, Codec, Compression, Sync, Perm and BufferBytes, and must not be used by others. Its IfExists says what comes of a number whose name is taken already, when an
// earlier state is missing: with Refuse it is an error, with Append the next number is taken. There is no Overwrite.
func Parts[T any](each *File[T]) *PartSink[T] { return &PartSink[T]{each: each} }

var (
	_ weaver.Sink[int] = (*PartSink[int])(nil)
	_ fmt.Stringer     = (*PartSink[int])(nil)
)

// String names the sink in errors: file.Parts "logs/{part}.csv".
func (p *PartSink[T]) String() string {
	if p.each == nil {
		return "file.Parts"
	}
	return fmt.Sprintf("file.Parts %q", p.each.path)
}

const (
	defaultPartBytes = 256 << 20
	defaultPartAge   = time.Hour
	defaultOpenParts = 64
	defaultParts     = 1024
)

// validate returns what is wrong with the fields.
func (p *PartSink[T]) validate() error {
	var errs []error
	for _, field := range []struct {
		name  string
		value int64
	}{
		{"MaxBytes", p.MaxBytes},
		{"MaxRecords", p.MaxRecords},
		{"MaxAge", int64(p.MaxAge)},
		{"MaxOpen", int64(p.MaxOpen)},
		{"MaxParts", int64(p.MaxParts)},
	} {
		if field.value < 0 {
			errs = append(errs, fmt.Errorf("field %s is %d: must not be negative", field.name, field.value))
		}
	}
	if p.each.IfExists == Overwrite {
		errs = append(errs, errors.New("field IfExists is Overwrite, which is for one file alone: remove the folder to begin anew"))
	}
	return errors.Join(errs...)
}

// OpenWriter implements weaver.Sink. What is wrong with the template is fatal. Folders are made, or looked at, at Restore or the first Write.
func (p *PartSink[T]) OpenWriter(_ context.Context, at weaver.Lane) (weaver.Writer[T], error) {
	if p.each == nil {
		return nil, retry.Fatal(errors.New("file.Parts: there is no File"))
	}
	fail := func(err error) error { return retry.Fatal(fmt.Errorf("%s: %w", p, err)) }
	made, err := p.each.open()
	if err != nil {
		return nil, err
	}
	if err := p.validate(); err != nil {
		return nil, fail(err)
	}
	stored, err := p.each.packing()
	if err != nil {
		return nil, fail(err)
	}
	header, err := made.encoder.header()
	if err != nil {
		return nil, fail(err)
	}
	if late := lateOf(made.encoder); late != nil && late.late() {
		return nil, fail(errors.New("field Columns is not set: the rows of the parts have no columns of their own, and each part has to begin in the same way"))
	}
	naming, err := newNaming[T](p.each.path, p.each.kind, p.each.Columns)
	if err != nil {
		return nil, fail(err)
	}
	return &partWriter[T]{sink: p, encoder: made.encoder, ahead: aheadOf(made), naming: naming, at: at, rules: p.rules(stored, made.encoder, header)}, nil
}

// rules returns what a partSet needs to know.
func (p *PartSink[T]) rules(stored Compression, encoder encoder[T], header []byte) partRules {
	f := p.each
	r := partRules{
		bytes:   p.MaxBytes,
		records: p.MaxRecords,
		age:     p.MaxAge,
		buffer:  or(f.BufferBytes, smallBufferBytes),
		open:    or(p.MaxOpen, defaultOpenParts),
		parts:   or(p.MaxParts, defaultParts),
		perm:    or(f.Perm, defaultPerm),
		lazy:    f.Sync == SyncComplete,
		plain:   stored == None && f.blocks == 0,
		stored:  stored,
		header:  header,
		packed:  func(raw []byte, use func([]byte) error) error { return f.packed(stored, raw, use) },
	}
	if f.blocks > 0 {
		r.buffer = min(r.buffer, f.blocks)
	}
	same := header
	if m, ok := encoder.(blockMaker); ok {
		r.blocks = m
		same = bytes.ReplaceAll(header, m.mark(), nil) // which differs each time
	}
	r.shape = fmt.Sprintf("%s %s %v %q", filepath.ToSlash(f.path), f.kind, stored, same)
	if r.bytes == 0 {
		r.bytes = defaultPartBytes
	}
	if r.age == 0 {
		r.age = defaultPartAge
	}
	r.buffer = int(min(int64(r.buffer), r.bytes))
	return r
}

// share returns the parts of all writers without a checkpoint. The first one opens them.
func (p *PartSink[T]) share(ctx context.Context, w *partWriter[T]) (*partSet, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keepers > 0 {
		return nil, retry.Fatal(errors.New("a writer of it keeps a checkpoint, and another would write past that: give them folders of their own"))
	}
	if w.naming.splits {
		return nil, retry.Fatal(errors.New("{split} in the path means nothing here: without a checkpoint in it, one writer takes all splits; leave it out"))
	}
	if p.shared == nil {
		s, err := p.openSet(ctx, w.naming.root, sharedSet, w.rules)
		if err != nil {
			return nil, err
		}
		s.skips = true
		if err := s.begin(ctx, partClaim{shared: true}); err != nil {
			return nil, errors.Join(err, s.close())
		}
		p.shared = s
	}
	p.sharedBy++
	return p.shared, nil
}

// release gives up one share. The last one closes the parts.
func (p *PartSink[T]) release() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sharedBy--; p.sharedBy > 0 {
		return nil
	}
	s := p.shared
	p.shared = nil
	return s.close()
}

// keep opens the parts of a split for a writer that keeps its checkpoint.
func (p *PartSink[T]) keep(ctx context.Context, w *partWriter[T]) (*partSet, error) {
	p.mu.Lock()
	busy := p.shared != nil
	if !busy {
		p.keepers++
	}
	p.mu.Unlock()
	if busy {
		return nil, retry.Fatal(errors.New("dead letters, or the records of another pipeline, are being written to it: give them a folder of their own"))
	}
	s, err := p.keepSet(ctx, w)
	if err != nil {
		p.kept()
	}
	return s, err
}

func (p *PartSink[T]) keepSet(ctx context.Context, w *partWriter[T]) (*partSet, error) {
	name := oneSet
	if w.naming.splits {
		name = splitSet + string(appendEscaped(nil, w.at.Split.ID, maxElement-len(splitSet)))
	}
	s, err := p.openSet(ctx, w.naming.root, name, w.rules)
	if err != nil {
		return nil, err
	}
	s.skips = p.each.IfExists == Append
	if err := s.begin(ctx, partClaim{pipeline: w.at.Pipeline, split: w.at.Split.ID, splits: w.naming.splits}); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// kept says that a writer doesn't keep the checkpoint any more.
func (p *PartSink[T]) kept() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keepers--
}
