package memory_test

import (
	"context"
	"fmt"
	"strings"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/framework/memory"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// Two pipelines with a stream between them. The second ends when the first has, and it has read everything.
func Example() {
	ctx := context.Background()
	fw := memory.New()
	defer fw.Close()
	if err := fw.CreateStream(ctx, weaver.Stream{Name: "names"}); err != nil {
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
