package main

import (
	"errors"

	twmb "github.com/twmb/avro"

	"github.com/bohica-labs/dataweaver/serde/avro"
)

// serdeAvro is what the codec costs over the library that it is built on.
func serdeAvro() scenario {
	orders := avroOrders()
	return scenario{
		name:    "serde-avro",
		what:    "serde/avro appends and decodes structs, against a bare call of twmb/avro for each",
		records: 300_000,
		bars:    []bar{speedAtLeast(0.95)},
		ours: func(n int) (outcome, error) {
			codec, err := avro.New[avroOrder](avroSchema)
			if err != nil {
				return outcome{}, err
			}
			var sum avroSum
			var data []byte
			for i := range n {
				if data, err = codec.Append(data[:0], orders[i%len(orders)]); err != nil {
					return outcome{}, err
				}
				var o avroOrder
				if err := codec.Decode(data, &o); err != nil {
					return outcome{}, err
				}
				sum.add(&o)
			}
			return outcome{verify: sum.verify(n, orders)}, nil
		},
		baseline: func(n int) (outcome, error) {
			schema, err := twmb.Parse(avroSchema)
			if err != nil {
				return outcome{}, err
			}
			var sum avroSum
			var data []byte
			for i := range n {
				if data, err = schema.AppendEncode(data[:0], &orders[i%len(orders)]); err != nil {
					return outcome{}, err
				}
				var o avroOrder
				rest, err := schema.Decode(data, &o)
				if err != nil {
					return outcome{}, err
				}
				if len(rest) > 0 {
					return outcome{}, errors.New("bytes behind the datum")
				}
				sum.add(&o)
			}
			return outcome{verify: sum.verify(n, orders)}, nil
		},
	}
}
