package protobuf_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bohica-labs/dataweaver/serde/protobuf"
)

// The codec against the calls that it makes, with a message so small that anything added shows.
func BenchmarkDecode(b *testing.B) {
	data, err := proto.Marshal(timestamppb.Now())
	require.NoError(b, err)
	b.Run("Codec", func(b *testing.B) {
		codec := protobuf.Codec[*timestamppb.Timestamp]{}
		b.ReportAllocs()
		for b.Loop() {
			var v *timestamppb.Timestamp
			if err := codec.Decode(data, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Unmarshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			v := &timestamppb.Timestamp{}
			if err := proto.Unmarshal(data, v); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	now, dst := timestamppb.Now(), make([]byte, 0, 100)
	b.Run("Codec", func(b *testing.B) {
		codec := protobuf.Codec[*timestamppb.Timestamp]{}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := codec.Append(dst, now); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("MarshalAppend", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := (proto.MarshalOptions{}).MarshalAppend(dst, now); err != nil {
				b.Fatal(err)
			}
		}
	})
}
