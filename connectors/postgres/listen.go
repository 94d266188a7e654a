package postgres

import (
	"context"
	"log/slog"
	"time"
)

// How a listener comes back, and how often it asks whether its connection is still one.
const (
	firstReconnect = 100 * time.Millisecond
	lastReconnect  = 30 * time.Second
	listenPing     = 30 * time.Second
)

// listener waits for notifications on a connection of its own. Without one, the table is polled all the same.
type listener struct {
	db      Database
	session session
	channel string
	wake    chan<- struct{}
	log     *slog.Logger
}

// run listens until ctx ends.
func (l *listener) run(ctx context.Context) {
	wait := firstReconnect
	for {
		began := time.Now()
		err := l.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > lastReconnect {
			wait = firstReconnect
		}
		l.log.Warn("no notifications from PostgreSQL for now: the table is polled", "channel", l.channel, "again in", wait, "error", err)
		if sleep(ctx, wait) != nil {
			return
		}
		wait = min(2*wait, lastReconnect)
	}
}

// listen listens until an error.
func (l *listener) listen(ctx context.Context) error {
	conn, err := l.db.connect(ctx, l.session)
	if err != nil {
		return err
	}
	defer release(conn)
	pg := conn.PgConn()
	do := func(sql string) error {
		bounded, cancel := l.session.bound(ctx)
		defer cancel()
		_, err := pg.Exec(bounded, sql).ReadAll()
		return err
	}
	if err := do("LISTEN " + quote(l.channel)); err != nil {
		return err
	}
	for {
		select {
		case l.wake <- struct{}{}: // also at first: what was notified before is lost
		default:
		}
		err := l.notified(ctx, pg.WaitForNotification)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			if pg.IsClosed() {
				return err
			}
			if err := do("SELECT 1"); err != nil { // is there anyone?
				return err
			}
		}
	}
}

// notified waits for a notification, for a while.
func (l *listener) notified(ctx context.Context, wait func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, listenPing)
	defer cancel()
	return wait(ctx)
}
