package franz

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	weaver "github.com/bohica-labs/dataweaver"
)

// decoding is a chunk on its way to records. The client decodes; here is how it is fed, a record batch at a time, and with
// memory that is used again.
type decoding struct {
	chunk   chunk
	records []*kgo.Record // decoded, not returned yet
	behind  int64         // the offset behind them
	slab    *slab         // what they are in; nil: there are none
	slabs   *sync.Pool    // of all partitions, so that one which nothing comes from has none
	heads   []weaver.Header
}

// slab is memory for the structs of decoded records. Key and value of a record are not in it, and nothing points to it
// once they have been copied: so the same is used for one batch after the other.
type slab struct {
	records []kgo.Record
	used    int
}

// mostOfSlab is what a slab that is kept can hold: one huge batch must not be remembered for ever.
const mostOfSlab = 16 << 10

// GetRecords returns memory for a batch.
func (s *slab) GetRecords(n int) []kgo.Record {
	if s.used+n > len(s.records) {
		if n > mostOfSlab {
			return make([]kgo.Record, n)
		}
		s.records, s.used = make([]kgo.Record, max(n, min(2*len(s.records), mostOfSlab), 64)), 0
	}
	out := s.records[s.used : s.used+n : s.used+n]
	s.used += n
	return out
}

// PutRecords is called for batches of which no record was kept.
func (s *slab) PutRecords([]kgo.Record) {}

// release gives memory back that nothing is in any more.
func (d *decoding) release() {
	d.records = nil
	if d.slab != nil {
		d.slabs.Put(d.slab)
		d.slab = nil
	}
}

// decode takes the next record batch of the chunk, or all of them where transactions were aborted, which takes a look at the
// whole. All records of the last call have been used.
func (d *decoding) decode(p partition, from int64, level kgo.IsolationLevel) error {
	if d.slab == nil {
		d.slab, _ = d.slabs.Get().(*slab)
		if d.slab == nil {
			d.slab = new(slab)
		}
	}
	d.slab.used = 0
	data := d.chunk.data
	if len(d.chunk.aborted) == 0 {
		size, _, _, err := batchHead(data)
		if err != nil {
			d.chunk = chunk{}
			return classify("decoding what was fetched of "+p.String(), err)
		}
		data = data[:size:size]
	}
	d.chunk.data = d.chunk.data[len(data):]
	opts := kgo.ProcessFetchPartitionOpts{
		Offset: from, IsolationLevel: level, Topic: p.topic, Partition: p.index,
		Pools: []kgo.Pool{d.slab},
	}
	rp := kmsg.FetchResponseTopicPartition{Partition: p.index, RecordBatches: data, AbortedTransactions: d.chunk.aborted}
	out, behind := kgo.ProcessFetchPartition(opts, &rp, kgo.DefaultDecompressor(), nil)
	d.records, d.behind = out.Records, behind
	if out.Err == nil && len(d.chunk.data) == 0 {
		d.chunk = chunk{}
	}
	if out.Err != nil {
		d.chunk = chunk{}
		return classify("decoding what was fetched of "+p.String()+", perhaps damaged on the way", out.Err)
	}
	return nil
}

func orUnknown(err error) error {
	if err == nil {
		return kerr.UnknownTopicOrPartition
	}
	return err
}
