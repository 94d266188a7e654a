package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/bohica-labs/dataweaver/retry"
)

// transaction is the transaction of a loader's connection.
//
// Its first batch needs no savepoint: undoing it is a ROLLBACK. Each later one is behind a savepoint, which takes the place of
// the one before, and is begun in the round trip that sends the batch.
type transaction struct {
	open   bool
	saved  bool // there is a savepoint
	serial int  // of this transaction, and of what is left of it after an undo
	typed  bool // types were made in it, which a rollback of all of it takes away
	ddl    bool // it has made what must not be rolled back by a Commit: a dry run's tables
}

const (
	beginSQL     = "BEGIN ISOLATION LEVEL READ COMMITTED"
	savepointSQL = "SAVEPOINT weaver"
	releaseSQL   = "RELEASE SAVEPOINT weaver"
	undoSQL      = "ROLLBACK TO SAVEPOINT weaver"
)

// begin are the statements in front of a batch.
func (tx *transaction) begin() []string {
	switch {
	case !tx.open:
		return []string{beginSQL}
	case tx.saved:
		return []string{releaseSQL, savepointSQL}
	}
	return []string{savepointSQL}
}

// counts is what was written since the last commit.
type counts struct {
	rows                       int // sent, of any kind
	inserted, updated, deleted int64
}

// flush sends what is staged. An error that is a data error leaves the loader well, and the transaction as it was before.
func (l *loader) flush(ctx context.Context) error {
	l.enter()
	first := l.first
	ctx, cancel := l.session.bound(ctx)
	defer cancel()
	before := l.counts
	err := l.send(ctx, l.tx.begin())
	l.entered = false
	if err == nil {
		l.tx.open, l.tx.saved = true, !first
		return nil
	}
	if ctx.Err() != nil || l.conn.IsClosed() {
		return err
	}
	l.counts = before
	if failed := l.undo(ctx, first); failed != nil {
		return failed // and so the writer is closed
	}
	var doubt *doubtError
	if errors.As(err, &doubt) {
		return l.resolve(ctx, doubt)
	}
	return err
}

// enter notes that a batch is being sent.
func (l *loader) enter() {
	if l.entered {
		return
	}
	l.entered, l.first = true, !l.tx.open
	if l.first {
		l.tx.serial++
	}
}

// undo undoes a batch.
func (l *loader) undo(ctx context.Context, first bool) error {
	sql := undoSQL
	if first {
		sql = "ROLLBACK"
		l.tx = transaction{serial: l.tx.serial}
	} else {
		l.tx.saved = true
	}
	l.tx.serial++ // a table that was locked since isn't any more
	_, err := l.exec(ctx, sql)
	return err
}

// send sends what is staged, behind the statements that begin it.
func (l *loader) send(ctx context.Context, begin []string) error {
	copies := false
	for _, g := range l.staging.segments[:l.staging.used] {
		if !g.plan.copy {
			continue
		}
		copies = true
		if err := l.sendCopy(ctx, begin, g); err != nil {
			return err
		}
		begin = nil
	}
	if copies && !l.hasRecords() {
		return nil
	}
	return l.sendRecords(ctx, begin)
}

func (l *loader) hasRecords() bool {
	for _, g := range l.staging.segments[:l.staging.used] {
		if !g.plan.copy {
			return true
		}
	}
	return false
}

// sendCopy sends a COPY in one round trip, or what is left of one that was begun.
func (l *loader) sendCopy(ctx context.Context, begin []string, g *segment) error {
	s := l.stream
	if s == nil {
		s = l.startCopy(ctx, l.copySQL(begin, g))
	}
	l.stream, l.given = nil, 0
	s.give(g.chunks[0].data(), io.EOF)
	tag, err := s.wait()
	if err != nil && context.Cause(s.ctx) != nil && ctx.Err() == nil && l.conn.IsClosed() {
		err = errors.Join(context.Cause(s.ctx), err)
	}
	if err != nil {
		return l.writing(ctx, err, g.plan)
	}
	g.plan.checked = l.tx.serial
	l.counts.rows += g.chunks[0].count
	l.counts.inserted += tag.RowsAffected()
	return nil
}

