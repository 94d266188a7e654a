package sqldb

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/checkpoint"
	"github.com/bohica-labs/dataweaver/internal/tables"
	"github.com/bohica-labs/dataweaver/retry"
)

// The checkpoints are rows of a table: a key, a version, and the value. A Store and the writers of a Sink have the same table and
// the same keys: a Store sees what a Sink has committed. For PostgreSQL it is the table that package postgres has.

// storedKey is what is in the column for a key: the key, or of a long one its beginning and its SHA-256, which no short one is.
func (db *Database) storedKey(key string) []byte {
	most := db.dialect.Traits().Key
	if len(key) <= most {
		return append(make([]byte, 0, len(key)+1), key...)
	}
	sum := sha256.Sum256([]byte(key))
	return append([]byte(key[:most]), sum[:]...)
}

// fence is a writer's hold on its checkpoint.
type fence struct {
	id       []byte
	restored bool
	version  int64  // of the checkpoint, as this writer has made it
	owner    string // what identifies this writer's connection; "": nothing does
}

// ledger is the table of checkpoints.
type ledger struct {
	db     *Database
	quoted string
	name   string
	key    string // the column
	owned  bool   // it has a column for owners
}

func (db *Database) ledger(name string) (*ledger, error) {
	quoted, err := db.quote("Checkpoints", name)
	if err != nil {
		return nil, err
	}
	key, err := db.quote("the column", "key")
	return &ledger{db: db, quoted: quoted, name: name, key: key}, err
}

// p is the nth placeholder.
func (l *ledger) p(n int) string { return l.db.dialect.Placeholder(n) }

// entry is a row of the table.
type entry struct {
	version int64
	value   []byte // nil: NULL
	owner   string
}

// load looks an entry up.
func (l *ledger) load(ctx context.Context, c *connection, id []byte) (e entry, found bool, err error) {
	var null int
	var owner sql.NullString
	column := "NULL"
	if l.owned {
		column = "owner"
	}
	found, err = c.one(ctx, "SELECT version, value, CASE WHEN value IS NULL THEN 1 ELSE 0 END, "+column+" FROM "+l.quoted+" WHERE "+l.key+" = "+l.p(1), []any{id}, &e.version, &e.value, &null, &owner)
	e.owner = owner.String
	switch {
	case null == 1 || !found:
		e.value = nil
	case e.value == nil:
		e.value = []byte{}
	}
	return e, found, err
}

// insert adds the first version of an entry. Exists: somebody else has.
func (l *ledger) insert(ctx context.Context, c *connection, id []byte, e entry) (exists bool, err error) {
	names, marks, args := l.key+", version, value", l.p(1)+", "+l.p(2)+", "+l.p(3), []any{id, e.version, blob(e.value)}
	if l.owned {
		names, marks, args = names+", owner", marks+", "+l.p(4), append(args, nullable(e.owner))
	}
	_, err = c.exec(ctx, "INSERT INTO "+l.quoted+" ("+names+") VALUES ("+marks+")", args...)
	if err != nil && retry.ClassOf(err) == retry.ClassPoison {
		if _, found, e := l.load(ctx, c, id); e == nil && found {
			return true, nil
		}
	}
	return false, err
}

