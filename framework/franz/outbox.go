package franz

import (
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	weaver "github.com/bohica-labs/dataweaver"
	"github.com/bohica-labs/dataweaver/retry"
)

// outbox is a batch on its way to brokers: the client's records, which point into the batch, and what became of them. Its
// memory is used again for the next one.
type outbox struct {
	stream  string
	limit   int
	records []kgo.Record
	index   []int // of each in the batch
	heads   []kgo.RecordHeader
	poison  []weaver.RecordError

	out    sync.WaitGroup
	done   func(*kgo.Record, error) // the promise of all, made once
	mu     sync.Mutex
	failed []failure
}

type failure struct {
	record *kgo.Record
	err    error
}

func newOutbox(stream string, limit int) *outbox {
	o := &outbox{stream: stream, limit: limit}
	o.done = o.finished
	return o
}

// fill takes a batch. What can't ever be written is put aside.
func (o *outbox) fill(records []weaver.Record[[]byte]) {
	if cap(o.records) < len(records) {
		o.records = make([]kgo.Record, 0, len(records))
		o.index = make([]int, 0, len(records))
	}
	o.records, o.index, o.heads = o.records[:0], o.index[:0], o.heads[:0]
	o.poison, o.failed = nil, o.failed[:0]
	for i := range records {
		if err := o.tooLarge(&records[i]); err != nil {
			o.poison = append(o.poison, weaver.RecordError{Index: i, Err: err})
			continue
		}
		o.records = append(o.records, kgo.Record{})
		o.index = append(o.index, i)
		o.heads = convert(&o.records[len(o.records)-1], &records[i], o.heads)
	}
	o.out.Add(len(o.records))
}

// convert makes a record the client's. It appends to heads what it needs of headers.
func convert(k *kgo.Record, r *weaver.Record[[]byte], heads []kgo.RecordHeader) []kgo.RecordHeader {
	k.Key, k.Value, k.Timestamp = r.Key, r.Value, r.Time
	switch {
	case r.Op == weaver.Delete:
		k.Value = nil
	case k.Value == nil:
		k.Value = []byte{} // null would delete
	}
	if len(r.Headers) > 0 {
		n := len(heads)
		for _, h := range r.Headers {
			heads = append(heads, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		k.Headers = heads[n:len(heads):len(heads)]
	}
	return heads
}

// What a record and its batch take beside the bytes of key, value and headers, at most.
const (
	batchOverhead  = 61 + 5
	recordOverhead = 1 + 4*5 + 10
	headerOverhead = 2 * 5
)

// tooLarge returns an error for a record that is larger than any batch can be.
func (o *outbox) tooLarge(r *weaver.Record[[]byte]) error {
	size := len(r.Key) + batchOverhead + recordOverhead
	if r.Op != weaver.Delete {
		size += len(r.Value)
	}
	for _, h := range r.Headers {
		size += len(h.Key) + len(h.Value) + headerOverhead
	}
	if size <= o.limit {
		return nil
	}
	return retry.Permanent(fmt.Errorf("franz: a record of %d bytes is larger than topic %q takes, %d (its max.message.bytes, or MaxBatchBytes)", size, o.stream, o.limit))
}

// finished is called by the client for each record.
func (o *outbox) finished(k *kgo.Record, err error) {
	if err != nil {
		o.mu.Lock()
		o.failed = append(o.failed, failure{k, err})
		o.mu.Unlock()
	}
	o.out.Done()
}

// wait returns when the client is done with all records, and with the memory they point to.
func (o *outbox) wait() { o.out.Wait() }

// result says what became of the batch: nil, a *weaver.BatchError that names what can't be written while all else is, or an
// error after which the writer is to be opened again.
//
// A broker that refuses a record refuses the record batch it is in. Where that has only this one, it is named; otherwise
// the pipeline finds it by writing halves.
func (o *outbox) result() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var first error
	for _, f := range o.failed {
		err := classify(fmt.Sprintf("writing to topic %q", o.stream), f.err)
		if first == nil || severity(err) > severity(first) {
			first = err
		}
	}
	if len(o.failed) == 1 && retry.ClassOf(first) == retry.ClassPoison {
		o.poison = append(o.poison, weaver.RecordError{Index: o.indexOf(o.failed[0].record), Err: first})
		first = nil
	}
	if first != nil {
		return first
	}
	if len(o.poison) > 0 {
		return &weaver.BatchError{Err: o.poison[0].Err, Records: o.poison}
	}
	return nil
}

func (o *outbox) indexOf(k *kgo.Record) int {
	for i := range o.records {
		if &o.records[i] == k {
			return o.index[i]
		}
	}
	return 0
}

// severity orders errors by how much they matter: what stops everything before what is found by looking, before what passes.
func severity(err error) int {
	switch {
	case retry.ClassOf(err) == retry.ClassFatal:
		return 3
	case retry.ClassOf(err) == retry.ClassPoison:
		return 1
	case isFenced(err):
		return 4
	}
	return 2
}

// isFenced reports whether a later producer of the same transactional id has come.
func isFenced(err error) bool {
	return errors.Is(err, weaver.ErrFenced) || isCode(err, kerr.ProducerFenced, kerr.InvalidProducerEpoch)
}
