package avro_test

import (
	"testing"

	"github.com/linkedin/goavro/v2"
	"github.com/stretchr/testify/require"
	twmb "github.com/twmb/avro"

	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/avro"
)

// The library does the same as the codec has to: it sets all of the value, and none of it is shared with the one before.
func BenchmarkDecode(b *testing.B) {
	lib := twmb.MustParse(orderSchema)
	in := sampleOrder()
	data, err := lib.Encode(&in)
	require.NoError(b, err)
	c, err := avro.New[order](orderSchema)
	require.NoError(b, err)
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		var o order
		for b.Loop() {
			o = order{}
			if _, err := lib.Decode(data, &o); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("codec", func(b *testing.B) {
		b.ReportAllocs()
		var c serde.Codec[order] = c
		var o order
		for b.Loop() {
			if err := c.Decode(data, &o); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("skip", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Skip(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	lib := twmb.MustParse(orderSchema)
	in := sampleOrder()
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			var err error
			if dst, err = lib.AppendEncode(dst[:0], &in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("codec", func(b *testing.B) {
		b.ReportAllocs()
		typed, err := avro.New[order](orderSchema)
		require.NoError(b, err)
		var c serde.Codec[order] = typed
		var dst []byte
		for b.Loop() {
			if dst, err = c.Append(dst[:0], in); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkGeneric(b *testing.B) {
	lib, err := goavro.NewCodec(orderSchema)
	require.NoError(b, err)
	typed, err := avro.New[order](orderSchema)
	require.NoError(b, err)
	data, err := typed.Append(nil, sampleOrder())
	require.NoError(b, err)
	native, _, err := lib.NativeFromBinary(data)
	require.NoError(b, err)
	c, err := avro.NewGeneric(orderSchema)
	require.NoError(b, err)
	b.Run("decode plain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := lib.NativeFromBinary(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode codec", func(b *testing.B) {
		b.ReportAllocs()
		var v any
		for b.Loop() {
			if err := c.Decode(data, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("append plain", func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			if dst, err = lib.BinaryFromNative(dst[:0], native); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("append codec", func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			if dst, err = c.Append(dst[:0], native); err != nil {
				b.Fatal(err)
			}
		}
	})
}
