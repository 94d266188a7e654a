package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// pgBytes gives a million rows where the large files have 512 MiB.
const pgBytes = 512

// pgRows is how many rows a transaction has, on both sides.
const pgRows = 5000

var errNoPostgres = errors.New("WEAVER_TEST_POSTGRES is not set")

// pgAddress is the server's; empty: there is none.
func pgAddress() string { return os.Getenv("WEAVER_TEST_POSTGRES") }

// dbPerson is a person as a row of a table.
type dbPerson struct {
	ID        int64     `db:"id" csv:"id" json:"id"`
	UserID    string    `db:"user_id" csv:"user_id" json:"user_id"`
	Name      string    `db:"name" csv:"name" json:"name"`
	Email     string    `db:"email" csv:"email" json:"email"`
	Country   string    `db:"country" csv:"country" json:"country"`
	Amount    float64   `db:"amount" csv:"amount" json:"amount"`
	Quantity  int       `db:"quantity" csv:"quantity" json:"quantity"`
	Active    bool      `db:"active" csv:"active" json:"active"`
	CreatedAt time.Time `db:"created_at" csv:"created_at" json:"created_at"`
	Note      string    `db:"note" csv:"note" json:"note"`
}

var personColumns = []string{"id", "user_id", "name", "email", "country", "amount", "quantity", "active", "created_at", "note"}

const pgPeople = `create table %s (
	id bigint primary key, user_id text not null, name text not null, email text not null, country text not null,
	amount double precision not null, quantity integer not null, active boolean not null, created_at timestamptz not null, note text not null)`

// totals are sums over all columns of a table of persons.
type totals struct {
	rows, ids, text, cents, quantity, active, created int64
}

func (t *totals) add(p *people) {
	at, _ := time.Parse(time.RFC3339, p.created) // made by us
	t.rows++
	t.ids += p.made
	t.text += int64(len(p.userID) + len(p.name) + len(p.email) + len(p.country) + len(p.note))
	t.cents += int64(p.cents)
	t.quantity += int64(p.quantity)
	if p.active {
		t.active++
	}
	t.created += at.Unix()
}

// totalsOf returns the totals of n persons.
func totalsOf(n int) totals {
	var t totals
	for people := newPeople(); people.made < int64(n); {
		people.next()
		t.add(people)
	}
	return t
}

const pgTotals = `select count(*), coalesce(sum(id), 0)::bigint,
	coalesce(sum(octet_length(user_id) + octet_length(name) + octet_length(email) + octet_length(country) + octet_length(note)), 0)::bigint,
	coalesce(sum(round(amount * 100)), 0)::bigint, coalesce(sum(quantity), 0)::bigint, count(*) filter (where active),
	coalesce(sum(extract(epoch from created_at)), 0)::bigint from %s`

// pgServer is a connection for what stands around a run.
func pgServer() (*pgx.Conn, error) {
	if pgAddress() == "" {
		return nil, errNoPostgres
	}
	return pgx.Connect(context.Background(), pgAddress())
}

// withTable runs something with a table of persons of its own, which has rows of another table if one is named. What it holds afterwards is verified and the
// table is removed, outside of the time that counts.
func withTable(n int, like string, run func(table string) error) (outcome, error) {
	ctx := context.Background()
	c, err := pgServer()
	if err != nil {
		return outcome{}, err
	}
	defer c.Close(ctx)
	table := fmt.Sprintf("people_%d", time.Now().UnixNano())
	if _, err := c.Exec(ctx, fmt.Sprintf(pgPeople, table)); err != nil {
		return outcome{}, err
	}
	if like != "" {
		if _, err := c.Exec(ctx, "insert into "+table+" select * from "+like); err != nil {
			return outcome{}, err
		}
	}
	if _, err := c.Exec(ctx, "checkpoint"); err != nil { // each run finds the same
		return outcome{}, err
	}
	verify := func() error {
		c, err := pgServer()
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		want := totalsOf(n)
		var got totals
		err = c.QueryRow(ctx, fmt.Sprintf(pgTotals, table)).Scan(&got.rows, &got.ids, &got.text, &got.cents, &got.quantity, &got.active, &got.created)
		if err == nil && got != want {
			err = fmt.Errorf("the table holds %+v instead of %+v", got, want)
		}
		_, dropped := c.Exec(ctx, "drop table "+table)
		return errors.Join(err, dropped)
	}
	return outcome{verify: verify}, run(table)
}

