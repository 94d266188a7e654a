package weaver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/framework/memory"
	"github.com/bohica-labs/dataweaver/retry"
)

// list is a source of these values.
func list[T any](values ...T) weaver.Source[T] {
	return weaver.FromSeq(func(yield func(T, error) bool) {
		for _, v := range values {
			if !yield(v, nil) {
				return
			}
		}
	})
}

// printed is a sink that prints values, in lines that begin with a label.
func printed[T any](label string) weaver.Sink[T] {
	return weaver.SinkFunc[T](func(_ context.Context, b *weaver.Batch[T]) error {
		for _, r := range b.Records {
			fmt.Printf("%s%v\n", label, r.Value)
		}
		return nil
	})
}

// process runs values through a processor and prints what comes out.
func process[In, Out any](p weaver.Processor[In, Out], values ...In) {
	pipeline := weaver.NewPipeline(list(values...), p, printed[Out](""))
	pipeline.Log = slog.New(slog.DiscardHandler)
	pipeline.Retry = retry.Policy{Initial: time.Microsecond}
	pipeline.DeadLetter = weaver.SinkFunc[weaver.Rejected[In]](func(_ context.Context, b *weaver.Batch[weaver.Rejected[In]]) error {
		for _, r := range b.Records {
			fmt.Printf("dead letter: %v: %s (tried %d times)\n", *r.Value.Value, r.Value.Error, r.Value.Attempts)
		}
		return nil
	})
	if err := pipeline.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
}

// A function that makes one value of another is a processor. Its errors concern the record, which is dead-lettered.
func ExampleMap() {
	process(weaver.Map(func(price int) (string, error) {
		if price < 0 {
			return "", errors.New("costs less than nothing")
		}
		return fmt.Sprintf("%d.%02d €", price/100, price%100), nil
	}), 1299, -5, 50)
	// Output:
	// dead letter: -5: costs less than nothing (tried 1 times)
	// 12.99 €
	// 0.50 €
}

// A function that asks somebody else may fail and work later: it is tried again before its record is given up.
func ExampleMapContext() {
	calls := 0
	process(weaver.MapContext(func(_ context.Context, id string) (string, error) {
		switch calls++; {
		case id == "nobody":
			return "", retry.Permanent(errors.New("404"))
		case calls == 2:
			return "", errors.New("connection reset")
		}
		return "customer " + id, nil
	}), "ann", "bob", "nobody", "cid")
	// Output:
	// dead letter: nobody: 404 (tried 1 times)
	// customer ann
	// customer bob
	// customer cid
}

func ExampleFilter() {
	process(weaver.Filter(func(n int) (bool, error) { return n%2 == 0, nil }), 1, 2, 3, 4)
	// Output:
	// 2
	// 4
}

// ErrSkip leaves a record out where a value is made: filter and map in one.
func ExampleMap_skip() {
	process(weaver.Map(func(n int) (string, error) {
		if n%2 == 1 {
			return "", weaver.ErrSkip
		}
		return fmt.Sprint("even: ", n), nil
	}), 1, 2, 3, 4)
	// Output:
	// even: 2
	// even: 4
}

func ExampleFlatMap() {
	process(weaver.FlatMap(func(line string, emit func(string)) error {
		for word := range strings.FieldsSeq(line) {
			emit(word)
		}
		return nil
	}), "to be", "or not")
	// Output:
	// to
	// be
	// or
	// not
}

// Then puts one processor behind another. Steps that work record by record are run in one pass.
func ExampleThen() {
	process(
		weaver.Then(weaver.Map(func(s string) (string, error) { return strings.TrimSpace(s), nil }),
			weaver.Then(weaver.Filter(func(s string) (bool, error) { return s != "", nil }),
				weaver.Map(func(s string) (int, error) { return len(s), nil }))),
		" a ", "", "bcd")
	// Output:
	// 1
	// 3
}

func ExampleChain() {
	process(weaver.Chain(
		weaver.Map(func(s string) (string, error) { return strings.TrimSpace(s), nil }),
		weaver.Filter(func(s string) (bool, error) { return s != "", nil }),
		weaver.Map(func(s string) (string, error) { return strings.ToUpper(s), nil }),
	), " a ", "", "bcd")
	// Output:
	// A
	// BCD
}

// The key is a record's identity: what is written to a stream or to several writers at once keeps the order of each key.
func ExampleKeyBy() {
	type order struct {
		customer string
		total    int
	}
	p := weaver.NewPipeline(
		list(order{"ann", 5}, order{"bob", 7}),
		weaver.KeyBy(func(o order) string { return o.customer }),
		weaver.SinkFunc[order](func(_ context.Context, b *weaver.Batch[order]) error {
			for _, r := range b.Records {
				fmt.Printf("%s: %d\n", r.Key, r.Value.total)
			}
			return nil
		}))
	if err := p.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// ann: 5
	// bob: 7
}

// A StageFunc sees whole batches: here, to look many values up in one call.
func ExampleStageFunc() {
	names := func(ids []int) map[int]string { // one query for all of them
		fmt.Println("looking up", ids)
		return map[int]string{1: "ann", 2: "bob"}
	}
	process(weaver.StageFunc[int, string](func(_ context.Context, in *weaver.Batch[int], out *weaver.Emitter[string]) error {
		if len(in.Records) == 0 {
			return nil // the end of the input
		}
		ids := make([]int, len(in.Records))
		for i, r := range in.Records {
			ids[i] = r.Value
		}
		found := names(ids)
		for i, id := range ids {
			if name, ok := found[id]; ok {
				out.Next(i).Value = name
			} else {
				out.Fail(i, retry.Permanent(errors.New("unknown")))
			}
		}
		return nil
	}), 1, 7, 2)
	// Output:
	// looking up [1 7 2]
	// dead letter: 7: unknown (tried 1 times)
	// ann
	// bob
}

