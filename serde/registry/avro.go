package registry

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/avro"

	"github.com/bohica-labs/dataweaver/retry"
	weaveravro "github.com/bohica-labs/dataweaver/serde/avro"
)

// Avro returns a Codec for Avro data that is read by the schema of codec, whatever schema it was written with as long as the two are compatible, and written
// with that schema.
func Avro[T any](client *Client, codec *weaveravro.Codec[T]) *Codec[T] {
	if codec == nil {
		return &Codec[T]{client: client}
	}
	return &Codec[T]{client: client, format: &avroFormat[T]{codec}}
}

type avroFormat[T any] struct{ codec *weaveravro.Codec[T] }

func (*avroFormat[T]) language() Type { return TypeAvro }

func (f *avroFormat[T]) text() string { return f.codec.Schema() }

func (f *avroFormat[T]) record() (string, error) {
	s, err := avro.Parse(f.codec.Schema())
	if err != nil {
		return "", err
	}
	var named struct{ Type, Name, Namespace string }
	if err := stdjson.Unmarshal(s.Canonical(), &named); err != nil || named.Name == "" { // canonical names are full
		return strings.Trim(string(s.Canonical()), `"`), nil
	}
	return named.Name, nil
}

func (f *avroFormat[T]) append(dst []byte, v T) ([]byte, error) { return f.codec.Append(dst, v) }

// reader implements format.
func (f *avroFormat[T]) reader(s *Schema, d Drift) reader[T] {
	codec, err := f.codec.WithWriter(s.Text, s.texts()...)
	var incompatible *weaveravro.IncompatibleError
	if err != nil && !errors.As(err, &incompatible) {
		return refused[T]{retry.Permanent(fmt.Errorf("schema %d can't be used: %s", s.ID, oneLine(err.Error())))}
	}
	record, rerr := f.record()
	if rerr != nil {
		return refused[T]{retry.Fatal(rerr)}
	}
	differs, detail, cerr := f.differs(s)
	if cerr != nil {
		return refused[T]{retry.Permanent(fmt.Errorf("schema %d can't be used: %s", s.ID, oneLine(cerr.Error())))}
	}
	if err := d.judge(s.ID, record, differs, detail, err); err != nil {
		return refused[T]{err}
	}
	return avroReader[T]{codec, s.ID}
}

// differs reports whether values may come out otherwise than they would with the reader's own schema, and the first way in which.
func (f *avroFormat[T]) differs(s *Schema) (bool, string, error) {
	writer := s.Text
	if len(s.Resolved) > 0 {
		whole, err := weaveravro.New[any](s.Text, s.texts()...)
		if err != nil {
			return false, "", err
		}
		writer = whole.Schema()
	}
	changes, err := weaveravro.Compare(writer, f.codec.Schema())
	if err != nil || len(changes) == 0 {
		return false, "", err
	}
	detail := changes[0].String()
	if len(changes) > 1 {
		detail += fmt.Sprintf(", and %d more", len(changes)-1)
	}
	return true, detail, nil
}

type avroReader[T any] struct {
	codec *weaveravro.Codec[T]
	id    int
}

func (r avroReader[T]) decode(data []byte, v *T) error {
	return writtenBy(r.id, r.codec.Decode(data, v))
}

// writer implements format. Data says nothing about itself, so it must be written exactly as the schema says.
func (f *avroFormat[T]) writer(s *Schema) ([]byte, error) {
	whole, err := weaveravro.New[any](s.Text, s.texts()...)
	if err != nil {
		return nil, err
	}
	theirs, err := avro.Parse(whole.Schema())
	if err != nil {
		return nil, err
	}
	ours, err := avro.Parse(f.codec.Schema())
	if err != nil {
		return nil, err
	}
	// Compare finds what is meant otherwise, and the canonical form fields in another order.
	changes, err := weaveravro.Compare(ours.String(), theirs.String())
	if err != nil {
		return nil, err
	}
	if len(changes) > 0 || !bytes.Equal(theirs.Canonical(), ours.Canonical()) {
		return nil, errors.New("it is another one than the codec's, so what the codec writes couldn't be read by it: make the codec from it")
	}
	return nil, nil
}
