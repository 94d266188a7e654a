package franz

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// checkpoint is where the envelopes of a split are kept: in one partition of a compacted topic, in one record, or where it is
// too long for that in several, each with a key of its own:
//
//	key:   the id, 0, the piece's number, as a varint
//	value: 1 (the version), the number of pieces, as a varint, and the piece
//
// All pieces of an envelope are of one transaction and one after the other among those of the id. So the envelope that counts
// is the last that begins with piece 0 and whose transaction was committed.
type checkpoint struct {
	id        string
	topic     string
	topicID   [16]byte
	partition int32
}

const (
	checkpointVersion = 1
	windowFirst       = 512 // offsets that are looked at first, from the end; each next look is at windowGrowth times as many
	windowGrowth      = 16
)

func newCheckpoint(id string, topic kadm.TopicDetail) checkpoint {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	n := h.Sum32() % uint32(len(topic.Partitions))                                        //nolint:gosec // small
	return checkpoint{id: id, topic: topic.Topic, topicID: topic.ID, partition: int32(n)} //nolint:gosec // small
}

func (c *checkpoint) key(piece int) []byte {
	return binary.AppendUvarint(append([]byte(c.id), 0), uint64(piece)) //nolint:gosec // not negative
}

// piece returns the number of a piece of this split, by its key.
func (c *checkpoint) piece(key []byte) (int, bool) {
	n := len(c.id)
	if len(key) < n+2 || string(key[:n]) != c.id || key[n] != 0 {
		return 0, false
	}
	i, k := binary.Uvarint(key[n+1:])
	return int(i), k == len(key)-n-1 //nolint:gosec // it was an int
}

// pieces cuts an envelope into values of records that fit into batches of limit bytes.
func (c *checkpoint) pieces(limit int, envelope []byte) [][]byte {
	most := max(min(limit, defaultBatchBytes)/2-len(c.id), 256)
	n := max((len(envelope)+most-1)/most, 1)
	out := make([][]byte, n)
	for i := range out {
		part := envelope[i*most : min((i+1)*most, len(envelope))]
		out[i] = append(binary.AppendUvarint([]byte{checkpointVersion}, uint64(n)), part...) //nolint:gosec // not negative
	}
	return out
}

// draft is an envelope of a transaction that isn't known to be committed.
type draft struct {
	want   int
	pieces [][]byte
}

// add takes a piece.
func (d *draft) add(piece int, value []byte) error {
	if len(value) < 2 || value[0] != checkpointVersion {
		return fmt.Errorf("franz: a checkpoint has version %d, this release reads %d: use the release that wrote it, or a newer one", first(value), checkpointVersion)
	}
	n, k := binary.Uvarint(value[1:])
	if k <= 0 || n == 0 || n > 1<<20 {
		return errors.New("franz: a checkpoint is damaged: no number of pieces")
	}
	if piece == 0 {
		d.want, d.pieces = int(n), nil //nolint:gosec // checked
	}
	if piece == len(d.pieces) && int(n) == d.want { //nolint:gosec // checked
		d.pieces = append(d.pieces, bytes.Clone(value[1+k:]))
	}
	return nil
}

func first(b []byte) int {
	if len(b) == 0 {
		return -1
	}
	return int(b[0])
}

func (d *draft) whole() bool { return d.want > 0 && len(d.pieces) == d.want }

func (d *draft) envelope() []byte {
	out := []byte{} // none is not nil
	for _, p := range d.pieces {
		out = append(out, p...)
	}
	return out
}

// read returns the last envelope that was committed; nil: there is none. The split's producer has been fenced: nothing is
// added meanwhile, and all its transactions have come to their ends.
//
// It reads what isn't committed, too, and looks at the markers of transactions by itself: read_committed ends at the first
// open transaction of anybody in the partition, and the envelope may lie behind it. It reads backwards, in growing windows:
// the last envelope is near the end as a rule.
func (c *checkpoint) read(ctx context.Context, cl *kgo.Client) ([]byte, error) {
	p := partition{c.topic, c.partition}
	end, err := listOffset(ctx, cl, 0, p, listEnd)
	if err != nil {
		return nil, err
	}
	start, err := listOffset(ctx, cl, 0, p, listStart)
	if err != nil {
		return nil, err
	}
	fates := make(map[int64]bool) // whether the first marker of a producer behind the window commits
	for size := int64(windowFirst); end > start; size *= windowGrowth {
		from := max(start, end-size)
		w := window{c: c, drafts: make(map[int64]*draft), fates: make(map[int64]bool)}
		if err := scan(ctx, cl, c, from, end, w.see); err != nil {
			return nil, err
		}
		if err := w.close(fates); err != nil {
			return nil, err
		}
		if w.torn && from > start {
			continue // with a larger one
		}
		if w.last != nil {
			return w.last.envelope(), nil
		}
		for id, commits := range w.fates {
			fates[id] = commits
		}
		end = from
	}
	return nil, nil
}

