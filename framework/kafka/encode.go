package kafka

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

// batchWriter makes a record batch of records.
type batchWriter struct {
	buf       []byte
	count     int32
	firstTime int64
	maxTime   int64
	packer    packer
	packed    []byte
}

// reset begins another batch, in the same memory.
func (w *batchWriter) reset() {
	w.buf = append(w.buf[:0], make([]byte, batchHeaderBytes)...)
	w.count, w.firstTime, w.maxTime = 0, 0, 0
}

// sizeOf is how many bytes a record takes in a batch at most, without compression.
func sizeOf(r *weaver.Record[[]byte]) int {
	n := 1 + 3*binary.MaxVarintLen64 + 2*binary.MaxVarintLen32 + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += 2*binary.MaxVarintLen32 + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// add appends a record. A Delete has a null value, anything else has not.
func (w *batchWriter) add(r *weaver.Record[[]byte], now int64) {
	t := now
	if !r.Time.IsZero() {
		t = r.Time.UnixMilli()
	}
	if w.count == 0 {
		w.firstTime, w.maxTime = t, t
	}
	w.maxTime = max(w.maxTime, t)
	value := r.Value
	switch {
	case r.Op == weaver.Delete:
		value = nil
	case value == nil:
		value = []byte{}
	}
	size := 1 + varintSize(t-w.firstTime) + varintSize(int64(w.count)) + nullableSize(r.Key) + nullableSize(value) + varintSize(int64(len(r.Headers)))
	for i := range r.Headers {
		size += varintSize(int64(len(r.Headers[i].Key))) + len(r.Headers[i].Key) + nullableSize(r.Headers[i].Value)
	}
	b := binary.AppendVarint(w.buf, int64(size))
	b = append(b, 0)
	b = binary.AppendVarint(b, t-w.firstTime)
	b = binary.AppendVarint(b, int64(w.count))
	b = appendNullable(b, r.Key)
	b = appendNullable(b, value)
	b = binary.AppendVarint(b, int64(len(r.Headers)))
	for i := range r.Headers {
		b = binary.AppendVarint(b, int64(len(r.Headers[i].Key)))
		b = append(b, r.Headers[i].Key...)
		b = appendNullable(b, r.Headers[i].Value)
	}
	w.buf = b
	w.count++
}

// finish returns the batch, in the writer's memory.
func (w *batchWriter) finish(c Compression) ([]byte, error) {
	b := w.buf
	if c != Uncompressed {
		packed, err := w.packer.pack(c, append(w.packed[:0], b[:batchHeaderBytes]...), b[batchHeaderBytes:])
		if err != nil {
			return nil, err
		}
		w.packed = packed
		b = packed
	}
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-batchLengthEnd))
	binary.BigEndian.PutUint32(b[12:], ^uint32(0))
	b[16] = 2
	binary.BigEndian.PutUint16(b[21:], uint16(c))
	binary.BigEndian.PutUint32(b[23:], uint32(w.count-1))
	binary.BigEndian.PutUint64(b[27:], uint64(w.firstTime))
	binary.BigEndian.PutUint64(b[35:], uint64(w.maxTime))
	binary.BigEndian.PutUint64(b[43:], ^uint64(0)) // no producer id: neither idempotent nor in a transaction
	binary.BigEndian.PutUint16(b[51:], ^uint16(0))
	binary.BigEndian.PutUint32(b[53:], ^uint32(0))
	binary.BigEndian.PutUint32(b[57:], uint32(w.count))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
	return b, nil
}

func varintSize(v int64) int { return (bits.Len64(uint64(v<<1^v>>63)|1) + 6) / 7 }

func nullableSize(p []byte) int {
	if p == nil {
		return 1
	}
	return varintSize(int64(len(p))) + len(p)
}

func appendNullable(dst, p []byte) []byte {
	if p == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(p))), p...)
}

func nowMillis() int64 { return time.Now().UnixMilli() }
