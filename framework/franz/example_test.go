package franz_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/franz"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// Two pipelines with a topic between them. The second ends when the first has, and it has read everything. The broker is one
// that runs in this process.
func Example() {
	ctx := context.Background()
	broker := kfake.MustCluster(kfake.NumBrokers(1))
	defer broker.Close()

	fw := franz.New(broker.ListenAddrs()...)
	defer fw.Close()
	if err := fw.CreateStream(ctx, weaver.Stream{Name: "names", Partitions: 1}); err != nil {
		fmt.Println(err)
		return
	}
	names := weavertest.NewSource("ada", "grace", "barbara")
	sink := weavertest.NewSink[string]()

	encode := weaver.Map(func(name string) ([]byte, error) { return []byte(name), nil })
	decode := weaver.Map(func(name []byte) (string, error) { return strings.ToUpper(string(name)), nil })
	in := weaver.NewPipeline(names, encode, fw.Produce("names"))
	out := weaver.NewPipeline(fw.Consume("names", "shouting"), decode, sink)
	out.After = in

	fmt.Println(weaver.Run(ctx, in, out))
	fmt.Println(sink.Values())
	// Output:
	// <nil>
	// [ADA GRACE BARBARA]
}

// A topic is copied to another one exactly once: each record and the position behind it are one transaction of Kafka's.
// Run again, it goes on where it was.
func ExampleFramework_Transactional() {
	ctx := context.Background()
	broker := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders", "invoices"))
	defer broker.Close()
	fw := franz.New(broker.ListenAddrs()...)
	defer fw.Close()

	for _, order := range []string{"first", "second"} {
		if err := weaver.Copy[[]byte](weavertest.NewSource([]byte(order)), fw.Produce("orders")).Run(ctx); err != nil {
			fmt.Println(err)
		}
		p := weaver.Copy[[]byte](fw.Consume("orders", "billing"), fw.Transactional("invoices"))
		p.Name = "billing" // part of the key under which the position is kept
		p.Require = weaver.ExactlyOnce
		if err := toItsEnd(ctx, p); err != nil {
			fmt.Println(err)
		}
	}
	show := weaver.SinkFunc[[]byte](func(_ context.Context, b *weaver.Batch[[]byte]) error {
		for _, r := range b.Records {
			fmt.Println(string(r.Value))
		}
		return nil
	})
	if err := toItsEnd(ctx, weaver.Copy[[]byte](fw.Consume("invoices", ""), show)); err != nil {
		fmt.Println(err)
	}
	// Output:
	// first
	// second
}

// toItsEnd runs a pipeline up to the end of its source as of now.
func toItsEnd(ctx context.Context, p *weaver.Pipeline[[]byte, []byte]) error {
	p.Bounded = true
	return p.Run(ctx)
}
