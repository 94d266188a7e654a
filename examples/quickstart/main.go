// Command quickstart reads a year of flights in the United States, cleans them up, joins them with a table of airports
// and adds up, per state, how many leave for another state. What can't be used ends in a file of dead letters.
//
//	go run ./examples/quickstart [-out folder]
//
// It is two pipelines with a stream between them, as they would be with Kafka in the middle: each of them could be
// scaled, restarted and rewound without the other.
//
//	flights-*.csv → cleanse → enrich → filter → JSON → stream "routes" → JSON → add up → states.ndjson
//	                   └─────────┴→ rejected.ndjson
package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/framework/memory"
	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/json"
)

func main() {
	out := flag.String("out", "", "`folder` for input and results; default: a new one for temporary files")
	flag.Parse()
	// Ctrl-C ends reading; what is in flight is still written.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *out, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, report io.Writer) error {
	dir, err := unpack(dir)
	if err != nil {
		return err
	}
	airports, err := readAirports(ctx, filepath.Join(dir, "airports.csv"))
	if err != nil {
		return err
	}

	fw := memory.New() // a stand-in for Kafka: another constructor, and the rest stays as it is
	defer fw.Close()
	if err := fw.CreateStream(ctx, weaver.Stream{Name: "routes"}); err != nil {
		return err
	}

	// The first pipeline: from files to the stream.
	codec := json.Codec[Route]{}
	rejected := file.NDJSON[weaver.Rejected[Flight]](filepath.Join(dir, "rejected.ndjson"))
	rejected.IfExists = file.Overwrite
	routes := weaver.NewPipeline(
		file.CSV[Flight](filepath.Join(dir, "flights-*.csv")),
		weaver.Then(weaver.Map(cleanse),
			weaver.Then(weaver.Map(enrich(airports)),
				weaver.Filter(leavesState))),
		serde.Sink(fw.Produce("routes"), codec),
	)
	routes.Name = "routes"
	routes.DeadLetter = rejected

	// The second: from the stream to a file. A stream has no end, so this would run for ever; After gives it one.
	result := file.NDJSON[State](filepath.Join(dir, "states.ndjson"))
	result.IfExists = file.Overwrite
	states := weaver.NewPipeline(
		serde.Source(fw.Consume("routes", "states"), codec),
		addUp(),
		result,
	)
	states.Name = "states"
	states.After = routes

	if err := weaver.Run(ctx, routes, states); err != nil {
		return err
	}
	return summary(ctx, report, dir, routes.Stats())
}

// readAirports is a pipeline as well: it ends in a function that fills a map.
func readAirports(ctx context.Context, path string) (map[string]Airport, error) {
	airports := make(map[string]Airport)
	err := weaver.Copy(file.CSV[Airport](path), weaver.SinkFunc[Airport](func(_ context.Context, b *weaver.Batch[Airport]) error {
		for _, r := range b.Records {
			airports[r.Value.Code] = r.Value
		}
		return nil
	})).Run(ctx)
	return airports, err
}

// summary shows what has become of the flights. It reads the results back with the same connector that wrote them.
func summary(ctx context.Context, w io.Writer, dir string, stats weaver.Stats) error {
	fmt.Fprintf(w, "%d rows read, %d routes within a state left out, %d rows rejected\n\n",
		stats.Read.Records, stats.Filtered, stats.DeadLetter.Records)
	fmt.Fprintln(w, "Flights to other states, 2008:")
	top := 0
	err := weaver.Copy(file.NDJSON[State](filepath.Join(dir, "states.ndjson")), weaver.SinkFunc[State](func(_ context.Context, b *weaver.Batch[State]) error {
		for _, r := range b.Records {
			if top++; top <= 5 {
				fmt.Fprintf(w, "  %s %8d flights on %4d routes, the longest %5.0f km (%s)\n",
					r.Value.State, r.Value.Flights, r.Value.Routes, r.Value.LongestKM, r.Value.Longest)
			}
		}
		return nil
	})).Run(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "  and %d more in %s\n\nDead letters, in %s:\n",
		top-5, filepath.Join(dir, "states.ndjson"), filepath.Join(dir, "rejected.ndjson"))
	return weaver.Copy(file.NDJSON[weaver.Rejected[Flight]](filepath.Join(dir, "rejected.ndjson")),
		weaver.SinkFunc[weaver.Rejected[Flight]](func(_ context.Context, b *weaver.Batch[weaver.Rejected[Flight]]) error {
			for _, r := range b.Records {
				what := string(r.Value.Raw) // of a row that never became a Flight
				if f := r.Value.Value; f != nil {
					what = fmt.Sprintf("%s,%s,%d", f.Origin, f.Destination, f.Count)
				}
				fmt.Fprintf(w, "  %-14s %s: %s\n", what, r.Value.Stage, r.Value.Error)
			}
			return nil
		})).Run(ctx)
}

//go:embed data/airports.csv data/flights-*.csv
var data embed.FS

// unpack puts the input into dir, so that the example needs nothing but itself.
func unpack(dir string) (string, error) {
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "quickstart-"); err != nil {
			return "", err
		}
	}
	names, err := data.ReadDir("data")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for _, name := range names {
		content, err := data.ReadFile("data/" + name.Name())
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name.Name()), content, 0o600); err != nil {
			return "", err
		}
	}
	return dir, nil
}
