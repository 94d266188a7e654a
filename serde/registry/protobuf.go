package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde"
	weaverproto "github.com/bohica-labs/dataweaver/serde/protobuf"
)

// Protobuf returns a Codec for messages. They are read as T whatever schema they were written with, as long as that has a message of T's name and the two are
// compatible (see Compatible of package serde/protobuf); what T doesn't know of them is kept. They are written by the registered schema in which a message of
// T's name is: by the latest one, unless field Schema is set.
func Protobuf[T proto.Message](client *Client, codec weaverproto.Codec[T]) *Codec[T] {
	return &Codec[T]{client: client, format: &protobufFormat[T]{codec}}
}

type protobufFormat[T proto.Message] struct{ codec weaverproto.Codec[T] }

func (*protobufFormat[T]) language() Type { return TypeProtobuf }
func (*protobufFormat[T]) text() string   { return "" }

func (f *protobufFormat[T]) descriptor() (protoreflect.MessageDescriptor, error) {
	m, err := f.codec.New()
	if err != nil {
		return nil, err
	}
	return m.ProtoReflect().Descriptor(), nil
}

func (f *protobufFormat[T]) record() (string, error) {
	d, err := f.descriptor()
	if err != nil {
		return "", err
	}
	return string(d.FullName()), nil
}

func (f *protobufFormat[T]) append(dst []byte, v T) ([]byte, error) { return f.codec.Append(dst, v) }

// maxNesting is far above what the compiler allows, and far below what it takes to overflow its stack.
const maxNesting = 1000

// compile makes a descriptor of a schema's text.
func compile(s *Schema) (protoreflect.FileDescriptor, error) {
	const name = "registered schema.proto" // no reference has that name
	texts := builtIn()
	texts[name] = s.Text
	for _, r := range s.Resolved {
		texts[r.Name] = r.Text
	}
	for _, text := range texts {
		if nesting(text) > maxNesting {
			return nil, fmt.Errorf("its braces are nested more than %d deep", maxNesting)
		}
	}
	c := protocompile.Compiler{
		MaxParallelism: 1,
		Resolver: protocompile.CompositeResolver{
			&protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(texts)},
			protocompile.WithStandardImports(&protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(nil)}),
		},
	}
	files, err := c.Compile(context.Background(), name)
	if err != nil {
		return nil, errors.New(oneLine(err.Error()))
	}
	return linker.File(files[0]), nil
}

// nesting is how deeply the braces of a text are nested, at least.
func nesting(text string) (most int) {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '{', '<', '[', '(':
			depth++
			most = max(most, depth)
		case '}', '>', ']', ')':
			depth--
		}
	}
	return most
}

// tree is the messages of a file, or those in a message, by index.
type tree[T any] struct {
	reader[T]
	nested []*tree[T]
}

// reader implements format.
func (f *protobufFormat[T]) reader(s *Schema, d Drift) reader[T] {
	ours, err := f.descriptor()
	if err != nil {
		return refused[T]{err}
	}
	file, err := compile(s)
	if err != nil {
		return refused[T]{retry.Permanent(fmt.Errorf("schema %d can't be used: %w", s.ID, err))}
	}
	var grow func(all protoreflect.MessageDescriptors) []*tree[T]
	grow = func(all protoreflect.MessageDescriptors) []*tree[T] {
		nodes := make([]*tree[T], all.Len())
		for i := range nodes {
			nodes[i] = &tree[T]{f.message(s, all.Get(i), ours, d), grow(all.Get(i).Messages())}
		}
		return nodes
	}
	return &protobufReader[T]{id: s.ID, nested: grow(file.Messages())}
}

// message judges one message of a schema.
func (f *protobufFormat[T]) message(s *Schema, theirs, ours protoreflect.MessageDescriptor, d Drift) reader[T] {
	if theirs.FullName() != ours.FullName() {
		return refused[T]{fmt.Errorf("the message is a %s by schema %d, and this codec is for %s", theirs.FullName(), s.ID, ours.FullName())}
	}
	if err := d.judge(s.ID, string(ours.FullName()), !weaverproto.Same(theirs, ours), "", weaverproto.Compatible(theirs, ours)); err != nil {
		return refused[T]{err}
	}
	return messageReader[T]{f.codec, s.ID}
}

type messageReader[T any] struct {
	codec serde.Codec[T]
	id    int
}

func (r messageReader[T]) decode(data []byte, v *T) error {
	return writtenBy(r.id, r.codec.Decode(data, v))
}

type protobufReader[T any] struct {
	id     int
	nested []*tree[T]
}

func (r *protobufReader[T]) decode(data []byte, v *T) error {
	if len(data) > 0 && data[0] == 0 && len(r.nested) > 0 { // nearly always
		return r.nested[0].decode(data[1:], v)
	}
	return r.decodeOther(data, v)
}

func (r *protobufReader[T]) decodeOther(data []byte, v *T) error {
	path, rest, err := indexes(data, nil)
	if err != nil {
		return err
	}
	var at *tree[T]
	in := r.nested
	for _, i := range path {
		if i >= len(in) {
			return fmt.Errorf("there is no message %v in schema %d", path, r.id)
		}
		at = in[i]
		in = at.nested
	}
	return at.decode(rest, v)
}

// writer implements format.
func (f *protobufFormat[T]) writer(s *Schema) ([]byte, error) {
	ours, err := f.descriptor()
	if err != nil {
		return nil, err
	}
	file, err := compile(s)
	if err != nil {
		return nil, err
	}
	theirs, path := find(file.Messages(), ours.FullName())
	if theirs == nil {
		return nil, fmt.Errorf("there is no message %s in it", ours.FullName())
	}
	if err := weaverproto.Compatible(ours, theirs); err != nil {
		return nil, fmt.Errorf("a %s as this program has it couldn't be read by it: %w", ours.FullName(), err)
	}
	return appendIndexes(nil, path), nil
}

// find returns the message with a name, and its indexes.
func find(all protoreflect.MessageDescriptors, name protoreflect.FullName) (protoreflect.MessageDescriptor, []int) {
	for i := range all.Len() {
		m := all.Get(i)
		if m.FullName() == name {
			return m, []int{i}
		}
		if within, path := find(m.Messages(), name); within != nil {
			return within, append([]int{i}, path...)
		}
	}
	return nil, nil
}