// A source of something with a cursor is one function: it reads what comes after a position and returns the next one.
// With a checkpoint store, a pipeline that is run again goes on where the last run was.
func ExampleSourceFunc() {
	months := []string{"jan", "feb", "mar", "apr"}
	source := weaver.SourceFunc[string](func(_ context.Context, after weaver.Position, b *weaver.Batch[string]) (weaver.Position, error) {
		i := slices.Index(months, string(after)) + 1 // 0 at the start, where after is nil
		for ; i < len(months) && !b.Full(); i++ {
			b.Add().Value = months[i]
		}
		if i == len(months) {
			return weaver.Position(months[i-1]), io.EOF
		}
		return weaver.Position(months[i-1]), nil
	})
	store := checkpoint.NewMemory()
	run := func() {
		p := weaver.Copy[string](source, printed[string](""))
		p.Name, p.Checkpoint = "months", store
		if err := p.Run(context.Background()); err != nil {
			fmt.Println(err)
		}
	}
	run()
	months = append(months, "may")
	fmt.Println("again:")
	run()
	// Output:
	// jan
	// feb
	// mar
	// apr
	// again:
	// may
}

// A sink that needs nothing to be opened is one function: when it returns nil, the batch is durable. It names records that
// failed; one that is marked permanent stops the pipeline, unless there is a sink for dead letters.
func ExampleSinkFunc() {
	total := 0
	sum := weaver.SinkFunc[int](func(_ context.Context, b *weaver.Batch[int]) error {
		var failed []weaver.RecordError
		for i, r := range b.Records {
			if r.Value > 100 {
				failed = append(failed, weaver.RecordError{Index: i, Err: retry.Permanent(errors.New("too much"))})
				continue
			}
			total += r.Value
		}
		if failed != nil {
			return &weaver.BatchError{Records: failed} // the others are taken
		}
		return nil
	})
	p := weaver.Copy(list(1, 2, 1000), sum)
	fmt.Println(p.Run(context.Background()))
	fmt.Println(total)
	// Output:
	// weaver: write (weaver.SinkFunc[int]) record 2 of its batch, seq 2: poison, and Pipeline.DeadLetter is nil: too much
	// 3
}

// Whatever can be ranged over is a bounded source.
func ExampleFromSeq() {
	text := "one\ntwo\nthree\n"
	source := weaver.FromSeq(func(yield func(string, error) bool) {
		for line := range strings.Lines(text) {
			if !yield(strings.TrimSpace(line), nil) {
				return
			}
		}
	})
	if err := weaver.Copy(source, printed[string]("")).Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// one
	// two
	// three
}

// Merge reads several sources as one. Their names are those of their checkpoints.
func ExampleMerge() {
	p := weaver.Copy(
		weaver.Merge(map[string]weaver.Source[string]{
			"shop":     list("order 1", "order 2"),
			"web/shop": list("order 3"),
		}),
		printed[string](""))
	if err := p.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Unordered output:
	// order 1
	// order 2
	// order 3
}

// Tee writes to several sinks. A record is done when all of them have it.
func ExampleTee() {
	p := weaver.Copy(list("a", "b"), weaver.Tee(printed[string]("archive: "), printed[string]("search: ")))
	if err := p.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// archive: a
	// archive: b
	// search: a
	// search: b
}

// Route writes each record to one of several sinks.
func ExampleRoute() {
	type order struct {
		Country string
		ID      int
	}
	p := weaver.Copy(
		list(order{"de", 1}, order{"us", 2}, order{"de", 3}, order{"atlantis", 4}),
		weaver.Route(func(r *weaver.Record[order]) string { return r.Value.Country }, map[string]weaver.Sink[order]{
			"de": printed[order]("Berlin: "),
			"us": printed[order]("Boston: "),
		}))
	p.DeadLetter = weaver.SinkFunc[weaver.Rejected[order]](func(_ context.Context, b *weaver.Batch[weaver.Rejected[order]]) error {
		for _, r := range b.Records {
			fmt.Println("dead letter:", r.Value.Value.ID, r.Value.Error)
		}
		return nil
	})
	if err := p.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// Berlin: {de 1}
	// Berlin: {de 3}
	// Boston: {us 2}
	// dead letter: 4 there is no route "atlantis", only de, us
}

// Two pipelines with a stream between them. The stream never ends; After makes the second one end when the first has,
// and all that it wrote is read.
func ExampleRun() {
	ctx := context.Background()
	fw := memory.New()
	defer fw.Close()
	if err := fw.CreateStream(ctx, weaver.Stream{Name: "words"}); err != nil {
		fmt.Println(err)
		return
	}
	produce := weaver.NewPipeline(
		list("to be", "or not"),
		weaver.FlatMap(func(line string, emit func([]byte)) error {
			for word := range strings.FieldsSeq(line) {
				emit([]byte(word))
			}
			return nil
		}),
		fw.Produce("words"))
	consume := weaver.NewPipeline(
		fw.Consume("words", "printer"),
		weaver.Map(func(word []byte) (string, error) { return string(word), nil }),
		printed[string](""))
	consume.After = produce
	if err := weaver.Run(ctx, produce, consume); err != nil {
		fmt.Println(err)
	}
	// Output:
	// to
	// be
	// or
	// not
}