// blob keeps an empty value from being NULL.
func blob(p []byte) any {
	if p == nil {
		return nil
	}
	return p
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// exec carries out a statement about one row and reports whether there was one.
func (l *ledger) exec(ctx context.Context, c *connection, query string, args ...any) (bool, error) {
	result, err := c.exec(ctx, query, args...)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// ensure creates the table if it isn't there.
func (l *ledger) ensure(ctx context.Context, c *connection) error {
	there, err := l.look(ctx, c)
	if err != nil || there {
		return err
	}
	_, failed := c.exec(ctx, l.db.dialect.Checkpoints(l.quoted))
	if there, err := l.look(ctx, c); err == nil && there { // maybe another has created it at the same time, with an error for us
		return nil
	}
	return fmt.Errorf("sqldb: creating the table of checkpoints %s: %w", l.quoted, failed)
}

// look looks whether the table is there.
func (l *ledger) look(ctx context.Context, c *connection) (bool, error) {
	table, err := l.db.describe(ctx, c, "", l.name)
	if err != nil || table == nil {
		return false, err
	}
	for _, name := range []string{"key", "version", "value"} {
		if table.Column(name) == nil {
			return false, retry.Fatal(fmt.Errorf("sqldb: %s is no table of checkpoints, for it has no column %s: name another one by Checkpoints", l.quoted, tables.Brief(name)))
		}
	}
	l.owned = table.Column("owner") != nil
	return true, nil
}

// restore takes the checkpoint over: whoever had it before can't commit any more. It returns the last value.
func (t *target) restore(ctx context.Context, f *fence) ([]byte, error) {
	l, err := t.db.ledger(t.checkpoints)
	if err != nil {
		return nil, err
	}
	if t.dryRun {
		return t.peek(ctx, l, f)
	}
	if err := l.ensure(ctx, t.conn); err != nil {
		return nil, err
	}
	killer, _ := t.db.dialect.(Killer)
	if killer != nil && l.owned {
		if f.owner, err = killer.Owner(ctx, t.conn.Conn); err != nil {
			return nil, t.db.classify(fmt.Errorf("sqldb: asking who this connection is: %w", err))
		}
	}
	// Whoever is between a statement and its COMMIT holds the row: the update waits for that, and then sees another version.
	for {
		e, found, err := l.load(ctx, t.conn, f.id)
		if err != nil {
			return nil, fmt.Errorf("sqldb: reading checkpoints %s: %w", l.quoted, err)
		}
		if !found {
			exists, err := l.insert(ctx, t.conn, f.id, entry{version: 1, owner: f.owner})
			if err != nil {
				return nil, fmt.Errorf("sqldb: writing checkpoints %s: %w", l.quoted, err)
			}
			if exists {
				continue
			}
			f.restored, f.version = true, 1
			return nil, nil
		}
		set, args := "version = version + 1", []any(nil)
		if l.owned {
			set, args = set+", owner = "+l.p(1), []any{nullable(f.owner)}
		}
		n := len(args)
		taken, err := l.exec(ctx, t.conn, "UPDATE "+l.quoted+" SET "+set+" WHERE "+l.key+" = "+l.p(n+1)+" AND version = "+l.p(n+2), append(args, f.id, e.version)...)
		if killer != nil && e.owner != "" && e.owner != f.owner && (taken || err != nil) {
			t.kill(ctx, killer, e.owner)
		}
		if err != nil {
			return nil, fmt.Errorf("sqldb: writing checkpoints %s: %w", l.quoted, err)
		}
		if taken {
			f.restored, f.version = true, e.version+1
			return e.value, nil
		}
	}
}

// kill ends the connection of the earlier owner, which may hold locks. It need not succeed.
func (t *target) kill(ctx context.Context, k Killer, owner string) {
	ctx, cancel := context.WithTimeout(ctx, timeoutMargin)
	defer cancel()
	if err := k.Kill(ctx, t.conn.Conn, owner); err != nil {
		t.log.Debug("the connection of the earlier writer couldn't be ended", "error", err)
	}
}

// peek returns the value without taking the checkpoint over, for a dry run.
func (t *target) peek(ctx context.Context, l *ledger, f *fence) ([]byte, error) {
	f.restored = true
	if there, err := l.look(ctx, t.conn); err != nil || !there {
		return nil, err
	}
	e, _, err := l.load(ctx, t.conn, f.id)
	return e.value, err
}

// advance writes the next version of the checkpoint, in the open transaction. If somebody else has taken it over, nothing of
// the transaction may be committed: the error is weaver.ErrFenced.
func (t *target) advance(ctx context.Context, f *fence, envelope []byte) error {
	l, err := t.db.ledger(t.checkpoints)
	if err != nil {
		return err
	}
	if envelope == nil {
		envelope = []byte{}
	}
	ours, err := l.exec(ctx, t.conn, "UPDATE "+l.quoted+" SET version = version + 1, value = "+l.p(1)+" WHERE "+l.key+" = "+l.p(2)+" AND version = "+l.p(3), envelope, f.id, f.version)
	if err != nil {
		if retry.ClassOf(err) == retry.ClassPoison { // it is no record's fault
			err = retry.Fatal(err)
		}
		return fmt.Errorf("sqldb: writing %d bytes to checkpoints %s: %w", len(envelope), l.quoted, err)
	}
	if !ours {
		return fmt.Errorf("sqldb: writing to table %s: %w", t.quoted, weaver.ErrFenced)
	}
	return nil
}

// fenced looks whether a connection was lost because another writer has taken over, which ends it: then the error says so.
func (w *writer[T]) fenced(ctx context.Context, err error) error {
	_, kills := w.db.dialect.(Killer)
	class := retry.ClassOf(err)
	if !kills || !w.fence.restored || w.dryRun || w.fence.owner == "" || errors.Is(err, weaver.ErrFenced) || class == retry.ClassPoison || class == retry.ClassFatal || ctx.Err() != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	l, e := w.db.ledger(w.checkpoints)
	if e != nil {
		return err
	}
	c, e := w.db.connect(ctx, w.limits, false)
	if e != nil {
		return err
	}
	defer func() { _ = c.release() }()
	l.owned = true // as this writer has an owner
	now, found, e := l.load(ctx, c, w.fence.id)
	if e == nil && found && now.owner != w.fence.owner {
		return fmt.Errorf("%w: %w", weaver.ErrFenced, err)
	}
	return err
}

// Store is a checkpoint.Store in a table. It is safe for concurrent use, and by other processes.
type Store struct {
	// Table is the table, which is created if it isn't there; default weaver_checkpoints, as [Sink.Checkpoints].
	Table string
	// StatementTimeout bounds each statement; default 5 min.
	StatementTimeout time.Duration
	// LockTimeout bounds waiting for a lock; default 30 s.
	LockTimeout time.Duration
	// ConnectTimeout bounds waiting for a connection of the pool; default 10 s.
	ConnectTimeout time.Duration

	db *Database
}

var _ checkpoint.Store = (*Store)(nil)

// NewStore returns a Store in a database. Each call takes a connection out of the pool.
func NewStore(db *Database) *Store { return &Store{db: db} }

// with calls f with a connection, and the table there.
func (s *Store) with(ctx context.Context, key string, value []byte, f func(*ledger, *connection, []byte) error) error {
	switch {
	case len(key) > checkpoint.MaxKeyBytes:
		return retry.Fatal(fmt.Errorf("sqldb: a key of %d bytes, %d are allowed", len(key), checkpoint.MaxKeyBytes))
	case len(value) > checkpoint.MaxValueBytes:
		return retry.Fatal(fmt.Errorf("sqldb: the value of key %s has %d bytes, %d are allowed", tables.Brief(key), len(value), checkpoint.MaxValueBytes))
	}
	name := s.Table
	if name == "" {
		name = defaultCheckpoints
	}
	l, err := s.db.ledger(name)
	if err != nil {
		return err
	}
	c, err := s.db.connect(ctx, limits{s.ConnectTimeout, s.StatementTimeout, s.LockTimeout}, true)
	if err != nil {
		return err
	}
	err = l.ensure(ctx, c)
	if err == nil {
		err = f(l, c, s.db.storedKey(key))
	}
	return errors.Join(err, c.release())
}

// Load implements checkpoint.Store.
func (s *Store) Load(ctx context.Context, key string) ([]byte, checkpoint.Version, error) {
	var e entry
	err := s.with(ctx, key, nil, func(l *ledger, c *connection, id []byte) (err error) {
		e, _, err = l.load(ctx, c, id)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("sqldb: loading checkpoint %s: %w", tables.Brief(key), err)
	}
	return e.value, checkpoint.Version(e.version), nil
}

// Save implements checkpoint.Store.
func (s *Store) Save(ctx context.Context, key string, value []byte, v checkpoint.Version) (checkpoint.Version, error) {
	if value == nil {
		value = []byte{}
	}
	err := s.with(ctx, key, value, func(l *ledger, c *connection, id []byte) error {
		saved := false
		switch {
		case v < 0:
		case v == 0:
			exists, err := l.insert(ctx, c, id, entry{version: 1, value: value})
			if err != nil {
				return err
			}
			saved = !exists
		default:
			var err error
			if saved, err = l.exec(ctx, c, "UPDATE "+l.quoted+" SET version = version + 1, value = "+l.p(1)+" WHERE "+l.key+" = "+l.p(2)+" AND version = "+l.p(3), value, id, int64(v)); err != nil {
				return err
			}
		}
		if !saved {
			return fmt.Errorf("upon version %d: %w", v, checkpoint.ErrConflict)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("sqldb: saving checkpoint %s: %w", tables.Brief(key), err)
	}
	return v + 1, nil
}
