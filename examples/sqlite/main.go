// Command sqlite brings four years of weather from CSV files into a table of SQLite, each day once, whatever happens meanwhile.
//
//	go run . [-dir weather] [-rate 200]
//
// It is slow on purpose. Kill it (Ctrl-C, or kill -9 from elsewhere), start it again, several times: it goes on where the table is. The position
// is in the table weather_checkpoints, and commits with the rows it belongs to. Days that can't be are in rejected.ndjson.
//
// It is a module of its own, so that nobody who takes the library for files has a database's client in their build.
package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver is yours to choose

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/connectors/sqldb"
)

func main() {
	dir := flag.String("dir", "weather", "`folder` for the input, the database and what is rejected")
	rate := flag.Float64("rate", 200, "`rows` a second; 0: as fast as it goes")
	flag.Parse()
	// Ctrl-C ends reading; what is in flight is still written.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *dir, *rate, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, rate float64, report io.Writer) error {
	if err := unpack(dir); err != nil {
		return err
	}

	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weather.db")+"?_pragma=journal_mode(wal)&_pragma=synchronous(full)")
	if err != nil {
		return err
	}
	defer db.Close()

	sink := sqldb.NewSink[Day](sqldb.Open(db, sqldb.SQLite), "weather")
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
	return show(context.WithoutCancel(ctx), db, report)
}

// show says what the table holds.
func show(ctx context.Context, db *sql.DB, report io.Writer) error {
	var days, wet int
	if err := db.QueryRowContext(ctx, "select count(*), count(*) filter (where rain_mm > 0) from weather").Scan(&days, &wet); err != nil {
		return err
	}
	_, err := fmt.Fprintf(report, "the table holds %d days, %d of them wet\n", days, wet)
	return err
}
