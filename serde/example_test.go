package serde_test

import (
	"context"
	"fmt"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/json"
)

type order struct {
	ID    int     `json:"id"`
	Price float64 `json:"price"`
}

// stream stands for what a message system delivers.
func stream(messages ...string) weaver.Source[[]byte] {
	return weaver.FromSeq(func(yield func([]byte, error) bool) {
		for _, m := range messages {
			if !yield([]byte(m), nil) {
				return
			}
		}
	})
}

func Example() {
	p := weaver.NewPipeline(
		stream(`{"id":1,"price":10}`, `{"id":"two"}`, `{"id":3,"price":30}`),
		weaver.Then(
			serde.Decode(json.Codec[order]{}),
			weaver.Map(func(o order) (order, error) { o.Price *= 1.2; return o, nil }),
		),
		weaver.SinkFunc[order](func(_ context.Context, b *weaver.Batch[order]) error {
			for _, r := range b.Records {
				fmt.Printf("%+v\n", r.Value)
			}
			return nil
		}),
	)
	p.DeadLetter = weaver.SinkFunc[weaver.Rejected[[]byte]](func(_ context.Context, b *weaver.Batch[weaver.Rejected[[]byte]]) error {
		for _, r := range b.Records {
			fmt.Printf("rejected: %s\n", *r.Value.Value)
		}
		return nil
	})
	if err := p.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Unordered output:
	// {ID:1 Price:12}
	// {ID:3 Price:36}
	// rejected: {"id":"two"}
}

// A source and a sink of bytes become a source and a sink of values.
func ExampleSource() {
	codec := json.Codec[order]{}
	printed := weaver.SinkFunc[[]byte](func(_ context.Context, b *weaver.Batch[[]byte]) error {
		for _, r := range b.Records {
			fmt.Printf("%s\n", r.Value)
		}
		return nil
	})
	p := weaver.NewPipeline(
		serde.Source(stream(`{"id":1,"price":10}`, `{"id":2,"price":20}`), codec),
		weaver.Filter(func(o order) (bool, error) { return o.Price > 15, nil }),
		serde.Sink(printed, codec),
	)
	if err := p.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: {"id":2,"price":20}
}
