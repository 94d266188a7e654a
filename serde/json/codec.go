package json

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/bohica-labs/dataweaver/serde"
)

// Codec is a serde.Codec for one JSON value a record. The zero value is ready for use.
//
// Without Marshal it writes what encoding/json does, but leaves <, > and & as they are. Without Unmarshal it reads as encoding/json does, and exactly
// one value: anything behind it is an error. Integers keep all their digits: where T is, or has a field that is, an interface, a number becomes a
// json.Number there and no float64, which would round beyond 2^53. NaN and the infinities, which JSON has no words for, are errors of their record.
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
	out := appender{dst}
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(&v); err != nil {
		return dst, err
	}
	return out.data[:len(out.data)-1], nil // without the line end that Encode adds
}

// appender takes the one Write of an Encoder, which spares the copy that Marshal returns.
type appender struct{ data []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.data = append(a.data, p...)
	return len(p), nil
}

// Decode implements serde.Codec.
func (c Codec[T]) Decode(data []byte, v *T) error {
	var zero T
	*v = zero // Unmarshal leaves alone what data doesn't name
	if c.Unmarshal != nil {
		return c.Unmarshal(data, v)
	}
	if untyped(v) {
		return decodeUntyped(data, v)
	}
	return json.Unmarshal(data, v)
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
