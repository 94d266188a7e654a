package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde"
)

// Codec is a serde.Codec for values behind a header that says by which schema of a registry they were written. [Avro], [Protobuf] and [JSON] make one; its
// fields are set before it is used.
//
// It looks a schema up when it meets it first, and keeps what it has made of it: then it costs a header and a map access. It is a serde.Remote: while the
// registry is out, the pipeline waits. See the package's comment for what is which error.
type Codec[T any] struct {
	// Subject says what the schemas of what is written are registered under. It is required to write, and reading has no use for it. TopicName is what others
	// expect for the values of a topic. Default: none.
	Subject Subject
	// AutoRegister registers the schema where the subject doesn't have it. Default: the schema has to be there, and it is fatal where it isn't.
	AutoRegister bool
	// Latest writes by the latest schema of the subject, as of the first record that this codec writes. T has to fit that: with Avro the two schemas have to
	// be equal but for documentation and the like, with Protobuf what is written has to be readable by it, and for JSON anything goes. Default: by the schema
	// that the codec was made with, which for Protobuf is field Schema and, where that is empty, means Latest.
	Latest bool
	// Schema is the text that is looked up in the subject, or registered. Default: what the codec was made with; none for Protobuf, whose schema is the text
	// of the .proto file.
	Schema string
	// References are what Schema refers to; they are registered already. Default: none.
	References []Reference
	// Drift says what happens to data that was written by another schema than the reader's. Default: Accept.
	Drift Drift

	client *Client
	format format[T]

	readers atomic.Pointer[map[int]reader[T]] // by schema id; never changed, but replaced
	mu      sync.Mutex                        // for replacing it
	prefix  atomic.Pointer[[]byte]            // of all that is written
}

// format is what the languages of schemas differ in. It is safe for concurrent use.
type format[T any] interface {
	language() Type
	// record is the full name of what T is.
	record() (string, error)
	// text is the schema of T; empty if that can't be told.
	text() string
	// reader returns what decodes data that was written by s, or the error of all such data. It is not about the registry, so it is final.
	reader(s *Schema, d Drift) reader[T]
	// writer returns what is between the id of s and the payload, or why T can't be written by s.
	writer(s *Schema) ([]byte, error)
	append(dst []byte, v T) ([]byte, error)
}

// reader decodes what is behind the header.
type reader[T any] interface {
	decode(data []byte, v *T) error
}

// writtenBy says by which schema data was written that makes no sense.
func writtenBy(id int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("written by schema %d: %w", id, err)
}

// refused is the reader of what can't be read.
type refused[T any] struct{ err error }

func (r refused[T]) decode([]byte, *T) error { return r.err }

// maxReaders is how many schemas a codec has readers for. Of more, some are made again now and then.
const maxReaders = 1000

var _ serde.Remote = (*Codec[int])(nil)

// Remote implements serde.Remote.
func (c *Codec[T]) Remote() bool { return true }

// check finds what is wrong with the configuration.
func (c *Codec[T]) check() error {
	switch {
	case c.client == nil:
		return retry.Fatal(errors.New("registry.Codec: the Client is nil"))
	case c.format == nil:
		return retry.Fatal(errors.New("registry.Codec: there is no codec: make one with registry.Avro, Protobuf or JSON"))
	case c.Drift > DeadLetter:
		return retry.Fatal(fmt.Errorf("registry.Codec: field Drift is %s: no such choice", c.Drift))
	}
	return nil
}

// Decode implements serde.Codec.
func (c *Codec[T]) Decode(data []byte, v *T) error {
	id, rest, err := header(data)
	if err != nil {
		return err
	}
	if known := c.readers.Load(); known != nil {
		if r, ok := (*known)[id]; ok {
			return r.decode(rest, v)
		}
	}
	r, err := c.reader(id)
	if err != nil {
		return err
	}
	return r.decode(rest, v)
}

