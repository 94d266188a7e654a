// Package weaver moves records from sources to sinks without losing any.
//
// A [Pipeline] wires read → process → write: a [Source] opens a [Reader] for each of its splits, a [Processor] turns
// what was read into what is written, and a [Sink] opens the [Writer] that makes it durable. The engine in between
// owns positions, order, retries, dead letters and shutdown, so that connectors contain none of it:
//
//	p := weaver.NewPipeline(
//		file.CSV[Order]("orders.csv"),
//		weaver.Map(bill), // func(Order) (Invoice, error)
//		file.NDJSON[Invoice]("invoices.ndjson"),
//	)
//	err := p.Run(ctx)
//
// # What is promised
//
// Every record that was read is written, filtered by the processor, or handed to the dead-letter sink before its
// position may be saved or acknowledged, always in the order sink durable, position durable, source acknowledged.
// That is at-least-once with any sink; with a sink whose writers are [Checkpointer] and a source that can be read
// again it is exactly-once. Order is kept within a split, and within a key where several writers share the work.
//
// # Who calls what
//
// Sources, processors and sinks are configuration: they don't change while a pipeline runs and are safe for
// concurrent use. What they open (readers, stages, writers) has one owner and is called one call at a time, except
// where a capability's comment says otherwise. Nothing that was opened keeps the context it was opened with.
package weaver

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Op says what a record does to what its key names.
type Op uint8

// The zero Op is an upsert: most origins don't tell an insert from an update.
const (
	Upsert Op = iota // the value is the new state, whether there was an old one or not
	Insert           // the origin says that there was none
	Update           // the origin says that there was one
	Delete           // there is none any more; only Key is certain, Value may be zero
)

// String returns the name in lower case.
func (o Op) String() string {
	switch o {
	case Upsert:
		return "upsert"
	case Insert:
		return "insert"
	case Update:
		return "update"
	case Delete:
		return "delete"
	}
	return "op?"
}

// MarshalText returns the name, so that an Op reads well in JSON.
func (o Op) MarshalText() ([]byte, error) {
	if o > Delete {
		return nil, fmt.Errorf("weaver: there is no Op %d", o)
	}
	return []byte(o.String()), nil
}

// UnmarshalText takes what MarshalText returns.
func (o *Op) UnmarshalText(text []byte) error {
	for x := Upsert; x <= Delete; x++ {
		if x.String() == string(text) {
			*o = x
			return nil
		}
	}
	return fmt.Errorf("weaver: there is no Op %.20q", text)
}

// Record is one unit of data on its way, and the unit of error.
//
// Its byte slices may point into memory of the batch it travels in: whoever keeps one longer copies it.
type Record[T any] struct {
	Value   T
	Op      Op        // what happened; the zero value is Upsert
	Key     []byte    // identity: ordering, partitioning, upserts; nil if none
	Time    time.Time // event time at the origin; zero if unknown
	Headers Headers   // small ordered list; nil if none
	Seq     int64     // where in the split, as the origin counts (line, offset, LSN): tells people in errors, resumes nothing
}

// Position is a resume point within one split, opaque to all but the source that made it. A nil Position is none at
// all; an empty one that isn't nil is a position.
type Position []byte

// Header is a name and a value beside a record's own value.
type Header struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

// Headers is a small list of headers in the order of the origin, which may repeat a key.
type Headers []Header

// Get returns the last value under key, and whether there is one.
func (h Headers) Get(key string) ([]byte, bool) {
	for i := len(h) - 1; i >= 0; i-- {
		if h[i].Key == key {
			return h[i].Value, true
		}
	}
	return nil, false
}

// With returns the headers with one more, leaving h as it is: two records may share one list.
func (h Headers) With(key string, value []byte) Headers {
	return append(h[:len(h):len(h)], Header{Key: key, Value: value})
}

// Clone returns a copy that shares no memory with h.
func (h Headers) Clone() Headers {
	out := slices.Clone(h)
	for i := range out {
		out[i].Value = slices.Clone(out[i].Value)
	}
	return out
}

// Batch is the unit of transfer, retry and checkpoint. A Reader fills one, a Writer is given one; both forget it when
// they return. The engine uses its memory again.
type Batch[T any] struct {
	Records []Record[T] // stages and writers do not reorder, overwrite or keep them
	End     bool        // nothing follows in this split (end of input; not a stop or a revoke)

	arena      arena
	weight     int // what Weigh added
	rejects    []Reject
	maxRecords int
	maxBytes   int
}

