package postgres

import "github.com/bohica-labs/dataweaver/row"

// staging is a batch, encoded before any of it is sent: what can't be written is known by then.
//
// It is a list of segments, each of which becomes a statement. Those of one epoch have no key in common, so that they can be
// sent in any order: deletes first, since what is inserted may have their places in other unique indexes. Where a key comes
// again, the last record wins and the other one is dropped. That isn't so if a row is deleted and then comes again, or if it
// comes again with other columns: both records have their effect then, and another epoch begins.
type staging struct {
	segments []*segment // the first used of them are the batch's
	used     int
	epoch    int // where the last epoch begins
	index    keyIndex
}

type segment struct {
	plan    *plan
	deletes bool
	epoch   int
	chunks  []chunk // the first used of them
	used    int
}

// reset makes it ready for another batch.
func (s *staging) reset() {
	if s.index.slots == nil {
		s.index = newKeyIndex()
	}
	s.index.reset()
	const keep = 16 // segments, each of which has buffers
	if len(s.segments) > keep {
		s.segments = s.segments[:keep:keep]
	}
	s.used, s.epoch = 0, 0
}

// forget lets go of plans that were used.
func (s *staging) forget() {
	for _, g := range s.segments {
		g.plan = nil
	}
	s.used = 0
}

// next begins another epoch.
func (s *staging) next() {
	s.index.reset()
	s.epoch = s.used
}

// segment returns the last epoch's segment for a plan.
func (s *staging) segment(p *plan, deletes bool) (int, *segment) {
	for i := s.epoch; i < s.used; i++ {
		if g := s.segments[i]; g.plan == p && g.deletes == deletes {
			return i, g
		}
	}
	if s.used == len(s.segments) {
		s.segments = append(s.segments, &segment{})
	}
	g := s.segments[s.used]
	g.plan, g.deletes, g.epoch, g.used = p, deletes, s.epoch, 0
	s.used++
	return s.used - 1, g
}

// add appends a record, and returns where. An error is as chunk's.
func (g *segment) add(values []row.Value) (chunkAt, record, bad int, err error) {
	if g.used == 0 || !g.plan.copy && len(g.chunks[g.used-1].buf) > chunkBytes {
		if g.used == len(g.chunks) {
			g.chunks = append(g.chunks, chunk{})
		}
		g.chunks[g.used].reset(g.plan.copy)
		g.used++
	}
	c := &g.chunks[g.used-1]
	bad, err = c.add(g.plan.targets, values)
	return g.used - 1, len(c.starts) - 1, bad, err
}

// insert adds a row, whatever its key.
func (s *staging) insert(p *plan, values []row.Value) (bad int, err error) {
	_, g := s.segment(p, false)
	_, _, bad, err = g.add(values)
	return bad, err
}

// upsert adds a row in place of an earlier one with its key. The index of an error is of the plan's targets.
func (s *staging) upsert(p *plan, values []row.Value) (bad int, err error) {
	at := len(s.index.buf)
	for _, k := range p.key {
		t := &p.targets[k]
		if s.index.buf, err = t.append(s.index.buf, values[t.index]); err != nil {
			s.index.buf = s.index.buf[:at]
			return k, err
		}
	}
	return s.put(p, false, values, at)
}

// delete adds the deletion of a key, by the plan of deletes.
func (s *staging) delete(p *plan, key []row.Value) (bad int, err error) {
	at := len(s.index.buf)
	for i := range p.targets {
		if s.index.buf, err = p.targets[i].append(s.index.buf, key[i]); err != nil {
			s.index.buf = s.index.buf[:at]
			return i, err
		}
	}
	return s.put(p, true, key, at)
}

// put adds a record whose key is in the index's buffer at a place.
func (s *staging) put(p *plan, deletes bool, values []row.Value, at int) (bad int, err error) {
	e, found := s.index.find(at)
	if found = found && e.segment >= 0; found {
		old := s.segments[e.segment]
		switch {
		case old.deletes && deletes:
			return -1, nil
		case old.deletes, !deletes && old.plan != p:
			key := append([]byte(nil), s.index.buf[e.start:e.end]...)
			s.next()
			s.index.buf = append(s.index.buf, key...)
			e, _ = s.index.find(0)
			found = false
		}
	}
	i, g := s.segment(p, deletes)
	chunkAt, record, bad, err := g.add(values)
	if err != nil {
		return bad, err // the whole batch is refused, and tried again without it: that its key stays in the index is no matter
	}
	if found {
		s.segments[e.segment].chunks[e.chunk].drop(e.record)
	}
	e.segment, e.chunk, e.record = i, chunkAt, record
	return -1, nil
}

// ordered calls f for the segments in the order they are to be sent.
func (s *staging) ordered(f func(g *segment) error) error {
	for begin := 0; begin < s.used; {
		end := begin
		for end < s.used && s.segments[end].epoch == s.segments[begin].epoch {
			end++
		}
		for _, deletes := range []bool{true, false} {
			for _, g := range s.segments[begin:end] {
				if g.deletes == deletes {
					if err := f(g); err != nil {
						return err
					}
				}
			}
		}
		begin = end
	}
	return nil
}
