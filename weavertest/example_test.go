package weavertest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// A pipeline is tested with both ends replaced: the sink refuses two connections, and one record is no name.
func Example() {
	source := weavertest.NewSource("ada", "", "grace")
	sink := weavertest.NewSink[string]()
	sink.Faults = []weavertest.Fault{{Times: 2, Err: errors.New("connection refused")}}
	dead := weavertest.NewDeadLetters[string]()

	p := weaver.NewPipeline(source, weaver.Map(func(name string) (string, error) {
		if name == "" {
			return "", errors.New("no name")
		}
		return strings.ToUpper(name), nil
	}), sink)
	p.DeadLetter = dead

	fmt.Println(p.Run(context.Background()))
	fmt.Println(sink.Values(), source.Acked(""))
	for _, r := range dead.Values() {
		fmt.Println("dead:", r.Seq, r.Error)
	}
	fmt.Println(source.Check(), sink.Check())
	// Output:
	// <nil>
	// [ADA GRACE] 3
	// dead: 1 no name
	// <nil> <nil>
}

// Exactly-once is tested by a crash: the sink commits, but the reply is lost. What comes from the second Run continues
// where that commit ended.
func ExampleSink() {
	source := weavertest.NewSource(1, 2, 3)
	sink := weavertest.NewSink[int]()
	sink.Mode = weavertest.Transactional
	sink.Faults = []weavertest.Fault{{On: weavertest.CallCommit, Err: errors.New("connection reset"), Lost: true}}

	for range 2 {
		if err := weaver.Copy(source, sink).Run(context.Background()); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(sink.Values())
	// Output: [1 2 3]
}

func ExampleTestCheckpointStore() {
	err := weavertest.TestCheckpointStore(context.Background(), weavertest.StoreCase{
		New: func(context.Context) (checkpoint.Store, error) { return checkpoint.NewMemory(), nil },
	})
	fmt.Println(err)
	// Output: <nil>
}

func ExampleTestSource() {
	record := func(v string) weaver.Record[string] { return weaver.Record[string]{Value: v} }
	err := weavertest.TestSource(context.Background(), weavertest.SourceCase[string]{
		New: func(context.Context) (weaver.Source[string], error) {
			return weaver.FromSeq(func(yield func(string, error) bool) {
				_ = yield("a", nil) && yield("b", nil) && yield("c", nil)
			}), nil
		},
		Want: map[string][]weaver.Record[string]{"": {record("a"), record("b"), record("c")}},
	})
	fmt.Println(err)
	// Output: <nil>
}
