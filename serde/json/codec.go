package json

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/bohica-labs/dataweaver/row"
	"github.com/bohica-labs/dataweaver/serde"
)

// Codec is a serde.Codec for one JSON value a record. The zero value is ready for use, and exact: see the package's comment for what it refuses.
//
// Without Marshal it writes what encoding/json does, but leaves <, > and & as they are. Without Unmarshal it reads as encoding/json does, and exactly
// one value: anything behind it is an error. Where T is, or has a field that is, an interface, a number becomes a json.Number there and no float64,
// which would round beyond 2^53.
//
// What Marshal and Unmarshal do is theirs alone: the codec checks nothing of it.
type Codec[T any] struct {
	Marshal   func(v any) ([]byte, error)    // default: encoding/json
	Unmarshal func(data []byte, v any) error // gets a pointer to a zero T; default: encoding/json
}

var _ serde.Codec[int] = Codec[int]{}

// Append implements serde.Codec.
func (c Codec[T]) Append(dst []byte, v T) ([]byte, error) {
	if c.Marshal != nil {
		data, err := c.Marshal(v)
		if err != nil {
			return dst, err
		}
		return append(dst, data...), nil
	}
	if r, ok := any(&v).(*row.Row); ok {
		return r.AppendJSON(dst)
	}
	k := knownOf[T]()
	e, ok := k.encoders.Get().(*encoder[T])
	if !ok {
		e = newEncoder[T]()
	}
	out, err := e.append(dst, v)
	k.encoders.Put(e)
	return out, err
}

// encoder is an Encoder and what it reads and writes, so that neither is allocated for each record.
type encoder[T any] struct {
	enc   *json.Encoder
	value T
	out   []byte
}

func newEncoder[T any]() *encoder[T] {
	e := &encoder[T]{}
	e.enc = json.NewEncoder(e)
	e.enc.SetEscapeHTML(false)
	return e
}

// Write implements io.Writer for enc, which calls it once a value.
func (e *encoder[T]) Write(p []byte) (int, error) {
	e.out = append(e.out, p...)
	return len(p), nil
}

func (e *encoder[T]) append(dst []byte, v T) ([]byte, error) {
	defer e.forget()
	e.value, e.out = v, dst
	if err := e.enc.Encode(&e.value); err != nil {
		return dst, err
	}
	out := e.out[:len(e.out)-1] // without the line end that Encode adds
	if err := exactText(out[len(dst):], &e.value); err != nil {
		return dst, err
	}
	return out, nil
}

// forget lets go of a value that others may keep, or the garbage collector may take.
func (e *encoder[T]) forget() {
	var zero T
	e.value, e.out = zero, nil
}

var errUTF8 = errors.New("JSON with bytes that are no UTF-8")

// Decode implements serde.Codec.
func (c Codec[T]) Decode(data []byte, v *T) error {
	var zero T
	*v = zero // Unmarshal leaves alone what data doesn't name
	if c.Unmarshal != nil {
		return c.Unmarshal(data, v)
	}
	if r, ok := any(v).(*row.Row); ok {
		return decodeRow(knownOf[T](), data, r)
	}
	ascii, escapes := look(data)
	if !ascii && !utf8.Valid(data) {
		return errUTF8
	}
	k := knownOf[T]()
	unmarshal := json.Unmarshal
	if k.untyped {
		unmarshal = decodeUntyped
	}
	if err := unmarshal(data, v); err != nil {
		return err
	}
	return k.shape.check(data, escapes)
}

// decodeRow decodes by one of the decoders that are kept for rows, which remember the columns of others before.
func decodeRow(k *known, data []byte, r *row.Row) error {
	d, ok := k.rows.Get().(*row.JSONDecoder)
	if !ok {
		d = &row.JSONDecoder{}
	}
	err := d.Decode(data, r)
	k.rows.Put(d)
	return err
}

// decodeUntyped is Unmarshal with UseNumber, which encoding/json has only on a Decoder.
func decodeUntyped(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	switch err := dec.Decode(v); {
	case errors.Is(err, io.EOF):
		return errors.New("unexpected end of JSON input")
	case err != nil:
		return err
	}
	rest := bytes.TrimLeft(data[dec.InputOffset():], " \t\r\n")
	if len(rest) > 0 {
		return fmt.Errorf("invalid character %q after top-level value", rest[0])
	}
	return nil
}
