package protobuf

import (
	"errors"
	"fmt"
	"reflect"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

var dynamicType = reflect.TypeFor[*dynamicpb.Message]()

// Dynamic returns a Codec for messages of the type with the full name, as "shop.v1.Order", in set: what protoc --descriptor_set_out
// --include_imports writes. Set must have all files that others of it import. Extensions in set are known to the codec.
//
// Such messages take several times the time and memory of generated ones. [Codec.New] makes them.
func Dynamic(set *descriptorpb.FileDescriptorSet, name string) (Codec[*dynamicpb.Message], error) {
	if set == nil {
		return Codec[*dynamicpb.Message]{}, errors.New("protobuf.Dynamic: the FileDescriptorSet is nil")
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return Codec[*dynamicpb.Message]{}, fmt.Errorf("protobuf.Dynamic: the FileDescriptorSet is not sound, or lacks imported files: %w", err)
	}
	d, err := files.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return Codec[*dynamicpb.Message]{}, fmt.Errorf("protobuf.Dynamic: there is no message %q in the FileDescriptorSet: the name includes the package", name)
	}
	m, ok := d.(protoreflect.MessageDescriptor)
	if !ok {
		return Codec[*dynamicpb.Message]{}, fmt.Errorf("protobuf.Dynamic: %q is not a message in the FileDescriptorSet", name)
	}
	return Codec[*dynamicpb.Message]{Type: dynamicpb.NewMessageType(m), Resolver: dynamicpb.NewTypes(files)}, nil
}
