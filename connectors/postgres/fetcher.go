package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
	"github.com/bohica-labs/dataweaver/row"
)

// Bounds of what is kept in memory.
const (
	blockBytes  = 256 << 10              // of a block, but for one row
	maxBlocks   = 32                     // that exist at a time
	memoryBytes = maxBlocks * blockBytes // of those that wait for the reader, but for one
	pageBytes   = 4 << 20                // that a page is meant to have at most
	firstPage   = 500                    // rows, while nobody knows how wide they are
)

// fetcher asks for pages ahead of the reader that decodes them. Its goroutine, run, owns all but what is said otherwise.
type fetcher struct {
	o      *origin
	log    *slog.Logger
	conn   *pgx.Conn
	start  tables.Position
	layout *layout

	following bool
	at        []row.Value // the last row fetched, in its order
	horizon   row.Value
	average   int    // bytes of a row, of the last page; 0: not known
	pageBytes int    // of the page so far
	key       []byte // what the last row is ordered by, on the wire
	before    []byte // and the one before

	full     chan *block   // to the reader; closed at the end
	free     chan *block   // back
	spare    []*block      // blocks that came back
	memory   atomic.Int64  // bytes of blocks that wait for the reader, or that it reads
	blocks   int           // that were made
	err      error         // why it has ended; for the reader once full is closed
	wake     chan struct{} // something may be new
	finish   atomic.Bool   // Finish was called; by anyone
	caughtUp atomic.Bool   // all that there was had been fetched when it looked last
	stop     context.CancelFunc
	stopped  chan struct{} // closed when run has returned; nil: it wasn't started
}

// open connects, and finds out what to read from where.
func (o *origin) open(ctx context.Context, bounds tables.Range, at []byte, log *slog.Logger) (*fetcher, error) {
	start := tables.Position{Range: bounds}
	if at != nil {
		var err error
		if start, err = tables.ParsePosition(at); err != nil {
			return nil, retry.Fatal(fmt.Errorf("postgres: reading %s: %w", o, err))
		}
		if !start.Range.Equal(bounds) {
			return nil, retry.Fatal(fmt.Errorf("postgres: reading %s: the ranges of keys are others than when the checkpoint was made: set Plan to a checkpoint store, which keeps them, and begin anew without the checkpoint", o))
		}
	}
	conn, err := o.db.connect(ctx, o.session)
	if err != nil {
		return nil, err
	}
	f := &fetcher{
		o: o, log: log, conn: conn, start: start, at: start.At, following: start.Following,
		full: make(chan *block, maxBlocks), free: make(chan *block, maxBlocks), wake: make(chan struct{}, 1),
	}
	if err := f.prepare(ctx, at != nil); err != nil {
		release(conn)
		return nil, err
	}
	return f, nil
}

func (f *fetcher) prepare(ctx context.Context, resumes bool) error {
	rel, err := f.o.describe(ctx, f.conn)
	if err != nil {
		return err
	}
	named := *f.o
	named.Cursor = named.CursorOf(rel.rows(), rel.key) // for good, whatever the key becomes
	f.o = &named
	if f.layout, err = f.o.layout(rel); err != nil {
		return err
	}
	if len(f.start.Range.Last) == 0 { // NULL comes last: one of the ranges looks
		if err := f.o.checkNulls(ctx, f.conn, rel); err != nil {
			return err
		}
	}
	if f.o.Follow {
		if err := f.checkFollow(ctx); err != nil {
			return err
		}
	}
	if !resumes {
		f.following = f.o.Follow && f.o.Ranges == 1
	}
	if len(f.start.Horizon) > 0 {
		f.horizon = f.start.Horizon[0]
	}
	if f.following && !f.o.Follow {
		return retry.Fatal(fmt.Errorf("postgres: the checkpoint was made with Follow, by the order of a cursor: set Follow, or begin %s anew without the checkpoint", f.o))
	}
	if f.o.Follow && !f.following && f.horizon.IsNull() && resumes {
		return retry.Fatal(fmt.Errorf("postgres: the checkpoint was made without Follow: it doesn't say from where to follow %s; begin anew without it", f.o))
	}
	return f.checkKinds()
}

// checkKinds refuses a position whose values aren't what the columns are: their order is another one now.
func (f *fetcher) checkKinds() error {
	check := func(fields []int, values []row.Value) error {
		if len(values) > len(fields) {
			return retry.Fatal(fmt.Errorf("postgres: the checkpoint was made with another Key or Cursor than %s is read by now: begin anew without it", f.o))
		}
		for i, v := range values {
			if c := f.layout.fields[fields[i]]; v.Kind() != c.kind {
				return retry.Fatal(fmt.Errorf("postgres: column %s of %s is %s now, and was %v when the checkpoint was made, in whose order the table was read: begin anew without it", tables.Brief(c.name), f.o, c.typ, v.Kind()))
			}
		}
		return nil
	}
	for _, values := range [][]row.Value{f.start.Range.After, f.start.Range.Last} {
		if err := check(f.layout.Key, values); err != nil {
			return err
		}
	}
	if !f.horizon.IsNull() {
		if err := check([]int{f.layout.Cursor}, []row.Value{f.horizon}); err != nil {
			return err
		}
	}
	return check(f.layout.Order(f.following), f.at)
}