// window looks at the records of a part of the partition, in their order.
type window struct {
	c      *checkpoint
	drafts map[int64]*draft // by producer
	last   *draft           // that was committed
	torn   bool             // behind it there is one that was committed, and began before the window
	fates  map[int64]bool   // of the first marker of each producer
}

// see looks at a record.
func (w *window) see(k *kgo.Record) error {
	if k.Attrs.IsControl() {
		commits, ok := marker(k)
		if !ok {
			return nil
		}
		if _, known := w.fates[k.ProducerID]; !known {
			w.fates[k.ProducerID] = commits
		}
		if d := w.drafts[k.ProducerID]; d != nil {
			delete(w.drafts, k.ProducerID)
			w.decide(d, commits)
		}
		return nil
	}
	piece, mine := w.c.piece(k.Key)
	if !mine {
		return nil
	}
	d := w.drafts[k.ProducerID]
	if d == nil {
		d = &draft{}
		w.drafts[k.ProducerID] = d
	}
	return d.add(piece, k.Value)
}

// close decides about what is open at the end of the window, by the markers behind it.
func (w *window) close(fates map[int64]bool) error {
	for id, d := range w.drafts {
		commits, known := fates[id]
		if !known {
			return fmt.Errorf("franz: a transaction of %s is open after its producer was fenced: its end will show", w.c.id)
		}
		w.decide(d, commits)
	}
	return nil
}

// decide takes the end of a transaction.
func (w *window) decide(d *draft, commits bool) {
	switch {
	case !commits:
	case d.whole():
		w.last, w.torn = d, false
	default: // or what compaction has left of an old one that was longer, if there is no window before this
		w.torn = true
	}
}

// marker reports whether a control record ends a transaction, and whether by committing it. See "Control Batches" in
// https://kafka.apache.org/documentation.
func marker(k *kgo.Record) (commits, ok bool) {
	if len(k.Key) < 4 {
		return false, false
	}
	kind := binary.BigEndian.Uint16(k.Key[2:])
	return kind == 1, kind <= 1
}

// scan calls see for all records from one offset to another, also those that aren't committed, and markers.
func scan(ctx context.Context, cl *kgo.Client, c *checkpoint, from, to int64, see func(*kgo.Record) error) error {
	p := partition{c.topic, c.partition}
	for from < to {
		rp, err := fetchOnce(ctx, cl, c, from)
		if err != nil {
			return classify("reading checkpoints in "+p.String(), err)
		}
		opts := kgo.ProcessFetchPartitionOpts{KeepControlRecords: true, Offset: from, IsolationLevel: kgo.ReadUncommitted(), Topic: p.topic, Partition: p.index}
		out, next := kgo.ProcessFetchPartition(opts, rp, kgo.DefaultDecompressor(), nil)
		for _, k := range out.Records {
			if k.Offset >= to {
				return nil
			}
			if err := see(k); err != nil {
				return err
			}
		}
		if out.Err != nil {
			return classify("reading checkpoints in "+p.String(), out.Err)
		}
		if next <= from {
			return fmt.Errorf("franz: nothing could be read at offset %d of %s, which ends at %d", from, p, to)
		}
		from = next
	}
	return nil
}

// fetchOnce asks the partition's leader for what is at an offset.
func fetchOnce(ctx context.Context, cl *kgo.Client, c *checkpoint, from int64) (*kmsg.FetchResponseTopicPartition, error) {
	topic, err := describe(ctx, cl, c.topic)
	if err != nil {
		return nil, err
	}
	leader := topic.Partitions[c.partition]
	if leader.Leader < 0 {
		return nil, kerr.LeaderNotAvailable
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = 500, 1, 8<<20, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = c.topic, topic.ID
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = c.partition, from, 8<<20
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	kresp, err := cl.Broker(int(leader.Leader)).RetriableRequest(ctx, req)
	if err != nil {
		return nil, err
	}
	resp, ok := kresp.(*kmsg.FetchResponse)
	if !ok || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, errors.Join(errors.New("a fetch is answered by something else"), kerr.ErrorForCode(codeOf(resp)))
	}
	rp := &resp.Topics[0].Partitions[0]
	return rp, kerr.ErrorForCode(rp.ErrorCode)
}

func codeOf(resp *kmsg.FetchResponse) int16 {
	if resp == nil {
		return 0
	}
	return resp.ErrorCode
}
