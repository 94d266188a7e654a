package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

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
	for _, f := range r.files {
		if info, err := r.file.fsys.Stat(f.path); err == nil {
			r.later += info.Size()
		}
	}
	if at.Position == nil {
		if len(r.files) == 0 {
			return errNoMatch
		}
		return r.openNext(ctx)
	}
	i, there := slices.BinarySearchFunc(r.files, p.name, func(f found, name string) int { return strings.Compare(f.name, name) })
	for _, f := range r.files[:i] {
		if info, err := r.file.fsys.Stat(f.path); err == nil {
			r.later -= info.Size()
		}
	}
	r.next = i
	switch {
	case there:
		return r.openAt(ctx, p)
	case !p.done:
		return retry.Fatal(fmt.Errorf("%q, which was read up to byte %d, is gone: put it back, or remove the checkpoint to begin anew", p.name, p.offset))
	case i < len(r.files): // it was read to the end, and tidied away since
		return r.openNext(ctx)
	}
	r.done = true
	r.encoded = slices.Clone(at.Position)
	return nil
}

func (r *reader[T]) openNext(ctx context.Context) error {
	return r.openAt(ctx, position{name: r.files[r.next].name, line: 1})
}

// openAt opens the file r.next, to be read from p on.
func (r *reader[T]) openAt(ctx context.Context, p position) error {
	path := r.files[r.next].path
	r.next++
	// Before it is opened: opening a pipe would block.
	info, err := r.file.fsys.Stat(path)
	if err != nil {
		return advice(err, "check the path, and the folder the program runs in")
	}
	if err := regular(info, path); err != nil {
		return err
	}
	f, err := r.file.fsys.OpenFile(path, 0, 0)
	if err != nil {
		return advice(err, "check the path, and the folder the program runs in")
	}
	r.current = f
	if err := r.begin(ctx, p, path); err != nil {
		r.current = nil
		return errors.Join(err, f.Close())
	}
	r.measure()
	return nil
}

// begin makes the open file ready to be read from p on.
func (r *reader[T]) begin(ctx context.Context, p position, path string) error {
	info, err := r.current.Stat()
	if err != nil {
		return err
	}
	if info.Size() < p.offset {
		return retry.Fatal(fmt.Errorf("%s has %d bytes, but was read up to byte %d: it was cut or replaced; put it back, or remove the checkpoint to read the new one",
			path, info.Size(), p.offset))
	}
	r.size = info.Size()
	r.later -= r.size
	if r.head == nil {
		r.head = make([]byte, fingerprintBytes)
	}
	n, err := r.current.ReadAt(r.head[:fingerprintBytes], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	r.head, r.whole = r.head[:n], fingerprintOf(r.head[:n])
	if p.print.size > n || fingerprintOf(r.head[:p.print.size]) != p.print && p.print.size > 0 {
		return retry.Fatal(fmt.Errorf("%s doesn't begin as the file did that was read up to byte %d: it was replaced; put the other back, or remove the checkpoint to read this one",
			path, p.offset))
	}
	r.in.reset(r.current, 0)
	r.line = 1
	if err := r.preamble(ctx, path); err != nil {
		return err
	}
	if p.offset <= r.in.offset {
		return nil
	}
	if err := r.seek(p.offset, p.line); err != nil {
		return err
	}
	return r.joined(ctx, p)
}

// preamble reads what comes before the first record: a byte order mark, a header.
func (r *reader[T]) preamble(ctx context.Context, path string) error {
	const mark = "\ufeff"
	if r.format.bom && bytes.HasPrefix(r.head, []byte(mark)) {
		for len(r.in.data()) < len(mark) {
			if err := r.more(ctx); err != nil {
				return err
			}
		}
		r.in.drop(len(mark))
	}
	use := r.format.decoder.headed()
	if use == noHeader {
		return r.format.decoder.begin(nil)
	}
	first := r.in.offset
	if err := r.beginWith(ctx, use, path); err != nil {
		return err
	}
	if use == firstRecord { // which is a record all the same
		return r.seek(first, 1)
	}
	return nil
}

// seek goes to where a record begins.
func (r *reader[T]) seek(offset, line int64) error {
	_, err := r.current.Seek(offset, io.SeekStart)
	r.in.reset(r.current, offset)
	r.line = line
	return err
}

// beginWith gives the decoder the first record.
func (r *reader[T]) beginWith(ctx context.Context, use headerUse, path string) error {
	for {
		data := r.in.data()
		f, ok := r.format.framing.next(data, r.in.eof)
		long := ok && f.body > r.maxBytes || !ok && len(data) > r.maxBytes+len("\r\n")
		fail := func(raw []byte, err error) error {
			return retry.Fatal(fmt.Errorf("the header: %w", recordError(path, r.line, r.in.offset, raw, err)))
		}
		switch {
		case ok && f.blank, ok && f.bad != nil && use == firstRecord && !long:
			r.drop(f)
		case long && use == firstRecord:
			if err := r.discardLine(ctx); err != nil {
				return err
			}
		case long:
			return fail(data, r.tooLong())
		case ok && f.bad != nil:
			return fail(data[:f.body], f.bad)
		case ok:
			if err := r.format.decoder.begin(data[:f.body]); err != nil {
				return fail(data[:f.body], err)
			}
			r.drop(f)
			return nil
		case r.in.eof:
			return r.format.decoder.begin(nil)
		default:
			if err := r.more(ctx); err != nil {
				return err
			}
		}
	}
}

// joined looks at how the file goes on behind a record that was its last one and had no line end. A line end that came later belongs to it. Anything else has
// made another record of it, and what came is rejected.
func (r *reader[T]) joined(ctx context.Context, p position) error {
	last := []byte{0}
	if _, err := r.current.ReadAt(last, p.offset-1); err != nil {
		return err
	}
	if last[0] == '\n' {
		return nil
	}
	for len(r.in.data()) < 2 && !r.in.eof {
		if err := r.more(ctx); err != nil {
			return err
		}
	}
	switch data := r.in.data(); {
	case bytes.HasPrefix(data, []byte("\n")):
		r.drop(frame{size: 1, lines: 1})
	case bytes.HasPrefix(data, []byte("\r\n")):
		r.drop(frame{size: 2, lines: 1})
	default:
		r.broken = len(data) > 0
	}
	return nil
}
