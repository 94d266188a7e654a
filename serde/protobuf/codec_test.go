package protobuf_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/protobuf"
)

// large is a message with nearly all that messages can have in them.
func large() *descriptorpb.FileDescriptorProto {
	return protodesc.ToFileDescriptorProto(descriptorpb.File_google_protobuf_descriptor_proto)
}

func object(t testing.TB) *structpb.Struct {
	s, err := structpb.NewStruct(map[string]any{"id": 7.0, "name": "Ann \u2028", "tags": []any{"a", nil, true}, "more": map[string]any{"x": 1.5}})
	require.NoError(t, err)
	return s
}

func roundTrip[T proto.Message](t *testing.T, c protobuf.Codec[T], in T) {
	t.Helper()
	data, err := c.Append([]byte("before "), in)
	require.NoError(t, err)
	data, ok := bytes.CutPrefix(data, []byte("before "))
	require.True(t, ok)
	var out T
	require.NoError(t, c.Decode(data, &out))
	require.True(t, proto.Equal(in, out))
	clear(data) // it is overwritten later
	require.True(t, proto.Equal(in, out), "something of data was kept")
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, deterministic := range []bool{false, true} {
		roundTrip(t, protobuf.Codec[*structpb.Struct]{Deterministic: deterministic}, object(t))
		roundTrip(t, protobuf.Codec[*timestamppb.Timestamp]{Deterministic: deterministic}, timestamppb.Now())
		roundTrip(t, protobuf.Codec[*descriptorpb.FileDescriptorProto]{Deterministic: deterministic}, large())
		inside, err := anypb.New(object(t))
		require.NoError(t, err)
		roundTrip(t, protobuf.Codec[*anypb.Any]{Deterministic: deterministic}, inside)
		roundTrip(t, protobuf.Codec[*wrapperspb.BytesValue]{Deterministic: deterministic}, wrapperspb.Bytes([]byte{0, 255}))
		roundTrip(t, protobuf.Codec[*structpb.Struct]{Deterministic: deterministic}, &structpb.Struct{})
	}
}

func TestDeterministic(t *testing.T) {
	t.Parallel()
	fields := map[string]any{}
	for i := range 50 {
		fields[fmt.Sprint(i)] = i
	}
	s, err := structpb.NewStruct(fields)
	require.NoError(t, err)
	codec := protobuf.Codec[*structpb.Struct]{Deterministic: true}
	first, err := codec.Append(nil, s)
	require.NoError(t, err)
	for range 20 {
		again, err := codec.Append(nil, proto.CloneOf(s))
		require.NoError(t, err)
		require.Equal(t, first, again)
	}
}

// unknown has fields of all wire types that no message here knows, in a group as well, in an order that no encoder writes.
func unknown() []byte {
	var b []byte
	b = protowire.AppendTag(b, 5000, protowire.VarintType)
	b = append(b, 0x81, 0x80, 0x00) // 1, longer than it has to be
	b = protowire.AppendTag(b, 4999, protowire.BytesType)
	b = protowire.AppendBytes(b, []byte("\xff not text"))
	b = protowire.AppendTag(b, 5000, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, 42)
	b = protowire.AppendTag(b, 4000, protowire.StartGroupType)
	b = protowire.AppendTag(b, 1, protowire.Fixed32Type)
	b = protowire.AppendFixed32(b, 42)
	return protowire.AppendTag(b, 4000, protowire.EndGroupType)
}

