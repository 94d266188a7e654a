package serde

import (
	"context"
	"errors"

	weaver "github.com/bohica-labs/dataweaver"
)

// Sink returns a Sink of values that writes their bytes to sink. A value that the codec refuses is poison, named alone; the other records of its batch are
// written. A Delete becomes a Delete with nil bytes, whatever its value: only its key is certain.
// While what a [Remote] codec needs is out, nothing of a batch is written, and the batch is tried again.
//
// Flushing, checkpoints and all else that the writers of sink can do stay as they are.
func Sink[T any](sink weaver.Sink[[]byte], c Codec[T]) weaver.Sink[T] {
	return &sinkOf[T]{sink: sink, codec: c}
}

type sinkOf[T any] struct {
	sink  weaver.Sink[[]byte]
	codec Codec[T]
}

// Unwrap returns the Sink of bytes: every call but OpenWriter goes straight on to it.
func (s *sinkOf[T]) Unwrap() any { return s.sink }

// String names the Sink in errors.
func (s *sinkOf[T]) String() string { return "serde.Sink of " + nameOf(s.sink) }

// OpenWriter implements weaver.Sink.
func (s *sinkOf[T]) OpenWriter(ctx context.Context, at weaver.Lane) (weaver.Writer[T], error) {
	if s.sink == nil || s.codec == nil {
		return nil, errors.New("serde.Sink of a nil Sink or Codec")
	}
	w, err := s.sink.OpenWriter(ctx, at)
	if err != nil {
		return nil, err
	}
	return &writer[T]{Writer: w, codec: s.codec, batch: weaver.NewBatch[[]byte](0, 0)}, nil
}

// writer encodes what another one writes. Nothing stays in it from one Write to the next.
type writer[T any] struct {
	weaver.Writer[[]byte]
	codec   Codec[T]
	batch   *weaver.Batch[[]byte]
	scratch []byte

	failed  []weaver.RecordError // what could not be encoded
	indexes []int                // of the records of batch in the batch of values, where some failed
}

// Unwrap returns the Writer of bytes: every call but Write goes straight on to it.
func (w *writer[T]) Unwrap() any { return w.Writer }

// Write implements weaver.Writer.
func (w *writer[T]) Write(ctx context.Context, b *weaver.Batch[T]) error {
	if err := w.encode(b); err != nil {
		return &weaver.BatchError{Err: err, RolledBack: true} // the writer of bytes is well and has seen nothing
	}
	if len(w.batch.Records) == 0 && len(w.failed) > 0 {
		return &weaver.BatchError{Records: w.failed}
	}
	err := w.Writer.Write(ctx, w.batch)
	if len(w.failed) == 0 {
		return err
	}
	if err == nil {
		return &weaver.BatchError{Records: w.failed}
	}
	var partial *weaver.BatchError
	if !errors.As(err, &partial) {
		return err
	}
	all := &weaver.BatchError{Err: partial.Err, Records: w.failed, RolledBack: partial.RolledBack}
	for _, r := range partial.Records {
		if r.Index >= 0 && r.Index < len(w.indexes) {
			r.Index = w.indexes[r.Index]
		}
		all.Records = append(all.Records, r)
	}
	return all
}

// encode fills the batch of bytes with what can be encoded. It returns an error if that can't be told now.
func (w *writer[T]) encode(b *weaver.Batch[T]) error {
	w.batch.Reset()
	w.batch.End = b.End
	w.failed, w.indexes = nil, w.indexes[:0]
	if cap(w.scratch) > maxScratch {
		w.scratch = nil
	}
	w.scratch = w.scratch[:0]
	for i := range b.Records {
		in := &b.Records[i]
		var value []byte
		if in.Op != weaver.Delete {
			start := len(w.scratch)
			encoded, err := w.codec.Append(w.scratch, in.Value)
			if Outage(w.codec, err) {
				return &Error{Op: "encode", Seq: in.Seq, Err: err}
			}
			if err != nil {
				w.failed = append(w.failed, weaver.RecordError{
					Index: i,
					Err:   poison(&Error{Op: "encode", Seq: in.Seq, Err: err}),
				})
				continue
			}
			w.scratch = encoded
			value = encoded[start:len(encoded):len(encoded)] // stays valid where scratch has moved since
		}
		out := w.batch.Add()
		out.Value, out.Key, out.Op, out.Time, out.Headers, out.Seq = value, in.Key, in.Op, in.Time, in.Headers, in.Seq
		w.indexes = append(w.indexes, i)
	}
	return nil
}
