package main

import (
	"bufio"
	"context"
	"encoding/csv"
	stdjson "encoding/json"
	"errors"
	"io"
	"strconv"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
)

// csvTyped is what types cost: reflection, against code that knows each column.
func csvTyped(d *folder) scenario {
	return scenario{
		name:    "csv-typed",
		what:    "CSV to structs to NDJSON, against encoding/csv, strconv and encoding/json",
		records: d.records(2 * csvBytes),
		bars:    []bar{speedAtLeast(0.95)},
		pairs:   bigPairs,
		ours: func(n int) (outcome, error) {
			return runFile(d, "weaver", n, csvInput, func(in, out string) error {
				return weaver.Copy(file.CSV[person](in), file.NDJSON[person](out)).Run(context.Background())
			})
		},
		baseline: func(n int) (outcome, error) {
			return runFile(d, "by hand", n, csvInput, func(in, out string) error { return throughFiles(in, out, convert) })
		},
	}
}

const csvBytes = 125 // of a row, about

func csvInput(d *folder, n int) (string, sum, error) {
	return d.input("people.csv", n, func(in, out *bufio.Writer) error {
		_, _ = in.WriteString(csvHeader) // Flush tells
		var line []byte
		for people := newPeople(); people.made < int64(n); {
			people.next()
			line = people.appendCSV(line[:0])
			_, _ = in.Write(line)
			line = people.appendFromCSV(line[:0])
			_, _ = out.Write(line)
		}
		return nil
	})
}

func convert(r io.Reader, w io.Writer) error {
	rows := csv.NewReader(bufio.NewReaderSize(r, copyBytes))
	rows.ReuseRecord = true
	to := bufio.NewWriterSize(w, copyBytes)
	enc := stdjson.NewEncoder(to)
	enc.SetEscapeHTML(false)
	if _, err := rows.Read(); err != nil { // the header
		return err
	}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return to.Flush()
		}
		if err != nil {
			return err
		}
		p := person{UserID: row[1], Name: row[2], Email: row[3], Country: row[4], Note: row[9]}
		if p.ID, err = strconv.ParseInt(row[0], 10, 64); err != nil {
			return err
		}
		if p.Amount, err = strconv.ParseFloat(row[5], 64); err != nil {
			return err
		}
		if p.Quantity, err = strconv.Atoi(row[6]); err != nil {
			return err
		}
		if p.Active, err = strconv.ParseBool(row[7]); err != nil {
			return err
		}
		if p.CreatedAt, err = time.Parse(time.RFC3339, row[8]); err != nil {
			return err
		}
		if err := enc.Encode(&p); err != nil {
			return err
		}
	}
}