// pgFilled is a table of n persons, which is made once.
type pgFilled struct {
	table string
	n     int
}

func (f *pgFilled) fill(n int) (string, error) {
	if f.n == n {
		return f.table, nil
	}
	ctx := context.Background()
	c, err := pgServer()
	if err != nil {
		return "", err
	}
	defer c.Close(ctx)
	if f.table != "" {
		if _, err := c.Exec(ctx, "drop table "+f.table); err != nil {
			return "", err
		}
	}
	f.table, f.n = fmt.Sprintf("people_full_%d", time.Now().UnixNano()), n
	if _, err := c.Exec(ctx, fmt.Sprintf(pgPeople, f.table)); err != nil {
		return "", err
	}
	people := newPeople()
	_, err = c.CopyFrom(ctx, pgx.Identifier{f.table}, personColumns, pgx.CopyFromFunc(func() ([]any, error) {
		if people.made == int64(n) {
			return nil, nil
		}
		people.next()
		at, err := time.Parse(time.RFC3339, people.created)
		return []any{
			people.made, people.userID, people.name, people.email, people.country, float64(people.cents) / 100, people.quantity, people.active, at, people.note,
		}, err
	}))
	if err == nil {
		_, err = c.Exec(ctx, "vacuum analyze "+f.table)
	}
	return f.table, err
}

// peopleRows reads a file of persons row by row, as code written by hand would.
type peopleRows struct {
	file io.Closer
	rows *csv.Reader
	vals []any
	left int // of the transaction
	err  error
	end  bool
}

func openPeople(path string) (*peopleRows, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r := &peopleRows{file: f, rows: csv.NewReader(bufio.NewReaderSize(f, copyBytes)), vals: make([]any, len(personColumns))}
	r.rows.ReuseRecord = true
	_, err = r.rows.Read() // the header
	return r, err
}

// Next implements pgx.CopyFromSource.
func (r *peopleRows) Next() bool {
	if r.left == 0 || r.end {
		return false
	}
	r.left--
	row, err := r.rows.Read()
	if err != nil {
		r.end = true
		if !errors.Is(err, io.EOF) {
			r.err = err
		}
		return false
	}
	id, err1 := strconv.ParseInt(row[0], 10, 64)
	amount, err2 := strconv.ParseFloat(row[5], 64)
	quantity, err3 := strconv.Atoi(row[6])
	active, err4 := strconv.ParseBool(row[7])
	created, err5 := time.Parse(time.RFC3339, row[8])
	r.vals[0], r.vals[1], r.vals[2], r.vals[3], r.vals[4] = id, row[1], row[2], row[3], row[4]
	r.vals[5], r.vals[6], r.vals[7], r.vals[8], r.vals[9] = amount, quantity, active, created, row[9]
	r.err = errors.Join(err1, err2, err3, err4, err5)
	return r.err == nil
}

// Values implements pgx.CopyFromSource.
func (r *peopleRows) Values() ([]any, error) { return r.vals, nil }

// Err implements pgx.CopyFromSource.
func (r *peopleRows) Err() error { return r.err }

// copyTransactions copies a file in transactions of pgRows, after a statement that is run once, if there is one.
func copyTransactions(path, first string, in func(ctx context.Context, tx pgx.Tx, rows *peopleRows) error) error {
	ctx := context.Background()
	c, err := pgServer()
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	if first != "" {
		if _, err := c.Exec(ctx, first); err != nil {
			return err
		}
	}
	rows, err := openPeople(path)
	if err != nil {
		return err
	}
	defer rows.file.Close()
	for !rows.end {
		rows.left = pgRows
		err := pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error { return in(ctx, tx, rows) })
		if err != nil {
			return err
		}
	}
	return nil
}