func TestUnknownFields(t *testing.T) {
	t.Parallel()
	value, err := proto.Marshal(wrapperspb.String("known"))
	require.NoError(t, err)
	data := slices.Concat(value, unknown())
	var v *wrapperspb.StringValue
	codec := protobuf.Codec[*wrapperspb.StringValue]{}
	require.NoError(t, codec.Decode(data, &v))
	require.Equal(t, "known", v.GetValue())
	out, err := codec.Append(nil, v)
	require.NoError(t, err)
	require.Equal(t, data, out)

	nested, err := proto.Marshal(&structpb.Value{Kind: &structpb.Value_ListValue{}})
	require.NoError(t, err)
	nested = protowire.AppendTag(nested[:0], 6, protowire.BytesType)
	nested = protowire.AppendBytes(nested, unknown())
	var list *structpb.Value
	require.NoError(t, protobuf.Codec[*structpb.Value]{}.Decode(nested, &list))
	out, err = protobuf.Codec[*structpb.Value]{}.Append(nil, list)
	require.NoError(t, err)
	require.Equal(t, nested, out, "and within a message")

	codec.DiscardUnknown = true
	require.NoError(t, codec.Decode(data, &v))
	out, err = codec.Append(nil, v)
	require.NoError(t, err)
	require.Equal(t, value, out)
}

func TestNil(t *testing.T) {
	t.Parallel()
	_, err := protobuf.Codec[*structpb.Struct]{}.Append(nil, nil)
	require.ErrorContains(t, err, "the message is nil")
	_, err = protobuf.Codec[proto.Message]{}.Append(nil, nil)
	require.ErrorContains(t, err, "the message is nil")
	_, err = protobuf.Codec[proto.Message]{}.Append(nil, (*structpb.Struct)(nil))
	require.ErrorContains(t, err, "the message is nil")

	out, err := protobuf.Codec[*structpb.Struct]{}.Append(nil, &structpb.Struct{})
	require.NoError(t, err)
	require.Empty(t, out)
	var v *structpb.Struct
	require.NoError(t, protobuf.Codec[*structpb.Struct]{}.Decode(nil, &v))
	require.NotNil(t, v)
}

func TestNoType(t *testing.T) {
	t.Parallel()
	var m proto.Message
	err := protobuf.Codec[proto.Message]{}.Decode(nil, &m)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	var d *dynamicpb.Message
	err = protobuf.Codec[*dynamicpb.Message]{}.Decode(nil, &d)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))
	require.ErrorContains(t, err, "protobuf.Dynamic")
	var s *structpb.Struct
	err = protobuf.Codec[*structpb.Struct]{Type: (&structpb.Value{}).ProtoReflect().Type()}.Decode(nil, &s)
	require.Equal(t, retry.ClassFatal, retry.ClassOf(err))

	require.NoError(t, protobuf.Codec[proto.Message]{Type: (&structpb.Value{}).ProtoReflect().Type()}.Decode(nil, &m), "with a type, an interface will do")
	require.IsType(t, &structpb.Value{}, m)
}

// What v pointed at belongs to a record that may still be on its way.
func TestDecodeTouchesNothingElse(t *testing.T) {
	t.Parallel()
	codec := protobuf.Codec[*wrapperspb.StringValue]{}
	first := wrapperspb.String("first")
	v := first
	data, err := codec.Append(nil, wrapperspb.String("second"))
	require.NoError(t, err)
	require.NoError(t, codec.Decode(data, &v))
	require.Equal(t, "second", v.GetValue())
	require.Equal(t, "first", first.GetValue())

	codec.Reuse = true
	v = first
	require.NoError(t, codec.Decode(nil, &v))
	require.Same(t, first, v)
	require.Empty(t, v.GetValue(), "whatever it was before")
	v = nil
	require.NoError(t, codec.Decode(data, &v))
	require.Equal(t, "second", v.GetValue())
}

func TestRequired(t *testing.T) {
	t.Parallel()
	partial := &descriptorpb.UninterpretedOption_NamePart{NamePart: proto.String("x")}
	codec := protobuf.Codec[*descriptorpb.UninterpretedOption_NamePart]{}
	_, err := codec.Append(nil, partial)
	require.ErrorContains(t, err, "is_extension")
	codec.AllowPartial = true
	data, err := codec.Append(nil, partial)
	require.NoError(t, err)
	require.NoError(t, codec.Decode(data, &partial))
	codec.AllowPartial = false
	require.ErrorContains(t, codec.Decode(data, &partial), "is_extension")
}

