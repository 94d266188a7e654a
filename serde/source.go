package serde

import (
	"context"
	"errors"
	"fmt"
	"io"

	weaver "github.com/bohica-labs/dataweaver"
)

// Source returns a Source of the values whose bytes src has. What the codec refuses is rejected with the bytes as they were, so that a dead letter has them.
//
// An outage of what a [Remote] codec needs is an error of Read: the lane recovers, and the same bytes are read again.
//
// Splits, positions, acknowledgements and all else that src can do stay as they are. Keys and headers are copied, which [Decode] does without.
func Source[T any](src weaver.Source[[]byte], c Codec[T]) weaver.Source[T] {
	return &source[T]{src: src, codec: c}
}

type source[T any] struct {
	src   weaver.Source[[]byte]
	codec Codec[T]
}

// Unwrap returns src: every call but OpenReader goes straight on to it.
func (s *source[T]) Unwrap() any { return s.src }

// OpenReader implements weaver.Source.
func (s *source[T]) OpenReader(ctx context.Context, at weaver.Lane) (weaver.Reader[T], error) {
	if s.src == nil || s.codec == nil {
		return nil, errors.New("serde.Source of a nil Source or Codec")
	}
	r, err := s.src.OpenReader(ctx, at)
	if err != nil {
		return nil, err
	}
	return &reader[T]{Reader: r, codec: s.codec, batch: weaver.NewBatch[[]byte](0, 0)}, nil
}

// reader decodes what another one reads, batch by batch. It owns the batch that the other fills.
type reader[T any] struct {
	weaver.Reader[[]byte]
	codec   Codec[T]
	batch   *weaver.Batch[[]byte]
	headers weaver.Headers // one list for all records of a batch
}

// Unwrap returns the Reader of bytes: every call but Read goes straight on to it.
func (r *reader[T]) Unwrap() any { return r.Reader }

// Read implements weaver.Reader.
func (r *reader[T]) Read(ctx context.Context, b *weaver.Batch[T]) (weaver.Position, error) {
	r.batch.Reset()
	r.batch.Limit(b.Room())
	p, err := r.Reader.Read(ctx, r.batch)
	if err != nil && err != io.EOF && err != weaver.ErrFull { //nolint:errorlint // only as they are do they come with records
		return p, err
	}
	r.headers = nil // those of the last batch may still be in use
	rejects := r.batch.Rejects()
	for i := range r.batch.Records {
		for len(rejects) > 0 && rejects[0].Before <= i {
			b.Reject(rejects[0].Seq, rejects[0].Raw, rejects[0].Err)
			rejects = rejects[1:]
		}
		if err := r.decode(b, &r.batch.Records[i]); err != nil {
			return nil, err
		}
	}
	for _, x := range rejects {
		b.Reject(x.Seq, x.Raw, x.Err)
	}
	return p, err
}

// decode adds what in becomes, or rejects it. It returns an error if that can't be told now.
func (r *reader[T]) decode(b *weaver.Batch[T], in *weaver.Record[[]byte]) error {
	out := b.Add()
	if in.Op != weaver.Delete || len(in.Value) > 0 {
		if err := r.codec.Decode(in.Value, &out.Value); err != nil {
			n := len(b.Records) - 1
			clear(b.Records[n:]) // what was decoded before the error
			b.Records = b.Records[:n]
			if Outage(r.codec, err) {
				return &Error{Op: "decode", Seq: in.Seq, Err: err}
			}
			b.Reject(in.Seq, in.Value, poison(&Error{Op: "decode", Seq: in.Seq, Excerpt: Excerpt(in.Value), Err: err}))
			return nil
		}
	}
	b.Weigh(len(in.Value))
	out.Key, out.Op, out.Time, out.Seq = b.Copy(in.Key), in.Op, in.Time, in.Seq
	if len(in.Headers) > 0 {
		first := len(r.headers)
		for _, h := range in.Headers {
			r.headers = append(r.headers, weaver.Header{Key: h.Key, Value: b.Copy(h.Value)})
		}
		out.Headers = r.headers[first:len(r.headers):len(r.headers)]
	}
	return nil
}

// String names the Source in errors.
func (s *source[T]) String() string { return "serde.Source of " + nameOf(s.src) }

func nameOf(v any) string {
	if s, ok := weaver.As[fmt.Stringer](v); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", v)
}
