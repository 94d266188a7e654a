// Command postgres brings four years of weather from CSV files into a table of PostgreSQL, each day once, whatever happens meanwhile.
//
//	go run . -dsn postgres://user:password@localhost:5432/database [-dir weather] [-rate 200]
//
// It is slow on purpose. Kill it (Ctrl-C, or kill -9 from elsewhere), restart the server, start it again, several times: it goes on where the table is. The position
// is in the table weather_checkpoints, and commits with the rows it belongs to. Days that can't be are in rejected.ndjson.
//
// It is a module of its own, so that nobody who takes the library for files has a database's client in their build.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/connectors/postgres"
)

func main() {
	dsn := flag.String("dsn", os.Getenv("DATABASE_URL"), "`address` of the database; default $DATABASE_URL")
	dir := flag.String("dir", "weather", "`folder` for the input and what is rejected")
	rate := flag.Float64("rate", 200, "`rows` a second; 0: as fast as it goes")
	flag.Parse()
	// Ctrl-C ends reading; what is in flight is still written.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *dsn, *dir, *rate, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dsn, dir string, rate float64, report io.Writer) error {
	if dsn == "" {
		return errors.New("say which database: -dsn postgres://user:password@localhost:5432/database")
	}
	if err := unpack(dir); err != nil {
		return err
	}

	sink := postgres.NewSink[Day](postgres.DSN(dsn), "weather")
	sink.Create, sink.Key = true, []string{"day"}
	sink.Checkpoints = "weather_checkpoints"

	p := weaver.NewPipeline(file.CSV[Row](filepath.Join(dir, "*.csv")), weaver.Map(cleanse), sink)
	p.Name, p.Require = "weather", weaver.ExactlyOnce
	p.DeadLetter = file.NDJSON[weaver.Rejected[Row]](filepath.Join(dir, "rejected.ndjson"))
	p.RateLimit.Records = rate
	p.BatchSize, p.CheckpointInterval = 50, 500*time.Millisecond
	if err := p.Run(ctx); err != nil {
		return err
	}
	stats := p.Stats()
	fmt.Fprintf(report, "%d rows read, %d rejected\n", stats.Read.Records, stats.DeadLetter.Records)
	return show(context.WithoutCancel(ctx), dsn, report)
}

// show says what the table holds.
func show(ctx context.Context, dsn string, report io.Writer) error {
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	var days, wet int
	if err := c.QueryRow(ctx, "select count(*), count(*) filter (where rain_mm > 0) from weather").Scan(&days, &wet); err != nil {
		return err
	}
	_, err = fmt.Fprintf(report, "the table holds %d days, %d of them wet\n", days, wet)
	return err
}
