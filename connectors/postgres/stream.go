package postgres

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// stream is a COPY under way, whose data is sent while more of it is encoded: the server works beside us.
type stream struct {
	ctx    context.Context //nolint:containedctx // of the COPY, which ends before Write does
	cancel context.CancelFunc
	done   chan struct{}
	tag    pgconn.CommandTag // when done is closed
	err    error

	mu    sync.Mutex
	more  sync.Cond
	data  []byte // so far; what is in it isn't changed any more
	ended error  // io.EOF: that is all of it; another one: it is given up
	read  int    // of data, Read's own
}

// streamBytes is how much is encoded before it is sent.
const streamBytes = 64 << 10

var errWithdrawn = errors.New("a record of the batch can't be written")

// startCopy begins a COPY, in one round trip with the statements before it. It is the connection's only use until wait returns.
func (l *loader) startCopy(ctx context.Context, sql string) *stream {
	s := &stream{done: make(chan struct{})}
	s.more.L = &s.mu
	s.ctx, s.cancel = l.session.bound(ctx)
	go func() {
		defer close(s.done)
		s.tag, s.err = l.conn.PgConn().CopyFrom(s.ctx, s, sql)
	}()
	return s
}

// give gives the COPY what there is of its data; ended is nil as long as there may be more.
func (s *stream) give(data []byte, ended error) {
	s.mu.Lock()
	s.data, s.ended = data, ended
	s.mu.Unlock()
	s.more.Signal()
}

// wait returns what has become of the COPY, whose data has ended.
func (s *stream) wait() (pgconn.CommandTag, error) {
	<-s.done
	s.cancel()
	return s.tag, s.err
}

// Read implements io.Reader for the connection.
func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	for s.read == len(s.data) && s.ended == nil {
		s.more.Wait()
	}
	data, ended := s.data, s.ended
	s.mu.Unlock()
	if s.read >= len(data) {
		return 0, ended
	}
	n := copy(p, data[s.read:])
	s.read += n
	return n, nil
}

// ahead sends what is encoded of a batch that isn't complete. It may only be called where no other use is made of the connection until
// flush or withdraw.
func (l *loader) ahead(ctx context.Context) {
	if l.staging.used != 1 {
		return
	}
	g := l.staging.segments[0]
	if !g.plan.copy || len(g.chunks[0].buf) < l.given+streamBytes {
		return
	}
	if l.stream == nil {
		l.enter()
		l.stream = l.startCopy(ctx, l.copySQL(l.tx.begin(), g))
	}
	l.given = len(g.chunks[0].buf)
	l.stream.give(g.chunks[0].buf, nil)
}

// withdraw undoes what was sent ahead of a batch that isn't to be written.
func (l *loader) withdraw(ctx context.Context) error {
	if l.stream == nil {
		return nil
	}
	l.stream.give(nil, errWithdrawn)
	_, err := l.stream.wait()
	l.stream, l.given, l.entered = nil, 0, false
	if l.conn.IsClosed() {
		return err
	}
	bounded, cancel := l.session.bound(ctx)
	defer cancel()
	return l.undo(bounded, l.first)
}

var _ io.Reader = (*stream)(nil)
