package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/weavertest"
)

// cut says where a connection is lost.
type cut int

const (
	never cut = iota
	beforeCommit
	afterCommit
)

// cutter opens connections of another pool's driver and loses them at a COMMIT: before it has reached the database, or before the
// reply has come back.
type cutter struct {
	driver.Connector
	mu      sync.Mutex
	commits int
	cuts    map[cut]int
}

// newCutter returns a pool of connections that are cut.
func newCutter(p *place) (*cutter, *sql.DB) {
	p.t.Helper()
	c := &cutter{Connector: &dialer{p.pool.Driver(), p.url}, cuts: map[cut]int{}}
	pool := sql.OpenDB(c)
	p.t.Cleanup(func() { require.NoError(p.t, pool.Close()) })
	return c, pool
}

// dialer is a driver.Connector for drivers without one.
type dialer struct {
	driver driver.Driver
	dsn    string
}

func (d *dialer) Connect(context.Context) (driver.Conn, error) { return d.driver.Open(d.dsn) }
func (d *dialer) Driver() driver.Driver                        { return d.driver }

func (c *cutter) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &cuttable{Conn: conn, cutter: c}, nil
}

// next says what becomes of a commit.
func (c *cutter) next() cut {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commits++
	at := [...]cut{never, afterCommit, beforeCommit, never}[c.commits%4]
	c.cuts[at]++
	return at
}

// cuttable is a connection that may be lost.
type cuttable struct {
	driver.Conn
	cutter *cutter
	lost   bool
}

// IsValid implements driver.Validator.
func (c *cuttable) IsValid() bool { return !c.lost }

// CheckNamedValue implements driver.NamedValueChecker.
func (c *cuttable) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *cuttable) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if c.lost {
		return nil, io.ErrUnexpectedEOF
	}
	return c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
}

// QueryContext implements driver.QueryerContext.
func (c *cuttable) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if c.lost {
		return nil, io.ErrUnexpectedEOF
	}
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

// ExecContext implements driver.ExecerContext.
func (c *cuttable) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if c.lost {
		return nil, io.ErrUnexpectedEOF
	}
	exec := c.Conn.(driver.ExecerContext).ExecContext
	if query != "COMMIT" {
		return exec(ctx, query, args)
	}
	at := c.cutter.next()
	if at == beforeCommit {
		c.lost = true
		return nil, io.ErrUnexpectedEOF
	}
	result, err := exec(ctx, query, args)
	if at == afterCommit && err == nil {
		c.lost = true
		return nil, io.ErrUnexpectedEOF
	}
	return result, err
}

// A connection that is lost at its COMMIT leaves open whether that was carried out: each row is there once all the same.
func TestCommitsAreCut(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, p *place) {
		const n = 2_000
		type line struct{ N int64 }
		p.exec("CREATE TABLE sums (n BIGINT NOT NULL)") // without a key: what is written twice is there twice
		cutter, pool := newCutter(p)
		source := weavertest.NewSource[line]()
		for i := range int64(n) {
			source.Add("", weaver.Record[line]{Value: line{i}})
		}
		s := NewSink[line](Open(pool, p.db.dialect), "sums")
		s.Mode, s.CommitRows = Insert, 40
		pipe := quick(weaver.Copy(source, s))
		pipe.Name, pipe.BatchSize, pipe.Require = "cut", 20, weaver.ExactlyOnce
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // one that begins anew again and again never ends
		defer cancel()
		require.NoError(t, pipe.Run(ctx))
		require.NoError(t, source.Check())
		require.Equal(t, []string{"2000|2000|0|1999"}, p.lines("SELECT COUNT(*), COUNT(DISTINCT n), MIN(n), MAX(n) FROM sums"))
		cutter.mu.Lock()
		defer cutter.mu.Unlock()
		require.GreaterOrEqual(t, cutter.cuts[beforeCommit], 10)
		require.GreaterOrEqual(t, cutter.cuts[afterCommit], 10)
	})
}
