package main

import (
	"bufio"
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/connectors/postgres"
)

// pgRead writes a table to files of NDJSON, two splits of its key beside each other.
func pgRead(d *folder) scenario {
	var full pgFilled
	return scenario{
		name:    "pg-read",
		what:    "PostgreSQL to NDJSON by keyset, 2 splits, against two hand-written pgx loops with pages of as many rows",
		records: d.records(pgBytes),
		bars:    []bar{speedAtLeast(0.85)},
		pairs:   bigPairs,
		ours: func(n int) (outcome, error) {
			return pgToFiles(d, n, &full, func(table, folder string) error {
				src := postgres.NewSource[dbPerson](postgres.DSN(pgAddress()), table)
				src.Ranges, src.PageRows = 2, readPage
				lines := file.NDJSON[dbPerson](folder + "/{split}-{part}.ndjson")
				lines.Sync = file.SyncNever // as the other side, which leaves it to the operating system
				out := file.Parts(lines)
				p := weaver.Copy(src, out)
				p.Name = "pg-read"
				return p.Run(context.Background())
			})
		},
		baseline: func(n int) (outcome, error) {
			return pgToFiles(d, n, &full, func(table, folder string) error {
				var wg sync.WaitGroup
				errs := make([]error, 2)
				for i := range errs {
					wg.Go(func() {
						errs[i] = readByHand(table, fmt.Sprintf("%s/%d.ndjson", folder, i), int64(n/2*i), int64(n/2+i*n))
					})
				}
				wg.Wait()
				return errors.Join(errs...)
			})
		},
	}
}

// pgReadWhole is the same against the database's own way to give out a table.
func pgReadWhole(d *folder) scenario {
	s := pgRead(d)
	var full pgFilled
	s.name, s.what, s.bars = "pg-read-copy", "the same against COPY TO of the whole table into a file", []bar{speedAtLeast(0.5)}
	s.baseline = func(n int) (outcome, error) {
		return pgToFiles(d, n, &full, func(table, folder string) error {
			ctx := context.Background()
			c, err := pgServer()
			if err != nil {
				return err
			}
			defer c.Close(ctx)
			f, err := os.Create(folder + "/all.csv")
			if err != nil {
				return err
			}
			_, err = c.PgConn().CopyTo(ctx, f, "copy "+table+" to stdout")
			return errors.Join(err, f.Close())
		})
	}
	return s
}

const readPage = 10_000

// readByHand reads the keys behind after, up to last, and writes them to a file.
func readByHand(table, path string, after, last int64) error {
	ctx := context.Background()
	c, err := pgServer()
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, copyBytes)
	enc := stdjson.NewEncoder(w)
	enc.SetEscapeHTML(false)
	query := fmt.Sprintf("select %s from %s where id > $1 and id <= $2 order by id limit $3", strings.Join(personColumns, ", "), table)
	for more := true; more && err == nil; {
		more = false
		var rows pgx.Rows
		if rows, err = c.Query(ctx, query, after, last, readPage); err != nil {
			break
		}
		var p dbPerson
		_, err = pgx.ForEachRow(rows, []any{&p.ID, &p.UserID, &p.Name, &p.Email, &p.Country, &p.Amount, &p.Quantity, &p.Active, &p.CreatedAt, &p.Note}, func() error {
			after, more = p.ID, true
			return enc.Encode(&p)
		})
	}
	return errors.Join(err, w.Flush(), f.Close())
}

// pgToFiles runs something that writes a table to files in a folder, and counts the lines.
func pgToFiles(d *folder, n int, full *pgFilled, run func(table, folder string) error) (outcome, error) {
	table, err := full.fill(n)
	if err != nil {
		return outcome{}, err
	}
	folder := d.output("")
	if err := os.Mkdir(folder, 0o750); err != nil {
		return outcome{}, err
	}
	verify := func() error {
		lines := 0
		entries, err := os.ReadDir(folder)
		for _, e := range entries {
			if e.IsDir() {
				continue
			}
			f, openErr := os.Open(folder + "/" + e.Name())
			if openErr != nil {
				return openErr
			}
			var got sum
			_, err = io.CopyBuffer(struct{ io.Writer }{&got}, f, make([]byte, copyBytes))
			err = errors.Join(err, f.Close())
			lines += int(got.lines)
		}
		if err == nil && lines != n {
			err = fmt.Errorf("%d lines came out instead of %d", lines, n)
		}
		return errors.Join(err, os.RemoveAll(folder))
	}
	return outcome{verify: verify}, run(table, folder)
}
