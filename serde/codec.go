package serde

import (
	"errors"

	"github.com/bohica-labs/dataweaver/retry"
)

// Codec turns values into bytes and back. It is configuration: safe for concurrent use, and the same bytes always mean the same value.
//
// Its errors need no mark: whoever calls it knows that they concern one record, and marks them as poison. A Codec that asks a server is [Remote].
type Codec[T any] interface {
	// Append appends the encoding of v to dst, as append does, and returns the extended slice. After an error what it returns is undefined, and
	// dst up to its length is as it was.
	Append(dst []byte, v T) ([]byte, error)
	// Decode sets *v to what data encodes, all of data, whatever *v was before. It keeps nothing of data, which is overwritten later. After an error
	// *v is undefined.
	Decode(data []byte, v *T) error
}

// Funcs makes a Codec of two functions, of which one may be nil if it is never needed.
type Funcs[T any] struct {
	AppendFunc func(dst []byte, v T) ([]byte, error)
	DecodeFunc func(data []byte, v *T) error
}

var _ Codec[int] = Funcs[int]{}

// Append calls AppendFunc.
func (f Funcs[T]) Append(dst []byte, v T) ([]byte, error) {
	if f.AppendFunc == nil {
		return dst, retry.Fatal(errors.New("serde: Funcs.AppendFunc is nil: this codec only decodes"))
	}
	return f.AppendFunc(dst, v)
}

// Decode calls DecodeFunc.
func (f Funcs[T]) Decode(data []byte, v *T) error {
	if f.DecodeFunc == nil {
		return retry.Fatal(errors.New("serde: Funcs.DecodeFunc is nil: this codec only encodes"))
	}
	return f.DecodeFunc(data, v)
}
