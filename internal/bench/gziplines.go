package main

import (
	"bufio"
	"context"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
)

// gzipLines is for files that arrive packed and are packed again.
func gzipLines(d *folder) scenario {
	return scenario{
		name:    "gzip-lines",
		what:    "lines of a gzip file into a zstd file, against the same packages by hand",
		records: d.records(2 * ndjsonBytes),
		bars:    []bar{speedAtLeast(0.85)},
		pairs:   bigPairs,
		ours: func(n int) (outcome, error) {
			return runPacked(d, "weaver", n, func(in, out string) error {
				return weaver.Copy(file.Lines(in), file.Lines(out)).Run(context.Background())
			})
		},
		baseline: func(n int) (outcome, error) {
			return runPacked(d, "by hand", n, func(in, out string) error { return throughFiles(in, out, repack) })
		},
	}
}

func runPacked(d *folder, who string, n int, move func(in, out string) error) (outcome, error) {
	in, want, err := d.input("people.ndjson.gz", n, func(in, out *bufio.Writer) error {
		packed := gzip.NewWriter(in)
		var line []byte
		for people := newPeople(); people.made < int64(n); {
			people.next()
			line = people.appendNDJSON(line[:0])
			_, _ = packed.Write(line) // Close tells
			_, _ = out.Write(line)
		}
		return packed.Close()
	})
	if err != nil {
		return outcome{}, err
	}
	out := d.output(".zst")
	err = move(in, out)
	return outcome{verify: func() error {
		return checkFile(who, out, want, func(r io.Reader) (io.Reader, error) {
			return zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		})
	}}, err
}

// repack has one goroutine for everything, as the connector has for each of its two files.
func repack(r io.Reader, w io.Writer) error {
	unpacked, err := gzip.NewReader(bufio.NewReaderSize(r, copyBytes))
	if err != nil {
		return err
	}
	packed, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	from, to := bufio.NewReaderSize(unpacked, copyBytes), bufio.NewWriterSize(packed, copyBytes)
	for {
		line, err := from.ReadSlice('\n')
		if _, err := to.Write(line); err != nil {
			return err
		}
		switch {
		case err == nil || errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return errors.Join(to.Flush(), packed.Close(), unpacked.Close())
		default:
			return err
		}
	}
}
