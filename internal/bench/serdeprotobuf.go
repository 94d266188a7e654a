package main

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/apipb"

	"github.com/bohica-labs/dataweaver/serde/protobuf"
)

// serdeProtobuf is what the codec costs over the library that it is built on. A message is allocated for each record, and so are the two texts in it.
func serdeProtobuf() scenario {
	return scenario{
		name:    "serde-protobuf",
		what:    "serde/protobuf decodes and appends messages, against a bare proto.Unmarshal and MarshalAppend for each",
		records: 1_000_000,
		bars:    []bar{speedAtLeast(0.95), allocsAtMost(3)},
		ours: func(n int) (outcome, error) {
			codec := protobuf.Codec[*apipb.Method]{}
			return runProtobuf(n, func(dst, data []byte) ([]byte, error) {
				var m *apipb.Method
				if err := codec.Decode(data, &m); err != nil {
					return nil, err
				}
				return codec.Append(dst, m)
			})
		},
		baseline: func(n int) (outcome, error) {
			return runProtobuf(n, func(dst, data []byte) ([]byte, error) {
				m := &apipb.Method{}
				if err := proto.Unmarshal(data, m); err != nil {
					return nil, err
				}
				return proto.MarshalOptions{}.MarshalAppend(dst, m)
			})
		},
	}
}

// runProtobuf decodes and encodes n messages, which have to come out as they were.
func runProtobuf(n int, again func(dst, data []byte) ([]byte, error)) (outcome, error) {
	var all [len(names)][]byte
	for i := range all {
		var err error
		all[i], err = proto.Marshal(&apipb.Method{Name: names[i], RequestTypeUrl: "type.googleapis.com/shop.v1.Order", RequestStreaming: i%2 == 0})
		if err != nil {
			return outcome{}, err
		}
	}
	var dst []byte
	var err error
	same := 0
	for i := range n {
		data := all[i%len(all)]
		if dst, err = again(dst[:0], data); err != nil {
			return outcome{}, err
		}
		if bytes.Equal(dst, data) {
			same++
		}
	}
	return outcome{verify: func() error {
		if same != n {
			return fmt.Errorf("of %d messages %d came out as they were", n, same)
		}
		return nil
	}}, nil
}
