package protobuf_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/protobuf"
)

func Example() {
	var codec serde.Codec[*wrapperspb.StringValue] = protobuf.Codec[*wrapperspb.StringValue]{}
	data, err := codec.Append(nil, wrapperspb.String("tea"))
	fmt.Printf("%x %v\n", data, err)

	var v *wrapperspb.StringValue
	err = codec.Decode(data, &v)
	fmt.Println(v.GetValue(), err)

	err = codec.Decode([]byte{0x0a, 9, 't'}, &v)
	fmt.Println(err != nil)
	// Output:
	// 0a03746561 <nil>
	// tea <nil>
	// true
}

// A file of messages, each behind its length as a varint, is written and read by file.Prefixed.
func Example_file() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	messages := file.Prefixed[*wrapperspb.StringValue](filepath.Join(dir, "messages.bin"), file.Uvarint)
	messages.Codec = protobuf.Codec[*wrapperspb.StringValue]{}

	words := weaver.FromSeq(func(yield func(*wrapperspb.StringValue, error) bool) {
		_ = yield(wrapperspb.String("green"), nil) && yield(wrapperspb.String("tea"), nil)
	})
	if err := weaver.Copy(words, messages).Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "messages.bin"))
	fmt.Printf("%q %v\n", data, err)

	printed := weaver.SinkFunc[*wrapperspb.StringValue](func(_ context.Context, b *weaver.Batch[*wrapperspb.StringValue]) error {
		for _, r := range b.Records {
			fmt.Println(r.Value.GetValue())
		}
		return nil
	})
	if err := weaver.Copy(messages, printed).Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// "\a\n\x05green\x05\n\x03tea" <nil>
	// green
	// tea
}

// With a descriptor, messages are read of which there is no Go type.
func ExampleDynamic() {
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{{
		Name: proto.String("shop.proto"), Package: proto.String("shop.v1"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: proto.String("Order"),
			Field: []*descriptorpb.FieldDescriptorProto{{
				Name: proto.String("id"), Number: proto.Int32(1),
				Type: descriptorpb.FieldDescriptorProto_TYPE_INT64.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
			}},
		}},
	}}}
	codec, err := protobuf.Dynamic(set, "shop.v1.Order")
	if err != nil {
		fmt.Println(err)
		return
	}
	order, err := codec.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	id := order.Descriptor().Fields().ByName("id")
	err = codec.Decode([]byte{0x08, 42}, &order)
	fmt.Println(order.Get(id).Int(), err)

	order.Set(id, protoreflect.ValueOfInt64(43))
	data, err := codec.Append(nil, order)
	fmt.Printf("%x %v\n", data, err)
	// Output:
	// 42 <nil>
	// 082b <nil>
}
