package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// This file is the yardstick: an engine as a good engineer would write it by hand for one type and one shape, with the
// duties that a pipeline cannot do without. A reader fills batches of envelopes; a map stage calls a function for each
// record and tries again when it fails; a sink takes the batch; its position is committed; counters are kept per batch.
// The stages hand recycled batches on over channels, and with several workers the order is restored before the sink.

// envelope is a value and what has to travel with it.
type envelope struct {
	value    Rec
	key      []byte
	headers  [][2]string
	time     time.Time
	position int64
	split    int32
}

// parcel is a batch on its way. mapped carries the outcome of the map stage where workers run it.
type parcel struct {
	envelopes []envelope
	last      int64 // position of the last envelope
	mapped    chan error
}

type supplier interface {
	Fill(ctx context.Context, into []envelope) (int, error) // io.EOF, alone, at the end
	Commit(ctx context.Context, position int64) error
}

type mapper func(ctx context.Context, e *envelope) error

type consumer interface {
	Take(ctx context.Context, envelopes []envelope) error
}

type counters struct {
	read, written, retries, failures, busy atomic.Int64
}

type handwritten struct {
	supplier  supplier
	mappers   []mapper
	consumer  consumer
	batchSize int
	depth     int // parcels that wait between two stages
	workers   int

	counters counters
	failed   atomic.Bool
}

const (
	mapperRetries = 3
	retryPause    = time.Millisecond
)

// run moves everything from the supplier to the consumer. It returns when all its goroutines have.
func (h *handwritten) run(ctx context.Context) error {
	idle := make(chan *parcel, 2*h.depth+h.workers+2)
	for range cap(idle) {
		idle <- &parcel{envelopes: make([]envelope, h.batchSize), mapped: make(chan error, 1)}
	}
	filled := make(chan *parcel, h.depth)
	var toMap chan *parcel
	var owned sync.WaitGroup
	if h.workers > 1 {
		toMap = make(chan *parcel, h.depth)
		for range h.workers {
			owned.Go(func() {
				for p := range toMap {
					p.mapped <- h.mapAll(ctx, p.envelopes)
				}
			})
		}
	}
	var readErr error
	owned.Go(func() { readErr = h.read(ctx, idle, toMap, filled) })

	var err error
	for p := range filled {
		if err == nil {
			err = h.deliver(ctx, p)
			if err != nil {
				h.counters.failures.Add(1)
				h.failed.Store(true) // the reader ends soon; what it has sent is drained
			}
		} else if toMap != nil && <-p.mapped != nil {
			h.counters.failures.Add(1) // the first error is the one to tell
		}
		idle <- p
	}
	owned.Wait()
	return errors.Join(err, readErr)
}

// read fills idle parcels until the supplier has no more, and sends each to the workers, if there are any, and on in
// order.
func (h *handwritten) read(ctx context.Context, idle <-chan *parcel, toMap, filled chan<- *parcel) error {
	defer close(filled)
	if toMap != nil {
		defer close(toMap)
	}
	for !h.failed.Load() {
		var p *parcel
		select {
		case <-ctx.Done():
			return ctx.Err()
		case p = <-idle:
		}
		k, err := h.supplier.Fill(ctx, p.envelopes[:h.batchSize])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		p.envelopes = p.envelopes[:k]
		p.last = p.envelopes[k-1].position
		h.counters.read.Add(int64(k))
		if toMap != nil {
			toMap <- p
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case filled <- p:
		}
	}
	return nil
}

// deliver brings one parcel through what remains: map, sink, commit, counters.
func (h *handwritten) deliver(ctx context.Context, p *parcel) (err error) {
	began := time.Now()
	if h.workers > 1 {
		err = <-p.mapped
	} else {
		err = h.mapAll(ctx, p.envelopes)
	}
	if err != nil {
		return err
	}
	if err = h.consumer.Take(ctx, p.envelopes); err != nil {
		return err
	}
	if err = h.supplier.Commit(ctx, p.last); err != nil {
		return err
	}
	h.counters.written.Add(int64(len(p.envelopes)))
	h.counters.busy.Add(int64(time.Since(began)))
	return nil
}

func (h *handwritten) mapAll(ctx context.Context, envelopes []envelope) error {
	mappers := h.mappers
	for i := range envelopes {
		for _, m := range mappers {
			if err := m(ctx, &envelopes[i]); err != nil {
				if err = h.tryAgain(ctx, m, &envelopes[i]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (h *handwritten) tryAgain(ctx context.Context, m mapper, e *envelope) (err error) {
	for range mapperRetries {
		h.counters.retries.Add(1)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryPause):
		}
		if err = m(ctx, e); err == nil {
			return nil
		}
	}
	return err
}

// recSupplier generates n records.
type recSupplier struct {
	next, n   int64
	committed int64
	key       []byte
}

func (s *recSupplier) Fill(_ context.Context, into []envelope) (int, error) {
	k := min(int64(len(into)), s.n-s.next)
	if k == 0 {
		return 0, io.EOF
	}
	now, at := time.Now(), s.next
	into = into[:k]
	for i := range into {
		e := &into[i]
		e.value = recAt(at)
		e.key = s.key
		e.headers = nil
		e.time = now
		e.position = at
		e.split = int32(i & 3)
		at++
	}
	s.next = at
	return int(k), nil
}

func (s *recSupplier) Commit(_ context.Context, position int64) error {
	s.committed = position
	return nil
}

// recTotal counts and adds up.
type recTotal struct {
	count int
	sum   float64
}

func (t *recTotal) Take(_ context.Context, envelopes []envelope) error {
	for i := range envelopes {
		t.count++
		t.sum += envelopes[i].value.Amount
	}
	return nil
}

// mapTaxed is the map stage that all hand-written runs share.
func mapTaxed(_ context.Context, e *envelope) error {
	e.value = taxed(e.value)
	return nil
}

// runHandwritten moves n records through mapTaxed.
func runHandwritten(n, batchSize, workers int) (outcome, error) {
	supplier := &recSupplier{n: int64(n), key: []byte("customer-17")}
	total := &recTotal{}
	h := &handwritten{
		supplier:  supplier,
		consumer:  total,
		mappers:   []mapper{mapTaxed},
		batchSize: batchSize,
		depth:     4,
		workers:   workers,
	}
	err := h.run(context.Background())
	return outcome{verify: func() error {
		if counted := h.counters.written.Load(); counted != int64(n) {
			return fmt.Errorf("hand-written: %d records are counted, want %d", counted, n)
		}
		if err := checkRun("hand-written", n, total.count, uint64(supplier.committed+1)); err != nil {
			return err
		}
		return checkTotal("hand-written", total.sum, n)
	}}, err
}