// reader looks the schema up.
func (c *Codec[T]) reader(id int) (reader[T], error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	s, err := c.client.Schema(context.Background(), id)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, retry.Permanent(fmt.Errorf("it was written by a schema that is not to be had: %w", err))
	case err != nil:
		return nil, err
	}
	var r reader[T]
	if s.Type == c.format.language() {
		r = c.format.reader(s, c.Drift)
	} else {
		r = refused[T]{fmt.Errorf("schema %d is of type %s, and this codec is for %s", id, oneLine(string(s.Type)), c.format.language())}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[int]reader[T]{}
	if known := c.readers.Load(); known != nil {
		all = maps.Clone(*known)
	}
	for old := range all {
		if len(all) < maxReaders {
			break
		}
		delete(all, old)
	}
	all[id] = r
	c.readers.Store(&all)
	return r, nil
}

// Append implements serde.Codec.
func (c *Codec[T]) Append(dst []byte, v T) ([]byte, error) {
	prefix := c.prefix.Load()
	if prefix == nil {
		var err error
		if prefix, err = c.writer(); err != nil {
			if retry.ClassOf(err) == retry.ClassUnmarked || retry.ClassOf(err) == retry.ClassPoison {
				err = retry.Fatal(err) // it is so for every record
			}
			return dst, err
		}
	}
	out, err := c.format.append(append(dst, *prefix...), v)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// writer finds the schema to write by, and returns what is in front of each payload.
func (c *Codec[T]) writer() (*[]byte, error) {
	s, err := c.schema()
	if err != nil {
		return nil, err
	}
	if s.Type != c.format.language() {
		return nil, fmt.Errorf("registry.Codec: schema %d is of type %s, and this codec is for %s", s.ID, oneLine(string(s.Type)), c.format.language())
	}
	between, err := c.format.writer(s)
	if err != nil {
		return nil, fmt.Errorf("registry.Codec: schema %d: %w", s.ID, err)
	}
	prefix := append(appendHeader(nil, s.ID), between...)
	c.prefix.Store(&prefix)
	return &prefix, nil
}

// schema is the one that is written by.
func (c *Codec[T]) schema() (*Schema, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Subject == nil {
		return nil, errors.New("registry.Codec: field Subject is nil: it says where the schema of what is written is, for instance registry.TopicName(topic)")
	}
	if c.AutoRegister && c.Latest {
		return nil, errors.New("registry.Codec: fields AutoRegister and Latest are both set: it is one or the other")
	}
	record, err := c.format.record()
	if err != nil {
		return nil, err
	}
	subject := c.Subject(record)
	s := Schema{Type: c.format.language(), Text: c.Schema, References: c.References}
	if s.Text == "" {
		s.Text = c.format.text()
	}
	if s.Text == "" && c.AutoRegister {
		return nil, errors.New("registry.Codec: field AutoRegister is set, and what should be registered isn't known: set field Schema, for Protobuf to the text of the .proto file")
	}
	ctx := context.Background()
	var found *Schema
	switch {
	case c.Latest || s.Text == "":
		found, err = c.client.Latest(ctx, subject)
		if errors.Is(err, ErrNotFound) {
			err = fmt.Errorf("there is no schema for %s to write by: register one in subject %q, or set field AutoRegister: %w", record, subject, err)
		}
	case c.AutoRegister:
		found, err = c.client.Register(ctx, subject, s)
	default:
		found, err = c.client.Find(ctx, subject, s)
		if errors.Is(err, ErrNotFound) {
			err = fmt.Errorf("the schema of %s is not in subject %q: register it there, or set field AutoRegister, or Latest to use the one that is there: %w", record, subject, err)
		}
	}
	if err == nil && (found.ID <= 0 || int64(found.ID) > maxID) {
		err = fmt.Errorf("registry.Codec: the registry says that the schema's id is %d, which can't be", found.ID)
	}
	return found, err
}

const maxID = 1<<31 - 1