// nested is a google.protobuf.Value with so many lists in one another: two messages each, and one for the innermost value.
func nested(levels int) []byte {
	var b []byte
	for range levels {
		b = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), b) // ListValue.values
		b = protowire.AppendBytes(protowire.AppendTag(nil, 6, protowire.BytesType), b) // Value.list_value
	}
	return b
}

func TestDepth(t *testing.T) {
	t.Parallel()
	var v *structpb.Value
	codec := protobuf.Codec[*structpb.Value]{}
	require.NoError(t, codec.Decode(nested(49), &v)) // 99 messages
	err := codec.Decode(nested(50), &v)
	require.ErrorContains(t, err, "google.protobuf.Value: ")
	require.ErrorContains(t, err, "recursion")
	codec.RecursionLimit = 101
	require.NoError(t, codec.Decode(nested(50), &v))
	codec.RecursionLimit = 3
	require.NoError(t, codec.Decode(nested(1), &v))
	require.Error(t, codec.Decode(nested(2), &v))

	groups := bytes.Repeat(protowire.AppendTag(nil, 4000, protowire.StartGroupType), 1_000_000) // unknown ones
	require.Error(t, protobuf.Codec[*structpb.Value]{}.Decode(groups, &v))
}

func TestHostile(t *testing.T) {
	t.Parallel()
	codec := protobuf.Codec[*descriptorpb.FileDescriptorProto]{}
	data, err := codec.Append(nil, large())
	require.NoError(t, err)
	refused := 0
	var v *descriptorpb.FileDescriptorProto
	for i := range min(len(data), 2000) {
		if codec.Decode(data[:i], &v) != nil {
			refused++
		}
		flipped := bytes.Clone(data[:2000])
		flipped[i] ^= 1 << (i % 8)
		_ = codec.Decode(flipped, &v)
	}
	require.Greater(t, refused, 1900, "few of the beginnings are messages")

	for name, data := range map[string][]byte{
		"a length of 2^63":      {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"a length of 1 GiB":     protowire.AppendVarint([]byte{0x0a}, 1<<30),
		"a list of 1 GiB":       protowire.AppendVarint([]byte{0x52}, 1<<30),
		"field number 0":        {0x00, 0x01},
		"a varint without end":  bytes.Repeat([]byte{0xff}, 20),
		"a group without end":   {0x0b},
		"an end without group":  {0x0c},
		"wire type 7":           {0x0f},
		"a name that isn't all": {0x0a, 5, 'a'},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := codec.Decode(data, &v)
		runtime.ReadMemStats(&after)
		require.ErrorContains(t, err, "google.protobuf.FileDescriptorProto: ", name)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20), name) // of all tests that run
	}

	var s *wrapperspb.StringValue
	require.ErrorContains(t, protobuf.Codec[*wrapperspb.StringValue]{}.Decode([]byte("\x0a\x01\xff"), &s), "UTF-8")
	_, err = protobuf.Codec[*wrapperspb.StringValue]{}.Append([]byte("kept"), wrapperspb.String("\xff"))
	require.ErrorContains(t, err, "google.protobuf.StringValue: ")
}

