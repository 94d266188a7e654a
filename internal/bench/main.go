// Command bench compares the engine with what it has to compete with: hand-written code with the same duties, bare
// goroutines, or itself in another form. Both sides run in this process, in alternating pairs.
//
//	go run . [-run regexp] [-pairs 21] [-mb 512]
//	go run . -list
//
// It prints one line a scenario: nanoseconds and allocations a record (medians), the other side's nanoseconds, the
// speed (its time over ours, the median of the pairs) and the bars the scenario is held to. A bar that is missed is
// printed, not an error: noise on a busy machine is ±15 %. A run that loses, adds or reorders records, or that
// acknowledges too little, is an error.
//
// Scenarios with large files run fewer pairs. Their files are in a temporary folder, which is removed at the end; TMPDIR says where that is. With all
// of them a run takes about 2 GB there.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
)

// scenarios is the one table of what is measured.
func scenarios(d *folder) []scenario {
	return []scenario{
		memory512(),
		memory1(),
		parallel2(),
		keyedWriters(),
		chain3(),
		retrySuccess(),
		splits10k(),
		ndjson2(d),
		ndjson2Fast(d),
		linesCopy(d),
		csvTyped(d),
		gzipLines(d),
		smallFiles(d),
		kafkaConsume(d),
		kafkaRelay(d),
		franzConsume(d),
		franzRelay(d),
		franzRelayEOS(d),
		serdeAvro(),
		avroTyped(),
		serdeJSON(),
		serdeProtobuf(),
		pgInsert(d),
		pgInsertWhole(d),
		pgUpsert(d),
		kafkaPg(d),
		pgRead(d),
		pgReadWhole(d),
		pgPg(d),
		sqliteInsert(d),
		sqliteImport(d),
		mariadbUpsert(d),
	}
}

func main() {
	child, err := peakChild()
	if !child {
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	pattern := flag.String("run", ".", "the scenarios to run, a regular `expression`")
	pairs := flag.Int("pairs", 21, "how often each side is run")
	megs := flag.Int("mb", 512, "how large the large files are, in MiB")
	list := flag.Bool("list", false, "list the scenarios and what they compare")
	flag.Parse()
	selected, err := regexp.Compile(*pattern)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	if *pairs < 1 {
		return fmt.Errorf("-pairs is %d, want at least 1", *pairs)
	}
	if *megs < 1 {
		return fmt.Errorf("-mb is %d, want at least 1", *megs)
	}
	d := newFolder(*megs)
	if !*list {
		if err := d.make(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.remove()) }()
		defer d.removeIfInterrupted()()
		fmt.Printf("%s %s/%s, %d CPUs, %d pairs\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), *pairs)
		fmt.Println(header)
	}
	for _, s := range scenarios(d) {
		if !selected.MatchString(s.name) {
			continue
		}
		if *list {
			fmt.Printf("%-14s %s\n", s.name, s.what)
			continue
		}
		m, err := s.measure(*pairs)
		switch {
		case errors.Is(err, errNoBroker), errors.Is(err, errNoPostgres), errors.Is(err, errNoMySQL):
			fmt.Printf("%-14s left out: it needs a server, which make bench starts\n", s.name)
			continue
		case errors.Is(err, exec.ErrNotFound):
			fmt.Printf("%-14s left out: %v\n", s.name, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Println(s.line(m))
	}
	return nil
}
