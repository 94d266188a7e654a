package registry_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/registry"
)

// What the header and finding the schema cost.
func BenchmarkDecode(b *testing.B) {
	f := newFake(b)
	f.add(b, "s", sr.TypeAvro, orderAvro)
	client := f.client(b)
	for name, c := range map[string]struct {
		codec serde.Codec[order]
		data  string
	}{
		"Bare":     {avroOrder(b), "\x0e"},
		"Registry": {registry.Avro(client, avroOrder(b)), "\x00\x00\x00\x00\x01\x0e"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			data := []byte(c.data)
			var o order
			for b.Loop() {
				if err := c.codec.Decode(data, &o); err != nil {
					b.Fatal(err)
				}
			}
			require.Equal(b, order{ID: 7}, o)
		})
	}
}
