package registry_test

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/sr/srfake"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/avro"
	"github.com/bohica-labs/dataweaver/serde/registry"
)

// Orders as the latest writers know them are read by a program that knows less of them.
func Example() {
	fake := srfake.New() // stands for the registry
	defer fake.Close()
	client := registry.New(fake.URL())
	defer client.Close()

	type New struct {
		ID   int32  `avro:"id"`
		Note string `avro:"note"`
	}
	written, err := avro.New[New](`{"type":"record","name":"Order","fields":[{"name":"id","type":"int"},{"name":"note","type":"string"}]}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	writer := registry.Avro(client, written)
	writer.Subject = registry.TopicName("orders")
	writer.AutoRegister = true
	data, err := writer.Append(nil, New{ID: 7, Note: "in a hurry"})
	fmt.Printf("%q %v\n", data, err)

	type Old struct {
		ID int64 `avro:"id"`
	}
	read, err := avro.New[Old](`{"type":"record","name":"Order","fields":[{"name":"id","type":"long"}]}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	p := weaver.NewPipeline(
		weaver.FromSeq(func(yield func([]byte, error) bool) { yield(data, nil) }),
		serde.Decode(registry.Avro(client, read)),
		weaver.SinkFunc[Old](func(_ context.Context, b *weaver.Batch[Old]) error {
			for _, r := range b.Records {
				fmt.Printf("%+v\n", r.Value)
			}
			return nil
		}),
	)
	if err := p.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// "\x00\x00\x00\x00\x01\x0e\x14in a hurry" <nil>
	// {ID:7}
}
