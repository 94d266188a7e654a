package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver of both sides

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/connectors/file"
	"github.com/bohica-labs/dataweaver/connectors/sqldb"
)

var errNoMySQL = errors.New("WEAVER_TEST_MYSQL is not set")

const mysqlPeople = `create table %s (
	id bigint primary key, user_id varchar(40) not null, name varchar(80) not null, email varchar(80) not null, country varchar(8) not null,
	amount double not null, quantity int not null, active boolean not null, created_at datetime(6) not null, note varchar(80) not null)`

// mariadbUpsert loads a file into a table of MariaDB twice: the rows are new, then they are there.
func mariadbUpsert(d *folder) scenario {
	return scenario{
		name:    "mariadb-upsert",
		what:    "CSV upserted into MariaDB, exactly-once, a checkpoint per 5,000 rows, against a prepared statement of many rows in transactions of as many",
		records: d.records(4 * pgBytes),
		bars:    []bar{speedAtLeast(0.9)},
		pairs:   bigPairs,
		ours: func(n int) (outcome, error) {
			return withMySQL(d, n, func(db *sql.DB, in, table string) error {
				sink := sqldb.NewSink[dbPerson](sqldb.Open(db, sqldb.MySQL), table)
				sink.CommitRows = pgRows
				p := weaver.Copy(file.CSV[dbPerson](in), sink)
				p.Name, p.Require = table, weaver.ExactlyOnce
				p.BatchSize, p.BatchBytes = pgRows, 4<<20
				return p.Run(context.Background())
			})
		},
		baseline: func(n int) (outcome, error) { return withMySQL(d, n, mysqlByHand) },
	}
}

// rowsPerUpsert is how many rows a statement written by hand has: what was fastest of 100, 500 and 1000.
const rowsPerUpsert = 500

func mysqlByHand(db *sql.DB, in, table string) error {
	ctx := context.Background()
	var set []string
	for _, c := range personColumns[1:] {
		set = append(set, c+" = values("+c+")")
	}
	values := "(" + strings.TrimSuffix(strings.Repeat("?,", len(personColumns)), ",") + ")"
	upsert := func(n int) string {
		return "insert into " + table + " (" + strings.Join(personColumns, ",") + ") values " + strings.TrimSuffix(strings.Repeat(values+",", n), ",") +
			" on duplicate key update " + strings.Join(set, ", ")
	}
	many, err := db.PrepareContext(ctx, upsert(rowsPerUpsert))
	if err != nil {
		return err
	}
	defer many.Close()
	rows, err := openPeople(in)
	if err != nil {
		return err
	}
	defer rows.file.Close()
	args := make([]any, 0, rowsPerUpsert*len(personColumns))
	for !rows.end {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		stmt := tx.StmtContext(ctx, many) //nolint:sqlclosecheck // the transaction closes it
		for rows.left = pgRows; rows.Next(); {
			args = append(args, rows.vals...)
			if len(args) < cap(args) {
				continue
			}
			if _, err := stmt.ExecContext(ctx, args...); err != nil {
				return err
			}
			args = args[:0]
		}
		if len(args) > 0 {
			_, err = tx.ExecContext(ctx, upsert(len(args)/len(personColumns)), args...)
			args = args[:0]
		}
		if err := errors.Join(err, rows.err, tx.Commit()); err != nil {
			return err
		}
	}
	return nil
}

// withMySQL runs something that brings a file of persons into a new table, which has every second row already.
func withMySQL(d *folder, n int, run func(db *sql.DB, in, table string) error) (outcome, error) {
	address := os.Getenv("WEAVER_TEST_MYSQL")
	if address == "" {
		return outcome{}, errNoMySQL
	}
	in, _, err := csvInput(d, n)
	if err != nil {
		return outcome{}, err
	}
	db, err := sql.Open("mysql", address)
	if err != nil {
		return outcome{}, err
	}
	table := fmt.Sprintf("people_%d", time.Now().UnixNano())
	if _, err := db.Exec(fmt.Sprintf(mysqlPeople, table)); err != nil { //nolint:noctx // before the time that counts
		return outcome{}, errors.Join(err, db.Close())
	}
	for from := 2; from <= n; from += 2 * 5000 {
		var b strings.Builder
		for id := from; id < min(from+2*5000, n+1); id += 2 {
			fmt.Fprintf(&b, ",(%d,'','','','',0,0,0,'2000-01-01','')", id)
		}
		if _, err := db.Exec("insert into " + table + " values " + b.String()[1:]); err != nil { //nolint:noctx // before the time that counts
			return outcome{}, errors.Join(err, db.Close())
		}
	}
	verify := func() error {
		want := totalsOf(n)
		var got totals
		err := db.QueryRowContext(context.Background(), "select count(*), sum(id), sum(length(user_id) + length(name) + length(email) + length(country) + length(note)),"+
			"cast(sum(round(amount * 100)) as signed), sum(quantity), sum(active), sum(timestampdiff(second, '1970-01-01', created_at)) from "+table).
			Scan(&got.rows, &got.ids, &got.text, &got.cents, &got.quantity, &got.active, &got.created)
		if err == nil && got != want {
			err = fmt.Errorf("the table holds %+v instead of %+v", got, want)
		}
		_, dropped := db.Exec("drop table " + table) //nolint:noctx // behind the time that counts
		return errors.Join(err, dropped, db.Close())
	}
	return outcome{verify: verify}, run(db, in, table)
}
