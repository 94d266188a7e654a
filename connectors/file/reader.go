package file

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// reader reads the files of one split, one after the other.
type reader[T any] struct {
	file    *File[T]
	stream  stream[T]
	files   []found
	next    int    // of files, the one after the current one
	done    bool   // the last file has been read to its end
	encoded []byte // of the position returned last

	total  atomic.Int64 // sizes of all files
	later  int64        // and of those behind the current one
	before int64        // and of those before it that were read
	begun  int          // how many these are, with the current one
	sized  bool         // they are known; otherwise they are taken for the average of those that were read
	behind atomic.Int64 // bytes that are not read
}

var (
	_ weaver.LagReporter      = (*reader[int])(nil)
	_ weaver.ProgressReporter = (*reader[int])(nil)
)

// Lag implements weaver.LagReporter: what the files held when they were found and was not read. How many records that is nobody knows.
func (r *reader[T]) Lag() weaver.Lag {
	return weaver.Lag{Records: -1, Bytes: r.behind.Load(), Time: -1}
}

// Progress implements weaver.ProgressReporter: how many bytes are read of those that the files had when they were found. With Buckets it is an estimate up to
// the last file.
func (r *reader[T]) Progress() weaver.Progress {
	p := weaver.UnknownProgress
	p.TotalBytes = r.total.Load()
	p.Bytes = max(p.TotalBytes-r.behind.Load(), 0)
	return p
}

// start opens the file that a position is about, or the first one.
func (r *reader[T]) start(ctx context.Context, at weaver.Lane) error {
	var p position
	if at.Position != nil {
		var err error
		if p, err = parsePosition(at.Position); err != nil {
			return retry.Fatal(fmt.Errorf("the checkpoint has a position that this source can't have made: %w", err))
		}
	}
	var err error
	if r.files, err = r.file.files(at); err != nil {
		return err
	}
	i, there := 0, false
	if at.Position != nil {
		i, there = slices.BinarySearchFunc(r.files, p.name, func(f found, name string) int { return strings.Compare(f.name, name) })
	}
	r.sized = !slices.ContainsFunc(r.files, func(f found) bool { return f.size < 0 })
	for k, f := range r.files {
		r.total.Add(max(f.size, 0))
		if k >= i {
			r.later += max(f.size, 0)
		}
	}
	r.next = i
	switch {
	case at.Position == nil && len(r.files) > 0:
		return r.openNext(ctx)
	case at.Position == nil && at.Split.ID != "": // one of Buckets that no file falls to
		r.done = true
		return nil
	case at.Position == nil:
		return errNoMatch
	case there:
		return r.openAt(ctx, p.mark)
	case !p.done:
		return retry.Fatal(fmt.Errorf("%q, which was read up to byte %d, is gone: put it back, or remove the checkpoint to begin anew", p.name, p.offset))
	case i < len(r.files): // it was read to the end, and tidied away since
		return r.openNext(ctx)
	}
	r.done = true
	r.encoded = slices.Clone(at.Position)
	return nil
}

func (r *reader[T]) openNext(ctx context.Context) error { return r.openAt(ctx, mark{line: 1}) }

// openAt opens the file r.next, to be read from m on.
func (r *reader[T]) openAt(ctx context.Context, m mark) error {
	found := r.files[r.next]
	r.next++
	r.later -= max(found.size, 0)
	r.before += max(r.stream.size, 0)
	r.begun++
	f, err := r.file.openToRead(found.path)
	if err != nil {
		return err
	}
	if err := r.stream.open(ctx, f, found.path, m); err != nil {
		return err
	}
	r.measure()
	return nil
}

// Read implements weaver.Reader.
func (r *reader[T]) Read(ctx context.Context, b *weaver.Batch[T]) (weaver.Position, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for !r.done {
		ended, err := r.stream.fill(ctx, b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.file, err)
		}
		if !ended {
			return r.position(false), nil
		}
		if err := r.stream.notCut(); err != nil {
			return nil, fmt.Errorf("%s: %w", r.file, err)
		}
		if r.next == len(r.files) {
			r.done = true
			r.position(true)
			break
		}
		if err := r.stream.close(); err != nil {
			return nil, fmt.Errorf("%s: %w", r.file, err)
		}
		if err := r.openNext(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", r.file, err)
		}
	}
	return r.encoded, io.EOF
}

// position encodes where the next record begins. It is good until the next call.
func (r *reader[T]) position(done bool) weaver.Position {
	p := position{mark: r.stream.mark(), name: r.files[r.next-1].name, done: done}
	r.encoded = p.append(r.encoded[:0])
	r.measure()
	return r.encoded
}

// measure notes how much is left.
func (r *reader[T]) measure() {
	if !r.sized {
		left := int64(len(r.files) - r.next)
		average := (r.before + r.stream.size) / int64(r.begun)
		r.later = left * average
		r.total.Store(r.before + r.stream.size + r.later)
	}
	r.behind.Store(r.stream.left() + max(r.later, 0))
}

// Close implements weaver.Reader.
func (r *reader[T]) Close() error {
	defer r.stream.release()
	return r.stream.close()
}
