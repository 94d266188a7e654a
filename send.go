package weaver

import "hash/maphash"

// hand gives u to the workers, starting them first. l.mu is held; the channel has room for all units there may be.
func (l *lane[In, Out]) hand(u *unit[In, Out]) {
	e := l.e
	if l.work == nil {
		l.stages = append(l.stages[:1], make([]Stage[In, Out], e.cfg.parallelism-1)...)
		work := make(chan *unit[In, Out], e.maxUnits)
		l.work = work
		for i := range e.cfg.parallelism {
			l.workers.Go(func() { l.worker(i, work) })
		}
	}
	l.flying++
	l.work <- u
}

// worker processes units with a stage of its own. What is ready goes on in the order in which it was read, which no
// worker waits for.
func (l *lane[In, Out]) worker(i int, work <-chan *unit[In, Out]) {
	e := l.e
	for u := range work {
		failed := l.hasFailed() // all before u were taken before it and come to their end
		var err error
		start := e.now()
		if !failed && l.stages[i] == nil {
			l.stages[i], err = l.openAnother()
		}
		if !failed && err == nil {
			err = l.process(e.working, l.stages[i], u)
		}
		d := e.now() - start
		if !failed && err == nil {
			l.countProcess(u, d, true)
		}
		l.mu.Lock()
		l.flying--
		l.clock.cast(d)
		switch {
		case failed:
		case err != nil:
			l.failLocked(err, soft)
		default:
			u.processed = true
			l.sendReady()
		}
		l.cond.Broadcast()
		l.mu.Unlock()
	}
}

// openAnother opens a stage for one more worker.
func (l *lane[In, Out]) openAnother() (Stage[In, Out], error) {
	e := l.e
	at := Lane{Pipeline: e.cfg.name, Split: l.split, Log: l.log}
	var s Stage[In, Out]
	err := guard(func() (err error) {
		s, err = e.p.Process.OpenStage(e.working, at)
		return err
	})
	if err != nil {
		return nil, e.wrap(StageProcess, e.p.Process, l, err)
	}
	return s, nil
}

func (l *lane[In, Out]) hasFailed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failure != nil
}

// sendReady gives all units that are processed, and behind none that isn't, to the writers. l.mu is held.
func (l *lane[In, Out]) sendReady() {
	for u := l.unsent; u != nil && u.processed && !l.broken; u = l.unsent {
		if len(u.view.Records) == 0 {
			l.unsent = u.next
			u.done = true
			l.e.kickQueue()
			continue
		}
		l.give(u)
	}
	l.advance()
}

// send brings a unit that was processed in order by one goroutine to the writers: this goroutine writes it as well
// where it can.
func (l *lane[In, Out]) send(u *unit[In, Out], w stopwatch) {
	l.mu.Lock()
	if w.on && l.snapshots == nil {
		l.clock.cast(w.processed - w.read)
	}
	u.processed = true
	if l.unsent != u || l.broken {
		l.mu.Unlock()
		return
	}
	x := l.theWriter()
	if len(u.view.Records) == 0 || l.queued > 1 || !l.goesInline() || !x.tryBusy() {
		l.sendReady()
		l.mu.Unlock()
		return
	}
	p := l.takeOff(u)
	l.mu.Unlock()
	x.write(p)
	x.release()
}

// theWriter is the only writer there is for this lane.
func (l *lane[In, Out]) theWriter() *writer[In, Out] {
	if l.writer != nil {
		return l.writer
	}
	return l.e.writers[0]
}

// takeOff counts u as given to the only writer. l.mu is held.
func (l *lane[In, Out]) takeOff(u *unit[In, Out]) *part[In, Out] {
	l.unsent = u.next
	l.flying++
	u.pending = 1
	p := &u.parts[0]
	p.records = u.view.Records
	return p
}

// smallWeight is what a batch may hold without being charged to the budget while its lane has only that one.
const smallWeight = 4 << 10

