package file

import (
	"errors"
	"fmt"

	"github.com/bohica-labs/dataweaver/retry"
)

// adopter is an encoder that goes on as a file begins that is there already. Head returns the first n bytes of the content, or less if there aren't so many.
type adopter interface {
	adopt(head func(n int) ([]byte, error)) error
}

// lateHeader is an encoder that may have to see the first value to know what a file begins with, or else the file.
type lateHeader[T any] interface {
	encoder[T]
	adopter
	// late reports whether that is not known: nothing can be appended yet.
	late() bool
	// propose returns the header of a file whose first value is v. Whatever header the file then has is to be adopted.
	propose(v *T) ([]byte, error)
}

// lateOf returns nil for any other encoder.
func lateOf[T any](e encoder[T]) lateHeader[T] {
	if l, ok := e.(lateHeader[T]); ok {
		return l
	}
	return nil
}

// headed sees to it that a file has a header before its first record. What is wrong with the value is bad, and what with the file err.
func (w *writer[T]) headed(v *T) (bad, err error) {
	if !w.late.late() {
		w.late = nil
		return nil, nil
	}
	header, bad := w.late.propose(v)
	if bad != nil {
		return bad, nil
	}
	if w.shared != nil {
		if header, err = w.shared.begin(header); err != nil {
			return nil, w.broken(err)
		}
	} else {
		w.buf = append(w.buf, header...) // of a file that is empty, or Restore had adopted what it begins with
	}
	if err := w.late.adopt(bytesOf(header)); err != nil {
		return nil, w.broken(retry.Fatal(err))
	}
	return nil, nil
}

// begin gives the file a header, unless another writer was first, and returns the one it has. It is durable at once, so that no row is ever behind a header
// that is not all there.
func (a *appender) begin(header []byte) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.header) > 0 {
		return a.header, nil
	}
	err := a.locked(func() error { return errors.Join(a.packed(header, a.tail.write), a.sync()) })
	if err != nil {
		return nil, err
	}
	a.header = header
	return header, nil
}

// headed is the same for standard output.
func (w *stdoutWriter[T]) headed(v *T) (bad, err error) {
	if !w.late.late() {
		w.late = nil
		return nil, nil
	}
	header, bad := w.late.propose(v)
	if bad != nil {
		return bad, nil
	}
	if header, err = w.out.begin(header, func(p []byte, use func([]byte) error) error { return w.file.packed(w.stored, p, use) }); err != nil {
		return nil, fmt.Errorf("%s: %w", w.file, err)
	}
	return nil, w.late.adopt(bytesOf(header))
}

// begin makes a header the one that the output begins with, unless another writer was first, and returns the one it has.
func (o *stdout) begin(header []byte, packed func([]byte, func([]byte) error) error) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.begins) > 0 {
		return o.begins, nil
	}
	err := packed(header, func(p []byte) error {
		o.header = append(o.header, p...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	o.begins = header
	return header, nil
}
