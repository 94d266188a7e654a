package protobuf

import (
	"errors"
	"fmt"
	"reflect"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde"
)

// Codec is a serde.Codec for one message a record. T is a pointer to a generated message, as *orderpb.Order; the zero value is ready for use. For
// messages of a type that is only known at run time, see [Dynamic].
//
// Decode makes a new message for each record and touches nothing that *v pointed at before: a record that was passed on may still be on its way. Beside what
// the message has in it, that is the one allocation. Append has none where dst has room.
type Codec[T proto.Message] struct {
	// Deterministic writes equal messages as equal bytes, in one version of the program: maps are sorted. Default: maps are written in any order.
	Deterministic bool
	// AllowPartial takes messages of proto2 that lack required fields. Default: they are an error.
	AllowPartial bool
	// DiscardUnknown drops fields that T doesn't know when reading. Default: they are kept, and written again.
	DiscardUnknown bool
	// RecursionLimit is how deeply messages may be nested, the outermost included, when reading. Default: 100, as in C++ and Java.
	RecursionLimit int
	// Reuse makes Decode empty and fill the message that *v points at, if there is one. It is for loops that own what they decode into: a pipeline always
	// decodes into a nil pointer, so it gains nothing there. Default: never.
	Reuse bool
	// Type makes the messages. It is required where T is *dynamicpb.Message, and must make T. Default: T's own.
	Type protoreflect.MessageType
	// Resolver finds extensions when reading. Default: protoregistry.GlobalTypes, those that are linked in.
	Resolver Resolver
}

// Resolver finds extensions by name and number, as *protoregistry.Types and *dynamicpb.Types do.
type Resolver interface {
	FindExtensionByName(field protoreflect.FullName) (protoreflect.ExtensionType, error)
	FindExtensionByNumber(message protoreflect.FullName, field protoreflect.FieldNumber) (protoreflect.ExtensionType, error)
}

var _ serde.Codec[proto.Message] = Codec[proto.Message]{}

// levels is how deeply messages may be nested, unless told otherwise.
const levels = 100

var errNil = errors.New("the message is nil, which is not the same as an empty one: that is a pointer to a zero value")

// Append implements serde.Codec.
func (c Codec[T]) Append(dst []byte, v T) ([]byte, error) {
	if isNil(v) {
		return dst, errNil
	}
	m := v.ProtoReflect()
	name := m.Descriptor().FullName()
	if c.Type != nil && name != c.Type.Descriptor().FullName() {
		return dst, fmt.Errorf("the message is a %s, and this codec is for %s", name, c.Type.Descriptor().FullName())
	}
	out, err := proto.MarshalOptions{Deterministic: c.Deterministic, AllowPartial: c.AllowPartial}.MarshalAppend(dst, v)
	if err != nil {
		return dst, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}

// Decode implements serde.Codec.
func (c Codec[T]) Decode(data []byte, v *T) error {
	m, fresh, err := c.into(v)
	if err != nil {
		return err
	}
	o := proto.UnmarshalOptions{
		Merge:          fresh, // there is nothing to be emptied
		AllowPartial:   c.AllowPartial,
		DiscardUnknown: c.DiscardUnknown,
		RecursionLimit: c.RecursionLimit,
	}
	if o.RecursionLimit <= 0 {
		o.RecursionLimit = levels
	}
	o.Resolver = c.Resolver
	if c.Resolver == nil {
		o.Resolver = protoregistry.GlobalTypes
	}
	if err := o.Unmarshal(data, m); err != nil {
		return fmt.Errorf("%s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	*v = m
	return nil
}

// New returns an empty message.
func (c Codec[T]) New() (T, error) {
	var zero T
	if c.Type != nil {
		m, ok := c.Type.New().Interface().(T)
		if !ok {
			return zero, retry.Fatal(fmt.Errorf("protobuf.Codec: field Type makes a %T, which is no %s", c.Type.New().Interface(), reflect.TypeFor[T]()))
		}
		return m, nil
	}
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Pointer || t == dynamicType {
		return zero, retry.Fatal(fmt.Errorf("protobuf.Codec: a %s says nothing about its fields: use a generated message, or protobuf.Dynamic with a descriptor", t))
	}
	return reflect.New(t.Elem()).Interface().(T), nil //nolint:forcetypeassert // T is a pointer to that
}

// into returns the message to decode into, and whether it is a new one.
func (c Codec[T]) into(v *T) (m T, fresh bool, err error) {
	if c.Reuse && !isNil(*v) && (c.Type == nil || (*v).ProtoReflect().Descriptor() == c.Type.Descriptor()) {
		return *v, false, nil
	}
	m, err = c.New()
	return m, true, err
}

// isNil reports whether m is nil, or an interface with a nil pointer.
func isNil(m proto.Message) bool {
	if m == nil {
		return true
	}
	if d, ok := m.(*dynamicpb.Message); ok {
		return d == nil // of which nothing may be asked
	}
	return !m.ProtoReflect().IsValid()
}
