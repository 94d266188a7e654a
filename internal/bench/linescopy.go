package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
)

// linesCopy is what the file connector costs by itself, with all that makes it exactly-once.
func linesCopy(d *folder) scenario {
	return scenario{
		name:    "lines-copy",
		what:    "a file of lines copied as it is, against ReadSlice and a bufio.Writer",
		records: d.records(2 * ndjsonBytes),
		bars:    []bar{speedAtLeast(0.85)},
		pairs:   bigPairs,
		ours: func(n int) (outcome, error) {
			return runFile(d, "weaver", n, ndjsonInput, func(in, out string) error {
				return weaver.Copy(file.Lines(in), file.Lines(out)).Run(context.Background())
			})
		},
		baseline: func(n int) (outcome, error) { return runFile(d, "bufio", n, ndjsonInput, copyLines) },
	}
}

const (
	bigPairs    = 5   // of scenarios with large files
	ndjsonBytes = 236 // of a line, about
)

// ndjsonInput makes a file of persons that is to come out as it is.
func ndjsonInput(d *folder, n int) (string, sum, error) {
	return d.input("people.ndjson", n, func(in, out *bufio.Writer) error {
		var line []byte
		for people := newPeople(); people.made < int64(n); {
			people.next()
			line = people.appendNDJSON(line[:0])
			_, _ = in.Write(line) // Flush tells
			_, _ = out.Write(line)
		}
		return nil
	})
}

// runFile makes the input, unless it is there, and has it moved from one file to another.
func runFile(d *folder, who string, n int, input func(*folder, int) (string, sum, error), move func(in, out string) error) (outcome, error) {
	in, want, err := input(d, n)
	if err != nil {
		return outcome{}, err
	}
	out := d.output(".out")
	err = move(in, out)
	return outcome{verify: func() error { return checkFile(who, out, want, nil) }}, err
}

func copyLines(in, out string) error {
	return throughFiles(in, out, func(r io.Reader, w io.Writer) error {
		from, to := bufio.NewReaderSize(r, copyBytes), bufio.NewWriterSize(w, copyBytes)
		for {
			line, err := from.ReadSlice('\n')
			if _, err := to.Write(line); err != nil {
				return err
			}
			switch {
			case err == nil || errors.Is(err, bufio.ErrBufferFull):
			case errors.Is(err, io.EOF):
				return to.Flush()
			default:
				return err
			}
		}
	})
}

// throughFiles opens both files for code written by hand, and makes what is written durable.
func throughFiles(in, out string, move func(io.Reader, io.Writer) error) error {
	r, err := os.Open(in)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.Create(out)
	if err != nil {
		return err
	}
	if err := move(r, w); err != nil {
		return errors.Join(err, w.Close())
	}
	return errors.Join(w.Sync(), w.Close())
}
