package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	weaver "github.com/bohica-labs/dataweaver"
)

// A record batch as Kafka stores and sends it since 0.11 (KIP-98, "magic 2"). Numbers are big-endian, those within
// records are zigzag varints.
//
//	 0 base offset int64      27 first timestamp int64
//	 8 length int32, behind   35 max timestamp int64
//	12 leader epoch int32     43 producer id int64
//	16 magic int8             51 producer epoch int16
//	17 crc int32, of 21..     53 base sequence int32
//	21 attributes int16       57 records int32
//	23 last offset delta int32  61 records, packed as a whole
const (
	batchHeaderBytes = 61
	batchLengthEnd   = 12

	attrCompression   = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
)

// castagnoli is the polynomial of a batch's CRC.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batchHeader is what a batch says about itself.
type batchHeader struct {
	base       int64
	epoch      int32
	crc        uint32
	attributes int16
	lastDelta  int32
	firstTime  int64
	maxTime    int64
	producer   int64
	records    int32
}

// next is the offset behind the batch. Compaction may have left offsets out, but never the last.
func (h *batchHeader) next() int64 { return h.base + int64(h.lastDelta) + 1 }

// errOldFormat is of topics that were written before Kafka 0.11 or with a message.format.version from then.
var errOldFormat = errors.New("the records are in a format from before Kafka 0.11, which this package doesn't read: have the topic written again, or read it with framework/franz")

// cutBatch returns the first batch of a record set, whole and not looked at, and what is behind. A broker cuts the last
// one where the fetch is full: then ok is false.
func cutBatch(set []byte) (batch, rest []byte, ok bool, err error) {
	if len(set) < batchLengthEnd {
		return nil, nil, false, nil
	}
	length := int32(binary.BigEndian.Uint32(set[8:]))
	if length < 0 {
		return nil, nil, false, fmt.Errorf("a batch has the length %d", length)
	}
	if int64(length) > int64(len(set)-batchLengthEnd) {
		return nil, nil, false, nil
	}
	end := batchLengthEnd + int(length)
	return set[:end], set[end:], true, nil
}

// parseHeader reads a batch's header and checks its CRC.
func parseHeader(batch []byte) (h batchHeader, err error) {
	if len(batch) > 16 && batch[16] < 2 {
		return h, errOldFormat
	}
	if len(batch) < batchHeaderBytes {
		return h, fmt.Errorf("a batch of %d bytes is shorter than its header", len(batch))
	}
	h = readHeader(batch)
	if magic := batch[16]; magic != 2 {
		return h, fmt.Errorf("a batch has the format %d, which is not known", magic)
	}
	if sum := crc32.Checksum(batch[21:], castagnoli); sum != h.crc {
		return h, fmt.Errorf("%w: the CRC of the batch is %08x, and says %08x", errDamaged, sum, h.crc)
	}
	if h.base < 0 || h.lastDelta < 0 || h.records < 0 || int64(h.records) > int64(h.lastDelta)+1 {
		return h, fmt.Errorf("a batch has the base offset %d, the last offset delta %d and %d records, which can't be", h.base, h.lastDelta, h.records)
	}
	return h, nil
}

func readHeader(b []byte) batchHeader {
	return batchHeader{
		base:       int64(binary.BigEndian.Uint64(b)),
		epoch:      int32(binary.BigEndian.Uint32(b[12:])),
		crc:        binary.BigEndian.Uint32(b[17:]),
		attributes: int16(binary.BigEndian.Uint16(b[21:])),
		lastDelta:  int32(binary.BigEndian.Uint32(b[23:])),
		firstTime:  int64(binary.BigEndian.Uint64(b[27:])),
		maxTime:    int64(binary.BigEndian.Uint64(b[35:])),
		producer:   int64(binary.BigEndian.Uint64(b[43:])),
		records:    int32(binary.BigEndian.Uint32(b[57:])),
	}
}

// errDamaged is of bytes that arrived other than they were written.
var errDamaged = errors.New("damaged")

// records reads the records of one batch.
type records struct {
	header  batchHeader
	payload []byte // unpacked, what is left
	left    int32

	headers weaver.Headers    // of all records of a weaver.Batch, made once
	names   map[string]string // of headers, which are few
}