func TestDynamic(t *testing.T) {
	t.Parallel()
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(structpb.File_google_protobuf_struct_proto)}}
	codec, err := protobuf.Dynamic(set, "google.protobuf.Struct")
	require.NoError(t, err)

	data, err := protobuf.Codec[*structpb.Struct]{}.Append(nil, object(t))
	require.NoError(t, err)
	data = append(data, unknown()...)
	var d *dynamicpb.Message
	require.NoError(t, codec.Decode(data, &d))
	fields := d.Get(d.Descriptor().Fields().ByName("fields")).Map()
	require.Equal(t, 4, fields.Len())
	out, err := codec.Append(nil, d)
	require.NoError(t, err)
	var s, want *structpb.Struct
	require.NoError(t, protobuf.Codec[*structpb.Struct]{}.Decode(out, &s))
	require.NoError(t, protobuf.Codec[*structpb.Struct]{}.Decode(data, &want))
	require.True(t, proto.Equal(want, s))
	require.Equal(t, unknown(), []byte(s.ProtoReflect().GetUnknown()))

	first := d
	require.NoError(t, codec.Decode(nil, &d))
	require.NotSame(t, first, d)
	codec.Reuse = true
	d = first
	require.NoError(t, codec.Decode(nil, &d))
	require.Same(t, first, d)

	_, err = codec.Append(nil, dynamicpb.NewMessage((&structpb.Value{}).ProtoReflect().Descriptor()))
	require.EqualError(t, err, "the message is a google.protobuf.Value, and this codec is for google.protobuf.Struct")
	_, err = codec.Append(nil, nil)
	require.Error(t, err)
	require.Error(t, codec.Decode([]byte{0xff}, &d))

	for name, want := range map[string]string{
		"google.protobuf.Nothing":   `there is no message "google.protobuf.Nothing"`,
		"google.protobuf.NullValue": "is not a message",
		"not a name":                "there is no message",
	} {
		_, err = protobuf.Dynamic(set, name)
		require.ErrorContains(t, err, want)
	}
	_, err = protobuf.Dynamic(nil, "x")
	require.ErrorContains(t, err, "is nil")
	_, err = protobuf.Dynamic(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{{Name: proto.String("a"), Dependency: []string{"b"}}}}, "x")
	require.ErrorContains(t, err, "lacks imported files")
}

// As a step of a pipeline: a record that makes no sense is poison, and its error names the type.
func TestInStage(t *testing.T) {
	t.Parallel()
	b := weaver.NewBatch[[]byte](0, 0)
	for _, v := range []string{"\x0a\x01a", "\x0a\x02a", ""} {
		b.Add().Value = []byte(v)
	}
	out := weaver.NewBatch[*wrapperspb.StringValue](0, 0)
	e := weaver.NewEmitter(out, len(b.Records))
	stage, err := serde.Decode(protobuf.Codec[*wrapperspb.StringValue]{}).OpenStage(t.Context(), weaver.Lane{})
	require.NoError(t, err)
	require.NoError(t, stage.Process(t.Context(), b, e))
	require.Len(t, out.Records, 2)
	require.NotSame(t, out.Records[0].Value, out.Records[1].Value)
	require.Equal(t, "a", out.Records[0].Value.GetValue())
	failed := 0
	e.Failures(func(from int, err error) bool {
		failed++
		require.Equal(t, 1, from)
		require.Equal(t, retry.ClassPoison, retry.ClassOf(err))
		require.True(t, strings.HasPrefix(err.Error(), "decode seq 0: google.protobuf.StringValue: "), err.Error())
		return true
	})
	require.Equal(t, 1, failed)
}

func TestAllocations(t *testing.T) { // not parallel: it counts allocations
	data, err := proto.Marshal(timestamppb.Now())
	require.NoError(t, err)
	codec := protobuf.Codec[*timestamppb.Timestamp]{}
	require.Equal(t, 1.0, testing.AllocsPerRun(100, func() { // the message
		var v *timestamppb.Timestamp
		if err := codec.Decode(data, &v); err != nil {
			t.Error(err)
		}
	}))
	now, dst := timestamppb.Now(), make([]byte, 0, 100)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := codec.Append(dst, now); err != nil {
			t.Error(err)
		}
	}))
	codec.Reuse = true
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if err := codec.Decode(data, &now); err != nil {
			t.Error(err)
		}
	}))
}

var _ protobuf.Resolver = (*dynamicpb.Types)(nil)

var _ serde.Codec[protoreflect.ProtoMessage] = protobuf.Codec[protoreflect.ProtoMessage]{}
