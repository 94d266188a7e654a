package franz

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// lane is a partition on its way from its leader to the one Reader that is open. The fetcher's lock guards it.
type lane struct {
	partition
	wake chan struct{} // room for one: there is something new

	next   place // to be fetched
	chunks []chunk
	queued int   // bytes in chunks
	err    error // nothing more is fetched
	closed bool

	topicID     [16]byte // of the topic that next is a place in; zero: not known
	leader      int32    // noLeader: not known
	leaderEpoch int32
	lost        int // answers in a row that say that there is no such topic

	start, stable, end int64 // as the leader said last; negative: it hasn't
}

const noLeader = -1

// chunk is a piece of a partition's log as it was fetched: whole record batches.
type chunk struct {
	data    []byte
	aborted []kmsg.FetchResponseTopicPartitionAbortedTransaction
}

func newLane(p partition, at place) *lane {
	return &lane{
		partition: p, wake: make(chan struct{}, 1), next: at,
		leader: noLeader, leaderEpoch: -1, start: -1, stable: -1, end: -1,
	}
}

// signal wakes whoever waits on a channel with room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fail ends fetching. The first reason counts.
func (l *lane) fail(err error) {
	if l.err == nil {
		l.err = err
	}
	signal(l.wake)
}

// take adds what a fetch at l.next brought.
func (l *lane) take(rp *kmsg.FetchResponseTopicPartition) {
	l.lost = 0
	if l.end < 0 {
		signal(l.wake) // a Read may wait for this alone
	}
	l.start, l.stable, l.end = rp.LogStartOffset, rp.LastStableOffset, rp.HighWatermark
	data, next := wholeBatches(rp.RecordBatches, l.next)
	if len(data) == 0 {
		if len(rp.RecordBatches) > 0 {
			l.fail(fmt.Errorf("franz: %s: the %d bytes fetched at offset %d hold no whole record batch", l.partition, len(rp.RecordBatches), l.next.offset))
		}
		return
	}
	if next.offset <= l.next.offset {
		l.fail(fmt.Errorf("franz: %s: what was fetched at offset %d ends at %d", l.partition, l.next.offset, next.offset))
		return
	}
	l.next = next
	l.chunks = append(l.chunks, chunk{data, rp.AbortedTransactions})
	l.queued += len(data)
	signal(l.wake)
}

// wholeBatches returns the record batches, or message sets of old, that are there as a whole (a broker cuts off the last
// one where its limit is), and the place behind them. See "Record Batch" in https://kafka.apache.org/documentation.
func wholeBatches(in []byte, at place) ([]byte, place) {
	n := 0
	for {
		size, last, epoch, err := batchHead(in[n:])
		if err != nil {
			return in[:n:n], at
		}
		if last >= at.offset {
			at = place{last + 1, epoch}
		}
		n += size
	}
}

const (
	headBytes  = 17 // to the magic byte, which says how it goes on
	batchBytes = 27 // to behind lastOffsetDelta, in a batch of magic 2
)

var errPartial = errors.New("a record batch that isn't whole")

// batchHead returns the size of the batch that in begins with, its last offset, and its leader epoch (-1: it has none).
func batchHead(in []byte) (size int, last int64, epoch int32, err error) {
	if len(in) < headBytes {
		return 0, 0, 0, errPartial
	}
	length := int64(int32(binary.BigEndian.Uint32(in[8:]))) + 12 //nolint:gosec // the wire's type
	if length < headBytes || length > int64(len(in)) {
		return 0, 0, 0, errPartial
	}
	last = int64(binary.BigEndian.Uint64(in)) //nolint:gosec // the wire's type
	epoch = -1
	if in[16] >= 2 {
		if length < batchBytes {
			return 0, 0, 0, errPartial
		}
		epoch = int32(binary.BigEndian.Uint32(in[12:]))        //nolint:gosec // the wire's type
		last += int64(int32(binary.BigEndian.Uint32(in[23:]))) //nolint:gosec // the wire's type
	}
	return int(length), last, epoch, nil
}
