package franz

import (
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	weaver "github.com/bohica-labs/dataweaver"
)

// parcel is a batch on its way whose Write has returned: it has a copy of all bytes. When the client is done with all of
// its records it is used again.
type parcel struct {
	of      *parcels
	records []kgo.Record
	heads   []kgo.RecordHeader
	memory  []byte
	bytes   int
	left    atomic.Int64
	done    func(*kgo.Record, error) // the promise of all, made once
}

// parcels are those of a writer.
type parcels struct {
	mu   sync.Mutex
	free []*parcel
	err  error // the worst of what went wrong
}

// mostFree bounds what is kept to be used again.
const mostFree = 64

// failed returns why a record didn't arrive; nil: none has failed so far.
func (s *parcels) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *parcels) get(records int) *parcel {
	s.mu.Lock()
	var p *parcel
	if n := len(s.free); n > 0 {
		p = s.free[n-1]
		s.free = s.free[:n-1]
	}
	s.mu.Unlock()
	if p == nil {
		p = &parcel{of: s}
		p.done = p.finished
	}
	if cap(p.records) < records {
		p.records = make([]kgo.Record, 0, records)
	}
	p.records, p.heads, p.memory, p.bytes = p.records[:0], p.heads[:0], p.memory[:0], 0
	return p
}

// finished is called by the client for each record.
func (p *parcel) finished(_ *kgo.Record, err error) {
	s := p.of
	last := p.left.Add(-1) == 0
	if err == nil && !last {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && (s.err == nil || severity(classify("", err)) > severity(classify("", s.err))) {
		s.err = err
	}
	if last && len(s.free) < mostFree {
		s.free = append(s.free, p)
	}
}

// pack copies records, but for those that are too large for any batch.
func (s *parcels) pack(stream string, limit int, records []weaver.Record[[]byte]) (*parcel, []weaver.RecordError) {
	p := s.get(len(records))
	o := outbox{stream: stream, limit: limit}
	var poison []weaver.RecordError
	need := 0
	for i := range records {
		need += sizeOf(&records[i])
	}
	if cap(p.memory) < need {
		p.memory = make([]byte, 0, need)
	}
	for i := range records {
		if err := o.tooLarge(&records[i]); err != nil {
			poison = append(poison, weaver.RecordError{Index: i, Err: err})
			continue
		}
		p.records = append(p.records, kgo.Record{})
		k := &p.records[len(p.records)-1]
		p.heads = convert(k, &records[i], p.heads)
		k.Key, k.Value = p.copy(k.Key), p.copy(k.Value)
		for j := range k.Headers {
			k.Headers[j].Value = p.copy(k.Headers[j].Value)
		}
	}
	p.bytes = len(p.memory)
	p.left.Store(int64(len(p.records)))
	if len(p.records) == 0 {
		s.mu.Lock()
		s.free = append(s.free, p)
		s.mu.Unlock()
	}
	return p, poison
}

func sizeOf(r *weaver.Record[[]byte]) int {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Value)
	}
	return n
}

// copy returns a copy in the parcel's memory, which has room for it.
func (p *parcel) copy(b []byte) []byte {
	if b == nil {
		return nil
	}
	n := len(p.memory)
	p.memory = append(p.memory, b...)
	return p.memory[n:len(p.memory):len(p.memory)]
}

// envelope makes the records of a checkpoint.
func (s *parcels) envelope(c *checkpoint, limit int, envelope []byte) *parcel {
	pieces := c.pieces(limit, envelope)
	p := s.get(len(pieces))
	for i, value := range pieces {
		p.records = append(p.records, kgo.Record{Topic: c.topic, Partition: c.partition, Key: c.key(i), Value: value})
	}
	p.left.Store(int64(len(p.records)))
	return p
}
