// Command convert makes NDJSON of CSV, with types: numbers become numbers, dates are checked, and a word is one of those that are known. What isn't so
// ends in a file of dead letters, row by row, and the rest goes on.
//
//	go run ./examples/convert [-in days.csv] [-out days.ndjson]
//
// It can be stopped and started again: it goes on where it was. When it has come to the end, another run converts what was added since.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
)

// Day is a row and a line: the tags say what its fields are called in each.
type Day struct {
	Date    Date    `csv:"date" json:"date"`
	Rain    float64 `csv:"precipitation" json:"rain_mm"`
	High    float64 `csv:"temp_max" json:"high"`
	Low     float64 `csv:"temp_min" json:"low"`
	Wind    float64 `csv:"wind" json:"wind"`
	Weather Weather `csv:"weather" json:"weather"`
}

// convert is all there is to it.
func convert(ctx context.Context, in, out string) (weaver.Stats, error) {
	p := weaver.Copy(file.CSV[Day](in), file.NDJSON[Day](out))
	p.Name = "convert"
	p.DeadLetter = file.NDJSON[weaver.Rejected[Day]](out + ".rejected")
	err := p.Run(ctx)
	return p.Stats(), err
}

func main() {
	in := flag.String("in", "", "`file` to read, CSV; default: four years of weather in Seattle")
	out := flag.String("out", "", "`file` to write, NDJSON; default: a new one for temporary files")
	flag.Parse()
	// Ctrl-C ends reading; what is in flight is still written.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *in, *out, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

//go:embed data/seattle-weather.csv
var weather []byte

func run(ctx context.Context, in, out string, report io.Writer) error {
	if in == "" || out == "" {
		dir, err := os.MkdirTemp("", "convert-")
		if err != nil {
			return err
		}
		if in == "" {
			in = filepath.Join(dir, "days.csv")
			if err := os.WriteFile(in, weather, 0o600); err != nil {
				return err
			}
		}
		if out == "" {
			out = filepath.Join(dir, "days.ndjson")
		}
	}
	stats, err := convert(ctx, in, out)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(report, "%d rows read, %d rejected, the others are in %s\n", stats.Read.Records, stats.DeadLetter.Records, out)
	return err
}
