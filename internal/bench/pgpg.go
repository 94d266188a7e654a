package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/postgres"
)

// pgPg copies a table into another one.
func pgPg(d *folder) scenario {
	var full pgFilled
	return scenario{
		name:    "pg-pg",
		what:    "table to table by keyset, exactly-once, against a pgx loop whose pages are copied in transactions of as many rows",
		records: d.records(2 * pgBytes),
		bars:    []bar{speedAtLeast(0.85)},
		pairs:   bigPairs,
		ours: func(n int) (outcome, error) {
			from, err := full.fill(n)
			if err != nil {
				return outcome{}, err
			}
			return withTable(n, "", func(table string) error {
				src := postgres.NewSource[dbPerson](postgres.DSN(pgAddress()), from)
				sink := postgres.NewSink[dbPerson](postgres.DSN(pgAddress()), table)
				sink.Mode, sink.CommitRows = postgres.Insert, pgRows
				p := weaver.Copy(src, sink)
				p.Name, p.Require = table, weaver.ExactlyOnce
				p.BatchSize, p.BatchBytes = pgRows, 4<<20
				return p.Run(context.Background())
			})
		},
		baseline: func(n int) (outcome, error) {
			from, err := full.fill(n)
			if err != nil {
				return outcome{}, err
			}
			return withTable(n, "", func(table string) error { return copyTable(from, table) })
		},
	}
}

// copyTable reads a page into structs and copies it, in turn.
func copyTable(from, to string) error {
	ctx := context.Background()
	in, err := pgServer()
	if err != nil {
		return err
	}
	defer in.Close(ctx)
	out, err := pgServer()
	if err != nil {
		return err
	}
	defer out.Close(ctx)
	query := fmt.Sprintf("select %s from %s where id > $1 order by id limit $2", strings.Join(personColumns, ", "), from)
	page := make([]dbPerson, 0, pgRows)
	for after := int64(0); ; {
		page = page[:0]
		rows, err := in.Query(ctx, query, after, pgRows)
		if err != nil {
			return err
		}
		var p dbPerson
		_, err = pgx.ForEachRow(rows, []any{&p.ID, &p.UserID, &p.Name, &p.Email, &p.Country, &p.Amount, &p.Quantity, &p.Active, &p.CreatedAt, &p.Note}, func() error {
			page = append(page, p)
			return nil
		})
		if err != nil || len(page) == 0 {
			return err
		}
		after = page[len(page)-1].ID
		err = pgx.BeginFunc(ctx, out, func(tx pgx.Tx) error {
			_, err := tx.CopyFrom(ctx, pgx.Identifier{to}, personColumns, copyPeople(page))
			return err
		})
		if err != nil {
			return err
		}
	}
}

// copyPeople gives persons to pgx.
func copyPeople(page []dbPerson) pgx.CopyFromSource {
	return pgx.CopyFromSlice(len(page), func(i int) ([]any, error) {
		p := &page[i]
		return []any{p.ID, p.UserID, p.Name, p.Email, p.Country, p.Amount, p.Quantity, p.Active, p.CreatedAt, p.Note}, nil
	})
}
