package main

import (
	"fmt"
	"time"

	hamba "github.com/hamba/avro/v2"
	"github.com/linkedin/goavro/v2"
	twmb "github.com/twmb/avro"

	"github.com/bohica-labs/dataweaver/serde/avro"
)

// avroTyped is decoding structs, against whichever library for Avro is the fastest at it.
func avroTyped() scenario {
	orders := avroOrders()
	var best avroDecoder
	return scenario{
		name:    "avro-typed",
		what:    "serde/avro decodes structs, against the fastest of hamba/avro, twmb/avro and linkedin/goavro (which makes maps)",
		records: 500_000,
		bars:    []bar{speedAtLeast(0.95)},
		ours: func(n int) (outcome, error) {
			codec, err := avro.New[avroOrder](avroSchema)
			if err != nil {
				return outcome{}, err
			}
			return decodeAvro(n, orders, func(data []byte) (*avroOrder, error) {
				var o avroOrder
				err := codec.Decode(data, &o)
				return &o, err
			})
		},
		baseline: func(n int) (outcome, error) {
			if best == nil {
				var err error
				if best, err = fastestAvro(orders); err != nil {
					return outcome{}, err
				}
			}
			return decodeAvro(n, orders, best)
		},
	}
}

// avroDecoder returns nil for an order that was decoded into something else.
type avroDecoder func(data []byte) (*avroOrder, error)

func avroDecoders() (map[string]avroDecoder, error) {
	h, err := hamba.Parse(avroSchema)
	if err != nil {
		return nil, err
	}
	t, err := twmb.Parse(avroSchema)
	if err != nil {
		return nil, err
	}
	g, err := goavro.NewCodec(avroSchema)
	if err != nil {
		return nil, err
	}
	return map[string]avroDecoder{
		"hamba": func(data []byte) (*avroOrder, error) {
			var o avroOrder
			err := hamba.Unmarshal(h, data, &o)
			return &o, err
		},
		"twmb": func(data []byte) (*avroOrder, error) {
			var o avroOrder
			_, err := t.Decode(data, &o)
			return &o, err
		},
		"goavro": func(data []byte) (*avroOrder, error) {
			_, _, err := g.NativeFromBinary(data)
			return nil, err
		},
	}, nil
}

// fastestAvro runs each a few times.
func fastestAvro(orders []avroOrder) (avroDecoder, error) {
	const rounds, records = 5, 5_000
	decoders, err := avroDecoders()
	if err != nil {
		return nil, err
	}
	var best avroDecoder
	least := time.Duration(0)
	for name, decode := range decoders {
		for range rounds {
			began := time.Now()
			if _, err := decodeAvro(records, orders, decode); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if took := time.Since(began); best == nil || took < least {
				best, least = decode, took
			}
		}
	}
	return best, nil
}

func decodeAvro(n int, orders []avroOrder, decode avroDecoder) (outcome, error) {
	schema, err := twmb.Parse(avroSchema)
	if err != nil {
		return outcome{}, err
	}
	data := make([][]byte, len(orders))
	for i := range orders {
		if data[i], err = schema.Encode(&orders[i]); err != nil {
			return outcome{}, err
		}
	}
	var sum avroSum
	for i := range n {
		o, err := decode(data[i%len(data)])
		if err != nil {
			return outcome{}, err
		}
		if o == nil {
			o = &orders[i%len(orders)]
		}
		sum.add(o)
	}
	return outcome{verify: sum.verify(n, orders)}, nil
}
