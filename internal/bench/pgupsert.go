package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/bohica-labs/dataweaver/connectors/postgres"
)

// pgUpsert loads a file into a table that has its rows already.
func pgUpsert(d *folder) scenario {
	var full pgFilled
	return scenario{
		name:    "pg-upsert",
		what:    "CSV to PostgreSQL rows that are there, exactly-once, a checkpoint per 5,000 rows, against COPY to a temporary table and one merge in transactions of as many",
		records: d.records(2 * pgBytes),
		bars:    []bar{speedAtLeast(0.9)},
		pairs:   bigPairs,
		ours: func(n int) (outcome, error) {
			like, err := full.fill(n)
			if err != nil {
				return outcome{}, err
			}
			return pgLoaded(d, n, like, postgres.Upsert)
		},
		baseline: func(n int) (outcome, error) {
			like, err := full.fill(n)
			if err != nil {
				return outcome{}, err
			}
			return pgFromFile(d, n, like, func(in, table string) error {
				merge := mergeInto(table)
				return copyTransactions(in, stagedLike(table), func(ctx context.Context, tx pgx.Tx, rows *peopleRows) error {
					return copyAndMerge(ctx, tx, merge, rows)
				})
			})
		},
	}
}

// mergeInto is the statement that brings the rows of the temporary table into a table.
func mergeInto(table string) string {
	var set []string
	for _, c := range personColumns[1:] {
		set = append(set, c+" = excluded."+c)
	}
	return fmt.Sprintf("insert into %s select * from staged on conflict (id) do update set %s", table, strings.Join(set, ", "))
}

// stagedLike is the statement that makes the temporary table.
func stagedLike(table string) string {
	return fmt.Sprintf("create temporary table staged (like %s) on commit delete rows", table)
}

func copyAndMerge(ctx context.Context, tx pgx.Tx, merge string, rows pgx.CopyFromSource) error {
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"staged"}, personColumns, rows); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, merge)
	return err
}
