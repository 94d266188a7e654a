package protobuf_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/bohica-labs/dataweaver/serde/protobuf"
)

// message returns message M of a file with that text.
func message(t testing.TB, text string) protoreflect.MessageDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: &protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{"m.proto": text})}}
	files, err := c.Compile(context.Background(), "m.proto")
	require.NoError(t, err)
	m := files[0].Messages().ByName("M")
	require.NotNil(t, m)
	return m
}

const proto3, proto2 = `syntax = "proto3"; `, `syntax = "proto2"; `

func TestCompatible(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		writer, reader string
		want           string // of the error; empty: compatible
		back           string // the same the other way round
	}{
		"the same":             {writer: proto3 + `message M { int64 a = 1; M m = 2; }`, reader: proto3 + `message M { int64 a = 1; M m = 2; }`},
		"a new field":          {writer: proto3 + `message M { int64 a = 1; string b = 2; }`, reader: proto3 + `message M { int64 a = 1; }`},
		"another name":         {writer: proto3 + `message M { int64 a = 1; }`, reader: proto3 + `message M { int64 b = 1; }`},
		"a wider integer":      {writer: proto3 + `message M { int32 a = 1; }`, reader: proto3 + `message M { int64 a = 1; }`, back: "field a (1) is written as int64 and read as int32"},
		"another type":         {writer: proto3 + `message M { int32 a = 1; }`, reader: proto3 + `message M { string a = 1; }`, want: "field a (1) is written as int32 and read as string", back: "field a (1) is written as string and read as int32"},
		"float and double":     {writer: proto3 + `message M { float a = 1; }`, reader: proto3 + `message M { double a = 1; }`, want: "field a (1)", back: "field a (1)"},
		"zigzag":               {writer: proto3 + `message M { int32 a = 1; }`, reader: proto3 + `message M { sint32 a = 1; }`, want: "field a (1)", back: "field a (1)"},
		"text":                 {writer: proto3 + `message M { string a = 1; }`, reader: proto3 + `message M { bytes a = 1; }`},
		"a list":               {writer: proto3 + `message M { int32 a = 1; }`, reader: proto3 + `message M { repeated int32 a = 1; }`, back: "written as a list and read as one value"},
		"packed":               {writer: proto3 + `message M { repeated int32 a = 1 [packed = false]; }`, reader: proto3 + `message M { repeated int32 a = 1; }`},
		"a map":                {writer: proto3 + `message M { map<string, int32> a = 1; }`, reader: proto3 + `message M { message E { string k = 1; int32 v = 2; } repeated E a = 1; }`, back: "is no map where it is written"},
		"a map, one value":     {writer: proto3 + `message M { map<string, int32> a = 1; }`, reader: proto3 + `message M { message E { string k = 1; int32 v = 2; } E a = 1; }`, want: "is written as a list", back: "is no map where it is written"},
		"a wider map":          {writer: proto3 + `message M { map<int32, int32> a = 1; }`, reader: proto3 + `message M { map<int64, int64> a = 1; }`, back: "field a.key (1) is written as int64 and read as int32"},
		"within":               {writer: proto3 + `message M { N n = 1; } message N { M m = 1; uint32 x = 2; }`, reader: proto3 + `message M { N n = 1; } message N { M m = 1; uint64 x = 2; }`, back: "field n.x (2) is written as uint64 and read as uint32"},
		"a message as bytes":   {writer: proto3 + `message M { M m = 1; }`, reader: proto3 + `message M { bytes m = 1; }`, back: "field m (1) is written as bytes and read as message"},
		"alternatives":         {writer: proto3 + `message M { int32 a = 1; int32 b = 2; }`, reader: proto3 + `message M { oneof o { int32 a = 1; int32 b = 2; } }`, want: "alternatives in oneof o"},
		"one alternative":      {writer: proto3 + `message M { int32 a = 1; }`, reader: proto3 + `message M { oneof o { int32 a = 1; int32 b = 2; } }`},
		"more alternatives":    {writer: proto3 + `message M { oneof o { int32 a = 1; int32 b = 2; } }`, reader: proto3 + `message M { oneof p { int32 a = 1; int32 b = 2; int32 c = 3; } }`},
		"optional":             {writer: proto3 + `message M { optional int32 a = 1; }`, reader: proto3 + `message M { int32 a = 1; }`},
		"required":             {writer: proto2 + `message M { required int32 a = 1; }`, reader: proto2 + `message M { optional int32 a = 1; }`, back: "field a (1) is required to read"},
		"required and missing": {writer: proto2 + `message M { }`, reader: proto2 + `message M { required int32 a = 1; }`, want: "field a (1) is required to read"},
		"a group":              {writer: proto2 + `message M { optional group A = 1 { } }`, reader: proto2 + `message M { optional A a = 1; message A { } }`, want: "field a (1)", back: "field a (1)"},
		"enumerations":         {writer: proto3 + `message M { E e = 1; } enum E { X = 0; }`, reader: proto3 + `message M { int32 e = 1; }`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			writer, reader := message(t, test.writer), message(t, test.reader)
			check := func(err error, want string) {
				t.Helper()
				if want == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, want)
				}
			}
			check(protobuf.Compatible(writer, reader), test.want)
			check(protobuf.Compatible(reader, writer), test.back)
			require.True(t, protobuf.Same(writer, message(t, test.writer)))
			if name != "the same" && name != "packed" {
				require.False(t, protobuf.Same(writer, reader))
				require.False(t, protobuf.Same(reader, writer))
			}
		})
	}
}