// Reject is an input that could not become a T.
type Reject struct {
	Before int    // how many records of the batch came before it
	Seq    int64  // as Record.Seq
	Raw    []byte // what was read
	Err    error  // where it was and what is wrong with it
}

// NewBatch returns an empty batch that is full at so many records or bytes; 0 stands for no bound. It is for tests of
// connectors, for those who drive them without a Pipeline, and for Readers that wrap another one.
func NewBatch[T any](records, bytes int) *Batch[T] {
	b := &Batch[T]{}
	b.limit(records, bytes)
	return b
}

func (b *Batch[T]) limit(records, bytes int) {
	if records <= 0 {
		records = math.MaxInt
	}
	if bytes <= 0 {
		bytes = math.MaxInt
	}
	b.maxRecords, b.maxBytes = records, bytes
}

// Room returns how many more records and bytes there are until the batch is full; neither is below 1. A Reader that
// wraps another one gives it a batch of that size (NewBatch, Limit).
func (b *Batch[T]) Room() (records, bytes int) {
	return max(1, b.maxRecords-len(b.Records)-len(b.rejects)), max(1, b.maxBytes-b.arena.used-b.weight)
}

// Limit sets when the batch is full; 0 stands for no bound. It is for those who own the batch, as a Reader that wraps
// another one does.
func (b *Batch[T]) Limit(records, bytes int) { b.limit(records, bytes) }

// Add appends a zeroed record and returns it to be filled. The pointer is good until the next Add.
func (b *Batch[T]) Add() *Record[T] {
	b.Records = append(b.Records, Record[T]{})
	return &b.Records[len(b.Records)-1]
}

// slot is Add for those who set all of the record.
func (b *Batch[T]) slot() *Record[T] {
	n := len(b.Records)
	if n == cap(b.Records) {
		return b.Add()
	}
	b.Records = b.Records[:n+1]
	return &b.Records[n]
}

// Full reports whether a Reader should return now: BatchSize or BatchBytes is reached.
func (b *Batch[T]) Full() bool {
	return len(b.Records)+len(b.rejects) >= b.maxRecords || b.arena.used+b.weight >= b.maxBytes
}

// Bytes returns n bytes of undefined content that live as long as the flight: all that this Read becomes. It allocates
// a chunk once in many calls, and none once the batch has been used a few times.
func (b *Batch[T]) Bytes(n int) []byte { return b.arena.bytes(n) }

// Copy returns a copy of p that lives as long as the flight; nil stays nil.
func (b *Batch[T]) Copy(p []byte) []byte {
	if p == nil {
		return nil
	}
	q := b.arena.bytes(len(p))
	copy(q, p)
	return q
}

// Weigh counts memory that records hold outside of Bytes (decoded strings, buffers of a client) towards BatchBytes and
// MaxInFlightBytes.
func (b *Batch[T]) Weigh(bytes int) { b.weight += bytes }

// Reject reports input that cannot become a T. The pipeline hands raw (copied here) to the dead letters in its place
// between the records, or stops where there are none. Seq is where it was, as Record.Seq; err says where, for people,
// and what is wrong with it. It counts as poison unless it is marked fatal.
func (b *Batch[T]) Reject(seq int64, raw []byte, err error) {
	b.rejects = append(b.rejects, Reject{Before: len(b.Records), Seq: seq, Raw: b.Copy(raw), Err: err})
}

// Rejects returns what Reject was given. It is the batch's, like Records.
func (b *Batch[T]) Rejects() []Reject { return b.rejects }

// Reset empties the batch for another Read; what it held is overwritten by later use. It is for those who own
// the batch.
func (b *Batch[T]) Reset() { b.reset(false) }

// reset makes the batch empty. With scribble, whoever kept memory of it reads garbage from now on.
func (b *Batch[T]) reset(scribble bool) {
	if scribble {
		clear(b.Records[:cap(b.Records)])
	}
	b.Records = b.Records[:0]
	b.End = false
	b.weight = 0
	clear(b.rejects)
	b.rejects = b.rejects[:0]
	b.arena.reset(scribble)
}
