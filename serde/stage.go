package serde

import (
	"context"

	weaver "github.com/bohica-labs/dataweaver"
)

// Decode returns a Processor that makes values of bytes. Key, time and the rest are carried over. Bytes that the codec refuses fail their record as
// poison. A Delete without bytes (nil, or empty) passes with the zero value; one with bytes is decoded like any other.
//
// It works record by record: what follows it in a weaver.Then is run in the same pass where it works so too. With a [Remote] codec it works batch by batch, and
// an outage is an error of the stage, which recovers its lane.
func Decode[T any](c Codec[T]) weaver.Processor[[]byte, T] {
	if isRemote(c) {
		return remoteDecoder[T]{c}
	}
	return weaver.MapRecord(func(_ context.Context, in *weaver.Record[[]byte], out *weaver.Record[T]) error {
		if in.Op == weaver.Delete && len(in.Value) == 0 {
			return nil
		}
		if err := c.Decode(in.Value, &out.Value); err != nil {
			return poison(&Error{Op: "decode", Seq: in.Seq, Excerpt: Excerpt(in.Value), Err: err})
		}
		return nil
	})
}

// remoteDecoder does what Decode does, and can say that it is none of a record's fault. MapRecord can't.
type remoteDecoder[T any] struct{ codec Codec[T] }

// OpenStage implements weaver.Processor.
func (p remoteDecoder[T]) OpenStage(context.Context, weaver.Lane) (weaver.Stage[[]byte, T], error) {
	return &remoteDecodeStage[T]{codec: p.codec}, nil
}

type remoteDecodeStage[T any] struct {
	codec Codec[T]
	value T // of one record: there is no output before it is decoded
}

// Process implements weaver.Stage.
func (s *remoteDecodeStage[T]) Process(_ context.Context, in *weaver.Batch[[]byte], out *weaver.Emitter[T]) error {
	var zero T
	defer func() { s.value = zero }()
	for i := range in.Records {
		r := &in.Records[i]
		s.value = zero
		if r.Op != weaver.Delete || len(r.Value) > 0 {
			if err := s.codec.Decode(r.Value, &s.value); err != nil {
				if Outage(s.codec, err) {
					return &Error{Op: "decode", Seq: r.Seq, Err: err}
				}
				out.Fail(i, poison(&Error{Op: "decode", Seq: r.Seq, Excerpt: Excerpt(r.Value), Err: err}))
				continue
			}
		}
		o := out.Next(i)
		o.Value, o.Key, o.Op, o.Time, o.Headers, o.Seq = s.value, r.Key, r.Op, r.Time, r.Headers, r.Seq
	}
	return nil
}

// Encode returns a Processor that makes bytes of values. Key, time and the rest are carried over. A value that the codec refuses fails its record as poison. A
// Delete becomes a Delete with nil bytes, whatever its value: only its key is certain. An outage of what a [Remote] codec needs is an error of the stage.
func Encode[T any](c Codec[T]) weaver.Processor[T, []byte] { return encoder[T]{c} }

type encoder[T any] struct{ codec Codec[T] }

// OpenStage implements weaver.Processor.
func (p encoder[T]) OpenStage(context.Context, weaver.Lane) (weaver.Stage[T, []byte], error) {
	return &encodeStage[T]{codec: p.codec}, nil
}

// maxScratch is what an encoder keeps for later of the memory that a huge record asked for.
const maxScratch = 1 << 20

type encodeStage[T any] struct {
	codec   Codec[T]
	scratch []byte // a codec can't tell in advance how much it needs
}

// Process implements weaver.Stage.
func (s *encodeStage[T]) Process(_ context.Context, in *weaver.Batch[T], out *weaver.Emitter[[]byte]) error {
	for i := range in.Records {
		r := &in.Records[i]
		var value []byte
		if r.Op != weaver.Delete {
			encoded, err := s.codec.Append(s.scratch[:0], r.Value)
			if Outage(s.codec, err) {
				return &Error{Op: "encode", Seq: r.Seq, Err: err}
			}
			if err != nil {
				out.Fail(i, poison(&Error{Op: "encode", Seq: r.Seq, Err: err}))
				continue
			}
			value = out.Bytes(len(encoded))
			copy(value, encoded)
			if cap(encoded) <= maxScratch {
				s.scratch = encoded
			}
		}
		o := out.Next(i)
		o.Value, o.Key, o.Op, o.Time, o.Headers, o.Seq = value, r.Key, r.Op, r.Time, r.Headers, r.Seq
	}
	return nil
}
