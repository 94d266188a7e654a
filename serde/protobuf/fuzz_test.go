package protobuf_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/bohica-labs/dataweaver/serde/protobuf"
)

// What is read is written so that it reads the same again, and a message by descriptor takes exactly what a generated one takes.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(unknown())
	f.Add(nested(3))
	f.Add(nested(60))
	data, err := proto.Marshal(object(f))
	require.NoError(f, err)
	f.Add(data)
	descriptor := structpb.File_google_protobuf_struct_proto.Messages().ByName("Value")
	codec := protobuf.Codec[*structpb.Value]{Deterministic: true}
	dynamic := protobuf.Codec[*dynamicpb.Message]{Deterministic: true, Type: dynamicpb.NewMessageType(descriptor)}
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, again *structpb.Value
		var d *dynamicpb.Message
		err := codec.Decode(data, &first)
		require.Equal(t, err == nil, dynamic.Decode(data, &d) == nil)
		if err != nil {
			return
		}
		out, err := codec.Append(nil, first)
		require.NoError(t, err)
		require.NoError(t, codec.Decode(out, &again))
		stable, err := codec.Append(nil, again)
		require.NoError(t, err)
		require.Equal(t, out, stable)
	})
}

// No descriptor makes it panic, neither when messages are made of it nor when two are compared.
func FuzzDescriptor(f *testing.F) {
	data, err := proto.Marshal(protodesc.ToFileDescriptorProto(structpb.File_google_protobuf_struct_proto))
	require.NoError(f, err)
	f.Add(data, "google.protobuf.Struct", nested(2))
	files := protobuf.Codec[*descriptorpb.FileDescriptorProto]{}
	f.Fuzz(func(t *testing.T, data []byte, name string, message []byte) {
		var file *descriptorpb.FileDescriptorProto
		if files.Decode(data, &file) != nil {
			return
		}
		set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{file}}
		codec, err := protobuf.Dynamic(set, name)
		if err != nil {
			return
		}
		require.NoError(t, protobuf.Compatible(codec.Type.Descriptor(), codec.Type.Descriptor()))
		require.True(t, protobuf.Same(codec.Type.Descriptor(), codec.Type.Descriptor()))
		var d *dynamicpb.Message
		if codec.Decode(message, &d) == nil {
			_, err = codec.Append(nil, d)
			require.NoError(t, err)
		}
	})
}
