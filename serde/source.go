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
// Splits, positions, acknowledgements and all else that src can do stay as they are. Keys and headers are copied, which [Decode] does without. Where a
// batch of bytes is more than the engine asks for, which happens until the right size is known, only the last part of it carries its position.
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
	return &reader[T]{Reader: r, codec: s.codec, limit: firstLimit}, nil
}

const (
	firstLimit = 8 // records
	maxLimit   = 1 << 16
	limitBytes = 1 << 20 // the default of Pipeline.BatchBytes
	growAfter  = 16      // batches, once the right size was found
)

// reader decodes what another one reads. It owns the batch that the other fills, and can't see how much the one it fills itself will take: it finds out, and
// what doesn't fit at first is kept for the next call. Positions go on one to one, the last part of a batch carrying it.
type reader[T any] struct {
	weaver.Reader[[]byte]
	codec Codec[T]
	batch *weaver.Batch[[]byte]
	size  int // records that batch takes
	limit int // records that the next one should
	calm  int // batches in a row that were full and yet less than what was asked for

	settled bool // a batch has been too large

	next     int             // of batch.Records, where some are left
	position weaver.Position // after batch
	err      error           // that came with batch
}

// Unwrap returns the Reader of bytes: every call but Read goes straight on to it.
func (r *reader[T]) Unwrap() any { return r.Reader }

// Read implements weaver.Reader.
func (r *reader[T]) Read(ctx context.Context, b *weaver.Batch[T]) (weaver.Position, error) {
	if r.batch == nil || r.next == len(r.batch.Records) {
		if err := r.fill(ctx); err != nil {
			return nil, err
		}
		// Where between the records they were is not to be seen from here; all have the position of this batch.
		r.batch.Rejects(func(raw []byte, err error) bool {
			b.Reject(raw, err)
			return true
		})
	}
	r.take(b)
	if r.next < len(r.batch.Records) {
		return nil, nil //nolint:nilnil // no checkpoint falls inside a batch of bytes
	}
	b.End = r.batch.End
	return r.position, r.err
}

// fill reads the next batch of bytes. Io.EOF and ErrFull come with records and are kept for when these are taken; any other error drops them.
func (r *reader[T]) fill(ctx context.Context) error {
	if r.size != r.limit {
		r.batch, r.size = weaver.NewBatch[[]byte](r.limit, limitBytes), r.limit
	}
	r.batch.Reset()
	r.next = 0
	r.position, r.err = r.Reader.Read(ctx, r.batch)
	if r.err != nil && !errors.Is(r.err, io.EOF) && !errors.Is(r.err, weaver.ErrFull) {
		r.batch.Reset()
		return r.err
	}
	return nil
}

// take decodes as many records as b takes, one at least.
func (r *reader[T]) take(b *weaver.Batch[T]) {
	records := r.batch.Records
	start := r.next
	slab := 0 // how many headers there are
	for i := start; i < len(records); i++ {
		slab += len(records[i].Headers)
	}
	var headers weaver.Headers
	if slab > 0 {
		headers = make(weaver.Headers, 0, slab)
	}
	for r.next < len(records) && (r.next == start || !b.Full()) {
		in := &records[r.next]
		r.next++
		out := b.Add()
		if in.Op != weaver.Delete || len(in.Value) > 0 {
			if err := r.codec.Decode(in.Value, &out.Value); err != nil {
				b.Records = b.Records[:len(b.Records)-1]
				b.Reject(in.Value, poison(&Error{Op: "decode", Seq: in.Seq, Excerpt: Excerpt(in.Value), Err: err}))
				continue
			}
		}
		b.Weigh(len(in.Value))
		out.Key, out.Op, out.Time, out.Seq = b.Copy(in.Key), in.Op, in.Time, in.Seq
		if len(in.Headers) > 0 {
			first := len(headers)
			for _, h := range in.Headers {
				headers = append(headers, weaver.Header{Key: h.Key, Value: b.Copy(h.Value)})
			}
			out.Headers = headers[first:len(headers):len(headers)]
		}
	}
	r.adapt(b.Full(), r.next-start)
}

// adapt learns from how many of a batch were taken what the next one should hold. It doubles until that is too much; from then on more comes only after a
// while, as a few huge records say little about those to come.
func (r *reader[T]) adapt(full bool, taken int) {
	switch {
	case r.next < len(r.batch.Records):
		r.limit, r.calm, r.settled = max(taken, 1), 0, true
	case full || len(r.batch.Records) < r.size:
		r.calm = 0
	default:
		if r.calm++; r.calm == growAfter || !r.settled {
			r.limit, r.calm = min(2*r.limit, maxLimit), 0
		}
	}
}

// String names the Source in errors.
func (s *source[T]) String() string { return "serde.Source of " + nameOf(s.src) }

func nameOf(v any) string {
	if s, ok := weaver.As[fmt.Stringer](v); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", v)
}
