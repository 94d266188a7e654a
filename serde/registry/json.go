package registry

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"

	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde"
	weaverjson "github.com/bohica-labs/dataweaver/serde/json"
)

// JSON returns a Codec for JSON values with a JSON Schema. A nil codec is the zero json.Codec of package serde/json. Values are not validated against any
// schema: what T can't take is an error, and nothing else. So whether two schemas are compatible isn't known either: with Drift Accept all are.
//
// The schema may be empty for a Codec that only reads, or that writes by the Latest schema; then Drift is Accept.
func JSON[T any](client *Client, codec serde.Codec[T], schema string) *Codec[T] {
	if codec == nil {
		codec = weaverjson.Codec[T]{}
	}
	return &Codec[T]{client: client, format: &jsonFormat[T]{codec, schema}}
}

type jsonFormat[T any] struct {
	codec  serde.Codec[T]
	schema string
}

func (*jsonFormat[T]) language() Type { return TypeJSON }
func (f *jsonFormat[T]) text() string { return f.schema }

// record is the title of the schema.
func (f *jsonFormat[T]) record() (string, error) {
	if f.schema == "" {
		return "", nil
	}
	var titled struct {
		Title string `json:"title"`
	}
	if err := stdjson.Unmarshal([]byte(f.schema), &titled); err != nil && !isBool(f.schema) {
		return "", fmt.Errorf("registry.JSON: the schema: %w", err)
	}
	return titled.Title, nil
}

// isBool reports whether a schema is true or false, which allows everything or nothing.
func isBool(schema string) bool {
	var b bool
	return stdjson.Unmarshal([]byte(schema), &b) == nil
}

func (f *jsonFormat[T]) append(dst []byte, v T) ([]byte, error) { return f.codec.Append(dst, v) }

func (f *jsonFormat[T]) writer(*Schema) ([]byte, error) { return nil, nil }

// reader implements format.
func (f *jsonFormat[T]) reader(s *Schema, d Drift) reader[T] {
	if d == Accept {
		return jsonReader[T]{f.codec, s.ID}
	}
	if f.schema == "" {
		return refused[T]{retry.Fatal(fmt.Errorf("registry.JSON: field Drift is %s, and there is no schema that others could differ from", d))}
	}
	ours, err := canonical(f.schema)
	if err != nil {
		return refused[T]{retry.Fatal(fmt.Errorf("registry.JSON: the schema: %w", err))}
	}
	theirs, err := canonical(s.Text)
	if err != nil {
		return refused[T]{retry.Permanent(fmt.Errorf("schema %d can't be used: %s", s.ID, oneLine(err.Error())))}
	}
	record, err := f.record()
	if err != nil {
		return refused[T]{retry.Fatal(err)}
	}
	if err := d.judge(s.ID, fmt.Sprintf("%q", record), !bytes.Equal(ours, theirs), "", nil); err != nil {
		return refused[T]{err}
	}
	return jsonReader[T]{f.codec, s.ID}
}

type jsonReader[T any] struct {
	codec serde.Codec[T]
	id    int
}

func (r jsonReader[T]) decode(data []byte, v *T) error {
	if len(data) == 0 {
		return errors.New("there is no JSON behind the schema id")
	}
	return writtenBy(r.id, r.codec.Decode(data, v))
}

// canonical is a JSON text without white space and with its names in order. Numbers stay as they are.
func canonical(text string) ([]byte, error) {
	dec := stdjson.NewDecoder(bytes.NewReader([]byte(text)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return stdjson.Marshal(v)
}