// copySQL is a COPY with all that comes before it.
//
// The data of a COPY says nothing of its types, and a table may be altered while nobody holds a lock. So the table is locked
// first, as the COPY would do, and then looked at.
func (l *loader) copySQL(begin []string, g *segment) string {
	if g.plan.checked != l.tx.serial {
		begin = append(begin, "LOCK TABLE "+l.tab.sql()+" IN ROW EXCLUSIVE MODE", "EXECUTE "+g.plan.name)
	}
	return strings.Join(append(begin, g.plan.sql), "; ")
}

// sendRecords sends all other statements, in one round trip.
func (l *loader) sendRecords(ctx context.Context, begin []string) error {
	pipe := l.conn.PgConn().StartPipeline(ctx)
	for _, sql := range begin {
		pipe.SendQueryParams(sql, nil, nil, nil, nil)
	}
	binary := []int16{formatBinary}
	var sent []*segment // of each statement
	_ = l.staging.ordered(func(g *segment) error {
		for i := range g.chunks[:g.used] {
			if c := &g.chunks[i]; !g.plan.copy && c.count > 0 {
				pipe.SendQueryPrepared(g.plan.name, [][]byte{c.array(g.plan.record)}, binary, nil)
				sent = append(sent, g)
				l.counts.rows += c.count
			}
		}
		return nil
	})
	err := pipe.Sync()
	var at *plan
	for i := 0; err == nil && i < len(begin)+len(sent); i++ {
		var g *segment
		if i >= len(begin) {
			g = sent[i-len(begin)]
			at = g.plan
		}
		err = l.result(pipe, g)
	}
	if closing := pipe.Close(); err == nil {
		err = closing
	}
	return l.writing(ctx, err, at)
}

// result reads what became of one statement of a pipeline; g is nil where it wrote nothing.
func (l *loader) result(pipe *pgconn.Pipeline, g *segment) error {
	r, err := pipe.GetResults()
	if err != nil {
		return err
	}
	reader, ok := r.(*pgconn.ResultReader)
	if !ok {
		return fmt.Errorf("postgres: a %T instead of a statement's result", r)
	}
	var inserted, all int64
	for reader.NextRow() {
		if v := reader.Values(); len(v) == 2 { // of a dry run
			inserted, all = number(v[0]), number(v[1])
		}
	}
	tag, err := reader.Close()
	switch {
	case err != nil || g == nil:
	case g.deletes:
		l.counts.deleted += tag.RowsAffected()
	case l.dry && l.mode == Upsert:
		l.counts.inserted += inserted
		l.counts.updated += all - inserted
	default:
		l.counts.inserted += tag.RowsAffected()
	}
	return err
}

func number(text []byte) (n int64) {
	for _, c := range text {
		n = 10*n + int64(c-'0')
	}
	return n
}

// writing is the error of writing a batch, as a plan says.
func (l *loader) writing(ctx context.Context, err error, p *plan) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	err = classify(fmt.Errorf("postgres: writing to %s: %w", l.tab, err))
	switch state := sqlState(err); {
	case state == codeUndefinedTable, state == codeUndefinedColumn, state == codeNotSupported, state == codeDatatype,
		state == codeDivisionByZero && p != nil && p.copy && p.checked != l.tx.serial:
		return &doubtError{err}
	}
	return err
}

// doubtError is an error that a table makes which isn't any more what it was.
type doubtError struct{ error }

func (e *doubtError) Unwrap() error { return e.error }

// resolve looks what became of the table after an error that says that it may have been altered. If it was, the pipeline
// opens the writer again, and Open says whether that is the end of it. If it wasn't, the error is what it is.
func (l *loader) resolve(ctx context.Context, err *doubtError) error {
	now, looking := describe(ctx, l.conn, l.tab.schema, l.tab.name)
	switch {
	case errors.Is(looking, errNoTable):
		return retry.Fatal(fmt.Errorf("postgres: %s was dropped or renamed while it was written to: %w", l.tab, err.error))
	case looking != nil:
		return looking
	case now.oid == l.tab.oid && slices.Equal(now.columns, l.tab.columns):
		return err.error
	}
	return retry.Transient(fmt.Errorf("postgres: %s was altered while it was written to: %w", l.tab, err.error))
}
