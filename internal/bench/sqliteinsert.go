package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver of both sides

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/connectors/sqldb"
)

const sqlitePeople = `create table people (
	id integer primary key, user_id text not null, name text not null, email text not null, country text not null,
	amount real not null, quantity integer not null, active boolean not null, created_at datetime not null, note text not null)`

// sqliteInsert loads a file into a table of SQLite, which is durable with each transaction.
func sqliteInsert(d *folder) scenario {
	return scenario{
		name:    "sqlite-insert",
		what:    "CSV to SQLite, exactly-once, a checkpoint per 5,000 rows, against a prepared statement of many rows in transactions of as many",
		records: d.records(pgBytes),
		bars:    []bar{speedAtLeast(0.9)},
		pairs:   bigPairs,
		ours: func(n int) (outcome, error) {
			return withSQLite(d, n, func(in, path string) error {
				db, err := openSQLite(path)
				if err != nil {
					return err
				}
				sink := sqldb.NewSink[dbPerson](sqldb.Open(db, sqldb.SQLite), "people")
				sink.Mode, sink.CommitRows = sqldb.Insert, pgRows
				p := weaver.Copy(file.CSV[dbPerson](in), sink)
				p.Name, p.Require = "people", weaver.ExactlyOnce
				p.BatchSize, p.BatchBytes = pgRows, 4<<20
				return errors.Join(p.Run(context.Background()), db.Close())
			})
		},
		baseline: func(n int) (outcome, error) {
			return withSQLite(d, n, sqliteByHand)
		},
	}
}

// sqliteImport is the same against the database's own tool, which needs one transaction and no types.
func sqliteImport(d *folder) scenario {
	s := sqliteInsert(d)
	s.name, s.what, s.bars = "sqlite-import", "the same against sqlite3's .import of the whole file", []bar{speedAtLeast(0.5)}
	s.baseline = func(n int) (outcome, error) {
		return withSQLite(d, n, func(in, path string) error {
			cmd := exec.Command("sqlite3", path, ".mode csv", ".import --skip 1 '"+in+"' people") //nolint:gosec,noctx // files of ours
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("sqlite3: %w: %s", err, out)
			}
			return nil
		})
	}
	return s
}

func openSQLite(path string) (*sql.DB, error) {
	return sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(wal)&_pragma=synchronous(full)")
}

// rowsPerInsert is how many rows a statement written by hand has: what was fastest of 1, 10, 50, 100 and 500.
const rowsPerInsert = 50

func sqliteByHand(in, path string) error {
	ctx := context.Background()
	db, err := openSQLite(path)
	if err != nil {
		return err
	}
	defer db.Close()
	values := "(" + strings.TrimSuffix(strings.Repeat("?,", len(personColumns)), ",") + ")"
	insert := func(n int) string {
		return "insert into people (" + strings.Join(personColumns, ",") + ") values " + strings.TrimSuffix(strings.Repeat(values+",", n), ",")
	}
	many, err := db.Prepare(insert(rowsPerInsert)) //nolint:noctx // it is measured as it is
	if err != nil {
		return err
	}
	rows, err := openPeople(in)
	if err != nil {
		return err
	}
	defer rows.file.Close()
	args := make([]any, 0, rowsPerInsert*len(personColumns))
	for !rows.end {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		stmt := tx.StmtContext(ctx, many) //nolint:sqlclosecheck // the transaction closes it
		for rows.left = pgRows; rows.Next(); {
			vals := rows.vals
			args = append(args, vals[:8]...)
			args = append(args, vals[8].(time.Time).Format("2006-01-02 15:04:05"), vals[9]) //nolint:forcetypeassert // it is one
			if len(args) < cap(args) {
				continue
			}
			if _, err := stmt.ExecContext(ctx, args...); err != nil {
				return err
			}
			args = args[:0]
		}
		if len(args) > 0 {
			_, err = tx.ExecContext(ctx, insert(len(args)/len(personColumns)), args...)
			args = args[:0]
		}
		if err := errors.Join(err, rows.err, tx.Commit()); err != nil {
			return err
		}
	}
	return nil
}

// withSQLite runs something that brings a file of persons into a new database, and looks what is there afterwards.
func withSQLite(d *folder, n int, run func(in, path string) error) (outcome, error) {
	in, _, err := csvInput(d, n)
	if err != nil {
		return outcome{}, err
	}
	path := d.output(".db")
	db, err := openSQLite(path)
	if err != nil {
		return outcome{}, err
	}
	_, err = db.Exec(sqlitePeople) //nolint:noctx // before the time that counts
	if err := errors.Join(err, db.Close()); err != nil {
		return outcome{}, err
	}
	verify := func() error {
		db, err := openSQLite(path)
		if err != nil {
			return err
		}
		want := totalsOf(n)
		want.active, want.created = 0, 0 // .import keeps the words of the file
		var got totals
		err = db.QueryRowContext(context.Background(), `select count(*), sum(id), sum(length(cast(user_id as blob)) + length(cast(name as blob)) + length(cast(email as blob)) +
			length(cast(country as blob)) + length(cast(note as blob))), sum(cast(round(amount * 100) as integer)), sum(quantity) from people`).
			Scan(&got.rows, &got.ids, &got.text, &got.cents, &got.quantity)
		if err == nil && got != want {
			err = fmt.Errorf("the table holds %+v instead of %+v", got, want)
		}
		err = errors.Join(err, db.Close())
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if gone := os.Remove(path + suffix); gone != nil && !errors.Is(gone, os.ErrNotExist) {
				err = errors.Join(err, gone)
			}
		}
		return err
	}
	return outcome{verify: verify}, run(in, path)
}
