package kafka

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"

	kafkago "github.com/segmentio/kafka-go"
)

// fetchVersion is of the only request whose response is taken apart here: record sets are to stay as they are until they
// are in a batch. Brokers have it since Kafka 2.3.
const fetchVersion = 11

// fetcher asks one broker for what one partition holds, one request ahead. It has one owner.
type fetcher struct {
	conn      *conn
	in        *bufio.Reader // of conn, which is read beside pc
	topic     string
	partition int
	committed bool
	maxBytes  int // of a response
	maxWait   time.Duration
	limit     int // of a batch, which may be larger than maxBytes

	asked int64 // the offset of the request that is under way; -1: none
	id    int32
	size  [4]byte // of the response
	have  int     // what of it has arrived, size included
	frame []byte
}

// keptBytes is how much memory is kept for what comes next, though it needn't be as large.
const keptBytes = 4 << 20

// fetched is the answer to one request.
type fetched struct {
	err         error // of the partition
	high        int64 // the offset behind the last record
	stable      int64 // the same, without transactions that are under way
	logStart    int64
	aborted     []abortedTransaction
	set         []byte // record batches, good until the next request
	throttled   time.Duration
	requestedAt int64
}

// open makes sure that the broker can do what is needed.
func (f *fetcher) open() error {
	v, ok := f.conn.versions[protocol.Fetch]
	if !ok || v[0] > fetchVersion || v[1] < fetchVersion {
		return fmt.Errorf("kafka: broker %s can't fetch by version %d: %w", f.conn.addr, fetchVersion, codeError(int16(kafkago.UnsupportedVersion), ""))
	}
	f.asked = -1
	f.in = bufio.NewReaderSize(f.conn.pc, 64<<10)
	return nil
}

// ask sends a request, for which the broker waits until there is something.
func (f *fetcher) ask(ctx context.Context, offset int64) error {
	done, err := f.conn.guard(ctx, 0)
	if err != nil {
		return err
	}
	f.id++
	req := &fetch.Request{
		ReplicaID:    -1,
		MaxWaitTime:  int32(f.maxWait.Milliseconds()),
		MinBytes:     1,
		MaxBytes:     int32(f.maxBytes),
		SessionEpoch: -1, // no session: all that is asked for is in the request
		Topics: []fetch.RequestTopic{{Topic: f.topic, Partitions: []fetch.RequestPartition{{
			Partition:          int32(f.partition),
			CurrentLeaderEpoch: -1,
			FetchOffset:        offset,
			LogStartOffset:     -1,
			PartitionMaxBytes:  int32(f.maxBytes),
		}}}},
	}
	if f.committed {
		req.IsolationLevel = int8(kafkago.ReadCommitted)
	}
	err = done(protocol.WriteRequest(f.conn.pc, fetchVersion, f.id, f.conn.fw.clientID(), req))
	if err != nil {
		f.conn.broken.Store(true)
		return fmt.Errorf("kafka: broker %s: fetching from topic %q, partition %d: %w", f.conn.addr, f.topic, f.partition, err)
	}
	f.asked, f.have = offset, 0
	return nil
}

// answer waits for the response. Where ctx ends meanwhile, it can be called again.
func (f *fetcher) answer(ctx context.Context) (fetched, error) {
	done, err := f.conn.guard(ctx, f.maxWait)
	if err != nil {
		return fetched{}, err
	}
	err = f.receive()
	if err = done(err); err != nil {
		if ctx.Err() == nil {
			f.conn.broken.Store(true)
		}
		return fetched{}, fmt.Errorf("kafka: broker %s: fetching from topic %q, partition %d: %w", f.conn.addr, f.topic, f.partition, err)
	}
	offset := f.asked
	f.asked = -1
	out, err := f.parse(f.frame)
	out.requestedAt = offset
	if err != nil {
		f.conn.broken.Store(true)
		return out, fmt.Errorf("kafka: broker %s: the response to fetching from topic %q, partition %d: %w", f.conn.addr, f.topic, f.partition, err)
	}
	return out, nil
}

// receive reads the response, from where it was interrupted.
func (f *fetcher) receive() error {
	for f.have < len(f.size) {
		n, err := f.in.Read(f.size[f.have:])
		f.have += n
		if err != nil && f.have < len(f.size) {
			return err
		}
	}
	size := int(int32(binary.BigEndian.Uint32(f.size[:])))
	// A batch that is larger than what was asked for comes all the same, whole.
	if most := max(f.limit, f.maxBytes) + 1<<20; size < 4 || size > most {
		return fmt.Errorf("a response of %d bytes is more than Consumer.MaxBatchBytes, %d, allows", size, f.limit)
	}
	if cap(f.frame) < size || cap(f.frame) > max(keptBytes, 2*f.maxBytes) && size <= f.maxBytes {
		f.frame = make([]byte, size)
	}
	f.frame = f.frame[:size]
	for f.have < len(f.size)+size {
		n, err := f.in.Read(f.frame[f.have-len(f.size):])
		f.have += n
		if err != nil && f.have < len(f.size)+size {
			if errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// parse takes a response apart; see https://kafka.apache.org/protocol#The_Messages_Fetch, version 11.
func (f *fetcher) parse(frame []byte) (out fetched, err error) {
	p := parser{data: frame}
	if id := p.int32(); id != f.id {
		return out, fmt.Errorf("it is the one to request %d, not %d", id, f.id)
	}
	out.throttled = time.Duration(p.int32()) * time.Millisecond
	if out.err = codeError(p.int16(), ""); out.err != nil {
		return out, p.err
	}
	p.int32() // session
	if topics := p.int32(); topics != 1 {
		return out, fmt.Errorf("it is about %d topics, not one", topics)
	}
	if name := p.string(); name != f.topic {
		return out, fmt.Errorf("it is about topic %q", name)
	}
	if partitions := p.int32(); partitions != 1 {
		return out, fmt.Errorf("it is about %d partitions, not one", partitions)
	}
	if partition := p.int32(); partition != int32(f.partition) {
		return out, fmt.Errorf("it is about partition %d", partition)
	}
	out.err = codeError(p.int16(), "")
	out.high, out.stable, out.logStart = p.int64(), p.int64(), p.int64()
	for range max(p.count(16), 0) {
		out.aborted = append(out.aborted, abortedTransaction{producer: p.int64(), first: p.int64()})
	}
	p.int32() // preferred replica
	out.set = p.bytes()
	return out, p.err
}

// parser reads the fields of a response. After an error all are zero.
type parser struct {
	data []byte
	err  error
}

func (p *parser) take(n int) []byte {
	if p.err == nil && (n < 0 || n > len(p.data)) {
		p.err = io.ErrUnexpectedEOF
	}
	if p.err != nil {
		return nil
	}
	b := p.data[:n:n]
	p.data = p.data[n:]
	return b
}

func (p *parser) int16() int16 {
	if b := p.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (p *parser) int32() int32 {
	if b := p.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (p *parser) int64() int64 {
	if b := p.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (p *parser) string() string { return string(p.take(int(p.int16()))) }

// bytes returns a field of bytes; nil where it is null.
func (p *parser) bytes() []byte {
	n := p.int32()
	if n < 0 {
		return nil
	}
	return p.take(int(n))
}

// count reads how many things of so many bytes follow; -1: null.
func (p *parser) count(size int) int {
	n := p.int32()
	if p.err == nil && int64(n)*int64(size) > int64(min(len(p.data), math.MaxInt32)) {
		p.err = io.ErrUnexpectedEOF
		return 0
	}
	return int(n)
}