func TestSame(t *testing.T) {
	t.Parallel()
	a := message(t, proto3+`message M { N n = 1; int32 x = 2; } message N { M m = 1; E e = 2; } enum E { X = 0; Y = 1; }`)
	require.True(t, protobuf.Same(a, message(t, proto3+`enum E { X = 0; Y = 1; } message N { E e = 2; M m = 1; } message M { int32 x = 2 [deprecated = true]; N n = 1; } message Other { }`)), "the order doesn't count")
	for _, other := range []string{
		`message M { N n = 1; int32 x = 2; } message N { M m = 1; E e = 2; } enum E { X = 0; Z = 1; }`,
		`message M { N n = 1; int32 x = 2; } message N { M m = 1; E e = 2; } enum E { X = 0; Y = 1; Z = 2; }`,
		`message M { N n = 1; int32 x = 2; } message N { M m = 1; } enum E { X = 0; Y = 1; }`,
		`message M { N n = 1; optional int32 x = 2; } message N { M m = 1; E e = 2; } enum E { X = 0; Y = 1; }`,
		`package p; message M { N n = 1; int32 x = 2; } message N { M m = 1; E e = 2; } enum E { X = 0; Y = 1; }`,
	} {
		require.False(t, protobuf.Same(a, message(t, proto3+other)), other)
	}
	value := (&structpb.Value{}).ProtoReflect().Descriptor()
	require.True(t, protobuf.Same(value, value))
}

var kinds = []string{
	"bool", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32", "sfixed64", "float", "double", "string", "bytes", "E", "N",
}

// What fits is what a value survives: all kinds are written and read as one another with the values at their ends.
func TestCompatibleIsTrue(t *testing.T) {
	t.Parallel()
	types := map[string]protoreflect.MessageDescriptor{}
	for _, kind := range kinds {
		types[kind] = message(t, fmt.Sprintf(`%s message M { %s a = 1; } message N { int32 n = 1; } enum E { X = 0; }`, proto3, kind))
	}
	for _, from := range kinds {
		for _, to := range kinds {
			survives := true
			for _, v := range extremes(types[from].Fields().ByNumber(1)) {
				in := dynamicpb.NewMessage(types[from])
				in.Set(types[from].Fields().ByNumber(1), v)
				data, err := protobuf.Codec[*dynamicpb.Message]{}.Append(nil, in)
				require.NoError(t, err)
				var out *dynamicpb.Message
				err = protobuf.Codec[*dynamicpb.Message]{Type: dynamicpb.NewMessageType(types[to])}.Decode(data, &out)
				if err != nil {
					survives = false
					continue
				}
				survives = survives && text(v) == text(out.Get(types[to].Fields().ByNumber(1)))
			}
			err := protobuf.Compatible(types[from], types[to])
			switch from + " " + to {
			case "bytes string": // an error where it isn't UTF-8
				require.NoError(t, err)
			case "string N", "bytes N": // empty ones only
				require.Error(t, err)
			default:
				if err == nil {
					require.True(t, survives, "%s as %s is said to be compatible", from, to)
				} else if survives {
					require.Contains(t, []string{"bool E"}, from+" "+to, "%s as %s is said not to be compatible", from, to)
				}
			}
		}
	}
}

// text is what a value means, whatever its type.
func text(v protoreflect.Value) string {
	switch x := v.Interface().(type) {
	case bool:
		if x {
			return "1"
		}
		return "0"
	case protoreflect.EnumNumber:
		return fmt.Sprint(int32(x))
	case []byte:
		return string(x)
	case protoreflect.Message:
		data, err := proto.Marshal(x.Interface())
		if err != nil {
			return err.Error()
		}
		return string(data)
	default:
		return fmt.Sprint(x)
	}
}

func extremes(f protoreflect.FieldDescriptor) (all []protoreflect.Value) {
	add := func(values ...any) []protoreflect.Value {
		for _, v := range values {
			all = append(all, protoreflect.ValueOf(v))
		}
		return all
	}
	switch f.Kind() {
	case protoreflect.BoolKind:
		return add(true)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return add(int32(1), int32(math.MaxInt32), int32(math.MinInt32))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return add(int64(1), int64(math.MaxInt64), int64(math.MinInt64))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return add(uint32(1), uint32(math.MaxUint32))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return add(uint64(1), uint64(math.MaxUint64))
	case protoreflect.FloatKind:
		return add(float32(1.5))
	case protoreflect.DoubleKind:
		return add(1.5)
	case protoreflect.StringKind:
		return add("text")
	case protoreflect.BytesKind:
		return add([]byte("\xff"))
	case protoreflect.EnumKind:
		return add(protoreflect.EnumNumber(1), protoreflect.EnumNumber(-1))
	default:
		n := dynamicpb.NewMessage(f.Message())
		n.Set(f.Message().Fields().ByNumber(1), protoreflect.ValueOfInt32(200))
		return add(n.ProtoReflect())
	}
}
