package registry_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde/protobuf"
	"github.com/bohica-labs/dataweaver/serde/registry"
)

// Whatever is behind a header, it is a value or poison: neither an outage nor the end of the pipeline. What was read is written again.
func FuzzDecode(f *testing.F) {
	fake := newFake(f)
	avroID := fake.add(f, "a", sr.TypeAvro, orderAvro)
	protobufID := fake.add(f, "p", sr.TypeProtobuf, `syntax = "proto3"; package google.protobuf; message A { message B { } } message Timestamp { int64 seconds = 1; string zone = 3; }`)
	jsonID := fake.add(f, "j", sr.TypeJSON, orderJSON)
	client := fake.client(f)
	a := registry.Avro(client, avroOrder(f))
	a.Subject = fixed("a")
	p := registry.Protobuf(client, protobuf.Codec[*timestamppb.Timestamp]{Deterministic: true})
	p.Subject = fixed("p")
	j := registry.JSON[order](client, nil, orderJSON)
	j.Subject = fixed("j")
	f.Add([]byte("\x0e"))
	f.Add([]byte("\x02\x02\x08\x07"))
	f.Add([]byte("\x04\x00\x00"))
	f.Add([]byte(`{"id":7}`))
	poison := func(t *testing.T, err error) {
		require.NotContains(t, []retry.Class{retry.ClassTransient, retry.ClassThrottled, retry.ClassFatal}, retry.ClassOf(err))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var o, again order
		var m, twice *timestamppb.Timestamp
		if err := a.Decode(append([]byte{0, 0, 0, 0, byte(avroID)}, data...), &o); err != nil {
			poison(t, err)
		} else {
			require.NoError(t, a.Decode(written(t, a, o), &again))
			require.Equal(t, o, again)
		}
		if err := j.Decode(append([]byte{0, 0, 0, 0, byte(jsonID)}, data...), &o); err != nil {
			poison(t, err)
		} else {
			require.NoError(t, j.Decode(written(t, j, o), &again))
			require.Equal(t, o, again)
		}
		if err := p.Decode(append([]byte{0, 0, 0, 0, byte(protobufID)}, data...), &m); err != nil {
			poison(t, err)
		} else {
			first := written(t, p, m)
			require.NoError(t, p.Decode(first, &twice))
			require.Equal(t, first, written(t, p, twice))
		}
	})
}
