package main

import (
	"github.com/bohica-labs/dataweaver/serde/json"
)

// serdeJSON is what the steps of a pipeline add to a codec.
func serdeJSON() scenario {
	codec := json.Codec[Rec]{}
	return throughCodec(scenario{
		name:    "serde-json",
		what:    "Then(serde.Decode, serde.Encode) with serde/json against a loop over the same codec",
		records: 300_000,
		bars:    []bar{speedAtLeast(0.95)},
	}, codec, func(i int) Rec { return recAt(int64(i)) }, func(dst, data []byte) ([]byte, error) {
		var r Rec
		if err := codec.Decode(data, &r); err != nil {
			return nil, err
		}
		return codec.Append(dst, r)
	})
}
