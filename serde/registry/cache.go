package registry

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// cache keeps what lookups have found, up to size of it, and makes one lookup of those for the same at the same time. It is safe for concurrent use.
type cache struct {
	size    int
	missing time.Duration // how long it is remembered that there is nothing

	mu      sync.Mutex
	entries map[key]*list.Element // of *entry
	recent  list.List             // the entry used last is in front
	flights map[key]*flight
}

// key is what is looked up.
type key struct {
	what    what
	id      int // of a schema, or a version
	subject string
	text    string // of a schema, and its references
}

type what uint8

const (
	byID what = iota
	byVersion
	byLatest
	byText
	registered
)

type entry struct {
	key    key
	schema *Schema
	err    error
	until  time.Time // zero: for ever
}

// flight is a lookup that is on its way.
type flight struct {
	done   chan struct{} // closed behind the rest
	schema *Schema
	err    error
	gone   bool // whoever made it gave up: somebody else has to
}

// freshLatest is how long the latest schema of a subject is believed to be the latest.
const freshLatest = time.Minute

func (c *cache) get(ctx context.Context, k key, fetch func(context.Context) (*Schema, error)) (*Schema, error) {
	for {
		c.mu.Lock()
		if e := c.find(k); e != nil {
			c.mu.Unlock()
			return e.schema, e.err
		}
		f := c.flights[k]
		if f == nil {
			f = &flight{done: make(chan struct{}), gone: true}
			if c.flights == nil {
				c.flights = map[key]*flight{}
			}
			c.flights[k] = f
			c.mu.Unlock()
			c.fly(ctx, k, f, fetch)
			return f.schema, f.err
		}
		c.mu.Unlock()
		select {
		case <-f.done:
			if !f.gone {
				return f.schema, f.err
			}
		case <-ctx.Done():
			return nil, (&attempt{}).failed("waiting for another lookup", "", ctx.Err())
		}
	}
}

// fly makes the lookup and tells those who wait, whatever becomes of it.
func (c *cache) fly(ctx context.Context, k key, f *flight, fetch func(context.Context) (*Schema, error)) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.flights, k)
		if !f.gone {
			c.keep(k, f)
		}
		close(f.done)
	}()
	f.schema, f.err = fetch(ctx)
	f.gone = errors.Is(ctx.Err(), context.Canceled)
}

// find returns an entry that is still good. The lock is held.
func (c *cache) find(k key) *entry {
	at := c.entries[k]
	if at == nil {
		return nil
	}
	e, _ := at.Value.(*entry)
	if !e.until.IsZero() && !time.Now().Before(e.until) {
		c.recent.Remove(at)
		delete(c.entries, k)
		return nil
	}
	c.recent.MoveToFront(at)
	return e
}

// keep takes the outcome of a lookup in. The lock is held.
func (c *cache) keep(k key, f *flight) {
	e := &entry{key: k, schema: f.schema, err: f.err}
	switch {
	case f.err != nil && !errors.Is(f.err, ErrNotFound):
		return
	case f.err != nil:
		e.until = time.Now().Add(c.missing)
	case k.what == byLatest:
		e.until = time.Now().Add(freshLatest)
	}
	if c.entries == nil {
		c.entries = map[key]*list.Element{}
	}
	c.entries[k] = c.recent.PushFront(e)
	for c.recent.Len() > c.size {
		oldest := c.recent.Back()
		last, _ := c.recent.Remove(oldest).(*entry)
		delete(c.entries, last.key)
	}
}