// begin starts to fetch. end ends it.
func (f *fetcher) begin() {
	ctx, stop := context.WithCancel(context.Background())
	f.stop, f.stopped = stop, make(chan struct{})
	go func() {
		defer close(f.stopped)
		f.err = f.run(ctx)
		close(f.full)
	}()
}

// end stops fetching and closes the connection.
func (f *fetcher) end() {
	if f.stopped != nil {
		f.stop()
		<-f.stopped
	}
	release(f.conn)
}

// release closes a connection and waits for what pgconn does about it.
func release(conn *pgx.Conn) {
	hangUp(conn)
	select {
	case <-conn.PgConn().CleanupDone():
	case <-time.After(timeoutMargin):
	}
}

func (f *fetcher) run(ctx context.Context) error {
	switch {
	case !f.o.Follow:
		return f.pages(ctx)
	case f.o.notify != "":
		l := listener{db: f.o.db, session: f.o.session, channel: f.o.notify, wake: f.wake, log: f.log}
		done := make(chan struct{})
		listening, stop := context.WithCancel(ctx)
		go func() {
			defer close(done)
			l.run(listening)
		}()
		defer func() {
			stop()
			<-done
		}()
	}
	return f.follow(ctx)
}

// pages fetches all pages.
func (f *fetcher) pages(ctx context.Context) error {
	for failures := 0; ; {
		limit := f.limit()
		n, err := f.page(ctx, limit)
		var changed *changedError
		switch {
		case errors.As(err, &changed):
			if failures++; failures > 3 {
				return sourceError(changed.err)
			}
			if err := f.refresh(ctx, changed.err); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		failures = 0
		if n < limit {
			return nil
		}
	}
}

// limit is how many rows the next page may have.
func (f *fetcher) limit() int {
	if f.average == 0 {
		return min(firstPage, f.o.pageRows)
	}
	return min(max(pageBytes/f.average, 1), f.o.pageRows)
}

// changedError says that the table may be another one than it was.
type changedError struct{ err error }

func (e *changedError) Error() string { return e.err.Error() }
func (e *changedError) Unwrap() error { return e.err }

var errLayout = errors.New("postgres: the columns have changed")

// page fetches one page and returns how many rows it had. Nothing of it has gone to the reader if the error is a changedError.
func (f *fetcher) page(ctx context.Context, limit int) (int, error) {
	ctx, cancel := f.o.session.bound(ctx)
	defer cancel()
	p := page{layout: f.layout, following: f.following, at: f.at, bounds: f.start.Range, horizon: f.horizon, limit: limit}
	if !f.layout.rel.unique {
		p.limit++ // to see whether the next page's first row has this one's last key
	}
	sql, args, err := p.sql()
	if err != nil {
		return 0, retry.Fatal(err)
	}
	result := f.conn.PgConn().ExecParams(ctx, sql, args.values, args.oids, args.formats, f.layout.formats)
	if fields := result.FieldDescriptions(); fields != nil && !f.layout.fits(fields) {
		if _, err := result.Close(); err != nil { // its rows aren't of use
			return 0, f.failed(ctx, err, 0)
		}
		return 0, &changedError{errLayout}
	}
	f.pageBytes, f.key = 0, f.key[:0]
	rows := pageRows{f: f, limit: limit}
	for err == nil && result.NextRow() {
		err = rows.add(ctx, result.Values())
	}
	if err != nil {
		cancel()
		_, _ = result.Close() // it is given up
		return 0, err
	}
	if _, err := result.Close(); err != nil {
		return 0, f.failed(ctx, err, rows.n)
	}
	return rows.n, rows.end()
}

// failed returns what an error of a page comes to, of which n rows are handed over.
func (f *fetcher) failed(ctx context.Context, err error, n int) error {
	if n == 0 && mayHaveChanged(err) {
		return &changedError{fmt.Errorf("postgres: reading %s: %w", f.o, err)}
	}
	if cause := context.Cause(ctx); cause != nil && sqlState(err) == "" {
		return fmt.Errorf("postgres: reading %s: %w", f.o, cause)
	}
	return sourceError(fmt.Errorf("postgres: reading %s: %w", f.o, err))
}

// refresh looks at the table anew, because of an error.
func (f *fetcher) refresh(ctx context.Context, because error) error {
	rel, err := f.o.describe(ctx, f.conn)
	if err != nil {
		if errors.Is(err, errNoTable) {
			return retry.Fatal(fmt.Errorf("%w (it was there: it is dropped, renamed or moved by now)", err))
		}
		return err
	}
	l, err := f.o.layout(rel)
	if err != nil {
		return err
	}
	if !l.same(f.layout) {
		f.log.Info("the columns of a table have changed", "source", f.o.String(), "why", because.Error())
	}
	f.layout = l
	if f.o.Follow {
		if err := f.checkFollow(ctx); err != nil {
			return err
		}
	}
	return f.checkKinds()
}

// sourceError classifies an error of a source's session, which only reads: whatever wants to write there is wrong.
func sourceError(err error) error {
	if sqlState(err) == "25006" {
		return retry.Fatal(err)
	}
	return classify(err)
}