// maxNames is how many names of headers are remembered.
const maxNames = 64

// name returns what a header is called, as a string that is made once.
func (d *records) name(p []byte) string {
	if s, ok := d.names[string(p)]; ok {
		return s
	}
	s := string(p)
	if d.names == nil {
		d.names = make(map[string]string)
	}
	if len(d.names) < maxNames && len(s) <= 256 {
		d.names[s] = s
	}
	return s
}

var errRecord = errors.New("a record has a length that can't be")

// next adds a record to b, unless its offset is below from, and returns its offset.
func (d *records) next(b *weaver.Batch[[]byte], from int64) (offset int64, err error) {
	body, err := d.body()
	if err != nil {
		return 0, err
	}
	if len(body) < 1 {
		return 0, errRecord
	}
	body = body[1:] // attributes, of which there are none
	timeDelta, body, err := varint(body)
	if err != nil {
		return 0, err
	}
	offsetDelta, body, err := varint(body)
	if err != nil {
		return 0, err
	}
	if offsetDelta < 0 || offsetDelta > int64(d.header.lastDelta) {
		return 0, fmt.Errorf("a record has the offset delta %d in a batch of %d", offsetDelta, d.header.lastDelta)
	}
	offset = d.header.base + offsetDelta
	if offset < from {
		return offset, nil
	}
	key, body, err := nullable(body)
	if err != nil {
		return offset, err
	}
	value, body, err := nullable(body)
	if err != nil {
		return offset, err
	}
	headers, body, err := varint(body)
	if err != nil {
		return offset, err
	}
	if headers < 0 || headers > int64(len(body)/2) {
		return offset, fmt.Errorf("a record has %d headers in %d bytes", headers, len(body))
	}
	first := len(d.headers)
	for range headers {
		var name []byte
		var h weaver.Header
		if name, body, err = nullable(body); err != nil {
			return offset, err
		}
		if h.Value, body, err = nullable(body); err != nil {
			return offset, err
		}
		h.Key, h.Value = d.name(name), copied(b, h.Value)
		d.headers = append(d.headers, h)
	}
	if len(body) > 0 {
		return offset, fmt.Errorf("a record has %d bytes too much", len(body))
	}
	r := b.Add()
	r.Seq = offset
	r.Key, r.Value = copied(b, key), copied(b, value)
	if value == nil {
		r.Op = weaver.Delete
	}
	millis := d.header.firstTime + timeDelta
	if d.header.attributes&attrLogAppendTime != 0 {
		millis = d.header.maxTime
	}
	if millis != -1 { // none
		r.Time = time.UnixMilli(millis).UTC()
	}
	if headers > 0 {
		r.Headers = d.headers[first:len(d.headers):len(d.headers)]
	}
	return offset, nil
}

// body returns the bytes of the next record.
func (d *records) body() ([]byte, error) {
	size, rest, err := varint(d.payload)
	if err != nil {
		return nil, err
	}
	if size < 0 || size > int64(len(rest)) {
		return nil, errRecord
	}
	d.payload = rest[size:]
	d.left--
	return rest[:size], nil
}

// copied is b.Copy that keeps the empty apart from nil.
func copied(b *weaver.Batch[[]byte], p []byte) []byte {
	if p != nil && len(p) == 0 {
		return []byte{}
	}
	return b.Copy(p)
}

func varint(p []byte) (int64, []byte, error) {
	if len(p) > 0 && p[0] < 0x80 { // most of them
		u := int64(p[0])
		return u>>1 ^ -(u & 1), p[1:], nil
	}
	v, n := binary.Varint(p)
	if n <= 0 {
		return 0, nil, errRecord
	}
	return v, p[n:], nil
}

// nullable reads bytes behind their length; -1 is nil.
func nullable(p []byte) (bytes, rest []byte, err error) {
	n, p, err := varint(p)
	switch {
	case err != nil:
		return nil, nil, err
	case n == -1:
		return nil, p, nil
	case n < 0 || n > int64(len(p)):
		return nil, nil, errRecord
	}
	return p[:n:n], p[n:], nil
}
