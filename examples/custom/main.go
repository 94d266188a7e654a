// Command custom shows how a source (source.go) and a sink (sink.go) are written: for a service that gives its records
// page by page, takes them in bulk, and is not always well. It brings the service along.
//
//	go run ./examples/custom
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, report io.Writer) (err error) {
	server, url, stop, err := serve(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	service := Service{URL: url, Client: &http.Client{Transport: transport, Timeout: 10 * time.Second}}

	p := weaver.NewPipeline(Days{service}, weaver.Map(alert), Alerts{service})
	p.BatchSize = 50
	p.Retry = retry.Policy{Initial: 10 * time.Millisecond} // default 100 ms; nobody else wants this service back
	p.Log = slog.New(slog.DiscardHandler)                  // it would tell of each failure
	p.DeadLetter = weaver.SinkFunc[weaver.Rejected[Day]](func(_ context.Context, b *weaver.Batch[weaver.Rejected[Day]]) error {
		for _, r := range b.Records {
			fmt.Fprintf(report, "rejected: %s: %s\n", r.Value.Value.Date, r.Value.Error)
		}
		return nil
	})
	if err := p.Run(ctx); err != nil {
		return err
	}
	s := p.Stats()
	fmt.Fprintf(report, "%d days read, %d without rain, %d alerts posted\n", s.Read.Records, s.Filtered, server.count())
	fmt.Fprintf(report, "on the way: %d calls that failed and were repeated\n", s.Read.Retries+s.Write.Retries)
	return nil
}

// alert makes an Alert of a rainy day. Other days are skipped.
func alert(d Day) (Alert, error) {
	if d.Rain == 0 {
		return Alert{}, weaver.ErrSkip
	}
	return Alert{Date: d.Date, Text: fmt.Sprintf("%.1f mm of rain", d.Rain)}, nil
}
