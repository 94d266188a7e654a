package memory

import (
	"sort"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

const (
	recordBytes    = 128 // what a record takes beside its bytes, about
	segmentRecords = 1024
	firstSegment   = 4 << 10
	maxSegment     = 256 << 10
)

// entry is a stored record. It never changes once it is stored.
type entry struct {
	value, key []byte
	headers    weaver.Headers
	time       time.Time
	op         weaver.Op
}

func (e *entry) size() int64 {
	n := recordBytes + len(e.value) + len(e.key)
	for i := range e.headers {
		n += len(e.headers[i].Key) + len(e.headers[i].Value)
	}
	return int64(n)
}

func sizeOf(r *weaver.Record[[]byte]) int64 {
	e := entry{value: r.Value, key: r.Key, headers: r.Headers}
	if r.Op == weaver.Delete {
		e.value = nil
	}
	return e.size()
}

// segment is a run of records that are stored, and dropped, together: a Write allocates once in many records.
type segment struct {
	base    int64 // of the first
	entries []entry
	data    []byte // what the entries' slices point into; it has room, it never moves
	headers []weaver.Header
	bytes   int64
	last    time.Time // of the last Write
}

// keep copies p into the segment. It has room.
func (s *segment) keep(p []byte) []byte {
	if p == nil {
		return nil
	}
	m := len(s.data)
	s.data = append(s.data, p...)
	return s.data[m:len(s.data):len(s.data)]
}

// partition is a log of records. Its stream's lock guards it, but not the entries that are stored: those don't change.
type partition struct {
	segments []*segment
	start    int64 // of the first record that is kept
	end      int64 // behind the last
	floor    int64 // what all groups have consumed is below it
	chunk    int   // bytes of the last segment
	changed  signal
}

// append stores a copy of r.
func (p *partition) append(r *weaver.Record[[]byte], size int64, now time.Time, most int) {
	value := r.Value
	if r.Op == weaver.Delete {
		value = nil
	}
	need := len(value) + len(r.Key)
	for i := range r.Headers {
		need += len(r.Headers[i].Value)
	}
	s := p.tail(need, most)
	e := entry{value: s.keep(value), key: s.keep(r.Key), time: r.Time, op: r.Op}
	if r.Headers != nil {
		m := len(s.headers)
		for i := range r.Headers {
			s.headers = append(s.headers, weaver.Header{Key: r.Headers[i].Key, Value: s.keep(r.Headers[i].Value)})
		}
		e.headers = s.headers[m:len(s.headers):len(s.headers)]
		if e.headers == nil {
			e.headers = weaver.Headers{}
		}
	}
	s.entries = append(s.entries, e)
	s.bytes += size
	s.last = now
	p.end++
}

// tail returns the segment to store so many bytes in.
func (p *partition) tail(need, most int) *segment {
	if n := len(p.segments); n > 0 {
		s := p.segments[n-1]
		if len(s.entries) < segmentRecords && cap(s.data)-len(s.data) >= need {
			return s
		}
	}
	p.chunk = min(max(firstSegment, 2*p.chunk), max(most, 64))
	s := &segment{base: p.end, data: make([]byte, 0, max(p.chunk, need))}
	p.segments = append(p.segments, s)
	return s
}

// view returns the records from offset on that are in one segment, none if offset is the end. Offset is kept.
func (p *partition) view(offset int64) []entry {
	i := sort.Search(len(p.segments), func(i int) bool { return p.segments[i].base > offset }) - 1
	if i < 0 {
		return nil
	}
	s := p.segments[i]
	return s.entries[min(offset-s.base, int64(len(s.entries))):]
}

// consumedHead reports whether all groups have consumed the first segment.
func (p *partition) consumedHead() bool {
	s := p.segments[0]
	return s.base+int64(len(s.entries)) <= p.floor
}

// drop forgets the first segment, and returns its bytes and those of them that nobody had consumed.
func (p *partition) drop() (bytes, unread int64) {
	s := p.segments[0]
	p.segments[0] = nil
	p.segments = p.segments[1:]
	next := s.base + int64(len(s.entries))
	for i := max(p.floor-s.base, 0); i < int64(len(s.entries)); i++ {
		unread += s.entries[i].size()
	}
	p.start, p.floor = next, max(p.floor, next)
	return s.bytes, unread
}

// between returns the bytes of the records from offset a up to b.
func (p *partition) between(a, b int64) int64 {
	n := int64(0)
	for a < b {
		for _, e := range p.view(a) {
			if a == b {
				break
			}
			n += e.size()
			a++
		}
	}
	return n
}
