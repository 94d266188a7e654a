package file

import (
	"context"
	"errors"
	"fmt"
	"io"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// openStdin returns a reader of what of standard input is not acknowledged yet.
func (f *File[T]) openStdin() (weaver.Reader[T], error) {
	s, err := f.newStream()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.std.in == nil {
		f.std.in = newStdin(f.std.input, s.in.chunk)
	}
	in := f.std.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.taken {
		return nil, retry.Fatal(fmt.Errorf("%s: another pipeline of this process reads standard input: it can have one reader", f))
	}
	in.taken = true
	return &stdinReader[T]{file: f, stream: s, in: in}, nil
}

// stdinReader reads standard input.
type stdinReader[T any] struct {
	file    *File[T]
	stream  stream[T]
	in      *stdin
	begun   bool // the stream is open
	ended   bool
	encoded []byte // of the position returned last
}

var _ weaver.Acker = (*stdinReader[int])(nil)

// Read implements weaver.Reader. It returns what there is rather than wait for a full batch.
func (r *stdinReader[T]) Read(ctx context.Context, b *weaver.Batch[T]) (weaver.Position, error) {
	for !r.ended {
		err := r.fill(ctx, b)
		switch {
		case r.ended || err == nil && b.Full():
		case err == nil:
			continue
		case !errors.Is(err, errPending):
			return nil, fmt.Errorf("%s: %w", r.file, err)
		case len(b.Records)+len(b.Rejects()) > 0:
		default:
			if err := r.in.wait(ctx); err != nil {
				return nil, err
			}
			continue
		}
		r.encoded = position{mark: r.stream.mark()}.append(r.encoded[:0])
		if !r.ended {
			return r.encoded, nil
		}
	}
	return r.encoded, io.EOF
}

// fill reads what there is, or begins to: it is called again if nothing came.
func (r *stdinReader[T]) fill(ctx context.Context, b *weaver.Batch[T]) (err error) {
	if r.begun {
		r.ended, err = r.stream.fill(ctx, b)
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if !r.in.beginning() {
		return errPending
	}
	m := r.in.rewind()
	if err := r.stream.open(ctx, r.in, "standard input", m); err != nil {
		return err
	}
	r.begun = true
	r.in.keep(r.stream.in.offset + int64(len(r.stream.in.data())))
	return nil
}

// Ack implements weaver.Acker.
func (r *stdinReader[T]) Ack(_ context.Context, p weaver.Position) error {
	at, err := parsePosition(p)
	if err != nil {
		return retry.Fatal(fmt.Errorf("%s: acknowledged is a position that this reader didn't return: %w", r.file, err))
	}
	r.in.ack(at.mark)
	return nil
}

// Close implements weaver.Reader.
func (r *stdinReader[T]) Close() error {
	r.in.mu.Lock()
	defer r.in.mu.Unlock()
	r.in.taken = false
	return nil
}
