package main

import (
	"context"
	"fmt"
	"os/exec"

	"github.com/jackc/pgx/v5"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/connectors/postgres"
)

// pgInsert loads a file into a table, exactly-once, with a checkpoint for each 5,000 rows.
func pgInsert(d *folder) scenario {
	return scenario{
		name:    "pg-insert",
		what:    "CSV to PostgreSQL, exactly-once, a checkpoint per 5,000 rows, against pgx CopyFrom in transactions of as many",
		records: d.records(pgBytes),
		bars:    []bar{speedAtLeast(0.9)},
		pairs:   bigPairs,
		ours:    func(n int) (outcome, error) { return pgLoaded(d, n, "", postgres.Insert) },
		baseline: func(n int) (outcome, error) {
			return pgFromFile(d, n, "", func(in, table string) error {
				return copyTransactions(in, "", func(ctx context.Context, tx pgx.Tx, rows *peopleRows) error {
					_, err := tx.CopyFrom(ctx, pgx.Identifier{table}, personColumns, rows)
					return err
				})
			})
		},
	}
}

// pgInsertWhole is the same against the database's own tool, which needs one transaction and no types.
func pgInsertWhole(d *folder) scenario {
	s := pgInsert(d)
	s.name, s.what, s.bars = "pg-insert-copy", "the same against psql's \\copy of the whole file", []bar{speedAtLeast(0.5)}
	s.baseline = func(n int) (outcome, error) {
		return pgFromFile(d, n, "", func(in, table string) error {
			cmd := exec.Command("psql", "-q", "-d", pgAddress(), "-c", fmt.Sprintf(`\copy %s from '%s' csv header`, table, in)) //nolint:gosec,noctx // a name and a file of ours
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("psql: %w: %s", err, out)
			}
			return nil
		})
	}
	return s
}

// pgLoaded runs our side.
func pgLoaded(d *folder, n int, like string, mode postgres.Mode) (outcome, error) {
	return pgFromFile(d, n, like, func(in, table string) error {
		sink := postgres.NewSink[dbPerson](postgres.DSN(pgAddress()), table)
		sink.Mode, sink.CommitRows = mode, pgRows
		p := weaver.Copy(file.CSV[dbPerson](in), sink)
		p.Name, p.Require = table, weaver.ExactlyOnce
		p.BatchSize, p.BatchBytes = pgRows, 4<<20
		return p.Run(context.Background())
	})
}

// pgFromFile runs something that brings a file of persons into a table.
func pgFromFile(d *folder, n int, like string, run func(in, table string) error) (outcome, error) {
	in, _, err := csvInput(d, n)
	if err != nil {
		return outcome{}, err
	}
	return withTable(n, like, func(table string) error { return run(in, table) })
}