// solo takes u all the way in this goroutine, with nothing else of the lane in flight and as few locks as can be: at
// a record a batch, they are most of the cost. Whatever goes wrong goes on as if u had been queued.
func (l *lane[In, Out]) solo(u *unit[In, Out], w stopwatch) error {
	e := l.e
	if n := u.size(); n > smallWeight {
		u.weight = n
		e.inFlight.add(n)
	}
	if err := l.process(e.working, l.stages[0], u); err != nil {
		l.countRead(u, w)
		l.dropSolo(u)
		return err
	}
	if w.on {
		w.processed = e.now()
		l.clock.cast(w.processed - w.read)
	}
	x := l.theWriter()
	some := len(u.view.Records) > 0
	if some && !x.tryBusy() {
		l.countRead(u, w)
		l.countProcess(u, w.processed-w.read, w.on)
		l.mu.Lock()
		l.push(u)
		u.processed = true
		l.sendReady()
		l.mu.Unlock()
		return nil
	}
	ok := true
	if some {
		if ok = x.writeSolo(u); w.on {
			w.wrote = e.now()
			x.cast(w.wrote - w.processed)
		}
	}
	l.tally.mu.Lock()
	l.tallyRead(u, w)
	l.tallyProcess(u, w.processed-w.read, w.on)
	if some && ok {
		l.tally.write.add(len(u.view.Records), u.view.arena.used+u.view.weight)
		if w.on {
			l.tally.write.latency.add(w.wrote - w.processed)
		}
	}
	l.tally.mu.Unlock()
	if e.obs.Batch != nil {
		l.tellRead(u, w)
		l.tellProcess(u, w.processed-w.read, w.on)
		if some && ok {
			x.tell(len(u.view.Records), u.view.arena.used+u.view.weight, w.wrote-w.processed, w.on)
		}
	}
	l.mu.Lock()
	if ok && !l.broken && !l.lost {
		l.accept(u)
	}
	l.mu.Unlock()
	l.dropSolo(u)
	if !some {
		e.kickQueue()
	} else {
		if ok {
			x.afterWrite()
		}
		x.release()
	}
	return nil
}

// dropSolo makes u free again.
func (l *lane[In, Out]) dropSolo(u *unit[In, Out]) {
	if u.weight > 0 {
		l.e.inFlight.release(u.weight)
		u.weight = 0
	}
	l.giveBack(u)
}

// give queues u at its writer, or its records at several, by key. l.mu is held.
func (l *lane[In, Out]) give(u *unit[In, Out]) {
	if l.writer != nil || l.e.cfg.writers == 1 {
		p := l.takeOff(u)
		l.theWriter().enqueue(p)
		return
	}
	l.unsent = u.next
	for i := range u.parts {
		p := &u.parts[i]
		if len(p.own) == 0 {
			continue
		}
		p.records = p.own
		l.flying++
		u.pending++
		l.e.writers[i].enqueue(p)
	}
}

// scatter sorts the records into parts: those of one key always go to the same writer. Those without a key go together,
// to one writer after the other.
func (u *unit[In, Out]) scatter(seed maphash.Seed) {
	n := uint64(len(u.parts))
	keyless := u.turn % len(u.parts)
	u.turn++
	if room := 3*len(u.view.Records)/(2*len(u.parts)) + 1; cap(u.parts[0].own) == 0 {
		for i := range u.parts {
			u.parts[i].own = make([]Record[Out], 0, room)
			u.parts[i].index = make([]int32, 0, room)
		}
	}
	for i := range u.view.Records {
		r := &u.view.Records[i]
		k := keyless
		if r.Key != nil {
			k = int(maphash.Bytes(seed, r.Key) % n)
		}
		p := &u.parts[k]
		p.own = append(p.own, *r)
		p.index = append(p.index, int32(i))
	}
}

// wrote takes parts back from a writer, all of this lane at the beginning of group: accepted, or not because the lane
// has failed. It returns the rest of the group.
func (l *lane[In, Out]) wrote(group *part[In, Out], ok bool) *part[In, Out] {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := group
	for p != nil && p.unit.lane == l {
		u := p.unit
		p = p.next // u may be used again from here on
		l.flying--
		if !ok || l.broken { // a broken lane's records may have been left out
			continue
		}
		if u.pending--; u.pending == 0 {
			u.done = true
			if l.head == u {
				l.advance()
			}
		}
	}
	l.cond.Broadcast()
	return p
}
