// Command kafka is a service as it runs beside Kafka: it takes typed records from a topic, asks another service about each, and writes what comes of them
// to a second topic. What is refused goes to a third.
//
//	go run ./examples/kafka                                           # in memory, no broker
//	go run ./examples/kafka -framework kafka -brokers localhost:9092  # the same on Kafka
//
// Start it several times with the same -group and the copies share the partitions. Ctrl-C ends it: what was read is still written and committed.
//
//	weather.csv → topic weather → assess (retried) → topic alerts → standard output
//	                                  └→ topic weather-rejected
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/serde"
	"github.com/bohica-labs/dataweaver/serde/json"
)

//go:embed data/seattle-weather.csv
var data embed.FS

// Day is a row of the file, and a record of the topic weather.
type Day struct {
	Date string  `csv:"date" json:"date"`
	Rain float64 `csv:"precipitation" json:"rain_mm"`
	Wind float64 `csv:"wind" json:"wind"`
}

// Alert is a record of the topic alerts.
type Alert struct {
	Date   string `json:"date"`
	Reason string `json:"reason"`
}

func main() {
	var o Options
	flag.StringVar(&o.Framework, "framework", "memory", "`memory` or kafka")
	flag.StringVar(&o.Brokers, "brokers", "localhost:9092", "of Kafka, `host:port`, separated by commas")
	flag.StringVar(&o.User, "user", "", "`name` for SASL; the password is in KAFKA_PASSWORD")
	flag.BoolVar(&o.TLS, "tls", false, "encrypt connections to Kafka")
	flag.StringVar(&o.Prefix, "prefix", "", "`text` before the names of topics")
	group := flag.String("group", "assess", "`name` of the consumer group")
	follow := flag.Bool("follow", false, "wait for more when all is read, until Ctrl-C")
	flag.Parse()
	o.Password = os.Getenv("KAFKA_PASSWORD")

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, *group, *follow, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o Options, group string, follow bool, out io.Writer) (err error) {
	fw, err := open(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fw.Close()) }()
	for _, topic := range []string{"weather", "alerts", "weather-rejected"} {
		if err := fw.CreateStream(ctx, weaver.Stream{Name: o.Prefix + topic, Partitions: 3}); err != nil {
			return err
		}
	}

	feed := feeder(fw.Produce(o.Prefix + "weather"))
	assess := assessor(fw, o.Prefix, group)
	alerts := weaver.NewPipeline(
		fw.Consume(o.Prefix+"alerts", group+"-print"),
		serde.Decode(json.Codec[Alert]{}),
		weaver.SinkFunc[Alert](func(_ context.Context, b *weaver.Batch[Alert]) error {
			for i := range b.Records {
				if _, err := fmt.Fprintf(out, "%s: %s\n", b.Records[i].Value.Date, b.Records[i].Value.Reason); err != nil {
					return err
				}
			}
			return nil
		}))
	alerts.Name = "print"
	if !follow { // each ends when the one before it has
		assess.After, alerts.After = feed, assess
	}
	return weaver.Run(ctx, feed, assess, alerts)
}

// feeder fills the topic from the file.
func feeder(to weaver.Sink[[]byte]) *weaver.Pipeline[Day, []byte] {
	days := file.CSV[Day]("data/seattle-weather.csv")
	days.FS = data
	p := weaver.NewPipeline(days,
		weaver.Then(weaver.KeyBy(func(d Day) string { return d.Date }), serde.Encode(json.Codec[Day]{})), to)
	p.Name = "feed"
	return p
}

// assessor is the service itself.
func assessor(fw weaver.Framework, prefix, group string) *weaver.Pipeline[[]byte, []byte] {
	p := weaver.NewPipeline(
		fw.Consume(prefix+"weather", group),
		weaver.Then(serde.Decode(json.Codec[Day]{}),
			weaver.Then(weaver.MapAsync(16, new(Forecaster).Assess),
				weaver.Then(weaver.Filter(func(a Alert) (bool, error) { return a.Reason != "", nil }),
					serde.Encode(json.Codec[Alert]{})))),
		fw.Produce(prefix+"alerts"),
	)
	p.Name = "assess"
	p.Retry = retry.Policy{Initial: 10 * time.Millisecond, Max: time.Second, MaxAttempts: 10}
	p.DeadLetter = serde.Sink(fw.Produce(prefix+"weather-rejected"), json.Codec[weaver.Rejected[[]byte]]{})
	return p
}
