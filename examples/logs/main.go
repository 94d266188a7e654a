// Command logs follows a log file while it grows and is rotated, takes its lines apart, masks what should not leave the machine and writes the rest to
// compressed files, a folder a day.
//
//	go run ./examples/logs -log app.log -out archive
//
// It goes on where it was when it is stopped, or killed, and started again: each line is in the archive once.
//
//	app.log (app.log.1, app.log.2.gz, …) → parse → mask → archive/2026-11-23/events-….ndjson.zst
//	                                         └→ rejected.ndjson
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
)

func main() {
	log := flag.String("log", "app.log", "`file` to follow; it needn't be there yet")
	out := flag.String("out", "archive", "`folder` for the archive")
	flag.Parse()
	// Ctrl-C ends following; what was read is still written.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	p, err := archive(*log, *out)
	if err == nil {
		err = p.Run(ctx)
	}
	stopped := ctx.Err() != nil
	stop()
	if err != nil && !stopped {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// archive is the pipeline from a log to the folder out.
func archive(log, out string) (*weaver.Pipeline[[]byte, Event], error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	lines := file.Lines(log)
	lines.Follow = true

	days := file.Parts(file.NDJSON[Event](filepath.Join(out, "{time:2006-01-02}", "events-{part}.ndjson.zst")))

	p := weaver.NewPipeline(lines, weaver.MapRecord(parse), days)
	p.Name = "logs"
	p.DeadLetter = file.NDJSON[weaver.Rejected[[]byte]](filepath.Join(out, "rejected.ndjson"))
	p.Require = weaver.ExactlyOnce
	return p, nil
}
