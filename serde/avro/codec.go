package avro

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"unsafe"

	"github.com/twmb/avro"

	"github.com/bohica-labs/dataweaver/serde"
)

// Codec is a serde.Codec for one Avro datum a record, without a header, and the Go type T. New makes one; its fields may be set before it is used, and not
// afterwards.
//
// Its methods are safe for concurrent use. Append allocates nothing and Decode nothing but what T holds, beyond what the library does.
type Codec[T any] struct {
	// MaxBytes is how long the data of one Decode may be. Longer data is an error. Default: 64 MiB.
	MaxBytes int
	// MaxItems is how many elements the arrays and maps of one datum may have in all. More are an error. Default: 2^20 for elements that take no bytes (nulls,
	// records without fields), and as many as the data has bytes for others. Setting it costs a pass over the data.
	MaxItems int

	schema *schema      // what is appended, and what T is for
	writer *schema      // what data was written with
	wire   *avro.Schema // reads writer's data as schema's
	checks checks
	opts   []avro.Opt
	lossy  map[*node]int // of writer; see walk
	fast   *fast         // nil: the library is for T
	values *sync.Pool    // of *working[T]
}

var _ serde.Codec[int] = (*Codec[int])(nil)

// working is what one call needs. A value that is passed on by a pointer would be allocated.
type working[T any] struct {
	value T
	state state
}

const (
	defaultMaxBytes = 64 << 20
	defaultMaxItems = 1 << 20
)

// New returns a codec for T and a schema, which is JSON. References are the schemas of types that it names and doesn't define, each after those that it
// names itself.
//
// A schema that isn't valid is an error, and so is a T that can't hold every value that the schema describes, or that would lose something; both say where.
func New[T any](schemaText string, references ...string) (*Codec[T], error) {
	s, err := parse(schemaText, references)
	if err != nil {
		return nil, err
	}
	t := reflect.TypeFor[T]()
	c, dynamic, err := planFor(t, s.root)
	if err != nil {
		var p *placed
		if !errors.As(err, &p) {
			err = fmt.Errorf("avro: %w", err)
		}
		return nil, err
	}
	codec := &Codec[T]{
		schema: s, writer: s, wire: s.compiled, checks: c,
		values: &sync.Pool{New: func() any { return new(working[T]) }},
	}
	codec.fast = (&compiler{map[pair]*fast{}}).compile(t, s.root)
	if dynamic {
		codec.opts = []avro.Opt{avro.TaggedUnions()}
	}
	return codec, nil
}

// WithWriter returns a codec that decodes data that was written with another schema, as the specification resolves the two: fields are found by name or
// alias, those that the data lacks have their defaults, those that T lacks are skipped, and numbers are promoted. It appends what c does, and has its limits.
//
// If such data can't be read the error is an *IncompatibleError. One codec for each schema that data comes with is what to keep; making one is no work for a
// single record.
func (c *Codec[T]) WithWriter(schemaText string, references ...string) (*Codec[T], error) {
	writer, err := parse(schemaText, references)
	if err != nil {
		return nil, err
	}
	wire, lossy, err := resolve(writer, c.schema)
	if err != nil {
		return nil, err
	}
	other := *c
	other.writer, other.wire, other.lossy = writer, wire, lossy
	return &other, nil
}

// Schema returns the text of the schema that c appends by, with everything it refers to.
func (c *Codec[T]) Schema() string { return c.schema.text }

// Append implements serde.Codec.
func (c *Codec[T]) Append(dst []byte, v T) ([]byte, error) {
	w, _ := c.values.Get().(*working[T])
	w.value = v
	var out []byte
	var err error
	if c.fast != nil {
		w.state.dst, w.state.depth = dst, 0
		err = c.fast.write(&w.state, unsafe.Pointer(&w.value))
		out, w.state.dst = w.state.dst, nil
	} else if out, err = c.schema.compiled.AppendEncode(dst, &w.value); err == nil {
		err = c.check(c.checks.encode, &w.value) // what contains itself has failed above, so this ends
	}
	var zero T
	w.value = zero // others may keep v, or the garbage collector may take it
	c.values.Put(w)
	if err != nil {
		return dst, placedAt(err)
	}
	return out, nil
}

// Decode implements serde.Codec.
func (c *Codec[T]) Decode(data []byte, v *T) error {
	if most := orDefault(c.MaxBytes, defaultMaxBytes); len(data) > most {
		return tooLong(len(data), most)
	}
	rest, err := c.DecodeNext(data, v)
	if err == nil && len(rest) > 0 {
		err = behind(len(rest))
	}
	return err
}

// DecodeNext is Decode for data with more behind the datum, such as the block of a container, and returns that. MaxBytes doesn't count.
func (c *Codec[T]) DecodeNext(data []byte, v *T) ([]byte, error) {
	var zero T
	*v = zero                                         // or what it has would be written over, which others may still hold
	if c.fast != nil && c.wire == c.schema.compiled { // also where the writer's is equal to it
		return c.read(data, v)
	}
	if c.writer.root.hollow || len(c.lossy) > 0 || c.MaxItems > 0 {
		if _, err := c.Skip(data); err != nil {
			return nil, err
		}
	}
	rest, err := c.wire.Decode(data, v, c.opts...)
	if err != nil {
		return nil, err
	}
	return rest, c.check(c.checks.decode, v)
}

func (c *Codec[T]) read(data []byte, v *T) ([]byte, error) {
	w, _ := c.values.Get().(*working[T])
	w.state.walk, w.state.data = newWalk(c.MaxItems, nil), data
	err := c.fast.read(&w.state, unsafe.Pointer(v))
	rest := w.state.data
	w.state.data = nil
	c.values.Put(w)
	if err != nil {
		return nil, placedAt(err)
	}
	return rest, nil
}

// Skip returns what is behind the datum that data begins with. It makes no value of it, so it is several times as fast as DecodeNext, and finds
// whatever the format forbids.
func (c *Codec[T]) Skip(data []byte) ([]byte, error) {
	return c.writer.skip(data, c.MaxItems, c.lossy)
}

func (c *Codec[T]) check(one check, v *T) error {
	if one == nil {
		return nil
	}
	return one(unsafe.Pointer(v))
}

// skip goes over a datum of s.
func (s *schema) skip(data []byte, maxItems int, lossy map[*node]int) ([]byte, error) {
	w := newWalk(maxItems, lossy)
	rest, err := w.value(s.root, data)
	if err != nil {
		return nil, placedAt(err)
	}
	return rest, nil
}

func newWalk(maxItems int, lossy map[*node]int) walk {
	if maxItems <= 0 {
		return walk{items: math.MaxInt, hollow: defaultMaxItems, mantissa: lossy}
	}
	return walk{items: maxItems, hollow: maxItems, mantissa: lossy}
}

func orDefault(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return n
}

func tooLong(n, most int) error {
	return fmt.Errorf("avro: data of %d bytes, more than the %d of MaxBytes", n, most)
}

func behind(n int) error { return fmt.Errorf("avro: %d bytes behind the datum", n) }
